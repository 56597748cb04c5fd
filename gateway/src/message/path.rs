//! The one spelling of a request's path that router, plugins and upstream see.
//!
//! Two spellings of one resource are how a request slips past the route that guards it, so every path is brought to its normal form
//! before anything looks at it. What the path then selects is left to `router`; splitting off the query, `OPTIONS *` and the
//! authority form of `CONNECT` (RFC 9112 §3.2) are left to whoever reads the request line.

use std::borrow::Cow;

/// Brings a path (without query) to its normal form: RFC 3986 §6.2.2, made stricter where upstreams are known to disagree.
///
/// - An escape of an unreserved character is decoded (`%7e` becomes `~`, `%2e` a dot); every other escape keeps its place, with
///   digits in upper case. `%25` stays, so that nothing is ever decoded twice.
/// - A byte that a path may not hold raw, such as a space, `|` or a non-ASCII one, is escaped: then it has one spelling, too.
/// - Empty segments go first, as in nginx and Go: `/a//../b` is `/b`, where RFC 3986 §5.2.4 alone would give `/a/b`.
/// - Dot segments are resolved after that. A `..` above the root goes away, as RFC 3986 §5.2.4 says: it names nothing that lies outside.
/// - An empty path is `/` (RFC 9110 §4.2.3).
///
/// The result begins with `/`, is ASCII, and is its own normal form. A path that is normal already, as nearly all are, is borrowed
/// after one pass over its bytes.
///
/// # Errors
///
/// What cannot be given one meaning is refused; [`PathError`] lists it. The caller answers 400.
pub fn normalise(path: &str) -> Result<Cow<'_, str>, PathError> {
    if path.is_empty() {
        return Ok(Cow::Borrowed("/"));
    }
    if !path.starts_with('/') {
        return Err(PathError::NotAbsolute);
    }
    if is_normal(path.as_bytes()) {
        return Ok(Cow::Borrowed(path));
    }
    let respelled = respell(path.as_bytes())?;
    Ok(Cow::Owned(resolve(&respelled)))
}

/// Why a path was refused. Every text may be shown to the client: none repeats what the client sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum PathError {
    /// Also `*`, which is no path.
    #[error("the path does not begin with `/`")]
    NotAbsolute,
    /// Upstreams disagree whether it separates segments.
    #[error("the path contains `%2F`, an encoded slash")]
    EncodedSlash,
    /// Upstreams on Windows take it for a slash.
    #[error("the path contains a backslash or `%5C`, an encoded one")]
    Backslash,
    /// It ends the path early in upstreams written in C.
    #[error("the path contains `%00`, an encoded NUL")]
    EncodedNul,
    /// Only raw ones: escaped, as in `%0A`, they cannot end a line or a log entry.
    #[error("the path contains a control character")]
    Control,
    #[error("the path contains `%` without two hexadecimal digits after it")]
    BadEscape,
    /// A query or a fragment should have been split off, or was never meant to be in a path.
    #[error("the path contains a raw `?` or `#`")]
    Delimiter,
}

/// What a raw byte means in a path.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Class {
    /// Stands for itself: RFC 3986 `pchar` without the percent sign.
    Plain,
    Slash,
    Percent,
    /// Has no place in a path unless escaped.
    Escaped,
    Delimiter,
    Backslash,
    Control,
}

/// True when `path`, which begins with `/`, is its own normal form.
fn is_normal(path: &[u8]) -> bool {
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        match CLASS[usize::from(byte)] {
            Class::Plain => at += 1,
            Class::Slash if !vanishes(&path[at + 1..]) => at += 1,
            Class::Percent if is_normal_escape(&path[at + 1..]) => at += 3,
            // What is to be refused is told apart by `respell` alone.
            _ => return false,
        }
    }
    true
}

/// True when the segment that begins here, right after a slash, is empty with another behind it, or a dot segment.
fn vanishes(rest: &[u8]) -> bool {
    matches!(rest, [b'/', ..] | [b'.'] | [b'.', b'/', ..] | [b'.', b'.'] | [b'.', b'.', b'/', ..])
}

/// True for two upper-case digits of a byte that stays escaped.
fn is_normal_escape(digits: &[u8]) -> bool {
    !digits.iter().take(2).any(u8::is_ascii_lowercase)
        && matches!(escaped_byte(digits), Ok(byte) if !is_unreserved(byte))
}

