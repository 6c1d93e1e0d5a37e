//! Makes input: samples with damage, and bytes of no sense.

/// Bytes that are boundaries of something.
const BYTES: [u8; 8] = [0, 1, 0x0A, 0x20, 0x7F, 0x80, 0xFE, 0xFF];

/// Numbers that are boundaries of something.
const NUMBERS: [u64; 12] = [
    0,
    1,
    0x7F,
    0xFF,
    0xFFFF,
    1 << 20,
    0x7FFF_FFFF,
    0x8000_0000,
    0xFFFF_FFFF,
    1 << 40,
    u64::MAX >> 1,
    u64::MAX,
];

/// How long input of no sense is at most.
const NONSENSE: usize = 300;

/// How long any input is at most, beyond the longest sample's length four times over.
const ROOM: usize = 1024;

/// SplitMix64: a seed gives the same numbers everywhere.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Below `end`; 0 if there is nothing below.
    fn below(&mut self, end: usize) -> usize {
        (self.next() % (end.max(1) as u64)) as usize
    }

    fn of<'a, T>(&mut self, all: &'a [T]) -> Option<&'a T> {
        all.get(self.below(all.len()))
    }
}

/// What input is made of.
#[derive(Default)]
pub(crate) struct Damage {
    pub(crate) samples: Vec<Vec<u8>>,
    pub(crate) words: Vec<Vec<u8>>,
}

impl Damage {
    /// The next input.
    pub(crate) fn input(&self, random: &mut Random) -> Vec<u8> {
        let mut bytes = match random.of(&self.samples) {
            Some(sample) if random.below(8) > 0 => sample.clone(),
            _ => (0..random.below(NONSENSE)).map(|_| random.next() as u8).collect(),
        };
        // Mostly little: what is damaged all over is refused at its beginning.
        let most = 1 << random.below(5);
        for _ in 0..random.below(most) {
            self.step(&mut bytes, random);
        }
        let longest = self.samples.iter().map(Vec::len).max().unwrap_or(0);
        bytes.truncate(longest * 4 + ROOM);
        bytes
    }

    fn step(&self, bytes: &mut Vec<u8>, random: &mut Random) {
        let at = random.below(bytes.len() + 1);
        let end = at + random.below((bytes.len() - at + 1).min(64));
        match random.below(11) {
            0 => bytes.truncate(at),
            1 => drop(bytes.drain(at..end)),
            2 => {
                let piece = bytes[at..end].to_vec();
                bytes.splice(at..at, piece);
            }
            3 => {
                let noise = (0..random.below(9)).map(|_| random.next() as u8);
                drop(bytes.splice(at..at, noise.collect::<Vec<_>>()));
            }
            4 | 5 => {
                if let Some(word) = random.of(&self.words) {
                    bytes.splice(at..at, word.iter().copied());
                }
            }
            6 => {
                if let Some(other) = random.of(&self.samples) {
                    let from = random.below(other.len() + 1);
                    let to = from + random.below(other.len() - from + 1);
                    bytes.splice(at..end, other[from..to].iter().copied());
                }
            }
            7 => {
                let number = random.of(&NUMBERS).copied().unwrap_or_default();
                let number = number.wrapping_add(random.below(3) as u64).wrapping_sub(1);
                let width = 1 << random.below(4);
                let whole = if random.below(2) == 0 {
                    number.to_le_bytes()
                } else {
                    (number << (64 - 8 * width)).to_be_bytes()
                };
                for (byte, new) in bytes[at..].iter_mut().zip(&whole[..width]) {
                    *byte = *new;
                }
            }
            kind => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = match kind {
                        8 => *byte ^ (1 << random.below(8)),
                        9 => random.of(&BYTES).copied().unwrap_or_default(),
                        _ => random.next() as u8,
                    };
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_input_again() {
        let damage = Damage { samples: vec![b"a sample".to_vec(), vec![]], words: vec![b"word".to_vec()] };
        let inputs = |seed| {
            let mut random = Random::new(seed);
            (0..1000).map(|_| damage.input(&mut random)).collect::<Vec<_>>()
        };
        assert_eq!(inputs(7), inputs(7));
        assert_ne!(inputs(7), inputs(8));
        assert!(inputs(7).contains(&b"a sample".to_vec()), "some are whole");
        assert!(inputs(7).iter().all(|input| input.len() <= 8 * 4 + ROOM));
    }
}
