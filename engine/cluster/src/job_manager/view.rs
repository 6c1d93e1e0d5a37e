//! The JobManager as its REST API sees it.

use std::sync::Arc;

use flott_core::config::Configuration;
use flott_core::ids::{JobId, TaskManagerId};

use super::jobs::Jobs;
use super::task_managers::TaskManagers;
use crate::log_files::LogFile;
use crate::rest::{ClusterView, JobView, TaskManagerView};
use crate::rpc::control;

/// Jobs and TaskManagers of this JobManager.
pub(super) struct View {
    pub(super) configuration: Configuration,
    pub(super) jobs: Arc<Jobs>,
    pub(super) task_managers: Arc<TaskManagers>,
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

    fn cancel(&self, id: JobId) -> bool {
        self.jobs.get(id).map(|job| job.cancel()).is_some()
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
