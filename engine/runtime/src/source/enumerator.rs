//! The enumerator of a source as an operator: it has no input, and emits a split whenever a reader has room for one.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use flott_core::ids::CheckpointId;
use flott_state::OperatorList;

use super::{NextSplit, Source, SplitEnumerator};
use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::OperatorError;
use crate::operator::{Operator, OperatorContext, Progress};

type Position<S> = <<S as Source>::Enumerator as SplitEnumerator>::Position;

/// Finds the splits of a source `S`.
pub struct EnumeratorOperator<S: Source> {
    source: Arc<S>,
    enumerator: Option<S::Enumerator>,
    /// One element: how far the splits have been given out.
    position: Option<Rc<RefCell<OperatorList<Position<S>>>>>,
}

impl<S: Source> EnumeratorOperator<S> {
    /// Gives the splits of `source` to the subtasks that take them.
    pub fn new(source: Arc<S>) -> Self {
        Self { source, enumerator: None, position: None }
    }
}

impl<S: Source> Operator for EnumeratorOperator<S> {
    type In = ();
    type Out = S::Split;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let state = context.state.list("position")?;
        let mut enumerator = self.source.enumerator(context.info.consumers, context.info)?;
        if let Some(position) = state.borrow_mut().take().pop() {
            enumerator.restore(position)?;
        }
        self.enumerator = Some(enumerator);
        self.position = Some(state);
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

    /// There is no input, so the end comes first: all splits are given in its steps.
    fn end(
        &mut self,
        out: &mut Collector<S::Split>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let Some(enumerator) = &mut self.enumerator else { return Ok(Progress::Done) };
        Ok(match enumerator.next_split()? {
            NextSplit::Split(split) => {
                out.emit_untimed(split);
                Progress::More
            }
            NextSplit::Waiting => Progress::Waiting,
            NextSplit::End => Progress::Done,
        })
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        if let (Some(enumerator), Some(state)) = (&self.enumerator, &self.position) {
            state.borrow_mut().set(vec![enumerator.position()]);
        }
        Ok(())
    }
}
