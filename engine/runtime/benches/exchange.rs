//! Records through a hash exchange: inside a process, encoded and decoded, and over a loopback connection.

use std::hint::black_box;
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use flott_core::ids::{Attempt, EdgeId, JobId, OperatorId, WorkerId};
use flott_core::{MaxParallelism, Records};
use flott_plan::{EdgeKey, OperatorKey, OutputPort, Partitioning};
use flott_runtime::element::{AnyBatch, Element};
use flott_runtime::exchange::align::BarrierAligner;
use flott_runtime::exchange::channel::{CHANNEL_BYTES, Channel, ChannelId, ChannelSender, ReadyQueue};
use flott_runtime::exchange::gate::{GateEvent, InputGate};
use flott_runtime::exchange::output::{Channels, Output};
use flott_runtime::exchange::partition::PartitionContext;
use flott_runtime::key_selector::Borrowed;
use flott_runtime::net::handshake::Secret;
use flott_runtime::net::{DataPlane, Peer, receive_hello};
use flott_runtime::program::Program;

type Record = (u64, u64);

const CHANNELS: u32 = 2;
const BATCHES: u64 = 500;
const IN_BATCH: u64 = 1000;

const PRODUCER: WorkerId = WorkerId::from_bytes([1; 16]);
const JOB: JobId = JobId::from_bytes([2; 16]);

fn id(consumer: u32, round: u32) -> ChannelId {
    let attempt = Attempt(round);
    ChannelId { edge: EdgeId(0), producer: 0, producer_attempt: attempt, consumer, consumer_attempt: attempt }
}

/// Sends all batches from `sent` and reads them from `received`, in turn on this thread.
fn exchange(sent: &[Arc<Channel>], received: Vec<Arc<Channel>>) -> usize {
    let operator = |name| OperatorKey::new(OperatorId::from_uid(name));
    let key = EdgeKey { source: operator("a"), output: OutputPort::Main, target: operator("b"), input: 0 };
    let mut program = Program::new();
    program.keyed_edge::<Record, _>(key.clone(), Arc::new(Borrowed::new(|record: &Record| &record.0)));
    let Some(types) = program.edge_type(&key) else { return 0 };
    let context = PartitionContext {
        partitioning: Partitioning::Hash,
        channels: CHANNELS,
        subtask: 0,
        max_parallelism: MaxParallelism::default_for(CHANNELS),
        operator: "bench".to_owned(),
    };
    let senders = sent.iter().map(|channel| Arc::clone(channel) as Arc<dyn ChannelSender>).collect();
    let mut output = Output::new(Channels::new(senders), (types.partitioner)(&context), None);
    let reader = std::thread::current();
    let ready = Arc::new(ReadyQueue::new(move || reader.unpark()));
    let mut gate = InputGate::new(received, ready, types.decode, 0);
    let aligner = BarrierAligner::new(CHANNELS as usize);
    let (mut batch, mut open, mut count) = (0, CHANNELS, 0);
    while open > 0 {
        let mut worked = false;
        if batch < BATCHES && output.has_room() {
            let records: Vec<Record> = (0..IN_BATCH).map(|n| (n * 7 + batch, n)).collect();
            let written = output.write(AnyBatch::new(Records::from_values(records)), Instant::now());
            assert!(written.is_ok());
            batch += 1;
            if batch == BATCHES {
                output.send_control(|| Element::End);
            }
            worked = true;
        }
        while let Ok(Some(event)) = gate.next(&aligner) {
            match event {
                GateEvent::Batch(batch) => count += black_box(batch).len(),
                GateEvent::ChannelEnd(_) => open -= 1,
                _ => {}
            }
            gate.release_held();
            worked = true;
        }
        if !worked {
            std::thread::park_timeout(Duration::from_millis(1));
        }
    }
    assert_eq!(count as u64, BATCHES * IN_BATCH);
    count
}

fn channels(make: fn(usize) -> Channel) -> Vec<Arc<Channel>> {
    (0..CHANNELS).map(|_| Arc::new(make(CHANNEL_BYTES))).collect()
}

fn over_loopback(criterion: &mut Criterion) -> std::io::Result<()> {
    let io = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let secret = Secret::random()?;
    let producer = Arc::new(DataPlane::new(JOB, PRODUCER, secret.clone(), io.handle().clone()));
    let consumer = DataPlane::new(JOB, WorkerId::from_bytes([3; 16]), secret.clone(), io.handle().clone());
    let listener = io.block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))?;
    let peer = Peer { worker: PRODUCER, address: listener.local_addr()?.to_string() };
    let serving = Arc::clone(&producer);
    io.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Ok(hello) = receive_hello(&mut stream, &secret).await
                && let Ok(stream) = stream.into_std()
            {
                serving.accepted(hello.from, stream);
            }
        }
    });
    let mut round = 0;
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(BATCHES * IN_BATCH));
    group.bench_function("between processes", |bencher| {
        bencher.iter(|| {
            round += 1;
            let (sent, received) = (channels(Channel::encoding), channels(Channel::new));
            for (number, (near, far)) in (0..).zip(sent.iter().zip(&received)) {
                producer.offer(id(number, round), near);
                consumer.receive(id(number, round), far, &peer);
            }
            exchange(&sent, received)
        });
    });
    group.finish();
    Ok(())
}

fn benches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("exchange");
    group.throughput(Throughput::Elements(BATCHES * IN_BATCH));
    for (name, make) in
        [("in a process", Channel::new as fn(usize) -> Channel), ("encoded", Channel::encoding)]
    {
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                let both = channels(make);
                exchange(&both, both.clone())
            });
        });
    }
    group.finish();
    if let Err(error) = over_loopback(criterion) {
        eprintln!("no loopback connection: {error}");
    }
}

criterion_group!(exchanges, benches);
criterion_main!(exchanges);
