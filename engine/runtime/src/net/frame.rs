//! Frames of a data connection.
//!
//! ```text
//! frame := length:u32  kind:u8  stream:u32  body        length: of what follows it; all little endian
//! ```
//!
//! The reader chooses the number of a stream when it opens a channel; it names the channel in all later frames.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use flott_core::ids::{Attempt, CheckpointId, EdgeId};

use crate::element::{Barrier, Element};
use crate::exchange::channel::ChannelId;

/// The longest frame: a record this long cannot be exchanged.
pub(super) const MAX_FRAME_BYTES: usize = 64 << 20;

/// Length, kind and stream.
const HEADER_BYTES: usize = 9;

/// Which of a connection's channels.
pub(super) type StreamId = u32;

/// What a reader asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Request {
    /// Send this channel, up to so many bytes.
    Open { channel: ChannelId, credit: u64 },
    /// Send so many bytes more.
    Credit(u64),
    /// Send no more.
    Close,
}

/// What is sent to a reader.
#[derive(Debug)]
pub(super) enum Reply {
    /// The next element of the channel.
    Element(Element),
    /// Nothing will follow, and not because it is the end.
    Failed(String),
}

/// The other side does not keep to the protocol.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the other side does not keep to the protocol: {0}")]
pub(super) struct FrameError(pub(super) String);

mod kind {
    pub(super) const OPEN: u8 = 1;
    pub(super) const CREDIT: u8 = 2;
    pub(super) const CLOSE: u8 = 3;
    pub(super) const BATCH: u8 = 16;
    pub(super) const WATERMARK: u8 = 17;
    pub(super) const IDLE: u8 = 18;
    pub(super) const BARRIER: u8 = 19;
    pub(super) const END: u8 = 20;
    pub(super) const FAILED: u8 = 21;
}

/// Appends a frame whose body `write` writes.
fn put(out: &mut Vec<u8>, kind: u8, stream: StreamId, write: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32_le(0);
    out.put_u8(kind);
    out.put_u32_le(stream);
    write(out);
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_le_bytes());
}

/// Appends a request.
pub(super) fn put_request(out: &mut Vec<u8>, stream: StreamId, request: &Request) {
    match request {
        Request::Open { channel, credit } => put(out, kind::OPEN, stream, |out| {
            out.put_u64_le(*credit);
            out.put_u32_le(channel.edge.0);
            out.put_u32_le(channel.producer);
            out.put_u32_le(channel.producer_attempt.0);
            out.put_u32_le(channel.consumer);
            out.put_u32_le(channel.consumer_attempt.0);
        }),
        Request::Credit(bytes) => put(out, kind::CREDIT, stream, |out| out.put_u64_le(*bytes)),
        Request::Close => put(out, kind::CLOSE, stream, |_| {}),
    }
}

/// Appends a reply. A batch that is too long becomes a failure.
pub(super) fn put_reply(out: &mut Vec<u8>, stream: StreamId, reply: &Reply) {
    match reply {
        Reply::Element(Element::Encoded(bytes)) if HEADER_BYTES + bytes.len() > MAX_FRAME_BYTES => {
            let length = bytes.len();
            let reason = format!(
                "a batch of {length} bytes is too long for an exchange, which takes {MAX_FRAME_BYTES}: make the records smaller"
            );
            put_reply(out, stream, &Reply::Failed(reason));
        }
        Reply::Element(Element::Encoded(bytes)) => put(out, kind::BATCH, stream, |out| out.put_slice(bytes)),
        Reply::Element(Element::Batch(batch)) => put(out, kind::BATCH, stream, |out| batch.encode(out)),
        Reply::Element(Element::Watermark(at)) => {
            put(out, kind::WATERMARK, stream, |out| out.put_i64_le(*at))
        }
        Reply::Element(Element::Idle) => put(out, kind::IDLE, stream, |_| {}),
        Reply::Element(Element::Barrier(barrier)) => {
            put(out, kind::BARRIER, stream, |out| out.put_u64_le(barrier.checkpoint.0));
        }
        Reply::Element(Element::End) => put(out, kind::END, stream, |_| {}),
        Reply::Failed(reason) => put(out, kind::FAILED, stream, |out| out.put_slice(reason.as_bytes())),
    }
}

/// A frame that has come whole.
pub(super) struct Frame {
    kind: u8,
    pub(super) stream: StreamId,
    body: Bytes,
}

