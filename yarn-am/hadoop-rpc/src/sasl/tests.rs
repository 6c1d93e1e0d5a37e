use flott_fuzz::Decoder;
use proptest::prelude::*;
use prost::Message;

use super::*;

fn means(token: bool, login: bool) -> Means {
    let token = token.then(|| Token {
        kind: "K".into(),
        service: String::new(),
        identifier: b"id".to_vec(),
        password: b"pw".to_vec(),
    });
    let login = login.then_some(Login::TicketCache { principal: None });
    Means { token, login, protections: vec![Protection::Authentication] }
}

fn auth(method: &str, mechanism: &str) -> SaslAuth {
    SaslAuth {
        method: method.into(),
        mechanism: mechanism.into(),
        protocol: Some(String::new()),
        server_id: Some("default".into()),
        challenge: None,
    }
}

fn offer(auths: &[(&str, &str)]) -> RpcSasl {
    let auths = auths.iter().map(|(method, mechanism)| auth(method, mechanism)).collect();
    RpcSasl { auths, ..message(SaslState::Negotiate) }
}

#[test]
fn the_first_entry_with_means_is_taken() {
    let both = offer(&[("SIMPLE", ""), ("TOKEN", "DIGEST-MD5"), ("KERBEROS", "GSSAPI")]);
    assert!(matches!(choose(&both, &means(true, true)), Ok(Choice::Token(_))));
    assert!(matches!(choose(&both, &means(false, true)), Ok(Choice::Kerberos(_))));
    let success = message(SaslState::Success);
    assert!(matches!(choose(&success, &means(true, true)), Ok(Choice::Simple(None))));
    assert!(matches!(choose(&both, &means(false, false)), Ok(Choice::Simple(Some(_)))));
}

#[test]
fn an_offer_without_means_says_what_is_missing() {
    let error = |offer: &RpcSasl, means| choose(offer, &means).unwrap_err().to_string();
    assert_eq!(
        error(&offer(&[("TOKEN", "DIGEST-MD5"), ("KERBEROS", "GSSAPI")]), means(false, false)),
        "the server takes TOKEN or KERBEROS, and there is neither a token for this server nor a Kerberos login; set \
         hadoop.security.authentication to kerberos in core-site.xml, and run kinit or use a keytab"
    );
    assert!(error(&offer(&[("TOKEN", "SCRAM-SHA-256")]), means(true, false)).contains("DIGEST-MD5 only"));
    assert!(error(&message(SaslState::Wrap), means(true, false)).contains("Wrap"));
}

#[test]
fn a_server_cannot_succeed_before_its_proof() {
    let mut negotiation = Negotiation::token(
        auth("TOKEN", "DIGEST-MD5"),
        means(true, false).token.unwrap(),
        &[Protection::Authentication],
    );
    let initiate = negotiation.initiate().unwrap();
    assert_eq!(initiate.token, None);
    let error = negotiation.step(message(SaslState::Success)).err().unwrap();
    assert_eq!(error.to_string(), "the server claims success before it has proved who it is");
    let challenge =
        RpcSasl { token: Some(b"nonce=n,algorithm=md5-sess".to_vec()), ..message(SaslState::Challenge) };
    assert!(matches!(negotiation.step(challenge.clone()), Ok(Step::Send(_))));
    assert!(negotiation.step(challenge).is_err());
    assert!(negotiation.step(message(SaslState::Initiate)).is_err());
}

#[test]
fn protections_are_words() {
    assert_eq!(
        Protection::parse_list("privacy,integrity"),
        Ok(vec![Protection::Privacy, Protection::Integrity])
    );
    assert_eq!(Protection::parse_list("privacy,x"), Err("x".into()));
}

#[cfg(not(feature = "kerberos"))]
#[test]
fn without_kerberos_the_error_says_how_to_build_with_it() {
    let target = Target::HostBased("nn@h".into());
    let login = Login::TicketCache { principal: None };
    let error = Negotiation::kerberos(auth("KERBEROS", "GSSAPI"), &login, &target, &[]).err().unwrap();
    assert!(error.to_string().contains("--features kerberos"));
}

/// Messages one behind the other, each with its length.
fn stream(messages: &[RpcSasl]) -> Vec<u8> {
    messages.iter().flat_map(Message::encode_length_delimited_to_vec).collect()
}

#[test]
fn fuzz_sasl_negotiations() {
    let challenge =
        RpcSasl { token: Some(b"nonce=n,algorithm=md5-sess".to_vec()), ..message(SaslState::Challenge) };
    let success = RpcSasl { token: Some(b"rspauth=00".to_vec()), ..message(SaslState::Success) };
    let offered = offer(&[("SIMPLE", ""), ("TOKEN", "DIGEST-MD5"), ("KERBEROS", "GSSAPI")]);
    Decoder::new("negotiations of Hadoop's RPC")
        .sample(stream(&[challenge.clone(), success.clone()]))
        .sample(stream(&[success]))
        .sample(stream(&[offered, challenge]))
        .words(&["TOKEN", "KERBEROS", "DIGEST-MD5", "algorithm=md5-sess", "rspauth="])
        .bytes(|mut bytes| {
            let token = means(true, false).token.unwrap();
            let allowed = [Protection::Privacy, Protection::Authentication];
            let mut negotiation = Negotiation::token(auth("TOKEN", "DIGEST-MD5"), token, &allowed);
            let _ = negotiation.initiate();
            while let Ok(message) = RpcSasl::decode_length_delimited(&mut bytes) {
                let _ = choose(&message, &means(true, false));
                let step = negotiation.step(message);
                assert!(!matches!(step, Ok(Step::Finished(_))), "nobody has proved anything");
                if bytes.is_empty() {
                    break;
                }
            }
        });
}

proptest! {
    #[test]
    fn any_states_and_tokens_are_steps_or_errors(steps in prop::collection::vec((-1..8, prop::option::of("[a-z=,\"]{0,20}")), 1..6)) {
        let token = means(true, false).token.unwrap();
        let mut negotiation = Negotiation::token(auth("TOKEN", "DIGEST-MD5"), token, &[Protection::Privacy]);
        for (state, token) in steps {
            let received = RpcSasl { state, token: token.map(String::into_bytes), ..Default::default() };
            prop_assert!(!matches!(negotiation.step(received), Ok(Step::Finished(_))));
        }
    }
}
