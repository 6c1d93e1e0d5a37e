//! What can be said of HDFS without one. What it does is in `tests/hdfs.rs`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::mpsc::{Receiver, sync_channel};
use std::time::{Duration, Instant};

use super::*;
use crate::FsErrorKind;

/// Not for ever, on a busy machine.
const SOON: Duration = Duration::from_secs(30);

fn configured(pairs: &[(&str, &str)]) -> HdfsFileSystem {
    let mut configuration = Configuration::new();
    for (name, value) in pairs {
        configuration.set(name, value);
    }
    HdfsFileSystem::with_configuration(configuration)
}

#[test]
fn a_path_without_name_node_needs_a_default() {
    let path: FsPath = "hdfs:///x".parse().unwrap();
    let error = configured(&[("fs.defaultFS", "file:///")]).status(&path).unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot look at hdfs:///x: it names no NameNode, and fs.defaultFS is 'file:///', not an hdfs:// address; write \
         hdfs://host:port/… or have HADOOP_CONF_DIR name the folder of the cluster's core-site.xml"
    );
    assert!(!error.is_retryable());
    let mut configuration = Configuration::new();
    configuration.set("fs.defaultFS", "hdfs://pair/");
    assert_eq!(default_authority(&configuration).unwrap(), "pair");
}

#[test]
fn where_nobody_listens_the_error_names_the_address_soon() {
    // Nobody is given this port.
    let port = 1;
    let path: FsPath = format!("hdfs://localhost:{port}/x").parse().unwrap();
    let fs = configured(&[("ipc.client.rpc-timeout.ms", "5000")]);
    let begun = Instant::now();
    let error = fs.status(&path).unwrap_err();
    assert!(begun.elapsed() < SOON);
    let text = error.to_string();
    assert!(
        text.starts_with(&format!("cannot look at {path}: no NameNode can be reached: localhost:{port}: ")),
        "{text}"
    );
    assert!(text.contains("Connection refused") && text.contains("is HDFS running"), "{text}");
    assert!(error.is_retryable());
}

#[test]
fn who_never_answers_is_given_up_at_the_deadline() {
    let silent = TcpListener::bind("localhost:0").unwrap();
    let port = silent.local_addr().unwrap().port();
    let path: FsPath = format!("hdfs://localhost:{port}/x").parse().unwrap();
    let fs = configured(&[("ipc.client.rpc-timeout.ms", "500")]);
    let calls: [&dyn Fn() -> Option<FsError>; 5] = [
        &|| fs.status(&path).err(),
        &|| fs.open(&path).err(),
        &|| fs.create_with(&path, Access::Private).err(),
        &|| fs.rename_new(&path, &path.with_name("y")).err(),
        &|| fs.delete_dir(&path).err(),
    ];
    for call in calls {
        let begun = Instant::now();
        let error = call().unwrap();
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        let text = error.to_string();
        assert!(text.ends_with(&format!("no answer within 500ms (NameNode at localhost:{port})")), "{text}");
        assert_eq!((error.io_kind(), error.is_retryable()), (io::ErrorKind::TimedOut, true));
    }
}

#[test]
fn who_answers_garbage_is_an_error() {
    let liar = TcpListener::bind("localhost:0").unwrap();
    let port = liar.local_addr().unwrap().port();
    let path: FsPath = format!("hdfs://localhost:{port}/x").parse().unwrap();
    let lying = std::thread::Builder::new().spawn(move || {
        // The first contact only looks whether anybody is there; each further connection gets another kind of nonsense.
        for garbage in [&b""[..], b"HTTP/1.1 400 Bad Request\r\n\r\n", &[0xff; 64], &[0, 0, 0, 2, 200, 200]] {
            let Ok((mut stream, _)) = liar.accept() else { return };
            let _ = stream.write_all(garbage);
        }
    });
    let fs = configured(&[("ipc.client.rpc-timeout.ms", "2000")]);
    let begun = Instant::now();
    let error = fs.status(&path).unwrap_err();
    assert!(begun.elapsed() < SOON);
    assert!(error.to_string().contains(&format!("(NameNode at localhost:{port})")), "{error}");
    drop(fs);
    drop(lying);
}

/// A server that reads one message of authentication on each connection, answers it as it is told by the connection's number, and says what else it
/// was sent once that is over. The first connection only looks whether anybody is there.
fn secure_server(answer: impl Fn(usize) -> Vec<u8> + Send + 'static) -> (u16, Receiver<Vec<u8>>) {
    let listener = TcpListener::bind("localhost:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, sent) = sync_channel(100);
    let serving = move || {
        for number in 0.. {
            let Ok((mut stream, _)) = listener.accept() else { return };
            let mut head = [0; 11];
            if stream.read_exact(&mut head).is_err() {
                continue;
            }
            let length = u32::from_be_bytes([head[7], head[8], head[9], head[10]]);
            let mut message = vec![0; length as usize];
            let _ = stream.read_exact(&mut message);
            let _ = stream.write_all(&answer(number));
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest);
            if sender.try_send(rest).is_err() {
                return;
            }
        }
    };
    drop(std::thread::Builder::new().spawn(serving).unwrap());
    (port, sent)
}