/// Takes the next frame out of what has come; none: more must come.
pub(super) fn take_frame(buffer: &mut BytesMut) -> Result<Option<Frame>, FrameError> {
    let Some(length) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_le_bytes(*length) as usize;
    if !(HEADER_BYTES - 4..=MAX_FRAME_BYTES).contains(&length) {
        return Err(FrameError(format!("it announces a frame of {length} bytes")));
    }
    if buffer.len() < 4 + length {
        // The rest of a long frame in one piece, but no more than what has come lets believe.
        buffer.reserve((4 + length - buffer.len()).min(buffer.len().max(64 << 10)));
        return Ok(None);
    }
    let mut frame = buffer.split_to(4 + length).freeze();
    frame.advance(4);
    let kind = frame.get_u8();
    let stream = frame.get_u32_le();
    Ok(Some(Frame { kind, stream, body: frame }))
}

impl Frame {
    /// What a reader asks.
    pub(super) fn request(mut self) -> Result<Request, FrameError> {
        let short = || FrameError(format!("a request of kind {} is cut short", self.kind));
        let request = match self.kind {
            kind::OPEN => {
                let credit = self.body.try_get_u64_le().map_err(|_| short())?;
                let mut number = || self.body.try_get_u32_le();
                let mut channel = || {
                    Ok(ChannelId {
                        edge: EdgeId(number()?),
                        producer: number()?,
                        producer_attempt: Attempt(number()?),
                        consumer: number()?,
                        consumer_attempt: Attempt(number()?),
                    })
                };
                let channel = channel().map_err(|_: bytes::TryGetError| short())?;
                Request::Open { channel, credit }
            }
            kind::CREDIT => Request::Credit(self.body.try_get_u64_le().map_err(|_| short())?),
            kind::CLOSE => Request::Close,
            kind => return Err(FrameError(format!("it asks something of kind {kind}"))),
        };
        self.end(request)
    }

    /// What is sent to a reader.
    pub(super) fn reply(mut self) -> Result<Reply, FrameError> {
        let short = || FrameError(format!("a frame of kind {} is cut short", self.kind));
        let element = match self.kind {
            kind::BATCH => return Ok(Reply::Element(Element::Encoded(self.body))),
            kind::FAILED => return Ok(Reply::Failed(String::from_utf8_lossy(&self.body).into_owned())),
            kind::WATERMARK => Element::Watermark(self.body.try_get_i64_le().map_err(|_| short())?),
            kind::IDLE => Element::Idle,
            kind::BARRIER => {
                let checkpoint = CheckpointId(self.body.try_get_u64_le().map_err(|_| short())?);
                Element::Barrier(Barrier { checkpoint })
            }
            kind::END => Element::End,
            kind => return Err(FrameError(format!("it sends something of kind {kind}"))),
        };
        self.end(Reply::Element(element))
    }

    fn end<T>(self, read: T) -> Result<T, FrameError> {
        if self.body.is_empty() {
            return Ok(read);
        }
        Err(FrameError(format!("a frame of kind {} has {} bytes too many", self.kind, self.body.len())))
    }
}

#[cfg(test)]
mod tests {
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    use super::*;

    fn any_channel() -> impl Strategy<Value = ChannelId> {
        any::<[u32; 5]>().prop_map(|[edge, producer, producer_attempt, consumer, consumer_attempt]| {
            ChannelId {
                edge: EdgeId(edge),
                producer,
                producer_attempt: Attempt(producer_attempt),
                consumer,
                consumer_attempt: Attempt(consumer_attempt),
            }
        })
    }

    fn any_request() -> impl Strategy<Value = Request> {
        prop_oneof![
            (any_channel(), any::<u64>()).prop_map(|(channel, credit)| Request::Open { channel, credit }),
            any::<u64>().prop_map(Request::Credit),
            Just(Request::Close),
        ]
    }

    fn any_reply() -> impl Strategy<Value = Reply> {
        prop_oneof![
            proptest::collection::vec(any::<u8>(), 0..300)
                .prop_map(|b| Reply::Element(Element::Encoded(b.into()))),
            any::<i64>().prop_map(|at| Reply::Element(Element::Watermark(at))),
            Just(()).prop_map(|()| Reply::Element(Element::Idle)),
            any::<u64>()
                .prop_map(|id| Reply::Element(Element::Barrier(Barrier { checkpoint: CheckpointId(id) }))),
            Just(()).prop_map(|()| Reply::Element(Element::End)),
            "[a-zäöü ]{0,40}".prop_map(Reply::Failed),
        ]
    }

