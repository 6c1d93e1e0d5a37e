//! Host names to addresses, with errors that say which name.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

/// How long the system may take to resolve a name.
const DEADLINE: Duration = Duration::from_secs(10);

/// The addresses of `HOST:PORT`.
///
/// # Errors
/// If it is none, the name is unknown, or nobody answers in time; the message names it.
pub async fn resolve(address: &str) -> io::Result<Vec<SocketAddr>> {
    let found = tokio::time::timeout(DEADLINE, tokio::net::lookup_host(address)).await;
    let named = |kind, why: &str| io::Error::new(kind, format!("cannot resolve '{address}': {why}"));
    match found {
        Err(_) => Err(named(io::ErrorKind::TimedOut, "the name service did not answer in 10 s")),
        Ok(Err(error)) => Err(named(error.kind(), &error.to_string())),
        Ok(Ok(addresses)) => {
            let addresses: Vec<SocketAddr> = addresses.collect();
            if addresses.is_empty() {
                return Err(named(io::ErrorKind::NotFound, "the name has no address"));
            }
            Ok(addresses)
        }
    }
}
