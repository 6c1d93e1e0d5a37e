//! The container seam: columns instead of rows through a hash exchange between two processes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod columns;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use flott_core::ids::{Attempt, EdgeId, JobId, OperatorId, WorkerId};
use flott_plan::{EdgeKey, OperatorKey, OutputPort, Partitioning};
use flott_runtime::element::{AnyBatch, Element};
use flott_runtime::exchange::align::BarrierAligner;
use flott_runtime::exchange::channel::{CHANNEL_BYTES, Channel, ChannelId, ChannelSender, ReadyQueue};
use flott_runtime::exchange::gate::{GateEvent, InputGate};
use flott_runtime::exchange::output::{Channels, Output};
use flott_runtime::exchange::partition::PartitionContext;
use flott_runtime::net::handshake::Secret;
use flott_runtime::net::{DataPlane, Peer, receive_hello};
use flott_runtime::program::Program;

use columns::{ByName, Columns, rows};

const CONSUMERS: u32 = 2;
const BATCHES: u64 = 40;
const ROWS: u64 = 1000;
const DEADLINE: Duration = Duration::from_secs(60);

const JOB: JobId = JobId::from_bytes([1; 16]);
const PRODUCER: WorkerId = WorkerId::from_bytes([2; 16]);
const CONSUMER: WorkerId = WorkerId::from_bytes([3; 16]);

fn secret() -> Secret {
    Secret::from_bytes(&[9; 32]).unwrap()
}

/// What both processes register, as a program does.
fn program() -> (Program, EdgeKey) {
    let operator = |name| OperatorKey::new(OperatorId::from_uid(name));
    let key =
        EdgeKey { source: operator("make"), output: OutputPort::Main, target: operator("read"), input: 0 };
    let mut program = Program::new();
    program
        .container_edge::<Columns>(key.clone(), Arc::new(|context| Box::new(ByName::new(context.channels))));
    (program, key)
}

fn channel_id(consumer: u32) -> ChannelId {
    let attempt = Attempt(0);
    ChannelId { edge: EdgeId(0), producer: 0, producer_attempt: attempt, consumer, consumer_attempt: attempt }
}

fn name_of(row: u64) -> String {
    format!("name {}", row % 777)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// The producing process: partitions batches over its channels and sends them to whoever asks.
#[test]
#[ignore = "the other process of the test below"]
fn producer() {
    let (io, (program, key)) = (runtime(), program());
    let plane = Arc::new(DataPlane::new(JOB, PRODUCER, secret(), io.handle().clone()));
    let listener = io.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
    println!("listens on {}", listener.local_addr().unwrap());
    let serving = Arc::clone(&plane);
    io.spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            if let Ok(hello) = receive_hello(&mut stream, &secret()).await {
                serving.accepted(hello.from, stream.into_std().unwrap());
            }
        }
    });
    let channels: Vec<Arc<Channel>> =
        (0..CONSUMERS).map(|_| Arc::new(Channel::encoding(CHANNEL_BYTES))).collect();
    for (consumer, channel) in (0..).zip(&channels) {
        plane.offer(channel_id(consumer), channel);
    }
    let context = PartitionContext {
        partitioning: Partitioning::Hash,
        channels: CONSUMERS,
        subtask: 0,
        max_parallelism: flott_core::MaxParallelism::default_for(CONSUMERS),
        operator: "make".to_owned(),
    };
    let partitioner = (program.edge_type(&key).unwrap().partitioner)(&context);
    let senders = channels.iter().map(|channel| Arc::clone(channel) as Arc<dyn ChannelSender>).collect();
    let mut output = Output::new(Channels::new(senders), partitioner, None);
    for batch in 0..BATCHES {
        let deadline = Instant::now() + DEADLINE;
        while !output.has_room() {
            assert!(Instant::now() < deadline, "nobody reads");
            std::thread::park_timeout(Duration::from_millis(1));
        }
        let rows = (batch * ROWS..(batch + 1) * ROWS).map(|row| (row, name_of(row)));
        output.write(AnyBatch::new(Columns::of(rows)), Instant::now()).unwrap();
    }
    output.send_control(|| Element::End);
    // The other process closes this one's input when it has everything.
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}

#[test]
fn columns_travel_by_hash_between_two_processes() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "producer", "--nocapture"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let address = lines.find_map(|line| Some(line.unwrap().split_once("listens on ")?.1.to_owned())).unwrap();
    let (io, (program, key)) = (runtime(), program());
    let plane = DataPlane::new(JOB, CONSUMER, secret(), io.handle().clone());
    let decode = program.edge_type(&key).unwrap().decode;
    let mut seen: BTreeMap<u64, String> = BTreeMap::new();
    let mut consumer_of: BTreeMap<String, u32> = BTreeMap::new();
    let mut shares = [0_u64; CONSUMERS as usize];
    // All channels are asked for before one is read to its end: the producer waits for room in each.
    let mut gates: Vec<InputGate> = (0..CONSUMERS)
        .map(|consumer| {
            let channel = Arc::new(Channel::new(CHANNEL_BYTES));
            plane.receive(
                channel_id(consumer),
                &channel,
                &Peer { worker: PRODUCER, address: address.clone() },
            );
            let reader = std::thread::current();
            InputGate::new(vec![channel], Arc::new(ReadyQueue::new(move || reader.unpark())), decode, 0)
        })
        .collect();
    let deadline = Instant::now() + DEADLINE;
    let mut open = CONSUMERS;
    while open > 0 {
        assert!(Instant::now() < deadline, "{} rows came, then nothing", seen.len());
        let mut worked = false;
        for (consumer, gate) in (0..).zip(&mut gates) {
            let event = gate.next(&BarrierAligner::new(1)).unwrap();
            gate.release_held();
            match event {
                Some(GateEvent::Batch(batch)) => {
                    for (row, name) in rows(&batch.downcast::<Columns>().unwrap()) {
                        assert_eq!(*consumer_of.entry(name.clone()).or_insert(consumer), consumer, "{name}");
                        assert_eq!(seen.insert(row, name), None, "row {row} came twice");
                        shares[consumer as usize] += 1;
                    }
                }
                Some(GateEvent::ChannelEnd(_)) => open -= 1,
                Some(_) => {}
                None => continue,
            }
            worked = true;
        }
        if !worked {
            std::thread::park_timeout(Duration::from_millis(10));
        }
    }
    assert!(seen.into_iter().eq((0..BATCHES * ROWS).map(|row| (row, name_of(row)))));
    assert!(shares.iter().all(|share| *share > BATCHES * ROWS / 4), "{shares:?}");
    let _ = child.stdin.take().unwrap().flush();
    assert!(child.wait().unwrap().success());
}
