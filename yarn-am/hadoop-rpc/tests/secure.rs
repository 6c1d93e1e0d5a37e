//! Kerberos and delegation tokens on a real cluster, and what is said when they do not work.
//!
//! It runs only where `HADOOP_CONF_DIR` names the configuration of a cluster with Kerberos and `KEYTABS` a folder with the keytabs of alice,
//! bob and root, and says so otherwise. What depends on the ticket cache runs in a process of its own, since the cache is named by its environment.
#![cfg(feature = "kerberos")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::path::{Path, PathBuf};
use std::process::Command;

use hadoop_rpc::configuration::Configuration;
use hadoop_rpc::credentials::Token;
use hadoop_rpc::{ApplicationClient, NameNode, RemoteException, RpcError, User};

/// The secure cluster's configuration and its keytabs, if there is one.
fn cluster() -> Option<(Configuration, PathBuf)> {
    let configuration = std::env::var_os("HADOOP_CONF_DIR").map(|_| Configuration::from_env().unwrap());
    let secure = |configuration: &Configuration| {
        configuration.get_or("hadoop.security.authentication", "") == "kerberos"
    };
    let found = configuration.filter(secure).zip(std::env::var_os("KEYTABS").map(PathBuf::from));
    if found.is_none() {
        eprintln!("skipped: HADOOP_CONF_DIR and KEYTABS name no secure cluster");
    }
    found
}

fn keytab(keytabs: &Path, name: &str) -> PathBuf {
    keytabs.join(format!("{name}.keytab"))
}

/// A caller who has nothing but a token.
fn bearer(token: &Token) -> User {
    let user = User::simple("bearer");
    user.add_token(token.clone());
    user
}

async fn look(configuration: &Configuration, user: User) -> Result<(), RpcError> {
    let hdfs = NameNode::new(configuration, None, user).unwrap();
    hdfs.get_file_info("/tmp").await.map(|_| ())
}

fn now() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    u64::try_from(now.as_millis()).unwrap()
}

#[tokio::test]
async fn a_delegation_token_opens_hdfs_until_it_is_cancelled() {
    let Some((configuration, keytabs)) = cluster() else { return };
    let alice = User::from_keytab("alice", keytab(&keytabs, "alice"));
    let hdfs = NameNode::new(&configuration, None, alice).unwrap();
    let token = hdfs.get_delegation_token("alice").await.unwrap().unwrap();
    assert_eq!(token.kind, "HDFS_DELEGATION_TOKEN");
    assert!(hdfs.renew_delegation_token(token.clone()).await.unwrap() > now());

    look(&configuration, bearer(&token)).await.unwrap();
    let with_token = NameNode::new(&configuration, None, bearer(&token)).unwrap();
    let error = with_token.get_delegation_token("alice").await.unwrap_err();
    assert!(error.to_string().contains("Delegation Token can be issued only with kerberos"), "{error}");

    let bob = User::from_keytab("bob", keytab(&keytabs, "bob"));
    let by_bob =
        NameNode::new(&configuration, None, bob).unwrap().renew_delegation_token(token.clone()).await;
    assert_eq!(by_bob.unwrap_err().exception(), Some(RemoteException::AccessControl));

    hdfs.cancel_delegation_token(token.clone()).await.unwrap();
    let error = look(&configuration, bearer(&token)).await.unwrap_err();
    assert_eq!(error.exception(), Some(RemoteException::InvalidToken), "{error}");
    let again = hdfs.cancel_delegation_token(token).await.unwrap_err();
    assert_eq!(again.exception(), Some(RemoteException::InvalidToken), "{again}");
}

