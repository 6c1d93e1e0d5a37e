//! What can go wrong in a task, and who must act.

use std::fmt;

/// Who must act on an error, and so whether another attempt can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The user's program or its input: another attempt ends the same way unless the input is transient.
    User,
    /// Files, network, memory, other machines: another attempt may succeed.
    Environment,
    /// A defect of Flott.
    Flott,
}

/// Why an operator cannot go on.
#[derive(Debug)]
pub struct OperatorError {
    fault: Fault,
    message: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl OperatorError {
    /// An error of `fault` that says what was tried on what.
    pub fn new(fault: Fault, message: impl Into<String>) -> Self {
        Self { fault, message: message.into(), source: None }
    }

    /// The user's function failed.
    pub fn user(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self { fault: Fault::User, message: error.to_string(), source: Some(error) }
    }

    /// Something outside failed.
    pub fn environment(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self { fault: Fault::Environment, message: error.to_string(), source: Some(error) }
    }

    /// A defect of Flott showed itself.
    pub fn defect(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        let error = error.into();
        Self { fault: Fault::Flott, message: error.to_string(), source: Some(error) }
    }

    /// Who must act.
    pub fn fault(&self) -> Fault {
        self.fault
    }
}

impl fmt::Display for OperatorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        let mut source = self.source.as_deref().and_then(std::error::Error::source);
        while let Some(error) = source {
            let text = error.to_string();
            // Many errors say what their source says.
            if !self.message.contains(&text) {
                write!(f, ": {text}")?;
            }
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for OperatorError {}

impl From<crate::element::WrongBatchType> for OperatorError {
    fn from(error: crate::element::WrongBatchType) -> Self {
        Self::defect(error)
    }
}

impl From<flott_core::CodecError> for OperatorError {
    fn from(error: flott_core::CodecError) -> Self {
        Self::new(Fault::Environment, format!("cannot decode a batch: {error}"))
    }
}

impl From<flott_state::StateError> for OperatorError {
    fn from(error: flott_state::StateError) -> Self {
        Self::environment(error)
    }
}
