//! New tokens for an application that outlives its old ones: got by the keytab in time, written into this container's token file, and
//! handed to whoever else needs them.
//!
//! Each file system's are got by themselves: one that is away for long costs the others nothing, and its last token stays where it is.

use std::hash::{BuildHasher, RandomState};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use hadoop_rpc::configuration::Configuration as HadoopConfiguration;
use hadoop_rpc::credentials::{Credentials, DelegationToken, Token};
use hadoop_rpc::{RpcError, User};
use tokio::sync::{Mutex, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::tokens::{TokenGiver, givers};
use super::{SecurityError, for_containers, schedule};

/// Where the newest tokens are heard of.
pub(crate) struct RenewedTokens {
    /// As YARN gets them with a container's launch.
    pub(crate) launch: watch::Receiver<Credentials>,
    /// As a token file has them; empty: as launched.
    pub(crate) files: watch::Receiver<Vec<u8>>,
}

/// What gets new tokens.
pub(crate) struct Renewal {
    givers: Vec<TokenGiver>,
    keeper: Arc<Keeper>,
}

/// What keeps them.
struct Keeper {
    user: User,
    hadoop: HadoopConfiguration,
    token_file: PathBuf,
    /// Held while the file is written: the newest are the last.
    launch: Mutex<watch::Sender<Credentials>>,
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
    ///
    /// # Errors
    /// [`SecurityError::Token`]: the configuration does not say where a file system is.
    pub(crate) fn new(
        user: User,
        hadoop: HadoopConfiguration,
        file_systems: &[Option<String>],
        token_file: &Path,
        launched: Credentials,
    ) -> Result<(Self, RenewedTokens), SecurityError> {
        let givers = givers(&hadoop, file_systems, &user)?;
        let (launch, newest) = watch::channel(launched);
        let (files, newest_file) = watch::channel(Vec::new());
        let keeper =
            Keeper { user, hadoop, token_file: token_file.to_owned(), launch: Mutex::new(launch), files };
        let renewal = Self { givers, keeper: Arc::new(keeper) };
        Ok((renewal, RenewedTokens { launch: newest, files: newest_file }))
    }

    /// Has new tokens got in time, again and again, by a task for each file system. Those at hand may be too old for anything; then this returns once new
    /// ones were tried to be got.
    pub(crate) async fn begin(self) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        let (trying, mut tried) = mpsc::channel(1);
        let launched = self.keeper.launch.lock().await.borrow().clone();
        for giver in self.givers {
            let first = first(launched.token(&giver.alias));
            tasks.spawn(Arc::clone(&self.keeper).renew(giver, first, trying.clone()));
        }
        drop(trying);
        // Nothing is said: it ends when all have dropped their ends.
        tried.recv().await;
        tasks
    }
}

/// How long a token that the application began with may be used before there has to be a new one. YARN renews it.
fn first(launched: Option<&Token>) -> Duration {
    launched.and_then(DelegationToken::of).map_or(Duration::ZERO, |token| {
        schedule::first(now(), token.issued, schedule::usable(token.issued, u64::MAX, token.ends))
    })
}

impl Keeper {
    /// Gets new tokens of a file system in time, the first after `first`. Failures are tried again, more often when time is short. Lets go of `trying`
    /// once there is a token, or has been a failure.
    async fn renew(self: Arc<Self>, giver: TokenGiver, first: Duration, trying: mpsc::Sender<()>) {
        let mut trying = Some(trying).filter(|_| first.is_zero());
        let (mut pause, mut failures) = (first, 0);
        // What the application began with is good for longer than that.
        let mut good_until = Instant::now() + first / 3 * 4;
        loop {
            tokio::time::sleep(pause).await;
            let file_system = &giver.file_system;
            match self.renew_once(&giver).await {
                Ok(good) => {
                    (pause, failures) = (schedule::next(good), 0);
                    good_until = Instant::now() + good.min(Duration::from_secs(u32::MAX.into()));
                    tracing::info!(file_system, good_for = ?good, next = ?pause, "the application has a new token");
                }
                Err(error) => {
                    failures += 1;
                    let left = good_until.saturating_duration_since(Instant::now());
                    pause = schedule::retry(failures, left, random());
                    tracing::warn!(%error, ?left, again = ?pause, "no new token: without one the application loses that file system");
                }
            }
            drop(trying.take());
        }
    }

