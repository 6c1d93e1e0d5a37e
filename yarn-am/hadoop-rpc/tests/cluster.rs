//! The whole life of an ApplicationMaster on a real cluster: submit, register by token, get a container, start it, see it end, leave.
//!
//! It runs only where `HADOOP_CONF_DIR` names the configuration of a cluster, and says so otherwise. On a cluster with Kerberos the user is
//! whoever has a ticket, or `KEYTAB` and `PRINCIPAL` say whom to be. `PROTECTION` takes the place of `hadoop.rpc.protection`, for a cluster
//! that offers several. `PROXIED` is for whom the user acts: a secure ResourceManager gives an unmanaged application's token only to a user whose
//! name has no realm, which a proxied one's has not.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by a panic")]

use std::time::Duration;

use hadoop_rpc::configuration::Configuration;
use hadoop_rpc::proto::yarn::*;
use hadoop_rpc::{
    ApplicationClient, ApplicationMasterClient, ContainerManager, NameNode, RemoteException, RetryPolicy,
    User,
};

const PATIENCE: Duration = Duration::from_secs(60);

/// The cluster's configuration, if there is a cluster.
fn cluster() -> Option<Configuration> {
    if std::env::var_os("HADOOP_CONF_DIR").is_none() {
        eprintln!("skipped: HADOOP_CONF_DIR names no cluster");
        return None;
    }
    let mut configuration = Configuration::from_env().unwrap();
    if let Ok(protection) = std::env::var("PROTECTION") {
        configuration.set("hadoop.rpc.protection", &protection);
    }
    Some(configuration)
}

fn user(configuration: &Configuration) -> User {
    let user = match (std::env::var("PRINCIPAL"), std::env::var("KEYTAB")) {
        (Ok(principal), Ok(keytab)) => User::from_keytab(principal, keytab),
        _ => User::from_system(configuration).unwrap(),
    };
    match std::env::var("PROXIED") {
        Ok(name) => user.proxying(&name),
        _ => user,
    }
}

/// Asks every 50 ms until there is an answer; what is waited for is another process's work, which gives no event.
async fn eventually<T, F: Future<Output = Option<T>>>(what: &str, mut ask: impl FnMut() -> F) -> T {
    let asked = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or_else(|_| panic!("no {what} within {PATIENCE:?}"))
}

async fn submit(yarn: &ApplicationClient, name: &str) -> ApplicationId {
    let id = yarn.get_new_application().await.unwrap().application_id.unwrap();
    let context = ApplicationSubmissionContext {
        application_id: Some(id),
        application_name: Some(name.into()),
        application_type: Some("hadoop-rpc test".into()),
        unmanaged_am: Some(true),
        resource: Some(Resource { memory: Some(128), virtual_cores: Some(1), ..Default::default() }),
        priority: Some(Priority { priority: Some(0) }),
        am_container_spec: Some(ContainerLaunchContext::default()),
        ..Default::default()
    };
    yarn.submit_application(context.clone()).await.unwrap();
    // Hadoop calls this idempotent; a second time nothing happens.
    yarn.submit_application(context).await.unwrap();
    id
}

