//! Whatever clients write, a line stays a line, and shows on a terminal without a surprise.

/// How bytes that could mean something are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escape {
    /// Inside a JSON string (RFC 8259 §7). A byte that is no UTF-8 is `\xHH`, with the backslash escaped.
    Json,
    /// `\xHH`, as nginx writes its logs.
    Hex,
}

/// Appends `text`, escaped, as long as `line` stays within `end` bytes; says whether all of it did.
pub(super) fn append(line: &mut Vec<u8>, text: &[u8], escape: Escape, end: usize) -> bool {
    // Almost everything needs no escape, and is copied as it is.
    let plain = text.iter().position(|byte| !is_plain(*byte)).unwrap_or(text.len());
    let room = end.saturating_sub(line.len());
    line.extend_from_slice(&text[..plain.min(room)]);
    if plain > room {
        return false;
    }
    plain == text.len() || append_slowly(line, &text[plain..], escape, end)
}

fn append_slowly(line: &mut Vec<u8>, text: &[u8], escape: Escape, end: usize) -> bool {
    let mut piece = Vec::with_capacity(16);
    for chunk in text.utf8_chunks() {
        for char in chunk.valid().chars() {
            piece.clear();
            escape_char(&mut piece, char, escape);
            if line.len() + piece.len() > end {
                return false;
            }
            line.extend_from_slice(&piece);
        }
        for byte in chunk.invalid() {
            piece.clear();
            if escape == Escape::Json {
                piece.push(b'\\');
            }
            hex(&mut piece, *byte);
            if line.len() + piece.len() > end {
                return false;
            }
            line.extend_from_slice(&piece);
        }
    }
    true
}

fn escape_char(to: &mut Vec<u8>, char: char, escape: Escape) {
    let mut utf8 = [0; 4];
    let bytes = char.encode_utf8(&mut utf8).as_bytes();
    match escape {
        Escape::Json => match char {
            '"' | '\\' => to.extend([b'\\', bytes[0]]),
            '\n' => to.extend(b"\\n"),
            '\r' => to.extend(b"\\r"),
            '\t' => to.extend(b"\\t"),
            // Also those that move a terminal's cursor (C1), and that end a line in JavaScript.
            char if char.is_control() || matches!(char, '\u{2028}' | '\u{2029}') => {
                let code = u32::from(char);
                to.extend(b"\\u");
                to.extend([12, 8, 4, 0].map(|shift| digit((code >> shift) as u8 & 0xf)));
            }
            _ => to.extend_from_slice(bytes),
        },
        Escape::Hex => {
            if bytes.len() == 1 && is_plain(bytes[0]) {
                to.push(bytes[0]);
            } else {
                bytes.iter().for_each(|byte| hex(to, *byte));
            }
        }
    }
}

fn hex(to: &mut Vec<u8>, byte: u8) {
    to.extend([b'\\', b'x', digit(byte >> 4).to_ascii_uppercase(), digit(byte & 0xf).to_ascii_uppercase()]);
}

fn digit(value: u8) -> u8 {
    b"0123456789abcdef"[usize::from(value)]
}

/// Whether a byte stands for itself in every format.
fn is_plain(byte: u8) -> bool {
    (0x20..0x7f).contains(&byte) && byte != b'"' && byte != b'\\'
}

#[cfg(test)]
mod tests {
    use super::*;

    fn escaped(text: &[u8], escape: Escape) -> String {
        let mut line = Vec::new();
        assert!(append(&mut line, text, escape, usize::MAX));
        String::from_utf8(line).expect("what is written is UTF-8")
    }

    #[test]
    fn json_reads_back_what_was_text() {
        for text in ["plain", "a\"b\\c", "line\r\nbreak\tand \u{1b}[31m red", "ümläut \u{9b}31m \u{2028} \u{1f600}", ""]
        {
            let line = format!("\"{}\"", escaped(text.as_bytes(), Escape::Json));
            assert_eq!(serde_json::from_str::<String>(&line).ok().as_deref(), Some(text), "{line}");
            assert!(!line.chars().any(char::is_control), "{line:?}");
        }
        assert_eq!(escaped(b"a\xff\"", Escape::Json), r#"a\\xFF\""#);
    }

    #[test]
    fn texts_hold_nothing_but_printable_ascii() {
        assert_eq!(escaped(b"a b", Escape::Hex), "a b");
        assert_eq!(escaped(b"\" \\ \n \x7f \xc3\xbc \xff", Escape::Hex), r"\x22 \x5C \x0A \x7F \xC3\xBC \xFF");
    }

    #[test]
    fn nothing_goes_beyond_the_end() {
        for escape in [Escape::Json, Escape::Hex] {
            for end in 0..40 {
                let mut line = b"12".to_vec();
                let whole = append(&mut line, "abc\u{1}\u{fc}\"xyz\u{2}".as_bytes(), escape, end);
                assert!(line.len() <= end.max(2), "{escape:?} {end}");
                assert!(!whole || end >= line.len());
                assert!(std::str::from_utf8(&line).is_ok(), "no character is cut in two");
            }
        }
    }
}
