//! The consumer's end of a data connection: asks for channels, puts what comes into them, gives credit as it is used up.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Notify;

use super::frame::{FrameError, Reply, Request, StreamId, put_request, take_frame};
use super::handshake::{HandshakeError, Secret};
use super::hello::{Hello, send_hello};
use super::plane::{Peer, tune};
use crate::element::Element;
use crate::exchange::channel::{Channel, ChannelId, ChannelSender};

/// How long name service and network may take to connect.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// What is read at a time.
const READ_BYTES: usize = 256 << 10;

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
enum ReadingError {
    #[error("it cannot be reached: {0}")]
    Connect(io::Error),
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("it has closed the connection; it has probably ended")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// A connection to a worker that is read from.
pub(super) struct Reading {
    peer: Peer,
    state: Mutex<State>,
    /// There are requests.
    asked: Notify,
}

#[derive(Default)]
struct State {
    requests: Vec<u8>,
    streams: HashMap<StreamId, Stream>,
    next: StreamId,
    failure: Option<String>,
}

struct Stream {
    id: ChannelId,
    channel: Arc<Channel>,
    /// Credit that was not given back yet: it goes in larger pieces.
    owed: u64,
}

impl Reading {
    /// A connection to `peer`, to be [`run`](Self::run).
    pub(super) fn new(peer: Peer) -> Self {
        Self { peer, state: Mutex::default(), asked: Notify::new() }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Never held while a channel is called: a channel calls back with its own lock held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks for a channel.
    pub(super) fn open(self: &Arc<Self>, id: ChannelId, channel: &Arc<Channel>) {
        let stream = {
            let mut state = self.state();
            let stream = state.next;
            state.next += 1;
            stream
        };
        let reading = Arc::downgrade(self);
        channel.set_release_hook(Box::new(move |bytes| {
            if let Some(reading) = reading.upgrade() {
                reading.released(stream, bytes as u64);
            }
        }));
        let failure = {
            let mut state = self.state();
            if state.failure.is_none() {
                state.streams.insert(stream, Stream { id, channel: Arc::clone(channel), owed: 0 });
                let credit = channel.capacity() as u64;
                put_request(&mut state.requests, stream, &Request::Open { channel: id, credit });
            }
            state.failure.clone()
        };
        match failure {
            Some(reason) => channel.fail(&reason),
            None => self.asked.notify_one(),
        }
    }

    /// Wants nothing more of a channel.
    pub(super) fn close(&self, id: ChannelId) {
        let mut state = self.state();
        let closed: Vec<StreamId> =
            state.streams.iter().filter(|(_, stream)| stream.id == id).map(|(number, _)| *number).collect();
        for stream in closed {
            state.streams.remove(&stream);
            put_request(&mut state.requests, stream, &Request::Close);
            self.asked.notify_one();
        }
    }

    /// A consumer has let go of bytes.
    fn released(&self, number: StreamId, bytes: u64) {
        let mut state = self.state();
        let Some(stream) = state.streams.get_mut(&number) else { return };
        stream.owed += bytes;
        // The producer never runs dry of it: when all is released, what is owed is less than a quarter.
        if stream.owed * 4 >= stream.channel.capacity() as u64 {
            let owed = std::mem::take(&mut stream.owed);
            put_request(&mut state.requests, number, &Request::Credit(owed));
            self.asked.notify_one();
        }
    }

    /// Dials, and reads until the connection is of no use any more.
    pub(super) async fn run(&self, secret: &Secret, hello: Hello) {
        let talk = async {
            let (read, write) = self.connect(secret, hello).await?.into_split();
            tokio::select! {
                ended = self.read(read) => ended,
                ended = self.write(write) => ended,
            }
        };
        let Err(error) = talk.await;
        let reason = format!("worker {} at {}: {error}", self.peer.worker, self.peer.address);
        let streams = {
            let mut state = self.state();
            state.failure = Some(reason.clone());
            std::mem::take(&mut state.streams)
        };
        streams.into_values().for_each(|stream| stream.channel.fail(&reason));
    }

    async fn connect(&self, secret: &Secret, hello: Hello) -> Result<TcpStream, ReadingError> {
        let connected = tokio::time::timeout(CONNECT_DEADLINE, TcpStream::connect(&self.peer.address)).await;
        let connected = connected.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let mut stream = connected.map_err(ReadingError::Connect)?;
        tune(&stream)?;
        send_hello(&mut stream, secret, hello).await?;
        Ok(stream)
    }

    async fn write(&self, mut write: OwnedWriteHalf) -> Result<std::convert::Infallible, ReadingError> {
        loop {
            let requests = std::mem::take(&mut self.state().requests);
            if requests.is_empty() {
                self.asked.notified().await;
            } else {
                write.write_all(&requests).await?;
            }
        }
    }

    async fn read(&self, mut read: OwnedReadHalf) -> Result<std::convert::Infallible, ReadingError> {
        let mut buffer = BytesMut::new();
        loop {
            buffer.reserve(READ_BYTES);
            if read.read_buf(&mut buffer).await? == 0 {
                return Err(ReadingError::Closed);
            }
            while let Some(frame) = take_frame(&mut buffer)? {
                let stream = frame.stream;
                self.take(stream, frame.reply()?)?;
            }
        }
    }

    fn take(&self, number: StreamId, reply: Reply) -> Result<(), FrameError> {
        let channel = {
            let mut state = self.state();
            let over = matches!(reply, Reply::Element(Element::End) | Reply::Failed(_));
            if over {
                state.streams.remove(&number).map(|stream| stream.channel)
            } else {
                state.streams.get(&number).map(|stream| Arc::clone(&stream.channel))
            }
        };
        // What was under way when the channel was closed.
        let Some(channel) = channel else { return Ok(()) };
        match reply {
            Reply::Failed(reason) => channel.fail(&format!("worker {} says: {reason}", self.peer.worker)),
            Reply::Element(Element::Encoded(_)) if !channel.has_room() => {
                return Err(FrameError("it sends more than it was given credit for".to_owned()));
            }
            Reply::Element(element) => {
                channel.send(element);
            }
        }
        Ok(())
    }
}
