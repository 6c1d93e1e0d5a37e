//! Retries and failover of calls, against servers that follow a script.

use tokio::sync::mpsc;

use super::*;
use crate::configuration::Configuration;
use crate::proto::common::rpc_response_header::RpcStatus;
use crate::proto::hdfs::{IsFileClosedRequest, IsFileClosedResponse};
use crate::scripted::{Call, Peer, Scripted};

const READ: Method = Method::idempotent("isFileClosed");
const WRITE: Method = Method::at_most_once("isFileClosed");

fn client(addresses: &[&str]) -> RpcClient {
    let addresses = addresses.iter().map(|address| (*address).to_owned()).collect();
    let servers = Servers { addresses, aliases: Vec::new() };
    let settings = Settings::new(&Configuration::new()).unwrap();
    let client = RpcClient::new(Protocol::NAME_NODE, servers, User::simple("alice"), settings).unwrap();
    let quick = RetryPolicy {
        attempts: 4,
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(5),
        deadline: Duration::from_secs(20),
    };
    client.with_policy(quick)
}

async fn ask(client: &RpcClient, method: &Method) -> Result<bool, RpcError> {
    let answer = client.call(method, &IsFileClosedRequest { src: "/x".into() }).await;
    answer.map(|IsFileClosedResponse { result }| result)
}

/// A server that answers every call with true.
async fn good() -> Scripted {
    Scripted::start(|_, mut peer| async move {
        peer.accept_simple().await;
        loop {
            let call = peer.call().await;
            peer.answer(call.header.call_id, &IsFileClosedResponse { result: true }).await;
        }
    })
    .await
}

/// A server that answers every call with an exception.
async fn failing(class: &'static str) -> Scripted {
    Scripted::start(move |_, mut peer| async move {
        peer.accept_simple().await;
        loop {
            let call = peer.call().await;
            peer.fail(call.header.call_id, RpcStatus::Error, class).await;
        }
    })
    .await
}

/// An address where nobody listens: nobody is given that port.
const NOBODY: &str = "127.0.0.1:1";

/// A server of something else.
async fn garbage() -> Scripted {
    Scripted::start(|_, mut peer| async move {
        peer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        peer.closed().await;
    })
    .await
}

#[tokio::test]
async fn a_standby_or_missing_server_leads_to_the_next() {
    let (standby, active) = (failing("org.apache.hadoop.ipc.StandbyException").await, good().await);
    let client = client(&[NOBODY, &standby.address, &active.address]);
    assert!(ask(&client, &WRITE).await.unwrap());
    assert_eq!(client.shared.active.load(Ordering::Relaxed), 2);
    assert!(ask(&client, &READ).await.unwrap());
}

#[tokio::test]
async fn a_server_that_is_of_no_use_leads_to_the_next_and_the_first_is_told_if_all_are() {
    let (bad, active, worse) = (garbage().await, good().await, garbage().await);
    let pair = client(&[&bad.address, &active.address]);
    assert!(ask(&pair, &READ).await.unwrap());
    assert_eq!(pair.shared.active.load(Ordering::Relaxed), 1);
    let error = ask(&client(&[&bad.address, &worse.address]), &READ).await.unwrap_err();
    assert!(matches!(&error, RpcError::Protocol { server, .. } if *server == bad.address), "{error}");
    let error = ask(&client(&[&bad.address, NOBODY]), &READ).await.unwrap_err();
    assert!(matches!(&error, RpcError::Protocol { server, .. } if *server == bad.address), "{error}");
}

#[tokio::test]
async fn attempts_end_and_the_last_failure_is_told() {
    let error = ask(&client(&[NOBODY]), &READ).await.unwrap_err();
    assert!(error.to_string().starts_with("isFileClosed given up after 4 attempts in "), "{error}");
    assert!(
        error.to_string().contains(&format!("cannot connect to {NOBODY}: Connection refused")),
        "{error}"
    );
    assert!(!error.may_have_happened());

    let pause = Duration::from_secs(60);
    let impatient =
        RetryPolicy { attempts: 9, first_pause: pause, longest_pause: pause, deadline: pause / 4 };
    let error = ask(&client(&[NOBODY]).with_policy(impatient), &READ).await.unwrap_err();
    assert!(error.to_string().contains("given up after 1 attempts"), "{error}");
}

#[tokio::test]
async fn an_exception_that_is_an_answer_is_not_tried_again() {
    let server = failing("org.apache.hadoop.security.AccessControlException").await;
    let error = ask(&client(&[&server.address]), &READ).await.unwrap_err();
    assert_eq!(error.exception(), Some(crate::RemoteException::AccessControl));
    assert!(matches!(error, RpcError::Remote { .. }), "{error}");
}

/// A server whose first connection ends once a call has come; later ones answer.
async fn forgetful(calls: mpsc::Sender<Call>) -> Scripted {
    async fn serve(number: usize, mut peer: Peer, calls: mpsc::Sender<Call>) {
        peer.accept_simple().await;
        let call = peer.call().await;
        let id = call.header.call_id;
        calls.send(call).await.unwrap();
        if number > 0 {
            peer.answer(id, &IsFileClosedResponse { result: true }).await;
            peer.closed().await;
        }
    }
    Scripted::start(move |number, peer| serve(number, peer, calls.clone())).await
}

#[tokio::test]
async fn a_lost_call_is_repeated_under_its_id_if_that_is_harmless() {
    let (calls, mut seen) = mpsc::channel(4);
    let server = forgetful(calls).await;
    assert!(ask(&client(&[&server.address]), &READ).await.unwrap());
    let (first, second) = (seen.recv().await.unwrap(), seen.recv().await.unwrap());
    assert_eq!(first.method, "isFileClosed");
    assert_eq!(
        (first.header.call_id, &first.header.client_id),
        (second.header.call_id, &second.header.client_id)
    );
    assert_eq!((first.header.retry_count, second.header.retry_count), (Some(0), Some(1)));
}

#[tokio::test]
async fn a_lost_call_that_may_have_happened_is_not_repeated() {
    let (calls, mut seen) = mpsc::channel(4);
    let server = forgetful(calls).await;
    let client = client(&[&server.address]);
    let error = ask(&client, &WRITE).await.unwrap_err();
    assert!(error.may_have_happened(), "{error}");
    assert!(ask(&client, &WRITE).await.unwrap());
    assert_eq!(seen.recv().await.unwrap().header.retry_count, Some(0));
    assert_eq!(seen.recv().await.unwrap().header.retry_count, Some(0));
}

#[tokio::test]
async fn many_calls_share_one_connection() {
    let (tell, mut told) = mpsc::channel(8);
    let server = Scripted::start(move |number, mut peer| {
        let tell = tell.clone();
        async move {
            tell.send(number).await.unwrap();
            peer.accept_simple().await;
            loop {
                let call = peer.call().await;
                peer.answer(call.header.call_id, &IsFileClosedResponse { result: true }).await;
            }
        }
    })
    .await;
    let client = client(&[&server.address]);
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..50 {
        let client = client.clone();
        calls.spawn(async move { ask(&client, &READ).await });
    }
    while let Some(answer) = calls.join_next().await {
        assert!(answer.unwrap().unwrap());
    }
    client.reconnect();
    assert!(ask(&client, &READ).await.unwrap());
    assert_eq!((told.recv().await, told.recv().await), (Some(0), Some(1)));
    assert!(told.try_recv().is_err());
}
