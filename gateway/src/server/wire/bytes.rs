//! The loops that run over every head: by table over names, which are short, and by words of eight bytes over targets and values.

pub(super) const CR: u8 = b'\r';
pub(super) const LF: u8 = b'\n';

/// Where a method or a field's name ends: at the first byte, from `start` on, that no token has (RFC 9110 §5.6.2).
pub(super) fn token_end(bytes: &[u8], start: usize) -> usize {
    let rest = &bytes[start..];
    start + rest.iter().position(|byte| !TOKEN[usize::from(*byte)]).unwrap_or(rest.len())
}

/// Where a target ends: at the first byte, from `start` on, that is not visible in ASCII, or begins a fragment. `proxy/receive` escapes
/// what RFC 3986 has not.
pub(super) fn target_end(bytes: &[u8], start: usize) -> usize {
    first(bytes, start, |word| (below(word, 0x21) | equal(word, 0x7F) | equal(word, b'#') | word) & HIGH)
}

/// The place of the first control byte, from `start` on; the end when there is none.
pub(super) fn first_control(bytes: &[u8], start: usize) -> usize {
    first(bytes, start, |word| (below(word, 0x20) | equal(word, 0x7F)) & HIGH)
}

/// The place of the first byte that `marks` marks in its word; the end when there is none. Of the marks in a word only the lowest counts.
fn first(bytes: &[u8], start: usize, marks: impl Fn(u64) -> u64) -> usize {
    let mut at = start;
    while let Some(word) = bytes[at..].first_chunk::<8>() {
        let found = marks(u64::from_le_bytes(*word));
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    // What fills the last word up is marked by nobody.
    let rest = &bytes[at..];
    let mut word = [b'a'; 8];
    word[..rest.len()].copy_from_slice(rest);
    let found = marks(u64::from_le_bytes(word));
    if found == 0 { bytes.len() } else { at + found.trailing_zeros() as usize / 8 }
}

/// Marks, by their highest bits, bytes of a word that are less; right for the lowest of them.
const fn below(word: u64, byte: u8) -> u64 {
    word.wrapping_sub(ONES * byte as u64) & !word
}

/// Marks bytes of a word that are this one; right for the lowest of them.
const fn equal(word: u64, byte: u8) -> u64 {
    below(word ^ (ONES * byte as u64), 1)
}

const ONES: u64 = u64::MAX / 255;
const HIGH: u64 = ONES << 7;

/// Without spaces and tabs at its ends.
pub(super) fn trim(value: &[u8]) -> &[u8] {
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t');
    let start = value.iter().position(|byte| !is_space(byte)).unwrap_or(value.len());
    let end = value.iter().rposition(|byte| !is_space(byte)).map_or(start, |last| last + 1);
    &value[start..end]
}

const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut at = 0;
    while at < table.len() {
        // The index stays below 256.
        let byte = at as u8;
        let is_mark = matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        );
        table[at] = byte.is_ascii_alphanumeric() || is_mark;
        at += 1;
    }
    table
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_that_ends_something_is_found_wherever_it_stands() {
        for byte in 0..=255_u8 {
            for (at, start) in (0..20).flat_map(|at| [(at, 0), (at, at.min(3))]) {
                for noise in [b' ', b'!', b'~', 0x80, 0xFF] {
                    let mut bytes = [noise; 21];
                    bytes[at] = byte;
                    // What stands behind it must not hide it.
                    bytes[20] = b'\n';
                    let ends =
                        |ends: fn(&u8) -> bool| start + bytes[start..].iter().position(ends).unwrap_or(21 - start);
                    let what = format!("{byte:#x} at {at} in {noise:#x} from {start}");
                    assert_eq!(first_control(&bytes, start), ends(u8::is_ascii_control), "{what}");
                    assert_eq!(
                        target_end(&bytes, start),
                        ends(|byte| !byte.is_ascii_graphic() || *byte == b'#'),
                        "{what}"
                    );
                }
            }
        }
    }

    #[test]
    fn values_lose_white_space_at_their_ends() {
        for (value, trimmed) in [(" a b\t", "a b"), ("", ""), (" \t", ""), ("a", "a")] {
            assert_eq!(trim(value.as_bytes()), trimmed.as_bytes());
        }
    }
}
