//! Frames over a socket, wrapped where authentication agreed on it, never larger than allowed.

use bytes::{Buf, Bytes, BytesMut};
use prost::Message;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::frame::{self, Outcome};
use crate::proto::common::RpcSasl;
use crate::proto::common::rpc_sasl::SaslState;
use crate::sasl::{Layer, Open, Seal};

/// Why no frame can be had.
pub(super) enum StreamError {
    /// The connection is gone.
    Io(String),
    /// What came is no frame.
    Protocol(String),
}

impl From<std::io::Error> for StreamError {
    fn from(error: std::io::Error) -> StreamError {
        StreamError::Io(match error.kind() {
            std::io::ErrorKind::UnexpectedEof => "the server closed it".into(),
            _ => error.to_string(),
        })
    }
}

/// The receiving half.
pub(super) struct FrameReader {
    socket: OwnedReadHalf,
    max: usize,
    /// Unwraps frames, and holds what is unwrapped and not yet a whole frame.
    open: Option<(Box<dyn Open>, BytesMut)>,
}

/// The sending half.
pub(super) struct FrameWriter {
    socket: OwnedWriteHalf,
    seal: Option<(Box<dyn Seal>, usize)>,
}

/// Room that a wrapping frame needs beyond what it wraps.
const WRAPPING: usize = 1024;

impl FrameReader {
    pub(super) fn new(socket: OwnedReadHalf, max: usize) -> FrameReader {
        FrameReader { socket, max, open: None }
    }

    /// Reads the next frame, without its length.
    pub(super) async fn read(&mut self) -> Result<Bytes, StreamError> {
        let Some((open, plain)) = &mut self.open else {
            return read_frame(&mut self.socket, self.max).await;
        };
        loop {
            if let Some(frame) = take_frame(plain, self.max)? {
                return Ok(frame);
            }
            let wrapped = read_frame(&mut self.socket, self.max.saturating_add(WRAPPING)).await?;
            let piece = unwrap(wrapped)?;
            let piece = open.open(&piece).map_err(StreamError::Protocol)?;
            plain.extend_from_slice(&piece);
        }
    }
}

/// Gives the two halves of a socket the layer that was agreed on, and the bound for what comes.
pub(super) fn protect(
    mut reader: FrameReader,
    mut writer: FrameWriter,
    layer: Layer,
    max: usize,
) -> (FrameReader, FrameWriter) {
    reader.max = max;
    if let Layer::Wrapped { seal, open, piece } = layer {
        reader.open = Some((open, BytesMut::new()));
        writer.seal = Some((seal, piece));
    }
    (reader, writer)
}

async fn read_frame(socket: &mut (impl AsyncRead + Unpin), max: usize) -> Result<Bytes, StreamError> {
    let length = socket.read_u32().await?;
    let length = check_length(length, max)?;
    // The buffer grows with what comes, not with what is announced.
    let mut frame = Vec::with_capacity(length.min(8 * 1024));
    let read = socket.take(length as u64).read_to_end(&mut frame).await?;
    if read < length {
        return Err(StreamError::Io(format!(
            "the server closed it after {read} of a response's {length} bytes"
        )));
    }
    Ok(frame.into())
}

fn check_length(length: u32, max: usize) -> Result<usize, StreamError> {
    if let Some(foreign) = frame::foreign_server(length) {
        return Err(StreamError::Protocol(foreign.into()));
    }
    match usize::try_from(length) {
        Ok(size) if size <= max => Ok(size),
        _ => Err(StreamError::Protocol(format!(
            "it announces a response of {length} bytes, more than the {max} of ipc.maximum.response.length"
        ))),
    }
}

/// Takes one whole frame from unwrapped bytes, if there is one.
fn take_frame(plain: &mut BytesMut, max: usize) -> Result<Option<Bytes>, StreamError> {
    let Some(length) = plain.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = check_length(u32::from_be_bytes(*length), max)?;
    if plain.len() - 4 < length {
        return Ok(None);
    }
    plain.advance(4);
    Ok(Some(plain.split_to(length).freeze()))
}

/// What a wrapping frame wraps.
fn unwrap(frame: Bytes) -> Result<Vec<u8>, StreamError> {
    let protocol = |reason: &str| StreamError::Protocol(reason.into());
    let response = frame::response(frame).map_err(StreamError::Protocol)?;
    match response.outcome {
        Outcome::Success(message) if response.call_id == frame::SASL_CALL => {
            let message =
                RpcSasl::decode(message).map_err(|_| protocol("a wrapped message cannot be read"))?;
            match (SaslState::try_from(message.state), message.token) {
                (Ok(SaslState::Wrap), Some(token)) => Ok(token),
                _ => Err(protocol("it sends a SASL message that wraps nothing")),
            }
        }
        Outcome::Success(_) => Err(protocol("it sends a response without the protection agreed on")),
        Outcome::Failure { class, message, .. } => Err(protocol(&format!("{message} ({class})"))),
    }
}

