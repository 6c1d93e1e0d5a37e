//! The producer's end of a data connection: sends from the channels that are asked for, as far as there is credit.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use bytes::BytesMut;
use flott_core::ids::WorkerId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::frame::{FrameError, Reply, Request, StreamId, put_reply, take_frame};
use crate::element::Element;
use crate::exchange::channel::{Channel, ChannelId, ChannelSender, ReadyQueue};

/// What is written at a time, about.
const WRITE_BYTES: usize = 256 << 10;

/// What is read at a time: requests are short.
const READ_BYTES: usize = 16 << 10;

/// Channels that may be asked for, and the connections to tell when there are new ones.
#[derive(Default)]
pub(super) struct Offers {
    state: Mutex<OffersState>,
}

#[derive(Default)]
struct OffersState {
    channels: HashMap<ChannelId, Arc<Channel>>,
    connections: Vec<Weak<Notify>>,
}

impl Offers {
    fn state(&self) -> MutexGuard<'_, OffersState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, id: ChannelId, channel: &Arc<Channel>) {
        let mut state = self.state();
        state.channels.insert(id, Arc::clone(channel));
        state.connections.iter().filter_map(Weak::upgrade).for_each(|connection| connection.notify_one());
    }

    pub(super) fn remove(&self, id: ChannelId) {
        self.state().channels.remove(&id);
    }

    /// A channel for a reader. One of a blocking exchange stays: it can be read again.
    fn take(&self, id: ChannelId) -> Option<Arc<Channel>> {
        let mut state = self.state();
        let channel = state.channels.get(&id)?;
        if channel.is_blocking() { Some(Arc::clone(channel)) } else { state.channels.remove(&id) }
    }

    fn register(&self, connection: &Arc<Notify>) {
        let mut state = self.state();
        state.connections.retain(|other| other.strong_count() > 0);
        state.connections.push(Arc::downgrade(connection));
    }
}

/// Why a connection is of no use any more.
#[derive(Debug, thiserror::Error)]
enum ServingError {
    #[error("the connection broke: {0}")]
    Io(#[from] io::Error),
    #[error("it has closed the connection; it has probably ended")]
    Closed,
    #[error(transparent)]
    Frame(#[from] FrameError),
}

/// Serves a reader until the connection is of no use any more.
pub(super) async fn serve(offers: Arc<Offers>, reader: WorkerId, mut stream: TcpStream) {
    let wake = Arc::new(Notify::new());
    offers.register(&wake);
    let ready = {
        let wake = Arc::clone(&wake);
        Arc::new(ReadyQueue::new(move || wake.notify_one()))
    };
    let mut serving = Serving { offers, ready, open: HashMap::new(), waiting: HashMap::new() };
    let Err(error) = serving.talk(&mut stream, &wake).await;
    let reason = format!("worker {reader}: {error}");
    for sending in serving.open.into_values() {
        // What a blocking exchange holds can be read again.
        if !sending.channel.is_blocking() {
            sending.channel.fail(&reason);
        }
    }
}

struct Serving {
    offers: Arc<Offers>,
    ready: Arc<ReadyQueue>,
    open: HashMap<StreamId, Sending>,
    /// Asked for, but not offered yet.
    waiting: HashMap<StreamId, (ChannelId, u64)>,
}

struct Sending {
    channel: Arc<Channel>,
    /// Bytes that may be sent; a batch may exceed them once.
    credit: i64,
    /// Records wait for credit.
    parked: bool,
}

impl Serving {
    async fn talk(
        &mut self,
        stream: &mut TcpStream,
        wake: &Notify,
    ) -> Result<std::convert::Infallible, ServingError> {
        let (mut read, mut write) = stream.split();
        let (mut requests, mut replies) = (BytesMut::new(), Vec::new());
        loop {
            let more = self.fill(&mut replies);
            if !replies.is_empty() {
                // The reader takes whatever comes, so this cannot wait for something that stands in `requests`.
                write.write_all(&replies).await?;
                replies.clear();
            }
            requests.reserve(READ_BYTES);
            tokio::select! {
                biased;
                count = read.read_buf(&mut requests) => {
                    if count? == 0 {
                        return Err(ServingError::Closed);
                    }
                    while let Some(frame) = take_frame(&mut requests)? {
                        let stream = frame.stream;
                        self.take(stream, frame.request()?);
                    }
                }
                () = std::future::ready(()), if more => {}
                () = wake.notified() => {}
            }
        }
    }

    fn take(&mut self, stream: StreamId, request: Request) {
        match request {
            Request::Open { channel, credit } => {
                self.waiting.insert(stream, (channel, credit));
            }
            Request::Credit(bytes) => {
                if let Some(sending) = self.open.get_mut(&stream) {
                    sending.credit = sending.credit.saturating_add(i64::try_from(bytes).unwrap_or(i64::MAX));
                    if std::mem::replace(&mut sending.parked, false) {
                        self.ready.push_back(stream);
                    }
                }
            }
            Request::Close => {
                self.waiting.remove(&stream);
                self.open.remove(&stream);
            }
        }
    }

    /// Writes what can be sent; true: there may be more.
    fn fill(&mut self, replies: &mut Vec<u8>) -> bool {
        let (offers, ready, open) = (&self.offers, &self.ready, &mut self.open);
        self.waiting.retain(|stream, (id, credit)| {
            let Some(channel) = offers.take(*id) else { return true };
            channel.set_consumer(Arc::clone(ready), *stream);
            let credit = i64::try_from(*credit).unwrap_or(i64::MAX);
            open.insert(*stream, Sending { channel, credit, parked: false });
            false
        });
        while replies.len() < WRITE_BYTES {
            let Some(stream) = self.ready.pop() else { return false };
            self.send_next(stream, replies);
        }
        true
    }

    /// Writes the next element of a channel, if it may be sent.
    fn send_next(&mut self, stream: StreamId, replies: &mut Vec<u8>) {
        let Some(sending) = self.open.get_mut(&stream) else { return };
        if sending.credit <= 0 && sending.channel.next_is_charged() {
            sending.parked = true;
            return;
        }
        let (element, more) = sending.channel.pop(&self.ready);
        let Some(element) = element else {
            if let Some(reason) = sending.channel.error() {
                put_reply(replies, stream, &Reply::Failed(reason));
                self.open.remove(&stream);
            }
            return;
        };
        let charge = element.charged_bytes();
        sending.credit -= charge as i64;
        let end = matches!(element, Element::End);
        put_reply(replies, stream, &Reply::Element(element));
        sending.channel.release(charge);
        if end {
            self.open.remove(&stream);
        } else if more {
            self.ready.push_back(stream);
        }
    }
}
