//! The states of jobs and executions, and which may follow which: one table each.

use std::fmt;

/// A state was to follow that cannot.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{of} cannot go from {from} to {to}")]
pub struct IllegalTransition {
    /// A job, or an execution.
    pub of: &'static str,
    /// The state it has.
    pub from: &'static str,
    /// The state that was to follow.
    pub to: &'static str,
}

/// Text that names no state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is no state of {of}")]
pub struct UnknownState {
    /// A job, or an execution.
    pub of: &'static str,
    /// The text.
    pub text: String,
}

macro_rules! states {
    ($(#[$doc:meta])* $name:ident of $of:literal {
        $($(#[$state_doc:meta])* $state:ident $text:literal => [$($next:ident),*];)*
    }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$state_doc])* $state),*
        }

        impl $name {
            /// Every state.
            pub const ALL: &'static [Self] = &[$(Self::$state),*];

            /// The states that may follow this one: the table of transitions.
            pub const fn successors(self) -> &'static [Self] {
                match self {
                    $(Self::$state => &[$(Self::$next),*]),*
                }
            }

            /// Whether `next` may follow.
            pub fn may_become(self, next: Self) -> bool {
                self.successors().contains(&next)
            }

            /// The state after this one, which is `next`.
            ///
            /// # Errors
            /// [`IllegalTransition`] if it may not follow.
            pub fn then(self, next: Self) -> Result<Self, IllegalTransition> {
                match self.may_become(next) {
                    true => Ok(next),
                    false => Err(IllegalTransition { of: $of, from: self.name(), to: next.name() }),
                }
            }

            /// Whether nothing follows.
            pub const fn is_terminal(self) -> bool {
                self.successors().is_empty()
            }

            /// The name, as plans, pages and the command show it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$state => $text),*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl std::str::FromStr for $name {
            type Err = UnknownState;

            fn from_str(text: &str) -> Result<Self, UnknownState> {
                let named = Self::ALL.iter().find(|state| state.name() == text).copied();
                named.ok_or_else(|| UnknownState { of: $of, text: text.to_owned() })
            }
        }
    };
}

states! {
    /// The state of a job.
    JobStatus of "a job" {
        /// Accepted; nothing runs.
        Created "CREATED" => [Running, Failing, Cancelling, Suspended];
        /// Its tasks run, or wait for slots.
        Running "RUNNING" => [Failing, Cancelling, Finished, Restarting, Suspended];
        /// Its tasks are being stopped because of an error that no restart follows.
        Failing "FAILING" => [Failed, Cancelling, Suspended];
        /// Over: an error.
        Failed "FAILED" => [];
        /// Its tasks are being stopped because somebody said so. Errors on the way do not matter any more.
        Cancelling "CANCELLING" => [Canceled, Suspended];
        /// Over: somebody said so.
        Canceled "CANCELED" => [];
        /// Over: all work is done and committed.
        Finished "FINISHED" => [];
        /// Some of its tasks are being stopped, or wait, to run again after an error; others may run on.
        Restarting "RESTARTING" => [Running, Failing, Cancelling, Suspended];
        /// Over here only: another leader goes on with it, from CREATED.
        Suspended "SUSPENDED" => [];
    }
}

impl JobStatus {
    /// Whether the job is over for good, for every leader.
    pub const fn is_globally_terminal(self) -> bool {
        matches!(self, Self::Failed | Self::Canceled | Self::Finished)
    }
}

states! {
    /// The state of one attempt to run a subtask.
    ExecutionState of "an execution" {
        /// Nothing has been done for it.
        Created "CREATED" => [Scheduled, Canceled, Failed];
        /// Waits for its slot, or for what it reads.
        Scheduled "SCHEDULED" => [Deploying, Canceled, Failed];
        /// On its way to the slot.
        Deploying "DEPLOYING" => [Initializing, Running, Canceling, Failed];
        /// Its operators are being opened and their state restored.
        Initializing "INITIALIZING" => [Running, Canceling, Failed];
        /// It takes records.
        Running "RUNNING" => [Drained, Finished, Canceling, Failed];
        /// Has ended and waits to commit, which it does when the whole job has ended.
        Drained "DRAINED" => [Finished, Canceling, Failed];
        /// Over, well.
        Finished "FINISHED" => [];
        /// Was told to stop.
        Canceling "CANCELING" => [Canceled, Failed];
        /// Over: it was told to stop.
        Canceled "CANCELED" => [];
        /// Over: an error.
        Failed "FAILED" => [];
    }
}

