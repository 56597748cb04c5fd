//! Distinguished names as text (RFC 4514): what a certificate says of its subject, so that no value can pass for several.

use std::fmt::Write as _;

use x509_parser::prelude::{AttributeTypeAndValue, X509Name};

/// The most specific part first, in ASCII: `CN=ada,OU=people,O=Example`.
pub(super) fn text(name: &X509Name<'_>) -> String {
    let mut parts: Vec<_> = name.iter_rdn().collect();
    parts.reverse();
    let mut text = String::new();
    for (place, part) in parts.into_iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        for (place, attribute) in part.iter().enumerate() {
            if place > 0 {
                text.push('+');
            }
            write(attribute, &mut text);
        }
    }
    text
}

fn write(attribute: &AttributeTypeAndValue<'_>, text: &mut String) {
    let oid = attribute.attr_type().to_id_string();
    let short = SHORT.iter().find(|(known, _)| *known == oid).map(|(_, short)| *short);
    match (short, attribute.as_str()) {
        (Some(short), Ok(value)) => {
            text.push_str(short);
            text.push('=');
            escape(value, text);
        }
        // The value with its tag and length (RFC 4514 §2.4).
        _ => {
            let value = attribute.attr_value();
            text.push_str(&oid);
            text.push_str("=#");
            let tag = u8::try_from(value.tag().0).unwrap_or_default();
            [tag].iter().chain(&length(value.data.len())).chain(value.data).for_each(|byte| hex(*byte, text));
        }
    }
}

/// RFC 4514 §2.4. What is not printable ASCII is written in hex, so that the text fits in a header.
fn escape(value: &str, text: &mut String) {
    let last = value.len().saturating_sub(1);
    for (place, byte) in value.bytes().enumerate() {
        match byte {
            b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b'=' => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' | b'#' if place == 0 => {
                text.push('\\');
                text.push(char::from(byte));
            }
            b' ' if place == last => text.push_str("\\ "),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                text.push('\\');
                hex(byte, text);
            }
        }
    }
}

/// A length of BER (X.690 §8.1.3).
fn length(bytes: usize) -> Vec<u8> {
    match u8::try_from(bytes) {
        Ok(short) if short < 0x80 => vec![short],
        _ => {
            let long: Vec<u8> = bytes.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
            let count = u8::try_from(long.len()).unwrap_or_default();
            [vec![0x80 | count], long].concat()
        }
    }
}

pub(super) fn hex(byte: u8, text: &mut String) {
    let _ = write!(text, "{byte:02x}");
}

/// RFC 4514 §3, and those that RFC 5280 §4.1.2.4 names besides.
const SHORT: [(&str, &str); 11] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.6", "C"),
    ("2.5.4.9", "STREET"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("2.5.4.5", "serialNumber"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_special_in_a_value_is_escaped() {
        for (value, expected) in [
            ("ada", "ada"),
            ("", ""),
            (" a b ", "\\ a b\\ "),
            (" ", "\\ "),
            ("#a#", "\\#a#"),
            ("a,b+c=d", "a\\,b\\+c\\=d"),
            ("a\r\nb\u{e9}", "a\\0d\\0ab\\c3\\a9"),
        ] {
            let mut text = String::new();
            escape(value, &mut text);
            assert_eq!(text, expected);
        }
    }

    #[test]
    fn lengths_are_short_or_long() {
        assert_eq!(
            (length(0x7f), length(0x80), length(0x1234)),
            (vec![0x7f], vec![0x81, 0x80], vec![0x82, 0x12, 0x34])
        );
    }
}
