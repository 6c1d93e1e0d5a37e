//! The client of one NameNode, or of the NameNodes of one nameservice, with deadlines and retries.
//!
//! A call has a deadline (`ipc.client.rpc-timeout.ms`, a minute if that is not set). Until then it is tried again while the NameNode
//! restarts, is in safe mode or fails over; whoever never answers is given up for half of the time, and the next try begins with
//! another NameNode over a new connection. Whoever was never reached is waited for only a few seconds: most likely the address is wrong.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use hadoop_rpc::configuration::Configuration;
use hadoop_rpc::credentials::{Credentials, CredentialsError};
use hadoop_rpc::{Login, NameNode, RetryPolicy, RpcError, User, is_secure};
use hdfs_native::file::FileWriter as HdfsFile;
use hdfs_native::{Client, ClientBuilder, HdfsError, WriteOptions};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::failure::Failure;
use super::{proof, runtime};
use crate::login;

/// The port of a NameNode's RPC where none is named.
const DEFAULT_PORT: &str = "8020";
/// How long a NameNode that was never reached is waited for.
const FIRST_CONTACT: Duration = Duration::from_secs(10);
/// How long a single connection may take while none was reached yet.
const FIRST_CONNECT: Duration = Duration::from_secs(3);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// What the client waits at most between two NameNodes: one that comes back is to be found soon.
const FAILOVER_SLEEP_MAX_MS: u64 = 2_000;

/// How long things may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// One call to the NameNode, retries included.
    pub(super) call: Duration,
    /// Reading or writing one piece of a file.
    pub(super) data: Duration,
    /// Until a file that another writer held, or that was cut, can be written.
    pub(super) recovery: Duration,
}

impl Limits {
    fn of(configuration: &Configuration) -> Self {
        // Zero means none in Hadoop; there is always one here.
        let positive = |name, default| {
            Some(configuration.get_duration(name, default))
                .filter(|limit| !limit.is_zero())
                .unwrap_or(default)
        };
        let call = positive("ipc.client.rpc-timeout.ms", Duration::from_secs(60));
        let socket = positive("dfs.client.socket-timeout", Duration::from_secs(60));
        // A DataNode that does not answer costs a socket timeout, and is then replaced by another, twice at most.
        Self { call, data: 3 * socket + call, recovery: 2 * call }
    }
}

/// A nameservice, or a NameNode alone.
#[derive(Debug)]
struct Target {
    url: String,
    /// The nameservice, if there is more than one NameNode.
    ha: Option<String>,
    addresses: Vec<String>,
}

fn target_of(authority: &str, configuration: &Configuration) -> Target {
    let address = |key: String| configuration.get(&key).filter(|address| !address.is_empty());
    let of_id = |id: &String| address(format!("dfs.namenode.rpc-address.{authority}.{id}"));
    let ids = configuration.get_list(&format!("dfs.ha.namenodes.{authority}"));
    let addresses: Vec<_> = ids.iter().filter_map(of_id).collect();
    if !addresses.is_empty() {
        return Target { url: format!("hdfs://{authority}"), ha: Some(authority.to_owned()), addresses };
    }
    let alone = if configuration.get_list("dfs.nameservices").iter().any(|service| service == authority) {
        address(format!("dfs.namenode.rpc-address.{authority}"))
    } else {
        None
    };
    let alone = alone.unwrap_or_else(|| authority.to_owned());
    let has_port = alone.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
    let alone = if has_port { alone } else { format!("{alone}:{DEFAULT_PORT}") };
    Target { url: format!("hdfs://{alone}"), ha: None, addresses: vec![alone] }
}

/// The client, and the turn the NameNodes take in it.
struct Current {
    client: Client,
    generation: usize,
}

pub(super) struct Session {
    configuration: Configuration,
    target: Target,
    pub(super) limits: Limits,
    /// What is taken away from new files' and folders' permissions.
    pub(super) umask: u32,
    current: Mutex<Current>,
    /// For the calls that the client does not know; made when it is first needed.
    name_node: Mutex<Option<NameNode>>,
    was_reached: AtomicBool,
    /// In which generation of the client the NameNodes have proved who they are, where they have to.
    proven: tokio::sync::Mutex<Option<usize>>,
}

