//! Who the NameNodes are, on a cluster with Kerberos.
//!
//! The client below believes more than it should: a server that offers SIMPLE gets a name and what goes with it, and whatever principal a server
//! names for itself is taken. So before a session is used, each of its NameNodes has to prove by Flott's own RPC, which is strict, that it knows the token or
//! is the principal that the configuration expects. One that is away need not, as long as another does; one that is not who it should be ends the call.
//! The same is asked again when the session begins with new connections. What the client connects to by itself in between is not looked at.

use std::io;
use std::time::Duration;

use hadoop_rpc::{RpcClient, RpcError};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout_at};

use super::failure::Failure;

/// How long the others are waited for once a NameNode has proved who it is: not for as long as a host that is down keeps silent.
const GRACE: Duration = Duration::from_secs(1);

/// What came of asking one NameNode.
#[derive(Debug)]
enum Proof {
    Given,
    /// It is away, or not ready.
    Owed(String),
    /// It does not take us for who we say, and may be right.
    Refused(Failure),
    /// It is not who it should be.
    Failed(Failure),
}

/// Asks all NameNodes of a client, at once.
///
/// # Errors
/// [`Failure::Unreachable`]: none could be asked yet. Else one is not who it should be, or none takes us.
pub(super) async fn prove(name_nodes: &RpcClient, deadline: Instant) -> Result<(), Failure> {
    let mut asked = JoinSet::new();
    for place in 0..name_nodes.servers().addresses.len() {
        let name_nodes = name_nodes.clone();
        asked.spawn(async move { name_nodes.authenticate(place).await });
    }
    let (mut is_proven, mut until) = (false, deadline);
    let (mut away, mut refused) = (String::new(), None);
    while let Ok(Some(answer)) = timeout_at(until, asked.join_next()).await {
        match decide(answer.map_err(|error| Failure::Panicked(error.to_string()))?) {
            Proof::Given => (is_proven, until) = (true, until.min(Instant::now() + GRACE)),
            Proof::Owed(why) => away = format!("{away}{why}; "),
            Proof::Refused(failure) => refused = Some(failure),
            Proof::Failed(failure) => return Err(failure),
        }
    }
    if is_proven {
        return Ok(());
    }
    let away = || Failure::Unreachable(format!("no NameNode proves who it is: {away}is HDFS running?"));
    Err(refused.unwrap_or_else(away))
}

fn decide(answer: Result<(), RpcError>) -> Proof {
    match answer {
        // Its offer was right; only the client below can take it.
        Ok(()) | Err(RpcError::Unavailable { .. }) => Proof::Given,
        Err(error @ RpcError::Authentication { class: Some(_), .. }) => Proof::Refused(error.into()),
        Err(error @ (RpcError::Authentication { .. } | RpcError::Protocol { .. })) => {
            Proof::Failed(Failure::found(io::ErrorKind::Other, error.to_string()))
        }
        Err(error @ RpcError::Configuration { .. }) => Proof::Failed(error.into()),
        Err(error) => Proof::Owed(error.to_string()),
    }
}
