//! Messages over the socket between a program and the process that started it.
//!
//! ```text
//! message := length:u32 (little endian) protobuf
//! ```
//!
//! A descriptor may travel with the first byte of a message.

use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use prost::Message;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags, recvmsg, sendmsg,
};

/// The longest message: a plan with the data of its collections.
const MAX_BYTES: u32 = 512 << 20;

/// How long the other end may take to read.
const WRITE_DEADLINE: Duration = Duration::from_secs(30);

/// Why nothing comes over the socket any more.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The other process has ended, or closed its end.
    #[error("the other process closed the connection")]
    Closed,
    /// The system.
    #[error("the connection between program and launcher broke: {0}")]
    Io(#[from] io::Error),
    /// What came is no message.
    #[error("a message between program and launcher cannot be read: {0}")]
    Malformed(String),
}

/// One end of the socket.
#[derive(Debug)]
pub struct LaunchSocket {
    stream: UnixStream,
}

impl LaunchSocket {
    /// Messages over `stream`.
    ///
    /// # Errors
    /// If the system refuses a deadline for writes.
    pub fn new(stream: UnixStream) -> io::Result<Self> {
        stream.set_write_timeout(Some(WRITE_DEADLINE))?;
        Ok(Self { stream })
    }

    /// The same socket for another thread.
    ///
    /// # Errors
    /// If the system gives no descriptor.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { stream: self.stream.try_clone()? })
    }

    /// Sends a message, with a descriptor if one is given. Blocks while the other end does not read, up to a limit.
    ///
    /// # Errors
    /// [`LaunchError`].
    pub fn send(
        &mut self,
        message: &impl Message,
        descriptor: Option<BorrowedFd<'_>>,
    ) -> Result<(), LaunchError> {
        let body = message.encode_to_vec();
        let length = u32::try_from(body.len()).ok().filter(|length| *length <= MAX_BYTES);
        let length = length.ok_or_else(|| LaunchError::Malformed(format!("it has {} bytes", body.len())))?;
        let header = length.to_le_bytes();
        let sent = match descriptor {
            None => 0,
            Some(descriptor) => send_with(&self.stream, &header, descriptor).map_err(closed)?,
        };
        self.stream.write_all(&header[sent..]).map_err(closed)?;
        self.stream.write_all(&body).map_err(closed)
    }

    /// Waits for the next message, and the descriptor that came with it.
    ///
    /// # Errors
    /// [`LaunchError::Closed`] when the other end has closed.
    pub fn receive<M: Message + Default>(&mut self) -> Result<(M, Option<OwnedFd>), LaunchError> {
        let mut header = [0; 4];
        let (mut filled, mut descriptor) = (0, None);
        while filled < header.len() {
            let (read, came) = receive_with(&self.stream, &mut header[filled..]).map_err(closed)?;
            if read == 0 {
                return Err(LaunchError::Closed);
            }
            filled += read;
            descriptor = descriptor.or(came);
        }
        let length = u32::from_le_bytes(header);
        if length > MAX_BYTES {
            return Err(LaunchError::Malformed(format!("it claims to have {length} bytes")));
        }
        // Grows with what really comes, whatever the length claims.
        let mut body = Vec::new();
        (&self.stream).take(u64::from(length)).read_to_end(&mut body).map_err(closed)?;
        if body.len() < length as usize {
            return Err(LaunchError::Closed);
        }
        let message =
            M::decode(body.as_slice()).map_err(|error| LaunchError::Malformed(error.to_string()))?;
        Ok((message, descriptor))
    }
}

fn closed(error: io::Error) -> LaunchError {
    match error.kind() {
        io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset | io::ErrorKind::UnexpectedEof => {
            LaunchError::Closed
        }
        _ => LaunchError::Io(error),
    }
}

fn send_with(stream: &UnixStream, bytes: &[u8], descriptor: BorrowedFd<'_>) -> io::Result<usize> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    if !ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)) {
        return Err(io::Error::other("no room for a descriptor"));
    }
    let slices = [IoSlice::new(bytes)];
    loop {
        match sendmsg(stream.as_fd(), &slices, &mut ancillary, SendFlags::NOSIGNAL) {
            Err(rustix::io::Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

fn receive_with(stream: &UnixStream, bytes: &mut [u8]) -> io::Result<(usize, Option<OwnedFd>)> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut slices = [IoSliceMut::new(bytes)];
    let received = loop {
        match recvmsg(stream.as_fd(), &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
            Err(rustix::io::Errno::INTR) => {}
            other => break other?,
        }
    };
    let descriptors = ancillary.drain().filter_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    Ok((received.bytes, descriptors.last()))
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::fd::AsFd;

    use super::*;
    use crate::rpc::launch::{DataSocket, ToProgram, to_program};

    fn pair() -> (LaunchSocket, LaunchSocket) {
        let (one, other) = UnixStream::pair().unwrap();
        (LaunchSocket::new(one).unwrap(), LaunchSocket::new(other).unwrap())
    }

    fn message(peer: &[u8]) -> ToProgram {
        ToProgram { kind: Some(to_program::Kind::DataSocket(DataSocket { peer: peer.to_vec() })) }
    }

    #[test]
    fn messages_and_descriptors_arrive_together() {
        let (mut one, mut other) = pair();
        let (mut near, far) = UnixStream::pair().unwrap();
        one.send(&message(b"first"), None).unwrap();
        one.send(&message(b"second"), Some(far.as_fd())).unwrap();
        one.send(&message(&[7; 100_000]), None).unwrap();
        drop((one, far));
        let (first, none) = other.receive::<ToProgram>().unwrap();
        assert_eq!((first, none.is_none()), (message(b"first"), true));
        let (second, descriptor) = other.receive::<ToProgram>().unwrap();
        assert_eq!(second, message(b"second"));
        near.write_all(b"hello").unwrap();
        drop(near);
        let mut read = String::new();
        UnixStream::from(descriptor.unwrap()).read_to_string(&mut read).unwrap();
        assert_eq!(read, "hello");
        assert_eq!(other.receive::<ToProgram>().unwrap().0, message(&[7; 100_000]));
        assert!(matches!(other.receive::<ToProgram>(), Err(LaunchError::Closed)));
    }

    #[test]
    fn garbage_is_refused() {
        let (raw, other) = UnixStream::pair().unwrap();
        let mut other = LaunchSocket::new(other).unwrap();
        (&raw).write_all(&[255; 64]).unwrap();
        assert!(matches!(other.receive::<ToProgram>(), Err(LaunchError::Malformed(_))));
    }
}
