//! What a JobMaster takes from the process around it: the time, and threads that may block. A simulation has its own.

use std::sync::mpsc::sync_channel;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

/// Work that blocks.
pub type Work = Box<dyn FnOnce() + Send>;

/// The process around a JobMaster.
pub trait Environment: Send + Sync {
    /// What time it is.
    fn now(&self) -> Instant;

    /// Has work done elsewhere.
    fn run(&self, work: Work);

    /// Has work done elsewhere, and waits for it for so long.
    fn run_to_end(&self, work: Work, deadline: Duration);
}

impl Environment for Handle {
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn run(&self, work: Work) {
        drop(self.spawn_blocking(work));
    }

    fn run_to_end(&self, work: Work, deadline: Duration) {
        let (done, waiting) = sync_channel(1);
        self.run(Box::new(move || {
            work();
            let _ = done.send(());
        }));
        let _ = waiting.recv_timeout(deadline);
    }
}
