//! What can be said of HDFS without one. What it does is in `tests/hdfs.rs`.

use std::io::Write;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use super::*;
use crate::FsErrorKind;

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
    let port = TcpListener::bind("localhost:0").unwrap().local_addr().unwrap().port();
    let path: FsPath = format!("hdfs://localhost:{port}/x").parse().unwrap();
    let fs = configured(&[("ipc.client.rpc-timeout.ms", "1000")]);
    let begun = Instant::now();
    let error = fs.status(&path).unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(3));
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
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
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
    assert!(begun.elapsed() < Duration::from_secs(5));
    assert!(error.to_string().contains(&format!("(NameNode at localhost:{port})")), "{error}");
    drop(fs);
    drop(lying);
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
