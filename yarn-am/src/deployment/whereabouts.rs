//! Where the JobManager of an application is, for clients that have lost it: YARN knows, and whether there still is one.

use std::sync::Arc;
use std::time::Duration;

use flott_cluster::client::{ClusterError, Whereabouts};
use flott_cluster::high_availability::Waiting;
use hadoop_rpc::proto::yarn::{ApplicationId, ApplicationReport, YarnApplicationState};
use hadoop_rpc::{ApplicationClient, RemoteException, RpcError};

use crate::application_master::of_application_master;
use crate::ids::application_text;

/// How long YARN may take to answer: the JobManager may be there without it.
const REPORT_DEADLINE: Duration = Duration::from_secs(3);

/// Asks YARN for an application.
pub(super) struct ApplicationWhereabouts {
    pub(super) client: ApplicationClient,
    pub(super) id: ApplicationId,
    /// Tells who leads; none: whose address YARN has.
    pub(super) leader: Option<Arc<dyn Whereabouts>>,
}

/// What YARN says.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    /// It runs, and its JobManager is there.
    At(String),
    /// There is no attempt right now.
    Between,
    /// It is over, and how.
    Over(String),
    /// Nothing.
    Nothing,
}

fn said(id: &ApplicationId, answer: Result<ApplicationReport, RpcError>) -> Said {
    use YarnApplicationState::{Failed, Finished, Killed, Running};
    let name = application_text(id);
    let report = match answer {
        Ok(report) => report,
        Err(error) if error.exception() == Some(RemoteException::ApplicationNotFound) => {
            return Said::Over(format!("YARN knows no application {name} any more"));
        }
        Err(_) => return Said::Nothing,
    };
    let diagnostics = of_application_master(report.diagnostics().trim());
    match report.yarn_application_state() {
        Running if report.rpc_port() > 0 => Said::At(format!("{}:{}", report.host(), report.rpc_port())),
        Finished => Said::Over(format!(
            "application {name} has ended, {}: {diagnostics}",
            report.final_application_status().as_str_name().trim_start_matches("FINAL_APPLICATION_STATUS_")
        )),
        Failed => Said::Over(format!("application {name} has failed: {diagnostics}")),
        Killed => Said::Over(format!("application {name} was killed: {diagnostics}")),
        _ => Said::Between,
    }
}

impl Whereabouts for ApplicationWhereabouts {
    fn look<'a>(&'a self, last: &'a str) -> Waiting<'a, Result<Option<String>, ClusterError>> {
        Box::pin(async move {
            let asked = tokio::time::timeout(REPORT_DEADLINE, self.client.get_application_report(self.id));
            let said = asked.await.map_or(Said::Nothing, |answer| said(&self.id, answer));
            match (said, &self.leader) {
                (Said::Over(how), _) => Err(ClusterError::Over(how)),
                (_, Some(leader)) => leader.look(last).await,
                (Said::At(address), None) => Ok(Some(address)),
                (Said::Between, None) => Ok(None),
                (Said::Nothing, None) => Ok(Some(last.to_owned())),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use hadoop_rpc::proto::yarn::FinalApplicationStatus;

    use super::*;

    #[test]
    fn what_yarn_says_of_an_application_is_understood() {
        let id = ApplicationId { id: Some(7), cluster_timestamp: Some(1) };
        let report = |state: YarnApplicationState, port: i32| ApplicationReport {
            yarn_application_state: Some(state.into()),
            host: Some("node7".to_owned()),
            rpc_port: Some(port),
            final_application_status: Some(FinalApplicationStatus::Succeeded.into()),
            diagnostics: Some(" why\n".to_owned()),
            ..ApplicationReport::default()
        };
        use YarnApplicationState::{Accepted, Failed, Finished, Killed, Running};
        assert_eq!(said(&id, Ok(report(Running, 6123))), Said::At("node7:6123".to_owned()));
        assert_eq!(said(&id, Ok(report(Running, -1))), Said::Between, "the next attempt has not registered");
        assert_eq!(said(&id, Ok(report(Accepted, 6123))), Said::Between);
        for (state, word) in
            [(Finished, "SUCCEEDED: why"), (Failed, "has failed: why"), (Killed, "was killed")]
        {
            let Said::Over(how) = said(&id, Ok(report(state, 6123))) else { panic!("{state:?} is an end") };
            assert!(how.contains("application_1_0007") && how.contains(word), "{how}");
        }
    }
}
