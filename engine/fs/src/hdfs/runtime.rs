//! The threads on which HDFS's client works, and the wait for it with a deadline.
//!
//! The client is asynchronous; the calls of a [`FileSystem`](crate::FileSystem) block. All its work runs on a small runtime of its
//! own, which starts with the first use. A panic inside the client is an error of the call it happened in.

use std::any::Any;
use std::future::{Future, poll_fn};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::task::AbortHandle;

use super::failure::Failure;

/// Two: a login by Kerberos blocks the thread it is on.
const THREADS: usize = 2;

/// How much longer than the work's own deadline the caller waits, should the runtime itself be stuck.
const MARGIN: Duration = Duration::from_secs(2);

/// The runtime, which lives as long as the process.
pub(super) fn handle() -> io::Result<Handle> {
    static RUNTIME: OnceLock<Runtime> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    if let Some(runtime) = RUNTIME.get() {
        return Ok(runtime.handle().clone());
    }
    let _starting = STARTING.lock().unwrap_or_else(PoisonError::into_inner);
    if RUNTIME.get().is_none() {
        let runtime =
            Builder::new_multi_thread().worker_threads(THREADS).thread_name("hdfs").enable_all().build()?;
        // Nobody else sets it meanwhile.
        let _ = RUNTIME.set(runtime);
    }
    RUNTIME.get().map(|runtime| runtime.handle().clone()).ok_or_else(|| io::ErrorKind::Other.into())
}

/// Work that goes on while its owner does something else; it ends when this is dropped.
pub(super) struct Working<T> {
    result: Receiver<Result<T, Failure>>,
    task: AbortHandle,
    limit: Duration,
}

/// Starts work that may take as long as `limit`.
pub(super) fn start<T, F>(limit: Duration, work: F) -> Result<Working<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    let (sender, result) = sync_channel(1);
    let bounded = async move {
        let done = tokio::time::timeout(limit, catch(work)).await;
        // Nobody may be waiting any more.
        let _ = sender.try_send(done.unwrap_or(Err(Failure::Late(limit))));
    };
    let runtime = handle().map_err(|error| Failure::Hdfs(error.into()))?;
    let task = runtime.spawn(bounded).abort_handle();
    Ok(Working { result, task, limit })
}

/// Does work and waits for it, but no longer than `limit`.
pub(super) fn wait<T, F>(limit: Duration, work: F) -> Result<T, Failure>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Failure>> + Send + 'static,
{
    start(limit, work)?.wait()
}

impl<T> Working<T> {
    /// Waits until it is done.
    pub(super) fn wait(self) -> Result<T, Failure> {
        match self.result.recv_timeout(self.limit + MARGIN) {
            Ok(result) => result,
            Err(RecvTimeoutError::Timeout) => Err(Failure::Late(self.limit)),
            Err(RecvTimeoutError::Disconnected) => Err(Failure::Panicked("the work was given up".to_owned())),
        }
    }
}

impl<T> Drop for Working<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Makes a panic an error.
async fn catch<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let mut work = pin!(work);
    poll_fn(|context| {
        // After a panic the work is never looked at again, only dropped.
        catch_unwind(AssertUnwindSafe(|| work.as_mut().poll(context)))
            .unwrap_or_else(|panic| Poll::Ready(Err(Failure::Panicked(message_of(&*panic)))))
    })
    .await
}

fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("a panic").to_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_is_waited_for_but_not_for_ever() {
        assert_eq!(wait(Duration::from_secs(30), async { Ok(1) }).unwrap(), 1);
        let begun = Instant::now();
        let late = wait::<(), _>(Duration::from_millis(50), std::future::pending());
        assert!(matches!(late, Err(Failure::Late(_))) && begun.elapsed() < Duration::from_secs(30));
    }

    #[test]
    fn a_panic_is_an_error_of_its_call() {
        let panicked = wait::<(), _>(Duration::from_secs(30), async { panic!("no {}", "bytes") });
        assert!(matches!(panicked, Err(Failure::Panicked(why)) if why == "no bytes"));
        assert_eq!(wait(Duration::from_secs(30), async { Ok(2) }).unwrap(), 2);
    }

    #[test]
    fn work_that_is_dropped_ends() {
        let (sender, ended) = sync_channel::<()>(1);
        let working = start::<(), _>(Duration::from_secs(60), async move {
            let _sender = sender;
            std::future::pending().await
        });
        drop(working);
        assert_eq!(ended.recv_timeout(Duration::from_secs(30)), Err(RecvTimeoutError::Disconnected));
    }
}
