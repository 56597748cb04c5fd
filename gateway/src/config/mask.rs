//! Masks: a text as others may read it, with what is a secret in it covered.
//!
//! Secrets belong into `secrets`, and values of the environment are in no text. What stands here all the same is found by its key, or as the
//! password of a URL.

use std::ops::Range;

use super::place::Places;
use super::texts::Text;

/// What stands in the place of a secret. A text that holds it is not taken back.
pub const MASK: &str = "<masked>";

/// The text without its secrets.
pub fn masked(text: &Text) -> String {
    let mut covered = Places::read(&text.text).values(
        &|path, value| {
            let is_named = path.last().is_some_and(|key| NAMES.contains(&key.to_ascii_lowercase().as_str()));
            // The keys of `api-key` are a list of maps; a `key` elsewhere is what requests are told apart by, or a file.
            let is_key = path.ends_with(&["keys".to_owned(), "key".to_owned()]);
            (is_named || is_key) && !REFERENCES.iter().any(|start| value.starts_with(start))
        },
        &text.text,
    );
    covered.extend(passwords(&text.text));
    covered.sort_by_key(|range| range.start);
    let (mut out, mut done) = (String::with_capacity(text.text.len()), 0);
    for range in covered {
        if range.start >= done {
            out.push_str(&text.text[done..range.start]);
            out.push_str(MASK);
            done = range.end;
        }
    }
    out.push_str(&text.text[done..]);
    out
}

/// The passwords of URLs: what stands between the colon and the `@` of an authority.
fn passwords(text: &str) -> Vec<Range<usize>> {
    let begin = |(at, _): (usize, &str)| {
        let start = at + 3;
        let end = text[start..]
            .find(|c: char| c.is_whitespace() || "/\"'#?,}]".contains(c))
            .map_or(text.len(), |end| start + end);
        let at_sign = text[start..end].rfind('@')?;
        let colon = text[start..start + at_sign].find(':')?;
        let password = start + colon + 1..start + at_sign;
        (!password.is_empty() && !text[password.clone()].starts_with("${env:")).then_some(password)
    };
    text.match_indices("://").filter_map(begin).collect()
}

/// Keys whose values are secrets wherever they stand.
const NAMES: [&str; 8] =
    ["password", "passphrase", "secret", "token", "client_secret", "api_key", "private_key", "access_key"];

/// What only says where a secret is.
const REFERENCES: [&str; 3] = ["secret://", "${env:", "<masked>"];

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn check(text: &str, expected: &str) {
        let text = Text { name: "a".to_owned(), folder: PathBuf::new(), text: text.to_owned(), unread: None };
        assert_eq!(masked(&text), expected);
    }

    #[test]
    fn what_is_a_secret_is_covered_and_all_else_is_as_it_is_written() {
        check("a: 1 # token: x\nkey: client-ip\n", "a: 1 # token: x\nkey: client-ip\n");
        check("s: { redis: 'redis://me:hunter2@h:1/0' }", "s: { redis: 'redis://me:<masked>@h:1/0' }");
        check("s: redis://me:${env:PW}@h:1\n", "s: redis://me:${env:PW}@h:1\n");
        check("c: { keys: [{ key: hunter2, id: me }] }", "c: { keys: [{ key: <masked>, id: me }] }");
        check("c: { Password: \"hunter2\", token: secret://t }", "c: { Password: <masked>, token: secret://t }");
        check("not: [yaml", "not: [yaml");
    }
}