/// A frame of SASL: the state, and the methods that are offered.
fn sasl(state: u8, auths: &[[&str; 4]]) -> Vec<u8> {
    let field = |number: u8, bytes: &[u8]| [&[number << 3 | 2, bytes.len() as u8], bytes].concat();
    let mut message = vec![2 << 3, state];
    for auth in auths {
        let texts: Vec<u8> =
            (1..).zip(auth).flat_map(|(number, text)| field(number, text.as_bytes())).collect();
        message.extend(field(4, &texts));
    }
    // It answers call -33 with success.
    let header = [8, 8, 0xDF, 0xFF, 0xFF, 0xFF, 0x0F, 2 << 3, 0];
    let length = (header.len() + 1 + message.len()) as u32;
    [&length.to_be_bytes()[..], &header, &[message.len() as u8], &message].concat()
}

const SUCCESS: u8 = 0;
const NEGOTIATE: u8 = 1;
const INITIATE: u8 = 2;
const CHALLENGE: u8 = 3;

#[test]
fn who_is_not_who_it_should_be_is_not_used() {
    let simple = sasl(NEGOTIATE, &[["SIMPLE", "", "", ""]]);
    let other = sasl(NEGOTIATE, &[["KERBEROS", "GSSAPI", "evil", "localhost"]]);
    let cases = [
        (sasl(SUCCESS, &[]), "the server wants no authentication"),
        (simple, "the server wants no authentication"),
        (other, "the server is evil/localhost, dfs.namenode.kerberos.principal expects nn/_HOST@EXAMPLE.ORG"),
        (vec![0xFF; 64], "does not answer as a Hadoop RPC server"),
    ];
    for (answer, expected) in cases {
        let (port, sent) = secure_server(move |_| answer.clone());
        let fs = configured(&[
            ("hadoop.security.authentication", "kerberos"),
            ("dfs.namenode.kerberos.principal", "nn/_HOST@EXAMPLE.ORG"),
        ]);
        let path: FsPath = format!("hdfs://localhost:{port}/x").parse().unwrap();
        let begun = Instant::now();
        for error in [fs.status(&path).unwrap_err(), fs.create_with(&path, Access::Private).err().unwrap()] {
            let text = error.to_string();
            assert!(text.contains(&format!("localhost:{port}")) && text.contains(expected), "{text}");
        }
        assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
        // Each time it was asked who it is, and nothing else.
        for _ in 0..2 {
            assert_eq!(sent.recv_timeout(SOON).unwrap(), b"");
        }
    }
}

#[test]
fn who_goes_mad_after_its_proof_is_an_error_of_the_call() {
    let garbage = [
        sasl(77, &[]),
        sasl(INITIATE, &[]),
        sasl(CHALLENGE, &[]),
        sasl(SUCCESS, &[])[..9].to_vec(),
        vec![0xFF; 64],
        vec![0, 0, 0, 2, 200, 200],
    ];
    for garbage in garbage {
        let shown = format!("{garbage:?}");
        // Believed without a proof, as the configuration says.
        let answer = move |number| if number == 1 { sasl(SUCCESS, &[]) } else { garbage.clone() };
        let (port, _sent) = secure_server(answer);
        let fs = configured(&[
            ("hadoop.security.authentication", "kerberos"),
            ("ipc.client.fallback-to-simple-auth-allowed", "true"),
            ("ipc.client.rpc-timeout.ms", "1000"),
        ]);
        let path: FsPath = format!("hdfs://localhost:{port}/x").parse().unwrap();
        let begun = Instant::now();
        let error = fs.status(&path).unwrap_err();
        assert!(begun.elapsed() < SOON, "{shown}: {:?}", begun.elapsed());
        assert!(error.to_string().contains(&format!("localhost:{port}")), "{shown}: {error}");
        assert!(error.is_retryable(), "{shown}: {error}");
    }
}

#[test]
fn roots_are_not_deleted_and_file_systems_not_crossed() {
    let fs = configured(&[]);
    for whole in ["hdfs://h:1/", "hdfs://h:1/..", "hdfs://h:1/a/.."] {
        let error = fs.delete_dir(&whole.parse().unwrap()).unwrap_err();
        assert_eq!(error.io_kind(), io::ErrorKind::InvalidInput, "{whole}");
    }
    let crossed = fs.rename(&"hdfs://h:1/a".parse().unwrap(), &"hdfs://h:2/a".parse().unwrap()).unwrap_err();
    assert_eq!((crossed.io_kind(), crossed.kind()), (io::ErrorKind::CrossesDevices, FsErrorKind::Other));
}
