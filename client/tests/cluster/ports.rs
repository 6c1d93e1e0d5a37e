//! Ports for servers that have to be told theirs: ones that the system gives to nobody, and no other test has.

use std::fs::{self, File};
use std::net::TcpListener;

/// Below those of outgoing connections and of `scripts/hadoop-cluster`.
const PORTS: std::ops::Range<u16> = 10_000..20_000;

/// A port that is this test's for as long as this lives.
pub struct Port {
    pub number: u16,
    /// Locked.
    _lock: File,
}

impl Port {
    pub fn claim() -> Self {
        let user = rustix::process::getuid().as_raw();
        let folder = std::env::temp_dir().join(format!("flott-test-ports-{user}"));
        fs::create_dir_all(&folder).unwrap();
        let claim = |number: u16| {
            let lock = File::create(folder.join(number.to_string())).unwrap();
            let is_free = lock.try_lock().is_ok() && TcpListener::bind(("127.0.0.1", number)).is_ok();
            is_free.then_some(Self { number, _lock: lock })
        };
        PORTS.into_iter().find_map(claim).unwrap()
    }
}
