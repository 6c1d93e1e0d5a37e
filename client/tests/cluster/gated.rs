//! A source that is slow until a file is there, and keeps its last records until then: a test decides when a job comes to its end, however
//! long that takes.

use std::path::PathBuf;

use flott::prelude::*;
use flott::runtime::collector::Collector;
use flott::runtime::operator::OperatorInfo;
use flott::runtime::slot::wall_clock_millis;

/// Records at a time, and milliseconds between two times, while the gate is closed: so few that there are some left however long a test takes.
const TRICKLE: (usize, i64) = (10, 10);

/// Key, value, event time in milliseconds.
pub type Event = (u64, u64, i64);

/// The event `n`.
fn event(n: u64, keys: u64) -> Event {
    (n % keys, n, (n / 10) as i64)
}

#[derive(Clone)]
pub struct Gated {
    pub events: u64,
    pub keys: u64,
    pub gate: PathBuf,
}

/// The next event of a split, and how many there are from one to the one after it.
type Stride = (u64, u64);

pub struct Strides {
    given: u64,
    readers: u64,
}

impl Source for Gated {
    type Out = Event;
    type Split = Stride;
    type Enumerator = Strides;
    type Reader = GatedReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, readers: u32, _: &OperatorInfo) -> Result<Strides, OperatorError> {
        Ok(Strides { given: 0, readers: readers.into() })
    }

    fn reader(&self, _: &OperatorInfo) -> Result<GatedReader, OperatorError> {
        Ok(GatedReader { source: self.clone(), split: None, open: false, next_timer: None })
    }
}

impl SplitEnumerator for Strides {
    type Split = Stride;
    type Position = (u64, u64);

    fn restore(&mut self, (given, readers): (u64, u64)) -> Result<(), OperatorError> {
        (self.given, self.readers) = (given, readers);
        Ok(())
    }

    fn next_split(&mut self, _reader: &ReaderInfo<'_>) -> Result<NextSplit<Stride>, OperatorError> {
        if self.given == self.readers {
            return Ok(NextSplit::End);
        }
        self.given += 1;
        Ok(NextSplit::Split((self.given - 1, self.readers)))
    }

    fn position(&self) -> (u64, u64) {
        (self.given, self.readers)
    }
}

pub struct GatedReader {
    source: Gated,
    split: Option<Stride>,
    open: bool,
    next_timer: Option<Timestamp>,
}

impl SourceReader for GatedReader {
    type Out = Event;
    type Split = Stride;

    fn start(&mut self, split: Stride) -> Result<(), OperatorError> {
        self.split = Some(split);
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<Event>) -> Result<ReadProgress, OperatorError> {
        let Some((next, stride)) = &mut self.split else { return Ok(ReadProgress::SplitFinished) };
        self.next_timer = None;
        self.open = self.open || self.source.gate.exists();
        let mut left = if self.open { usize::MAX } else { TRICKLE.0 };
        while *next < self.source.events && !out.is_full() && left > 0 {
            if !self.open && *next + *stride >= self.source.events {
                left = 0;
                break;
            }
            out.emit_untimed(event(*next, self.source.keys));
            *next += *stride;
            left -= 1;
        }
        if *next >= self.source.events {
            self.split = None;
            return Ok(ReadProgress::SplitFinished);
        }
        if left > 0 {
            return Ok(ReadProgress::More);
        }
        self.next_timer = Some(wall_clock_millis() + TRICKLE.1);
        Ok(ReadProgress::Waiting)
    }

    fn position(&self) -> Option<Stride> {
        self.split
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.next_timer
    }
}
