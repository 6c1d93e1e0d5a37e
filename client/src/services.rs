//! `flott jobmanager` and `flott taskmanager`, and what stands in YARN's containers.

use std::future::Future;
use std::io::{self, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use flott_cluster::job_manager::{JobManagerSetup, Listening, run_job_manager};
use flott_cluster::logging;
use flott_cluster::secret_file::{read_or_write_secret, read_secret};
use flott_cluster::task_manager::run_task_manager;
use flott_yarn::application_master::{ContainerError, run_application_master, run_container_task_manager};
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::ServiceOptions;
use crate::{CommandError, Ended, kerberos};

/// Until somebody asks the process to end.
fn terminated() -> io::Result<impl Future<Output = ()> + Send> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
    })
}

/// Runs a JobManager; a line on standard output tells where it listens.
pub(crate) fn job_manager(options: &ServiceOptions) -> Result<Ended, CommandError> {
    let configuration = options.settings.configuration()?;
    kerberos::use_keytab(&configuration)?;
    kerberos::log_in(&configuration);
    logging::start(&configuration, "jobmanager.log")?;
    let secret = read_or_write_secret(&configuration)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let terminated = terminated()?;
        let listening = |listening: Listening| {
            // Who started it may not want to know.
            let Listening { rpc, web_address, .. } = listening;
            let _ = writeln!(io::stdout(), "JobManager listens on {rpc}\nWeb page: http://{web_address}/ (flott web prints it with its tokens)");
        };
        run_job_manager(JobManagerSetup::standalone(configuration, secret), listening, terminated).await?;
        Ok::<_, CommandError>(())
    })?;
    runtime.shutdown_background();
    Ok(Ended::Well)
}

/// Runs a TaskManager.
pub(crate) fn task_manager(options: &ServiceOptions) -> Result<Ended, CommandError> {
    let configuration = options.settings.configuration()?;
    kerberos::use_keytab(&configuration)?;
    kerberos::log_in(&configuration);
    logging::start(&configuration, &format!("taskmanager-{}.log", std::process::id()))?;
    let secret = read_secret(&configuration)?;
    run_task_manager(configuration, secret, &[], until_terminated())?;
    Ok(Ended::Well)
}

/// The same, for a future that cannot fail.
async fn until_terminated() {
    match terminated() {
        Ok(terminated) => terminated.await,
        Err(error) => {
            tracing::error!(%error, "this process cannot hear signals");
            std::future::pending().await
        }
    }
}

/// Runs the ApplicationMaster of this container.
pub(crate) fn application_master() -> Result<Ended, CommandError> {
    // That it has unregistered is what YARN wants to know; how the application ended it knows by then.
    in_container(|terminated| run_application_master(terminated).map(drop))
}

/// Runs a TaskManager in this container.
pub(crate) fn yarn_task_manager() -> Result<Ended, CommandError> {
    in_container(run_container_task_manager)
}

/// Runs what stands in a container until that is over or YARN stops it. Why it did so is lost to all who ask YARN, unless the process then
/// ends as the signal would have ended it: any other exit status takes the reason's place.
fn in_container(
    run: impl FnOnce(Pin<Box<dyn Future<Output = ()> + Send>>) -> Result<(), ContainerError>,
) -> Result<Ended, CommandError> {
    let stopped = Arc::new(AtomicBool::new(false));
    let heard = Arc::clone(&stopped);
    let terminated = async move {
        until_terminated().await;
        heard.store(true, Ordering::Relaxed);
    };
    let ran = run(Box::pin(terminated));
    if stopped.load(Ordering::Relaxed) {
        if let Err(error) = ran {
            eprintln!("flott: {error}");
        }
        return Ok(Ended::Terminated);
    }
    ran?;
    Ok(Ended::Well)
}
