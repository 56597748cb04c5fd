//! The corpora of the fuzz targets, as ordinary tests: each file of each by the same functions, and some that are nearly the same.
//!
//! `WITGATE_FUZZ_ROUNDS=10000` looks further, without a fuzzer; the same rounds give the same inputs.

#[path = "../fuzz/targets.rs"]
mod targets;

use std::fs;
use std::path::Path;

fn run(corpus: &str, target: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpora").join(corpus);
    let rounds = std::env::var("WITGATE_FUZZ_ROUNDS").ok().and_then(|rounds| rounds.parse().ok());
    let mut paths: Vec<_> =
        fs::read_dir(folder).expect("the corpus is there").map(|entry| entry.expect("a file").path()).collect();
    paths.sort();
    assert!(paths.len() >= 10, "{corpus} has {} files", paths.len());
    let inputs: Vec<Vec<u8>> = paths.iter().map(|path| fs::read(path).expect("a file")).collect();
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for (path, input) in paths.iter().zip(&inputs) {
        check(&path.display().to_string(), input, target);
        for round in 0..rounds.unwrap_or(ROUNDS) {
            let other = &inputs[dice.below(inputs.len())];
            let near = dice.mutated(input, other);
            check(&format!("round {round} of {}", path.display()), &near, target);
        }
    }
}

/// Names the input, should it fail.
fn check(name: &str, input: &[u8], target: fn(&[u8])) {
    let outcome = std::panic::catch_unwind(|| target(input));
    assert!(outcome.is_ok(), "{name}: {:?}", String::from_utf8_lossy(input));
}

/// Rounds for each file, which take about a second for all.
const ROUNDS: usize = 20;

/// Numbers without a pattern, the same each time (xorshift).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).expect("31 bits") % bound.max(1)
    }

    /// An input with a few bytes changed, left out, repeated or taken from another.
    fn mutated(&mut self, input: &[u8], other: &[u8]) -> Vec<u8> {
        const BYTES: &[u8] = b"\r\n\t \0:;,#%/*0159afAF_-=\"\x7f\x80\xff";
        let mut bytes = input.to_vec();
        for _ in 0..=self.below(3) {
            let at = self.below(bytes.len() + 1);
            let end = (at + self.below(8)).min(bytes.len());
            match self.below(6) {
                0 => drop(bytes.drain(at..end)),
                1 => bytes.insert(at, BYTES[self.below(BYTES.len())]),
                2 if at < bytes.len() => bytes[at] = BYTES[self.below(BYTES.len())],
                3 => drop(bytes.splice(at..at, input[self.below(input.len())..].iter().take(20).copied())),
                4 => drop(bytes.splice(at.., other[self.below(other.len())..].iter().copied())),
                _ => bytes.truncate(at.max(1)),
            }
        }
        bytes
    }
}

#[test]
fn heads() {
    run("heads", targets::heads);
}

#[test]
fn configurations() {
    run("config", targets::config);
}

#[test]
fn routes() {
    run("router", targets::router);
}

#[test]
fn paths() {
    run("path", targets::path);
}
