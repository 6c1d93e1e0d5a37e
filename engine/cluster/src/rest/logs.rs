//! The logs of the JobManager.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use flott_core::config;
use serde_json::json;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;
use tokio_stream::wrappers::ReceiverStream;

use super::error::RestError;
use super::routes::{Reply, RestState};
use crate::log_files::{LogFile, MAX_BYTES, end_of, in_folder, is_stdout, stem_of_log};

/// Logs that are in memory at a time.
const MOST_LOGS: usize = 4;

/// The most memory that logs take, in bytes: as they come from a TaskManager, and as they are sent.
pub(super) const MOST_BYTES: usize = MOST_LOGS * 2 * MAX_BYTES as usize;

/// How long one waits for others to be sent.
const PATIENCE: Duration = Duration::from_secs(20);

/// How long one waits for a reader who takes nothing of it.
const SLOWEST: Duration = Duration::from_secs(30);

/// How much of it is handed on at once, in bytes.
const PIECE_BYTES: usize = 64 << 10;

/// The log of a JobManager.
const NAME: &str = "jobmanager.log";

/// Its logs, what it printed, and the same of a program's `main` that runs beside it.
fn is_ours(name: &str) -> bool {
    matches!(stem_of_log(name), Some("jobmanager" | "main"))
}

fn folder(rest: &RestState) -> Result<PathBuf, RestError> {
    rest.view.configuration().get_optional(&config::LOG_DIR).ok_or_else(|| {
        RestError::not_found("the JobManager logs to standard error: set env.log.dir to see its log here")
    })
}

/// Does what may block.
pub(super) async fn blocking<T: Send + 'static>(
    what: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, RestError> {
    let done = tokio::task::spawn_blocking(what).await.map_err(io::Error::other).and_then(|done| done);
    done.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => RestError::not_found(format!("there is no such file: {error}")),
        _ => RestError::internal(error.to_string()),
    })
}

/// Logs that are being read, or are on their way to whoever asked for them.
pub(super) struct LogsInMemory {
    room: Arc<Semaphore>,
    patience: Duration,
    slowest: Duration,
    sending: Mutex<JoinSet<()>>,
}

impl LogsInMemory {
    /// None yet.
    pub(super) fn new() -> Self {
        Self {
            room: Arc::new(Semaphore::new(MOST_LOGS)),
            patience: PATIENCE,
            slowest: SLOWEST,
            sending: Mutex::default(),
        }
    }

    /// Reads a log once there is room for it, as an answer.
    async fn text(
        &self,
        read: impl Future<Output = Result<Vec<u8>, RestError>>,
    ) -> Result<Response, RestError> {
        let room = tokio::time::timeout(self.patience, Arc::clone(&self.room).acquire_owned()).await;
        let Ok(Ok(room)) = room else {
            return Err(RestError::unavailable(format!("{MOST_LOGS} logs are being read; try again later")));
        };
        let (bytes, slowest) = (read.await?, self.slowest);
        let headers = [
            (header::CONTENT_TYPE, "text/plain; charset=utf-8".to_owned()),
            // Who is given less than that knows that it was not all.
            (header::CONTENT_LENGTH, bytes.len().to_string()),
        ];
        let (pieces, body) = mpsc::channel(1);
        let mut sending = self.sending.lock().unwrap_or_else(PoisonError::into_inner);
        while sending.try_join_next().is_some() {}
        sending.spawn(async move {
            let _room = room;
            for piece in bytes.chunks(PIECE_BYTES) {
                let taken = pieces.send(Ok::<_, io::Error>(Bytes::copy_from_slice(piece)));
                if !matches!(tokio::time::timeout(slowest, taken).await, Ok(Ok(()))) {
                    return;
                }
            }
        });
        Ok((headers, Body::from_stream(ReceiverStream::new(body))).into_response())
    }
}

/// A list as an answer.
pub(super) fn listed(files: &[LogFile]) -> Reply {
    let files = files
        .iter()
        .map(|file| json!({ "name": file.name, "size": file.bytes, "mtime": file.modified_millis }));
    Ok(Json(json!({ "logs": files.collect::<Vec<_>>() })))
}

/// `/jobmanager/logs`
pub(super) async fn list(State(rest): State<Arc<RestState>>) -> Reply {
    let folder = folder(&rest)?;
    listed(&blocking(move || in_folder(&folder, is_ours)).await?)
}

/// `/jobmanager/logs/NAME`
pub(super) async fn named(
    State(rest): State<Arc<RestState>>,
    Path(name): Path<String>,
) -> Result<Response, RestError> {
    let folder = folder(&rest)?;
    if !is_ours(&name) {
        return Err(RestError::not_found(format!("the JobManager has no log '{name}'")));
    }
    rest.logs.text(blocking(move || end_of(&folder.join(name), MAX_BYTES))).await
}

/// `/jobmanager/log`
pub(super) async fn main(rest: State<Arc<RestState>>) -> Result<Response, RestError> {
    named(rest, Path(NAME.to_owned())).await
}