impl Session {
    /// For the host and port, or nameservice, `authority`.
    pub(super) fn new(authority: &str, configuration: &Configuration) -> Result<Self, Failure> {
        let target = target_of(authority, configuration);
        let client = connect(&target, configuration, 0)?;
        Ok(Self {
            limits: Limits::of(configuration),
            umask: umask_of(configuration),
            configuration: configuration.clone(),
            target,
            current: Mutex::new(Current { client, generation: 0 }),
            name_node: Mutex::default(),
            was_reached: AtomicBool::new(false),
            proven: tokio::sync::Mutex::default(),
        })
    }

    /// How the NameNodes are named in errors.
    pub(super) fn name_nodes(&self) -> String {
        let addresses = self.target.addresses.join(" and ");
        match &self.target.ha {
            Some(service) => format!("NameNodes of {service} at {addresses}"),
            None => format!("NameNode at {addresses}"),
        }
    }

    /// Does something that takes as long as one call, and blocks for it.
    pub(super) fn wait<T, F>(&self, work: F) -> Result<T, Failure>
    where
        T: Send + 'static,
        F: Future<Output = Result<T, Failure>> + Send + 'static,
    {
        runtime::wait(self.limits.call, work).map_err(|failure| match failure {
            Failure::Late(_) => Failure::Late(self.limits.call),
            failure => failure,
        })
    }

    /// When a call that begins now is given up: a little before whoever waits for it would give up, to say why.
    pub(super) fn deadline(&self) -> Instant {
        Instant::now() + self.limits.call.mul_f64(0.95)
    }

