//! Windows, timers and late data.

use std::collections::BTreeMap;
use std::time::Duration;

use flott::prelude::*;
use flott::runtime::source::GeneratorSource;

use crate::one_by_one::OneByOne;
use crate::support::environment;

fn events(n: u64) -> (u64, u64, i64) {
    (n % 37, n % 11, (n / 3) as i64)
}

#[test]
fn sliding_windows_hold_what_an_oracle_says() {
    let env = environment(&[]);
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|e: &(u64, u64, i64), _| e.2);
    let sums = env
        .generate(20_000, events, strategy)
        .key_by(|event| event.0)
        .window(SlidingEventTimeWindows::of(Duration::from_millis(500), Duration::from_millis(200)))
        .process(|| {
            |key: &u64,
             window: TimeWindow,
             events: &[(u64, u64, i64)],
             out: &mut ProcessContext<'_, (u64, i64, u64)>| {
                out.emit((*key, window.start, events.iter().map(|event| event.1).sum::<u64>()));
                Ok(())
            }
        })
        .collect();
    let mut sums = env.execute("windows").unwrap().get(&sums).unwrap();
    sums.sort_unstable();
    let mut expected: BTreeMap<(u64, i64), u64> = BTreeMap::new();
    for (key, value, time) in (0..20_000).map(events) {
        for start in
            (-2_000..10_000).filter(|start| start % 200 == 0 && (*start..start + 500).contains(&time))
        {
            *expected.entry((key, start)).or_default() += value;
        }
    }
    let expected: Vec<_> = expected.into_iter().map(|((key, start), sum)| (key, start, sum)).collect();
    assert_eq!(sums, expected);
}

/// Emits how many records of a key came in each second of event time, by a timer.
struct CountBySecond {
    count: ValueState<u64, u64>,
}

impl KeyedProcessFunction<u64, (u64, u64, i64), (u64, i64, u64)> for CountBySecond {
    fn process(
        &mut self,
        _event: (u64, u64, i64),
        context: &mut KeyedContext<'_, u64, (u64, i64, u64)>,
    ) -> Result<(), OperatorError> {
        self.count.update(|| 0, |count| *count += 1);
        context.register_event_time_timer(context.timestamp() / 1000 * 1000 + 999);
        Ok(())
    }

    fn on_timer(
        &mut self,
        timer: Timer,
        context: &mut KeyedContext<'_, u64, (u64, i64, u64)>,
    ) -> Result<(), OperatorError> {
        let key = context.current_key().unwrap_or_default();
        context.emit((key, timer.time / 1000, self.count.get().unwrap_or(0)));
        Ok(())
    }
}

#[test]
fn event_time_timers_fire_once_for_each_key() {
    let env = environment(&[]);
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|e: &(u64, u64, i64), _| e.2);
    let counts = env
        .generate(9_000, events, strategy)
        .key_by(|event| event.0)
        .process(|setup| CountBySecond { count: setup.value_state("count") })
        .collect();
    let mut counts = env.execute("timers").unwrap().get(&counts).unwrap();
    counts.sort_unstable();
    assert_eq!(counts.len(), 37 * 3, "a timer for each key and second");
    for key in 0..37 {
        let last = counts.iter().filter(|(k, ..)| *k == key).map(|(.., count)| *count).max();
        assert_eq!(last, Some((0..9_000).filter(|n| n % 37 == key).count() as u64));
    }
}

#[test]
fn what_comes_too_late_goes_to_the_side_output_and_is_counted() {
    let env = environment(&[("parallelism.default", "1"), ("pipeline.auto-watermark-interval", "1 ms")]);
    let source = OneByOne(vec![10, 1_500, 20, 3_000, 30, 3_100]);
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|time: &i64, _| *time);
    let late = OutputTag::<i64>::new("late");
    let windows = env
        .from_source(source, strategy, "times")
        .key_by(|_| 0_u8)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .allowed_lateness(Duration::from_secs(1))
        .side_output_late_data(&late)
        .reduce(|a, b| a.max(b));
    let (late, windows) = (windows.side_output(&late).collect(), windows.collect());
    let result = env.execute("late").unwrap();
    assert_eq!(result.get(&late).unwrap(), [30]);
    assert_eq!(result.get(&windows).unwrap(), [10, 20, 1_500, 3_100]);
    assert_eq!(result.job().late_records, [("Window".to_owned(), 1)]);
}

#[test]
fn a_source_waits_for_the_one_it_is_aligned_with() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicI64, Ordering};

    let env = environment(&[]);
    env.set_parallelism(1).unwrap();
    let aligned = || {
        WatermarkStrategy::for_monotonous_timestamps()
            .with_timestamp_assigner(|time: &i64, _| *time)
            .with_watermark_alignment("both", Duration::from_secs(10))
    };
    // A hundred seconds of event time: in four seconds, and in eight.
    let fast = GeneratorSource::new(100_000, |n| n as i64).with_records_per_second(25_000.0);
    let slow = GeneratorSource::new(100, |n| n as i64 * 1000).with_records_per_second(12.5);
    let slow_time = Arc::new(AtomicI64::new(0));
    let (slow_now, slow_seen) = (Arc::clone(&slow_time), slow_time);
    env.from_source(slow, aligned(), "slow")
        .map(move |time| {
            slow_now.store(time, Ordering::SeqCst);
            time
        })
        .discard();
    let ahead = env
        .from_source(fast, aligned(), "fast")
        .filter(|time| *time == 99_999)
        .map(move |time| time - slow_seen.load(Ordering::SeqCst))
        .collect();
    let ahead = env.execute("aligned").unwrap().get(&ahead).unwrap();
    assert!(
        ahead.len() == 1 && ahead[0] <= 12_000,
        "the fast source ended {ahead:?} ms ahead of the slow one"
    );
}
