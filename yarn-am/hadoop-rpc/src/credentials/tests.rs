//! Files that Hadoop 3.4.2 wrote are read, and ours are the same.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use flott_fuzz::Decoder;
use proptest::prelude::*;

use super::*;

const JAVA_WRITABLE: &[u8] = include_bytes!("golden/credentials.writable");
const JAVA_PROTOBUF: &[u8] = include_bytes!("golden/credentials.protobuf");

/// What is in the golden files.
fn golden() -> Credentials {
    let mut credentials = Credentials::default();
    let token = Token {
        kind: "HDFS_DELEGATION_TOKEN".to_owned(),
        service: "127.0.0.1:9820".to_owned(),
        identifier: (0..300_u16).map(|n| n.to_le_bytes()[0]).collect(),
        password: b"password one".to_vec(),
    };
    credentials.insert("localhost:9820", token);
    let kind = "YARN_AM_RM_TOKEN".to_owned();
    credentials.insert("ärm", Token { kind, password: vec![0, 255], ..Token::default() });
    credentials.insert_secret("shuffle", vec![1, 2, 3, 4]);
    credentials
}

#[test]
fn what_java_wrote_is_read_and_written_the_same() {
    assert_eq!(Credentials::read(JAVA_WRITABLE).unwrap(), golden());
    assert_eq!(Credentials::read(JAVA_PROTOBUF).unwrap(), golden());
    assert_eq!(golden().write(), JAVA_WRITABLE);
    let padded = [JAVA_WRITABLE, &[0; 7]].concat();
    assert_eq!(Credentials::read(&padded).unwrap(), golden());
}

#[test]
fn tokens_are_found_by_alias_kind_and_service() {
    let mut credentials = golden();
    assert_eq!(credentials.tokens().map(|(alias, _)| alias).collect::<Vec<_>>(), ["localhost:9820", "ärm"]);
    assert!(credentials.select("HDFS_DELEGATION_TOKEN", "127.0.0.1:9820").is_some());
    assert!(credentials.select("HDFS_DELEGATION_TOKEN", "127.0.0.1:1").is_none());
    assert_eq!(credentials.of_kind("YARN_AM_RM_TOKEN").count(), 1);
    let renewed = Token { password: b"new".to_vec(), ..credentials.token("ärm").unwrap().clone() };
    let mut others = Credentials::default();
    others.insert("ärm", renewed.clone());
    others.insert_secret("other", vec![9]);
    credentials.merge(others);
    assert_eq!((credentials.token("ärm"), credentials.secret("other")), (Some(&renewed), Some(&[9_u8][..])));
    credentials.retain(|_, token| token.kind != "YARN_AM_RM_TOKEN");
    assert_eq!((credentials.tokens().count(), credentials.secret("shuffle").is_some()), (1, true));
    assert!(credentials.remove("localhost:9820").is_some() && credentials.remove("localhost:9820").is_none());
}

#[test]
fn nothing_secret_is_shown() {
    let shown = format!("{:?}", golden());
    assert!(shown.contains("HDFS_DELEGATION_TOKEN") && shown.contains("shuffle"), "{shown}");
    assert!(
        !shown.contains("112, 97, 115") && !shown.contains("password") && !shown.contains("[1, 2"),
        "{shown}"
    );
}

#[test]
fn what_is_damaged_is_named() {
    for cut in 0..JAVA_WRITABLE.len() {
        Credentials::read(&JAVA_WRITABLE[..cut]).unwrap_err();
    }
    for cut in 0..JAVA_PROTOBUF.len() {
        Credentials::read(&JAVA_PROTOBUF[..cut]).unwrap_err();
    }
    let error = |bytes: &[u8]| Credentials::read(bytes).unwrap_err().to_string();
    assert_eq!(error(b"PK\x03\x04"), "not Hadoop credentials: they do not begin with HDTS");
    assert_eq!(error(b"HDTS\x02"), "not Hadoop credentials: they have version 2, but only 0 and 1 are known");
    // A length of 2^40, and one below zero.
    assert_eq!(error(b"HDTS\x00\x01\x8a\x01\0\0\0\0\0"), "not Hadoop credentials: they end too early");
    assert_eq!(error(b"HDTS\x00\xff"), "not Hadoop credentials: a length in them is -1");
}

#[test]
fn a_file_is_private_and_replaced_whole() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("tokens");
    fs::write(&path, "old").unwrap();
    let error = Credentials::read_file(&path).unwrap_err().to_string();
    assert_eq!(
        error,
        format!(
            "cannot read the credentials in {}: they do not begin with HDTS; have them written anew",
            path.display()
        )
    );
    golden().write_file(&path).unwrap();
    assert_eq!(Credentials::read_file(&path).unwrap(), golden());
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
    let error = golden().write_file(&folder.path().join("none/x")).unwrap_err().to_string();
    assert!(error.starts_with("cannot write the credentials in /"), "{error}");
}

proptest! {
    #[test]
    fn credentials_come_back(
        tokens in prop::collection::btree_map("\\PC{0,8}", ("\\PC{0,8}", "\\PC{0,8}", any::<Vec<u8>>(), any::<Vec<u8>>()), 0..5),
        secrets in prop::collection::btree_map("\\PC{0,8}", any::<Vec<u8>>(), 0..5),
    ) {
        let mut credentials = Credentials { secrets, ..Credentials::default() };
        for (alias, (kind, service, identifier, password)) in tokens {
            credentials.insert(alias, Token { kind, service, identifier, password });
        }
        prop_assert_eq!(Credentials::read(&credentials.write()).unwrap(), credentials);
    }
}

#[test]
fn fuzz_credentials_of_both_formats() {
    Decoder::new("credentials")
        .sample(JAVA_WRITABLE)
        .sample(JAVA_PROTOBUF)
        .sample(Credentials::default().write())
        .word(MAGIC)
        .bytes(|bytes| {
            if let Ok(credentials) = Credentials::read(bytes) {
                assert_eq!(Credentials::read(&credentials.write()).unwrap(), credentials);
            }
        });
}

#[test]
fn fuzz_credentials_identifiers() {
    let sample = b"\x00\x05alice\x04yarn\x00\x8a\x01\x8f\x3d\x2c\x1b\x0a\x8a\x01\x8f\x61\x2c\x1b\x0a\x07\x02";
    Decoder::new("identifiers of delegation tokens").sample(*sample).bytes(|bytes| {
        let kind = HDFS_DELEGATION_TOKEN.to_owned();
        let token = Token { kind, identifier: bytes.to_vec(), ..Token::default() };
        let _ = DelegationToken::of(&token);
    });
}
