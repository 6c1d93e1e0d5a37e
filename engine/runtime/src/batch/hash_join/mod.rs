//! [`HybridHashJoin`]: the inner join of two inputs by a hash table of one of them, the build side; the other, the probe
//! side, streams by.
//!
//! The build side is read to its end first. Its records lie in parts by hash. When memory runs out, the largest part goes to
//! disk, and so do all later records of it, of both sides; the parts that stayed are joined at once. After that each spilled
//! part is joined in the same way, by other bits of the hash. A part that holds only one hash cannot get smaller like that: it is
//! joined in blocks, its probe side read once for each.

mod build;
mod join;

use std::sync::Arc;

use flott_core::Data;

use self::join::{Join, Wants};
use super::error::BatchError;
use super::external_sorter::Workspace;
use super::step::Step;
use crate::error::OperatorError;
use crate::key_selector::KeySelector;
use crate::operator::{Collector, Cursor, OperatorContext, Progress, Side, TwoInputOperator};

/// See the module. `F` is `Fn(&L, &R) -> O`; results come in no particular order.
pub struct HybridHashJoin<L, R, SL, SR, F> {
    build: Side,
    left: Arc<SL>,
    right: Arc<SR>,
    join: F,
    sides: Option<Sides<L, R, SL, SR>>,
}

/// The join with one or the other as build side.
enum Sides<L, R, SL, SR> {
    Left(Join<L, R, SL, SR>),
    Right(Join<R, L, SR, SL>),
}

impl<L, R, O, SL, SR, F> HybridHashJoin<L, R, SL, SR, F>
where
    L: Data,
    R: Data,
    O: Data,
    SL: KeySelector<L>,
    SR: KeySelector<R, Key = SL::Key>,
    F: Fn(&L, &R) -> O + 'static,
{
    /// Gives `join` every pair of a left and a right record with equal keys; the input `build` should be the smaller one.
    pub fn new(build: Side, left: Arc<SL>, right: Arc<SR>, join: F) -> Self {
        Self { build, left, right, join, sides: None }
    }
}

impl<L, R, O, SL, SR, F> TwoInputOperator for HybridHashJoin<L, R, SL, SR, F>
where
    L: Data,
    R: Data,
    O: Data,
    SL: KeySelector<L>,
    SR: KeySelector<R, Key = SL::Key>,
    F: Fn(&L, &R) -> O + 'static,
{
    type Left = L;
    type Right = R;
    type Out = O;

    fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
        let (left, right) = (Arc::clone(&self.left), Arc::clone(&self.right));
        let workspace = Workspace::of(context.info);
        self.sides = Some(match self.build {
            Side::Left => Sides::Left(Join::new(left, right, workspace)?),
            Side::Right => Sides::Right(Join::new(right, left, workspace)?),
        });
        Ok(())
    }

    fn reads_first(&self) -> Option<Side> {
        Some(self.build)
    }

    fn process_left(
        &mut self,
        input: &mut Cursor<L>,
        out: &mut Collector<O>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let join = &self.join;
        match self.sides.as_mut().ok_or(BatchError::OutOfOrder("hash join"))? {
            Sides::Left(sides) => take_build(sides, input, out, |left, right| join(left, right))?,
            Sides::Right(sides) => take_probe(sides, input, out, |right, left| join(left, right))?,
        }
        Ok(())
    }

    fn process_right(
        &mut self,
        input: &mut Cursor<R>,
        out: &mut Collector<O>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<(), OperatorError> {
        let join = &self.join;
        match self.sides.as_mut().ok_or(BatchError::OutOfOrder("hash join"))? {
            Sides::Left(sides) => take_probe(sides, input, out, |left, right| join(left, right))?,
            Sides::Right(sides) => take_build(sides, input, out, |right, left| join(left, right))?,
        }
        Ok(())
    }

    fn end_of(
        &mut self,
        side: Side,
        out: &mut Collector<O>,
        _context: &mut OperatorContext<'_>,
    ) -> Result<Progress, OperatorError> {
        let (join, is_build) = (&self.join, side == self.build);
        let wants = match self.sides.as_mut().ok_or(BatchError::OutOfOrder("hash join"))? {
            Sides::Left(sides) => end(sides, is_build, out, |left, right| join(left, right))?,
            Sides::Right(sides) => end(sides, is_build, out, |right, left| join(left, right))?,
        };
        Ok(if wants == Wants::Time { Progress::More } else { Progress::Done })
    }

    fn close(&mut self) {
        self.sides = None;
    }
}

/// Emits a pair; true while there is room for more.
fn emitter<B, P, O: Data>(out: &mut Collector<O>, pair: impl Fn(&B, &P) -> O) -> impl FnMut(&B, &P) -> bool {
    move |build, probe| {
        out.emit_untimed(pair(build, probe));
        !out.is_full()
    }
}

fn take_build<B, P, O, SB, SP>(
    sides: &mut Join<B, P, SB, SP>,
    input: &mut Cursor<B>,
    out: &mut Collector<O>,
    pair: impl Fn(&B, &P) -> O,
) -> Result<(), BatchError>
where
    B: Data,
    P: Data,
    O: Data,
    SB: KeySelector<B>,
    SP: KeySelector<P, Key = SB::Key>,
{
    match sides.work(&mut Step::begin(), &mut emitter(out, pair))? {
        Wants::Build => {}
        Wants::Time => return Ok(()),
        Wants::Probe | Wants::Nothing => return Err(BatchError::OutOfOrder("hash join")),
    }
    while sides.takes_build() {
        let Some((record, _)) = input.next() else { break };
        sides.add_build(record)?;
    }
    Ok(())
}

