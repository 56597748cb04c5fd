//! Points of Ed25519 that must not be keys: those of small order, with which a signature can be made that holds for whatever message.
//!
//! Libraries leave it to others to look for them, because an honest key is none (RFC 8032 §8.9 has the same for agreements; "Taming
//! the many EdDSAs", Chalkias et al., 2020). A set that has one was forged or is broken.

/// Whether a public key is one of the eight, however it is written.
pub(super) fn is_of_small_order(key: &[u8]) -> bool {
    let Ok(mut point) = <[u8; 32]>::try_from(key) else { return false };
    // The sign of the other coordinate makes no difference.
    point[31] &= 0x7f;
    SMALL_ORDERS.contains(&point)
}

/// Their coordinate as it is written, the last byte first: 0 and 1, what is equal to -1, 0 and 1 by the prime, and those of order eight.
const SMALL_ORDERS: [[u8; 32]; 7] = [
    point(0x00, 0x00, 0x00),
    point(0x01, 0x00, 0x00),
    point(0xec, 0xff, 0x7f),
    point(0xed, 0xff, 0x7f),
    point(0xee, 0xff, 0x7f),
    *b"\x26\xe8\x95\x8f\xc2\xb2\x27\xb0\x45\xc3\xf4\x89\xf2\xef\x98\xf0\xd5\xdf\xac\x05\xd3\xc6\x33\x39\xb1\x38\x02\x88\x6d\x53\xfc\x05",
    *b"\xc7\x17\x6a\x70\x3d\x4d\xd8\x4f\xba\x3c\x0b\x76\x0d\x10\x67\x0f\x2a\x20\x53\xfa\x2c\x39\xcc\xc6\x4e\xc7\xfd\x77\x92\xac\x03\x7a",
];

const fn point(first: u8, middle: u8, last: u8) -> [u8; 32] {
    let mut point = [middle; 32];
    (point[0], point[31]) = (first, last);
    point
}
