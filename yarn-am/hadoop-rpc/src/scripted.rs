//! Servers for tests that follow a script, to show what the client makes of bad ones. What good servers do is shown on a real cluster.

use std::future::Future;

use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use crate::frame::{Delimited, SASL_CALL};
use crate::proto::common::rpc_response_header::RpcStatus;
use crate::proto::common::{RequestHeader, RpcRequestHeader, RpcResponseHeader, RpcSasl};

/// A server that ends with its scope.
pub(crate) struct Scripted {
    pub address: String,
    _task: JoinSet<()>,
}

impl Scripted {
    /// Serves one connection after the other, each by the script that is told its number.
    pub(crate) async fn start<Script, Running>(script: Script) -> Scripted
    where
        Script: Fn(usize, Peer) -> Running + Send + 'static,
        Running: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut connections = JoinSet::new();
            for number in 0.. {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(script(number, Peer { stream }));
            }
        });
        Scripted { address, _task: task }
    }
}

/// The server's end of a connection.
pub(crate) struct Peer {
    stream: TcpStream,
}

/// A call as the server sees it.
#[derive(Debug)]
pub(crate) struct Call {
    pub header: RpcRequestHeader,
    pub method: String,
}

impl Peer {
    /// Reads what a SIMPLE client sends before its first call.
    pub(crate) async fn accept_simple(&mut self) {
        assert_eq!(self.bytes(7).await, b"hrpc\x09\x00\x00");
        self.frame().await;
    }

    /// Reads what a client with a token or ticket sends first.
    pub(crate) async fn accept_sasl(&mut self) {
        assert_eq!(self.bytes(7).await, b"hrpc\x09\x00\xDF");
        self.frame().await;
    }

    pub(crate) async fn bytes(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).await.unwrap();
        bytes
    }

    /// Reads a frame without its length.
    pub(crate) async fn frame(&mut self) -> Vec<u8> {
        let length = self.stream.read_u32().await.unwrap();
        self.bytes(length as usize).await
    }

    /// Reads the next call; pings are skipped.
    pub(crate) async fn call(&mut self) -> Call {
        loop {
            let frame = self.frame().await;
            let mut rest = &frame[..];
            let header = RpcRequestHeader::decode_length_delimited(&mut rest).unwrap();
            if header.call_id >= 0 {
                let method = RequestHeader::decode_length_delimited(&mut rest).unwrap().method_name;
                return Call { header, method };
            }
        }
    }

    pub(crate) async fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    /// Answers a call.
    pub(crate) async fn answer(&mut self, call_id: i32, answer: &impl Message) {
        self.respond(RpcResponseHeader { call_id: call_id as u32, ..Default::default() }, Some(answer)).await;
    }

    /// Answers with an exception.
    pub(crate) async fn fail(&mut self, call_id: i32, status: RpcStatus, class: &str) {
        let header = RpcResponseHeader {
            call_id: call_id as u32,
            status: status.into(),
            exception_class_name: Some(class.into()),
            error_msg: Some(format!("{class}: as the script says\n\tat line 1")),
            ..Default::default()
        };
        self.respond(header, None::<&RpcSasl>).await;
    }

    pub(crate) async fn sasl(&mut self, message: &RpcSasl) {
        self.answer(SASL_CALL, message).await;
    }

    async fn respond(&mut self, header: RpcResponseHeader, answer: Option<&impl Message>) {
        let mut bytes = vec![0; 4];
        header.append_to(&mut bytes);
        if let Some(answer) = answer {
            answer.append_to(&mut bytes);
        }
        let length = u32::try_from(bytes.len() - 4).unwrap();
        bytes[..4].copy_from_slice(&length.to_be_bytes());
        self.write(&bytes).await;
    }

    /// Waits until the client closes the connection.
    pub(crate) async fn closed(&mut self) {
        let mut rest = Vec::new();
        let _ = self.stream.read_to_end(&mut rest).await; // a reset is an end, too
    }
}
