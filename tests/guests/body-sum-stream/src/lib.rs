//! Adds up the bytes of a request's body while it passes, and tells length and sum in a header of the response.

use witgate_plugin::config::NoConfig;
use witgate_plugin::{End, Error, Plugin, Request, Response, Setup, Step, Transform, Verdict, export_plugin};

struct BodySum;

impl Plugin for BodySum {
    type Config = NoConfig;

    fn configure(_config: NoConfig, _setup: &mut Setup) -> Result<Self, Error> {
        Ok(BodySum)
    }

    fn on_request_body(&self, _request: &Request) -> Option<Box<dyn Transform>> {
        Some(Box::new(Sum { bytes: 0, sum: 0 }))
    }

    fn on_response(&self, response: &mut Response) -> Verdict {
        response.set_header("x-bench-body", response.kept().unwrap_or(b"0:0"));
        Verdict::Next
    }
}

struct Sum {
    bytes: u64,
    sum: u64,
}

impl Transform for Sum {
    fn chunk(&mut self, data: &[u8]) -> Step {
        self.bytes += data.len() as u64;
        self.sum += sum(data);
        Step::Unchanged
    }

    fn finish(&mut self) -> End {
        End::done().keep(format!("{}:{}", self.bytes, self.sum))
    }
}

/// Four lanes of four 16-bit sums each: a block is as long as none of these can overflow.
fn sum(data: &[u8]) -> u64 {
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

export_plugin!(BodySum: response, request_body);
