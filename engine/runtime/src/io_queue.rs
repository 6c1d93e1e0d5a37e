//! Blocking work of an operator, away from its slot: jobs that are done one after the other, in the order they were submitted.
//!
//! What the jobs work on (an open file, say) belongs to the queue and is lent to each. No thread waits while there is nothing to do. Once
//! a job has failed, the later ones are not begun.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Fault, OperatorError};
use crate::operator::OperatorInfo;
use crate::slot::TaskWaker;

/// Jobs that may wait; an operator that finds so many takes no more records.
const MOST_WAITING: usize = 8;

type Work<S> = Box<dyn FnOnce(&mut S) -> Result<(), OperatorError> + Send>;

struct Job<S> {
    work: Work<S>,
    /// It is done even if the operator closes first.
    lasting: bool,
}

/// Names a job of a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Ticket(u64);

/// A queue of jobs that work on an `S`. The task is woken after each.
///
/// ```
/// use flott_runtime::harness::HarnessConfig;
/// use flott_runtime::io_queue::IoQueue;
///
/// let info = HarnessConfig::default().info(false);
/// let mut queue = IoQueue::new(Vec::new(), &info);
/// queue.submit(|numbers| Ok(numbers.push(1)));
/// let last = queue.submit(|numbers| Ok(assert_eq!(*numbers, [1])));
/// while !queue.is_done(last)? {
///     std::thread::yield_now();
/// }
/// # Ok::<(), flott_runtime::error::OperatorError>(())
/// ```
pub struct IoQueue<S> {
    shared: Arc<Shared<S>>,
    io: tokio::runtime::Handle,
    waker: TaskWaker,
    submitted: u64,
}

struct Shared<S> {
    queue: Mutex<Queue<S>>,
}

struct Queue<S> {
    jobs: VecDeque<Job<S>>,
    /// None while a thread works on it.
    lent: Option<S>,
    done: u64,
    failure: Option<(Fault, String)>,
}

impl<S> Shared<S> {
    fn queue(&self) -> MutexGuard<'_, Queue<S>> {
        // Nothing in here can panic halfway.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Holds what the jobs work on while a thread does, and gives it back however that ends.
struct Loan<S> {
    shared: Arc<Shared<S>>,
    waker: TaskWaker,
    lent: Option<S>,
}

impl<S> Loan<S> {
    fn work(mut self) {
        while let Some(lent) = &mut self.lent {
            let job = {
                let mut queue = self.shared.queue();
                let Some(job) = queue.jobs.pop_front() else {
                    queue.lent = self.lent.take();
                    drop(queue);
                    self.waker.wake();
                    return;
                };
                job
            };
            let outcome = (job.work)(lent);
            let mut queue = self.shared.queue();
            queue.done += 1;
            if let Err(error) = outcome {
                queue.fail(error.fault(), error.to_string());
            }
            drop(queue);
            self.waker.wake();
        }
    }
}

impl<S> Drop for Loan<S> {
    fn drop(&mut self) {
        // What was given back may be on loan again.
        let Some(lent) = self.lent.take() else { return };
        // The thread was never started, or a job has panicked.
        let mut queue = self.shared.queue();
        queue.lent = Some(lent);
        queue.fail(Fault::Environment, "blocking work of the operator was broken off".to_owned());
        drop(queue);
        self.waker.wake();
    }
}

impl<S> Queue<S> {
    fn fail(&mut self, fault: Fault, message: String) {
        self.jobs.clear();
        self.failure.get_or_insert((fault, message));
    }
}

impl<S: Send + 'static> IoQueue<S> {
    /// A queue without jobs, for the operator that `info` is of.
    pub fn new(lent: S, info: &OperatorInfo) -> Self {
        let queue = Queue { jobs: VecDeque::new(), lent: Some(lent), done: 0, failure: None };
        let shared = Shared { queue: Mutex::new(queue) };
        Self { shared: Arc::new(shared), io: info.io.clone(), waker: info.waker.clone(), submitted: 0 }
    }

    /// Adds a job; it is not done if the operator closes before its turn has come.
    pub fn submit(
        &mut self,
        work: impl FnOnce(&mut S) -> Result<(), OperatorError> + Send + 'static,
    ) -> Ticket {
        self.add(Job { work: Box::new(work), lasting: false })
    }

    /// Adds a job that is done even if the operator closes first: a commit.
    pub fn submit_lasting(
        &mut self,
        work: impl FnOnce(&mut S) -> Result<(), OperatorError> + Send + 'static,
    ) -> Ticket {
        self.add(Job { work: Box::new(work), lasting: true })
    }

    fn add(&mut self, job: Job<S>) -> Ticket {
        self.submitted += 1;
        let mut queue = self.shared.queue();
        if queue.failure.is_none() {
            queue.jobs.push_back(job);
            if let Some(lent) = queue.lent.take() {
                let (shared, waker) = (Arc::clone(&self.shared), self.waker.clone());
                let loan = Loan { shared, waker, lent: Some(lent) };
                drop(queue);
                self.io.spawn_blocking(move || loan.work());
            }
        }
        Ticket(self.submitted)
    }

