//! Writes records to a TCP socket, a line each. At least once: what was sent before a failure is sent again.

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use flott_core::Data;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel};

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
    blocks: Sender<Vec<u8>>,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    /// Blocks that have not been written.
    unwritten: AtomicUsize,
    error: Mutex<Option<String>>,
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
}

async fn write_blocks(
    address: &str,
    mut blocks: Receiver<Vec<u8>>,
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
        shared.unwritten.fetch_sub(1, Ordering::AcqRel);
        waker.wake();
    }
    Ok(())
}

impl<T: Data> Operator for SocketSink<T> {
    type In = T;
    type Out = ();

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let (blocks, receiver) = channel(QUEUED_BLOCKS);
        let shared = Arc::new(Shared::default());
        let (address, waker, there) = (self.address.clone(), context.info.waker.clone(), Arc::clone(&shared));
        // It ends with the sender, which this operator owns.
        context.info.io.spawn(async move {
            if let Err(error) = write_blocks(&address, receiver, &there, &waker).await {
                *there.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
                waker.wake();
            }
        });
        self.connection = Some(Connection { blocks, shared });
        Ok(())
    }

    fn is_ready(&self) -> bool {
        let failed = self.check().is_err();
        failed || self.connection.as_ref().is_none_or(|connection| connection.blocks.capacity() > 0)
    }

    fn process(
        &mut self,
        input: &mut Cursor<T>,
        _out: &mut Collector<()>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        self.check()?;
        let Some(connection) = &self.connection else { return Ok(()) };
        let mut block = Vec::new();
        while let Some((record, _)) = input.next() {
            (self.encode)(&record, &mut block);
        }
        if !block.is_empty() {
            connection.shared.unwritten.fetch_add(1, Ordering::AcqRel);
            if connection.blocks.try_send(block).is_err() {
                let message =
                    format!("the connection to {} ended while records were written to it", self.address);
                return Err(OperatorError::new(Fault::Environment, message));
            }
        }
        Ok(())
    }

    fn end(&mut self, _: &mut Collector<()>, _: &mut OperatorContext<'_>) -> Result<Progress, OperatorError> {
        self.check()?;
        let unwritten = self.connection.as_ref().map_or(0, |c| c.shared.unwritten.load(Ordering::Acquire));
        Ok(if unwritten == 0 { Progress::Done } else { Progress::Waiting })
    }

    fn close(&mut self) {
        self.connection = None;
    }
}
