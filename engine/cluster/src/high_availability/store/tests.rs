//! A crash between any two steps of what is kept.

use std::sync::atomic::{AtomicU32, Ordering};

use super::memory::{Fate, Verdict};
use super::*;
use crate::rpc::control::JobSpec;

fn job() -> JobId {
    JobId::from_bytes([7; 16])
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
    record.checkpoint_completed(flott_core::ids::CheckpointId(1), "/c/1".to_owned(), 1, 0)?;
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
            assert!(recovered.len() <= 1);
            match recovered.into_iter().next() {
                None => assert!(lived.is_err() && blobs.names().is_empty(), "nothing is leaked"),
                Some((id, recovered)) => {
                    assert_eq!(id, job());
                    let recovered = recovered.unwrap();
                    match recovered.content {
                        RecoveredContent::Active(found) => {
                            assert_eq!(*found, submission());
                            assert!(recovered.record.commits().is_ok());
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
    blobs.write(other(2), SUBMISSION, b"FLOTTHA\x09of a later version").unwrap();
    blobs.remove(other(3), SUBMISSION).unwrap();
    let recovered = store.recover().unwrap();
    let error = |number| {
        let (_, found) = recovered.iter().find(|(id, _)| *id == other(number)).unwrap();
        found.as_ref().err().map(ToString::to_string)
    };
    assert!(error(1).unwrap().contains("bytes only"));
    assert!(error(2).unwrap().contains("format version 9"));
    assert!(error(3).unwrap().contains("not there"));
    assert_eq!(error(4), None);
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
    assert_eq!(recovered.pointer.state(), State::Cancelling);
    assert!(recovered.record.next_checkpoint() >= below);
    recovered.record.next_term().unwrap();
    assert!(recovered.record.first_attempt() > record.first_attempt());
    assert!(matches!(record.checkpoint_completed(below, String::new(), 1, 0), Err(StoreError::NotLeader(_))));
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
    let subtask = flott_core::ids::SubtaskId { vertex: flott_core::ids::VertexId(1), index: 2 };
    let handles = vec![(key, vec![b"part-1".to_vec(), Vec::new()])];
    store()
        .record(job(), JobPointer::default())
        .commit(&std::collections::BTreeMap::from([(subtask, handles)]))
        .unwrap();
    let written = blobs.read(job(), "commits-0").unwrap();
    let record =
        store().record(job(), JobPointer { commits: "commits-0".to_owned(), ..JobPointer::default() });
    assert_eq!(record.commits().unwrap().unwrap().len(), 1);
    flott_fuzz::Decoder::new("commits of jobs").sample(&written[..written.len() - 4]).bytes(|bytes| {
        let sealed = [bytes, &crc32fast::hash(bytes).to_le_bytes()].concat();
        blobs.write(job(), "commits-0", &sealed).unwrap();
        let _ = record.commits();
    });
}