/// Gives every character its one spelling; leaves the segments as they are.
fn respell(path: &[u8]) -> Result<String, PathError> {
    let mut respelled = String::with_capacity(path.len());
    let mut at = 0;
    while let Some(&byte) = path.get(at) {
        at += 1;
        match CLASS[usize::from(byte)] {
            Class::Plain | Class::Slash => respelled.push(char::from(byte)),
            Class::Escaped => push_escape(&mut respelled, byte),
            Class::Percent => {
                let byte = escaped_byte(&path[at..])?;
                at += 2;
                if is_unreserved(byte) {
                    respelled.push(char::from(byte));
                } else {
                    push_escape(&mut respelled, byte);
                }
            }
            Class::Delimiter => return Err(PathError::Delimiter),
            Class::Backslash => return Err(PathError::Backslash),
            Class::Control => return Err(PathError::Control),
        }
    }
    Ok(respelled)
}

/// Removes empty and dot segments from a path that begins with `/`. Where the last segment goes, a slash stays: `/a/..` is `/`.
fn resolve(path: &str) -> String {
    let mut resolved = String::with_capacity(path.len());
    let mut ends_open = false;
    for segment in path.split('/').skip(1) {
        ends_open = matches!(segment, "" | "." | "..");
        match segment {
            "" | "." => {}
            ".." => resolved.truncate(resolved.rfind('/').unwrap_or(0)),
            _ => {
                resolved.push('/');
                resolved.push_str(segment);
            }
        }
    }
    if ends_open {
        resolved.push('/');
    }
    resolved
}

/// The byte that the two digits behind a percent sign stand for, unless it is one that no path may hold.
fn escaped_byte(digits: &[u8]) -> Result<u8, PathError> {
    let digit = |at: usize| digits.get(at).and_then(|&digit| char::from(digit).to_digit(16));
    let (Some(high), Some(low)) = (digit(0), digit(1)) else {
        return Err(PathError::BadEscape);
    };
    match u8::try_from(high * 16 + low).expect("two hexadecimal digits make a byte") {
        b'/' => Err(PathError::EncodedSlash),
        b'\\' => Err(PathError::Backslash),
        0 => Err(PathError::EncodedNul),
        byte => Ok(byte),
    }
}

fn push_escape(text: &mut String, byte: u8) {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    text.push('%');
    text.push(char::from(DIGITS[usize::from(byte >> 4)]));
    text.push(char::from(DIGITS[usize::from(byte & 0xF)]));
}

/// RFC 3986 §2.3: what means the same escaped or not.
const fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

