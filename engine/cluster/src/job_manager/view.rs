//! The JobManager as its REST API sees it.

use std::sync::Arc;

use flott_core::config::Configuration;
use flott_core::ids::{JobId, TaskManagerId};
use tokio::sync::watch;

use super::jobs::Jobs;
use super::task_managers::TaskManagers;
use crate::high_availability::{LeaderInfo, Term};
use crate::log_files::LogFile;
use crate::rest::{ClusterView, Elsewhere, JobView, TaskManagerView};
use crate::rpc::control;

/// Jobs and TaskManagers of this JobManager.
pub(super) struct View {
    pub(super) configuration: Configuration,
    pub(super) jobs: Arc<Jobs>,
    pub(super) task_managers: Arc<TaskManagers>,
    /// Whether others may lead.
    pub(super) is_elected: bool,
    /// The term of this JobManager; none: it does not lead.
    pub(super) leading: watch::Receiver<Option<Term>>,
    /// Who leads instead.
    pub(super) leaders: watch::Receiver<Option<LeaderInfo>>,
}

#[tonic::async_trait]
impl ClusterView for View {
    fn configuration(&self) -> &Configuration {
        &self.configuration
    }

    fn jobs(&self) -> Vec<JobView> {
        self.jobs.all().iter().map(|job| job.view()).collect()
    }

    fn job(&self, id: JobId) -> Option<JobView> {
        self.jobs.get(id).map(|job| job.view())
    }

    fn task_managers(&self) -> Vec<TaskManagerView> {
        self.task_managers.views()
    }

    async fn cancel(&self, id: JobId) -> Result<(), String> {
        let jobs = Arc::clone(&self.jobs);
        // It waits until that is written.
        let done = tokio::task::spawn_blocking(move || match jobs.get(id) {
            Some(job) => jobs.cancel(&job).map_err(|error| error.to_string()),
            None => Err(format!("there is no job {id} in this cluster any more")),
        });
        done.await.map_err(|error| format!("a thread of the JobManager has failed: {error}"))?
    }

    fn elsewhere(&self) -> Option<Elsewhere> {
        if !self.is_elected || self.leading.borrow().is_some() {
            return None;
        }
        let web = self.leaders.borrow().as_ref().and_then(|leader| leader.rest_address.clone());
        Some(Elsewhere { web })
    }

    async fn logs_of(&self, task_manager: TaskManagerId) -> Result<Vec<LogFile>, String> {
        let read = self.task_managers.read_logs(task_manager, String::new()).await?;
        let file = |file: control::LogFile| LogFile {
            name: file.name,
            bytes: file.bytes,
            modified_millis: file.modified_millis,
        };
        Ok(read.files.into_iter().map(file).collect())
    }

    async fn log_of(&self, task_manager: TaskManagerId, name: String) -> Result<Vec<u8>, String> {
        Ok(self.task_managers.read_logs(task_manager, name).await?.content)
    }
}
