//! Logs of a process, and what they hold: changeable while it runs.

use std::io;
use std::sync::{Mutex, OnceLock, PoisonError};

use flott_core::config::{self, Configuration};
use tracing_subscriber::filter::EnvFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::reload;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, Registry, fmt};

use crate::rolled_file::RolledFile;

/// What changes the levels, and what they are.
struct Levels {
    handle: reload::Handle<EnvFilter, Registry>,
    current: Mutex<String>,
}

static LEVELS: OnceLock<Levels> = OnceLock::new();

/// Levels that are none.
#[derive(Debug, thiserror::Error)]
#[error(
    "'{levels}' says not what to log: error, warn, info, debug, trace or off is expected, also by part as in 'info,flott_cluster=debug' ({reason})"
)]
pub struct LevelsError {
    levels: String,
    reason: String,
}

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LoggingError {
    /// The levels.
    #[error("env.log.level: {0}")]
    Levels(#[from] LevelsError),
    /// The file.
    #[error(transparent)]
    File(#[from] io::Error),
}

/// Checks levels.
pub(crate) fn parse_levels(levels: &str) -> Result<EnvFilter, LevelsError> {
    EnvFilter::builder()
        .parse(levels)
        .map_err(|error| LevelsError { levels: levels.to_owned(), reason: error.to_string() })
}

/// Logs into the file `name` of the folder for logs, or to standard error if there is none. If this process logs already, it goes on
/// as it does.
///
/// # Errors
/// [`LoggingError`] if the configured levels are none, or the file cannot be written.
pub fn start(configuration: &Configuration, name: &str) -> Result<(), LoggingError> {
    let levels = configuration.get(&config::LOG_LEVEL);
    let file = RolledFile::in_log_dir(configuration, name)?;
    Ok(start_with(&levels, file)?)
}

/// Logs to standard error.
pub(crate) fn start_on_stderr(levels: &str) -> Result<(), LevelsError> {
    start_with(levels, None)
}

fn start_with(levels: &str, file: Option<RolledFile>) -> Result<(), LevelsError> {
    let (filter, handle) = reload::Layer::new(parse_levels(levels)?);
    let lines = match file {
        Some(file) => fmt::layer().with_ansi(false).with_writer(Mutex::new(file)).boxed(),
        None => fmt::layer().with_ansi(false).with_writer(io::stderr).boxed(),
    };
    if tracing_subscriber::registry().with(filter).with(lines).try_init().is_ok() {
        let _ = LEVELS.set(Levels { handle, current: Mutex::new(levels.to_owned()) });
    }
    Ok(())
}

/// What this process logs, as it was last set.
pub(crate) fn levels() -> String {
    let current =
        LEVELS.get().map(|levels| levels.current.lock().unwrap_or_else(PoisonError::into_inner).clone());
    current.unwrap_or_else(|| "info".to_owned())
}

/// Logs other levels from now on. A process whose program has its own way to log stays as it is.
pub(crate) fn set_levels(text: &str) -> Result<(), LevelsError> {
    let filter = parse_levels(text)?;
    if let Some(levels) = LEVELS.get() {
        let failed =
            |error: reload::Error| LevelsError { levels: text.to_owned(), reason: error.to_string() };
        levels.handle.reload(filter).map_err(failed)?;
        *levels.current.lock().unwrap_or_else(PoisonError::into_inner) = text.to_owned();
        tracing::info!(levels = text, "other levels are logged from now on");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn levels_are_checked() {
        for levels in ["info", "warn,flott_cluster=trace", "off"] {
            parse_levels(levels).unwrap();
        }
        let error = parse_levels("info,flott_cluster=loud").unwrap_err().to_string();
        assert!(error.contains("flott_cluster=loud"), "{error}");
    }
}
