//! One connection to one server, shared by any number of calls at a time.
//!
//! A task of the connection's own writes requests in the order they come, reads responses and hands each to the call it answers, gives signs
//! of life while calls wait, and closes the connection once it has been idle. Whatever goes wrong ends the connection once, for all calls, with
//! the same error. Dropping the connection ends the task.

mod handshake;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use prost::Message;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::error::RpcError;
use crate::frame::{self, Outcome, Response};
use crate::protocol::Protocol;
use crate::settings::Settings;
use crate::user::User;
use stream::{FrameReader, FrameWriter, StreamError};

/// Whom to connect to, and as whom.
pub(crate) struct Endpoint<'a> {
    /// Host and port.
    pub address: &'a str,
    /// Names under which a token may know the server beside its address, such as `ha-hdfs:NAMESERVICE`.
    pub aliases: &'a [String],
    pub protocol: &'a Protocol,
    pub user: &'a User,
    pub settings: &'a Settings,
    pub client_id: &'a [u8; 16],
}

/// An id that a call keeps through all its attempts.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CallId {
    pub id: i32,
    pub retry: i32,
}

/// An open, authenticated connection.
pub(crate) struct Connection {
    server: String,
    protocol: &'static str,
    client_id: [u8; 16],
    max_request: usize,
    requests: mpsc::Sender<Vec<u8>>,
    calls: Arc<Calls>,
    _task: JoinSet<()>,
}

/// How long the last word of a server may be on its way that takes nothing any more.
const LAST_WORD: Duration = Duration::from_secs(1);

/// Requests that wait to be written; a call that finds the queue full waits, within its deadline.
const QUEUE: usize = 64;

impl Connection {
    /// Connects, authenticates and says who calls.
    ///
    /// # Errors
    /// [`RpcError::Connect`], [`RpcError::Authentication`], [`RpcError::Timeout`], [`RpcError::Protocol`], or [`RpcError::Remote`] where a
    /// standby server says so at once.
    pub(crate) async fn open(endpoint: &Endpoint<'_>) -> Result<Connection, RpcError> {
        let server = endpoint.address.to_owned();
        let (reader, writer, context) = handshake::open(endpoint).await?;
        let calls = Arc::new(Calls::new(server.clone(), *endpoint.client_id));
        let (requests, queue) = mpsc::channel(QUEUE);
        // Ahead of all calls; there is room, since nothing is queued yet.
        let _ = requests.try_send(context);
        let mut task = JoinSet::new();
        let driver = Driver {
            calls: Arc::clone(&calls),
            ping: frame::ping(endpoint.client_id),
            ping_interval: endpoint.settings.ping_interval,
            idle_time: endpoint.settings.idle_time,
        };
        task.spawn(driver.run(reader, writer, queue));
        Ok(Connection {
            server,
            protocol: endpoint.protocol.name,
            client_id: *endpoint.client_id,
            max_request: endpoint.settings.max_request,
            requests,
            calls,
            _task: task,
        })
    }

    /// Whether calls can still be made.
    pub(crate) fn is_open(&self) -> bool {
        self.calls.is_open()
    }

    /// Calls a method and waits for its answer for at most `deadline`. A call that is dropped is forgotten; its answer is thrown away.
    ///
    /// # Errors
    /// Any [`RpcError`] but [`RpcError::Connect`] and [`RpcError::GivenUp`].
    pub(crate) async fn call<Answer: Message + Default>(
        &self,
        call: CallId,
        method: &str,
        request: &impl Message,
        deadline: Duration,
    ) -> Result<Answer, RpcError> {
        let frame = frame::request(&self.client_id, call.id, call.retry, self.protocol, method, request);
        if frame.len() - 4 > self.max_request {
            let (size, max) = (frame.len() - 4, self.max_request);
            let reason = format!(
                "the request of {method} has {size} bytes, more than the {max} of ipc.maximum.data.length"
            );
            return Err(RpcError::configuration(reason));
        }
        let waiting = Waiting::register(&self.calls, call.id)?;
        let answer = async {
            // Where nothing is taken any more, the reason follows.
            let taken = self.requests.send(frame).await.is_ok();
            let mut answer = waiting.answer().await;
            if let Err(RpcError::Lost { sent, .. }) = &mut answer {
                *sent &= taken;
            }
            answer
        };
        let timeout =
            || RpcError::Timeout { server: self.server.clone(), call: method.into(), after: deadline };
        match tokio::time::timeout(deadline, answer).await.map_err(|_| timeout())?? {
            Outcome::Success(answer) => Answer::decode(answer).map_err(|error| {
                RpcError::protocol(&self.server, format!("the answer to {method} cannot be read: {error}"))
            }),
            Outcome::Failure { class, message, .. } => {
                Err(RpcError::Remote { server: self.server.clone(), call: method.into(), class, message })
            }
        }
    }
}

