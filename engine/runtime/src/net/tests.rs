//! Two workers over loopback, with what an agent does between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use flott_core::Batch;
use flott_core::ids::{Attempt, CheckpointId, EdgeId, JobId, WorkerId};
use tokio::net::TcpListener;

use super::handshake::Secret;
use super::{DataPlane, Peer, receive_hello};
use crate::element::{AnyBatch, Barrier, Element};
use crate::exchange::channel::{CHANNEL_BYTES, Channel, ChannelId, ChannelSender, ReadyQueue};

const DEADLINE: Duration = Duration::from_secs(20);

struct Two {
    io: tokio::runtime::Runtime,
    producer: Arc<DataPlane>,
    consumer: DataPlane,
    peer: Peer,
}

fn secret(byte: u8) -> Secret {
    Secret::from_bytes(&[byte; 32]).unwrap()
}

fn two(consumer_secret: Secret) -> Two {
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let job = JobId::from_bytes([1; 16]);
    let (one, other) = (WorkerId::from_bytes([2; 16]), WorkerId::from_bytes([3; 16]));
    let producer = Arc::new(DataPlane::new(job, one, secret(7), io.handle().clone()));
    let consumer = DataPlane::new(job, other, consumer_secret, io.handle().clone());
    let listener = io.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let serving = Arc::clone(&producer);
    io.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let Ok(hello) = receive_hello(&mut stream, &secret(7)).await else { continue };
            assert_eq!((hello.job, hello.to), (job, one));
            serving.accepted(hello.from, stream.into_std().unwrap());
        }
    });
    Two { io, producer, consumer, peer: Peer { worker: one, address } }
}

fn id(consumer: u32) -> ChannelId {
    ChannelId {
        edge: EdgeId(0),
        producer: 0,
        producer_attempt: Attempt(0),
        consumer,
        consumer_attempt: Attempt(0),
    }
}

/// A reader that waits like a slot does.
struct Reader {
    ready: Arc<ReadyQueue>,
    channel: Arc<Channel>,
}

impl Reader {
    fn of(channel: &Arc<Channel>) -> Self {
        let thread = std::thread::current();
        let ready = Arc::new(ReadyQueue::new(move || thread.unpark()));
        channel.set_consumer(Arc::clone(&ready), 0);
        Self { ready, channel: Arc::clone(channel) }
    }

    /// The next element, released at once; an error once the channel has failed.
    fn next(&self) -> Result<Element, String> {
        let until = Instant::now() + DEADLINE;
        while Instant::now() < until {
            if self.ready.pop().is_some() {
                let (element, more) = self.channel.pop(&self.ready);
                if more {
                    self.ready.push_back(0);
                }
                if let Some(element) = element {
                    self.channel.release(element.charged_bytes());
                    return Ok(element);
                }
                if let Some(error) = self.channel.error() {
                    return Err(error);
                }
            } else {
                std::thread::park_timeout(Duration::from_millis(50));
            }
        }
        Err("nothing came in time".to_owned())
    }

    fn batch(&self) -> Vec<u64> {
        match self.next().unwrap() {
            Element::Encoded(bytes) => decoded(&bytes),
            other => panic!("a batch is expected, not {other:?}"),
        }
    }
}

fn batch(records: &[u64]) -> Element {
    Element::Batch(AnyBatch::new(flott_core::Records::from_values(records.to_vec())))
}

fn decoded(bytes: &[u8]) -> Vec<u64> {
    flott_core::Records::<u64>::decode(bytes).unwrap().values().to_vec()
}

fn until(condition: impl Fn() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "it did not happen in time");
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

#[test]
fn everything_arrives_in_order() {
    let two = two(secret(7));
    let (sent, received) =
        (Arc::new(Channel::encoding(CHANNEL_BYTES)), Arc::new(Channel::new(CHANNEL_BYTES)));
    // The reader may ask before there is something to ask for.
    two.consumer.receive(id(0), &received, &two.peer);
    two.producer.offer(id(0), &sent);
    sent.send(batch(&[1, 2]));
    sent.send(Element::Watermark(7));
    sent.send(Element::Barrier(Barrier { checkpoint: CheckpointId(5) }));
    sent.send(Element::Idle);
    sent.send(batch(&[3]));
    sent.send(Element::End);
    let reader = Reader::of(&received);
    assert_eq!(reader.batch(), [1, 2]);
    assert!(matches!(reader.next().unwrap(), Element::Watermark(7)));
    assert!(
        matches!(reader.next().unwrap(), Element::Barrier(barrier) if barrier.checkpoint == CheckpointId(5))
    );
    assert!(matches!(reader.next().unwrap(), Element::Idle));
    assert_eq!(reader.batch(), [3]);
    assert!(matches!(reader.next().unwrap(), Element::End));
    assert!(sent.has_ended() && sent.charged() == 0);
}