fn take_probe<B, P, O, SB, SP>(
    sides: &mut Join<B, P, SB, SP>,
    input: &mut Cursor<P>,
    out: &mut Collector<O>,
    pair: impl Fn(&B, &P) -> O,
) -> Result<(), BatchError>
where
    B: Data,
    P: Data,
    O: Data,
    SB: KeySelector<B>,
    SP: KeySelector<P, Key = SB::Key>,
{
    let mut emit = emitter(out, pair);
    match sides.work(&mut Step::begin(), &mut emit)? {
        Wants::Probe => {}
        Wants::Time => return Ok(()),
        Wants::Build | Wants::Nothing => return Err(BatchError::OutOfOrder("hash join")),
    }
    while let Some((record, _)) = input.next() {
        sides.probe(record)?;
        if !sides.emit_pairs(&mut emit) {
            break;
        }
    }
    Ok(())
}

fn end<B, P, O, SB, SP>(
    sides: &mut Join<B, P, SB, SP>,
    is_build: bool,
    out: &mut Collector<O>,
    pair: impl Fn(&B, &P) -> O,
) -> Result<Wants, BatchError>
where
    B: Data,
    P: Data,
    O: Data,
    SB: KeySelector<B>,
    SP: KeySelector<P, Key = SB::Key>,
{
    if is_build {
        sides.end_build();
    } else {
        sides.end_probe();
    }
    sides.work(&mut Step::begin(), &mut emitter(out, pair))
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use flott_core::Records;

    use super::*;
    use crate::harness::{Harness, HarnessConfig};
    use crate::key_selector::Borrowed;
    use crate::operator::Operator;

    type Row = (u32, String);

    /// Feeds both inputs of an operator from one, as far as the harness knows: the build side first.
    struct BothSides<O: TwoInputOperator> {
        operator: O,
        left: Cursor<O::Left>,
        right: Cursor<O::Right>,
        build_has_ended: bool,
    }

    impl<O: TwoInputOperator> BothSides<O> {
        fn new(operator: O) -> Self {
            Self { operator, left: Cursor::empty(), right: Cursor::empty(), build_has_ended: false }
        }
    }

    impl<O: TwoInputOperator> Operator for BothSides<O> {
        type In = (Option<O::Left>, Option<O::Right>);
        type Out = O::Out;

        fn open(&mut self, context: &mut OperatorContext<'_>) -> Result<(), OperatorError> {
            self.operator.open(context)
        }

        fn process(
            &mut self,
            input: &mut Cursor<Self::In>,
            out: &mut Collector<Self::Out>,
            context: &mut OperatorContext<'_>,
        ) -> Result<(), OperatorError> {
            while let Some(((left, right), _)) = input.next() {
                let is_build = left.is_some() == (self.operator.reads_first() == Some(Side::Left));
                if !is_build && !std::mem::replace(&mut self.build_has_ended, true) {
                    let build = self.operator.reads_first().unwrap();
                    while self.operator.end_of(build, out, context)? == Progress::More {}
                }
                self.left.fill(Records::from_values(left.into_iter().collect()));
                self.right.fill(Records::from_values(right.into_iter().collect()));
                while !self.left.is_exhausted() {
                    self.left.begin_step(Instant::now());
                    self.operator.process_left(&mut self.left, out, context)?;
                }
                while !self.right.is_exhausted() {
                    self.right.begin_step(Instant::now());
                    self.operator.process_right(&mut self.right, out, context)?;
                }
            }
            Ok(())
        }

        fn end(
            &mut self,
            out: &mut Collector<Self::Out>,
            context: &mut OperatorContext<'_>,
        ) -> Result<Progress, OperatorError> {
            let probe =
                if self.operator.reads_first() == Some(Side::Left) { Side::Right } else { Side::Left };
            self.operator.end_of(probe, out, context)
        }

        fn close(&mut self) {
            self.operator.close();
        }
    }

    #[test]
    fn either_side_can_be_the_build_side() {
        let lefts: Vec<Row> = (0..9000_u32).map(|n| (n % 3000, format!("left {n}"))).collect();
        let rights: Vec<Row> = (0..6000_u32).map(|n| (n % 4000, format!("right {n}"))).collect();
        let mut expected = Vec::new();
        for right in &rights {
            expected.extend(
                lefts.iter().filter(|left| left.0 == right.0).map(|l| (l.1.clone(), right.1.clone())),
            );
        }
        expected.sort();
        for build in [Side::Left, Side::Right] {
            let select = Arc::new(Borrowed::new(|row: &Row| &row.0));
            let pair = |left: &Row, right: &Row| (left.1.clone(), right.1.clone());
            let join = HybridHashJoin::new(build, Arc::clone(&select), select, pair);
            assert_eq!(join.reads_first(), Some(build));
            let config = HarnessConfig { managed_memory: 256 << 10, ..Default::default() };
            let mut harness = Harness::with_config(BothSides::new(join), config);
            let left = lefts.iter().map(|left| (Some(left.clone()), None));
            let right = rights.iter().map(|right| (None, Some(right.clone())));
            if build == Side::Left {
                harness.push_all(left.chain(right));
            } else {
                harness.push_all(right.chain(left));
            }
            harness.end();
            let mut pairs = harness.take_records();
            pairs.sort();
            assert!(pairs == expected, "{build:?}");
        }
    }
}