/// The calls under way, and how the connection ended.
struct Calls {
    server: String,
    client_id: [u8; 16],
    state: Mutex<State>,
}

enum State {
    Open {
        waiting: HashMap<i32, oneshot::Sender<Result<Outcome, RpcError>>>,
        highest: i32,
        idle_since: Instant,
    },
    Closed(RpcError),
}

impl Calls {
    fn new(server: String, client_id: [u8; 16]) -> Calls {
        let state = State::Open { waiting: HashMap::new(), highest: -1, idle_since: Instant::now() };
        Calls { server, client_id, state: Mutex::new(state) }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_open(&self) -> bool {
        matches!(*self.state(), State::Open { .. })
    }

    /// Why the connection is closed, for a call that was sent or not.
    fn failure(&self, sent: bool) -> RpcError {
        match &*self.state() {
            State::Closed(RpcError::Lost { server, reason, .. }) => {
                RpcError::Lost { server: server.clone(), reason: reason.clone(), sent }
            }
            State::Closed(error) => error.clone(),
            State::Open { .. } => self.lost("it is being closed", sent),
        }
    }

    fn lost(&self, reason: &str, sent: bool) -> RpcError {
        RpcError::Lost { server: self.server.clone(), reason: reason.into(), sent }
    }

    /// Ends the connection for every call. The first reason stays.
    fn close(&self, error: RpcError) {
        let mut state = self.state();
        if let State::Open { waiting, .. } = &mut *state {
            let waiting = std::mem::take(waiting);
            *state = State::Closed(error.clone());
            drop(state);
            for (_, call) in waiting {
                let _ = call.send(Err(error.clone())); // a call that went away needs no answer
            }
        }
    }

    /// Hands a response to its call.
    ///
    /// # Errors
    /// It makes no sense, or it is fatal.
    fn dispatch(&self, response: Response) -> Result<(), RpcError> {
        if !response.client_id.is_empty() && response.client_id != self.client_id {
            return Err(RpcError::protocol(&self.server, "it answers another client's call"));
        }
        let fatal = match &response.outcome {
            Outcome::Failure { class, message, unauthorized, fatal: true } => Some(match unauthorized {
                true => RpcError::refused(&self.server, class, message),
                false => RpcError::Remote {
                    server: self.server.clone(),
                    call: "the connection".into(),
                    class: class.clone(),
                    message: message.clone(),
                },
            }),
            _ => None,
        };
        let call = match &mut *self.state() {
            State::Closed(_) => return Ok(()),
            State::Open { waiting, highest, idle_since } => {
                if fatal.is_none() && !(0..=*highest).contains(&response.call_id) {
                    let id = response.call_id;
                    return Err(RpcError::protocol(
                        &self.server,
                        format!("it answers call {id}, which was never made"),
                    ));
                }
                *idle_since = Instant::now();
                waiting.remove(&response.call_id)
            }
        };
        match fatal {
            Some(error) => {
                if let Some(call) = call {
                    let _ = call.send(Err(error.clone()));
                }
                Err(error)
            }
            None => {
                if let Some(call) = call {
                    let _ = call.send(Ok(response.outcome)); // a call that went away needs no answer
                }
                Ok(())
            }
        }
    }
}

/// A call's place in the table, left when the call is dropped.
struct Waiting<'a> {
    calls: &'a Calls,
    id: i32,
    answer: oneshot::Receiver<Result<Outcome, RpcError>>,
}

