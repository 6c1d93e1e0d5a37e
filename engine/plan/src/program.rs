//! The program behind a plan: its logical operators, their inputs and schemas; nothing of parallelism, chaining or strategy.
//!
//! The JobGraph carries the listing of the process that planned. A worker makes its own from its own `main`; the two must be
//! the same, or the worker would run other code than was planned.
//!
//! ```
//! use flott_core::ids::OperatorId;
//! use flott_plan::program::{LogicalOperator, ProgramListing};
//!
//! let listing = |schema: &str| {
//!     ProgramListing::new(vec![LogicalOperator {
//!         operator: OperatorId::from_position("0"),
//!         name: "Source: lines".into(),
//!         logic: "source".into(),
//!         inputs: vec![],
//!         output_schema: schema.into(),
//!     }])
//! };
//! let (planned, own) = (listing("String"), listing("u64"));
//! assert_ne!(planned.hash(), own.hash());
//! let difference = planned.first_difference(&own).unwrap();
//! assert!(difference.to_string().contains("gives 'String' in the submitted plan, but 'u64' in this process"));
//! ```

use std::fmt;

use flott_core::KeyHash;
use flott_core::ids::OperatorId;

use crate::job_graph::OutputPort;

/// Names a program by what its logical operators are. Two programs with one hash make the same plans.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ProgramHash([u8; 16]);

impl ProgramHash {
    /// The hash with these bytes.
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for ProgramHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for ProgramHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A logical operator, as far as every process of a job must agree on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalOperator {
    /// Its id.
    pub operator: OperatorId,
    /// Its name, for messages; names may differ.
    pub name: String,
    /// What it does, as far as the plan knows: `source`, `keyed`, `join on keys 0 and 1`.
    pub logic: String,
    /// What it reads.
    pub inputs: Vec<LogicalInput>,
    /// The schema of what it gives.
    pub output_schema: String,
}

/// What a logical operator reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalInput {
    /// Which of its inputs, from 0.
    pub input: u32,
    /// Who gives it.
    pub source: OperatorId,
    /// By which output.
    pub output: OutputPort,
    /// Whether it is partitioned by key or by the user's function, which the process must then know.
    pub by_function: bool,
    /// The schema of what comes in.
    pub schema: String,
}

impl fmt::Display for LogicalInput {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "input {} from {}", self.input, self.source)?;
        if let OutputPort::Side(tag) = &self.output {
            write!(f, " side output '{tag}'")?;
        }
        if self.by_function {
            f.write_str(" by key or function")?;
        }
        write!(f, ": {}", self.schema)
    }
}

/// The logical operators of a program, in the order in which it made them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramListing {
    operators: Vec<LogicalOperator>,
}

impl ProgramListing {
    /// The listing of these operators.
    pub fn new(operators: Vec<LogicalOperator>) -> Self {
        Self { operators }
    }

    /// The operators.
    pub fn operators(&self) -> &[LogicalOperator] {
        &self.operators
    }

    /// The hash over everything but names.
    pub fn hash(&self) -> ProgramHash {
        let mut bytes = Vec::new();
        let mut put = |text: &str| {
            bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
            bytes.extend_from_slice(text.as_bytes());
        };
        for operator in &self.operators {
            put(&operator.operator.to_string());
            put(&operator.logic);
            put(&operator.inputs.len().to_string());
            operator.inputs.iter().for_each(|input| put(&input.to_string()));
            put(&operator.output_schema);
        }
        let mut hash = [0; 16];
        for (salt, half) in hash.chunks_exact_mut(8).enumerate() {
            let mut salted = vec![salt as u8];
            salted.extend_from_slice(&bytes);
            half.copy_from_slice(&KeyHash::of(&salted).bits().to_be_bytes());
        }
        ProgramHash(hash)
    }

    /// The first thing in which this listing, of the submitted plan, differs from `own`, of this process; none if both are of
    /// the same program.
    pub fn first_difference(&self, own: &Self) -> Option<ProgramDifference> {
        let longest = self.operators.len().max(own.operators.len());
        (0..longest).find_map(|position| {
            let named = |operator: Option<&LogicalOperator>| {
                operator.map(|operator| format!("'{}' ({})", operator.name, operator.operator))
            };
            let (planned, own) = (self.operators.get(position), own.operators.get(position));
            let (operator, aspect, values) = match (planned, own) {
                (Some(planned), Some(own)) if planned.operator == own.operator => {
                    let (aspect, values) = differing_aspect(planned, own)?;
                    (named(Some(planned)), aspect, values)
                }
                _ => (None, Aspect::Operator, (named(planned), named(own))),
            };
            Some(ProgramDifference { position, operator, aspect, planned: values.0, own: values.1 })
        })
    }
}