impl FrameWriter {
    pub(super) fn new(socket: OwnedWriteHalf) -> FrameWriter {
        FrameWriter { socket, seal: None }
    }

    /// Sends a whole frame, or any bytes before the handshake.
    pub(super) async fn write(&mut self, frame: &[u8]) -> Result<(), StreamError> {
        let Some((seal, piece)) = &mut self.seal else {
            return Ok(self.socket.write_all(frame).await?);
        };
        for plain in frame.chunks(*piece) {
            let token = Some(seal.seal(plain).map_err(StreamError::Protocol)?);
            let message =
                RpcSasl { version: Some(0), state: SaslState::Wrap.into(), token, auths: Vec::new() };
            self.socket.write_all(&frame::sasl(&message)).await?;
        }
        Ok(())
    }

    /// Says that nothing more comes.
    pub(super) async fn shutdown(&mut self) {
        let _ = self.socket.shutdown().await; // it may be gone already
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::RpcResponseHeader;
    use flott_fuzz::Decoder;

    #[test]
    fn a_frame_is_taken_once_it_is_whole() {
        let mut plain = BytesMut::from(&[0, 0, 0, 2, b'a'][..]);
        assert!(matches!(take_frame(&mut plain, 10), Ok(None)));
        plain.extend_from_slice(b"bc");
        assert!(matches!(take_frame(&mut plain, 10), Ok(Some(frame)) if frame == "ab"));
        assert_eq!(plain, "c");
    }

    #[test]
    fn an_impossible_length_names_what_the_server_may_be() {
        let reason = |bytes: &[u8; 4]| match check_length(u32::from_be_bytes(*bytes), 1000) {
            Err(StreamError::Protocol(reason)) => reason,
            _ => String::new(),
        };
        assert!(reason(b"HTTP").contains("web page"));
        assert!(reason(&[0x15, 3, 3, 0]).contains("TLS"));
        let larger =
            "it announces a response of 1001 bytes, more than the 1000 of ipc.maximum.response.length";
        assert_eq!(reason(&[0, 0, 3, 0xE9]), larger);
    }

    /// A frame that wraps something.
    fn wrapping(token: &[u8]) -> Vec<u8> {
        let header = RpcResponseHeader { call_id: frame::SASL_CALL as u32, ..Default::default() };
        let message =
            RpcSasl { state: SaslState::Wrap.into(), token: Some(token.to_vec()), ..Default::default() };
        let body =
            [header.encode_length_delimited_to_vec(), message.encode_length_delimited_to_vec()].concat();
        [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], &body].concat()
    }

    #[test]
    fn what_is_wrapped_is_unwrapped() {
        let mut plain = BytesMut::from(&wrapping(b"token")[..]);
        let frame = take_frame(&mut plain, 100).ok().flatten().unwrap();
        assert!(unwrap(frame).is_ok_and(|token| token == b"token"));
    }

    #[test]
    fn fuzz_frames_that_wrap_frames() {
        let several = [wrapping(b"one"), wrapping(&[0; 40]), vec![0, 0, 0, 1, 0]].concat();
        Decoder::new("frames of Hadoop's RPC that wrap others")
            .sample(wrapping(b"token"))
            .sample(several)
            .bytes(|bytes| {
                let mut plain = BytesMut::from(bytes);
                while let Ok(Some(frame)) = take_frame(&mut plain, 1 << 20) {
                    let _ = unwrap(frame);
                }
                let _ = unwrap(Bytes::copy_from_slice(bytes));
            });
    }

    #[test]
    fn fuzz_frames_read_from_a_socket() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Decoder::new("frames of Hadoop's RPC on a socket")
            .sample(wrapping(b"token"))
            .sample([0, 0, 0, 1, 7])
            .bytes(|bytes| {
                let (near, mut far) = std::os::unix::net::UnixStream::pair().unwrap();
                near.set_nonblocking(true).unwrap();
                std::io::Write::write_all(&mut far, bytes).unwrap();
                drop(far);
                let _entered = runtime.enter();
                let mut near = tokio::net::UnixStream::from_std(near).unwrap();
                runtime.block_on(async { while read_frame(&mut near, 64 << 20).await.is_ok() {} });
            });
    }
}