#[tokio::test]
async fn an_application_master_lives_and_leaves() {
    let Some(configuration) = cluster() else { return };
    let yarn = ApplicationClient::new(&configuration, user(&configuration)).unwrap();
    let id = submit(&yarn, "life").await;
    let token = eventually("application's token", || async {
        yarn.get_application_report(id).await.unwrap().am_rm_token
    })
    .await;

    let myself = User::simple("ignored: the token says who calls");
    myself.add_token(token.into());
    let master = ApplicationMasterClient::new(&configuration, myself).unwrap();
    let not_registered = master.allocate(&AllocateRequest::default()).await.unwrap_err();
    assert_eq!(
        not_registered.exception(),
        Some(RemoteException::ApplicationMasterNotRegistered),
        "{not_registered}"
    );
    let registration = RegisterApplicationMasterRequest {
        host: Some("localhost".into()),
        rpc_port: Some(1),
        tracking_url: Some(String::new()),
    };
    let registered = master.register(&registration).await.unwrap();
    assert_eq!(registered.queue(), "root.default");
    assert!(registered.maximum_capability.unwrap().memory() >= 128);
    let twice = master.register(&registration).await.unwrap_err();
    assert_eq!(twice.exception(), Some(RemoteException::InvalidApplicationMasterRequest), "{twice}");

    let too_large = ask(1 << 40);
    let too_large = AllocateRequest { ask: vec![too_large], response_id: Some(0), ..Default::default() };
    let refused = master.allocate(&too_large).await.unwrap_err();
    assert_eq!(refused.exception(), Some(RemoteException::InvalidResourceRequest), "{refused}");

    let mut heartbeat = Heartbeat { master: &master, response_id: 0 };
    let mut asks = vec![ask(256)];
    let mut nm_tokens = Vec::new();
    let container = loop {
        let answer = heartbeat.beat(std::mem::take(&mut asks)).await;
        nm_tokens.extend(answer.nm_tokens);
        if let Some(container) = answer.allocated_containers.into_iter().next() {
            break container;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let node = container.node_id.clone().unwrap();
    let nm_token = nm_tokens.into_iter().find(|token| token.node_id.as_ref() == Some(&node)).unwrap();
    let manager = ContainerManager::new(&configuration, &node, nm_token.token.unwrap().into()).unwrap();
    let launch = ContainerLaunchContext { command: vec!["sleep 1; exit 3".into()], ..Default::default() };
    let container_token = container.container_token.clone().unwrap();
    manager.start_container(container_token.clone(), launch.clone()).await.unwrap().unwrap();
    let again = manager.start_container(container_token, launch).await.unwrap().unwrap_err();
    assert!(again.to_string().contains("relaunch"), "{again}");
    let statuses = manager.get_container_statuses(vec![container.id.unwrap()]).await.unwrap();
    assert_eq!(statuses.status.len(), 1);
    let completed = loop {
        let answer = heartbeat.beat(Vec::new()).await;
        if let Some(status) = answer.completed_container_statuses.into_iter().next() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    assert_eq!((completed.container_id, completed.exit_status()), (container.id, 3));

    let finish = FinishApplicationMasterRequest {
        diagnostics: Some("all well".into()),
        tracking_url: None,
        final_application_status: Some(FinalApplicationStatus::Succeeded.into()),
    };
    eventually("leave to go", || async { master.finish(&finish).await.unwrap().then_some(()) }).await;
    let report = eventually("end", || async {
        let report = yarn.get_application_report(id).await.unwrap();
        (report.yarn_application_state() == YarnApplicationState::Finished).then_some(report)
    })
    .await;
    assert_eq!(report.final_application_status(), FinalApplicationStatus::Succeeded);
    assert_eq!(report.diagnostics(), "all well");
}

struct Heartbeat<'a> {
    master: &'a ApplicationMasterClient,
    response_id: i32,
}

impl Heartbeat<'_> {
    async fn beat(&mut self, ask: Vec<ResourceRequest>) -> AllocateResponse {
        let response_id = Some(self.response_id);
        let request = AllocateRequest { ask, response_id, progress: Some(0.5), ..Default::default() };
        let answer = self.master.allocate(&request).await.unwrap();
        self.response_id = answer.response_id();
        answer
    }
}

fn ask(memory: i64) -> ResourceRequest {
    ResourceRequest {
        priority: Some(Priority { priority: Some(1) }),
        resource_name: Some("*".into()),
        capability: Some(Resource { memory: Some(memory), virtual_cores: Some(1), ..Default::default() }),
        num_containers: Some(1),
        relax_locality: Some(true),
        ..Default::default()
    }
}

#[tokio::test]
async fn the_resource_manager_answers_its_clients() {
    let Some(configuration) = cluster() else { return };
    let yarn = ApplicationClient::new(&configuration, user(&configuration)).unwrap();
    let (metrics, nodes, queue, labels, on_nodes, acls) = tokio::join!(
        yarn.get_cluster_metrics(),
        yarn.get_cluster_nodes(&[NodeState::Running]),
        yarn.get_queue_info("root", true),
        yarn.get_cluster_node_labels(),
        yarn.get_node_to_labels(),
        yarn.get_queue_user_acls(),
    );
    assert_eq!(metrics.unwrap().num_active_nms(), 2);
    let nodes = nodes.unwrap();
    assert_eq!(nodes.len(), 2);
    assert!(nodes.iter().all(|node| node.capability.as_ref().unwrap().memory() > 0), "{nodes:?}");
    let queue = queue.unwrap().unwrap();
    let mut names: Vec<_> = queue.child_queues.iter().map(QueueInfo::queue_name).collect();
    names.sort_unstable();
    assert!(["default", "nightly", "streaming"].iter().all(|name| names.contains(name)), "{names:?}");
    assert!(labels.unwrap().is_empty() && on_nodes.unwrap().is_empty());
    assert!(!acls.unwrap().is_empty());
    let missing = yarn.get_queue_info("none", false).await;
    assert!(!matches!(&missing, Ok(Some(_))), "{missing:?}");

    let unknown = ApplicationId { id: Some(7), cluster_timestamp: Some(7) };
    let error = yarn.get_application_report(unknown).await.unwrap_err();
    assert_eq!(error.exception(), Some(RemoteException::ApplicationNotFound), "{error}");

    let id = submit(&yarn, "killed").await;
    let killed =
        || async { yarn.force_kill_application(id, "no longer wanted").await.unwrap().then_some(()) };
    eventually("leave to end", killed).await;
    let report = eventually("end", || async {
        let report = yarn.get_application_report(id).await.unwrap();
        (report.yarn_application_state() == YarnApplicationState::Killed).then_some(report)
    })
    .await;
    assert!(report.diagnostics().contains("no longer wanted"), "{}", report.diagnostics());
    let attempts = yarn.get_application_attempts(id).await.unwrap();
    for attempt in &attempts {
        let report =
            yarn.get_application_attempt_report(attempt.application_attempt_id.unwrap()).await.unwrap();
        assert_eq!(report.application_attempt_id, attempt.application_attempt_id);
        assert!(yarn.get_containers(attempt.application_attempt_id.unwrap()).await.unwrap().is_empty());
    }
    let mine =
        GetApplicationsRequest { application_types: vec!["hadoop-rpc test".into()], ..Default::default() };
    let mine = yarn.get_applications(&mine).await.unwrap();
    assert!(mine.iter().any(|application| application.application_id == Some(id)));
}

/// Larger than any piece that integrity or privacy wraps at once.
#[tokio::test]
async fn large_messages_pass_whole() {
    let Some(configuration) = cluster() else { return };
    let yarn = ApplicationClient::new(&configuration, user(&configuration)).unwrap();
    let name = "long ".repeat(60_000);
    let id = submit(&yarn, &name).await;
    assert_eq!(yarn.get_application_report(id).await.unwrap().name(), name);
    yarn.force_kill_application(id, "seen").await.unwrap();
}

#[tokio::test]
async fn the_name_node_answers() {
    let Some(configuration) = cluster() else { return };
    let hdfs = NameNode::new(&configuration, None, user(&configuration)).unwrap();
    assert!(!hdfs.is_in_safe_mode().await.unwrap());
    assert_eq!(hdfs.get_file_info("/none").await.unwrap(), None);
    let tmp = hdfs.get_file_info("/tmp").await.unwrap().unwrap();
    assert_eq!(tmp.file_type(), hadoop_rpc::proto::hdfs::hdfs_file_status::FileType::Dir);
    assert!(hdfs.get_server_defaults().await.unwrap().block_size > 0);
    let missing = hdfs.get_block_locations("/none", 0, 1).await.unwrap_err();
    assert_eq!(missing.exception(), Some(RemoteException::FileNotFound), "{missing}");
    let missing = hdfs.truncate("/none", 0, "test").await.unwrap_err();
    assert_eq!(missing.exception(), Some(RemoteException::FileNotFound), "{missing}");
}

#[tokio::test]
async fn a_web_page_is_not_taken_for_a_name_node() {
    let Some(configuration) = cluster() else { return };
    let mut configuration = configuration;
    let web = std::env::var("RM_WEB").unwrap_or_else(|_| "http://localhost:8088".into());
    configuration.set("yarn.resourcemanager.ha.enabled", "false");
    configuration.set("yarn.resourcemanager.address", web.trim_start_matches("http://"));
    let yarn = ApplicationClient::new(&configuration, User::simple("root")).unwrap();
    let once = RetryPolicy::once(Duration::from_secs(10));
    let error =
        ApplicationClient::over(yarn.rpc().with_policy(once)).get_cluster_metrics().await.unwrap_err();
    assert!(
        error.to_string().contains("web page") || error.to_string().contains("lost the connection"),
        "{error}"
    );
}

/// Only where `FAILOVER` is a command that makes another NameNode or ResourceManager the active one.
#[tokio::test]
async fn calls_go_on_over_a_failover() {
    let Some(configuration) = cluster() else { return };
    let Ok(command) = std::env::var("FAILOVER") else {
        eprintln!("skipped: FAILOVER is no command");
        return;
    };
    // A busy machine takes its time for it.
    let patient = RetryPolicy::within(Duration::from_secs(120));
    let hdfs = NameNode::new(&configuration, None, user(&configuration)).unwrap();
    let hdfs = NameNode::over(hdfs.rpc().with_policy(patient));
    let yarn = ApplicationClient::new(&configuration, user(&configuration)).unwrap();
    let yarn = ApplicationClient::over(yarn.rpc().with_policy(patient));
    let mut failover = std::process::Command::new("sh").args(["-c", &command]).spawn().unwrap();
    let (mut calls, mut longest, mut more, mut nodes) = (0, Duration::ZERO, 30, 0);
    let deadline = std::time::Instant::now() + Duration::from_secs(180);
    while more > 0 || nodes == 0 {
        assert!(std::time::Instant::now() < deadline, "{calls} calls, {nodes} NodeManagers");
        if failover.try_wait().unwrap().is_some() {
            more = u32::saturating_sub(more, 1);
        }
        let start = std::time::Instant::now();
        assert!(hdfs.get_file_info("/tmp").await.unwrap().is_some());
        // NodeManagers come to the next ResourceManager a moment after it answers.
        nodes = yarn.get_cluster_metrics().await.unwrap().num_node_managers();
        longest = longest.max(start.elapsed());
        calls += 1;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(failover.wait().unwrap().success());
    eprintln!("{calls} calls each of HDFS and YARN, the longest {longest:?}");
}
