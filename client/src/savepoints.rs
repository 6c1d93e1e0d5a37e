//! `flott stop`, `flott savepoint`, `flott checkpoint` and `flott cancel -s`: words of Flink's whose meaning is not there yet. They do nothing, and say what
//! to do instead.

use flott_core::ids::JobId;

use crate::arguments::CancelOptions;
use crate::{CommandError, Ended};

/// How a job goes on later without a savepoint.
fn remedy(job: &str) -> String {
    format!(
        "To go on later from its last checkpoint, run the job with -D execution.checkpointing.externalized-checkpoint-retention=RETAIN_ON_CANCELLATION \
         (else cancelling it removes its checkpoints), flott cancel {job}, and flott run -s CHECKPOINT; the page and jobs/ID/checkpoints show the \
         checkpoint's path"
    )
}

/// The first job that the words of a command line name.
fn job_in(words: &[String]) -> &str {
    words.iter().find(|word| word.parse::<JobId>().is_ok()).map_or("JOB", String::as_str)
}

/// What to say to `stop`.
pub(crate) fn stop(words: &[String]) -> Result<Ended, CommandError> {
    let remedy = remedy(job_in(words));
    Err(format!("Flott has no savepoints yet, so no job can be stopped with one; nothing was done. {remedy}")
        .into())
}

/// What to say to `savepoint`, and to `savepoint -d`.
pub(crate) fn savepoint(words: &[String]) -> Result<Ended, CommandError> {
    if words.iter().any(|word| word == "-d" || word.starts_with("--dispose")) {
        let instead =
            "a checkpoint that was retained goes when its folder is deleted, once no job goes on from it";
        return Err(format!(
            "Flott has no savepoints yet, so there is none to dispose of; nothing was done: {instead}"
        )
        .into());
    }
    let remedy = remedy(job_in(words));
    Err(format!("Flott has no savepoints yet; nothing was done. {remedy}").into())
}

/// What to say to `checkpoint`.
pub(crate) fn checkpoint() -> Result<Ended, CommandError> {
    Err("Flott takes no checkpoint on demand yet; nothing was done. A job takes one every execution.checkpointing.interval: run it with \
         -D execution.checkpointing.interval=1min, or less"
        .into())
}

/// What to say to `cancel -s`: to cancel without the savepoint would lose what it was to keep.
pub(crate) fn refuse_to_cancel(options: &CancelOptions) -> Result<(), CommandError> {
    // `-s JOB`: the directory was left away.
    let (Some(savepoint), job) = (&options.savepoint, &options.job) else { return Ok(()) };
    let job = job.as_deref().or(savepoint.as_deref()).unwrap_or("JOB");
    let remedy = remedy(job);
    Err(format!("cancel -s: Flott has no savepoints yet; the job was not cancelled. {remedy}").into())
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use crate::arguments::Arguments;
    use crate::execute;

    const JOB: &str = "6f0d0f2ab2c64d2b8f4f0a3c8b4e7d11";

    fn said(line: &str) -> String {
        let line = line.replace("JOB", JOB);
        let parsed =
            Arguments::try_parse_from(Arguments::words(line.split(' ').map(str::to_owned).collect()));
        execute(parsed.unwrap_or_else(|error| panic!("{line}: {error}"))).unwrap_err().to_string()
    }

    #[test]
    fn flinks_words_for_savepoints_are_understood_and_say_what_to_do() {
        for line in [
            "flott stop JOB",
            "flott stop -p hdfs:///savepoints -d -type native -detached -yid application_1_0001 JOB",
            "flott stop --savepointPath hdfs:///savepoints --drain JOB",
            "flott savepoint -m jm:8081 JOB hdfs:///savepoints -type canonical",
            "flott cancel -s hdfs:///savepoints JOB",
            "flott cancel --withSavepoint hdfs:///savepoints JOB -yid application_1_0001",
            "flott cancel -s JOB",
        ] {
            let said = said(line);
            assert!(said.contains("no savepoints yet"), "{line}: {said}");
            assert!(
                said.contains(&format!("flott cancel {JOB}, and flott run -s CHECKPOINT")),
                "{line}: {said}"
            );
        }
        for line in ["flott savepoint -d hdfs:///savepoints/1", "flott savepoint --dispose=x"] {
            assert!(said(line).contains("none to dispose of"));
        }
        for line in ["flott checkpoint JOB", "flott checkpoint -full JOB", "flott checkpoint --full JOB"] {
            assert!(said(line).contains("execution.checkpointing.interval"));
        }
    }
}
