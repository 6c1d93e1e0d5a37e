//! Prints records to standard output, a line each.

use std::fmt::Display;
use std::io::Write;
use std::marker::PhantomData;

use flott_core::Data;
use flott_core::ids::CheckpointId;

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::{Fault, OperatorError};
use crate::io_queue::{IoQueue, Ticket};
use crate::operator::{Operator, OperatorContext, Progress};

/// Prints records; with several subtasks, each line begins with the subtask's number.
pub struct PrintSink<T> {
    output: Option<IoQueue<()>>,
    /// What the last barrier waits for.
    prepared: Ticket,
    types: PhantomData<fn(T)>,
}

impl<T> PrintSink<T> {
    /// Nothing printed yet.
    pub fn new() -> Self {
        Self { output: None, prepared: Ticket::default(), types: PhantomData }
    }

    fn output(&mut self) -> Result<&mut IoQueue<()>, OperatorError> {
        self.output.as_mut().ok_or_else(|| {
            OperatorError::new(
                Fault::Flott,
                "a record is printed before the sink was opened; this is a defect of Flott",
            )
        })
    }
}

impl<T> Default for PrintSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

fn print(lines: &[u8]) -> Result<(), OperatorError> {
    std::io::stdout().lock().write_all(lines).map_err(|error| {
        OperatorError::new(Fault::Environment, format!("cannot write to standard output: {error}"))
    })
}

impl<T: Data + Display> Operator for PrintSink<T> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.output = Some(IoQueue::new((), context.info));
        Ok(())
    }

    fn is_ready(&self) -> bool {
        self.output.as_ref().is_none_or(IoQueue::has_room)
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        if !self.is_ready() {
            return Ok(());
        }
        let mut lines = Vec::new();
        while let Some((record, _)) = input.next() {
            let written = if context.info.parallelism > 1 {
                writeln!(lines, "{}> {record}", context.info.subtask + 1)
            } else {
                writeln!(lines, "{record}")
            };
            written.map_err(OperatorError::user)?;
        }
        let output = self.output()?;
        output.is_done(output.last())?;
        if !lines.is_empty() {
            output.submit(move |()| print(&lines));
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Collector<()>, _: &mut OperatorContext<'_>) -> Result<Progress, OperatorError> {
        let output = self.output()?;
        Ok(if output.is_done(output.last())? { Progress::Done } else { Progress::Waiting })
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.prepared = self.output()?.last();
        Ok(())
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        let prepared = self.prepared;
        self.output()?.is_done(prepared)
    }

    fn close(&mut self) {
        // Who reads standard output may take for ever to read on: nobody waits for that.
        if let Some(output) = &mut self.output {
            output.close();
        }
    }
}
