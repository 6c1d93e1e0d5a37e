//! What a TaskManager and its workers use of their machine, as the system tells it under `/proc`.

use std::collections::HashMap;
use std::fs;
use std::time::Instant;

use crate::rpc::control::Heartbeat;

/// In how many parts of a second the system counts processor time; the same on every Linux that Flott runs on.
const TICKS_A_SECOND: f64 = 100.0;

/// Reads figures; knows the last, since load is a difference.
pub(super) struct Figures {
    memory_limit: u64,
    last: Option<(Instant, HashMap<u32, u64>)>,
}

impl Figures {
    /// Of a TaskManager that may use so many bytes of memory with its workers.
    pub(super) fn new(memory_limit: u64) -> Self {
        Self { memory_limit, last: None }
    }

    /// The figures now, as a sign of life. What the system does not tell is 0.
    pub(super) fn heartbeat(&mut self) -> Heartbeat {
        let (now, mut ticks, mut memory_used) = (Instant::now(), HashMap::new(), 0);
        for pid in own_processes() {
            memory_used += read_line(&format!("/proc/{pid}/status"), "VmRSS:");
            ticks.extend(ticks_of(pid).map(|ticks| (pid, ticks)));
        }
        let cpu_load = self.last.as_ref().map_or(0.0, |(then, before)| {
            let spent = ticks.iter().map(|(pid, ticks)| ticks.saturating_sub(*before.get(pid).unwrap_or(&0)));
            let seconds = now.duration_since(*then).as_secs_f64().max(1e-3);
            spent.sum::<u64>() as f64 / TICKS_A_SECOND / seconds
        });
        self.last = Some((now, ticks));
        Heartbeat {
            memory_limit: self.memory_limit,
            memory_used,
            cpu_load,
            cores: std::thread::available_parallelism().map_or(0, |cores| cores.get() as u32),
            machine_memory: read_line("/proc/meminfo", "MemTotal:"),
            machine_free: read_line("/proc/meminfo", "MemAvailable:"),
        }
    }
}

/// This process and its workers.
fn own_processes() -> Vec<u32> {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let children = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let mut pids = vec![std::process::id()];
    for list in children {
        pids.extend(list.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
    }
    pids
}

/// A figure in kibibytes behind its name, in bytes.
fn read_line(path: &str, name: &str) -> u64 {
    let text = fs::read_to_string(path).unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let figure = line.and_then(|rest| rest.split_whitespace().next()?.parse::<u64>().ok());
    figure.unwrap_or(0).saturating_mul(1024)
}

/// The processor time a process has used.
fn ticks_of(pid: u32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; user and system time are the 12th and 13th field behind it.
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace().skip(11);
    let (user, system): (u64, u64) = (fields.next()?.parse().ok()?, fields.next()?.parse().ok()?);
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_uses_something() {
        let mut figures = Figures::new(1 << 30);
        let first = figures.heartbeat();
        assert!(first.memory_used > 1 << 20 && first.machine_memory > first.memory_used, "{first:?}");
        assert!(first.cores > 0 && first.cpu_load == 0.0 && first.memory_limit == 1 << 30);
        let ticks = || ticks_of(std::process::id()).unwrap();
        let begun = ticks();
        while ticks() < begun + 20 {}
        let second = figures.heartbeat();
        assert!(second.cpu_load > 0.0, "{second:?}");
    }
}
