//! The strict scan of a chunked body's framing (RFC 9112 §7.1): sizes, line ends, trailers. Data is skipped by count.
//!
//! What is right is passed on as it arrives: hyper decodes it, and a fault ends the body of a request that is under way.

use super::bytes::{CR, LF, token_end};
use super::fault::Fault;
use super::head::{bad_name, bad_value, value_end};
use crate::message::FORBIDDEN_TRAILERS;

/// Where in a chunked body the scan is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chunks {
    place: Place,
    /// The name of the trailer that is being read; no forbidden one is longer.
    name: [u8; NAME_BYTES],
    name_bytes: usize,
    trailer_bytes: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    Size {
        size: u64,
        digits: u8,
    },
    Extension {
        size: u64,
        bytes: usize,
    },
    SizeLf {
        size: u64,
    },
    Data {
        left: u64,
    },
    DataCr,
    DataLf,
    /// The first byte of a line behind the last chunk.
    Trailer,
    TrailerName,
    TrailerValue,
    TrailerLf,
    LastLf,
    Over,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { place: SIZE, name: [0; NAME_BYTES], name_bytes: 0, trailer_bytes: 0 }
    }
}

impl Chunks {
    /// Goes on with these bytes, and says how many of them belong to the body.
    pub(super) fn scan(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let mut at = 0;
        while at < bytes.len() && self.place != Place::Over {
            at += match self.place {
                Place::Data { left } => self.data(left, &bytes[at..]),
                Place::TrailerName | Place::TrailerValue => self.trailer(&bytes[at..])?,
                _ => {
                    self.place = self.step(bytes[at])?;
                    // A name begins with the byte that shows that there is one.
                    usize::from(self.place != Place::TrailerName)
                }
            };
        }
        Ok(at)
    }

    pub(super) fn is_over(&self) -> bool {
        self.place == Place::Over
    }

    fn data(&mut self, left: u64, bytes: &[u8]) -> usize {
        let taken = usize::try_from(left).map_or(bytes.len(), |left| left.min(bytes.len()));
        let left = left - taken as u64;
        self.place = if left == 0 { Place::DataCr } else { Place::Data { left } };
        taken
    }

    /// Over one byte of the framing.
    fn step(&mut self, byte: u8) -> Result<Place, Fault> {
        Ok(match (self.place, byte) {
            (Place::Size { size, digits }, _) if byte.is_ascii_hexdigit() => {
                if digits == SIZE_DIGITS_MAX {
                    return Err(Fault::Malformed("a chunk's size has too many digits (RFC 9112 §7.1)"));
                }
                let digit = char::from(byte).to_digit(16).unwrap_or_default();
                Place::Size { size: size << 4 | u64::from(digit), digits: digits + 1 }
            }
            (Place::Size { size, digits: 1.. }, CR) => Place::SizeLf { size },
            (Place::Size { size, digits: 1.. }, b';') => Place::Extension { size, bytes: 0 },
            (Place::Size { .. }, _) => {
                return Err(Fault::Malformed("a chunk's size is not hexadecimal digits alone (RFC 9112 §7.1)"));
            }
            (Place::Extension { size, .. }, CR) => Place::SizeLf { size },
            (Place::Extension { size, bytes }, b'\t' | b' '..=b'~' | 0x80..) if bytes < EXTENSION_BYTES_MAX => {
                Place::Extension { size, bytes: bytes + 1 }
            }
            (Place::Extension { bytes: EXTENSION_BYTES_MAX, .. }, _) => {
                return Err(Fault::HeadTooLarge("a chunk's extensions are too long (RFC 9112 §7.1.1)"));
            }
            (Place::Extension { .. }, _) => {
                return Err(Fault::Malformed("a chunk's extension has a control byte (RFC 9112 §7.1.1)"));
            }
            (Place::SizeLf { size: 0 } | Place::TrailerLf, LF) => Place::Trailer,
            (Place::SizeLf { size }, LF) => Place::Data { left: size },
            (Place::DataCr, CR) => Place::DataLf,
            (Place::DataLf, LF) => SIZE,
            (Place::Trailer, CR) => Place::LastLf,
            (Place::Trailer, _) => {
                self.name_bytes = 0;
                Place::TrailerName
            }
            (Place::LastLf, LF) => Place::Over,
            _ => return Err(Fault::Malformed("a line or a chunk does not end in CRLF (RFC 9112 §7.1)")),
        })
    }

    fn trailer(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let taken =
            if self.place == Place::TrailerName { self.trailer_name(bytes)? } else { self.trailer_value(bytes)? };
        self.trailer_bytes += taken;
        if self.trailer_bytes > TRAILER_BYTES_MAX {
            return Err(Fault::HeadTooLarge("the trailers are larger than this gateway takes (RFC 9112 §7.1.2)"));
        }
        Ok(taken)
    }

