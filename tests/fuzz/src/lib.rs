//! Damaged, garbled and arbitrary input for decoders: whatever comes, a decoder gives a value or an error. It does not panic, and it does not
//! take more memory than its input explains.
//!
//! Inputs are valid encodings that were damaged (bits flipped, numbers put in, pieces cut out, doubled and mixed) and bytes of no sense. In
//! an ordinary test run a decoder gets a second at most; `scripts/fuzz` gives it as long as one likes, by `FLOTT_FUZZ_SECONDS`. A failure shows
//! its input, and the seed that leads to it again, by `FLOTT_FUZZ_SEED`.
//!
//! ```
//! use flott_fuzz::Decoder;
//!
//! Decoder::new("numbers").sample(b"12".to_vec()).word("-").text(|text| {
//!     let _ = text.parse::<u64>();
//! });
//! ```
//!
//! Linking this crate makes [`allocation`] the allocator of the test binary. Tests that use it are named `fuzz_GROUP_…`, by which
//! `scripts/fuzz` finds them.

#![expect(clippy::expect_used, reason = "a test fails by a panic")]

pub mod allocation;
mod damage;

use std::hash::{BuildHasher, RandomState};
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use damage::{Damage, Random};

/// What an ordinary test run tries, and for how long at most.
const FEW: u64 = 2_000;
const SHORT: Duration = Duration::from_secs(1);

/// A decoder that takes longer than this for one input hangs.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory that a decoder may hold at once: so much, and so many bytes for each byte of its input.
const BASE: usize = 64 << 10;
const FACTOR: usize = 64;

/// A decoder, and what its input looks like.
#[must_use]
pub struct Decoder {
    name: &'static str,
    damage: Damage,
    base: usize,
}

impl Decoder {
    /// By what it decodes.
    pub fn new(name: &'static str) -> Self {
        Self { name, damage: Damage::default(), base: BASE }
    }

    /// A valid encoding.
    pub fn sample(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.damage.samples.push(bytes.into());
        self
    }

    /// A piece that means something to the decoder.
    pub fn word(mut self, word: impl AsRef<[u8]>) -> Self {
        self.damage.words.push(word.as_ref().to_vec());
        self
    }

    /// Pieces that mean something to the decoder.
    pub fn words(self, words: &[&str]) -> Self {
        words.iter().fold(self, Self::word)
    }

    /// How many bytes the decoder may hold at once, beyond 64 for each byte of its input. 64 KiB, if nothing else is said.
    pub fn may_hold(mut self, bytes: usize) -> Self {
        self.base = bytes;
        self
    }

    /// Runs a decoder of bytes.
    ///
    /// # Panics
    /// It panics, hangs or takes too much memory.
    pub fn bytes(self, decode: impl Fn(&[u8])) {
        let end = seconds().map(|seconds| Instant::now() + seconds);
        let begun = Instant::now();
        let seed = seed();
        let mut random = Random::new(seed);
        let (mut cases, mut most, mut slowest) = (0_u64, 0, Duration::ZERO);
        loop {
            match end {
                Some(end) if Instant::now() < end => {}
                None if cases < FEW && begun.elapsed() < SHORT => {}
                _ => break,
            }
            let input = self.damage.input(&mut random);
            cases += 1;
            let start = Instant::now();
            let decoded = catch_unwind(AssertUnwindSafe(|| allocation::peak(|| decode(&input))));
            let took = start.elapsed();
            slowest = slowest.max(took);
            let shown = || {
                format!(
                    "{}: input {cases} of FLOTT_FUZZ_SEED={seed} is b\"{}\"",
                    self.name,
                    input.escape_ascii()
                )
            };
            match decoded {
                Err(panic) => {
                    eprintln!("{}", shown());
                    resume_unwind(panic);
                }
                Ok(peak) => {
                    most = most.max(peak);
                    assert!(peak <= self.base + FACTOR * input.len(), "it held {peak} bytes; {}", shown());
                    assert!(took <= PATIENCE, "it took {took:?}; {}", shown());
                }
            }
        }
        println!(
            "fuzzed {}: {cases} inputs in {:.0} s, at most {most} bytes held, the slowest {:.1} ms",
            self.name,
            begun.elapsed().as_secs_f64(),
            slowest.as_secs_f64() * 1e3
        );
    }

    /// Runs a decoder of text.
    ///
    /// # Panics
    /// It panics, hangs or takes too much memory.
    pub fn text(self, decode: impl Fn(&str)) {
        self.bytes(|bytes| decode(&String::from_utf8_lossy(bytes)));
    }
}

fn seconds() -> Option<Duration> {
    let seconds = std::env::var("FLOTT_FUZZ_SECONDS").ok()?;
    Some(Duration::from_secs(seconds.parse().expect("FLOTT_FUZZ_SECONDS is a number of seconds")))
}

fn seed() -> u64 {
    match std::env::var("FLOTT_FUZZ_SEED") {
        Ok(seed) => seed.parse().expect("FLOTT_FUZZ_SEED is a number"),
        Err(_) => RandomState::new().hash_one(0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fails(decoder: Decoder, decode: impl Fn(&[u8])) -> String {
        let panic = catch_unwind(AssertUnwindSafe(|| decoder.bytes(decode))).unwrap_err();
        match panic.downcast::<String>() {
            Ok(text) => *text,
            Err(panic) => (*panic.downcast::<&str>().unwrap()).to_owned(),
        }
    }

    #[test]
    fn a_decoder_that_trusts_a_length_is_found() {
        let naive = |bytes: &[u8]| {
            if let Some((length, _)) = bytes.split_first_chunk::<4>() {
                drop(Vec::<u8>::with_capacity(u32::from_be_bytes(*length) as usize & 0xFFF_FFFF));
            }
        };
        let said = fails(Decoder::new("naive").sample([0, 0, 0, 1, 7]), naive);
        assert!(said.starts_with("it held ") && said.contains("FLOTT_FUZZ_SEED="), "{said}");
    }

    #[test]
    fn a_decoder_that_panics_is_found() {
        let hasty = |bytes: &[u8]| assert!(bytes.first() != Some(&7) || bytes.len() > 1, "one byte only");
        assert_eq!(fails(Decoder::new("hasty").sample([7, 8]), hasty), "one byte only");
    }

    #[test]
    fn a_careful_decoder_passes() {
        Decoder::new("careful").sample([1, 2, 3]).word("x").text(|text| assert!(text.len() < 1 << 20));
    }
}
