//! TaskManagers that die again and again: the ResourceManager itself counts what it was asked for and what it gave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use crate::containers::{Sums, kill, processes_of, workers_of};
use crate::support::{Hadoop, application_in, get_json, program, text, until};

/// A cluster for tests of which each wants it for itself. Its nodes are hosts of their own, each with room for four containers.
pub fn lonely() -> (&'static Hadoop, MutexGuard<'static, ()>) {
    static CLUSTER: OnceLock<Hadoop> = OnceLock::new();
    static ONE: Mutex<()> = Mutex::new(());
    let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    (CLUSTER.get_or_init(|| Hadoop::start(&["--distinct-hosts", "--nodemanagers", "3"])), guard)
}

/// Of the root queue: allocated now, asked for and not yet given, given since the ResourceManager began.
fn counted(cluster: &Hadoop) -> (u64, u64, u64) {
    let query = "qry=Hadoop:service=ResourceManager,name=QueueMetrics,q0=root";
    let url = format!("{}/jmx?{query}", cluster.variable("RM_WEB"));
    let metrics = get_json(&[&url]).unwrap_or_else(|| panic!("{url} gives nothing"));
    let root = &metrics["beans"][0];
    let of = |name: &str| root[name].as_u64().unwrap_or_else(|| panic!("no {name} in {metrics}"));
    (of("AllocatedContainers"), of("PendingContainers"), of("AggregateContainersAllocated"))
}

/// Ends the sampling.
struct Over<'a>(&'a AtomicBool);

impl Drop for Over<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// How many TaskManagers are killed, one after another and two at a time.
const KILLS: usize = 12;

#[test]
fn a_restart_storm_never_asks_for_more_than_is_missing() {
    let (cluster, _one) = lonely();
    let (_, _, before) = counted(cluster);
    let settings = [
        "restart-strategy.type=fixed-delay",
        "restart-strategy.fixed-delay.attempts=1000",
        "restart-strategy.fixed-delay.delay=100 ms",
        "rest.read-access=open",
    ];
    let settings: Vec<&str> = settings.iter().flat_map(|setting| ["-D", setting]).collect();
    let layout = ["-p", "5", "-ys", "1", "-ytm", "256", "-yjm", "256"];
    let sums = Sums::start(cluster, "storm", 2_000_000, &layout, &settings);
    let over = AtomicBool::new(false);
    let most = thread::scope(|threads| {
        let sampling = threads.spawn(|| {
            let (mut most, mut samples) = ((0, 0, 0), 0_u64);
            while !over.load(Ordering::Relaxed) {
                let (allocated, pending, _) = counted(cluster);
                most = most.max((allocated + pending, allocated, pending));
                samples += 1;
                thread::park_timeout(Duration::from_millis(20));
            }
            (most, samples)
        });
        // Also when this fails.
        let over = Over(&over);
        let mut killed = Vec::new();
        let five_others = |killed: &[u32]| {
            until("five TaskManagers run", || {
                let mut all = processes_of(&sums.id, "yarn-taskmanager");
                all.retain(|pid| !killed.contains(pid));
                (all.len() == 5).then_some(all)
            })
        };
        while killed.len() < KILLS {
            let alive = five_others(&killed);
            // Some are killed while others are being replaced.
            for pid in &alive[..if killed.len() % 3 == 0 { 2 } else { 1 }] {
                kill(*pid);
                killed.push(*pid);
            }
        }
        five_others(&killed);
        sums.until_committed_again();
        let failures = sums.rest("jobs/JOB/exceptions");
        let told = failures["exceptionHistory"]["entries"][0]["exceptionName"].as_str().unwrap().to_owned();
        assert!(told.starts_with("TaskManager container_"), "{failures}");
        assert!(told.contains(": killed by signal 9") && told.contains("/node/containerlogs/"), "{told}");
        let log = sums.log();
        sums.end();
        drop(over);
        let (most, samples) = sampling.join().unwrap();
        eprintln!("{} kills, {samples} samples, at most {most:?} (allocated + pending)", killed.len());
        assert!(samples > 20, "{samples}");
        let (_, _, after) = counted(cluster);
        assert_eq!(after - before, 6 + killed.len() as u64, "given in all; {log}");
        most
    });
    assert_eq!(most.0, 6, "{most:?}");
}

#[test]
fn a_command_prints_how_the_container_ended() {
    let (cluster, _one) = lonely();
    let folder = tempfile::tempdir().unwrap();
    let gate = folder.path().join("gate");
    let output = cluster.fresh("ended");
    let said = folder.path().join("said");
    let line = ["run-application", "-p", "2", "-ys", "1", "-ytm", "256", "-yjm", "256"];
    let none = ["-D", "restart-strategy.type=none"];
    let own = [&program(), "sums", "400000", "10", gate.to_str().unwrap(), &output];
    let mut command = cluster.command(&[&line[..], &none, &own].concat());
    command.stdout(std::process::Stdio::null()).stderr(std::fs::File::create(&said).unwrap());
    let mut running = command.spawn().unwrap();
    let read = || std::fs::read(&said).map(|bytes| text(&bytes)).unwrap();
    let id = until("the application has an id", || Some(read()).filter(|said| said.contains("application_")));
    let id = application_in(&id);
    let task_managers = until("both run", || {
        let all = processes_of(&id, "yarn-taskmanager");
        (all.len() == 2 && all.iter().all(|pid| !workers_of(*pid).is_empty())).then_some(all)
    });
    kill(task_managers[0]);
    assert_eq!(running.wait().unwrap().code(), Some(1));
    let said = read();
    assert!(said.contains("TaskManager container_") && said.contains(": killed by signal 9"), "{said}");
    let diagnostics = cluster.ended(&id)["diagnostics"].as_str().unwrap().to_owned();
    assert!(diagnostics.contains(": killed by signal 9"), "{diagnostics}");
}
