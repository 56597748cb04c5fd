//! The sum of bytes, for guests that add up bodies.

/// Four lanes of four 16-bit sums each: a block is as long as none of these can overflow.
pub(crate) fn sum(data: &[u8]) -> u64 {
    const EVEN: u64 = 0x00ff_00ff_00ff_00ff;
    let sum_of_block = |block: &[u8]| {
        let (words, rest) = block.as_chunks::<32>();
        let mut lanes = [0_u64; 4];
        for word in words {
            let (eights, _) = word.as_chunks::<8>();
            for (lane, eight) in lanes.iter_mut().zip(eights) {
                let eight = u64::from_le_bytes(*eight);
                *lane += (eight & EVEN) + ((eight >> 8) & EVEN);
            }
        }
        let sixteenths = lanes.iter().flat_map(|lane| (0..4).map(move |at| (lane >> (16 * at)) & 0xffff));
        sixteenths.sum::<u64>() + rest.iter().map(|byte| u64::from(*byte)).sum::<u64>()
    };
    data.chunks(128 * 32).map(sum_of_block).sum()
}
