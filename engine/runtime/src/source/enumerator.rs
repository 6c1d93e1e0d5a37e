//! The operator around a source's enumerator: splits go out as records, one at a time, to whichever reader has room.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::ids::CheckpointId;
use flott_state::OperatorList;

use super::{NextSplit, Source, SplitEnumerator};
use crate::error::{Fault, OperatorError};
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};

type Position<S> = <<S as Source>::Enumerator as SplitEnumerator>::Position;

/// Runs the enumerator of a source. It has no input, so all it does is part of its end.
pub struct EnumeratorOperator<S: Source> {
    source: Arc<S>,
    opened: Option<Opened<S>>,
}

struct Opened<S: Source> {
    enumerator: S::Enumerator,
    position: Rc<RefCell<OperatorList<Position<S>>>>,
}

impl<S: Source> EnumeratorOperator<S> {
    /// Enumerates the splits of `source`.
    pub fn new(source: Arc<S>) -> Self {
        Self { source, opened: None }
    }

    fn opened(&mut self) -> Result<&mut Opened<S>, OperatorError> {
        self.opened.as_mut().ok_or_else(|| {
            OperatorError::new(
                Fault::Flott,
                "a source was asked for splits before it was opened; this is a defect of Flott",
            )
        })
    }

    fn next_split(&mut self, out: &mut Collector<S::Split>) -> Result<Progress, OperatorError> {
        Ok(match self.opened()?.enumerator.next_split()? {
            NextSplit::Split(split) => {
                // One only: which reader the next one goes to is seen once this one has left.
                out.emit_untimed(split);
                Progress::More
            }
            NextSplit::Waiting => Progress::Waiting,
            NextSplit::End => Progress::Done,
        })
    }
}

impl<S: Source> Operator for EnumeratorOperator<S> {
    type In = ();
    type Out = S::Split;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let position: Rc<RefCell<OperatorList<Position<S>>>> = context.state.list("enumerator position")?;
        let mut enumerator = self.source.enumerator(context.info.consumers, context.info)?;
        if let Some(position) = position.borrow_mut().take().into_iter().next() {
            enumerator.restore(position)?;
        }
        self.opened = Some(Opened { enumerator, position });
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<()>,
        _out: &mut Collector<S::Split>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while input.next().is_some() {}
        Ok(())
    }

    fn end(
        &mut self,
        out: &mut Collector<S::Split>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.next_split(out)
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let opened = self.opened()?;
        opened.position.borrow_mut().set(vec![opened.enumerator.position()]);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::{Harness, HarnessConfig};
    use crate::source::SequenceSource;

    fn operator() -> EnumeratorOperator<SequenceSource> {
        EnumeratorOperator::new(Arc::new(SequenceSource::new(1, 100)))
    }

    #[test]
    fn splits_go_out_one_at_a_time_and_a_restored_enumerator_goes_on_behind_them() {
        let config = HarnessConfig { consumers: 4, ..HarnessConfig::default() };
        let mut harness = Harness::with_config(operator(), config.clone());
        harness.begin_end();
        assert!(!harness.step());
        let mut splits = harness.take_records();
        assert_eq!(splits.len(), 1);

        let mut restored = Harness::restore_with_config(operator(), config, vec![harness.snapshot()]);
        restored.end();
        let rest = restored.take_records();
        assert_eq!(rest.len(), 3);
        splits.extend(rest);
        let records: u64 = splits.iter().map(|split| split.len()).sum();
        assert_eq!(records, 100);
    }
}
