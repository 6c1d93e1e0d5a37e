//! A source of given records, encoded when the plan is made: every process reads the same.

use std::marker::PhantomData;
use std::sync::Arc;

use flott_core::Data;
use flott_core::time::NO_TIMESTAMP;

use super::{Boundedness, NextSplit, ReadProgress, Source, SourceReader, SplitEnumerator};
use crate::collector::Collector;
use crate::error::OperatorError;
use crate::operator::OperatorInfo;

/// Records in a split.
const SPLIT_RECORDS: usize = 4096;

/// Emits given records, each reader a part of them.
pub struct CollectionSource<T> {
    chunks: Arc<Vec<Vec<u8>>>,
    types: PhantomData<fn() -> T>,
}

impl<T: Data> CollectionSource<T> {
    /// Of these records.
    pub fn new(records: impl IntoIterator<Item = T>) -> Self {
        let mut chunks = vec![Vec::new()];
        for (index, record) in records.into_iter().enumerate() {
            if index > 0 && index % SPLIT_RECORDS == 0 {
                chunks.push(Vec::new());
            }
            if let Some(chunk) = chunks.last_mut() {
                record.encode(chunk);
            }
        }
        Self { chunks: Arc::new(chunks), types: PhantomData }
    }
}

/// Gives out encoded records.
pub struct CollectionEnumerator {
    chunks: Arc<Vec<Vec<u8>>>,
    given: u64,
}

impl<T: Data> Source for CollectionSource<T> {
    type Out = T;
    /// Encoded records.
    type Split = Vec<u8>;
    type Enumerator = CollectionEnumerator;
    type Reader = CollectionReader<T>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, _readers: u32, _info: &OperatorInfo) -> Result<CollectionEnumerator, OperatorError> {
        Ok(CollectionEnumerator { chunks: Arc::clone(&self.chunks), given: 0 })
    }

    fn reader(&self, _info: &OperatorInfo) -> Result<CollectionReader<T>, OperatorError> {
        Ok(CollectionReader { left: None, types: PhantomData })
    }
}

impl SplitEnumerator for CollectionEnumerator {
    type Split = Vec<u8>;
    /// Splits given.
    type Position = u64;

    fn restore(&mut self, given: u64) -> Result<(), OperatorError> {
        self.given = given;
        Ok(())
    }

    fn next_split(&mut self) -> Result<NextSplit<Vec<u8>>, OperatorError> {
        let Some(chunk) = self.chunks.get(self.given as usize) else { return Ok(NextSplit::End) };
        self.given += 1;
        Ok(NextSplit::Split(chunk.clone()))
    }

    fn position(&self) -> u64 {
        self.given
    }
}

/// Decodes the records of a split.
pub struct CollectionReader<T> {
    left: Option<(Vec<u8>, usize)>,
    types: PhantomData<fn() -> T>,
}

impl<T: Data> SourceReader for CollectionReader<T> {
    type Out = T;
    type Split = Vec<u8>;

    fn start(&mut self, split: Vec<u8>) -> Result<(), OperatorError> {
        self.left = Some((split, 0));
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<T>) -> Result<ReadProgress, OperatorError> {
        let Some((bytes, at)) = &mut self.left else { return Ok(ReadProgress::SplitFinished) };
        while *at < bytes.len() {
            if out.is_full() {
                return Ok(ReadProgress::More);
            }
            let mut input = &bytes[*at..];
            let record = T::decode(&mut input)?;
            *at = bytes.len() - input.len();
            out.emit(record, NO_TIMESTAMP);
        }
        self.left = None;
        Ok(ReadProgress::SplitFinished)
    }

    fn position(&self) -> Option<Vec<u8>> {
        self.left.as_ref().map(|(bytes, at)| bytes[*at..].to_vec())
    }
}
