//! Where the frames of a WebSocket begin and end (RFC 6455 §5.2), told from the bytes as they pass.
//!
//! Nothing is judged and nothing kept: a gateway that relays frames needs to know only where it may put one of its own.

/// One direction of a WebSocket.
#[derive(Debug, Default)]
pub(super) struct Frames {
    /// The head that is being read.
    head: [u8; HEAD_BYTES_MAX],
    head_read: u8,
    /// What is left of the data after a head that is whole.
    data_left: u64,
    has_closed: bool,
}

impl Frames {
    /// Bytes that pass.
    pub(super) fn pass(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            rest = &rest[self.step(rest)..];
        }
    }

    /// How many of these bytes end the frame that is under way, which pass: none between frames, all when it goes on after them.
    pub(super) fn pass_rest_of_frame(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while !self.is_between() && passed < bytes.len() {
            passed += self.step(&bytes[passed..]);
        }
        passed
    }

    pub(super) fn is_between(&self) -> bool {
        self.head_read == 0
    }

    /// Whether a Close frame has passed, after which none may follow.
    pub(super) fn has_closed(&self) -> bool {
        self.has_closed
    }

    /// Passes a byte of a head, or data, and tells how much that was.
    fn step(&mut self, bytes: &[u8]) -> usize {
        let passed = if self.data_left > 0 {
            let piece = usize::try_from(self.data_left).unwrap_or(usize::MAX).min(bytes.len());
            self.data_left -= piece as u64;
            piece
        } else {
            self.head[usize::from(self.head_read)] = bytes[0];
            self.head_read += 1;
            if usize::from(self.head_read) < self.head_bytes() {
                return 1;
            }
            self.data_left = self.data_bytes();
            1
        };
        if self.data_left == 0 {
            self.has_closed |= self.head[0] & 0x0f == CLOSE;
            self.head_read = 0;
        }
        passed
    }

    /// How long the head is, as far as its first bytes tell.
    fn head_bytes(&self) -> usize {
        if self.head_read < 2 {
            return 2;
        }
        let length_bytes = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let mask_bytes = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        2 + length_bytes + mask_bytes
    }

    /// The length of the data, after a head that is whole.
    fn data_bytes(&self) -> u64 {
        let extended = match self.head[1] & 0x7f {
            126 => &self.head[2..4],
            127 => &self.head[2..10],
            short => return u64::from(short),
        };
        extended.iter().fold(0, |length, byte| (length << 8) | u64::from(*byte))
    }
}

const HEAD_BYTES_MAX: usize = 14;
const CLOSE: u8 = 8;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frame(opcode: u8, masked: bool, data: usize) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = vec![0x80 | opcode];
        match data {
            0..126 => frame.push(mask | u8::try_from(data).expect("it is short")),
            126..=0xffff => {
                frame.push(mask | 126);
                frame.extend(u16::try_from(data).expect("it is not long").to_be_bytes());
            }
            _ => {
                frame.push(mask | 127);
                frame.extend((data as u64).to_be_bytes());
            }
        }
        frame.extend(vec![0x88; if masked { 4 } else { 0 } + data]);
        frame
    }

    proptest! {
        #[test]
        fn frames_end_where_they_end_however_they_come(
            sizes in proptest::collection::vec((0..3_usize, 0..70_000_usize, any::<bool>()), 1..5),
            cuts in proptest::collection::vec(1..5000_usize, 1..20),
        ) {
            let mut frames = Frames::default();
            let sized = |(class, size, masked): (usize, usize, bool)| frame(2, masked, [size % 126, size % 4000, size][class]);
            for bytes in sizes.into_iter().map(sized) {
                let (all_but_one, last) = bytes.split_at(bytes.len() - 1);
                let mut rest = all_but_one;
                for cut in cuts.iter().cycle() {
                    let piece = &rest[..rest.len().min(*cut)];
                    frames.pass(piece);
                    rest = &rest[piece.len()..];
                    prop_assert!(!frames.is_between());
                    if rest.is_empty() {
                        break;
                    }
                }
                prop_assert_eq!(frames.pass_rest_of_frame(&[last, b"next"].concat()), 1);
                prop_assert!(frames.is_between());
            }
            prop_assert!(!frames.has_closed());
            frames.pass(&frame(8, true, 2));
            prop_assert!(frames.has_closed() && frames.is_between());
        }

        #[test]
        fn no_bytes_are_too_strange(bytes: Vec<u8>) {
            let mut frames = Frames::default();
            frames.pass(&bytes);
            prop_assert!(frames.pass_rest_of_frame(&bytes) <= bytes.len());
        }
    }

    #[test]
    fn between_frames_nothing_is_left_to_pass() {
        assert_eq!(Frames::default().pass_rest_of_frame(b"anything"), 0);
    }
}