#[tokio::test]
async fn a_delegation_token_opens_yarn_until_it_is_cancelled() {
    let Some((configuration, keytabs)) = cluster() else { return };
    let alice = User::from_keytab("alice", keytab(&keytabs, "alice"));
    let yarn = ApplicationClient::new(&configuration, alice).unwrap();
    let token = yarn.get_delegation_token("alice").await.unwrap();
    assert_eq!(token.kind, "RM_DELEGATION_TOKEN");
    assert!(yarn.renew_delegation_token(token.clone()).await.unwrap() > now());
    let with_token = ApplicationClient::new(&configuration, bearer(&token)).unwrap();
    assert!(with_token.get_cluster_metrics().await.unwrap().num_active_nms() > 0);
    yarn.cancel_delegation_token(token).await.unwrap();
    with_token.rpc().reconnect();
    let error = with_token.get_cluster_metrics().await.unwrap_err();
    assert_eq!(error.exception(), Some(RemoteException::InvalidToken), "{error}");
}

#[tokio::test]
async fn a_token_with_a_wrong_password_is_refused() {
    let Some((configuration, keytabs)) = cluster() else { return };
    let alice = User::from_keytab("alice", keytab(&keytabs, "alice"));
    let hdfs = NameNode::new(&configuration, None, alice).unwrap();
    let token = hdfs.get_delegation_token("alice").await.unwrap().unwrap();
    let forged = Token { password: b"guessed".to_vec(), ..token.clone() };
    let error = look(&configuration, bearer(&forged)).await.unwrap_err();
    assert!(matches!(error, RpcError::Authentication { .. }), "{error}");
    hdfs.cancel_delegation_token(token).await.unwrap();
}

#[tokio::test]
async fn a_proxied_user_gets_tokens_if_the_servers_allow_it() {
    let Some((configuration, keytabs)) = cluster() else { return };
    let root = User::from_keytab("root", keytab(&keytabs, "root"));
    let hdfs = NameNode::new(&configuration, None, root.proxying("alice")).unwrap();
    let token = hdfs.get_delegation_token("alice").await.unwrap().unwrap();
    look(&configuration, bearer(&token)).await.unwrap();
    hdfs.cancel_delegation_token(token).await.unwrap();

    let alice = User::from_keytab("alice", keytab(&keytabs, "alice"));
    let error = look(&configuration, alice.proxying("bob")).await.unwrap_err();
    assert!(error.to_string().contains("not allowed to impersonate bob"), "{error}");
}

#[tokio::test]
async fn a_keytab_that_does_not_fit_is_explained() {
    let Some((configuration, keytabs)) = cluster() else { return };
    let alice = keytab(&keytabs, "alice");
    let say = async |principal: &str, keytab: &Path| {
        look(&configuration, User::from_keytab(principal, keytab)).await.unwrap_err().to_string()
    };
    let other = say("bob", &alice).await;
    assert!(other.contains("alice.keytab has no key of bob: klist -k shows whose it has"), "{other}");
    let missing = say("alice", Path::new("/none/a.keytab")).await;
    assert!(missing.contains("the keytab /none/a.keytab cannot be read: No such file"), "{missing}");
    let folder = tempfile::tempdir().unwrap();
    let garbage = folder.path().join("garbage");
    std::fs::write(&garbage, b"this is no keytab").unwrap();
    let garbage = say("alice", &garbage).await;
    assert!(
        garbage.contains("alice cannot log in with") || garbage.contains("has no key of alice"),
        "{garbage}"
    );
    let realm = say("alice@ELSEWHERE.TEST", &alice).await;
    assert!(realm.contains("ELSEWHERE.TEST"), "{realm}");
}

#[tokio::test]
async fn a_server_that_is_another_than_configured_is_refused() {
    let Some((mut configuration, keytabs)) = cluster() else { return };
    let principal = configuration.get("dfs.namenode.kerberos.principal").unwrap();
    let alice = || User::from_keytab("alice", keytab(&keytabs, "alice"));
    configuration.set("dfs.namenode.kerberos.principal", &principal.replace("localhost", "_HOST"));
    look(&configuration, alice()).await.unwrap();
    configuration.set("dfs.namenode.kerberos.principal", &principal.replace("localhost", "elsewhere"));
    let error = look(&configuration, alice()).await.unwrap_err().to_string();
    assert!(error.contains("dfs.namenode.kerberos.principal expects nn/elsewhere@"), "{error}");
    configuration.set("dfs.namenode.kerberos.principal.pattern", "nn/*");
    look(&configuration, alice()).await.unwrap();
}

