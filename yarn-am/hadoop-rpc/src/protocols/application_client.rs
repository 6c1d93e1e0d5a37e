//! What YARN's clients ask the ResourceManager: applications, nodes, queues, labels, tokens.

use crate::client::{Method, RpcClient};
use crate::configuration::Configuration;
use crate::credentials::Token;
use crate::error::RpcError;
use crate::proto::common::*;
use crate::proto::yarn::*;
use crate::protocol::Protocol;
use crate::protocols::present;
use crate::servers::{ResourceManagerService, resource_managers};
use crate::settings::Settings;
use crate::user::User;

/// A client of YARN. Clones share the connection.
#[derive(Debug, Clone)]
pub struct ApplicationClient {
    rpc: RpcClient,
}

impl ApplicationClient {
    /// A client of the ResourceManager that the configuration names.
    ///
    /// # Errors
    /// The configuration names none.
    pub fn new(configuration: &Configuration, user: User) -> Result<ApplicationClient, RpcError> {
        let servers = resource_managers(configuration, ResourceManagerService::Client)?;
        let rpc = RpcClient::new(Protocol::APPLICATION_CLIENT, servers, user, Settings::new(configuration)?)?;
        Ok(ApplicationClient { rpc })
    }

    /// The client below, for another policy ([`RpcClient::with_policy`]) or a method not listed here.
    pub fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// The same client over another view of its connection.
    pub fn over(rpc: RpcClient) -> ApplicationClient {
        ApplicationClient { rpc }
    }

    /// A new application id, and the largest container there can be.
    ///
    /// # Errors
    /// See [`RpcError`]; so for all methods.
    pub async fn get_new_application(&self) -> Result<GetNewApplicationResponse, RpcError> {
        const METHOD: Method = Method::idempotent("getNewApplication");
        self.rpc.call(&METHOD, &GetNewApplicationRequest {}).await
    }

    /// Submits an application under an id from [`Self::get_new_application`]. Repeating it with the same id is harmless. Whether it was
    /// accepted shows in its report: until then its state is `NEW` or `NEW_SAVING`.
    ///
    /// # Errors
    /// Among others [`InvalidResourceRequest`](crate::RemoteException::InvalidResourceRequest) and
    /// [`AccessControl`](crate::RemoteException::AccessControl).
    pub async fn submit_application(&self, context: ApplicationSubmissionContext) -> Result<(), RpcError> {
        const METHOD: Method = Method::idempotent("submitApplication");
        let request = SubmitApplicationRequest { application_submission_context: Some(context) };
        let SubmitApplicationResponse {} = self.rpc.call(&METHOD, &request).await?;
        Ok(())
    }

    /// An application as the ResourceManager sees it.
    ///
    /// # Errors
    /// Among others [`ApplicationNotFound`](crate::RemoteException::ApplicationNotFound).
    pub async fn get_application_report(&self, id: ApplicationId) -> Result<ApplicationReport, RpcError> {
        const METHOD: Method = Method::idempotent("getApplicationReport");
        let request = GetApplicationReportRequest { application_id: Some(id) };
        let response: GetApplicationReportResponse = self.rpc.call(&METHOD, &request).await?;
        self.present(response.application_report, &METHOD)
    }