impl ExecutionState {
    /// Whether it has read all its input and given all its output.
    pub const fn has_ended(self) -> bool {
        matches!(self, Self::Drained | Self::Finished)
    }

    /// Whether a TaskManager may have something of it.
    pub const fn is_deployed(self) -> bool {
        matches!(self, Self::Deploying | Self::Initializing | Self::Running | Self::Drained | Self::Canceling)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// All pairs as a square: a row a state, an `x` where the state above may follow.
    fn square<T: Copy + fmt::Display>(all: &[T], may_become: impl Fn(T, T) -> bool) -> String {
        let row = |from: &T| {
            let cells: String =
                all.iter().map(|to| if may_become(*from, *to) { " x" } else { " ." }).collect();
            format!("{from:<12}{cells}")
        };
        all.iter().map(row).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn jobs_over_all_pairs() {
        insta::assert_snapshot!(square(JobStatus::ALL, JobStatus::may_become), @r"
        CREATED      . x x . x . . . x
        RUNNING      . . x . x . x x x
        FAILING      . . . x x . . . x
        FAILED       . . . . . . . . .
        CANCELLING   . . . . . x . . x
        CANCELED     . . . . . . . . .
        FINISHED     . . . . . . . . .
        RESTARTING   . x x . x . . . x
        SUSPENDED    . . . . . . . . .
        ");
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                assert_eq!(from.then(*to).is_ok(), from.may_become(*to));
                assert!(from != to || !from.may_become(*to), "{from} twice");
            }
            let is_over = from.is_globally_terminal() || *from == JobStatus::Suspended;
            assert_eq!(is_over, from.is_terminal(), "{from}");
            assert!(
                from.is_terminal() || from.may_become(JobStatus::Suspended),
                "a leader may go at any time"
            );
            assert_eq!(from.to_string().parse(), Ok(*from));
        }
    }

    #[test]
    fn executions_over_all_pairs() {
        use ExecutionState::*;
        insta::assert_snapshot!(square(ExecutionState::ALL, ExecutionState::may_become), @r"
        CREATED      . x . . . . . . x x
        SCHEDULED    . . x . . . . . x x
        DEPLOYING    . . . x x . . x . x
        INITIALIZING . . . . x . . x . x
        RUNNING      . . . . . x x x . x
        DRAINED      . . . . . . x x . x
        FINISHED     . . . . . . . . . .
        CANCELING    . . . . . . . . x x
        CANCELED     . . . . . . . . . .
        FAILED       . . . . . . . . . .
        ");
        for from in ExecutionState::ALL {
            assert_eq!(from.may_become(Failed), !from.is_terminal(), "all that is not over can fail: {from}");
            // What a TaskManager may have is told to stop; what it cannot have just is not started.
            let can_be_canceled = from.is_deployed() && *from != Canceling;
            assert_eq!(from.may_become(Canceling), can_be_canceled, "{from}");
            assert_eq!(from.may_become(Canceled), matches!(from, Created | Scheduled | Canceling), "{from}");
            assert_eq!(from.to_string().parse(), Ok(*from));
        }
    }

    #[test]
    fn errors_name_both_states() {
        let error = JobStatus::Finished.then(JobStatus::Running).unwrap_err();
        assert_eq!(error.to_string(), "a job cannot go from FINISHED to RUNNING");
        let error = "LOST".parse::<ExecutionState>().unwrap_err();
        assert_eq!(error.to_string(), "'LOST' is no state of an execution");
    }
}
