//! Counts the words that a server sends, in windows of five seconds by the time of arrival.
//!
//! `socket_window_wordcount HOST PORT`; `nc -lk 9999` on the other side makes a server to type into.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use flott::prelude::*;

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::try_from(since.as_millis()).unwrap_or(Timestamp::MAX)
}

fn run(host: &str, port: u16) -> Result<(), ProgramError> {
    let env = StreamExecutionEnvironment::new()?;
    // A stream that pauses must not hold back the other subtasks' windows.
    let arrival = WatermarkStrategy::for_monotonous_timestamps()
        .with_timestamp_assigner(|_: &String, _| now())
        .with_idleness(Duration::from_secs(1));
    env.socket_text_stream(host, port)
        .assign_timestamps_and_watermarks(arrival)
        .flat_map_into(|line: String, out| {
            for word in line.split_ascii_whitespace() {
                out.emit((word.to_owned(), 1_u64));
            }
        })
        .key_by_ref(|(word, _)| word)
        .window(TumblingEventTimeWindows::of(Duration::from_secs(5)))
        .sum(|(_, count)| count)
        .map(|(word, count)| format!("{word}: {count}"))
        .print()
        .set_parallelism(1);
    env.execute("socket window wordcount")?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    let mut arguments = flott::args().into_iter().skip(1);
    let (host, port) = (arguments.next(), arguments.next().and_then(|port| port.parse().ok()));
    let (Some(host), Some(port)) = (host, port) else {
        eprintln!("usage: socket_window_wordcount HOST PORT");
        return 2.into();
    };
    match run(&host, port) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("socket_window_wordcount: {error}");
            1.into()
        }
    }
}
