//! The bytes of requests and responses, as pure functions: everything a server sends is read here and nowhere else.
//!
//! A frame is a length of four bytes, highest first, and that many bytes. Inside, each message has its own length in front as a varint. A
//! request is the RPC header, the request header and the request; a response is its header and, where it succeeded, the answer.

use bytes::Bytes;
use prost::Message;

use crate::error::plain_message;
use crate::proto::common::rpc_request_header::Operation;
use crate::proto::common::rpc_response_header::{RpcErrorCode, RpcStatus};
use crate::proto::common::{RequestHeader, RpcKind, RpcRequestHeader, RpcResponseHeader, RpcSasl};

/// Call ids that are not calls.
pub(crate) const SASL_CALL: i32 = -33;
pub(crate) const CONTEXT_CALL: i32 = -3;
const PING_CALL: i32 = -4;

/// The first bytes of a connection: magic, version 9, service class 0, and whether SASL follows.
pub(crate) fn preamble(sasl: bool) -> [u8; 7] {
    [b'h', b'r', b'p', b'c', 9, 0, if sasl { 0xDF } else { 0 }]
}

/// A message that is encoded behind its length.
pub(crate) trait Delimited {
    fn append_to(&self, out: &mut Vec<u8>);
}

impl<M: Message> Delimited for M {
    fn append_to(&self, out: &mut Vec<u8>) {
        prost::encoding::encode_varint(self.encoded_len() as u64, out);
        self.encode_raw(out);
    }
}

fn frame(parts: &[&dyn Delimited]) -> Vec<u8> {
    let mut out = vec![0; 4];
    for part in parts {
        part.append_to(&mut out);
    }
    let length = u32::try_from(out.len() - 4).unwrap_or(u32::MAX); // callers compare the length with the server's limit
    out[..4].copy_from_slice(&length.to_be_bytes());
    out
}

fn header(call_id: i32, client_id: &[u8], retry_count: i32) -> RpcRequestHeader {
    RpcRequestHeader {
        rpc_kind: Some(RpcKind::ProtocolBuffer.into()),
        rpc_op: Some(Operation::FinalPacket.into()),
        call_id,
        client_id: client_id.to_vec(),
        retry_count: Some(retry_count),
        caller_context: None,
        state_id: None,
        router_federated_state: None,
    }
}

/// A call as it goes over the wire. The same id with a higher retry count is the same call to the server.
pub(crate) fn request(
    client_id: &[u8; 16],
    call_id: i32,
    retry_count: i32,
    protocol: &str,
    method: &str,
    request: &impl Message,
) -> Vec<u8> {
    let method = RequestHeader {
        method_name: method.into(),
        declaring_class_protocol_name: protocol.into(),
        client_protocol_version: 1,
    };
    frame(&[&header(call_id, client_id, retry_count), &method, request])
}

/// The connection context: which protocol, and under SIMPLE and for a proxied user who calls.
pub(crate) fn context(client_id: &[u8; 16], context: &impl Message) -> Vec<u8> {
    frame(&[&header(CONTEXT_CALL, client_id, -1), context])
}

/// A step of authentication or a wrapped piece of the stream.
pub(crate) fn sasl(message: &RpcSasl) -> Vec<u8> {
    frame(&[&header(SASL_CALL, &[], -1), message])
}

/// A sign of life, which the server does not answer.
pub(crate) fn ping(client_id: &[u8; 16]) -> Vec<u8> {
    frame(&[&header(PING_CALL, client_id, -1)])
}

/// A response frame, taken apart.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Response {
    pub call_id: i32,
    /// Empty where the server did not say.
    pub client_id: Vec<u8>,
    pub outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// The answer, still encoded.
    Success(Bytes),
    /// An exception, after which the connection lives on or, if fatal, does not.
    Failure { class: String, message: String, unauthorized: bool, fatal: bool },
}

/// Takes a response frame (without its length) apart.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn response(mut frame: Bytes) -> Result<Response, String> {
    let header: RpcResponseHeader =
        delimited(&mut frame).map_err(|error| format!("response header: {error}"))?;
    // Java writes the signed id as the number of 32 bits that it is.
    let call_id = header.call_id as i32;
    let status =
        RpcStatus::try_from(header.status).map_err(|_| format!("response status {}", header.status))?;
    let outcome = if status == RpcStatus::Success {
        let length = varint(&mut frame).map_err(|error| format!("answer: {error}"))?;
        if length != frame.len() as u64 {
            return Err(format!("an answer of {} bytes that says it has {length}", frame.len()));
        }
        Outcome::Success(frame)
    } else {
        let class = header.exception_class_name.unwrap_or_default();
        let message = plain_message(&class, header.error_msg.as_deref().unwrap_or_default());
        let unauthorized = header.error_detail == Some(RpcErrorCode::FatalUnauthorized.into());
        Outcome::Failure { class, message, unauthorized, fatal: status == RpcStatus::Fatal }
    };
    Ok(Response { call_id, client_id: header.client_id.unwrap_or_default(), outcome })
}