    /// Feeds bytes piece by piece; what comes out until they end or are refused.
    fn frames(bytes: &[u8], piece: usize) -> (Vec<Frame>, Option<FrameError>) {
        let mut buffer = BytesMut::new();
        let mut frames = Vec::new();
        for part in bytes.chunks(piece.max(1)) {
            buffer.extend_from_slice(part);
            loop {
                match take_frame(&mut buffer) {
                    Ok(Some(frame)) => frames.push(frame),
                    Ok(None) => break,
                    Err(error) => return (frames, Some(error)),
                }
            }
        }
        (frames, None)
    }

    proptest! {
        #[test]
        fn requests_survive(requests in proptest::collection::vec((any::<u32>(), any_request()), 0..20), piece in 1_usize..40) {
            let mut bytes = Vec::new();
            requests.iter().for_each(|(stream, request)| put_request(&mut bytes, *stream, request));
            let (frames, error) = frames(&bytes, piece);
            prop_assert_eq!(error, None);
            let read: Vec<_> = frames.into_iter().map(|f| (f.stream, f.request().unwrap())).collect();
            prop_assert_eq!(read, requests);
        }

        #[test]
        fn replies_survive(replies in proptest::collection::vec((any::<u32>(), any_reply()), 0..20), piece in 1_usize..400) {
            let mut bytes = Vec::new();
            replies.iter().for_each(|(stream, reply)| put_reply(&mut bytes, *stream, reply));
            let (frames, error) = frames(&bytes, piece);
            prop_assert_eq!(error, None);
            let read: Vec<_> = frames.into_iter().map(|f| (f.stream, f.reply().unwrap())).collect();
            prop_assert_eq!(format!("{read:?}"), format!("{replies:?}"));
        }
    }

    #[test]
    fn fuzz_frames_of_data_connections() {
        let channel = ChannelId {
            edge: EdgeId(1),
            producer: 2,
            producer_attempt: Attempt(3),
            consumer: 4,
            consumer_attempt: Attempt(5),
        };
        let (mut asked, mut replied) = (Vec::new(), Vec::new());
        for request in [Request::Open { channel, credit: 9 }, Request::Credit(1 << 40), Request::Close] {
            put_request(&mut asked, 7, &request);
        }
        let batch = Element::Encoded(Bytes::from_static(b"some records"));
        let barrier = Element::Barrier(Barrier { checkpoint: CheckpointId(3) });
        for element in [batch, Element::Watermark(-1), Element::Idle, barrier, Element::End] {
            put_reply(&mut replied, 7, &Reply::Element(element));
        }
        put_reply(&mut replied, 8, &Reply::Failed("it broke".to_owned()));
        let decoder = Decoder::new("frames of data connections").sample(asked).sample(replied);
        // Room is made for 64 KiB of a long frame before they come.
        decoder.may_hold(256 << 10).bytes(|bytes| {
            for frame in frames(bytes, 7).0 {
                let copy = Frame { kind: frame.kind, stream: frame.stream, body: frame.body.clone() };
                let _ = (frame.request(), copy.reply());
            }
        });
    }

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        for length in [0_u32, 4, MAX_FRAME_BYTES as u32 + 1, u32::MAX] {
            let (_, error) = frames(&length.to_le_bytes(), 4);
            assert!(error.unwrap().to_string().contains(&length.to_string()));
        }
    }

    #[test]
    fn a_frame_with_too_much_or_too_little_is_refused() {
        let mut bytes = Vec::new();
        put(&mut bytes, kind::CREDIT, 3, |out| out.put_u32_le(1));
        put(&mut bytes, kind::CLOSE, 3, |out| out.put_u8(1));
        put(&mut bytes, kind::BATCH, 3, |_| {});
        let (frames, _) = frames(&bytes, 100);
        assert!(frames.into_iter().all(|frame| frame.request().is_err()));
    }

    #[test]
    fn a_batch_that_is_too_long_says_so() {
        let mut bytes = Vec::new();
        let batch = Bytes::from(vec![0; MAX_FRAME_BYTES]);
        put_reply(&mut bytes, 1, &Reply::Element(Element::Encoded(batch)));
        let (mut frames, _) = frames(&bytes, bytes.len());
        let reply = frames.remove(0).reply().unwrap();
        assert!(matches!(reply, Reply::Failed(reason) if reason.contains("67108864")));
    }
}
