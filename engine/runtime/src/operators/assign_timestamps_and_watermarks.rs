//! `AssignTimestampsAndWatermarks`: gives records their timestamps behind the source, in place of what the source gave.

use flott_core::{Data, Timestamp};

use crate::error::OperatorError;
use crate::operator::{Collector, Cursor, Operator, OperatorContext, Progress};
use crate::watermark::{Stamper, WatermarkClock, WatermarkStrategy};

/// Stamps records and makes watermarks by a [`WatermarkStrategy`]; watermarks that come in end here.
pub struct AssignTimestampsAndWatermarks<T> {
    strategy: WatermarkStrategy<T>,
    stamper: Stamper<T>,
    clock: Option<WatermarkClock>,
}

impl<T: Data> AssignTimestampsAndWatermarks<T> {
    /// Works by `strategy`.
    pub fn new(strategy: WatermarkStrategy<T>) -> Self {
        let stamper = Stamper::new(&strategy);
        Self { strategy, stamper, clock: None }
    }

    fn tick(&mut self, out: &mut Collector<T>, context: &OperatorContext<'_>) {
        let now = context.processing_time;
        let interval = context.info.auto_watermark_interval;
        let clock = self.clock.get_or_insert_with(|| WatermarkClock::new(&self.strategy, interval));
        if self.stamper.stamp(out) {
            clock.note_records(now);
        }
        clock.tick(self.stamper.watermark(now), now, out);
    }
}

impl<T: Data> Operator for AssignTimestampsAndWatermarks<T> {
    type In = T;
    type Out = T;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        self.clock = Some(WatermarkClock::new(&self.strategy, context.info.auto_watermark_interval));
        Ok(())
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        out: &mut Collector<T>,
        context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        while !out.is_full() {
            let Some((record, time)) = input.next() else { break };
            out.emit(record, time);
        }
        self.tick(out, context);
        Ok(())
    }

    fn forward_watermark(&self, _watermark: Timestamp) -> Option<Timestamp> {
        None
    }

    fn advance(
        &mut self,
        out: &mut Collector<T>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        // Starts the measuring of idleness before the first record.
        self.tick(out, context);
        Ok(Progress::Done)
    }

    fn next_timer(&self) -> Option<Timestamp> {
        self.clock.as_ref().and_then(WatermarkClock::next_timer)
    }

    fn timer(
        &mut self,
        _now: Timestamp,
        out: &mut Collector<T>,
        context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        self.tick(out, context);
        Ok(Progress::Done)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::harness::Harness;

    fn harness() -> Harness<AssignTimestampsAndWatermarks<i64>> {
        let strategy = WatermarkStrategy::for_bounded_out_of_orderness(Duration::from_millis(5))
            .with_timestamp_assigner(|record: &i64, _| *record)
            .with_idleness(Duration::from_secs(10));
        Harness::new(AssignTimestampsAndWatermarks::new(strategy))
    }

    #[test]
    fn watermarks_follow_the_records_by_the_interval() {
        let mut harness = harness();
        harness.set_processing_time(1_000);
        harness.push_at(50, 7);
        assert_eq!(harness.take_output(), [(50, 50)]);
        assert_eq!(harness.take_watermarks(), [44]);
        harness.push(80);
        assert!(harness.take_watermarks().is_empty());
        harness.set_processing_time(1_200);
        assert_eq!(harness.take_watermarks(), [74]);
    }

    #[test]
    fn watermarks_that_come_in_end_here() {
        let mut harness = harness();
        harness.watermark(1_000);
        assert!(harness.take_watermarks().is_empty());
    }

    #[test]
    fn silence_is_idleness_until_the_next_record() {
        let mut harness = harness();
        harness.push(50);
        assert_eq!(harness.take_idle(), 0);
        harness.set_processing_time(60_000);
        harness.set_processing_time(90_000);
        assert_eq!(harness.take_idle(), 1);
        harness.push(90);
        harness.set_processing_time(120_000);
        assert_eq!(harness.take_idle(), 1);
    }
}
