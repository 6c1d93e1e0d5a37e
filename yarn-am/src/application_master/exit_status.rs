//! How a container ended, in words.

/// YARN's own exit statuses of containers.
const INVALID: i32 = -1000;
const ABORTED: i32 = -100;
const DISKS_FAILED: i32 = -101;
const PREEMPTED: i32 = -102;
const KILLED_EXCEEDED_VMEM: i32 = -103;
const KILLED_EXCEEDED_PMEM: i32 = -104;
const KILLED_BY_APPLICATION_MASTER: i32 = -105;
const KILLED_BY_RESOURCE_MANAGER: i32 = -106;
const KILLED_AFTER_APPLICATION: i32 = -107;
const KILLED_BY_CONTAINER_SCHEDULER: i32 = -108;
const KILLED_FOR_EXCESS_LOGS: i32 = -109;
const FORCE_KILLED: i32 = 137;
const TERMINATED: i32 = 143;

/// How many lines are quoted.
const BRIEF_LINES: usize = 6;

/// Says what became of a TaskManager's container: `status` and `diagnostics` are what YARN says.
pub(super) fn of_task_manager(status: i32, diagnostics: &str) -> String {
    in_words(status, diagnostics) + &remedy(status, "taskmanager.memory.process.size")
}

/// What to do about a process that outgrew its container, whose size that key sets.
fn remedy(status: i32, key: &str) -> String {
    match status {
        KILLED_EXCEEDED_PMEM | KILLED_EXCEEDED_VMEM => format!("; raise {key}"),
        _ => String::new(),
    }
}

fn in_words(status: i32, diagnostics: &str) -> String {
    let own = last_words(diagnostics).filter(|_| status > 0);
    let said = own.as_deref().unwrap_or(diagnostics.trim());
    let with =
        |what: &str| if said.is_empty() { what.to_owned() } else { format!("{what}: {}", brief(said)) };
    match status {
        KILLED_EXCEEDED_PMEM => match memory_used(said, "physical memory") {
            Some((used, of)) => format!("killed by YARN: used {used} of {of}"),
            None => with("killed by YARN: used more memory than it has"),
        },
        KILLED_EXCEEDED_VMEM => match memory_used(said, "virtual memory") {
            Some((used, of)) => format!("killed by YARN: used {used} of {of} of virtual memory"),
            None => with("killed by YARN: used more virtual memory than it may"),
        },
        PREEMPTED => with("preempted by YARN for another queue or application"),
        DISKS_FAILED => with("the disks of its node have failed"),
        ABORTED if said.starts_with("Container released by application") => "given back".to_owned(),
        ABORTED => with("its node is lost, or YARN took it back before it was used"),
        KILLED_BY_APPLICATION_MASTER => "stopped by the ApplicationMaster".to_owned(),
        KILLED_BY_RESOURCE_MANAGER => with("killed by the ResourceManager"),
        KILLED_AFTER_APPLICATION => "killed since the application is over".to_owned(),
        KILLED_BY_CONTAINER_SCHEDULER => with("killed by its NodeManager, which needed the resources"),
        KILLED_FOR_EXCESS_LOGS => with("killed by YARN: it wrote more logs than it may"),
        INVALID => with("it never ran"),
        FORCE_KILLED => with("killed by signal 9: somebody killed it, or its node had no memory left"),
        TERMINATED => with("ended by signal 15"),
        0 => "it has ended by itself".to_owned(),
        status => with(&format!("exit status {status}")),
    }
}

/// What YARN says of an application in words, where its ApplicationMaster's container has ended: what became of that, and where its logs
/// are. Everything else stays as it is.
pub(crate) fn of_application_master(diagnostics: &str) -> String {
    let said = || {
        let (_, after) = diagnostics.split_once(" exited with  exitCode: ")?;
        let (status, after) = after.split_once('\n')?;
        let status: i32 = status.trim().parse().ok()?;
        let (_, after) = after.split_once("Diagnostics: ")?;
        let (said, page) =
            match after.split_once("For more detailed output, check the application tracking page: ") {
                Some((said, rest)) => (said, rest.split_whitespace().next()),
                None => (after.trim_end().trim_end_matches(". Failing the application."), None),
            };
        let more = page.map(|page| format!(" (its logs: {page})")).unwrap_or_default();
        let larger = remedy(status, "jobmanager.memory.process.size");
        Some(format!("its ApplicationMaster: {}{larger}{more}", in_words(status, said)))
    };
    said().unwrap_or_else(|| diagnostics.to_owned())
}

/// What a process has written to standard error last, where YARN quotes it; that it may do twice.
fn last_words(diagnostics: &str) -> Option<String> {
    let (_, words) = diagnostics.rsplit_once(".stderr :\n")?;
    let lines: Vec<&str> = words.lines().filter(|line| !line.trim().is_empty()).collect();
    (!lines.is_empty()).then(|| lines[lines.len().saturating_sub(BRIEF_LINES)..].join("\n"))
}

/// The first lines of what YARN says, which may be pages of a launch script's.
fn brief(said: &str) -> String {
    let lines = said.lines().map(str::trim).filter(|line| !line.is_empty()).take(BRIEF_LINES);
    let mut text = lines.collect::<Vec<_>>().join(" | ");
    if text.len() > 1000 {
        let end = (0..=1000).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(0);
        text.truncate(end);
        text.push('…');
    }
    text
}

