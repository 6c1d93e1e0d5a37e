//! `flott list`, `flott cancel`, `flott log-level`.

use std::time::{Duration, Instant, SystemTime};

use flott_cluster::client::{Cluster, ClusterError};
use flott_cluster::rpc::control::{JobList, JobOverview, JobReference, ListJobsRequest, LogLevelRequest};
use flott_core::config;
use flott_core::ids::JobId;
use tonic::Response;

use crate::arguments::{CancelOptions, ListOptions, LogLevelOptions};
use crate::cluster::{block_on, reach_target};
use crate::output::say;
use crate::progress::{duration, id_of, instant};
use crate::savepoints::refuse_to_cancel;
use crate::{CommandError, Ended, kerberos};

fn reference(job: &str) -> Result<JobReference, CommandError> {
    let id: JobId = job.parse()?;
    Ok(JobReference { job: id.as_bytes().to_vec() })
}

/// Lists jobs.
pub(crate) fn list(options: &ListOptions) -> Result<Ended, CommandError> {
    let (configuration, target) = options.master.meant(&options.settings)?;
    kerberos::use_keytab(&configuration)?;
    let list = block_on(async {
        let mut cluster = reach_target(&target, &configuration).await?;
        Ok(cluster.ask(|mut client| async move { client.list_jobs(ListJobsRequest {}).await }).await?)
    })?;
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    say(&table(&list, options, i64::try_from(now.as_millis()).unwrap_or(i64::MAX)))?;
    Ok(Ended::Well)
}

fn is_over(job: &JobOverview) -> bool {
    matches!(job.status.as_str(), "FINISHED" | "FAILED" | "CANCELED")
}

fn table(list: &JobList, options: &ListOptions, now: i64) -> String {
    let wanted = |job: &&JobOverview| {
        let scheduled = job.status == "CREATED";
        match (options.running, options.scheduled, options.all) {
            (_, _, true) => true,
            (running, only_scheduled, _) if running != only_scheduled => {
                !is_over(job) && scheduled == only_scheduled
            }
            _ => !is_over(job),
        }
    };
    let jobs: Vec<&JobOverview> = list.jobs.iter().filter(wanted).collect();
    let mut text =
        format!("{} TaskManagers, {} of {} slots free\n", list.task_managers, list.free_slots, list.slots);
    if jobs.is_empty() {
        text.push_str(if options.all {
            "No jobs.\n"
        } else {
            "No jobs run. flott list -a shows those that are over.\n"
        });
        return text;
    }
    text.push_str(&format!("{:<32}  {:<10}  {:<20}  {:>9}  NAME\n", "JOB", "STATUS", "STARTED", "DURATION"));
    for job in jobs {
        let until = if job.ended > 0 { job.ended } else { now };
        let lasted = Duration::from_millis(u64::try_from(until - job.started).unwrap_or(0));
        text.push_str(&format!(
            "{:<32}  {:<10}  {:<20}  {:>9}  {}\n",
            id_of(job),
            job.status,
            instant(job.started),
            duration(lasted),
            job.name
        ));
        if (job.status == "FAILED" && !job.failure.is_empty()) || !job.unkept_end.is_empty() {
            text.push_str(&format!("    {}\n", job.failure.replace('\n', "\n    ")));
        }
    }
    text
}

/// When a job that somebody wants cancelled has come to its end.
enum Cancelled {
    Before(JobOverview),
    Now(JobOverview),
    /// It cannot be written that it is over; the JobManager goes on trying.
    Unkept(JobOverview),
}

/// Has a job cancelled and waits until it is over.
async fn cancelled(cluster: &Cluster, reference: &JobReference) -> Result<Cancelled, ClusterError> {
    let mut client = cluster.rpc();
    let before = cluster.answer(client.cancel_job(reference.clone())).await?;
    if is_over(&before) {
        return Ok(Cancelled::Before(before));
    }
    let mut updates = cluster.answer(client.watch_job(reference.clone())).await?;
    let (mut last, mut unkept) = (before, None);
    loop {
        let Some(update) = cluster.answer(async { updates.message().await.map(Response::new) }).await? else {
            return Ok(Cancelled::Now(last));
        };
        last = update.overview.unwrap_or(last);
        if update.outcome.is_some() {
            return Ok(Cancelled::Now(last));
        }
        if last.unkept_end.is_empty() {
            unkept = None;
            continue;
        }
        if unkept.get_or_insert_with(Instant::now).elapsed() >= cluster.patience() {
            return Ok(Cancelled::Unkept(last));
        }
    }
}

