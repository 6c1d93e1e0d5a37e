//! New tokens for an application that outlives its old ones: got by the keytab in time, written into this container's token file, and
//! handed to whoever else needs them.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use hadoop_rpc::User;
use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::credentials::{Credentials, DelegationToken, HDFS_DELEGATION_TOKEN};
use hadoop_rpc::{NameNode, RpcError};
use tokio::sync::watch;
use tokio::time::Instant;

use super::{SecurityError, for_containers, obtain, schedule};

/// Where the newest tokens are heard of.
pub(crate) struct RenewedTokens {
    /// As YARN gets them with a container's launch.
    pub(crate) launch: watch::Receiver<Credentials>,
    /// As a token file has them; empty: as launched.
    pub(crate) files: watch::Receiver<Vec<u8>>,
}

/// What gets new tokens.
pub(crate) struct Renewal {
    user: User,
    hadoop: HadoopConfiguration,
    file_systems: Vec<Option<String>>,
    token_file: PathBuf,
    launch: watch::Sender<Credentials>,
    files: watch::Sender<Vec<u8>>,
}

fn now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

/// From 0 to 1.
fn random() -> f64 {
    f64::from((RandomState::new().hash_one(0) >> 32) as u32) / f64::from(u32::MAX)
}

impl Renewal {
    /// For an application that began with the tokens `launched`; `user` has the keytab.
    pub(crate) fn new(
        user: User,
        hadoop: HadoopConfiguration,
        file_systems: Vec<Option<String>>,
        token_file: &Path,
        launched: Credentials,
    ) -> (Self, RenewedTokens) {
        let (launch, newest) = watch::channel(launched);
        let (files, newest_file) = watch::channel(Vec::new());
        let token_file = token_file.to_owned();
        let renewal = Self { user, hadoop, file_systems, token_file, launch, files };
        (renewal, RenewedTokens { launch: newest, files: newest_file })
    }

    /// How long the tokens that the application began with may be used before there have to be new ones. YARN renews those.
    pub(crate) fn first(&self) -> Duration {
        let launched = self.launch.borrow();
        let tokens = launched.of_kind(HDFS_DELEGATION_TOKEN).filter_map(DelegationToken::of);
        let waits = tokens.map(|token| {
            let usable = schedule::usable(token.issued, u64::MAX, token.ends);
            schedule::first(now(), token.issued, usable)
        });
        waits.min().unwrap_or_default()
    }

    /// Gets new tokens, and says for how long they are good.
    ///
    /// # Errors
    /// [`SecurityError`].
    pub(crate) async fn renew(&self) -> Result<Duration, SecurityError> {
        let identity = {
            let (user, hadoop) = (self.user.clone(), self.hadoop.clone());
            let identified = tokio::task::spawn_blocking(move || user.identify(&hadoop)).await;
            let panicked =
                |error: tokio::task::JoinError| RpcError::Configuration { reason: error.to_string() };
            identified.map_err(panicked).and_then(|identity| identity).map_err(SecurityError::Login)?
        };
        // YARN does not know these tokens. Being one's own renewer tells for how long they are good as they are; then come others.
        let credentials = obtain(&self.hadoop, &self.file_systems, &self.user, &identity.short_name).await?;
        let mut good = Duration::MAX;
        for (alias, token) in credentials.tokens() {
            let failed =
                |source| SecurityError::Token { file_system: alias.to_owned(), source: Box::new(source) };
            let authority = alias.strip_prefix("ha-hdfs:").unwrap_or(alias);
            let name_node =
                NameNode::new(&self.hadoop, Some(authority), self.user.clone()).map_err(failed)?;
            let expires = name_node.renew_delegation_token(token.clone()).await.map_err(failed)?;
            if let Some(DelegationToken { issued, ends, .. }) = DelegationToken::of(token) {
                good = good.min(schedule::usable(issued, expires, ends));
            }
        }
        let file = for_containers(&self.hadoop, &credentials);
        let (bytes, path) = (file.write(), self.token_file.clone());
        let written = tokio::task::spawn_blocking(move || file.write_file(&path)).await;
        written.unwrap_or(Ok(()))?;
        self.launch.send_replace(credentials);
        self.files.send_replace(bytes);
        Ok(good)
    }

    /// Gets new tokens in time, again and again; the first after `first`. Failures are tried again, more often when time is short.
    pub(crate) async fn run(self, first: Duration) {
        let (mut pause, mut failures) = (first, 0);
        // What the application began with is good for longer than that.
        let mut good_until = Instant::now() + first * 4 / 3;
        loop {
            tokio::time::sleep(pause).await;
            match self.renew().await {
                Ok(good) => {
                    (pause, failures) = (schedule::next(good), 0);
                    good_until = Instant::now() + good.min(Duration::from_secs(u32::MAX.into()));
                    tracing::info!(good_for = ?good, next = ?pause, "the application has new tokens");
                }
                Err(error) => {
                    failures += 1;
                    let left = good_until.saturating_duration_since(Instant::now());
                    pause = schedule::retry(failures, left, random());
                    tracing::warn!(%error, ?left, again = ?pause, "no new tokens: without them the application loses HDFS");
                }
            }
        }
    }
}
