//! The workloads, the same that the other systems of the comparison run: same events, same keys, same figures.

use std::time::Duration;

use flott::prelude::*;
use flott::runtime::operators::Emitter;

use crate::sink::{CountingSink, Counts};

/// A job that is ready to be executed.
pub struct Workload {
    /// Its name.
    pub name: &'static str,
    /// What its sink will have counted.
    pub counts: Counts,
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

fn counted_words(
    env: &StreamExecutionEnvironment,
    file: &str,
) -> Result<DataStream<(String, u64)>, ProgramError> {
    let split = |line: String, out: &mut Emitter<'_, (String, u64)>| {
        for word in line.split_ascii_whitespace() {
            out.emit((word.to_owned(), 1));
        }
    };
    Ok(env
        .read_text_file(file)?
        .flat_map_into(split)
        .name("Split")
        .key_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .name("Count")
        .uid("count"))
}

/// Every update of every count. The update to 1 is a word's first, and there are as many updates as words.
pub fn word_count(env: &StreamExecutionEnvironment, file: &str) -> Result<Workload, ProgramError> {
    let counts = Counts::default();
    let count = |(_, count): &(String, u64)| (u64::from(*count == 1), 1);
    counted_words(env, file)?.sink_to(CountingSink::new(&counts, count));
    Ok(Workload { name: "wordcount", counts })
}

/// The final counts.
pub fn word_count_batch(env: &StreamExecutionEnvironment, file: &str) -> Result<Workload, ProgramError> {
    env.configure("execution.runtime-mode", "BATCH")?;
    let counts = Counts::default();
    let count = |(_, count): &(String, u64)| (1, *count);
    counted_words(env, file)?.sink_to(CountingSink::new(&counts, count));
    Ok(Workload { name: "wordcount-batch", counts })
}

/// For every event the key's new sum.
pub fn keyed_sum(env: &StreamExecutionEnvironment, events: u64, keys: u64) -> Workload {
    let counts = Counts::default();
    self::events(env, events, keys)
        .key_by_ref(|event| &event.0)
        .sum(|event| &mut event.1)
        .name("Sum")
        .uid("sum")
        .sink_to(CountingSink::new(&counts, |event: &Event| (1, event.1 & 1)));
    Workload { name: "keyed-sum", counts }
}

/// The sum by key and second of event time.
pub fn window(env: &StreamExecutionEnvironment, events: u64, keys: u64) -> Workload {
    let counts = Counts::default();
    self::events(env, events, keys)
        .key_by_ref(|event| &event.0)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(1)))
        .sum(|event| &mut event.1)
        .name("Window")
        .uid("window")
        .sink_to(CountingSink::new(&counts, |event: &Event| (1, event.1)));
    Workload { name: "window", counts }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::collections::HashMap;

    use super::*;

    const EVENTS: u64 = 50_000;
    const KEYS: u64 = 701;

    fn run(make: impl Fn(&StreamExecutionEnvironment) -> Workload) -> (u64, u64) {
        let env = StreamExecutionEnvironment::new().unwrap();
        env.set_parallelism(2).unwrap();
        let workload = make(&env);
        env.execute(workload.name).unwrap();
        workload.counts.get()
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
        assert_eq!(run(|env| word_count(env, file).unwrap()), expected);
        assert_eq!(run(|env| word_count_batch(env, file).unwrap()), expected);
    }

    #[test]
    fn a_keyed_sum_has_a_result_for_every_event() {
        let (results, odd) = run(|env| keyed_sum(env, EVENTS, KEYS));
        assert_eq!(results, EVENTS);
        assert!(odd > 0 && odd < EVENTS);
    }

    #[test]
    fn windows_hold_what_a_map_holds() {
        let mut sums: HashMap<(u64, i64), u64> = HashMap::new();
        for (key, value, time) in (0..EVENTS).map(|index| event(index, KEYS)) {
            *sums.entry((key, time / 1000)).or_default() += value;
        }
        let expected = (sums.len() as u64, sums.values().sum());
        assert_eq!(run(|env| window(env, EVENTS, KEYS)), expected);
    }
}