/// `/jobmanager/stdout`
pub(super) async fn stdout(rest: State<Arc<RestState>>) -> Result<Response, RestError> {
    let logs = folder(&rest)?;
    let files = blocking(move || in_folder(&logs, |name| is_ours(name) && is_stdout(name))).await?;
    // Where there is a `main`, what that prints.
    let file = files.into_iter().next_back();
    let file = file.ok_or_else(|| {
        RestError::not_found(
            "there is no file with what the JobManager prints: on YARN it is jobmanager.stdout",
        )
    })?;
    named(rest, Path(file.name)).await
}

/// `/taskmanagers/ID/logs`
pub(super) async fn of_task_manager(State(rest): State<Arc<RestState>>, Path(id): Path<String>) -> Reply {
    let member = rest.task_manager(&id)?;
    listed(&rest.view.logs_of(member.id).await.map_err(RestError::not_found)?)
}

/// `/taskmanagers/ID/logs/NAME`
pub(super) async fn named_of_task_manager(
    State(rest): State<Arc<RestState>>,
    Path((id, name)): Path<(String, String)>,
) -> Result<Response, RestError> {
    let member = rest.task_manager(&id)?;
    let read = async { rest.view.log_of(member.id, name).await.map_err(RestError::not_found) };
    rest.logs.text(read).await
}

/// `/taskmanagers/ID/log`
pub(super) async fn main_of_task_manager(
    State(rest): State<Arc<RestState>>,
    Path(id): Path<String>,
) -> Result<Response, RestError> {
    let none = "the TaskManager logs to standard error: set env.log.dir";
    own_of_task_manager(&rest, &id, |name| name.ends_with(".log"), none).await
}

/// `/taskmanagers/ID/stdout`
pub(super) async fn stdout_of_task_manager(
    State(rest): State<Arc<RestState>>,
    Path(id): Path<String>,
) -> Result<Response, RestError> {
    let none = "there is no file with what the TaskManager prints: on YARN it is taskmanager.stdout; what programs print stands in job-ID.out";
    own_of_task_manager(&rest, &id, is_stdout, none).await
}

/// The file of the TaskManager itself that is wanted.
async fn own_of_task_manager(
    rest: &RestState,
    id: &str,
    wanted: fn(&str) -> bool,
    none: &str,
) -> Result<Response, RestError> {
    let member = rest.task_manager(id)?;
    let files = rest.view.logs_of(member.id).await.map_err(RestError::not_found)?;
    let own = files.into_iter().find(|file| file.name.starts_with("taskmanager") && wanted(&file.name));
    let own = own.ok_or_else(|| RestError::not_found(none))?;
    let read = async { rest.view.log_of(member.id, own.name).await.map_err(RestError::not_found) };
    rest.logs.text(read).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_logs_are_shown_and_only_their_end() {
        for (name, ours) in [
            ("jobmanager.log", true),
            ("jobmanager.log.2", true),
            ("main.out", true),
            ("main.log.1", true),
            ("main.rs", false),
            ("jobmanager.out", true),
            ("jobmanager.err", true),
            ("jobmanager.stderr", true),
            ("jobmanager.pid", false),
            ("job-1.log", false),
            ("jobmanager.log/../secret", false),
            ("taskmanager-1.log", false),
            ("secret", false),
        ] {
            assert_eq!(is_ours(name), ours, "{name}");
        }
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join(NAME), "first\nsecond\nthird\n").unwrap();
        std::fs::write(folder.path().join("secret"), "x").unwrap();
        let files = in_folder(folder.path(), is_ours).unwrap();
        assert_eq!(
            files.iter().map(|file| (file.name.as_str(), file.bytes)).collect::<Vec<_>>(),
            [(NAME, 19)]
        );
    }

    #[tokio::test]
    async fn a_log_waits_until_others_are_sent() {
        let logs = LogsInMemory::new();
        let hasty =
            LogsInMemory { room: Arc::clone(&logs.room), patience: Duration::ZERO, ..LogsInMemory::new() };
        let length = 10 * PIECE_BYTES;
        let long = async || Ok(vec![b'x'; length]);
        let mut unsent = Vec::new();
        for _ in 0..MOST_LOGS {
            unsent.push(logs.text(long()).await.unwrap());
        }
        assert_eq!(hasty.text(long()).await.unwrap_err().into_response().status(), 503);
        let oldest = unsent.pop().unwrap().into_body();
        let send = async move { axum::body::to_bytes(oldest, length).await.unwrap().len() };
        let (waited, sent) = tokio::join!(logs.text(long()), send);
        assert_eq!((waited.unwrap().status().as_u16(), sent), (200, length));
    }

    #[tokio::test]
    async fn who_does_not_read_a_log_does_not_keep_it() {
        let logs = LogsInMemory { slowest: Duration::from_millis(1), ..LogsInMemory::new() };
        let long = async || Ok(vec![b'x'; 10 * PIECE_BYTES]);
        let mut unread = Vec::new();
        for _ in 0..2 * MOST_LOGS {
            unread.push(logs.text(long()).await.unwrap());
        }
        let part = axum::body::to_bytes(unread.remove(0).into_body(), usize::MAX).await.unwrap();
        assert!(part.len() < 10 * PIECE_BYTES);
    }
}