    /// Whether a job and all before it are done. If not, the task is woken when that may have changed.
    ///
    /// # Errors
    /// What went wrong in any job.
    pub fn is_done(&self, ticket: Ticket) -> Result<bool, OperatorError> {
        let queue = self.shared.queue();
        match &queue.failure {
            Some((fault, message)) => Err(OperatorError::new(*fault, message.clone())),
            None => Ok(queue.done >= ticket.0),
        }
    }

    /// The last job that was submitted.
    pub fn last(&self) -> Ticket {
        Ticket(self.submitted)
    }

    /// Whether more should be submitted now; also if a job has failed, so that the operator comes to see it.
    pub fn has_room(&self) -> bool {
        let queue = self.shared.queue();
        queue.jobs.len() < MOST_WAITING || queue.failure.is_some()
    }

    /// The operator closes: what has not been begun is dropped, but for what is lasting.
    pub fn close(&mut self) {
        self.shared.queue().jobs.retain(|job| job.lasting);
    }

    /// Whether no thread works on it, so that another attempt may touch what the jobs work on. If not, the task is woken when that
    /// may have changed.
    pub fn rests(&self) -> bool {
        self.shared.queue().lent.is_some()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::sync_channel;

    use super::*;
    use crate::harness::HarnessConfig;

    fn until_it_rests<S: Send + 'static>(queue: &IoQueue<S>) {
        while !queue.rests() {
            std::thread::yield_now();
        }
    }

    fn until_done<S: Send + 'static>(queue: &IoQueue<S>, ticket: Ticket) -> Result<(), OperatorError> {
        while !queue.is_done(ticket)? {
            std::thread::yield_now();
        }
        Ok(())
    }

    #[test]
    fn jobs_are_done_in_order_and_none_after_one_that_failed() {
        let mut queue = IoQueue::new(Vec::new(), &HarnessConfig::default().info(false));
        for n in 0..100 {
            queue.submit(move |numbers| {
                numbers.push(n);
                Ok(())
            });
        }
        let (sender, receiver) = sync_channel(1);
        let last = queue.submit(move |numbers| sender.send(numbers.clone()).map_err(OperatorError::defect));
        until_done(&queue, last).unwrap();
        assert!(receiver.recv().unwrap().into_iter().eq(0..100));
        queue.submit(|_| Err(OperatorError::new(Fault::Environment, "no room")));
        let (sender, receiver) = sync_channel::<()>(1);
        let never = queue.submit(move |_| sender.send(()).map_err(OperatorError::defect));
        assert_eq!(until_done(&queue, never).unwrap_err().to_string(), "no room");
        assert!(receiver.recv().is_err());
        until_it_rests(&queue);
    }

    #[test]
    fn it_is_full_while_a_job_takes_long_and_rests_when_all_are_done() {
        let mut queue = IoQueue::new((), &HarnessConfig::default().info(false));
        let (go, gone) = sync_channel::<()>(1);
        queue.submit(move |()| gone.recv().map_err(OperatorError::defect));
        while queue.has_room() {
            queue.submit(|()| Ok(()));
        }
        assert!(!queue.is_done(queue.last()).unwrap());
        assert!(!queue.rests());
        go.send(()).unwrap();
        until_it_rests(&queue);
        assert!(queue.is_done(queue.last()).unwrap() && queue.has_room());
    }

    #[test]
    fn what_is_lasting_is_done_although_it_closes() {
        let mut queue = IoQueue::new(Vec::new(), &HarnessConfig::default().info(false));
        let (go, gone) = sync_channel::<()>(1);
        let (seen, saw) = sync_channel(1);
        let (begin, begun) = sync_channel::<()>(1);
        queue.submit(move |_| {
            begin.send(()).map_err(OperatorError::defect)?;
            gone.recv().map_err(OperatorError::defect)
        });
        // A job that was not begun would be dropped.
        begun.recv().unwrap();
        for n in 0..4 {
            let work = move |numbers: &mut Vec<u32>| {
                numbers.push(n);
                Ok(())
            };
            if n % 2 == 0 {
                queue.submit(work)
            } else {
                queue.submit_lasting(work)
            };
        }
        queue.submit_lasting(move |numbers| seen.send(numbers.clone()).map_err(OperatorError::defect));
        queue.close();
        go.send(()).unwrap();
        until_it_rests(&queue);
        assert_eq!(saw.recv().unwrap(), [1, 3]);
    }

    #[test]
    fn a_queue_that_rests_between_jobs_goes_on() {
        let mut queue = IoQueue::new(0_u64, &HarnessConfig::default().info(false));
        for n in 0..20_000 {
            let ticket = queue.submit(move |count| {
                *count += 1;
                if *count == n + 1 { Ok(()) } else { Err(OperatorError::new(Fault::Flott, "out of turn")) }
            });
            // Now and then the thread that worked is just about to rest.
            if n % 3 == 0 {
                until_done(&queue, ticket).unwrap();
            }
        }
        until_done(&queue, queue.last()).unwrap();
    }

    #[test]
    fn a_job_that_panics_is_an_error() {
        let mut queue = IoQueue::new((), &HarnessConfig::default().info(false));
        let ticket = queue.submit(|()| panic!("a defect"));
        assert!(until_done(&queue, ticket).unwrap_err().to_string().contains("broken off"));
        until_it_rests(&queue);
    }
}
