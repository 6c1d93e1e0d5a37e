//! What happened within the last seconds, from counters that only grow.
//!
//! A counter's readings come with the time at which they were taken where the subtask runs, so it does not matter how long they were on
//! their way.

use std::collections::VecDeque;

/// Over how much time rates are taken, in microseconds.
const WINDOW_MICROS: u64 = 5_000_000;

/// What a subtask had counted at some time.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Sample {
    pub(super) at_micros: u64,
    pub(super) busy_micros: u64,
    pub(super) working_micros: u64,
    pub(super) back_pressured_micros: u64,
    /// Bytes in and out.
    pub(super) bytes: [u64; 2],
    /// Records in and out, by operator.
    pub(super) records: Vec<[u64; 2]>,
}

/// What a subtask does in a second.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Rates {
    /// Milliseconds in which it worked, or could have.
    pub busy_millis: u32,
    /// Milliseconds in which it had its slot's thread.
    pub working_millis: u32,
    /// Milliseconds in which it waited for room.
    pub back_pressured_millis: u32,
    /// Milliseconds in which it had nothing to do.
    pub idle_millis: u32,
    /// Bytes in and out.
    pub bytes: [f64; 2],
    /// Records in and out, by operator.
    pub records: Vec<[f64; 2]>,
}

/// The samples of the last seconds.
#[derive(Debug, Default)]
pub(super) struct RateWindow(VecDeque<Sample>);

impl RateWindow {
    /// Another attempt begins, which has counted nothing.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds a sample, if it is newer than the last.
    pub(super) fn add(&mut self, sample: Sample) {
        if sample.at_micros == 0 || self.0.back().is_some_and(|last| last.at_micros >= sample.at_micros) {
            return;
        }
        let oldest = sample.at_micros.saturating_sub(WINDOW_MICROS);
        self.0.push_back(sample);
        while self.0.len() > 2 && self.0.get(1).is_some_and(|second| second.at_micros <= oldest) {
            self.0.pop_front();
        }
    }

    /// The rates; none before there are two samples.
    pub(super) fn rates(&self) -> Option<Rates> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let micros = last.at_micros.checked_sub(first.at_micros).filter(|micros| *micros > 0)?;
        let a_second = |from: u64, to: u64| to.saturating_sub(from) as f64 * 1e6 / micros as f64;
        let millis = |from: u64, to: u64| ((a_second(from, to) / 1000.0).round() as u32).min(1000);
        let busy_millis = millis(first.busy_micros, last.busy_micros);
        let back_pressured_millis =
            millis(first.back_pressured_micros, last.back_pressured_micros).min(1000 - busy_millis);
        let both = |from: &[u64; 2], to: &[u64; 2]| [a_second(from[0], to[0]), a_second(from[1], to[1])];
        let records = first.records.iter().zip(&last.records);
        Some(Rates {
            busy_millis,
            working_millis: millis(first.working_micros, last.working_micros).min(busy_millis),
            back_pressured_millis,
            idle_millis: 1000 - busy_millis - back_pressured_millis,
            bytes: both(&first.bytes, &last.bytes),
            records: records.map(|(from, to)| both(from, to)).collect(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(seconds: u64, busy: u64, records: u64) -> Sample {
        Sample {
            at_micros: seconds * 1_000_000,
            busy_micros: busy * 1_000_000,
            records: vec![[0, records]],
            ..Sample::default()
        }
    }

    #[test]
    fn rates_are_those_of_the_last_seconds() {
        let mut window = RateWindow::default();
        assert_eq!(window.rates(), None);
        for second in 1..=20 {
            window.add(sample(second, second / 2, second * 100));
            // Told again what is known.
            window.add(sample(second, second / 2, second * 100));
        }
        let rates = window.rates().unwrap();
        assert_eq!((rates.busy_millis, rates.idle_millis), (600, 400));
        assert_eq!(rates.records, [[0.0, 100.0]]);
        for second in 21..=26 {
            window.add(sample(second, 10, 2000));
        }
        let rates = window.rates().unwrap();
        assert_eq!((rates.busy_millis, rates.back_pressured_millis, rates.idle_millis), (0, 0, 1000));
        assert_eq!(rates.records, [[0.0, 0.0]]);
        window.clear();
        window.add(sample(1, 0, 5));
        assert_eq!(window.rates(), None);
    }
}
