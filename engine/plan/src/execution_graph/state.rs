//! The states of jobs and executions, and which may follow which.

use std::fmt;

macro_rules! states {
    ($(#[$doc:meta])* $name:ident { $($(#[$state_doc:meta])* $state:ident $text:literal => [$($next:ident),*];)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $($(#[$state_doc])* $state),*
        }

        impl $name {
            /// Every state.
            pub const ALL: &'static [Self] = &[$(Self::$state),*];

            /// The states that may follow this one: the table of transitions.
            pub fn successors(self) -> &'static [Self] {
                match self {
                    $(Self::$state => &[$(Self::$next),*]),*
                }
            }

            /// Whether `next` may follow.
            pub fn may_become(self, next: Self) -> bool {
                self.successors().contains(&next)
            }

            /// Whether nothing follows.
            pub fn is_terminal(self) -> bool {
                self.successors().is_empty()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self {
                    $(Self::$state => $text),*
                })
            }
        }

        impl std::str::FromStr for $name {
            type Err = String;

            fn from_str(text: &str) -> Result<Self, String> {
                match text {
                    $($text => Ok(Self::$state),)*
                    other => Err(format!("no state is called '{other}'")),
                }
            }
        }
    };
}

states! {
    /// The state of a job.
    JobStatus {
        /// Accepted; nothing runs.
        Created "CREATED" => [Running, Failing, Cancelling, Suspended];
        /// Its tasks run, or wait for slots.
        Running "RUNNING" => [Failing, Cancelling, Finished, Restarting, Suspended];
        /// Its tasks are being stopped because of an error that no restart follows.
        Failing "FAILING" => [Failed, Cancelling, Suspended];
        /// Over: an error.
        Failed "FAILED" => [];
        /// Its tasks are being stopped because somebody said so.
        Cancelling "CANCELLING" => [Canceled, Failing, Suspended];
        /// Over: somebody said so.
        Canceled "CANCELED" => [];
        /// Over: all work is done.
        Finished "FINISHED" => [];
        /// Waits, to run again after an error.
        Restarting "RESTARTING" => [Running, Failing, Cancelling, Suspended];
        /// Given up here, for another leader to go on with.
        Suspended "SUSPENDED" => [Restarting];
    }
}

states! {
    /// The state of one attempt to run a subtask.
    ExecutionState {
        /// Nothing has been done for it.
        Created "CREATED" => [Scheduled, Canceled, Failed];
        /// Waits for its slot.
        Scheduled "SCHEDULED" => [Deploying, Canceled, Failed];
        /// On its way to the slot.
        Deploying "DEPLOYING" => [Running, Canceling, Canceled, Failed, Finished];
        /// Its operators are open.
        Running "RUNNING" => [Drained, Finished, Canceling, Canceled, Failed];
        /// Has ended and waits to commit with the whole job.
        Drained "DRAINED" => [Finished, Canceling, Canceled, Failed];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_hold_over_all_pairs() {
        use JobStatus::*;
        for from in JobStatus::ALL {
            for to in JobStatus::ALL {
                let legal = match (from, to) {
                    (Failed | Canceled | Finished, _) => false,
                    (Suspended, to) => *to == Restarting,
                    (_, Suspended) => true,
                    (from, Cancelling) => *from != Cancelling,
                    (from, Failing) => *from != Failing,
                    (Created | Restarting, Running) => true,
                    (Running, Finished | Restarting) => true,
                    (Failing, Failed) | (Cancelling, Canceled) => true,
                    _ => false,
                };
                assert_eq!(from.may_become(*to), legal, "{from} → {to}");
            }
            assert_eq!(from.to_string().parse(), Ok(*from));
        }
        for from in ExecutionState::ALL {
            for to in ExecutionState::ALL {
                assert!(!(from.is_terminal() && from.may_become(*to)), "{from} → {to}");
                assert!(from != to || !from.may_become(*to), "{from} → {to}");
            }
            let can_fail = from.may_become(ExecutionState::Failed);
            assert_eq!(can_fail, !from.is_terminal(), "everything that runs can fail: {from}");
        }
    }
}
