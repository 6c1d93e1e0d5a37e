//! Prints records to standard output, a line each.

use std::fmt::Display;
use std::io::Write;
use std::marker::PhantomData;

use flott_core::Data;

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::{Fault, OperatorError};
use crate::operator::{Operator, OperatorContext};

/// Prints records; with several subtasks, each line begins with the subtask's number.
pub struct PrintSink<T> {
    line: Vec<u8>,
    types: PhantomData<fn(T)>,
}

impl<T> PrintSink<T> {
    /// Nothing printed yet.
    pub fn new() -> Self {
        Self { line: Vec::new(), types: PhantomData }
    }
}

impl<T> Default for PrintSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Data + Display> Operator for PrintSink<T> {
    type In = T;
    type Out = ();

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.line.clear();
        while let Some((record, _)) = input.next() {
            let written = if context.info.parallelism > 1 {
                writeln!(self.line, "{}> {record}", context.info.subtask + 1)
            } else {
                writeln!(self.line, "{record}")
            };
            written.map_err(OperatorError::user)?;
        }
        std::io::stdout().lock().write_all(&self.line).map_err(|error| {
            OperatorError::new(Fault::Environment, format!("cannot write to standard output: {error}"))
        })
    }
}
