//! Programs that were fetched from the JobManager, each once.

use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tonic::transport::Channel;

use crate::program_store::{ContentHash, ProgramStore, StoreError};
use crate::rpc::control::ProgramRequest;
use crate::rpc::control::job_manager_client::JobManagerClient;

/// How long the JobManager may take between two pieces.
const DEADLINE: Duration = Duration::from_secs(30);

/// Why there is no program.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("the JobManager does not send program {hash}: {reason}")]
    Refused { hash: ContentHash, reason: String },
}

/// The programs of a TaskManager.
pub(super) struct Programs {
    store: ProgramStore,
    /// Held while a program is fetched, so that it is fetched once.
    fetching: Mutex<HashMap<ContentHash, Arc<tokio::sync::Mutex<()>>>>,
}

impl Programs {
    pub(super) fn new(store: ProgramStore) -> Self {
        Self { store, fetching: Mutex::default() }
    }

    /// Where a program is; it is fetched, if it is not here.
    pub(super) async fn get(
        &self,
        hash: &ContentHash,
        client: JobManagerClient<Channel>,
    ) -> Result<PathBuf, FetchError> {
        if let Some(path) = self.store.get(hash) {
            return Ok(path);
        }
        let turn = {
            let mut fetching = self.fetching.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(fetching.entry(hash.clone()).or_default())
        };
        let _turn = turn.lock().await;
        let path = match self.store.get(hash) {
            Some(path) => Ok(path),
            None => self.fetch(hash, client).await,
        };
        self.fetching.lock().unwrap_or_else(PoisonError::into_inner).remove(hash);
        path
    }

    async fn fetch(
        &self,
        hash: &ContentHash,
        mut client: JobManagerClient<Channel>,
    ) -> Result<PathBuf, FetchError> {
        let refused = |reason: &str| FetchError::Refused { hash: hash.clone(), reason: reason.to_owned() };
        let late = |_| refused("nothing came in 30 s");
        let request = ProgramRequest { content_hash: hash.to_string() };
        let chunks = tokio::time::timeout(DEADLINE, client.fetch_program(request)).await.map_err(late)?;
        let mut chunks = chunks.map_err(|status| refused(status.message()))?.into_inner();
        let mut writer = self.store.write(hash.clone())?;
        loop {
            let chunk = tokio::time::timeout(DEADLINE, chunks.message()).await.map_err(late)?;
            match chunk.map_err(|status| refused(status.message()))? {
                Some(chunk) => writer.piece(&chunk.data)?,
                None => break,
            }
        }
        let path = writer.finish()?;
        // A process keeps the file it was started from.
        self.store.retain(&HashSet::from([hash.clone()]));
        Ok(path)
    }
}
