//! Hands records to the client, with the job's result.

use std::cell::RefCell;
use std::marker::PhantomData;
use std::rc::Rc;

use flott_core::config::{self, MemorySize};
use flott_core::ids::CheckpointId;
use flott_core::{CodecError, Data};
use flott_state::OperatorList;

use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::{Fault, OperatorError};
use crate::operator::{Operator, OperatorContext};

/// What to do when a job wants to collect more than the bytes it may: they go through the JobManager, in one message.
pub fn too_much_collected(most: usize) -> String {
    format!(
        "more than {} were to be collected to the client: write them to files instead, or see {} and {}",
        MemorySize::of_bytes(most as u64),
        config::MOST_COLLECTED.key,
        config::JOB_MANAGER_MEMORY.key
    )
}

/// Collects records for the client. They arrive when the job has finished, each once, whatever failed meanwhile.
pub struct CollectSink<T> {
    /// Encoded records since the last checkpoint.
    records: Vec<u8>,
    /// Those before.
    kept: Option<Rc<RefCell<OperatorList<Vec<u8>>>>>,
    kept_bytes: usize,
    types: PhantomData<fn(T)>,
}

impl<T> CollectSink<T> {
    /// With nothing collected.
    pub fn new() -> Self {
        Self { records: Vec::new(), kept: None, kept_bytes: 0, types: PhantomData }
    }

    fn keep(&mut self) {
        if let Some(kept) = self.kept.as_ref().filter(|_| !self.records.is_empty()) {
            self.kept_bytes += self.records.len();
            kept.borrow_mut().push(std::mem::take(&mut self.records));
        }
    }
}

impl<T> Default for CollectSink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T: Data> Operator for CollectSink<T> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let kept = context.state.list::<Vec<u8>>("collected")?;
        self.kept_bytes = kept.borrow().get().iter().map(Vec::len).sum();
        self.kept = Some(kept);
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while let Some((record, _)) = input.next() {
            record.encode(&mut self.records);
        }
        let most = context.info.most_collected;
        if self.kept_bytes + self.records.len() > most {
            return Err(OperatorError::new(Fault::User, too_much_collected(most)));
        }
        Ok(())
    }

    fn prepare_snapshot(
        &mut self,
        _: CheckpointId,
        _: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.keep();
        Ok(())
    }

    fn final_handles(&mut self, _: &mut OperatorContext<'_>) -> Result<Vec<Vec<u8>>, OperatorError> {
        self.keep();
        Ok(self.kept.as_ref().map(|kept| kept.borrow_mut().take()).unwrap_or_default())
    }
}

/// The records in what a [`CollectSink`] handed over.
///
/// # Errors
/// [`CodecError`] if the bytes are not records of type `T`.
pub fn decode_collected<T: Data>(pieces: &[impl AsRef<[u8]>]) -> Result<Vec<T>, CodecError> {
    let mut records = Vec::new();
    for piece in pieces {
        let mut input = piece.as_ref();
        while !input.is_empty() {
            records.push(T::decode(&mut input)?);
        }
    }
    Ok(records)
}
