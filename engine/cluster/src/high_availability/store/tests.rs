//! A crash between any two steps of what is kept.

use std::sync::atomic::{AtomicU32, Ordering};

use super::memory::{Fate, Verdict};
use super::*;
use crate::rpc::control::{JobFailure, JobSpec, job_outcome};
use crate::rpc::ha::State;
use bytes::Bytes;

fn job() -> JobId {
    JobId::from_bytes([7; 16])
}

/// Where the first leader keeps a job.
fn first(job: JobId) -> JobFolder {
    JobFolder { job, epoch: Epoch(1) }
}

fn submission() -> Submission {
    Submission {
        spec: Some(JobSpec { folder: "/here".to_owned(), ..JobSpec::default() }),
        ..Submission::default()
    }
}

/// Lets so many writes through; of the next one `last` becomes, and all others are refused.
fn after(count: u32, last: Verdict) -> Fate {
    let left = AtomicU32::new(count);
    let over = AtomicU32::new(0);
    Arc::new(move |_| {
        if left.load(Ordering::SeqCst) > 0 {
            left.fetch_sub(1, Ordering::SeqCst);
            return Verdict::Done;
        }
        if over.fetch_add(1, Ordering::SeqCst) == 0 { last } else { Verdict::Refused }
    })
}

fn live(store: &HighAvailabilityStore) -> Result<(), StoreError> {
    let record = store.submit(job(), &submission(), JobPointer::default())?;
    record.reserve_checkpoints(flott_core::ids::CheckpointId(1))?;
    record.checkpoint_completed(flott_core::ids::CheckpointId(1), "/c/1".to_owned(), 1, SoFar::default())?;
    record.commit(&std::collections::BTreeMap::new())?;
    let outcome = JobOutcome { kind: Some(job_outcome::Kind::Canceled(true)) };
    record.over(Outcome {
        status: "CANCELED",
        failure: "",
        ended: 1,
        outcome: &outcome,
        garbage: Some("/c".to_owned()),
    })?;
    record.cleaned()
}

#[test]
fn whatever_step_is_the_last_the_next_leader_finds_a_whole_job_or_none() {
    let mut seen_over = 0;
    for count in 0..16 {
        for last in [Verdict::Refused, Verdict::DoneUnheard] {
            let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
            let fate = after(count, last);
            let first = HighAvailabilityStore::new(
                Arc::new(pointers.next_writer().with_fate(Arc::clone(&fate))),
                Arc::new(blobs.with_fate(fate)),
            );
            let lived = live(&first);
            let next = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
            let recovered = next.recover().unwrap();
            next.clear().unwrap();
            assert!(recovered.len() <= 1);
            match recovered.into_iter().next() {
                None => assert!(lived.is_err() && blobs.names().is_empty(), "nothing is leaked"),
                Some((id, record)) => {
                    assert_eq!(id, job());
                    let record = record.unwrap();
                    match record.content().unwrap() {
                        RecoveredContent::Active(found) => {
                            assert_eq!(*found, submission());
                            assert!(record.commits().is_ok());
                        }
                        RecoveredContent::Over(outcome) => {
                            seen_over += 1;
                            assert_eq!(outcome.kind, Some(job_outcome::Kind::Canceled(true)));
                        }
                    }
                    next.forget(job()).unwrap();
                    assert!(blobs.names().is_empty() && next.recover().unwrap().is_empty());
                }
            }
        }
    }
    assert!(seen_over > 0);
}

#[test]
fn a_job_that_cannot_be_read_is_told_of_and_the_others_go_on() {
    let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
    let writer = Arc::new(pointers.next_writer());
    let store = HighAvailabilityStore::new(Arc::clone(&writer) as Arc<_>, Arc::new(blobs.clone()));
    let other = |number| JobId::from_bytes([number; 16]);
    for number in 1..=4 {
        store.submit(other(number), &submission(), JobPointer::default()).unwrap();
    }
    writer.write(&other(1).to_string(), b"x").unwrap();
    blobs.write(first(other(2)), SUBMISSION, b"FLOTTHA\x09of a later version").unwrap();
    blobs.remove(first(other(3)), SUBMISSION).unwrap();
    blobs.set_away(other(4), true);
    let recovered = store.recover().unwrap();
    store.clear().unwrap();
    let error = |number| {
        let (_, found) = recovered.iter().find(|(id, _)| *id == other(number)).unwrap();
        let content = found.as_ref().map_err(Clone::clone).and_then(|record| record.content());
        content.err()
    };
    assert_eq!(error(4), Some(StoreError::Failed("the files are away".to_owned())), "it may come back");
    blobs.set_away(other(4), false);
    assert_eq!(error(4), None);
    let error = |number| {
        let error = error(number).unwrap();
        assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        error.to_string()
    };
    assert!(error(1).contains("bytes only"));
    assert!(error(2).contains("format version 9"));
    assert!(error(3).contains("not there"));
    assert_eq!(blobs.names().len(), 3, "what cannot be read stays");
}

