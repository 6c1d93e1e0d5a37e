//! Joins two text files on the first word of their lines, like `join(1)`, but they need not be sorted.
//!
//! `join_files LEFT RIGHT [OUTPUT]` prints, or writes into the folder OUTPUT, a line for every pair: the word, the rest of the left line, the rest
//! of the right one. Which file is sent to all subtasks, or whether both are partitioned, is chosen by their sizes.

use flott::prelude::*;

#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

/// The first word of a line, and the rest.
fn keyed(line: String) -> (String, String) {
    match line.split_once(|c: char| c.is_ascii_whitespace()) {
        Some((key, rest)) => (key.to_owned(), rest.trim_start().to_owned()),
        None => (line, String::new()),
    }
}

fn run(left: &str, right: &str, output: Option<&str>) -> Result<(), ProgramError> {
    let env = ExecutionEnvironment::new()?;
    // Lines without a word have no key.
    let read = |path: &str| {
        Ok::<_, ProgramError>(env.read_text_file(path)?.filter(|line| !line.is_empty()).map(keyed))
    };
    let pairs = read(left)?
        .name("Left")
        .join(&read(right)?.name("Right"))
        .on(|(key, _)| key.clone(), |(key, _)| key.clone())
        .with(|(key, left), (_, right)| format!("{key} {left} {right}"));
    match output {
        Some(folder) => {
            pairs.write_as_text(folder)?;
            env.execute("join files")?;
        }
        None => pairs.print()?,
    }
    Ok(())
}

fn main() -> std::process::ExitCode {
    let arguments = flott::args();
    let outcome = match &arguments[1..] {
        [left, right] => run(left, right, None),
        [left, right, output] => run(left, right, Some(output)),
        _ => {
            eprintln!("usage: join_files LEFT RIGHT [OUTPUT]");
            return 2.into();
        }
    };
    match outcome {
        Ok(()) => 0.into(),
        Err(error) => {
            eprintln!("join_files: {error}");
            1.into()
        }
    }
}
