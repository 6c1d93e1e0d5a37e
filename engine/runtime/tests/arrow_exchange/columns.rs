//! An Arrow RecordBatch as a container of Flott.

use std::io::Cursor;
use std::sync::Arc;

use arrow_array::{Array, RecordBatch, StringArray, UInt64Array};
use arrow_ipc::reader::StreamReader;
use arrow_ipc::writer::StreamWriter;
use arrow_select::take::take_record_batch;
use flott_core::{Batch, CodecError, Key, Schema};
use flott_runtime::element::AnyBatch;
use flott_runtime::error::OperatorError;
use flott_runtime::exchange::output::Channels;
use flott_runtime::exchange::partition::Partitioner;

/// A row's number and its name, in columns.
pub struct Columns(RecordBatch);

impl Columns {
    pub fn of(rows: impl Iterator<Item = (u64, String)>) -> Self {
        let (numbers, names): (Vec<u64>, Vec<String>) = rows.unzip();
        let columns: [(&str, Arc<dyn Array>); 2] =
            [("row", Arc::new(UInt64Array::from(numbers))), ("name", Arc::new(StringArray::from(names)))];
        Self(RecordBatch::try_from_iter(columns).unwrap())
    }

    fn names(&self) -> &StringArray {
        self.0.column(1).as_any().downcast_ref().unwrap()
    }
}

/// The rows, one by one.
pub fn rows(columns: &Columns) -> Vec<(u64, String)> {
    let numbers: &UInt64Array = columns.0.column(0).as_any().downcast_ref().unwrap();
    numbers
        .values()
        .iter()
        .copied()
        .zip(columns.names().iter().map(|name| name.unwrap().to_owned()))
        .collect()
}

fn invalid(error: impl ToString) -> CodecError {
    CodecError::invalid("Arrow stream", error.to_string())
}

impl Batch for Columns {
    fn len(&self) -> usize {
        self.0.num_rows()
    }

    fn size_estimate(&self) -> usize {
        self.0.get_array_memory_size()
    }

    fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }

    fn schema() -> Schema {
        Schema::Bytes
    }

    fn encode(&self, out: &mut Vec<u8>) {
        let mut writer = StreamWriter::try_new(out, self.0.schema_ref()).unwrap();
        writer.write(&self.0).unwrap();
        writer.finish().unwrap();
    }

    fn decode(input: &[u8]) -> Result<Self, CodecError> {
        let mut reader = StreamReader::try_new(Cursor::new(input), None).map_err(invalid)?;
        let batch = reader.next().ok_or_else(|| invalid("no batch"))?;
        batch.map(Self).map_err(invalid)
    }
}

/// Partitions columns by the hash of the name, by taking rows: no row is ever made.
pub struct ByName {
    channels: u64,
}

impl ByName {
    pub fn new(channels: u32) -> Self {
        Self { channels: channels.into() }
    }
}

impl Partitioner for ByName {
    fn write(&mut self, batch: AnyBatch, channels: &Channels) -> Result<(), OperatorError> {
        let batch: Columns = batch.downcast()?;
        let mut chosen = vec![Vec::new(); channels.len()];
        for (row, name) in batch.names().iter().enumerate() {
            let hash = name.unwrap().to_owned().key_hash().bits();
            chosen[(hash % self.channels) as usize].push(row as u64);
        }
        for (channel, rows) in chosen.into_iter().enumerate() {
            let part = take_record_batch(&batch.0, &UInt64Array::from(rows)).unwrap();
            channels.send(channel, AnyBatch::new(Columns(part)));
        }
        Ok(())
    }

    fn flush(&mut self, _: &Channels) {}

    fn holds_records(&self) -> bool {
        false
    }
}
