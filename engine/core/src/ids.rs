//! Ids, epochs and attempts as types of their own: no bare integer or string crosses a crate.

use std::fmt;
use std::str::FromStr;

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
    /// One term of a leader; messages that carry an older one are refused.
    LeaderSessionId, "a leader session id";
}

impl OperatorId {
    /// The id of an operator with an explicit uid.
    pub fn from_uid(uid: &str) -> Self {
        Self::hashed(b"uid", uid.as_bytes())
    }

    /// The id of an operator without uid: `path` is its position in the logical plan.
    pub fn from_position(path: &str) -> Self {
        Self::hashed(b"position", path.as_bytes())
    }

    fn hashed(kind: &[u8], text: &[u8]) -> Self {
        let half = |salt: u8| {
            let mut bytes = Vec::with_capacity(kind.len() + text.len() + 2);
            bytes.push(salt);
            bytes.extend_from_slice(kind);
            bytes.push(0);
            bytes.extend_from_slice(text);
            crate::key::KeyHash::of(&bytes).bits().to_be_bytes()
        };
        let mut id = [0; 16];
        id[..8].copy_from_slice(&half(0));
        id[8..].copy_from_slice(&half(1));
        Self(id)
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

macro_rules! random_ids {
    ($($name:ident),*) => {$(
        impl $name {
            /// A random id, from the operating system's source of randomness.
            pub fn random() -> Self {
                let mut bytes = [0; 16];
                if getrandom::fill(&mut bytes).is_err() {
                    // A system without randomness is in its first moments; time and address differ all the same.
                    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                    let seed = now.as_nanos() ^ (&raw const bytes as usize as u128) << 64;
                    bytes = seed.to_be_bytes();
                }
                Self(bytes)
            }
        }
    )*};
}

random_ids!(JobId, TaskManagerId, LeaderSessionId);

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
        assert_ne!(OperatorId::from_uid("a"), OperatorId::from_position("a"));
        assert_eq!(OperatorId::from_uid("counts").to_string(), "42d15ad1c3f2774fafde708eeabe283a");
    }
}
