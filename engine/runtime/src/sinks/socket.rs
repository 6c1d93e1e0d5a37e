//! Writes records to a TCP socket, a line each. At least once: what was sent before a failure is sent again.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flott_core::Data;
use flott_core::ids::CheckpointId;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};
use tokio::task::AbortHandle;

use super::Encode;
use crate::collector::Collector;
use crate::cursor::Cursor;
use crate::error::{Fault, OperatorError};
use crate::operator::{Operator, OperatorContext, Progress};
use crate::slot::TaskWaker;

/// Blocks of lines that may wait for the socket.
const QUEUED_BLOCKS: usize = 16;

/// How long connecting, or writing a block, may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// Sends records to a host and port.
pub struct SocketSink<T> {
    address: String,
    encode: Encode<T>,
    connection: Option<Connection>,
    types: PhantomData<fn(T)>,
}

struct Connection {
    /// None: no more will come.
    blocks: Option<Sender<Vec<u8>>>,
    shared: Arc<Shared>,
    writing: AbortHandle,
    /// Blocks that were handed over.
    sent: u64,
    /// Those of them before the last barrier.
    prepared: u64,
}

#[derive(Default)]
struct Shared {
    /// Blocks that were written.
    written: AtomicU64,
    /// Nothing is written any more.
    over: AtomicBool,
    error: Mutex<Option<String>>,
}

/// Says that nothing is written any more, however it came to that.
struct Ending {
    shared: Arc<Shared>,
    waker: TaskWaker,
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl<T: Data> SocketSink<T> {
    /// To `address`, in the lines that `encode` writes.
    pub fn new(address: String, encode: Encode<T>) -> Self {
        Self { address, encode, connection: None, types: PhantomData }
    }

    fn check(&self) -> Result<(), OperatorError> {
        let error = self.connection.as_ref().and_then(|connection| {
            connection.shared.error.lock().unwrap_or_else(PoisonError::into_inner).clone()
        });
        error.map_or(Ok(()), |error| Err(OperatorError::new(Fault::Environment, error)))
    }

    /// Whether so many blocks are written.
    fn has_written(&self, blocks: u64) -> Result<bool, OperatorError> {
        self.check()?;
        let written = |connection: &Connection| connection.shared.written.load(Ordering::Acquire);
        Ok(self.connection.as_ref().is_none_or(|connection| written(connection) >= blocks))
    }
}

async fn write_blocks(
    address: &str,
    blocks: &mut Receiver<Vec<u8>>,
    shared: &Shared,
    waker: &TaskWaker,
) -> Result<(), String> {
    let error = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what} {address}: {error}");
    let connecting = tokio::time::timeout(DEADLINE, TcpStream::connect(address)).await;
    let mut stream = match connecting {
        Ok(connected) => connected.map_err(|e| error("connect to", &e))?,
        Err(elapsed) => return Err(error("connect to", &elapsed)),
    };
    while let Some(block) = blocks.recv().await {
        match tokio::time::timeout(DEADLINE, stream.write_all(&block)).await {
            Ok(written) => written.map_err(|e| error("write to", &e))?,
            Err(elapsed) => return Err(error("write to", &elapsed)),
        }
        shared.written.fetch_add(1, Ordering::AcqRel);
        waker.wake();
    }
    Ok(())
}

impl<T: Data> Operator for SocketSink<T> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let (blocks, mut receiver) = channel(QUEUED_BLOCKS);
        let shared = Arc::new(Shared::default());
        let address = self.address.clone();
        let ending = Ending { shared: Arc::clone(&shared), waker: context.info.waker.clone() };
        // It ends with the sender, which this operator owns, or is aborted.
        let writing = context.info.io.spawn(async move {
            let Ending { shared, waker } = &ending;
            if let Err(error) = write_blocks(&address, &mut receiver, shared, waker).await {
                *shared.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            // Not before: who finds the queue closed finds the reason, too.
            drop(receiver);
        });
        let writing = writing.abort_handle();
        self.connection = Some(Connection { blocks: Some(blocks), shared, writing, sent: 0, prepared: 0 });
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let has_room = |blocks: &Sender<Vec<u8>>| blocks.capacity() > 0 || blocks.is_closed();
        let blocks = self.connection.as_ref().and_then(|connection| connection.blocks.as_ref());
        self.check().is_err() || blocks.is_none_or(has_room)
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.check()?;
        if !self.is_ready() {
            return Ok(());
        }
        let Some(connection) = &mut self.connection else { return Ok(()) };
        let mut block = Vec::new();
        while let Some((record, _)) = input.next() {
            (self.encode)(&record, &mut block);
        }
        if !block.is_empty() {
            connection.sent += 1;
            if connection.blocks.as_ref().is_none_or(|blocks| blocks.try_send(block).is_err()) {
                self.check()?;
                let message =
                    format!("the connection to {} ended while records were written to it", self.address);
                return Err(OperatorError::new(Fault::Environment, message));
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Collector<()>, _: &mut OperatorContext<'_>) -> Result<Progress, OperatorError> {
        let sent = self.connection.as_ref().map_or(0, |connection| connection.sent);
        Ok(if self.has_written(sent)? { Progress::Done } else { Progress::Waiting })
    }

    fn prepare_snapshot(
        &mut self,
        _checkpoint: CheckpointId,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        if let Some(connection) = &mut self.connection {
            connection.prepared = connection.sent;
        }
        Ok(())
    }

    fn is_prepared(&mut self) -> Result<bool, OperatorError> {
        self.has_written(self.connection.as_ref().map_or(0, |connection| connection.prepared))
    }

    fn close(&mut self) {
        if let Some(connection) = &mut self.connection {
            connection.blocks = None;
            connection.writing.abort();
        }
    }

    fn is_closed(&mut self) -> bool {
        self.connection.as_ref().is_none_or(|connection| connection.shared.over.load(Ordering::Acquire))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::harness::Harness;

    #[test]
    fn why_the_connection_ended_is_said_whenever_that_is_noticed() {
        let deadline = Instant::now() + Duration::from_secs(60);
        for _ in 0..2000 {
            // Nobody is given this port.
            let encode: Encode<u64> = Arc::new(|number, out| out.extend(number.to_string().bytes()));
            let mut harness = Harness::new(SocketSink::new("127.0.0.1:1".to_owned(), encode));
            let error = loop {
                assert!(Instant::now() < deadline, "the sink does not say that nobody listens");
                if harness.is_through() {
                    harness.begin(vec![(1, 0)]);
                }
                if let Err(error) = harness.try_step() {
                    break error.to_string();
                }
            };
            assert!(error.contains("cannot connect to 127.0.0.1:1"), "{error}");
        }
    }
}
