use std::future::Future;

use tokio::sync::{mpsc, watch};

use super::*;
use crate::configuration::Configuration;
use crate::credentials::Token;
use crate::proto::common::RpcSasl;
use crate::proto::common::rpc_response_header::RpcStatus;
use crate::proto::common::rpc_sasl::{SaslAuth, SaslState};
use crate::proto::hdfs::{IsFileClosedRequest, IsFileClosedResponse};
use crate::scripted::{Peer, Scripted};

const LONG: Duration = Duration::from_secs(20);
const SHORT: Duration = Duration::from_millis(50);

fn settings() -> Settings {
    Settings::new(&Configuration::new()).unwrap()
}

async fn connect(server: &Scripted, user: &User, settings: &Settings) -> Result<Connection, RpcError> {
    let endpoint = Endpoint {
        address: &server.address,
        aliases: &[],
        protocol: &Protocol::NAME_NODE,
        user,
        settings,
        client_id: &[7; 16],
    };
    Connection::open(&endpoint).await
}

async fn ask(connection: &Connection, id: i32, deadline: Duration) -> Result<IsFileClosedResponse, RpcError> {
    let request = IsFileClosedRequest { src: "/x".into() };
    connection.call(CallId { id, retry: 0 }, "isFileClosed", &request, deadline).await
}

/// What a call says to a server that reads it and then follows a script.
async fn after_one_call<Running>(script: fn(Peer) -> Running) -> (RpcError, Connection)
where
    Running: Future<Output = Peer> + Send + 'static,
{
    let server = Scripted::start(move |_, mut peer| async move {
        peer.accept_simple().await;
        peer.call().await;
        script(peer).await.closed().await;
    })
    .await;
    let connection = connect(&server, &User::simple("alice"), &settings()).await.unwrap();
    let error = ask(&connection, 0, LONG).await.unwrap_err();
    assert!(error.to_string().contains(&server.address), "{error} does not name {}", server.address);
    (error, connection)
}