/// Finds `1.2 GB of 1.1 GB physical memory used`.
fn memory_used(said: &str, kind: &str) -> Option<(String, String)> {
    let before = &said[..said.find(&format!(" {kind} used"))?];
    let words: Vec<&str> = before.split_whitespace().rev().take(5).collect();
    let [of_unit, of, "of", used_unit, used] = words[..] else { return None };
    let unit = |unit: &str| unit.replace("GB", "GiB").replace("MB", "MiB").replace("KB", "KiB");
    Some((format!("{used} {}", unit(used_unit)), format!("{of} {}", unit(of_unit))))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn who_took_too_much_memory_is_told_the_numbers() {
        let said = "[2026-11-20 12:00:00.123]Container [pid=4711,containerID=container_1_0001_01_000002] is running \
                    121634816B beyond the 'PHYSICAL' memory limit. Current usage: 1.2 GB of 1.1 GB physical memory used; \
                    2.9 GB of 2.3 GB virtual memory used. Killing container.";
        assert_eq!(in_words(-104, said), "killed by YARN: used 1.2 GiB of 1.1 GiB");
        assert_eq!(in_words(-103, said), "killed by YARN: used 2.9 GiB of 2.3 GiB of virtual memory");
        assert_eq!(
            of_task_manager(-104, said),
            "killed by YARN: used 1.2 GiB of 1.1 GiB; raise taskmanager.memory.process.size"
        );
        assert_eq!(of_task_manager(-102, ""), in_words(-102, ""));
        assert_eq!(in_words(-104, ""), "killed by YARN: used more memory than it has");
    }

    #[test]
    fn an_application_master_that_has_ended_is_told_in_words() {
        let failed = |diagnostics: &str| {
            format!(
                "Application application_1_0001 failed 1 times due to AM Container for appattempt_1_0001_000001 exited with  \
                 {diagnostics}For more detailed output, check the application tracking page: http://rm:8088/app Then click on \
                 links to logs of each attempt.\n. Failing the application."
            )
        };
        let memory = failed(
            "exitCode: -104\nFailing this attempt.Diagnostics: [x]Container [pid=1] is running 1B beyond the 'PHYSICAL' memory \
             limit. Current usage: 1.2 GB of 1 GB physical memory used; 2.9 GB of 2.3 GB virtual memory used.\n",
        );
        assert_eq!(
            of_application_master(&memory),
            "its ApplicationMaster: killed by YARN: used 1.2 GiB of 1 GiB; raise jobmanager.memory.process.size \
             (its logs: http://rm:8088/app)"
        );
        let wrote = "[x]Container exited with a non-zero exit code 1. Error file: prelaunch.err.\nLast 4096 bytes of \
                     prelaunch.err :\nLast 4096 bytes of jobmanager.stderr :\nflott: no port\n\n\n";
        let port = failed(&format!(
            "exitCode: 1\nFailing this attempt.Diagnostics: [x]Exception from container-launch.\nExit code: 1\n\n{wrote}{wrote}",
        ));
        assert_eq!(
            of_application_master(&port),
            "its ApplicationMaster: exit status 1: flott: no port (its logs: http://rm:8088/app)"
        );
        for other in
            ["", "main has failed", "Application x was killed by user y", "a exited with  exitCode: b\nc"]
        {
            assert_eq!(of_application_master(other), other);
        }
    }

    #[test]
    fn what_a_process_wrote_last_is_told_and_not_what_launched_it() {
        let block = |words: &str| {
            format!("[x]Error file: prelaunch.err.\nLast 4096 bytes of taskmanager.stderr :\n{words}\n\n\n")
        };
        let lines: Vec<String> = (0..20).map(|line| format!("line {line}")).collect();
        let said = format!("Exception from container-launch.\n\n{0}{0}", block(&lines.join("\n")));
        assert_eq!(
            in_words(1, &said),
            "exit status 1: line 14 | line 15 | line 16 | line 17 | line 18 | line 19"
        );
        assert_eq!(
            in_words(1, &format!("Exception from container-launch.\n{}", block(""))),
            "exit status 1: Exception from container-launch. | [x]Error file: prelaunch.err. | Last 4096 bytes of \
             taskmanager.stderr :"
        );
    }

    #[test]
    fn other_ends() {
        assert_eq!(in_words(3, " \n"), "exit status 3");
        assert_eq!(
            in_words(1, "Exception from container-launch.\n\nno such file"),
            "exit status 1: Exception from container-launch. | no such file"
        );
        assert_eq!(in_words(-105, "x"), "stopped by the ApplicationMaster");
        assert_eq!(in_words(-100, "Container released by application"), "given back");
        assert!(in_words(5, &"é".repeat(2000)).len() < 1100);
    }

    proptest! {
        #[test]
        fn whatever_yarn_says(status in any::<i32>(), said in "\\PC{0,200}( physical memory used)?\\PC{0,20}") {
            prop_assert!(!in_words(status, &said).is_empty());
            let diagnostics = format!("x exited with  exitCode: {status}\nDiagnostics: {said}");
            prop_assert!(of_application_master(&diagnostics).starts_with("its ApplicationMaster: "));
        }
    }
}