#[test]
fn a_cancellation_that_was_acknowledged_stays_and_ids_are_never_used_twice() {
    let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
    let first = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
    let record = first.submit(job(), &submission(), JobPointer::default()).unwrap();
    let below = record.reserve_checkpoints(flott_core::ids::CheckpointId(1)).unwrap();
    record.cancel().unwrap();
    let next = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs));
    let recovered = next.recover().unwrap().remove(0).1.unwrap();
    assert_eq!(recovered.pointer().state(), State::Cancelling);
    assert!(recovered.next_checkpoint() >= below);
    recovered.next_term().unwrap();
    assert!(recovered.first_attempt() > record.first_attempt());
    assert!(matches!(
        record.checkpoint_completed(below, String::new(), 1, SoFar::default()),
        Err(StoreError::NotLeader(_))
    ));
}

#[test]
fn what_an_old_leader_deletes_late_is_not_what_a_later_one_has_written() {
    let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
    let lead = || HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
    // It dies before it has written the pointer.
    let fate = after(0, Verdict::Refused);
    let dying = Arc::new(pointers.next_writer().with_fate(fate));
    let dying = HighAvailabilityStore::new(dying, Arc::new(blobs.clone()));
    assert!(dying.submit(job(), &submission(), JobPointer::default()).is_err());
    let second = lead();
    let left_over = second.left_over().unwrap();
    assert_eq!(left_over, [first(job())]);
    let third = lead();
    third.submit(job(), &submission(), JobPointer::default()).unwrap();
    left_over.into_iter().for_each(|folder| second.delete(folder));
    assert!(matches!(second.left_over(), Err(StoreError::NotLeader(_))));
    let fourth = lead();
    fourth.clear().unwrap();
    let record = fourth.find(job()).unwrap().unwrap();
    assert!(matches!(record.content(), Ok(RecoveredContent::Active(_))));
    // Nor what the job is given up with.
    record.cancel().unwrap();
    fourth.forget(job()).unwrap();
    assert_eq!(blobs.names(), []);
}

#[test]
fn a_job_of_the_first_format_version_is_gone_on_with() {
    let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
    let writer = pointers.next_writer();
    let as_before = |mut bytes: Vec<u8>| {
        bytes[7] = 1;
        let content = bytes.len() - 4;
        let crc = crc32fast::hash(&bytes[..content]).to_le_bytes();
        bytes[content..].copy_from_slice(&crc);
        bytes
    };
    let unnumbered = JobFolder { job: job(), epoch: Epoch(0) };
    assert_eq!(unnumbered.to_string(), job().to_string());
    blobs.write(unnumbered, SUBMISSION, &as_before(envelope::seal(&submission()))).unwrap();
    let pointer = JobPointer { name: "old".to_owned(), ..JobPointer::default() };
    writer.write(&job().to_string(), &as_before(envelope::seal(&pointer))).unwrap();
    let store = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
    store.clear().unwrap();
    let record = store.recover().unwrap().remove(0).1.unwrap();
    assert!(matches!(record.content(), Ok(RecoveredContent::Active(found)) if *found == submission()));
    record.next_term().unwrap();
    record.commit(&std::collections::BTreeMap::new()).unwrap();
    assert!(record.commits().unwrap().is_some());
    store.forget(job()).unwrap();
    assert_eq!(blobs.names(), []);
}

#[test]
fn folders_are_called_by_job_and_leader() {
    let folder = JobFolder { job: job(), epoch: Epoch(12) };
    for folder in [folder, JobFolder { epoch: Epoch(0), ..folder }] {
        assert_eq!(folder.to_string().parse(), Ok(folder));
    }
    assert_eq!(folder.to_string(), format!("{}-12", job()));
    for name in ["", "-1", "checkpoints", &format!("{}-x", job()), &format!("{}-1-2", job())] {
        assert_eq!(name.parse::<JobFolder>(), Err(()));
    }
}

