//! Bad input: an error that says what, where and what to do; nothing hangs.

use flott::prelude::*;
use flott::runtime::source::GeneratorSource;

use crate::support::{accept, environment};

fn error_of(env: &StreamExecutionEnvironment) -> String {
    env.execute("bad").unwrap_err().to_string()
}

#[test]
fn a_file_that_is_missing_or_no_text_is_named() {
    let env = environment(&[]);
    env.read_text_file("/nonexistent/input").unwrap().discard();
    let error = error_of(&env);
    assert!(error.contains("cannot look at /nonexistent/input"), "{error}");
    assert!(error.contains("no restart: no restart strategy is set"), "{error}");

    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("binary");
    std::fs::write(&path, b"good\nbad \xFF\n").unwrap();
    env.read_text_file(path.to_str().unwrap()).unwrap().discard();
    let error = error_of(&env);
    assert!(error.contains(&format!("{} is not UTF-8 at byte 9", path.display())), "{error}");

    let lines =
        env.read_text_files(&[path.to_str().unwrap().to_owned()], InvalidUtf8::Skip).unwrap().collect();
    let result = env.execute("skipping").unwrap();
    assert_eq!(result.get(&lines).unwrap(), ["good"]);
    assert_eq!(result.job().skipped_records, [("Source: text files".to_owned(), 1)]);
}

#[test]
fn a_panic_fails_its_task_with_message_and_backtrace() {
    let env = environment(&[]);
    let panics = |n: i64| if n == 7 { panic!("seven is not allowed") } else { n };
    env.generate_sequence(1, 10).map(panics).name("Picky").discard();
    let error = env.execute("panics").unwrap_err();
    assert!(error.to_string().contains("Picky"), "{error}");
    assert!(error.to_string().contains("panicked: seven is not allowed"), "{error}");
    let ProgramError::Job(flott::cluster::JobError::Failed { backtrace: Some(backtrace), .. }) = error else {
        panic!("{error:?}");
    };
    assert!(backtrace.contains("errors.rs"), "{backtrace}");
}

#[test]
fn state_that_is_too_large_for_a_checkpoint_without_a_directory_is_named() {
    let env =
        environment(&[("execution.checkpointing.interval", "10 ms"), ("restart-strategy.type", "none")]);
    let source = GeneratorSource::new(200_000, |n| format!("{n:01000}")).with_records_per_second(40_000.0);
    env.from_source(source, WatermarkStrategy::no_watermarks(), "names")
        .map(|name| (name, 1_u64))
        .key_by_ref(|(name, _)| name)
        .sum(|(_, count)| count)
        .discard();
    let error = error_of(&env);
    let limit = "more than 5 MiB, the most that a checkpoint without a directory can hold of one";
    assert!(error.contains(limit) && error.contains("set execution.checkpointing.dir"), "{error}");
}

#[test]
fn a_plan_that_cannot_run_names_the_operator_and_its_line() {
    let env = environment(&[]);
    env.generate_sequence(1, 2).map(|n| n).set_parallelism(0).name("Nobody").discard();
    let error = error_of(&env);
    assert!(error.contains("Nobody") && error.contains("errors.rs:"), "{error}");
    let numbers = env.generate_sequence(1, 2).map(|n| n).uid("same");
    numbers.map(|n| n).uid("same").discard();
    let error = error_of(&env);
    assert!(error.contains("same uid 'same'") || error.contains("uid"), "{error}");
    assert!(env.execute("nothing").unwrap_err().to_string().contains("no operators"));
    assert!(env.configure("parallelism.defaults", 1).is_err());
}

#[test]
fn a_server_that_is_not_there_is_named() {
    // One that was free a moment ago may be another test's by now; this one nobody is given.
    let port = 1;
    let env = environment(&[]);
    env.socket_text_stream("127.0.0.1", port).discard();
    let error = error_of(&env);
    assert!(error.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{error}");
    env.generate_sequence(1, 2)
        .write_to_socket("127.0.0.1", port, |n, out| out.extend(n.to_string().bytes()));
    let error = error_of(&env);
    assert!(error.contains(&format!("cannot connect to 127.0.0.1:{port}")), "{error}");
}

#[test]
fn a_custom_partitioner_out_of_bounds_is_named() {
    let env = environment(&[]);
    env.generate_sequence(1, 2).partition_custom(|_, partitions| partitions).map(|n| n).discard();
    let error = error_of(&env);
    assert!(error.contains("chose partition 2 of 2"), "{error}");
}

#[test]
fn lines_travel_over_sockets() {
    use std::io::{BufRead, BufReader, Write};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let sink = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let sink_port = sink.local_addr().unwrap().port();
    let spawn = std::thread::Builder::new;
    let server = spawn().spawn(move || {
        let mut stream = accept(&listener);
        stream.write_all(b"one\r\ntwo\n\nlast").unwrap();
    });
    let reader = spawn().spawn(move || {
        let stream = accept(&sink);
        BufReader::new(stream).lines().map(Result::unwrap).collect::<Vec<_>>()
    });
    let env = environment(&[("parallelism.default", "1")]);
    env.socket_text_stream("127.0.0.1", port).map(|line| line.to_uppercase()).write_to_socket(
        "127.0.0.1",
        sink_port,
        |line, out| out.extend_from_slice(format!("{line}\n").as_bytes()),
    );
    env.execute("sockets").unwrap();
    server.unwrap().join().unwrap();
    assert_eq!(reader.unwrap().join().unwrap(), ["ONE", "TWO", "", "LAST"]);
}

#[test]
fn what_is_too_much_to_collect_is_told_so() {
    let env = environment(&[]);
    env.set_parallelism(4).unwrap();
    // No subtask has too much, but all together have.
    env.generate(60_000, |n| format!("{n:4000}"), WatermarkStrategy::no_watermarks()).collect();
    let error = env.execute("much").unwrap_err().to_string();
    assert!(
        error.contains("more than 192 mb were to be collected to the client: write them to files"),
        "{error}"
    );
}
