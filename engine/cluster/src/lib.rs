//! JobManager and TaskManager: who runs which subtask where, what happens when one fails, when a checkpoint is complete.
//!
//! A [`JobMaster`](job_master::JobMaster) runs one job: it decides, on data alone, and acts through a
//! [`TaskGateway`](gateway::TaskGateway). A [`Worker`](worker::Worker) holds slots and runs what it is given. In the
//! [local cluster](local) both are in one process.

pub mod checkpoint;
pub mod client;
pub mod gateway;
pub mod high_availability;
pub mod job_manager;
pub mod job_master;
pub mod launch;
pub mod local;
mod log_files;
pub mod logging;
mod memory_guard;
mod outbox;
mod output;
pub mod program;
pub mod program_file;
pub mod program_store;
pub mod resource_manager;
pub mod rest;
pub mod result;
mod rolled_file;
pub mod rpc;
pub mod secret_file;
pub mod task_manager;
pub mod temp_dir;
pub mod worker;
mod worker_process;

pub use local::LocalCluster;
pub use program::execute_job;
pub use result::{JobError, JobResult};
