//! A tournament among the heads of sorted runs: the next smallest of k costs log₂ k comparisons, each with one loser.
//!
//! The tree knows only numbers of runs; who is before whom it asks. Leaf `i` of `k` stands at `k + i`, its parent at half of
//! that, and so on up to 1; each inner place keeps the loser of its match.
//!
//! ```text
//! let heads = [5, 3, 4];
//! let mut tree = LoserTree::new(3, |a, b| heads[a] < heads[b]);
//! assert_eq!(tree.winner(), 1);
//! heads[1] = 9;
//! tree.replay(|a, b| heads[a] < heads[b]);
//! assert_eq!(tree.winner(), 2);
//! ```

/// See the module.
#[derive(Debug)]
pub(super) struct LoserTree {
    losers: Vec<u32>,
    winner: u32,
}

impl LoserTree {
    /// The tournament of `runs` runs, at least one; `before` says whether the first goes before the second.
    pub(super) fn new(runs: usize, mut before: impl FnMut(usize, usize) -> bool) -> Self {
        let mut losers = vec![0; runs];
        let mut winners = vec![0; 2 * runs];
        for place in (1..2 * runs).rev() {
            if place >= runs {
                winners[place] = (place - runs) as u32;
                continue;
            }
            let (a, b) = (winners[2 * place], winners[2 * place + 1]);
            let b_wins = before(b as usize, a as usize);
            (winners[place], losers[place]) = if b_wins { (b, a) } else { (a, b) };
        }
        Self { losers, winner: winners.get(1).copied().unwrap_or(0) }
    }

    /// The run whose head goes before all others.
    #[inline]
    pub(super) fn winner(&self) -> usize {
        self.winner as usize
    }

    /// Plays again after the winner's head has changed.
    #[inline]
    pub(super) fn replay(&mut self, mut before: impl FnMut(usize, usize) -> bool) {
        let mut winner = self.winner;
        let mut place = (self.losers.len() + winner as usize) / 2;
        while place >= 1 {
            let loser = &mut self.losers[place];
            if before(*loser as usize, winner as usize) {
                std::mem::swap(loser, &mut winner);
            }
            place /= 2;
        }
        self.winner = winner;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn merges(mut runs in prop::collection::vec(prop::collection::vec(0_u32..50, 0..20), 1..20)) {
            let mut expected: Vec<u32> = runs.iter().flatten().copied().collect();
            expected.sort_unstable();
            for run in &mut runs {
                run.sort_unstable_by(|a, b| b.cmp(a));
            }
            let head = |run: &Vec<u32>| run.last().map_or(u64::MAX, |value| u64::from(*value));
            let mut tree = LoserTree::new(runs.len(), |a, b| head(&runs[a]) < head(&runs[b]));
            let mut merged = Vec::new();
            while let Some(value) = runs[tree.winner()].pop() {
                merged.push(value);
                tree.replay(|a, b| head(&runs[a]) < head(&runs[b]));
            }
            prop_assert_eq!(merged, expected);
        }
    }
}
