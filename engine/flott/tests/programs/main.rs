//! Programs on the embedded cluster, against oracles: also when tasks fail on the way.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

mod cancel;
mod data_sets;
mod errors;
mod examples;
mod late_barriers;
mod one_by_one;
mod recovery;
mod support;
mod windows;
mod words;