#[test]
fn fuzz_ha_commits() {
    let key = flott_plan::OperatorKey::variant(
        flott_core::ids::OperatorId::from_uid("sink"),
        flott_plan::Variant::Default,
    );
    let blobs = MemoryBlobs::default();
    let store = || {
        HighAvailabilityStore::new(Arc::new(MemoryPointers::default().next_writer()), Arc::new(blobs.clone()))
    };
    let unnumbered = JobFolder { job: job(), epoch: Epoch(0) };
    let subtask = flott_core::ids::SubtaskId { vertex: flott_core::ids::VertexId(1), index: 2 };
    let handles = vec![(key, vec![Bytes::from_static(b"part-1"), Bytes::new()])];
    store()
        .record(job(), JobPointer::default())
        .commit(&std::collections::BTreeMap::from([(subtask, handles)]))
        .unwrap();
    let written = blobs.read(unnumbered, "commits-0").unwrap();
    let record =
        store().record(job(), JobPointer { commits: "commits-0".to_owned(), ..JobPointer::default() });
    assert_eq!(record.commits().unwrap().unwrap().len(), 1);
    flott_fuzz::Decoder::new("commits of jobs").sample(&written[..written.len() - 4]).bytes(|bytes| {
        let sealed = [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat();
        blobs.write(unnumbered, "commits-0", &sealed).unwrap();
        let _ = record.commits();
    });
}

#[test]
fn files_that_cannot_be_read_are_not_taken_for_gone() {
    let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
    let first = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
    live(&first).unwrap();
    let next = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
    blobs.set_away(job(), true);
    let record = next.recover().unwrap().remove(0).1.unwrap();
    assert!(matches!(record.content(), Err(StoreError::Failed(_))), "the outcome is there");
    blobs.set_away(job(), false);
    assert!(matches!(record.content(), Ok(RecoveredContent::Over(_))));
}

#[test]
fn results_of_which_the_file_is_not_written_are_no_end_and_of_any_other_end_the_pointer_tells() {
    let pointers = MemoryPointers::default();
    let blobs = MemoryBlobs::default();
    let first = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(blobs.clone()));
    first.submit(job(), &submission(), JobPointer::default()).unwrap();
    let full = blobs.with_fate(Arc::new(|_| Verdict::Refused));
    let next = HighAvailabilityStore::new(Arc::new(pointers.next_writer()), Arc::new(full));
    let record = next.recover().unwrap().remove(0).1.unwrap();
    let over = |status, failure, kind| {
        let outcome = JobOutcome { kind: Some(kind) };
        let kept = record.over(Outcome { status, failure, ended: 1, outcome: &outcome, garbage: None });
        kept.map(|()| record.outcome().unwrap())
    };
    let result = job_outcome::Kind::Result(crate::rpc::control::JobResult::default());
    assert!(matches!(over("FINISHED", "", result), Err(StoreError::Failed(_))));
    assert_eq!(record.pointer().state(), State::Running);
    let canceled = job_outcome::Kind::Canceled(true);
    assert_eq!(over("CANCELED", "", canceled.clone()).unwrap().kind, Some(canceled));
    let failed = job_outcome::Kind::Failed(JobFailure { cause: "no".to_owned(), ..JobFailure::default() });
    let told = over("FAILED", "it failed: no", failed).unwrap().kind;
    assert!(matches!(told, Some(job_outcome::Kind::Failed(failure)) if failure.cause == "it failed: no"));
}

#[test]
fn who_looks_does_not_wait_for_who_writes() {
    let (pointers, blobs) = (MemoryPointers::default(), MemoryBlobs::default());
    let (began, writing) = std::sync::mpsc::sync_channel(1);
    let (go_on, waits) = std::sync::mpsc::sync_channel::<()>(1);
    let waits = std::sync::Mutex::new(waits);
    let armed = Arc::new(AtomicU32::new(0));
    let is_armed = Arc::clone(&armed);
    // As if ZooKeeper were away for a while.
    let fate: Fate = Arc::new(move |_| {
        if is_armed.load(Ordering::SeqCst) > 0 {
            began.send(()).unwrap();
            waits.lock().unwrap().recv().unwrap();
        }
        Verdict::Done
    });
    let store = HighAvailabilityStore::new(Arc::new(pointers.next_writer().with_fate(fate)), Arc::new(blobs));
    let record = store.submit(job(), &submission(), JobPointer::default()).unwrap();
    armed.store(1, Ordering::SeqCst);
    std::thread::scope(|scope| {
        let cancelling = scope.spawn(|| record.cancel());
        writing.recv().unwrap();
        assert_eq!((record.first_attempt().0, record.pointer().state()), (0, State::Running));
        go_on.send(()).unwrap();
        cancelling.join().unwrap().unwrap();
    });
    assert_eq!(record.pointer().state(), State::Cancelling);
}
