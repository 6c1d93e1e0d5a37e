//! The operator around a source's enumerator: splits go out as records, one at a time, each to the reader it was made for. That is one which
//! has room.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::ids::CheckpointId;
use flott_state::OperatorList;

use super::{NextSplit, Source, SplitEnumerator};
use crate::error::{Fault, OperatorError};
use crate::exchange::readers::Readers;
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

    fn next_split(
        &mut self,
        readers: &Readers,
        out: &mut Collector<S::Split>,
    ) -> Result<Progress, OperatorError> {
        let opened = self.opened()?;
        for reader in readers.with_room() {
            match opened.enumerator.next_split(&reader)? {
                NextSplit::Split(split) => {
                    // One only: who has room for another is seen once this one has left.
                    readers.choose(reader.index);
                    out.emit_untimed(split);
                    return Ok(Progress::More);
                }
                NextSplit::Waiting => {}
                NextSplit::End => return Ok(Progress::Done),
            }
        }
        Ok(Progress::Waiting)
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
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.next_split(&context.info.readers, out)
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
    use crate::operator::OperatorInfo;
    use crate::source::{Boundedness, ReadProgress, ReaderInfo, SequenceSource, SourceReader};

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

    /// Gives even numbers to the second reader, and odd ones to the third. Nothing to the first.
    struct Choosy(Vec<u64>);

    struct ChoosySource;

    impl SplitEnumerator for Choosy {
        type Split = u64;
        type Position = u64;

        fn restore(&mut self, _: u64) -> Result<(), OperatorError> {
            Ok(())
        }

        fn next_split(&mut self, reader: &ReaderInfo<'_>) -> Result<NextSplit<u64>, OperatorError> {
            let wants = |number: &u64| reader.index > 0 && number % 2 == u64::from(reader.index - 1);
            let found = self.0.iter().position(wants);
            Ok(match found {
                Some(index) => NextSplit::Split(self.0.remove(index)),
                None if self.0.is_empty() => NextSplit::End,
                None => NextSplit::Waiting,
            })
        }

        fn position(&self) -> u64 {
            0
        }
    }

    impl Source for ChoosySource {
        type Out = i64;
        type Split = u64;
        type Enumerator = Choosy;
        type Reader = Never;

        fn boundedness(&self) -> Boundedness {
            Boundedness::Bounded
        }

        fn enumerator(&self, _: u32, _: &OperatorInfo) -> Result<Choosy, OperatorError> {
            Ok(Choosy(vec![4, 1, 2]))
        }

        fn reader(&self, _: &OperatorInfo) -> Result<Never, OperatorError> {
            Ok(Never)
        }
    }

    struct Never;

    impl SourceReader for Never {
        type Out = i64;
        type Split = u64;

        fn start(&mut self, _: u64) -> Result<(), OperatorError> {
            Ok(())
        }

        fn read(&mut self, _: &mut Collector<i64>) -> Result<ReadProgress, OperatorError> {
            Ok(ReadProgress::SplitFinished)
        }

        fn position(&self) -> Option<u64> {
            None
        }
    }

    #[test]
    fn a_reader_that_has_to_wait_keeps_no_other_from_its_splits() {
        let config = HarnessConfig { consumers: 3, ..HarnessConfig::default() };
        let mut harness = Harness::with_config(EnumeratorOperator::new(Arc::new(ChoosySource)), config);
        harness.begin_end();
        while !harness.is_through() {
            harness.step();
        }
        assert_eq!(harness.take_records(), [4, 2, 1]);
    }
}
