//! What a program is told by whoever started it, and what its `execute` does.
//!
//! | role | started by | `execute` |
//! |---|---|---|
//! | none | anybody | runs the job on an embedded cluster |
//! | local | `flott run -m local` | the same, with what the command set |
//! | plan | `flott info`, `flott run -d` | hands the plan over |
//! | driver | `flott run` | hands the plan over and waits for the job |
//! | worker | a TaskManager | at the job's execute: serves its subtasks, and never returns |
//!
//! What `main` sees must be the same in driver and worker: [`arguments`], and all that goes through [`recorded`].

mod error;
mod execute;
mod note;
mod role;

pub use error::ProgramError;
pub use execute::execute_job;
pub use note::{CONTROL_PROTOCOL, NOTE_SECTION, ProgramNote, STATE_FORMAT, VERSION, Versions};
pub use role::{RecordError, arguments, base_configuration, recorded, same_everywhere};
