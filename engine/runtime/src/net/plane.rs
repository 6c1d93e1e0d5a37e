//! What a worker's subtasks see of the data plane.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use flott_core::ids::{JobId, WorkerId};
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::runtime::Handle;

use super::handshake::Secret;
use super::hello::Hello;
use super::reading::Reading;
use super::serving::{Offers, serve};
use crate::exchange::channel::{Channel, ChannelId};

/// After this time without an answer to what was sent, or to a probe of an idle connection, the other side is taken for gone.
const SILENCE: Duration = Duration::from_secs(30);

/// How often an idle connection is probed.
const PROBE_INTERVAL: Duration = Duration::from_secs(10);

/// Another worker of the same job.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Which.
    pub worker: WorkerId,
    /// The data port of its TaskManager, `HOST:PORT`.
    pub address: String,
}

/// A worker's connections to other workers of its job. A connection that breaks fails the channels it carries; it is not made
/// again, since what was under way on it is lost.
pub struct DataPlane {
    job: JobId,
    own: WorkerId,
    secret: Secret,
    io: Handle,
    offers: Arc<Offers>,
    readings: Mutex<HashMap<WorkerId, Arc<Reading>>>,
}

impl DataPlane {
    /// The data plane of the worker `own`; its connections live on `io`.
    pub fn new(job: JobId, own: WorkerId, secret: Secret, io: Handle) -> Self {
        Self { job, own, secret, io, offers: Arc::default(), readings: Mutex::default() }
    }

    /// Has what another worker sends into a channel arrive in `channel`.
    pub fn receive(&self, id: ChannelId, channel: &Arc<Channel>, from: &Peer) {
        self.reading(from).open(id, channel);
    }

    /// A consumer is over: nothing more is wanted of the channel.
    pub fn close(&self, id: ChannelId) {
        let readings: Vec<_> =
            self.readings.lock().unwrap_or_else(PoisonError::into_inner).values().cloned().collect();
        readings.iter().for_each(|reading| reading.close(id));
    }

    /// Sends what is in `channel` to whoever asks for it.
    pub fn offer(&self, id: ChannelId, channel: &Arc<Channel>) {
        self.offers.add(id, channel);
    }

    /// A producer is over before its end, or a later attempt has taken its place: who has not asked for the channel yet waits in
    /// vain.
    pub fn withdraw(&self, id: ChannelId) {
        self.offers.remove(id);
    }

    /// Serves a reader that has said hello.
    pub fn accepted(&self, reader: WorkerId, stream: std::net::TcpStream) {
        let stream = {
            let _on_io = self.io.enter();
            stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream))
        };
        let stream = stream.and_then(|stream| tune(&stream).map(|()| stream));
        match stream {
            Ok(stream) => {
                let offers = Arc::clone(&self.offers);
                self.io.spawn(async move { serve(offers, reader, stream).await });
            }
            Err(error) => tracing::warn!(%reader, %error, "a data connection cannot be used"),
        }
    }

    fn reading(&self, peer: &Peer) -> Arc<Reading> {
        let mut readings = self.readings.lock().unwrap_or_else(PoisonError::into_inner);
        let make = || {
            let reading = Arc::new(Reading::new(peer.clone()));
            let hello = Hello { job: self.job, from: self.own, to: peer.worker };
            let (running, secret) = (Arc::clone(&reading), self.secret.clone());
            self.io.spawn(async move { running.run(&secret, hello).await });
            reading
        };
        Arc::clone(readings.entry(peer.worker).or_insert_with(make))
    }
}

/// Sends at once, and notices when the other machine is gone.
pub(super) fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    sockopt::set_socket_keepalive(stream, true)?;
    sockopt::set_tcp_keepidle(stream, PROBE_INTERVAL)?;
    sockopt::set_tcp_keepintvl(stream, PROBE_INTERVAL)?;
    let silence = u32::try_from(SILENCE.as_millis()).unwrap_or(u32::MAX);
    Ok(sockopt::set_tcp_user_timeout(stream, silence)?)
}