/// Cancels a job, and waits until it is over.
pub(crate) fn cancel(options: &CancelOptions) -> Result<Ended, CommandError> {
    refuse_to_cancel(options)?;
    let (configuration, target) = options.master.meant(&options.settings)?;
    kerberos::use_keytab(&configuration)?;
    let reference = reference(options.job.as_deref().unwrap_or_default())?;
    block_on(async {
        let mut cluster = reach_target(&target, &configuration).await?;
        let mut may_be_told = false;
        let last = loop {
            match cancelled(&cluster, &reference).await {
                Err(error) if error.is_lost() => {
                    eprintln!("flott: {error}; it is looked for");
                    cluster.follow(error).await?;
                    may_be_told = true;
                }
                // It is over since this command said so, and the answer was lost.
                Ok(Cancelled::Before(over)) if may_be_told && over.status == "CANCELED" => {
                    break Cancelled::Now(over);
                }
                cancelled => break cancelled?,
            }
        };
        let last = match last {
            Cancelled::Before(before) => {
                let (id, status) = (id_of(&before), &before.status);
                say(&format!("Job {id} ({}) is over already: {status}.\n", before.name))?;
                return Ok(Ended::Well);
            }
            Cancelled::Now(last) => last,
            Cancelled::Unkept(last) => {
                let (id, patience) = (id_of(&last), config::ConfigValue::write(&cluster.patience()));
                let why = &last.unkept_end;
                return Err(format!(
                    "job {id} ({}) is not over after {patience}: {why}; once that is put right it comes to its end by itself (flott list -a shows it)",
                    last.name
                )
                .into());
            }
        };
        say(&format!("Job {} ({}) is {}.\n", id_of(&last), last.name, last.status))?;
        Ok(if last.status == "CANCELED" { Ended::Well } else { Ended::Badly })
    })
}

/// Changes what is logged.
pub(crate) fn log_level(options: &LogLevelOptions) -> Result<Ended, CommandError> {
    let (configuration, target) = options.master.meant(&options.settings)?;
    kerberos::use_keytab(&configuration)?;
    let job = options.job.as_deref().map(reference).transpose()?.map(|reference| reference.job);
    let request = LogLevelRequest { job, levels: options.levels.clone() };
    let reply = block_on(async {
        let mut cluster = reach_target(&target, &configuration).await?;
        let asked = cluster.ask(|mut client| {
            let request = request.clone();
            async move { client.set_log_level(request).await }
        });
        Ok(asked.await?)
    })?;
    say(&format!("{} processes log {} from now on.\n", reply.processes, options.levels))?;
    Ok(Ended::Well)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::arguments::{Arguments, Command};

    fn job(number: u8, name: &str, status: &str) -> JobOverview {
        JobOverview {
            job: vec![number; 16],
            name: name.to_owned(),
            status: status.to_owned(),
            started: 1_700_000_000_000,
            ended: if matches!(status, "FINISHED" | "FAILED") { 1_700_000_061_500 } else { 0 },
            failure: if status == "FAILED" {
                "operator 'Count' (subtask 1):\nno".to_owned()
            } else {
                String::new()
            },
            ..JobOverview::default()
        }
    }

    #[test]
    fn lists_are_what_they_were() {
        let list = JobList {
            jobs: vec![
                job(1, "wordcount", "FINISHED"),
                job(2, "clicks", "RUNNING"),
                job(3, "later", "CREATED"),
                job(4, "bad", "FAILED"),
                JobOverview {
                    failure: "its tasks have ended, but no room (/ha)".to_owned(),
                    unkept_end: "its tasks have ended, but no room (/ha)".to_owned(),
                    ..job(5, "full", "RUNNING")
                },
            ],
            task_managers: 2,
            slots: 8,
            free_slots: 3,
        };
        let shown: String = ["", "-r", "-s", "-a"]
            .iter()
            .map(|flag| {
                let line = ["flott", "list", flag];
                let parsed = Arguments::parse_from(line.iter().filter(|word| !word.is_empty()));
                let Command::List(options) = parsed.command else { panic!("it is list") };
                format!("flott list {flag}\n{}\n", table(&list, &options, 1_700_000_005_000))
            })
            .collect();
        insta::assert_snapshot!(shown);
    }
}