    /// Tries something once.
    pub(super) async fn attempt<T, F>(
        &self,
        deadline: Instant,
        call: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, HdfsError>>,
    {
        self.first_contact(deadline).await?;
        let (client, generation) = {
            let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            (current.client.clone(), current.generation)
        };
        self.prove(generation, deadline).await?;
        let limit = deadline.saturating_duration_since(Instant::now()).min(self.limits.call / 2);
        match timeout(limit, call(client)).await {
            Ok(result) => result.map_err(Failure::Hdfs),
            Err(_) => {
                self.renew(generation)?;
                Err(Failure::Late(limit))
            }
        }
    }

    /// Tries something that may happen twice until it is done, or cannot be done.
    pub(super) async fn retry<T, F>(
        &self,
        deadline: Instant,
        call: impl Fn(Client) -> F,
    ) -> Result<T, Failure>
    where
        F: Future<Output = Result<T, HdfsError>>,
    {
        let mut pauses = Pauses::until(deadline);
        loop {
            match self.attempt(deadline, &call).await {
                Err(failure) if failure.is_ambiguous() || failure.is_passing() => {
                    pauses.after(failure).await?
                }
                result => return result,
            }
        }
    }

    /// Creates a file in place of one that is there. What is created twice is empty, and a file of its own, all the same.
    pub(super) async fn create(&self, path: &str, permission: u32) -> Result<HdfsFile, Failure> {
        let options = WriteOptions::default().permission(permission).overwrite(true).create_parent(false);
        self.retry(self.deadline(), |client| {
            let (path, options) = (path.to_owned(), options.clone());
            async move { client.create(&path, options).await }
        })
        .await
    }

    /// For the calls that the client does not know: where blocks are, and truncation. They have the same deadline.
    pub(super) fn name_node(&self) -> Result<NameNode, Failure> {
        let mut name_node = self.name_node.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(name_node) = &*name_node {
            // Tokens do not live for ever: the file may hold new ones.
            let unreadable = |error: CredentialsError| RpcError::Configuration { reason: error.to_string() };
            let tokens = Credentials::from_env().map_err(unreadable)?;
            name_node.rpc().user().add_credentials(&tokens.unwrap_or_default());
            return Ok(name_node.clone());
        }
        let made = self.name_node_for(self.user()?)?;
        *name_node = Some(made.clone());
        Ok(made)
    }

    /// Whoever this process is, with the tokens that are there now.
    fn user(&self) -> Result<User, Failure> {
        let keytab = login::keytab().filter(|_| is_secure(&self.configuration));
        let login = keytab.map(|keytab| Login::Keytab { principal: keytab.principal, keytab: keytab.path });
        Ok(User::from_system_with(&self.configuration, login)?)
    }

    fn name_node_for(&self, user: User) -> Result<NameNode, Failure> {
        let authority = self.target.ha.as_deref().or(self.target.addresses.first().map(String::as_str));
        let made = NameNode::new(&self.configuration, authority, user)?;
        let policy = RetryPolicy::within(self.limits.call.mul_f64(0.9));
        Ok(NameNode::over(made.rpc().with_policy(policy)))
    }

    /// Has the NameNodes prove who they are, once for each generation of the client, on a cluster with Kerberos.
    async fn prove(&self, generation: usize, deadline: Instant) -> Result<(), Failure> {
        if !is_secure(&self.configuration) {
            return Ok(());
        }
        let mut proven = self.proven.lock().await;
        if *proven >= Some(generation) {
            return Ok(());
        }
        let user = self.user()?;
        // With a keytab the client looks at no tokens; they may have ended.
        let user = if user.keytab().is_some() { user.without_tokens() } else { user };
        let name_nodes = self.name_node_for(user)?;
        let mut pauses = Pauses::until(deadline);
        loop {
            match proof::prove(name_nodes.rpc(), deadline).await {
                Err(failure @ Failure::Unreachable(_)) => pauses.after(failure).await?,
                proved => {
                    proved?;
                    *proven = Some(generation);
                    return Ok(());
                }
            }
        }
    }

    /// Waits for a NameNode to be there at all, unless one was before.
    async fn first_contact(&self, deadline: Instant) -> Result<(), Failure> {
        if self.was_reached.load(Ordering::Relaxed) {
            return Ok(());
        }
        let deadline = deadline.min(Instant::now() + FIRST_CONTACT);
        let mut pauses = Pauses::until(deadline);
        loop {
            let mut why = String::new();
            for address in &self.target.addresses {
                let until = deadline.min(Instant::now() + FIRST_CONNECT);
                let error = match timeout_at(until, TcpStream::connect(address)).await {
                    Ok(Ok(_)) => {
                        self.was_reached.store(true, Ordering::Relaxed);
                        return Ok(());
                    }
                    Ok(Err(error)) => error,
                    Err(_) => io::ErrorKind::TimedOut.into(),
                };
                why = format!("{why}{address}: {error}; ");
            }
            let why = format!("no NameNode can be reached: {why}is HDFS running, and is this its address?");
            pauses.after(Failure::Unreachable(why)).await?;
        }
    }

    /// Begins with another NameNode and a new connection, unless somebody did so since `generation`.
    fn renew(&self, generation: usize) -> Result<(), Failure> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.generation == generation {
            let client = connect(&self.target, &self.configuration, generation + 1)?;
            *current = Current { client, generation: generation + 1 };
        }
        Ok(())
    }
}

/// The pauses between attempts: each twice as long as the one before, no two callers' alike.
pub(super) struct Pauses {
    deadline: Instant,
    next: Duration,
}

impl Pauses {
    pub(super) fn until(deadline: Instant) -> Self {
        Self { deadline, next: FIRST_PAUSE }
    }

