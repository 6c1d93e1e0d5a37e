//! JobManager and TaskManager: who runs which subtask where, what happens when one fails, when a checkpoint is complete.
//!
//! A [`JobMaster`](job_master::JobMaster) runs one job: it decides, on data alone, and acts through a
//! [`TaskGateway`](gateway::TaskGateway). A [`Worker`](worker::Worker) holds slots and runs what it is given. In the
//! [local cluster](local) both are in one process.

pub mod checkpoint;
pub mod gateway;
pub mod job_master;
pub mod local;
pub mod program;
pub mod result;
pub mod worker;

pub use local::LocalCluster;
pub use program::execute_job;
pub use result::{JobError, JobResult};
