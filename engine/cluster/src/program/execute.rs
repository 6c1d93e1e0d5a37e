//! What `execute` does, by role.

use std::sync::PoisonError;

use flott_core::config::Configuration;
use flott_core::ids::JobId;
use flott_fs::FsPath;
use flott_plan::JobGraph;
use flott_runtime::program::Program;
use prost::Message;

use super::role::{Process, Role, process};
use crate::checkpoint::{CompletedCheckpoint, read_checkpoint};
use crate::local::LocalCluster;
use crate::result::{JobError, JobResult};
use crate::rpc::launch::{Executed, FromProgram, ToProgram, from_program, to_program};
use crate::rpc::{control, read_outcome, read_result, write_result};
use crate::worker_process;

/// Runs a job to its end, where the role of this process says. Blocks; in a worker it never returns from the execute that it is for.
///
/// # Errors
/// [`JobError`].
pub fn execute_job(
    graph: JobGraph,
    program: Program,
    configuration: &Configuration,
    restore: Option<CompletedCheckpoint>,
) -> Result<JobResult, JobError> {
    let process = process();
    let execution = process.next_execution();
    match &process.role {
        Role::None => run_here(graph, program, configuration, restore, |_| ()),
        Role::Local { restore: path } => {
            let given = match path {
                Some(path) if execution == 0 && restore.is_none() => Some(read(path, &graph.name)?),
                _ => restore,
            };
            run_here(graph, program, configuration, given, |job| tell(process, job))
        }
        Role::Plan if execution > 0 => Err(not_started(
            &graph.name,
            "a detached program can execute once, since nobody waits for its first job; run it attached",
        )),
        Role::Plan => {
            hand_over(process, &graph, configuration, execution, restore)?;
            Ok(JobResult::detached())
        }
        Role::Driver => drive(process, &graph, configuration, execution, restore),
        Role::Worker(worker) => match &worker.spec {
            Some(spec) if spec.execution == execution => {
                let socket = process.socket.lock().unwrap_or_else(PoisonError::into_inner).take();
                worker_process::serve(worker, spec, graph, program, socket)
            }
            _ => replay(process, execution, &graph.name),
        },
    }
}

fn not_started(name: &str, reason: impl Into<String>) -> JobError {
    JobError::NotStarted { name: name.to_owned(), reason: reason.into() }
}

fn read(path: &str, name: &str) -> Result<CompletedCheckpoint, JobError> {
    let path: FsPath =
        path.parse().map_err(|error: flott_fs::FsError| not_started(name, error.to_string()))?;
    read_checkpoint(&path).map_err(|error| not_started(name, error.to_string()))
}

fn run_here(
    graph: JobGraph,
    program: Program,
    configuration: &Configuration,
    restore: Option<CompletedCheckpoint>,
    tell: impl FnOnce(control::JobOverview),
) -> Result<JobResult, JobError> {
    let cluster = LocalCluster::start()
        .map_err(|error| not_started(&graph.name, format!("cannot start the embedded cluster: {error}")))?;
    cluster.run_and_tell(graph, program, configuration, restore, tell)
}

/// Tells who started the program how a job went.
fn tell(process: &Process, job: control::JobOverview) {
    let message = FromProgram { kind: Some(from_program::Kind::Over(job)) };
    if let Some(socket) = process.socket.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
        // It may have ended, or not want to know.
        let _ = socket.send(&message, None);
    }
}

fn hand_over(
    process: &Process,
    graph: &JobGraph,
    configuration: &Configuration,
    execution: u32,
    restore: Option<CompletedCheckpoint>,
) -> Result<(), JobError> {
    let executed = Executed {
        graph: graph.encode(),
        configuration: configuration.entries().clone(),
        execution,
        recorded: process.all_recorded(),
        checkpoint: restore.map(|checkpoint| checkpoint.encode()),
    };
    let message = FromProgram { kind: Some(from_program::Kind::Executed(executed)) };
    let mut socket = process.socket.lock().unwrap_or_else(PoisonError::into_inner);
    let lost = || not_started(&graph.name, "the command that started the program has ended");
    socket.as_mut().ok_or_else(lost)?.send(&message, None).map_err(|_| lost())
}

fn drive(
    process: &Process,
    graph: &JobGraph,
    configuration: &Configuration,
    execution: u32,
    restore: Option<CompletedCheckpoint>,
) -> Result<JobResult, JobError> {
    hand_over(process, graph, configuration, execution, restore)?;
    let answer = {
        let mut socket = process.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let lost = || not_started(&graph.name, "the command that started the program has ended");
        socket.as_mut().ok_or_else(lost)?.receive::<ToProgram>().map_err(|_| lost())?.0
    };
    let Some(to_program::Kind::Outcome(outcome)) = answer.kind else {
        return Err(not_started(&graph.name, "the command that started the program is of another version"));
    };
    let job = JobId::derived(&graph.name, u64::from(execution));
    let result = read_outcome(outcome, job, &graph.name)?;
    let bytes = write_result(result.clone()).encode_to_vec();
    process
        .record(result_name(execution), bytes)
        .map_err(|error| not_started(&graph.name, error.to_string()))?;
    Ok(result)
}

fn result_name(execution: u32) -> String {
    format!("result/{execution}")
}

/// In a worker: an execute before the one it is for.
fn replay(process: &Process, execution: u32, name: &str) -> Result<JobResult, JobError> {
    let failed = |error: &dyn std::error::Error| not_started(name, error.to_string());
    let bytes = process.replay(&result_name(execution)).map_err(|error| failed(&error))?;
    let result = control::JobResult::decode(bytes.as_slice()).map_err(|error| failed(&error))?;
    read_result(result).map_err(|error| failed(&error))
}