    /// Waits a little after a failure, or gives it back if there is no time for another attempt.
    pub(super) async fn after(&mut self, failure: Failure) -> Result<(), Failure> {
        let jitter = 0.5 + f64::from(unique().to_le_bytes()[0]) / 256.0;
        let until = Instant::now() + self.next.mul_f64(jitter);
        if until >= self.deadline {
            return Err(failure);
        }
        sleep(until.saturating_duration_since(Instant::now())).await;
        self.next = (self.next * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// A number that is different each time.
pub(super) fn unique() -> u64 {
    RandomState::new().hash_one(0)
}

/// A client that knows nothing but our configuration. The NameNodes of a nameservice are rotated by `turn`.
fn connect(target: &Target, configuration: &Configuration, turn: usize) -> Result<Client, Failure> {
    let mut configuration = configuration.clone();
    if let Some(service) = &target.ha {
        let key = format!("dfs.ha.namenodes.{service}");
        let mut ids = configuration.get_list(&key);
        let places = turn % ids.len().max(1);
        ids.rotate_left(places);
        configuration.set(&key, &ids.join(","));
    }
    // The client reads numbers of milliseconds alone.
    for (key, default) in [
        ("dfs.client.socket-timeout", 60_000),
        ("dfs.client.failover.sleep.max.millis", FAILOVER_SLEEP_MAX_MS),
    ] {
        let millis = configuration.get_duration(key, Duration::from_millis(default)).as_millis();
        configuration.set(key, &millis.to_string());
    }
    let mut builder = ClientBuilder::new()
        .with_url(&target.url)
        .with_config(configuration.entries())
        // Files in this folder cannot exist: it would read others than ours, and less well.
        .with_config_dir("/dev/null")
        .with_io_runtime(runtime::handle().map_err(|error| Failure::Hdfs(error.into()))?);
    if is_secure(&configuration) {
        // It asks HADOOP_PROXY_USER itself.
        if let Some(login::Keytab { principal, path }) = login::keytab() {
            builder = builder
                .with_kerberos_principal(principal)
                .with_kerberos_keytab(format!("FILE:{}", path.display()));
        }
    } else if let Some(proxied) = std::env::var("HADOOP_PROXY_USER").ok().filter(|name| !name.is_empty()) {
        builder = builder.with_user(proxied);
    }
    Ok(builder.build()?)
}

fn umask_of(configuration: &Configuration) -> u32 {
    let text = configuration.get_or("fs.permissions.umask-mode", "022");
    // Another form than three digits is rare; nobody else may then do anything, which is never too much.
    u32::from_str_radix(&text, 8).ok().filter(|mask| *mask <= 0o777).unwrap_or(0o077)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(pairs: &[(&str, &str)]) -> Configuration {
        let mut configuration = Configuration::new();
        for (name, value) in pairs {
            configuration.set(name, value);
        }
        configuration
    }

    #[test]
    fn an_authority_is_a_host_or_a_nameservice() {
        let configuration = configuration(&[
            ("dfs.nameservices", "pair, single"),
            ("dfs.ha.namenodes.pair", "a, b"),
            ("dfs.namenode.rpc-address.pair.a", "h1:9820"),
            ("dfs.namenode.rpc-address.pair.b", "h2:9820"),
            ("dfs.namenode.rpc-address.single", "h3:9820"),
        ]);
        for (authority, url, addresses) in [
            ("pair", "hdfs://pair", &["h1:9820", "h2:9820"][..]),
            ("single", "hdfs://h3:9820", &["h3:9820"]),
            ("host", "hdfs://host:8020", &["host:8020"]),
            ("host:1", "hdfs://host:1", &["host:1"]),
        ] {
            let target = target_of(authority, &configuration);
            assert_eq!(
                (target.url.as_str(), target.addresses.as_slice()),
                (url, &addresses.map_to_strings()[..])
            );
        }
        let session = Session::new("pair", &configuration).unwrap();
        assert_eq!(session.name_nodes(), "NameNodes of pair at h1:9820 and h2:9820");
        session.renew(0).unwrap();
        session.renew(0).unwrap();
        assert_eq!(session.current.lock().unwrap().generation, 1);
    }

    trait MapToStrings {
        fn map_to_strings(&self) -> Vec<String>;
    }

    impl MapToStrings for [&str] {
        fn map_to_strings(&self) -> Vec<String> {
            self.iter().map(|text| (*text).to_owned()).collect()
        }
    }

    #[test]
    fn masks_and_limits_are_hadoops() {
        for (mask, expected) in [("022", 0o022), ("77", 0o077), ("u=rwx,g=,o=", 0o077), ("7777", 0o077)] {
            assert_eq!(umask_of(&configuration(&[("fs.permissions.umask-mode", mask)])), expected);
        }
        let limits = Limits::of(&configuration(&[
            ("ipc.client.rpc-timeout.ms", "0"),
            ("dfs.client.socket-timeout", "1s"),
        ]));
        assert_eq!((limits.call, limits.data), (Duration::from_secs(60), Duration::from_secs(63)));
    }
}