    /// Gets a new token, and says for how long it is good.
    async fn renew_once(&self, giver: &TokenGiver) -> Result<Duration, SecurityError> {
        let identity = {
            let (user, hadoop) = (self.user.clone(), self.hadoop.clone());
            let identified = tokio::task::spawn_blocking(move || user.identify(&hadoop)).await;
            let panicked =
                |error: tokio::task::JoinError| RpcError::Configuration { reason: error.to_string() };
            identified.map_err(panicked).and_then(|identity| identity).map_err(SecurityError::Login)?
        };
        // YARN does not know this token. Being one's own renewer tells for how long it is good as it is; then comes another.
        let token = giver.give(&self.hadoop, &identity.short_name).await?;
        let token = token.ok_or_else(|| SecurityError::NoToken(giver.file_system.clone()))?;
        let expires = giver.name_node.renew_delegation_token(token.clone()).await;
        let expires = expires.map_err(|error| giver.failed(error))?;
        let known = DelegationToken::of(&token);
        let (issued, ends) = known.map_or((now(), u64::MAX), |token| (token.issued, token.ends));
        self.keep(giver.alias.clone(), token).await?;
        Ok(schedule::usable(issued, expires, ends))
    }

    /// Puts a token in place of the old one, beside those of other file systems.
    async fn keep(&self, alias: String, token: Token) -> Result<(), SecurityError> {
        let launch = self.launch.lock().await;
        let mut credentials = launch.borrow().clone();
        credentials.insert(alias, token);
        let file = for_containers(&self.hadoop, &credentials);
        let (bytes, path) = (file.write(), self.token_file.clone());
        let written = tokio::task::spawn_blocking(move || file.write_file(&path)).await;
        written.unwrap_or(Ok(()))?;
        launch.send_replace(credentials);
        self.files.send_replace(bytes);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use hadoop_rpc::credentials::HDFS_DELEGATION_TOKEN;

    use super::*;

    fn token(service: &str, password: u8) -> Token {
        let (kind, service) = (HDFS_DELEGATION_TOKEN.to_owned(), service.to_owned());
        Token { kind, service, identifier: vec![1], password: vec![password] }
    }

    fn renewal(
        file: &Path,
        file_systems: &[Option<String>],
        launched: Credentials,
    ) -> (Renewal, RenewedTokens) {
        let mut hadoop = HadoopConfiguration::new();
        hadoop.set("fs.defaultFS", "hdfs://127.0.0.1:1");
        Renewal::new(User::simple("alice"), hadoop, file_systems, file, launched).unwrap()
    }

    #[tokio::test]
    async fn a_new_token_of_one_file_system_leaves_the_others_where_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("container_tokens");
        let mut launched = Credentials::default();
        launched.insert("127.0.0.1:1", token("127.0.0.1:1", 1));
        launched.insert("backup:2", token("backup:2", 2));
        let (renewal, tokens) = renewal(&file, &[None, Some("backup:2".to_owned())], launched);
        renewal.keeper.keep("127.0.0.1:1".to_owned(), token("127.0.0.1:1", 3)).await.unwrap();
        let passwords = |credentials: &Credentials| {
            ["127.0.0.1:1", "backup:2"].map(|alias| credentials.token(alias).unwrap().password[0])
        };
        assert_eq!(passwords(&tokens.launch.borrow()), [3, 2]);
        let kept = std::fs::read(&file).unwrap();
        assert_eq!(passwords(&Credentials::read(&kept).unwrap()), [3, 2]);
        assert_eq!(*tokens.files.borrow(), kept);
    }

    #[tokio::test]
    async fn what_is_tried_in_vain_neither_ends_nor_empties_anything() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("container_tokens");
        std::fs::write(&file, b"as launched").unwrap();
        // Nobody listens there, and the token at hand says nothing of its life.
        let mut launched = Credentials::default();
        launched.insert("127.0.0.1:1", token("127.0.0.1:1", 1));
        let (mut renewal, tokens) = renewal(&file, &[None], launched.clone());
        for giver in &mut renewal.givers {
            let once = hadoop_rpc::RetryPolicy::once(Duration::from_secs(30));
            giver.name_node = hadoop_rpc::NameNode::over(giver.name_node.rpc().with_policy(once));
        }
        let mut tasks = renewal.begin().await;
        assert!(tasks.try_join_next().is_none(), "it goes on trying");
        assert_eq!(*tokens.launch.borrow(), launched);
        assert_eq!(std::fs::read(&file).unwrap(), b"as launched");
    }
}
