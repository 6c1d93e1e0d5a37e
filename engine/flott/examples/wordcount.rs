//! Counts the words of text files.
//!
//! `wordcount --input PATH… [--output DIR] [--api datastream|dataset] [--mode streaming|batch] [--parallelism N] [--checkpoints DIR] [-D key=value]…`
//!
//! Folders are read with all below them; names that begin with `.` or `_` are left out. Words are split at ASCII white space.
//! In streaming mode every update is written, in batch mode, and by the DataSet API, the final counts: lines of a word and its count.

use flott::prelude::*;
use flott::runtime::operators::Emitter;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

struct Arguments {
    inputs: Vec<String>,
    output: Option<String>,
    data_set: bool,
    settings: Vec<(String, String)>,
}

const USAGE: &str = "usage: wordcount --input PATH… [--output DIR] [--api datastream|dataset] [--mode streaming|batch] [--parallelism N] [--checkpoints DIR] [-D key=value]…";

fn arguments() -> Result<Arguments, String> {
    let mut arguments = Arguments { inputs: Vec::new(), output: None, data_set: false, settings: Vec::new() };
    let mut given = flott::args().into_iter().skip(1);
    while let Some(flag) = given.next() {
        let value = given.next().ok_or_else(|| format!("{flag} needs a value\n{USAGE}"))?;
        let mut set = |key: &str, value: &str| arguments.settings.push((key.to_owned(), value.to_owned()));
        match flag.as_str() {
            "--input" => arguments.inputs.push(value),
            "--output" => arguments.output = Some(value),
            "--api" if value == "datastream" || value == "dataset" => arguments.data_set = value == "dataset",
            "--api" => return Err(format!("unknown api {value}\n{USAGE}")),
            "--mode" => set("execution.runtime-mode", &value),
            "--parallelism" => set("parallelism.default", &value),
            "--checkpoints" => {
                set("execution.checkpointing.dir", &value);
                set("execution.checkpointing.interval", "1 s");
            }
            "-D" => {
                let (key, value) =
                    value.split_once('=').ok_or_else(|| format!("-D {value} sets nothing\n{USAGE}"))?;
                set(key, value);
            }
            other => return Err(format!("unknown argument {other}\n{USAGE}")),
        }
    }
    let streaming = |(key, value): &(String, String)| key == "execution.runtime-mode" && value != "batch";
    if arguments.data_set && arguments.settings.iter().any(streaming) {
        return Err(format!("a DataSet program runs in batch mode\n{USAGE}"));
    }
    if arguments.inputs.is_empty() { Err(USAGE.to_owned()) } else { Ok(arguments) }
}

fn split(line: String, out: &mut Emitter<'_, (Text, u64)>) {
    for word in line.split_ascii_whitespace() {
        out.emit((Text::from(word), 1));
    }
}

fn write_line((word, count): &(Text, u64), out: &mut Vec<u8>) {
    out.extend_from_slice(format!("{word} {count}\n").as_bytes());
}

fn run_data_set(arguments: &Arguments) -> Result<(), ProgramError> {
    let env = ExecutionEnvironment::new()?;
    for (key, value) in &arguments.settings {
        env.configure(key, value)?;
    }
    let counts = env
        .read_text_files(&arguments.inputs, InvalidUtf8::Fail)?
        .flat_map_into(split)
        .name("Split")
        .group_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .name("Count");
    match &arguments.output {
        Some(folder) => {
            counts.write_files(folder, write_line)?;
            env.execute("wordcount")?;
        }
        None => counts.map(|(word, count)| format!("{word} {count}")).print()?,
    }
    Ok(())
}

fn run_data_stream(arguments: &Arguments) -> Result<(), ProgramError> {
    let env = StreamExecutionEnvironment::new()?;
    for (key, value) in &arguments.settings {
        env.configure(key, value)?;
    }
    let counts = env
        .read_text_files(&arguments.inputs, InvalidUtf8::Fail)?
        .flat_map_into(split)
        .name("Split")
        .key_by_ref(|(word, _)| word)
        .sum(|(_, count)| count)
        .name("Count")
        .uid("count");
    match &arguments.output {
        Some(folder) => {
            counts.write_files(folder, write_line, FileSinkOptions::default())?.uid("files");
        }
        None => {
            counts.map(|(word, count)| format!("{word} {count}")).print().set_parallelism(1);
        }
    }
    env.execute("wordcount")?;
    Ok(())
}

fn main() -> std::process::ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(message) => {
            eprintln!("{message}");
            return 2.into();
        }
    };
    let run = if arguments.data_set { run_data_set } else { run_data_stream };
    match run(&arguments) {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("wordcount: {error}");
            1.into()
        }
    }
}