impl<'a> Waiting<'a> {
    fn register(calls: &'a Calls, id: i32) -> Result<Waiting<'a>, RpcError> {
        let (sender, answer) = oneshot::channel();
        if let State::Open { waiting, highest, .. } = &mut *calls.state() {
            waiting.insert(id, sender);
            *highest = id.max(*highest);
            return Ok(Waiting { calls, id, answer });
        }
        Err(calls.failure(false))
    }

    async fn answer(mut self) -> Result<Outcome, RpcError> {
        let answer = (&mut self.answer).await;
        answer.unwrap_or_else(|_| Err(self.calls.failure(true)))
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if let State::Open { waiting, idle_since, .. } = &mut *self.calls.state() {
            waiting.remove(&self.id);
            *idle_since = Instant::now();
        }
    }
}

/// The connection's task.
struct Driver {
    calls: Arc<Calls>,
    ping: Vec<u8>,
    ping_interval: Duration,
    idle_time: Duration,
}

impl Driver {
    async fn run(self, reader: FrameReader, mut writer: FrameWriter, queue: mpsc::Receiver<Vec<u8>>) {
        let reading = self.read(reader);
        tokio::pin!(reading);
        let error = tokio::select! {
            error = &mut reading => error,
            error = self.write(&mut writer, queue) => match error {
                // Nothing can be written any more: the server has closed the connection, and may have said why.
                RpcError::Lost { sent: true, .. } => {
                    tokio::time::timeout(LAST_WORD, reading).await.unwrap_or(error)
                }
                error => error,
            },
        };
        tracing::debug!(server = self.calls.server, %error, "connection closed");
        self.calls.close(error);
        writer.shutdown().await;
    }

    async fn read(&self, mut reader: FrameReader) -> RpcError {
        loop {
            let frame = match reader.read().await {
                Ok(frame) => frame,
                Err(error) => return self.broken(error),
            };
            if let Err(error) = self.receive(frame) {
                return error;
            }
        }
    }

    fn receive(&self, frame: Bytes) -> Result<(), RpcError> {
        let response =
            frame::response(frame).map_err(|reason| RpcError::protocol(&self.calls.server, reason))?;
        self.calls.dispatch(response)
    }

    async fn write(&self, writer: &mut FrameWriter, mut queue: mpsc::Receiver<Vec<u8>>) -> RpcError {
        let mut wrote = Instant::now();
        loop {
            let due = match self.next_due(wrote) {
                Ok(due) => due,
                Err(idle) => return idle,
            };
            let written = tokio::select! {
                request = queue.recv() => match request {
                    Some(frame) => writer.write(&frame).await,
                    None => return self.calls.lost("it was closed here", false),
                },
                () = tokio::time::sleep_until(due.at) => match due.ping {
                    true => writer.write(&self.ping).await,
                    false => continue,
                },
            };
            if let Err(error) = written {
                return self.broken(error);
            }
            wrote = Instant::now();
        }
    }

    /// When to look again, or that the connection has been idle for long enough. It is then closed under the same lock under which calls
    /// enter, so none can slip in between.
    fn next_due(&self, wrote: Instant) -> Result<Due, RpcError> {
        let mut state = self.calls.state();
        let State::Open { waiting, idle_since, .. } = &mut *state else {
            return Err(self.calls.lost("it was closed here", false));
        };
        if !waiting.is_empty() {
            return Ok(Due { at: wrote + self.ping_interval, ping: true });
        }
        let at = *idle_since + self.idle_time;
        if Instant::now() < at {
            return Ok(Due { at, ping: false });
        }
        let idle = self.calls.lost("it was idle and is closed", false);
        *state = State::Closed(idle.clone());
        Err(idle)
    }

    fn broken(&self, error: StreamError) -> RpcError {
        match error {
            StreamError::Io(reason) => self.calls.lost(&reason, true),
            StreamError::Protocol(reason) => RpcError::protocol(&self.calls.server, reason),
        }
    }
}

/// What the writing half waits for beside requests.
struct Due {
    at: Instant,
    ping: bool,
}

#[cfg(test)]
mod tests;