/// What differs in two listings of one operator, and the two values.
type Differing = (Aspect, (Option<String>, Option<String>));

fn differing_aspect(planned: &LogicalOperator, own: &LogicalOperator) -> Option<Differing> {
    let values = |planned: &str, own: &str| (Some(planned.to_owned()), Some(own.to_owned()));
    if planned.logic != own.logic {
        return Some((Aspect::Logic, values(&planned.logic, &own.logic)));
    }
    let inputs = planned.inputs.len().max(own.inputs.len());
    let differing = (0..inputs).find(|at| planned.inputs.get(*at) != own.inputs.get(*at));
    if let Some(at) = differing {
        let shown = |operator: &LogicalOperator| operator.inputs.get(at).map(ToString::to_string);
        return Some((Aspect::Input, (shown(planned), shown(own))));
    }
    (planned.output_schema != own.output_schema)
        .then(|| (Aspect::Output, values(&planned.output_schema, &own.output_schema)))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Aspect {
    Operator,
    Logic,
    Input,
    Output,
}

/// The first thing in which two programs differ that should be one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProgramDifference {
    position: usize,
    operator: Option<String>,
    aspect: Aspect,
    planned: Option<String>,
    own: Option<String>,
}

impl fmt::Display for ProgramDifference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let verb = match self.aspect {
            Aspect::Operator => "is",
            Aspect::Logic => "works as",
            Aspect::Input => "reads",
            Aspect::Output => "gives",
        };
        let shown = |value: &Option<String>| match (value, self.aspect) {
            (None, _) => "nothing".to_owned(),
            (Some(value), Aspect::Operator) => value.clone(),
            (Some(value), _) => format!("'{value}'"),
        };
        write!(f, "operator {}", self.position + 1)?;
        if let Some(operator) = &self.operator {
            write!(f, ", {operator},")?;
        }
        write!(
            f,
            " {verb} {} in the submitted plan, but {} in this process: main must make the same operators in every process, \
             whatever the time, the machine or the files it sees",
            shown(&self.planned),
            shown(&self.own)
        )
    }
}

impl std::error::Error for ProgramDifference {}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(at: u8) -> LogicalOperator {
        let source = OperatorId::from_bytes([at.wrapping_sub(1); 16]);
        LogicalOperator {
            operator: OperatorId::from_bytes([at; 16]),
            name: format!("Map {at}"),
            logic: "operator".into(),
            inputs: vec![LogicalInput {
                input: 0,
                source,
                output: OutputPort::Main,
                by_function: false,
                schema: "u64".into(),
            }],
            output_schema: "u64".into(),
        }
    }

    fn listing() -> ProgramListing {
        ProgramListing::new((1..4).map(operator).collect())
    }

    #[test]
    fn names_may_differ() {
        let mut other = listing();
        other.operators[1].name = "Another".into();
        assert_eq!(listing().hash(), other.hash());
        assert_eq!(listing().first_difference(&other), None);
    }

    #[test]
    fn the_first_difference_is_named_and_changes_the_hash() {
        let changes: [fn(&mut Vec<LogicalOperator>); 7] = [
            |operators| operators[1] = operator(9),
            |operators| drop(operators.pop()),
            |operators| operators.push(operator(4)),
            |operators| operators[2].logic = "keyed".into(),
            |operators| operators[2].inputs[0].by_function = true,
            |operators| operators[1].inputs.clear(),
            |operators| operators[0].output_schema = "String".into(),
        ];
        let differences = changes.map(|change| {
            let mut own = listing();
            change(&mut own.operators);
            assert_ne!(listing().hash(), own.hash());
            let text = listing().first_difference(&own).unwrap().to_string();
            text.split_once(": main must").unwrap().0.to_owned()
        });
        insta::assert_snapshot!(differences.join("\n"));
    }

    #[test]
    fn the_hash_is_frozen() {
        assert_eq!(listing().hash().to_string(), "129c977dda30b672f92bd0b4c5408cb3");
    }
}