#[tokio::test]
async fn garbage_ends_the_connection_for_all_its_calls() {
    let (error, connection) = after_one_call(|mut peer| async move {
        peer.write(&[0, 0, 0, 3, 0xFF, 0xFF, 0xFF]).await;
        peer
    })
    .await;
    assert!(matches!(error, RpcError::Protocol { .. }), "{error}");
    assert!(!connection.is_open());
    let error = ask(&connection, 1, LONG).await.unwrap_err();
    assert!(matches!(error, RpcError::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_frame_of_impossible_length_is_refused_unread() {
    let (error, _) = after_one_call(|mut peer| async move {
        peer.write(&[0x7F, 0xFF, 0xFF, 0xFF]).await;
        peer
    })
    .await;
    assert!(error.to_string().contains("2147483647 bytes, more than the 134217728"), "{error}");
    let (error, _) = after_one_call(|mut peer| async move {
        peer.write(b"HTTP/1.1 400 Bad Request\r\n").await;
        peer
    })
    .await;
    assert!(error.to_string().contains("port is that of a web page"), "{error}");
}

#[tokio::test]
async fn why_a_server_takes_nothing_any_more_is_heard_also_when_writing_has_failed() {
    let (say, said) = watch::channel(false);
    let server = Scripted::start(move |_, mut peer| {
        let mut said = said.clone();
        async move {
            peer.closed().await;
            said.wait_for(|said| *said).await.unwrap();
            peer.fail(-1, RpcStatus::Fatal, "org.apache.hadoop.security.AccessControlException").await;
        }
    })
    .await;
    let socket = tokio::net::TcpStream::connect(&server.address).await.unwrap();
    let (reader, mut writer) = socket.into_split();
    tokio::io::AsyncWriteExt::shutdown(&mut writer).await.unwrap();
    let calls = Arc::new(Calls::new(server.address.clone(), [7; 16]));
    let (requests, queue) = mpsc::channel(QUEUE);
    let settings = settings();
    let driver = Driver {
        calls: Arc::clone(&calls),
        ping: Vec::new(),
        ping_interval: settings.ping_interval,
        idle_time: settings.idle_time,
    };
    let connection = Connection {
        server: server.address.clone(),
        protocol: Protocol::NAME_NODE.name,
        client_id: [7; 16],
        max_request: settings.max_request,
        requests,
        calls,
        _task: JoinSet::new(),
    };
    let running = driver.run(FrameReader::new(reader, 1 << 20), FrameWriter::new(writer), queue);
    let later = async {
        // Its request is not taken any more, and the reason is not known yet.
        connection.requests.closed().await;
        tokio::join!(ask(&connection, 1, LONG), async { say.send_replace(true) }).0
    };
    let (first, later, ()) = tokio::join!(ask(&connection, 0, LONG), later, running);
    for error in [first.unwrap_err(), later.unwrap_err()] {
        assert!(error.to_string().contains("as the script says"), "{error}");
    }
}

#[tokio::test]
async fn a_truncated_frame_is_a_lost_connection() {
    let server = Scripted::start(|_, mut peer| async move {
        peer.accept_simple().await;
        peer.call().await;
        peer.write(&[0, 0, 0, 100, 1, 2, 3]).await;
    })
    .await;
    let connection = connect(&server, &User::simple("alice"), &settings()).await.unwrap();
    let error = ask(&connection, 0, LONG).await.unwrap_err();
    assert!(
        matches!(&error, RpcError::Lost { sent: true, reason, .. } if reason.contains("3 of a response's 100")),
        "{error}"
    );
}

#[tokio::test]
async fn an_answer_to_a_call_that_was_never_made_ends_the_connection() {
    let (error, _) = after_one_call(|mut peer| async move {
        peer.answer(99, &IsFileClosedResponse { result: true }).await;
        peer
    })
    .await;
    assert!(error.to_string().contains("answers call 99, which was never made"), "{error}");
}

#[tokio::test]
async fn silence_ends_a_call_and_its_late_answer_is_thrown_away() {
    let over = Arc::new(tokio::sync::Notify::new());
    let over_here = Arc::clone(&over);
    let server = Scripted::start(move |_, mut peer| {
        let over = Arc::clone(&over);
        async move {
            peer.accept_simple().await;
            let late = peer.call().await.header.call_id;
            over.notified().await;
            peer.answer(late, &IsFileClosedResponse { result: false }).await;
            let next = peer.call().await.header.call_id;
            peer.answer(next, &IsFileClosedResponse { result: true }).await;
            peer.closed().await;
        }
    })
    .await;
    let connection = connect(&server, &User::simple("alice"), &settings()).await.unwrap();
    let error = ask(&connection, 0, SHORT).await.unwrap_err();
    assert!(matches!(error, RpcError::Timeout { .. }), "{error}");
    over_here.notify_one();
    assert!(ask(&connection, 1, LONG).await.unwrap().result);
}

#[tokio::test]
async fn answers_come_in_any_order() {
    let server = Scripted::start(|_, mut peer| async move {
        peer.accept_simple().await;
        let (first, second) = (peer.call().await.header.call_id, peer.call().await.header.call_id);
        peer.answer(second, &IsFileClosedResponse { result: second == 1 }).await;
        peer.answer(first, &IsFileClosedResponse { result: first == 1 }).await;
        peer.closed().await;
    })
    .await;
    let connection = connect(&server, &User::simple("alice"), &settings()).await.unwrap();
    let (first, second) = tokio::join!(ask(&connection, 0, LONG), ask(&connection, 1, LONG));
    assert_eq!((first.unwrap().result, second.unwrap().result), (false, true));
}

#[tokio::test]
async fn a_fatal_answer_ends_every_call() {
    let server = Scripted::start(|_, mut peer| async move {
        peer.accept_simple().await;
        peer.call().await;
        peer.call().await;
        peer.fail(-1, RpcStatus::Fatal, "a.b.OutOfOrder").await;
        peer.closed().await;
    })
    .await;
    let connection = connect(&server, &User::simple("alice"), &settings()).await.unwrap();
    let (first, second) = tokio::join!(ask(&connection, 0, LONG), ask(&connection, 1, LONG));
    for error in [first.unwrap_err(), second.unwrap_err()] {
        assert!(error.to_string().ends_with("as the script says (a.b.OutOfOrder)"), "{error}");
    }
    assert!(!connection.is_open());
}

#[tokio::test]
async fn a_waiting_call_pings_and_an_idle_connection_closes() {
    let (tell, mut told) = mpsc::channel(4);
    let server = Scripted::start(move |_, mut peer| {
        let tell = tell.clone();
        async move {
            peer.accept_simple().await;
            let id = peer.call().await.header.call_id;
            let ping = peer.frame().await;
            tell.send(ping).await.unwrap();
            peer.answer(id, &IsFileClosedResponse { result: true }).await;
            peer.closed().await;
            tell.send(Vec::new()).await.unwrap();
        }
    })
    .await;
    let settings = Settings { ping_interval: SHORT, idle_time: SHORT, ..settings() };
    let connection = connect(&server, &User::simple("alice"), &settings).await.unwrap();
    assert!(ask(&connection, 0, LONG).await.unwrap().result);
    assert_eq!(told.recv().await.unwrap(), frame::ping(&[7; 16])[4..]);
    assert_eq!(told.recv().await.unwrap(), b"");
    let error = ask(&connection, 1, LONG).await.unwrap_err();
    assert!(matches!(error, RpcError::Lost { sent: false, .. }), "{error}");
}

#[tokio::test]
async fn a_request_beyond_the_servers_limit_stays_here() {
    let server = Scripted::start(|_, mut peer| async move { peer.closed().await }).await;
    let settings = Settings { max_request: 10, ..settings() };
    let connection = connect(&server, &User::simple("alice"), &settings).await.unwrap();
    let error = ask(&connection, 0, LONG).await.unwrap_err();
    assert!(error.to_string().contains("ipc.maximum.data.length"), "{error}");
    assert!(connection.is_open());
}

fn with_token() -> User {
    let user = User::simple("alice");
    user.add_token(Token {
        kind: "HDFS_DELEGATION_TOKEN".into(),
        service: "ha-hdfs:ns".into(),
        identifier: b"id".to_vec(),
        password: b"pw".to_vec(),
    });
    user
}

/// What authentication with a token says to a server that reads NEGOTIATE and then follows a script.
async fn handshake<Running>(settings: &Settings, script: fn(Peer) -> Running) -> Result<Connection, RpcError>
where
    Running: Future<Output = Peer> + Send + 'static,
{
    let server = Scripted::start(move |_, mut peer| async move {
        peer.accept_sasl().await;
        script(peer).await.closed().await;
    })
    .await;
    let endpoint = Endpoint {
        address: &server.address,
        aliases: &["ha-hdfs:ns".into()],
        protocol: &Protocol::NAME_NODE,
        user: &with_token(),
        settings,
        client_id: &[7; 16],
    };
    Connection::open(&endpoint).await
}

fn sasl(state: SaslState) -> RpcSasl {
    RpcSasl { state: state.into(), ..Default::default() }
}

fn token_offer(challenge: Option<&[u8]>) -> RpcSasl {
    let auth = SaslAuth {
        method: "TOKEN".into(),
        mechanism: "DIGEST-MD5".into(),
        protocol: Some(String::new()),
        server_id: Some("default".into()),
        challenge: challenge.map(<[u8]>::to_vec),
    };
    RpcSasl { auths: vec![auth], ..sasl(SaslState::Negotiate) }
}

#[tokio::test]
async fn a_server_that_wants_no_authentication_is_not_believed() {
    async fn script(mut peer: Peer) -> Peer {
        peer.sasl(&sasl(SaslState::Success)).await;
        peer
    }
    let error = handshake(&settings(), script).await.err().unwrap();
    assert!(matches!(error, RpcError::Authentication { .. }));
    assert!(error.to_string().contains("ipc.client.fallback-to-simple-auth-allowed"), "{error}");
    let allowed = Settings { fallback_to_simple: true, ..settings() };
    assert!(handshake(&allowed, script).await.is_ok());
}

#[tokio::test]
async fn a_secure_client_without_token_or_ticket_says_so() {
    let server = Scripted::start(|_, mut peer| async move {
        peer.accept_sasl().await;
        peer.sasl(&token_offer(None)).await;
        peer.closed().await;
    })
    .await;
    let secure = Settings { secure: true, ..settings() };
    let error = connect(&server, &User::simple("alice"), &secure).await.err().unwrap();
    assert!(error.to_string().contains("neither a token for this server nor a Kerberos login"), "{error}");
}

#[tokio::test]
async fn a_server_that_does_not_know_the_token_is_refused() {
    let error = handshake(&settings(), |mut peer| async move {
        peer.sasl(&token_offer(Some(b"realm=\"default\",nonce=\"n\",algorithm=md5-sess,qop=\"auth\""))).await;
        peer.frame().await;
        let proof = b"rspauth=0123456789abcdef0123456789abcdef".to_vec();
        peer.sasl(&RpcSasl { token: Some(proof), ..sasl(SaslState::Success) }).await;
        peer
    })
    .await
    .err()
    .unwrap();
    assert!(error.to_string().contains("does not know the token's password"), "{error}");
}

#[tokio::test]
async fn half_a_handshake_is_an_error_within_its_deadline() {
    let hasty = Settings { handshake_timeout: SHORT, ..settings() };
    let silent = handshake(&hasty, |peer| async move { peer }).await.err().unwrap();
    assert!(matches!(silent, RpcError::Connect { .. }), "{silent}");
    assert!(silent.to_string().contains("does not answer the handshake within 50ms"), "{silent}");

    let server = Scripted::start(|_, mut peer| async move {
        peer.accept_sasl().await;
        peer.sasl(&token_offer(None)).await;
        peer.frame().await;
        peer.write(&[0, 0]).await;
    })
    .await;
    let user = with_token();
    user.add_token(Token {
        service: server.address.clone(),
        ..user.token_of_kind("HDFS_DELEGATION_TOKEN").unwrap()
    });
    let gone = connect(&server, &user, &settings()).await.err().unwrap();
    assert!(matches!(gone, RpcError::Lost { sent: false, .. }), "{gone}");
}

#[tokio::test]
async fn what_breaks_the_handshakes_order_is_refused() {
    let without_end = handshake(&settings(), |mut peer| async move {
        peer.sasl(&token_offer(Some(b"nonce=n,algorithm=md5-sess"))).await;
        peer.frame().await;
        peer.sasl(&RpcSasl {
            token: Some(b"nonce=m,algorithm=md5-sess".to_vec()),
            ..sasl(SaslState::Challenge)
        })
        .await;
        peer
    })
    .await;
    assert!(without_end.err().unwrap().to_string().contains("second challenge"));

    let another_call = handshake(&settings(), |mut peer| async move {
        peer.answer(3, &sasl(SaslState::Negotiate)).await;
        peer
    })
    .await;
    assert!(
        another_call.err().unwrap().to_string().contains("answers call 3 in the middle of authentication")
    );

    let too_large = handshake(&settings(), |mut peer| async move {
        peer.write(&[0, 0x20, 0, 0]).await;
        peer
    })
    .await;
    assert!(matches!(too_large.err().unwrap(), RpcError::Protocol { .. }));

    let standby = handshake(&settings(), |mut peer| async move {
        peer.fail(frame::SASL_CALL, RpcStatus::Fatal, "org.apache.hadoop.ipc.StandbyException").await;
        peer
    })
    .await;
    assert_eq!(standby.err().unwrap().exception(), Some(crate::RemoteException::Standby));
}