    /// The applications that match all that the request names.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_applications(
        &self,
        request: &GetApplicationsRequest,
    ) -> Result<Vec<ApplicationReport>, RpcError> {
        const METHOD: Method = Method::idempotent("getApplications");
        let response: GetApplicationsResponse = self.rpc.call(&METHOD, request).await?;
        Ok(response.applications)
    }

    /// Asks for an application's end; true once it has ended or, if its ApplicationMaster is not YARN's, is on its way there, else ask again.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn force_kill_application(
        &self,
        id: ApplicationId,
        diagnostics: &str,
    ) -> Result<bool, RpcError> {
        const METHOD: Method = Method::idempotent("forceKillApplication");
        let request =
            KillApplicationRequest { application_id: Some(id), diagnostics: Some(diagnostics.into()) };
        let response: KillApplicationResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.is_kill_completed())
    }

    /// The nodes in any of these states; all nodes if there are none.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_cluster_nodes(&self, states: &[NodeState]) -> Result<Vec<NodeReport>, RpcError> {
        const METHOD: Method = Method::idempotent("getClusterNodes");
        let request =
            GetClusterNodesRequest { node_states: states.iter().map(|state| (*state).into()).collect() };
        let response: GetClusterNodesResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.node_reports)
    }

    /// How many nodes there are, by state.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_cluster_metrics(&self) -> Result<YarnClusterMetrics, RpcError> {
        const METHOD: Method = Method::idempotent("getClusterMetrics");
        let response: GetClusterMetricsResponse =
            self.rpc.call(&METHOD, &GetClusterMetricsRequest {}).await?;
        self.present(response.cluster_metrics, &METHOD)
    }

    /// A queue, with its children to any depth if `recursive`; none if there is no such queue.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_queue_info(&self, queue: &str, recursive: bool) -> Result<Option<QueueInfo>, RpcError> {
        const METHOD: Method = Method::idempotent("getQueueInfo");
        let request = GetQueueInfoRequest {
            queue_name: Some(queue.into()),
            include_applications: Some(false),
            include_child_queues: Some(recursive),
            recursive: Some(recursive),
            sub_cluster_id: None,
        };
        let response: GetQueueInfoResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.queue_info)
    }

    /// What the user may do in each queue.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_queue_user_acls(&self) -> Result<Vec<QueueUserAclInfo>, RpcError> {
        const METHOD: Method = Method::idempotent("getQueueUserAcls");
        let response: GetQueueUserAclsInfoResponse =
            self.rpc.call(&METHOD, &GetQueueUserAclsInfoRequest {}).await?;
        Ok(response.queue_user_acls)
    }

    /// The labels of each labelled node.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_node_to_labels(&self) -> Result<Vec<NodeIdToLabels>, RpcError> {
        const METHOD: Method = Method::idempotent("getNodeToLabels");
        let response: GetNodesToLabelsResponse = self.rpc.call(&METHOD, &GetNodesToLabelsRequest {}).await?;
        Ok(response.node_to_labels)
    }

    /// The labels that nodes may have.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_cluster_node_labels(&self) -> Result<Vec<NodeLabel>, RpcError> {
        const METHOD: Method = Method::idempotent("getClusterNodeLabels");
        let response: GetClusterNodeLabelsResponse =
            self.rpc.call(&METHOD, &GetClusterNodeLabelsRequest {}).await?;
        Ok(response.node_labels)
    }

    /// An application's attempts.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_application_attempts(
        &self,
        id: ApplicationId,
    ) -> Result<Vec<ApplicationAttemptReport>, RpcError> {
        const METHOD: Method = Method::idempotent("getApplicationAttempts");
        let request = GetApplicationAttemptsRequest { application_id: Some(id) };
        let response: GetApplicationAttemptsResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.application_attempts)
    }

    /// One attempt.
    ///
    /// # Errors
    /// Among others [`ApplicationAttemptNotFound`](crate::RemoteException::ApplicationAttemptNotFound).
    pub async fn get_application_attempt_report(
        &self,
        id: ApplicationAttemptId,
    ) -> Result<ApplicationAttemptReport, RpcError> {
        const METHOD: Method = Method::idempotent("getApplicationAttemptReport");
        let request = GetApplicationAttemptReportRequest { application_attempt_id: Some(id) };
        let response: GetApplicationAttemptReportResponse = self.rpc.call(&METHOD, &request).await?;
        self.present(response.application_attempt_report, &METHOD)
    }

    /// The containers of an attempt that the ResourceManager still knows.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_containers(&self, id: ApplicationAttemptId) -> Result<Vec<ContainerReport>, RpcError> {
        const METHOD: Method = Method::idempotent("getContainers");
        let request = GetContainersRequest { application_attempt_id: Some(id) };
        let response: GetContainersResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.containers)
    }

    /// One container.
    ///
    /// # Errors
    /// Among others [`ContainerNotFound`](crate::RemoteException::ContainerNotFound).
    pub async fn get_container_report(&self, id: ContainerId) -> Result<ContainerReport, RpcError> {
        const METHOD: Method = Method::idempotent("getContainerReport");
        let request = GetContainerReportRequest { container_id: Some(id) };
        let response: GetContainerReportResponse = self.rpc.call(&METHOD, &request).await?;
        self.present(response.container_report, &METHOD)
    }

    /// Sends a signal to a container's process, by way of its NodeManager's next heartbeat.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn signal_to_container(
        &self,
        id: ContainerId,
        command: SignalContainerCommand,
    ) -> Result<(), RpcError> {
        const METHOD: Method = Method::at_most_once("signalToContainer");
        let request = SignalContainerRequest { container_id: id, command: command.into() };
        let SignalContainerResponse {} = self.rpc.call(&METHOD, &request).await?;
        Ok(())
    }

    /// Changes an application's priority and returns the one it has then.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn update_application_priority(
        &self,
        id: ApplicationId,
        priority: i32,
    ) -> Result<Option<i32>, RpcError> {
        const METHOD: Method = Method::idempotent("updateApplicationPriority");
        let application_priority = Priority { priority: Some(priority) };
        let request = UpdateApplicationPriorityRequest { application_id: id, application_priority };
        let response: UpdateApplicationPriorityResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.application_priority.and_then(|priority| priority.priority))
    }

    /// A token with which the user's processes can call the ResourceManager without a ticket. `renewer` may renew it.
    ///
    /// # Errors
    /// Among others a Java `IOException` on clusters without Kerberos, and for callers who have only a token themselves.
    pub async fn get_delegation_token(&self, renewer: &str) -> Result<Token, RpcError> {
        const METHOD: Method = Method::idempotent("getDelegationToken");
        let request = GetDelegationTokenRequest { renewer: renewer.into() };
        let response: GetDelegationTokenResponse = self.rpc.call(&METHOD, &request).await?;
        let token = self.present(response.token, &METHOD)?;
        // It comes without a service; it is good for every ResourceManager of the group.
        Ok(Token { service: self.rpc.servers().addresses.join(","), ..token.into() })
    }

    /// Prolongs a token's life and returns its new end, in milliseconds since the epoch.
    ///
    /// # Errors
    /// Among others [`InvalidToken`](crate::RemoteException::InvalidToken).
    pub async fn renew_delegation_token(&self, token: Token) -> Result<u64, RpcError> {
        const METHOD: Method = Method::idempotent("renewDelegationToken");
        let request = RenewDelegationTokenRequest { token: token.into() };
        let response: RenewDelegationTokenResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.new_expiry_time)
    }

    /// Ends a token's life.
    ///
    /// # Errors
    /// Among others [`InvalidToken`](crate::RemoteException::InvalidToken).
    pub async fn cancel_delegation_token(&self, token: Token) -> Result<(), RpcError> {
        const METHOD: Method = Method::idempotent("cancelDelegationToken");
        let CancelDelegationTokenResponse {} =
            self.rpc.call(&METHOD, &CancelDelegationTokenRequest { token: token.into() }).await?;
        Ok(())
    }

    fn present<T>(&self, part: Option<T>, method: &Method) -> Result<T, RpcError> {
        present(part, &self.rpc.servers().addresses, method.name)
    }
}