#[tokio::test]
async fn an_insecure_client_is_told_what_to_set() {
    let Some((mut configuration, _)) = cluster() else { return };
    configuration.set("hadoop.security.authentication", "simple");
    let error = look(&configuration, User::simple("alice")).await.unwrap_err();
    assert!(error.to_string().contains("SIMPLE authentication is not enabled"), "{error}");
    configuration.set("hadoop.security.authentication", "kerberos");
    let error = look(&configuration, User::simple("alice")).await.unwrap_err();
    assert!(error.to_string().contains("run kinit or use a keytab"), "{error}");
}

/// Not a test by itself: looks at HDFS with the ticket cache of the environment and says how it went.
#[tokio::test]
async fn child_looks_with_its_ticket_cache() {
    if std::env::var_os("LOOK_WITH_TICKET_CACHE").is_none() {
        return;
    }
    let Some((configuration, _)) = cluster() else { return };
    match look(&configuration, User::from_ticket_cache()).await {
        Ok(()) => println!("LOOKED"),
        Err(error) => println!("LOOKED {error}"),
    }
}

fn look_with_cache(cache: &Path) -> String {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_looks_with_its_ticket_cache", "--nocapture"])
        .env("LOOK_WITH_TICKET_CACHE", "1")
        .env("KRB5CCNAME", cache)
        .output()
        .unwrap();
    let said = String::from_utf8(child.stdout).unwrap();
    let line =
        said.lines().find_map(|line| line.split_once("LOOKED")).map(|(_, rest)| rest.trim().to_owned());
    line.unwrap_or_else(|| panic!("{said}"))
}

#[tokio::test]
async fn the_ticket_cache_opens_hdfs_and_its_absence_is_explained() {
    let Some((_, keytabs)) = cluster() else { return };
    let folder = tempfile::tempdir().unwrap();
    let cache = folder.path().join("cache");
    let none = look_with_cache(&cache);
    assert!(none.contains("there is no ticket: run kinit, or use a keytab"), "{none}");
    std::fs::write(&cache, b"this is no ticket cache").unwrap();
    let garbage = look_with_cache(&cache);
    assert!(garbage.contains("authentication at"), "{garbage}");
    std::fs::remove_file(&cache).unwrap();
    let kinit = Command::new("kinit")
        .args(["-k", "-t"])
        .arg(keytab(&keytabs, "alice"))
        .arg("-c")
        .arg(&cache)
        .arg("alice")
        .status()
        .unwrap();
    assert!(kinit.success());
    assert_eq!(look_with_cache(&cache), "");
}

/// Only where `OUTLIVE` says for how many seconds: longer than a ticket lives on a cluster with short tickets.
#[tokio::test]
async fn a_keytab_outlives_its_tickets_and_its_tokens() {
    let Some((configuration, keytabs)) = cluster() else { return };
    let Some(seconds) = std::env::var("OUTLIVE").ok().and_then(|seconds| seconds.parse().ok()) else {
        eprintln!("skipped: OUTLIVE is no number of seconds");
        return;
    };
    let hdfs =
        NameNode::new(&configuration, None, User::from_keytab("alice", keytab(&keytabs, "alice"))).unwrap();
    let first = hdfs.get_delegation_token("alice").await.unwrap().unwrap();
    let end = tokio::time::Instant::now() + std::time::Duration::from_secs(seconds);
    let mut connections = 0;
    while tokio::time::Instant::now() < end {
        let token = hdfs.get_delegation_token("alice").await.unwrap().unwrap();
        look(&configuration, bearer(&token)).await.unwrap();
        hdfs.rpc().reconnect();
        connections += 1;
        tokio::time::sleep(std::time::Duration::from_secs(2)).await;
    }
    let over = look(&configuration, bearer(&first)).await.err().and_then(|error| error.exception());
    eprintln!("{connections} connections by keytab in {seconds} s; the first token now: {over:?}");
}
