//! Where operators put what they emit.

use std::any::Any;
use std::marker::PhantomData;

use flott_core::time::NO_TIMESTAMP;
use flott_core::{Data, Records, Timestamp};

use crate::element::AnyBatch;

/// Names a side output and the type of its records.
#[derive(Debug)]
pub struct OutputTag<T> {
    name: String,
    records: PhantomData<fn() -> T>,
}

impl<T> Clone for OutputTag<T> {
    fn clone(&self) -> Self {
        Self { name: self.name.clone(), records: PhantomData }
    }
}

impl<T: Data> OutputTag<T> {
    /// A tag; two tags of one operator with the same name are the same side output.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), records: PhantomData }
    }

    /// The name.
    pub fn name(&self) -> &str {
        &self.name
    }
}

/// Takes the records an operator emits. It may be filled beyond its bound by what one record gives; operators look at
/// [`is_full`](Self::is_full) between records.
pub struct Collector<T> {
    batch: Records<T>,
    sides: Vec<SideOutput>,
    watermark: Option<Timestamp>,
    idle: bool,
}

struct SideOutput {
    name: String,
    records: Box<dyn SideRecords>,
}

trait SideRecords: Any {
    fn take(&mut self) -> Option<AnyBatch>;
    fn as_any(&mut self) -> &mut dyn Any;
}

impl<T: Data> SideRecords for Records<T> {
    fn take(&mut self) -> Option<AnyBatch> {
        (!self.values().is_empty()).then(|| AnyBatch::new(std::mem::take(self)))
    }

    fn as_any(&mut self) -> &mut dyn Any {
        self
    }
}

impl<T: Data> Collector<T> {
    pub(crate) fn new() -> Self {
        Self { batch: Records::new(), sides: Vec::new(), watermark: None, idle: false }
    }

    /// Emits a record with the timestamp `time`, or [`NO_TIMESTAMP`].
    #[inline]
    pub fn emit(&mut self, value: T, time: Timestamp) {
        if self.batch.values().is_empty() {
            self.batch.reserve_full();
        }
        self.batch.push(value, time);
    }

    /// Emits a record without timestamp.
    #[inline]
    pub fn emit_untimed(&mut self, value: T) {
        self.emit(value, NO_TIMESTAMP);
    }

    /// Emits a record to a side output.
    pub fn emit_to<S: Data>(&mut self, tag: &OutputTag<S>, value: S, time: Timestamp) {
        let index = match self.sides.iter().position(|side| side.name == tag.name) {
            Some(index) => index,
            None => {
                let records: Box<dyn SideRecords> = Box::new(Records::<S>::new());
                self.sides.push(SideOutput { name: tag.name.clone(), records });
                self.sides.len() - 1
            }
        };
        // Two tags of one name and different types are refused when the plan is made.
        if let Some(records) = self.sides[index].records.as_any().downcast_mut::<Records<S>>() {
            records.push(value, time);
        }
    }

    /// Emits a watermark of the operator's own making, after the records so far; later ones must be higher.
    pub fn emit_watermark(&mut self, watermark: Timestamp) {
        self.watermark = Some(watermark);
        self.idle = false;
    }

    /// Says that nothing will come for a while, after the records so far.
    pub fn emit_idle(&mut self) {
        self.idle = true;
    }

    /// Whether the operator should return and be called again when there is room. A watermark waits for the records
    /// before it to leave, so a collector that holds one is full.
    #[inline]
    pub fn is_full(&self) -> bool {
        self.watermark.is_some() || self.batch.is_full()
    }

    /// The records emitted since the batch was last taken, to give them their timestamps.
    pub(crate) fn records_mut(&mut self) -> &mut Records<T> {
        &mut self.batch
    }

    /// Takes what was emitted: records, side outputs by name, the watermark, idleness.
    pub(crate) fn take(&mut self, mut give: impl FnMut(Emitted<'_>)) {
        for side in &mut self.sides {
            if let Some(batch) = side.records.take() {
                give(Emitted::Side(&side.name, batch));
            }
        }
        if !self.batch.values().is_empty() {
            give(Emitted::Main(AnyBatch::new(std::mem::take(&mut self.batch))));
        }
        if let Some(watermark) = self.watermark.take() {
            give(Emitted::Watermark(watermark));
        }
        if std::mem::take(&mut self.idle) {
            give(Emitted::Idle);
        }
    }
}

/// One thing an operator emitted.
pub(crate) enum Emitted<'a> {
    Main(AnyBatch),
    Side(&'a str, AnyBatch),
    Watermark(Timestamp),
    Idle,
}
