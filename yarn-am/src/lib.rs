//! Flott on YARN: clusters started, found, followed and ended from the client's side, and the ApplicationMaster, in one process with the
//! JobManager.
//!
//! ```text
//! flott ─ deployment ─▸ ResourceManager ─▸ container: application_master + JobManager
//!            │ staging (HDFS)                     │ containers
//!            └─────────────────────────▸ containers: TaskManagers ─▸ workers
//! ```

pub mod application;
pub mod application_master;
pub mod deployment;
pub mod ids;
mod leftovers;
pub mod security;
pub mod staging;
