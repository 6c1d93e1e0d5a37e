//! Removes the nodes of a cluster that is over.

use std::time::Duration;

use flott_core::config::Configuration;
use flott_runtime::net::handshake::Secret;
use zookeeper_client::{Client, Error};

use super::connection::ZooKeeper;
use crate::high_availability::HighAvailabilityError;

/// How long all of it may take.
const DEADLINE: Duration = Duration::from_secs(20);

/// Removes the nodes of the cluster that the configuration names, unless somebody contends for its leadership: then false.
pub(in crate::high_availability) async fn remove_cluster(
    configuration: &Configuration,
    secret: &Secret,
) -> Result<bool, HighAvailabilityError> {
    let zookeeper = ZooKeeper::new(configuration, secret)?;
    let client = zookeeper.connect().await?;
    let removed = tokio::time::timeout(DEADLINE, async {
        let latch = zookeeper.paths.latch();
        match client.list_children(&latch).await {
            Ok(contenders) if !contenders.is_empty() => return Ok(false),
            Ok(_) | Err(Error::NoNode) => {}
            Err(error) => return Err(zookeeper.failed("list", &latch, &error)),
        }
        remove_tree(&client, &zookeeper, zookeeper.paths.cluster.clone()).await.map(|()| true)
    });
    removed.await.unwrap_or_else(|_| {
        let error = Error::Timeout;
        Err(zookeeper.failed("remove", &zookeeper.paths.cluster, &error))
    })
}

/// Removes a node with all below it, which may be going meanwhile.
async fn remove_tree(
    client: &Client,
    zookeeper: &ZooKeeper,
    root: String,
) -> Result<(), HighAvailabilityError> {
    let mut waiting = vec![(root, false)];
    while let Some((path, emptied)) = waiting.pop() {
        if emptied {
            match client.delete(&path, None).await {
                Ok(()) | Err(Error::NoNode) => {}
                Err(error) => return Err(zookeeper.failed("remove", &path, &error)),
            }
            continue;
        }
        match client.list_children(&path).await {
            Ok(children) => {
                let below: Vec<_> =
                    children.into_iter().map(|child| (format!("{path}/{child}"), false)).collect();
                waiting.push((path, true));
                waiting.extend(below);
            }
            Err(Error::NoNode) => {}
            Err(error) => return Err(zookeeper.failed("list", &path, &error)),
        }
    }
    Ok(())
}