/// Reads one message behind its length.
fn delimited<M: Message + Default>(from: &mut Bytes) -> Result<M, String> {
    let length = varint(from)?;
    if length > from.len() as u64 {
        return Err(format!("{length} bytes announced, {} there", from.len()));
    }
    M::decode(from.split_to(length as usize)).map_err(|error| error.to_string())
}

fn varint(from: &mut Bytes) -> Result<u64, String> {
    prost::encoding::decode_varint(from).map_err(|error| error.to_string())
}

/// What a first frame of impossible length tells about the server.
pub(crate) fn foreign_server(length: u32) -> Option<&'static str> {
    match &length.to_be_bytes() {
        b"HTTP" => Some("it speaks HTTP: the port is that of a web page"),
        [0x15 | 0x16, 3, ..] => Some("it speaks TLS: the port is not that of Hadoop's RPC"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::common::IpcConnectionContext;
    use flott_fuzz::Decoder;
    use proptest::prelude::*;

    #[test]
    fn frames_have_hadoops_bytes() {
        assert_eq!(preamble(true), *b"hrpc\x09\x00\xDF");
        // length 10; header of 9 bytes: kind 2, op 0, zigzag(-33) = 65, an empty client id, zigzag(-1) = 1; SASL of 2: state 1
        let message = RpcSasl { state: 1, ..Default::default() };
        let expected = [0, 0, 0, 14, 10, 8, 2, 16, 0, 24, 65, 34, 0, 40, 1, 2, 16, 1];
        assert_eq!(sasl(&message), expected);
        let user = IpcConnectionContext { user_info: None, protocol: Some("p".into()) };
        let bytes = context(&[7; 16], &user);
        assert_eq!(&bytes[bytes.len() - 4..], &[3, 26, 1, b'p']);
        assert_eq!(u32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize, bytes.len() - 4);
    }

    fn encode(header: &RpcResponseHeader, answer: Option<&[u8]>) -> Bytes {
        let mut out = Vec::new();
        header.append_to(&mut out);
        if let Some(answer) = answer {
            prost::encoding::encode_varint(answer.len() as u64, &mut out);
            out.extend_from_slice(answer);
        }
        out.into()
    }

    #[test]
    fn a_response_is_an_answer_or_an_exception() {
        let header = RpcResponseHeader { call_id: SASL_CALL as u32, ..Default::default() };
        let read = response(encode(&header, Some(b"abc"))).unwrap();
        assert_eq!(read.call_id, SASL_CALL);
        assert_eq!(read.outcome, Outcome::Success(Bytes::from_static(b"abc")));
        let header = RpcResponseHeader {
            call_id: 5,
            status: RpcStatus::Fatal.into(),
            exception_class_name: Some("a.B".into()),
            error_msg: Some("a.B: no\n\tat c".into()),
            error_detail: Some(RpcErrorCode::FatalUnauthorized.into()),
            ..Default::default()
        };
        let outcome =
            Outcome::Failure { class: "a.B".into(), message: "no".into(), unauthorized: true, fatal: true };
        assert_eq!(response(encode(&header, None)).unwrap().outcome, outcome);
    }

    #[test]
    fn a_response_that_ends_early_or_late_is_refused() {
        let whole = encode(&RpcResponseHeader { call_id: 1, ..Default::default() }, Some(b"abc"));
        for length in 0..whole.len() {
            assert!(response(whole.slice(..length)).is_err(), "{length} bytes of {}", whole.len());
        }
        let longer = [&whole[..], b"x"].concat();
        assert!(response(longer.into()).unwrap_err().contains("4 bytes that says it has 3"));
    }

    #[test]
    fn fuzz_frames_of_responses() {
        let success = RpcResponseHeader { call_id: 7, client_id: Some(vec![7; 16]), ..Default::default() };
        let failure = RpcResponseHeader {
            status: RpcStatus::Error.into(),
            exception_class_name: Some("a.B".into()),
            error_msg: Some("a.B: no\n\tat c".into()),
            ..Default::default()
        };
        Decoder::new("responses of Hadoop's RPC")
            .sample(encode(&success, Some(b"an answer")))
            .sample(encode(&failure, None))
            .bytes(|bytes| drop(response(Bytes::copy_from_slice(bytes))));
    }

    proptest! {
        #[test]
        fn what_a_server_says_is_what_is_read(call_id in any::<i32>(), answer in prop::collection::vec(any::<u8>(), 0..100)) {
            let header = RpcResponseHeader { call_id: call_id as u32, ..Default::default() };
            let read = response(encode(&header, Some(&answer))).unwrap();
            prop_assert_eq!(read.call_id, call_id);
            prop_assert_eq!(read.outcome, Outcome::Success(answer.into()));
        }
    }
}
