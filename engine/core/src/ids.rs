//! Ids, epochs and attempts as types of their own: no bare integer or string crosses a crate.

use std::fmt;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::key::KeyHash;

/// Text that is not an id of the kind it should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("'{text}' is not {what}: 32 hexadecimal digits are expected")]
pub struct ParseIdError {
    text: String,
    what: &'static str,
}

macro_rules! wide_id {
    ($($(#[$doc:meta])* $name:ident, $what:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name([u8; 16]);

        impl $name {
            /// The id with these bytes.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// The id's bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                let error = || ParseIdError { text: text.to_owned(), what: $what };
                if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                    return Err(error());
                }
                u128::from_str_radix(text, 16).map(|number| Self(number.to_be_bytes())).map_err(|_| error())
            }
        }
    )*};
}

wide_id! {
    /// A job.
    JobId, "a job id";
    /// A logical operator, the same however the plan is chained or how parallel it runs.
    OperatorId, "an operator id";
    /// A TaskManager, from its registration to its end.
    TaskManagerId, "a TaskManager id";
    /// A worker: a job's process in a TaskManager, from its start to its end.
    WorkerId, "a worker id";
    /// One term of a leader; messages that carry an older one are refused.
    LeaderSessionId, "a leader session id";
}

/// An id that is a hash of `kind` and `text`. Frozen: checkpoints hold such ids.
fn derived(kind: &str, text: &[u8]) -> [u8; 16] {
    let half = |salt: u8| {
        let bytes = [&[salt], kind.as_bytes(), &[0], text].concat();
        KeyHash::of(&bytes).bits()
    };
    (u128::from(half(0)) << 64 | u128::from(half(1))).to_be_bytes()
}

impl OperatorId {
    /// The id of an operator with an explicit uid.
    pub fn from_uid(uid: &str) -> Self {
        Self(derived("uid", uid.as_bytes()))
    }

    /// The id of an operator without uid: `path` is its position in the logical plan.
    pub fn from_position(path: &str) -> Self {
        Self(derived("position", path.as_bytes()))
    }
}

impl JobId {
    /// The id of an application's `n`-th job, from 0: the same again when its driver was restarted, so that a job that
    /// has finished does not run twice.
    pub fn derived(application: &str, n: u64) -> Self {
        Self(derived("job", &[&n.to_be_bytes(), application.as_bytes()].concat()))
    }
}

macro_rules! number_id {
    ($($(#[$doc:meta])* $name:ident($inner:ty);)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
        pub struct $name(pub $inner);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    )*};
}

number_id! {
    /// A vertex of a JobGraph: its position in topological order.
    VertexId(u32);
    /// An edge of a JobGraph: its position in the list of edges.
    EdgeId(u32);
    /// A checkpoint; grows by one from a durable counter.
    CheckpointId(u64);
    /// The n-th attempt to run a subtask, from 0.
    Attempt(u32);
}

/// One of the parallel instances of a vertex.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SubtaskId {
    /// The vertex.
    pub vertex: VertexId,
    /// 0 up to the vertex's parallelism, exclusive.
    pub index: u32,
}

impl fmt::Display for SubtaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.vertex, self.index)
    }
}

/// One attempt to run a subtask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ExecutionId {
    /// The subtask.
    pub subtask: SubtaskId,
    /// Which attempt, from 0.
    pub attempt: Attempt,
}

impl fmt::Display for ExecutionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (attempt {})", self.subtask, self.attempt)
    }
}

/// A place in a TaskManager for one subtask of each of a job's slot-sharing groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SlotId {
    /// The TaskManager.
    pub task_manager: TaskManagerId,
    /// 0 up to the TaskManager's number of slots, exclusive.
    pub index: u32,
}

impl fmt::Display for SlotId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.task_manager, self.index)
    }
}

/// 16 bytes that nobody else gets: from the operating system, or, where that has no randomness to give, from the clock,
/// the process and a counter.
fn random_bytes() -> [u8; 16] {
    static COUNTER: AtomicU64 = AtomicU64::new(0);
    let mut bytes = [0; 16];
    if getrandom::fill(&mut bytes).is_err() {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
        let count = COUNTER.fetch_add(1, Ordering::Relaxed);
        return derived("random", format!("{now} {} {count}", std::process::id()).as_bytes());
    }
    bytes
}

macro_rules! random_ids {
    ($($name:ident),*) => {$(
        impl $name {
            /// An id that no other is equal to. It is no secret.
            pub fn random() -> Self {
                Self(random_bytes())
            }
        }
    )*};
}

random_ids!(JobId, TaskManagerId, WorkerId, LeaderSessionId);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_read_as_they_are_written() {
        let id = JobId::random();
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_ne!(id, JobId::random());
        assert_eq!(
            "abc".parse::<JobId>().unwrap_err().to_string(),
            "'abc' is not a job id: 32 hexadecimal digits are expected"
        );
        for text in [
            "",
            "+1234567890123456789012345678901",
            "0123456789abcdef0123456789abcdeg",
            "é123456789abcdef0123456789abcde",
        ] {
            assert!(text.parse::<JobId>().is_err(), "{text}");
        }
    }

    #[test]
    fn derived_ids_are_frozen() {
        assert_ne!(OperatorId::from_uid("a"), OperatorId::from_position("a"));
        assert_eq!(OperatorId::from_uid("counts").to_string(), "42d15ad1c3f2774fafde708eeabe283a");
        assert_eq!(JobId::derived("application_1_0001", 0), JobId::derived("application_1_0001", 0));
        assert_ne!(JobId::derived("application_1_0001", 0), JobId::derived("application_1_0001", 1));
        assert_eq!(JobId::derived("application_1_0001", 2).to_string(), "bb07ece8ed843c07eb2e91e4b96df43a");
    }

    #[test]
    fn compound_ids_say_what_they_are_part_of() {
        let subtask = SubtaskId { vertex: VertexId(3), index: 1 };
        assert_eq!(ExecutionId { subtask, attempt: Attempt(2) }.to_string(), "3/1 (attempt 2)");
        let slot = SlotId { task_manager: TaskManagerId::from_bytes([0xAB; 16]), index: 4 };
        assert_eq!(slot.to_string(), "abababababababababababababababab/4");
    }
}
