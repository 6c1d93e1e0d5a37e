//! The workloads, the same that the other systems of the comparison run: same events, same keys, same figures.

use std::time::Duration;

use flott::cluster::JobResult;
use flott::prelude::*;
use flott::runtime::operators::Emitter;

use crate::sink::{CountingSink, Counts};

/// A job that is ready to be executed.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// What its sink will have counted.
    pub counts: Counts,
    /// Executes it.
    pub execute: Execute,
}

/// Runs a job of either API.
type Execute = Box<dyn FnOnce(&str) -> Result<JobResult, ProgramError>>;

/// A workload of the DataStream API.
pub fn stream(name: &'static str, counts: Counts, env: StreamExecutionEnvironment) -> Workload {
    Workload { name, counts, execute: Box::new(move |name| Ok(env.execute(name)?.job().clone())) }
}

fn batch(name: &'static str, counts: Counts, env: ExecutionEnvironment) -> Workload {
    Workload { name, counts, execute: Box::new(move |name| env.execute(name)) }
}

/// Key, value, event time in milliseconds.
type Event = (u64, u64, i64);

/// The finalizer of splitmix64: index to key, as in every system of the comparison.
fn mix(index: u64) -> u64 {
    let z = index.wrapping_add(0x9E37_79B9_7F4A_7C15);
    let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    z ^ (z >> 31)
}

/// Event `index`: a thousand events are a millisecond.
fn event(index: u64, keys: u64) -> Event {
    (mix(index) % keys, index & 1023, (index / 1000).cast_signed())
}

/// All events, with their time as timestamp: also where no window needs it, for so do the others.
fn events(env: &StreamExecutionEnvironment, count: u64, keys: u64) -> DataStream<Event> {
    let by_event_time =
        WatermarkStrategy::for_monotonous_timestamps().with_timestamp_assigner(|event: &Event, _| event.2);
    env.generate(count, move |index| event(index, keys), by_event_time).name("Events")
}

fn split(line: String, out: &mut Emitter<'_, (Text, u64)>) {
    for word in line.split_ascii_whitespace() {
        out.emit((Text::from(word), 1));
    }
}

/// Every update of every count. The update to 1 is a word's first, and there are as many updates as words.
pub fn word_count(env: StreamExecutionEnvironment, file: &str) -> Result<Workload, ProgramError> {
    let counts = Counts::default();
    let count = |(_, count): &(Text, u64)| (u64::from(*count == 1), 1);
    env.read_text_file(file)?
        .flat_map_into(split)
        .name("Split")
        .key_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .name("Count")
        .uid("count")
        .sink_to(CountingSink::new(&counts, count));
    Ok(stream("wordcount", counts, env))
}

/// The final counts.
pub fn word_count_batch(env: ExecutionEnvironment, file: &str) -> Result<Workload, ProgramError> {
    let counts = Counts::default();
    let count = |(_, count): &(Text, u64)| (1, *count);
    env.read_text_file(file)?
        .flat_map_into(split)
        .name("Split")
        .group_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .name("Count")
        .sink_to(CountingSink::new(&counts, count));
    Ok(batch("wordcount-batch", counts, env))
}

/// The lines of a file, each subtask's in order: how many there are, and their bytes.
pub fn sort(env: ExecutionEnvironment, file: &str) -> Result<Workload, ProgramError> {
    let counts = Counts::default();
    env.read_text_file(file)?
        .sort_partition_ref(|line| line, Order::Ascending)
        .sink_to(CountingSink::new(&counts, |line: &String| (1, line.len() as u64)));
    Ok(batch("sort", counts, env))
}

/// For every event the key's new sum.
pub fn keyed_sum(env: StreamExecutionEnvironment, events: u64, keys: u64) -> Workload {
    let counts = Counts::default();
    self::events(&env, events, keys)
        .key_by_ref(|event| &event.0)
        .sum(|event| &mut event.1)
        .name("Sum")
        .uid("sum")
        .sink_to(CountingSink::new(&counts, |event: &Event| (1, event.1 & 1)));
    stream("keyed-sum", counts, env)
}

/// The sum by key and second of event time.
pub fn window(env: StreamExecutionEnvironment, events: u64, keys: u64) -> Workload {
    let counts = Counts::default();
    self::events(&env, events, keys)
        .key_by_ref(|event| &event.0)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .sum(|event| &mut event.1)
        .name("Window")
        .uid("window")
        .sink_to(CountingSink::new(&counts, |event: &Event| (1, event.1)));
    stream("window", counts, env)
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const EVENTS: u64 = 50_000;
    const KEYS: u64 = 701;

    fn run(workload: Workload) -> (u64, u64) {
        (workload.execute)(workload.name).unwrap();
        workload.counts.get()
    }

    fn streaming() -> StreamExecutionEnvironment {
        let env = StreamExecutionEnvironment::new().unwrap();
        env.set_parallelism(2).unwrap();
        env
    }

    fn bounded() -> ExecutionEnvironment {
        let env = ExecutionEnvironment::new().unwrap();
        env.set_parallelism(2).unwrap();
        env
    }

    #[test]
    fn both_word_counts_print_what_a_map_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let words: Vec<String> = (0..20_000_u64).map(|n| format!("w{}", mix(n) % KEYS)).collect();
        std::fs::write(&path, words.chunks(10).map(|line| line.join(" ") + "\n").collect::<String>())
            .unwrap();
        let distinct: std::collections::HashSet<_> = words.iter().collect();
        let expected = (distinct.len() as u64, words.len() as u64);
        let file = path.to_str().unwrap();
        assert_eq!(run(word_count(streaming(), file).unwrap()), expected);
        assert_eq!(run(word_count_batch(bounded(), file).unwrap()), expected);
        let text = std::fs::read_to_string(&path).unwrap();
        let lines = text.lines().count() as u64;
        assert_eq!(run(sort(bounded(), file).unwrap()), (lines, text.len() as u64 - lines));
    }

    #[test]
    fn a_keyed_sum_has_a_result_for_every_event() {
        let (results, odd) = run(keyed_sum(streaming(), EVENTS, KEYS));
        assert_eq!(results, EVENTS);
        assert!(odd > 0 && odd < EVENTS);
    }

    #[test]
    fn what_is_measured_for_its_bounds_ends() {
        let folder = tempfile::tempdir().unwrap();
        run(crate::bounds::slow_sink(streaming(), KEYS));
        let env = streaming();
        env.enable_checkpointing(10).unwrap();
        env.configure("execution.checkpointing.dir", folder.path().to_str().unwrap()).unwrap();
        run(crate::bounds::pause(env, 4));
    }

    #[test]
    fn windows_hold_what_a_map_holds() {
        let mut sums: HashMap<(u64, i64), u64> = HashMap::new();
        for (key, value, time) in (0..EVENTS).map(|index| event(index, KEYS)) {
            *sums.entry((key, time / 1000)).or_default() += value;
        }
        let expected = (sums.len() as u64, sums.values().sum());
        assert_eq!(run(window(streaming(), EVENTS, KEYS)), expected);
    }
}
