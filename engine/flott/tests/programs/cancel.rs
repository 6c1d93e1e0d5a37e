//! A job that is cancelled ends, and leaves nothing that is not committed.

use std::sync::mpsc::sync_channel;
use std::sync::{Arc, Mutex};

use flott::cluster::{JobError, LocalCluster};
use flott::prelude::*;
use flott::runtime::source::GeneratorSource;

use crate::support::{environment, recovering};

#[test]
fn a_cancelled_job_shows_nothing_that_was_not_committed() {
    let folder = tempfile::tempdir().unwrap();
    let (checkpoints, output) = (folder.path().join("checkpoints"), folder.path().join("out"));
    let env = environment(&[]);
    for (key, value) in recovering(&checkpoints) {
        env.configure(&key, value).unwrap();
    }
    let (seen, first_seen) = sync_channel(1);
    // At this pace it would take years.
    let endless = GeneratorSource::new(u64::MAX, |n| n).with_records_per_second(1_000.0);
    env.from_source(endless, WatermarkStrategy::no_watermarks(), "numbers")
        .map(move |n| {
            // Full or closed: somebody knows already.
            let _ = seen.try_send(());
            n
        })
        .write_files(
            output.to_str().unwrap(),
            |n, out| out.extend_from_slice(format!("{n}\n").as_bytes()),
            FileSinkOptions::default(),
        )
        .unwrap();
    let (graph, program) = env.plan("endless").unwrap();
    let cluster = LocalCluster::start().unwrap();
    let cluster = &cluster;
    let error = std::thread::scope(|scope| {
        let canceling = std::thread::Builder::new().spawn_scoped(scope, move || {
            first_seen.recv().unwrap();
            cluster.cancel_all();
        });
        let result = cluster.run(graph, program, &env.configuration(), None);
        canceling.unwrap().join().unwrap();
        result.unwrap_err()
    });
    assert!(matches!(error, JobError::Canceled { .. }), "{error}");
    assert!(error.to_string().contains("job 'endless'"), "{error}");
    // What was being written stays hidden: a checkpoint that is kept may need it.
    let visible = std::fs::read_dir(&output)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| !name.starts_with('.'))
        .collect::<Vec<_>>();
    assert!(visible.is_empty(), "{visible:?} were committed by nobody");
    let left = std::fs::read_dir(&checkpoints).into_iter().flatten().count();
    assert_eq!(left, 0, "checkpoints of a cancelled job are deleted by default");
}

/// Two pipelines in one slot, of which the first waits for the second.
fn waiting_pipelines() -> (StreamExecutionEnvironment, Collected<u64>, Collected<u64>) {
    let env = environment(&[]);
    env.set_parallelism(1).unwrap();
    let (done, waiting) = sync_channel::<()>(1);
    let waiting = Arc::new(Mutex::new(waiting));
    let waits = env
        .from_collection(vec![1_u64])
        .map(move |n| {
            waiting.lock().unwrap().recv().unwrap();
            n
        })
        .blocking()
        .name("Waits")
        .collect();
    let last = env.from_collection(0..10_000_u64).filter(move |n| {
        if *n == 9_999 {
            done.send(()).unwrap();
        }
        *n == 9_999
    });
    let last = last.collect();
    (env, waits, last)
}

#[test]
fn who_says_that_it_blocks_holds_up_nobody() {
    let (graph, _) = waiting_pipelines().0.plan("two").unwrap();
    let plan = graph.describe();
    assert_eq!(plan.matches(", threads of their own").count(), 1, "{plan}");
    assert_eq!(graph.slots_needed(), 1, "{plan}");
    let (env, waits, last) = waiting_pipelines();
    let result = env.execute("two").unwrap();
    assert_eq!((result.get(&waits).unwrap(), result.get(&last).unwrap()), (vec![1], vec![9_999]));
}
