//! An address as text, without the allocator.

use std::fmt::Write as _;
use std::net::IpAddr;

/// An IP address in its usual form (RFC 5952 for IPv6).
pub(crate) struct IpText {
    bytes: [u8; BYTES_MAX],
    len: usize,
}

impl IpText {
    pub(crate) fn of(address: IpAddr) -> Self {
        let mut text = Self { bytes: [0; BYTES_MAX], len: 0 };
        match address {
            // By far the most of them, and the formatter's way takes ten times as long.
            IpAddr::V4(address) => {
                for (at, octet) in address.octets().into_iter().enumerate() {
                    if at > 0 {
                        text.push(b'.');
                    }
                    if octet >= 100 {
                        text.push(b'0' + octet / 100);
                    }
                    if octet >= 10 {
                        text.push(b'0' + octet / 10 % 10);
                    }
                    text.push(b'0' + octet % 10);
                }
            }
            IpAddr::V6(address) => write!(text, "{address}").expect("there is room for the longest"),
        }
        text
    }

    pub(crate) fn as_str(&self) -> &str {
        std::str::from_utf8(&self.bytes[..self.len]).expect("it is ASCII")
    }

    fn push(&mut self, byte: u8) {
        self.bytes[self.len] = byte;
        self.len += 1;
    }
}

impl std::fmt::Write for IpText {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        let end = self.len + text.len();
        self.bytes.get_mut(self.len..end).ok_or(std::fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Of an IPv6 address that ends as an IPv4 one.
const BYTES_MAX: usize = 45;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_as_everywhere() {
        for text in ["0.0.0.0", "9.10.99.100", "192.0.2.1", "255.255.255.255", "::", "2001:db8::1", "::ffff:192.0.2.1"]
        {
            assert_eq!(IpText::of(text.parse().expect("an address")).as_str(), text);
        }
        let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff";
        assert_eq!(IpText::of(longest.parse().expect("an address")).as_str(), longest);
    }
}