    fn trailer_name(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let end = token_end(bytes, 0);
        for byte in &bytes[..end] {
            if let Some(place) = self.name.get_mut(self.name_bytes) {
                *place = byte.to_ascii_lowercase();
            }
            self.name_bytes += 1;
        }
        match bytes.get(end) {
            None => return Ok(end),
            Some(b':') if self.name_bytes > 0 => {}
            Some(byte) => return Err(bad_name(*byte, self.name_bytes == 0)),
        }
        let name = self.name.get(..self.name_bytes).unwrap_or_default();
        if FORBIDDEN_TRAILERS.iter().any(|forbidden| forbidden.as_bytes() == name) {
            return Err(Fault::Malformed("a trailer is of those that no trailer may be (RFC 9110 §6.5.1)"));
        }
        self.place = Place::TrailerValue;
        Ok(end + 1)
    }

    fn trailer_value(&mut self, bytes: &[u8]) -> Result<usize, Fault> {
        let end = value_end(bytes, 0);
        match bytes.get(end) {
            None => Ok(end),
            Some(&CR) => {
                self.place = Place::TrailerLf;
                Ok(end + 1)
            }
            Some(byte) => Err(bad_value(*byte)),
        }
    }
}

const SIZE: Place = Place::Size { size: 0, digits: 0 };
/// As many as 64 bits have.
const SIZE_DIGITS_MAX: u8 = 16;
const EXTENSION_BYTES_MAX: usize = 256;
const TRAILER_BYTES_MAX: usize = 8 << 10;
const NAME_BYTES: usize = 24;

#[cfg(test)]
mod tests {
    use super::*;

    /// How far the body goes, however it is cut, or why not.
    fn scan(body: &[u8]) -> Result<Option<usize>, Fault> {
        let whole = scan_pieces([body]);
        for cut in 1..body.len() {
            assert_eq!(scan_pieces([&body[..cut], &body[cut..]]), whole, "cut at {cut}");
        }
        assert_eq!(scan_pieces(body.chunks(1)), whole, "byte by byte");
        whole
    }

    fn scan_pieces<'b>(pieces: impl IntoIterator<Item = &'b [u8]>) -> Result<Option<usize>, Fault> {
        let mut chunks = Chunks::default();
        let mut taken = 0;
        for piece in pieces {
            taken += chunks.scan(piece)?;
        }
        Ok(chunks.is_over().then_some(taken))
    }

    #[test]
    fn bodies_that_are_right_end_where_they_say() {
        for body in [
            "0\r\n\r\n",
            "5\r\nhello\r\n0\r\n\r\n",
            "A;name=\"v a\tl\";x\r\n0123456789\r\n00\r\n\r\n",
            "000000000000000a\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY:\r\n\r\n",
        ] {
            assert_eq!(scan(body.as_bytes()), Ok(Some(body.len())), "{body:?}");
            assert_eq!(scan(&[body, "GET /"].concat().into_bytes()), Ok(Some(body.len())), "{body:?} and more");
            assert_eq!(scan(&body.as_bytes()[..body.len() - 1]), Ok(None), "{body:?} without its end");
        }
    }

    #[test]
    fn bodies_that_are_wrong_are_told_so() {
        for body in [
            "",
            "\r\n",
            ";x\r\n",
            "g\r\n",
            "-1\r\n",
            "+1\r\n",
            "0x1\r\n",
            " 1\r\n",
            "1 \r\n",
            "1\n",
            "1\r\r",
            "1;\n",
            "1;\u{1}\r\n",
            "1;a\rb\r\n",
            "00000000000000001\r\n",
            "1\r\nab\r\n",
            "1\r\na\n",
            "1\r\na\rb",
            "0\r\n\n",
            "0\r\n\rx",
            "0\r\n x: 1\r\n",
            "0\r\nx: 1\r\n y\r\n",
            "0\r\nx : 1\r\n",
            "0\r\n: 1\r\n",
            "0\r\nx\r\n",
            "0\r\nx: 1\n",
            "0\r\nx: \u{0}\r\n",
            "0\r\nContent-Length: 1\r\n",
            "0\r\nTRANSFER-ENCODING: chunked\r\n",
            "0\r\nhost: a\r\n",
            "1_\r\n",
            "1,2\r\n",
        ] {
            let scanned = scan(body.as_bytes());
            assert_eq!(scanned.is_err(), !body.is_empty(), "{body:?}: {scanned:?}");
        }
    }

    #[test]
    fn limits_hold_at_their_figures() {
        let extension = |bytes: usize| format!("1;{}\r\nx\r\n0\r\n\r\n", "e".repeat(bytes));
        assert!(scan(extension(EXTENSION_BYTES_MAX).as_bytes()).is_ok());
        assert!(matches!(scan(extension(EXTENSION_BYTES_MAX + 1).as_bytes()), Err(Fault::HeadTooLarge(_))));
        let trailer = |bytes: usize| format!("0\r\nx:{}\r\n\r\n", "e".repeat(bytes - 3));
        assert!(scan_pieces([trailer(TRAILER_BYTES_MAX).as_bytes()]).is_ok());
        assert!(matches!(scan_pieces([trailer(TRAILER_BYTES_MAX + 1).as_bytes()]), Err(Fault::HeadTooLarge(_))));
    }
}
