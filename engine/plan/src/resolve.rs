//! What both planners decide for each operator by itself: its parallelism and max parallelism, and that its uid is its own.
//!
//! The parallelism of an operator is what it says, else that of the job, which is what the environment says, else the client,
//! else the configuration; an operator that cannot run in parallel has 1 whatever the job says.

use std::collections::HashMap;

use flott_core::MaxParallelism;
use flott_core::config::{self, Configuration};
use flott_core::ids::OperatorId;

use crate::error::{Culprit, PlanError};

/// What the user said of an operator, as far as this file is concerned.
pub(crate) struct Wanted<'a> {
    pub operator: OperatorId,
    pub culprit: Culprit,
    pub uid: Option<&'a str>,
    pub parallelism: Option<u32>,
    pub max_parallelism: Option<u32>,
    pub non_parallel: bool,
}

/// What the job says for operators that say nothing.
pub(crate) struct Defaults {
    pub parallelism: u32,
    pub max_parallelism: Option<u32>,
}

/// What was decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Width {
    pub parallelism: u32,
    pub max_parallelism: MaxParallelism,
    /// Whether the operator itself asked for that max parallelism.
    pub own_max_parallelism: bool,
}

impl Wanted<'_> {
    /// Decides the widths of the operator.
    pub fn width(&self, defaults: &Defaults) -> Result<Width, PlanError> {
        let operator = || self.culprit.clone();
        let parallelism = match (self.parallelism, self.non_parallel) {
            (Some(0), _) => return Err(PlanError::ZeroParallelism { operator: operator() }),
            (Some(parallelism), true) if parallelism > 1 => {
                return Err(PlanError::NonParallel { operator: operator(), parallelism });
            }
            (_, true) => 1,
            (Some(parallelism), false) => parallelism,
            (None, false) if defaults.parallelism == 0 => return Err(PlanError::ZeroDefaultParallelism),
            (None, false) => defaults.parallelism,
        };
        let wanted_max = self.max_parallelism.or(defaults.max_parallelism);
        let max_parallelism = match wanted_max {
            None => MaxParallelism::default_for(parallelism),
            Some(max) => MaxParallelism::new(max)
                .ok_or_else(|| PlanError::BadMaxParallelism { operator: operator(), max_parallelism: max })?,
        };
        if parallelism > max_parallelism.get() {
            let max_parallelism = max_parallelism.get();
            return Err(PlanError::AboveMaxParallelism {
                operator: operator(),
                parallelism,
                max_parallelism,
            });
        }
        Ok(Width { parallelism, max_parallelism, own_max_parallelism: self.max_parallelism.is_some() })
    }
}

/// Checks that no two operators have one uid, or one id.
pub(crate) fn check_identities<'a>(operators: impl Iterator<Item = Wanted<'a>>) -> Result<(), PlanError> {
    let mut by_id: HashMap<OperatorId, Wanted<'a>> = HashMap::new();
    for operator in operators {
        let Some(first) = by_id.insert(operator.operator, operator) else { continue };
        // Taken back out, since the map has it now.
        let second = &by_id[&first.operator];
        return Err(match (first.uid, second.uid) {
            (Some(uid), Some(other)) if uid == other => PlanError::DuplicateUid {
                uid: uid.to_owned(),
                first: Box::new(first.culprit.clone()),
                second: Box::new(second.culprit.clone()),
            },
            _ => PlanError::Malformed {
                operator: second.culprit.clone(),
                reason: format!("has the id of {}", first.culprit),
            },
        });
    }
    Ok(())
}

/// The job's configuration, typed.
pub(crate) struct JobSettings {
    pub chaining: bool,
    pub max_parallelism: Option<u32>,
}

impl JobSettings {
    /// Reads them out of what was set.
    pub fn of(configuration: &std::collections::BTreeMap<String, String>) -> Result<Self, PlanError> {
        let configuration = Configuration::from_entries(configuration)?;
        Ok(Self {
            chaining: configuration.get(&config::OPERATOR_CHAINING),
            max_parallelism: configuration.get_optional(&config::MAX_PARALLELISM),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn width(
        own: Option<u32>,
        own_max: Option<u32>,
        non_parallel: bool,
        job: u32,
        job_max: Option<u32>,
    ) -> String {
        let origin = crate::job_graph::Origin { file: "src/main.rs".into(), line: 7 };
        let wanted = Wanted {
            operator: OperatorId::from_uid("x"),
            culprit: Culprit { name: "Map".into(), origin },
            uid: None,
            parallelism: own,
            max_parallelism: own_max,
            non_parallel,
        };
        match wanted.width(&Defaults { parallelism: job, max_parallelism: job_max }) {
            Ok(width) => format!("{} of {}", width.parallelism, width.max_parallelism.get()),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn the_operator_comes_before_the_job() {
        assert_eq!(width(None, None, false, 3, None), "3 of 128");
        assert_eq!(width(Some(2), None, false, 3, Some(9)), "2 of 9");
        assert_eq!(width(Some(2), Some(5), false, 3, Some(9)), "2 of 5");
        assert_eq!(width(None, None, false, 1000, None), "1000 of 2048");
    }

    #[test]
    fn what_cannot_run_in_parallel_has_one_subtask() {
        assert_eq!(width(None, None, true, 3, None), "1 of 128");
        assert_eq!(width(Some(1), None, true, 3, None), "1 of 128");
        assert_eq!(width(None, None, true, 0, None), "1 of 128");
        let error = width(Some(2), None, true, 3, None);
        assert_eq!(
            error,
            "operator 'Map' (src/main.rs:7) cannot run in parallel, but has parallelism 2: it must be 1"
        );
    }

    #[test]
    fn the_job_s_zero_is_not_blamed_on_the_operator() {
        assert!(width(None, None, false, 0, None).starts_with("the parallelism of the job is 0"));
        assert!(width(Some(0), None, false, 1, None).starts_with("operator 'Map' (src/main.rs:7)"));
    }
}