/// The class of every byte. A table, because each byte of each request's path is asked for.
const CLASS: [Class; 256] = {
    let mut classes = [Class::Escaped; 256];
    let mut at = 0;
    while at < classes.len() {
        // The index stays below 256.
        let byte = at as u8;
        classes[at] = match byte {
            b'/' => Class::Slash,
            b'%' => Class::Percent,
            b'\\' => Class::Backslash,
            b'?' | b'#' => Class::Delimiter,
            0..=0x1F | 0x7F => Class::Control,
            // RFC 3986 §2.2, sub-delims, and the two more that §3.3 allows in a segment.
            b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'=' => Class::Plain,
            b':' | b'@' => Class::Plain,
            _ if is_unreserved(byte) => Class::Plain,
            _ => Class::Escaped,
        };
        at += 1;
    }
    classes
};

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[track_caller]
    fn check(path: &str, expected: &str) {
        assert_eq!(normalise(path).unwrap(), expected, "of {path:?}");
    }

    #[track_caller]
    fn check_borrowed(path: &str) {
        let normal = normalise(path).unwrap();
        assert!(matches!(normal, Cow::Borrowed(_)), "{path:?} was copied");
        assert_eq!(normal, path);
    }

    #[track_caller]
    fn check_refused(path: &str, expected: PathError) {
        assert_eq!(normalise(path), Err(expected), "of {path:?}");
    }

    #[test]
    fn normal_paths_are_borrowed() {
        for path in
            ["/", "/users", "/users/", "/a/b.c/.d/..e/f./...", "/-._~!$&'()*+,;=:@", "/a%20b%C3%A9%25", "/%3B%0A"]
        {
            check_borrowed(path);
        }
    }

    #[test]
    fn an_empty_path_is_the_root() {
        check("", "/");
    }

    #[test]
    fn escapes_get_one_spelling() {
        check("/%41%7a%30%2D%5f%7E", "/Az0-_~");
        check("/%c3%a9%3b", "/%C3%A9%3B");
        check("/%2525", "/%2525");
        check("/%252e%252e/a", "/%252e%252e/a");
        check("/%252f", "/%252f");
    }

    #[test]
    fn raw_bytes_outside_a_path_are_escaped() {
        check("/a b|c\"<>^`{}[]", "/a%20b%7Cc%22%3C%3E%5E%60%7B%7D%5B%5D");
        check("/é", "/%C3%A9");
    }

    #[test]
    fn dot_segments_are_resolved() {
        // RFC 3986 §5.2.4 and §5.4.
        check("/a/b/c/./../../g", "/a/g");
        check("/a/.", "/a/");
        check("/a/./", "/a/");
        check("/a/..", "/");
        check("/a/b/..", "/a/");
        check("/a/b/../", "/a/");
        check("/./a", "/a");
        check("/.", "/");
    }

    #[test]
    fn nothing_lies_above_the_root() {
        check("/..", "/");
        check("/../..//../etc", "/etc");
        check("/a/../../b", "/b");
    }

    #[test]
    fn escaped_dots_are_dots() {
        check("/a/%2e%2E/b", "/b");
        check("/a/.%2e/b", "/b");
        check("/%2e/b", "/b");
        check("/a%2eb", "/a.b");
    }

    #[test]
    fn empty_segments_go_first() {
        check("//", "/");
        check("//a///b//", "/a/b/");
        check("/a//../b", "/b");
    }

    #[test]
    fn what_upstreams_read_differently_is_refused() {
        check_refused("*", PathError::NotAbsolute);
        check_refused("users", PathError::NotAbsolute);
        check_refused("/a%2fb", PathError::EncodedSlash);
        check_refused("/a%2Fb", PathError::EncodedSlash);
        check_refused("/a%5cb", PathError::Backslash);
        check_refused("/a%5Cb", PathError::Backslash);
        check_refused("/a\\b", PathError::Backslash);
        check_refused("/a%00", PathError::EncodedNul);
        check_refused("/a\0", PathError::Control);
        check_refused("/a\r\nb", PathError::Control);
        check_refused("/a\x7f", PathError::Control);
        check_refused("/a?b", PathError::Delimiter);
        check_refused("/a#b", PathError::Delimiter);
        for path in ["/%", "/%2", "/%g0", "/%0g", "/%%41", "/%+1"] {
            check_refused(path, PathError::BadEscape);
        }
    }

    /// Paths made of what normalisation looks at, so that its rules meet each other often.
    fn path() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            4 => proptest::sample::select(vec!["/", "//", ".", "..", "/./", "/../", "a", "B", "~"]),
            2 => proptest::sample::select(vec!["%2e", "%2E", "%41", "%7e", "%c3", "%C3", "%25", "%3b"]),
            1 => proptest::sample::select(vec!["%2f", "%5c", "%00", "%", "%2", "\\", " ", "é", "|", "\n"]),
        ];
        proptest::collection::vec(piece, 0..12).prop_map(|pieces| format!("/{}", pieces.concat()))
    }

    proptest! {
        #[test]
        fn the_normal_form_is_its_own(path in path()) {
            if let Ok(normal) = normalise(&path) {
                prop_assert_eq!(normalise(&normal), Ok(Cow::Borrowed(normal.as_ref())));
            }
        }

        #[test]
        fn the_normal_form_has_nothing_left_to_read_differently(path in path()) {
            if let Ok(normal) = normalise(&path) {
                prop_assert!(normal.is_ascii() && normal.starts_with('/'));
                prop_assert!(!normal.contains("//"));
                prop_assert!(!normal.split('/').any(|segment| segment == "." || segment == ".."));
            }
        }

        #[test]
        fn a_borrowed_path_is_what_the_slow_way_gives(path in path()) {
            if let Ok(Cow::Borrowed(normal)) = normalise(&path) {
                prop_assert_eq!(resolve(&respell(normal.as_bytes()).unwrap()), normal);
            }
        }

        #[test]
        fn any_text_is_taken_or_refused(path in "\\PC*") {
            let _ = normalise(&path);
        }
    }
}
