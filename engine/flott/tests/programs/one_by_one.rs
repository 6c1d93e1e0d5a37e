//! A source whose records come one by one: the watermark of each is there before the next, if the interval of watermarks is a millisecond.

use flott::prelude::*;
use flott::runtime::collector::Collector;
use flott::runtime::operator::OperatorInfo;
use flott::runtime::slot::wall_clock_millis;

use crate::support::One;

/// Milliseconds between two reads.
const PAUSE: i64 = 2;

/// Reads without a record before each record. The first may begin in the millisecond of the one before; the second emits that one's watermark.
const QUIET: u32 = 2;

/// The records, which are their own event times.
#[derive(Clone)]
pub struct OneByOne(pub Vec<i64>);

impl Source for OneByOne {
    type Out = i64;
    type Split = i64;
    type Enumerator = One;
    type Reader = Reader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, _: u32, _: &OperatorInfo) -> Result<One, OperatorError> {
        Ok(One::new())
    }

    fn reader(&self, _: &OperatorInfo) -> Result<Reader, OperatorError> {
        Ok(Reader { left: self.0.clone().into(), quiet: 0, timer: 0 })
    }
}

pub struct Reader {
    left: std::collections::VecDeque<i64>,
    quiet: u32,
    timer: Timestamp,
}

impl SourceReader for Reader {
    type Out = i64;
    type Split = i64;

    fn start(&mut self, _: i64) -> Result<(), OperatorError> {
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<i64>) -> Result<ReadProgress, OperatorError> {
        let now = wall_clock_millis();
        if now < self.timer {
            return Ok(ReadProgress::Waiting);
        }
        self.timer = now + PAUSE;
        if self.quiet < QUIET {
            self.quiet += 1;
            return Ok(ReadProgress::Waiting);
        }
        let Some(next) = self.left.pop_front() else { return Ok(ReadProgress::SplitFinished) };
        out.emit_untimed(next);
        self.quiet = 0;
        Ok(ReadProgress::Waiting)
    }

    fn position(&self) -> Option<i64> {
        Some(1)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        Some(self.timer)
    }
}