#[test]
fn who_does_not_read_holds_the_producer_back_and_nobody_else() {
    let two = two(secret(7));
    let channels: Vec<_> = (0..2)
        .map(|consumer| {
            let pair = (Arc::new(Channel::encoding(CHANNEL_BYTES)), Arc::new(Channel::new(CHANNEL_BYTES)));
            two.producer.offer(id(consumer), &pair.0);
            two.consumer.receive(id(consumer), &pair.1, &two.peer);
            pair
        })
        .collect();
    let [(slow, slow_end), (fast, fast_end)] = &channels[..] else { panic!("there are two") };
    let full: Vec<u64> = (0..1000).collect();
    // A consumer that does not read takes what it gave credit for, and the producer's own channel fills behind it.
    until(|| {
        if slow.has_room() {
            slow.send(batch(&full));
        }
        slow_end.charged() >= CHANNEL_BYTES && !slow.has_room()
    });
    assert!(slow_end.charged() < 2 * CHANNEL_BYTES && slow.charged() < 2 * CHANNEL_BYTES);
    // The barrier waits behind the records, the other channel does not.
    slow.send(Element::Barrier(Barrier { checkpoint: CheckpointId(1) }));
    let reader = Reader::of(fast_end);
    for round in 0..500 {
        until(|| fast.has_room());
        fast.send(batch(&[round]));
    }
    assert_eq!((0..500).map(|_| reader.batch()[0]).collect::<Vec<_>>(), (0..500).collect::<Vec<_>>());
    let reader = Reader::of(slow_end);
    let mut batches = 0;
    loop {
        match reader.next().unwrap() {
            Element::Encoded(bytes) => {
                assert_eq!(decoded(&bytes), full);
                batches += 1;
            }
            Element::Barrier(_) => break,
            other => panic!("unexpected: {other:?}"),
        }
    }
    assert!(batches > 20 && slow.has_room());
}

#[test]
fn a_blocking_exchange_can_be_read_again() {
    let two = two(secret(7));
    let folder = tempfile::tempdir().unwrap();
    let kept = Arc::new(Channel::blocking(folder.path()));
    for round in 0..100 {
        kept.send(batch(&[round; 1000]));
    }
    kept.send(Element::End);
    two.producer.offer(id(0), &kept);
    for attempt in 0..3 {
        let received = Arc::new(Channel::new(CHANNEL_BYTES));
        two.consumer.receive(id(0), &received, &two.peer);
        let reader = Reader::of(&received);
        for round in 0..100 {
            if attempt == 0 && round == 50 {
                break;
            }
            assert_eq!(reader.batch(), [round; 1000]);
        }
        if attempt > 0 {
            assert!(matches!(reader.next().unwrap(), Element::End));
        }
        two.consumer.close(id(0));
    }
}

#[test]
fn both_ends_are_told_when_the_connection_breaks() {
    let two = two(secret(7));
    let (sent, received) =
        (Arc::new(Channel::encoding(CHANNEL_BYTES)), Arc::new(Channel::new(CHANNEL_BYTES)));
    two.producer.offer(id(0), &sent);
    two.consumer.receive(id(0), &received, &two.peer);
    sent.send(batch(&[1]));
    let reader = Reader::of(&received);
    assert_eq!(reader.batch(), [1]);
    // Its runtime is the worker's process: with it goes the connection.
    let Two { io, producer, consumer, peer } = two;
    let other = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let again = DataPlane::new(
        JobId::from_bytes([1; 16]),
        WorkerId::from_bytes([9; 16]),
        secret(7),
        other.handle().clone(),
    );
    let (sent_other, received_other) =
        (Arc::new(Channel::encoding(CHANNEL_BYTES)), Arc::new(Channel::new(CHANNEL_BYTES)));
    producer.offer(id(1), &sent_other);
    again.receive(id(1), &received_other, &peer);
    sent_other.send(batch(&[2]));
    let other_reader = Reader::of(&received_other);
    assert_eq!(other_reader.batch(), [2]);
    other.shutdown_background();
    until(|| sent_other.error().is_some());
    let told = sent_other.error().unwrap();
    assert!(told.contains("closed the connection") || told.contains("broke"), "{told}");
    // The other reader goes on.
    sent.send(batch(&[3]));
    assert_eq!(reader.batch(), [3]);
    drop((io, consumer));
}

#[test]
fn a_worker_that_cannot_be_reached_or_has_another_secret_is_named() {
    for (wrong_secret, expected) in [(true, "another secret"), (false, "cannot be reached")] {
        let two = two(secret(if wrong_secret { 8 } else { 7 }));
        let peer = if wrong_secret {
            two.peer.clone()
        } else {
            // Nobody is given this port.
            Peer { address: "127.0.0.1:1".to_owned(), ..two.peer.clone() }
        };
        let received = Arc::new(Channel::new(CHANNEL_BYTES));
        let reader = Reader::of(&received);
        two.consumer.receive(id(0), &received, &peer);
        let error = reader.next().unwrap_err();
        assert!(error.contains(expected) && error.contains(&peer.address), "{error}");
        // Later channels learn it at once.
        let late = Arc::new(Channel::new(CHANNEL_BYTES));
        two.consumer.receive(id(1), &late, &peer);
        assert_eq!(late.error().unwrap(), error);
    }
}

#[test]
fn a_producer_that_waits_for_room_is_woken() {
    let two = two(secret(7));
    let (sent, received) =
        (Arc::new(Channel::encoding(CHANNEL_BYTES)), Arc::new(Channel::new(CHANNEL_BYTES)));
    two.producer.offer(id(0), &sent);
    two.consumer.receive(id(0), &received, &two.peer);
    let stop = Arc::new(AtomicBool::new(false));
    let writer = {
        let (sent, stop) = (Arc::clone(&sent), Arc::clone(&stop));
        move || {
            let mut number = 0_u64;
            while !stop.load(Ordering::SeqCst) && number < 20_000 {
                if sent.has_room() {
                    sent.send(batch(&[number; 64]));
                    number += 1;
                } else {
                    std::thread::yield_now();
                }
            }
            sent.send(Element::End);
            number
        }
    };
    let thread = std::thread::Builder::new().spawn(writer).unwrap();
    let reader = Reader::of(&received);
    let mut expected = 0;
    loop {
        match reader.next().unwrap() {
            Element::Encoded(bytes) => {
                assert_eq!(decoded(&bytes), [expected; 64]);
                expected += 1;
            }
            Element::End => break,
            other => panic!("unexpected: {other:?}"),
        }
    }
    stop.store(true, Ordering::SeqCst);
    assert_eq!(thread.join().unwrap(), expected);
}
