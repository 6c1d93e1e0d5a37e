//! The small words of a plan: which operator, which of its alternatives, which output, how records are spread.

use std::fmt;

use flott_core::ids::OperatorId;

/// A value and the name under which plans show it.
macro_rules! named {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $text:literal),* $(,)? })*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum $name {
            $($(#[$variant_doc])* $variant),*
        }

        impl $name {
            /// All there are.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The name, as plans show it.
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$variant => $text),*
                }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }
    )*};
}

named! {
    /// One physical alternative of a logical operator. A program registers all that its operators have; the plan alone says
    /// which of them run. Alternatives of one operator may differ in the types that go in and out, as said here.
    Variant {
        /// The operator itself, of which there is but one way: every DataStream operator, and the DataSet operators that
        /// need no strategy. Of a source: its readers, which take splits.
        Default = "default",
        /// Finds the splits of a source and hands them to its readers. Nothing goes in, splits go out.
        Enumerator = "enumerator",
        /// Before the exchange: brings the records of a key down to partial results, as far as memory allows; a key may come
        /// out more than once. Records go in, partial results go out.
        Combine = "combine",
        /// Aggregates in a hash table, spilling what does not fit. Records go in, results go out.
        HashAggregate = "hash aggregate",
        /// Sorts by key, then aggregates neighbours. Records go in, results go out.
        SortAggregate = "sort aggregate",
        /// [`HashAggregate`](Self::HashAggregate) behind a [`Combine`](Self::Combine): partial results go in.
        FinalHashAggregate = "final hash aggregate",
        /// [`SortAggregate`](Self::SortAggregate) behind a [`Combine`](Self::Combine): partial results go in.
        FinalSortAggregate = "final sort aggregate",
        /// A hybrid hash join that reads input 0 to its end into the table, then probes with input 1.
        BuildLeft = "hash join, build left",
        /// A hybrid hash join that reads input 1 to its end into the table, then probes with input 0.
        BuildRight = "hash join, build right",
    }

    /// How the records of an edge are spread over the consumer's subtasks.
    Partitioning {
        /// Subtask i to subtask i; both vertices have the same parallelism.
        Forward = "FORWARD",
        /// In turn, over all.
        Rebalance = "REBALANCE",
        /// In turn, over those that share the smaller vertex's subtask: see
        /// [`JobGraph::consumers`](super::JobGraph::consumers).
        Rescale = "RESCALE",
        /// At random, over all.
        Shuffle = "SHUFFLE",
        /// To each.
        Broadcast = "BROADCAST",
        /// By the key group of the record's key.
        Hash = "HASH",
        /// By the user's function.
        Custom = "CUSTOM",
        /// To whichever has room: splits, from an enumerator to its readers. A channel holds a single split.
        Demand = "DEMAND",
    }

    /// Whether the consumer of an edge runs while the producer does.
    ExchangeMode {
        /// Both run together.
        Pipelined = "pipelined",
        /// The consumer starts when the producer has finished; what is produced outlives the producer.
        Blocking = "blocking",
    }

    /// How a job runs.
    ExecutionMode {
        /// As a stream, with checkpoints.
        Streaming = "STREAMING",
        /// As a batch: final results only, no checkpoints.
        Batch = "BATCH",
    }

    /// What a vertex's subtasks are.
    VertexRole {
        /// Ordinary subtasks.
        Subtasks = "subtasks",
        /// The one enumerator of a source: user code that coordinates readers.
        Enumerator = "enumerator",
    }
}

/// Names an operator of a program, and which of its alternatives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OperatorKey {
    /// The logical operator.
    pub id: OperatorId,
    /// The alternative.
    pub variant: Variant,
}

impl OperatorKey {
    /// The operator itself.
    pub const fn new(id: OperatorId) -> Self {
        Self { id, variant: Variant::Default }
    }

    /// An alternative of it.
    pub const fn variant(id: OperatorId, variant: Variant) -> Self {
        Self { id, variant }
    }
}

impl fmt::Display for OperatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.variant {
            Variant::Default => self.id.fmt(f),
            variant => write!(f, "{} ({variant})", self.id),
        }
    }
}

/// Which of an operator's outputs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OutputPort {
    /// The main output.
    Main,
    /// A side output, by its tag.
    Side(String),
}

/// Names a logical edge, by which a program finds its types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EdgeKey {
    /// The producer.
    pub source: OperatorKey,
    /// Which of its outputs.
    pub output: OutputPort,
    /// The consumer.
    pub target: OperatorKey,
    /// Which of its inputs, from 0.
    pub input: u32,
}

/// A place in the user's code.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Origin {
    /// The file.
    pub file: String,
    /// The line, from 1; 0 if it is not known.
    pub line: u32,
}

impl Origin {
    /// Who called the function that is marked `#[track_caller]`.
    #[track_caller]
    pub fn caller() -> Self {
        let at = std::panic::Location::caller();
        Self { file: at.file().to_owned(), line: at.line() }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.file, self.line)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_the_place_of_the_call() {
        let (line, origin) = (line!(), Origin::caller());
        assert_eq!(origin, Origin { file: file!().into(), line });
    }

    #[test]
    fn a_key_shows_its_variant_unless_it_is_the_only_one() {
        let id = OperatorId::from_bytes([1; 16]);
        assert_eq!(OperatorKey::new(id).to_string(), "01".repeat(16));
        let combine = OperatorKey::variant(id, Variant::Combine).to_string();
        assert_eq!(combine, format!("{} (combine)", "01".repeat(16)));
    }
}
