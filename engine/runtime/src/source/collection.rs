//! A source of elements that the program has in hand.
//!
//! The elements are kept encoded, in chunks; a chunk is a split.

use std::marker::PhantomData;
use std::sync::Arc;

use flott_core::{Data, MAX_BATCH_BYTES, MAX_BATCH_RECORDS};

use super::{Boundedness, NextSplit, ReadProgress, ReaderInfo, Source, SourceReader, SplitEnumerator};
use crate::error::OperatorError;
use crate::operator::{Collector, OperatorInfo};

/// Elements, encoded one after the other.
struct Chunk {
    bytes: Vec<u8>,
    elements: u32,
}

/// A bounded source of given elements.
pub struct CollectionSource<T> {
    chunks: Arc<Vec<Chunk>>,
    elements: PhantomData<fn() -> T>,
}

impl<T: Data> CollectionSource<T> {
    /// The elements, in their order as long as there is one reader.
    pub fn new(elements: impl IntoIterator<Item = T>) -> Self {
        let mut chunks = Vec::new();
        let mut chunk = Chunk { bytes: Vec::new(), elements: 0 };
        for element in elements {
            element.encode(&mut chunk.bytes);
            chunk.elements += 1;
            if chunk.elements as usize >= MAX_BATCH_RECORDS || chunk.bytes.len() >= MAX_BATCH_BYTES {
                chunks.push(std::mem::replace(&mut chunk, Chunk { bytes: Vec::new(), elements: 0 }));
            }
        }
        if chunk.elements > 0 {
            chunks.push(chunk);
        }
        Self { chunks: Arc::new(chunks), elements: PhantomData }
    }
}

/// A chunk, and how many of its elements are read.
#[derive(Debug, Clone, PartialEq, Eq, Data)]
pub struct ChunkPosition {
    /// The chunk's index.
    pub chunk: u32,
    /// The elements of it that were emitted.
    pub read: u32,
}

impl<T: Data> Source for CollectionSource<T> {
    type Out = T;
    type Split = ChunkPosition;
    type Enumerator = ChunkEnumerator;
    type Reader = ChunkReader<T>;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Bounded
    }

    fn enumerator(&self, _readers: u32, _info: &OperatorInfo) -> Result<ChunkEnumerator, OperatorError> {
        Ok(ChunkEnumerator { chunks: self.chunks.len() as u32, next: 0 })
    }

    fn reader(&self, _info: &OperatorInfo) -> Result<ChunkReader<T>, OperatorError> {
        Ok(ChunkReader { chunks: Arc::clone(&self.chunks), position: None, at: 0, elements: PhantomData })
    }
}

/// Gives out chunks, one after the other.
pub struct ChunkEnumerator {
    chunks: u32,
    next: u32,
}

impl SplitEnumerator for ChunkEnumerator {
    type Split = ChunkPosition;
    type Position = u32;

    fn restore(&mut self, position: u32) -> Result<(), OperatorError> {
        self.next = position;
        Ok(())
    }

    fn next_split(&mut self, _reader: &ReaderInfo<'_>) -> Result<NextSplit<ChunkPosition>, OperatorError> {
        if self.next >= self.chunks {
            return Ok(NextSplit::End);
        }
        let split = ChunkPosition { chunk: self.next, read: 0 };
        self.next += 1;
        Ok(NextSplit::Split(split))
    }

    fn position(&self) -> u32 {
        self.next
    }
}

/// Decodes the elements of a chunk.
pub struct ChunkReader<T> {
    chunks: Arc<Vec<Chunk>>,
    position: Option<ChunkPosition>,
    /// The byte of the chunk at which the next element begins.
    at: usize,
    elements: PhantomData<fn() -> T>,
}

impl<T: Data> SourceReader for ChunkReader<T> {
    type Out = T;
    type Split = ChunkPosition;

    fn start(&mut self, split: ChunkPosition) -> Result<(), OperatorError> {
        self.at = 0;
        if let Some(chunk) = self.chunks.get(split.chunk as usize) {
            let mut input = chunk.bytes.as_slice();
            for _ in 0..split.read {
                T::decode(&mut input)?;
            }
            self.at = chunk.bytes.len() - input.len();
        }
        self.position = Some(split);
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<T>) -> Result<ReadProgress, OperatorError> {
        let position = self.position.as_mut();
        let found = position.and_then(|position| Some((self.chunks.get(position.chunk as usize)?, position)));
        if let Some((chunk, position)) = found {
            let mut input = &chunk.bytes[self.at..];
            while position.read < chunk.elements {
                if out.is_full() {
                    return Ok(ReadProgress::More);
                }
                out.emit_untimed(T::decode(&mut input)?);
                position.read += 1;
                self.at = chunk.bytes.len() - input.len();
            }
        }
        self.position = None;
        Ok(ReadProgress::SplitFinished)
    }

    fn position(&self) -> Option<ChunkPosition> {
        self.position.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::harness::Harness;
    use crate::operator::Progress;
    use crate::source::{EnumeratorOperator, SourceReaderOperator};
    use crate::watermark::WatermarkStrategy;

    fn reader(source: &Arc<CollectionSource<String>>) -> SourceReaderOperator<CollectionSource<String>> {
        SourceReaderOperator::new(Arc::clone(source), WatermarkStrategy::no_watermarks())
    }

    #[test]
    fn the_elements_come_out_in_order_also_through_a_restore() {
        let elements: Vec<_> = (0..5000).map(|n| n.to_string().repeat(1 + n % 7)).collect();
        let source = Arc::new(CollectionSource::new(elements.clone()));
        let mut enumerator = Harness::new(EnumeratorOperator::new(Arc::clone(&source)));
        enumerator.end();
        let splits = enumerator.take_records();
        assert!(splits.len() >= 5);

        let mut harness = Harness::new(reader(&source));
        harness.push_all(splits);
        for _ in 0..3 {
            assert_eq!(harness.advance(), Progress::More);
        }
        let mut records = harness.take_records();
        let mut restored = Harness::restore(reader(&source), harness.snapshot());
        restored.end();
        records.extend(restored.take_records());
        assert_eq!(records, elements);
    }

    #[test]
    fn a_reader_begins_in_the_middle_of_a_chunk() {
        let source = Arc::new(CollectionSource::new(["a", "b", "c"].map(str::to_owned)));
        let mut harness = Harness::new(reader(&source));
        harness.push(ChunkPosition { chunk: 0, read: 2 });
        harness.end();
        assert_eq!(harness.take_records(), ["c"]);
    }

    #[test]
    fn no_elements_are_no_splits() {
        let source = Arc::new(CollectionSource::<u64>::new([]));
        let mut harness = Harness::new(EnumeratorOperator::new(source));
        harness.end();
        assert!(harness.take_records().is_empty());
    }
}
