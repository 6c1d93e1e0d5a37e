//! Late data: a record that comes behind the watermark updates its window while that is kept, and goes to a side output after that.
//!
//! `late_data` prints `window START: N records` for each result, and `late: TIME` for each record that came too late.

use std::time::Duration;

use flott::prelude::*;
use flott::runtime::source::GeneratorSource;

/// Event times, in milliseconds, in the order in which they arrive; the watermark follows the highest at once.
const ARRIVALS: [Timestamp; 9] = [100, 900, 1_200, 800, 2_500, 700, 5_000, 300, 6_100];

fn main() -> Result<(), ProgramError> {
    let env = StreamExecutionEnvironment::new()?;
    env.set_parallelism(1)?;
    env.configure("pipeline.auto-watermark-interval", "1 ms")?;
    let late = OutputTag::<(String, Timestamp)>::new("late");
    // They arrive one by one, so that the watermark comes between them: far apart, since those that are due together come together.
    let arrivals =
        GeneratorSource::new(ARRIVALS.len() as u64, |n| ARRIVALS[n as usize]).with_records_per_second(4.0);
    let strategy =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|time: &Timestamp, _| *time);
    let sums = env
        .from_source(arrivals, strategy, "arrivals")
        .map(|time| ("all".to_owned(), time))
        .key_by_ref(|(key, _)| key)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .allowed_lateness(Duration::from_secs(2))
        .side_output_late_data(&late)
        .process(|| {
            |_: &String,
             window: TimeWindow,
             times: &[(String, Timestamp)],
             out: &mut ProcessContext<'_, String>| {
                out.emit(format!("window {}: {} records", window.start, times.len()));
                Ok(())
            }
        });
    sums.side_output(&late).map(|(_, time)| format!("late: {time}")).print();
    sums.print();
    env.execute("late data")?;
    Ok(())
}
