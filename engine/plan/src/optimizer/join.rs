//! How a join's inputs come together, and which of them goes into the hash table.
//!
//! Either both are partitioned by their keys, or a small one is sent to every subtask and the other stays where it is. The way
//! that sends fewer bytes is taken; broadcasting only if the sizes of both are known and the small one fits into the memory of
//! one subtask.

use crate::optimized_plan::Side;

/// What is known of an input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JoinInput {
    /// Its size.
    pub bytes: Option<u64>,
    /// Whether it is partitioned already as the join needs it.
    pub is_partitioned: bool,
    /// Whether its subtasks are as many as the join's, so that it can stay where it is.
    pub is_in_place: bool,
}

/// How an input comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum JoinShip {
    /// As it is partitioned already, or need not be.
    Stay,
    /// Partitioned by its key.
    Partition,
    /// All of it to everyone.
    Broadcast,
}

/// How to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct JoinChoice {
    pub left: JoinShip,
    pub right: JoinShip,
    /// The input that is read first, into the table.
    pub build: Side,
}

/// Chooses for a join of `parallelism` subtasks that have `budget` bytes of memory each.
pub(super) fn choose(left: JoinInput, right: JoinInput, parallelism: u32, budget: u64) -> JoinChoice {
    let partition = |input: JoinInput| match input.is_partitioned {
        true => JoinShip::Stay,
        false => JoinShip::Partition,
    };
    let repartitioned =
        JoinChoice { left: partition(left), right: partition(right), build: build_side(left, right) };
    let (Some(left_bytes), Some(right_bytes)) = (left.bytes, right.bytes) else { return repartitioned };
    let moved = |is_there: bool, bytes: u64| if is_there { 0 } else { bytes };
    let repartitioned_cost =
        moved(left.is_partitioned, left_bytes).saturating_add(moved(right.is_partitioned, right_bytes));
    let broadcast_cost = |sent: u64, stays: JoinInput, stays_bytes: u64| {
        let sent = sent.saturating_mul(u64::from(parallelism));
        sent.saturating_add(moved(stays.is_in_place, stays_bytes))
    };
    let (choice, bytes, cost) = if left_bytes <= right_bytes {
        let choice = JoinChoice { left: JoinShip::Broadcast, right: JoinShip::Stay, build: Side::Left };
        (choice, left_bytes, broadcast_cost(left_bytes, right, right_bytes))
    } else {
        let choice = JoinChoice { left: JoinShip::Stay, right: JoinShip::Broadcast, build: Side::Right };
        (choice, right_bytes, broadcast_cost(right_bytes, left, left_bytes))
    };
    if bytes <= budget && cost < repartitioned_cost { choice } else { repartitioned }
}

/// The smaller input; if only one size is known, that one, which is at least not known to be large; else the left one.
fn build_side(left: JoinInput, right: JoinInput) -> Side {
    match (left.bytes, right.bytes) {
        (Some(left), Some(right)) if right < left => Side::Right,
        (None, Some(_)) => Side::Right,
        _ => Side::Left,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use JoinShip::{Broadcast, Partition, Stay};

    const fn input(bytes: Option<u64>) -> JoinInput {
        JoinInput { bytes, is_partitioned: false, is_in_place: true }
    }

    const fn partitioned(bytes: u64) -> JoinInput {
        JoinInput { bytes: Some(bytes), is_partitioned: true, is_in_place: true }
    }

    fn ways(left: JoinInput, right: JoinInput) -> (JoinShip, JoinShip, Side) {
        let choice = choose(left, right, 4, 1000);
        (choice.left, choice.right, choice.build)
    }

    #[test]
    fn the_small_side_is_broadcast_if_it_is_small_enough() {
        assert_eq!(ways(input(Some(100)), input(Some(10_000))), (Broadcast, Stay, Side::Left));
        assert_eq!(ways(input(Some(10_000)), input(Some(100))), (Stay, Broadcast, Side::Right));
        // Four copies of it are more than both once.
        assert_eq!(ways(input(Some(400)), input(Some(1000))), (Partition, Partition, Side::Left));
        // It does not fit.
        assert_eq!(ways(input(Some(1001)), input(Some(1_000_000))), (Partition, Partition, Side::Left));
    }

    #[test]
    fn unknown_sizes_are_partitioned() {
        assert_eq!(ways(input(None), input(None)), (Partition, Partition, Side::Left));
        assert_eq!(ways(input(None), input(Some(1))), (Partition, Partition, Side::Right));
        assert_eq!(ways(input(Some(1)), input(None)), (Partition, Partition, Side::Left));
    }

    #[test]
    fn what_is_partitioned_stays() {
        assert_eq!(ways(input(Some(100)), partitioned(10_000)), (Partition, Stay, Side::Left));
        assert_eq!(ways(partitioned(100), partitioned(90)), (Stay, Stay, Side::Right));
        // A broadcast would leave the large one where it is; partitioning would move it.
        assert_eq!(ways(partitioned(100), input(Some(10_000))), (Broadcast, Stay, Side::Left));
    }

    #[test]
    fn what_must_move_anyway_may_as_well_be_partitioned() {
        let elsewhere = JoinInput { is_in_place: false, ..input(Some(10_000)) };
        assert_eq!(ways(input(Some(100)), elsewhere), (Partition, Partition, Side::Left));
    }
}
