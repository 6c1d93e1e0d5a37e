//! The readers of a source as an operator: takes splits, reads one after the other, stamps records with event time.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::Timestamp;
use flott_core::ids::CheckpointId;
use flott_core::time::NO_TIMESTAMP;
use flott_state::OperatorList;

use super::{ReadProgress, Source, SourceReader};
use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::OperatorError;
use crate::operator::{Operator, OperatorContext, Progress};
use crate::watermark::{Stamper, WatermarkClock, WatermarkStrategy};

/// Reads the splits of a source `S`.
pub struct SourceReaderOperator<S: Source> {
    source: Arc<S>,
    strategy: WatermarkStrategy<S::Out>,
    open: Option<Open<S>>,
}

struct Open<S: Source> {
    reader: S::Reader,
    /// Splits that are to be read after the one in hand.
    pending: VecDeque<S::Split>,
    stamper: Option<Stamper<S::Out>>,
    /// The watermark of the splits that have been read to their end.
    finished: Timestamp,
    clock: WatermarkClock,
    splits: Rc<RefCell<OperatorList<S::Split>>>,
}

impl<S: Source> SourceReaderOperator<S> {
    /// Reads by `source` and stamps by `strategy`.
    pub fn new(source: Arc<S>, strategy: WatermarkStrategy<S::Out>) -> Self {
        Self { source, strategy, open: None }
    }

    /// Reads for a step.
    fn read(&mut self, out: &mut Collector<S::Out>, now: Timestamp) -> Result<Progress, OperatorError> {
        let Some(open) = &mut self.open else { return Ok(Progress::Done) };
        if open.stamper.is_none() {
            let Some(split) = open.pending.pop_front() else {
                open.clock.tick(open.finished, now, out);
                return Ok(Progress::Done);
            };
            open.reader.start(split)?;
            open.stamper = Some(Stamper::new(&self.strategy));
        }
        let progress = open.reader.read(out)?;
        let Some(stamper) = &mut open.stamper else { return Ok(Progress::Done) };
        if stamper.stamp(out) {
            open.clock.note_records(now);
        }
        // Splits are read one after the other, so time has come as far as any of them says.
        open.finished = open.finished.max(stamper.watermark(now));
        open.clock.tick(open.finished, now, out);
        Ok(match progress {
            ReadProgress::More => Progress::More,
            ReadProgress::Waiting => Progress::Waiting,
            ReadProgress::SplitFinished => {
                open.stamper = None;
                Progress::More
            }
        })
    }
}

impl<S: Source> Operator for SourceReaderOperator<S> {
    type In = S::Split;
    type Out = S::Out;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let splits = context.state.list("splits")?;
        let pending = splits.borrow_mut().take().into();
        self.open = Some(Open {
            reader: self.source.reader(context.info)?,
            pending,
            stamper: None,
            finished: NO_TIMESTAMP,
            clock: WatermarkClock::new(&self.strategy, context.info.auto_watermark_interval),
            splits,
        });
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<S::Split>,
        _out: &mut Collector<S::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while let Some((split, _)) = input.next() {
            if let Some(open) = &mut self.open {
                open.pending.push_back(split);
            }
        }
        Ok(())
    }

    fn advance(
        &mut self,
        out: &mut Collector<S::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.read(out, context.processing_time)
    }

    fn holds_input(&self) -> bool {
        self.open.as_ref().is_some_and(|open| open.stamper.is_some() || !open.pending.is_empty())
    }

    fn next_timer(&self) -> Option<Timestamp> {
        let open = self.open.as_ref()?;
        [open.clock.next_timer(), open.reader.next_timer()].into_iter().flatten().min()
    }

    fn timer(
        &mut self,
        now: Timestamp,
        out: &mut Collector<S::Out>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        if let Some(open) = &mut self.open {
            open.clock.tick(open.finished, now, out);
            if open.reader.next_timer().is_some_and(|at| at <= now) {
                self.read(out, now)?;
            }
        }
        Ok(Progress::Done)
    }

    /// There will be no more splits: reads those that are left.
    fn end(
        &mut self,
        out: &mut Collector<S::Out>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.read(out, context.processing_time)
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        if let Some(open) = &self.open {
            let in_hand = open.stamper.as_ref().and_then(|_| open.reader.position());
            open.splits.borrow_mut().set(in_hand.into_iter().chain(open.pending.iter().cloned()).collect());
        }
        Ok(())
    }
}
