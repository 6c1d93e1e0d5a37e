//! Checks that what an operator emits keeps the grammar of a channel; see [`Element`](crate::element::Element).
//!
//! Used in debug and test builds, where a defect should be found by the operator that has it and not by the result that is
//! wrong; in release builds the checks are compiled out.
//!
//! Invariants: watermarks never go back, barriers come in ascending order, nothing follows the end.

use flott_core::Timestamp;
use flott_core::ids::CheckpointId;
use flott_core::time::NO_TIMESTAMP;

use crate::element::Element;
use crate::error::{Fault, OperatorError};

/// What is looked at of an element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Checked {
    /// Records.
    Batch,
    /// A watermark.
    Watermark(Timestamp),
    /// Idleness.
    Idle,
    /// A checkpoint's barrier.
    Barrier(CheckpointId),
    /// The end.
    End,
}

impl From<&Element> for Checked {
    fn from(element: &Element) -> Self {
        match element {
            Element::Batch(_) | Element::Encoded(_) => Self::Batch,
            Element::Watermark(watermark) => Self::Watermark(*watermark),
            Element::Idle => Self::Idle,
            Element::Barrier(barrier) => Self::Barrier(barrier.checkpoint),
            Element::End => Self::End,
        }
    }
}

/// Follows what one operator emits.
#[derive(Debug, Clone)]
pub struct ElementChecker {
    watermark: Timestamp,
    barrier: Option<CheckpointId>,
    ended: bool,
}

impl Default for ElementChecker {
    fn default() -> Self {
        Self::new()
    }
}

impl ElementChecker {
    /// Nothing was emitted yet.
    pub fn new() -> Self {
        Self { watermark: NO_TIMESTAMP, barrier: None, ended: false }
    }

    /// Takes note of the next element that `operator` emits. Always well in release builds.
    ///
    /// # Errors
    /// If it may not come here, a defect of Flott.
    #[inline]
    pub fn check(&mut self, operator: &str, element: impl Into<Checked>) -> Result<(), OperatorError> {
        if !cfg!(debug_assertions) {
            return Ok(());
        }
        self.follow(element.into()).map_err(|broken| {
            let message = format!(
                "operator '{operator}' emitted {broken}; this is a defect of Flott, please report it"
            );
            OperatorError::new(Fault::Flott, message)
        })
    }

    fn follow(&mut self, element: Checked) -> Result<(), String> {
        if self.ended {
            return Err(format!("{element:?} after its end"));
        }
        match element {
            Checked::Batch | Checked::Idle => {}
            Checked::Watermark(watermark) if watermark < self.watermark => {
                return Err(format!("the watermark {watermark} after {}", self.watermark));
            }
            Checked::Watermark(watermark) => self.watermark = watermark,
            Checked::Barrier(barrier) if self.barrier.is_some_and(|before| barrier <= before) => {
                return Err(format!("the barrier of checkpoint {barrier} after a later one"));
            }
            Checked::Barrier(barrier) => self.barrier = Some(barrier),
            Checked::End => self.ended = true,
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(elements: &[Checked]) -> Result<(), String> {
        let mut checker = ElementChecker::new();
        elements
            .iter()
            .try_for_each(|element| checker.check("map", *element))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_grammar_is_accepted() {
        let barrier = |id| Checked::Barrier(CheckpointId(id));
        let elements = [
            Checked::Batch,
            Checked::Watermark(5),
            barrier(1),
            Checked::Idle,
            Checked::Watermark(5),
            Checked::Batch,
            Checked::Watermark(9),
            barrier(3),
            Checked::End,
        ];
        assert_eq!(follow(&elements), Ok(()));
    }

    #[test]
    fn what_breaks_it_is_named() {
        let back = follow(&[Checked::Watermark(5), Checked::Watermark(4)]).unwrap_err();
        assert!(back.contains("operator 'map' emitted the watermark 4 after 5"), "{back}");
        let (one, two) = (Checked::Barrier(CheckpointId(1)), Checked::Barrier(CheckpointId(2)));
        assert!(follow(&[two, one]).is_err());
        assert!(follow(&[one, one]).is_err());
        for after in [Checked::Batch, Checked::Watermark(1), Checked::Idle, one, Checked::End] {
            assert!(follow(&[Checked::End, after]).unwrap_err().contains("after its end"));
        }
    }
}
