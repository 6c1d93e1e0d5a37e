//! Lines from a TCP socket, as `nc -lk` or a line-based service sends them. Unbounded as long as the peer keeps the connection;
//! at most once: a socket cannot be read again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flott_core::time::NO_TIMESTAMP;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TryRecvError};

use super::{Boundedness, NextSplit, ReadProgress, ReaderInfo, Source, SourceReader, SplitEnumerator};
use crate::collector::Collector;
use crate::error::{Fault, OperatorError};
use crate::operator::OperatorInfo;
use crate::slot::TaskWaker;

/// Lines that may wait for the slot.
const QUEUED_LINES: usize = 4096;

/// The longest line, in bytes.
const LONGEST_LINE: usize = 16 * 1024 * 1024;

/// How long connecting may take.
const CONNECT_DEADLINE: Duration = Duration::from_secs(30);

/// Lines from a host and port.
pub struct SocketTextSource {
    address: String,
}

impl SocketTextSource {
    /// From `address`, a host and port.
    pub fn new(address: String) -> Self {
        Self { address }
    }
}

/// Gives the one connection to one reader.
pub struct SocketEnumerator {
    address: Option<String>,
}

impl Source for SocketTextSource {
    type Out = String;
    /// The address.
    type Split = String;
    type Enumerator = SocketEnumerator;
    type Reader = SocketReader;

    fn boundedness(&self) -> Boundedness {
        Boundedness::Unbounded
    }

    fn enumerator(&self, _readers: u32, _info: &OperatorInfo) -> Result<SocketEnumerator, OperatorError> {
        Ok(SocketEnumerator { address: Some(self.address.clone()) })
    }

    fn reader(&self, info: &OperatorInfo) -> Result<SocketReader, OperatorError> {
        Ok(SocketReader { io: info.io.clone(), waker: info.waker.clone(), connection: None })
    }
}

impl SplitEnumerator for SocketEnumerator {
    type Split = String;
    /// Whether the connection was given.
    type Position = bool;

    fn restore(&mut self, given: bool) -> Result<(), OperatorError> {
        if given {
            self.address = None;
        }
        Ok(())
    }

    fn next_split(&mut self, _reader: &ReaderInfo<'_>) -> Result<NextSplit<String>, OperatorError> {
        Ok(self.address.take().map_or(NextSplit::End, NextSplit::Split))
    }

    fn position(&self) -> bool {
        self.address.is_none()
    }
}

/// Takes the lines that the connection's task reads.
pub struct SocketReader {
    io: tokio::runtime::Handle,
    waker: TaskWaker,
    connection: Option<Connection>,
}

struct Connection {
    address: String,
    lines: Receiver<String>,
    error: Arc<Mutex<Option<String>>>,
}

async fn read_lines(address: &str, lines: &Sender<String>, waker: &TaskWaker) -> Result<(), String> {
    let failed = |what: &str, error: &dyn std::fmt::Display| format!("cannot {what} {address}: {error}");
    let connected = match tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(address)).await {
        Ok(connected) => connected.map_err(|error| failed("connect to", &error))?,
        Err(elapsed) => return Err(failed("connect to", &elapsed)),
    };
    let mut reader = BufReader::new(connected);
    let mut line = Vec::new();
    loop {
        let available = reader.fill_buf().await.map_err(|error| failed("read from", &error))?;
        if available.is_empty() && line.is_empty() {
            return Ok(());
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let ended = end.is_some() || available.is_empty();
        let taken = end.map_or(available.len(), |end| end + 1);
        line.extend_from_slice(&available[..end.unwrap_or(taken)]);
        reader.consume(taken);
        if line.len() > LONGEST_LINE {
            return Err(failed("read from", &format!("a line is longer than {LONGEST_LINE} bytes")));
        }
        if ended {
            if line.last() == Some(&b'\r') {
                line.pop();
            }
            let text = String::from_utf8(std::mem::take(&mut line))
                .map_err(|error| failed("read from", &format!("a line is not UTF-8: {error}")))?;
            if lines.send(text).await.is_err() {
                return Ok(());
            }
            waker.wake();
        }
    }
}

impl SourceReader for SocketReader {
    type Out = String;
    type Split = String;

    fn start(&mut self, address: String) -> Result<(), OperatorError> {
        let (sender, lines) = channel(QUEUED_LINES);
        let error = Arc::new(Mutex::new(None));
        let (there, error_there, waker) = (address.clone(), Arc::clone(&error), self.waker.clone());
        // It ends with the receiver, which this reader owns, at the next line.
        self.io.spawn(async move {
            if let Err(error) = read_lines(&there, &sender, &waker).await {
                *error_there.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
            }
            drop(sender);
            waker.wake();
        });
        self.connection = Some(Connection { address, lines, error });
        Ok(())
    }

    fn read(&mut self, out: &mut Collector<String>) -> Result<ReadProgress, OperatorError> {
        let Some(connection) = &mut self.connection else { return Ok(ReadProgress::SplitFinished) };
        while !out.is_full() {
            match connection.lines.try_recv() {
                Ok(line) => out.emit(line, NO_TIMESTAMP),
                Err(TryRecvError::Empty) => return Ok(ReadProgress::Waiting),
                Err(TryRecvError::Disconnected) => {
                    let error = connection.error.lock().unwrap_or_else(PoisonError::into_inner).take();
                    self.connection = None;
                    return match error {
                        Some(error) => Err(OperatorError::new(Fault::Environment, error)),
                        None => Ok(ReadProgress::SplitFinished),
                    };
                }
            }
        }
        Ok(ReadProgress::More)
    }

    fn position(&self) -> Option<String> {
        self.connection.as_ref().map(|connection| connection.address.clone())
    }
}
