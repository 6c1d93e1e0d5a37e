//! What an ApplicationMaster asks a NodeManager: to start, stop and look at containers.

use crate::client::{Method, RpcClient, Servers};
use crate::configuration::Configuration;
use crate::credentials::Token;
use crate::error::{RpcError, plain_message};
use crate::proto::common;
use crate::proto::yarn::*;
use crate::protocol::Protocol;
use crate::settings::Settings;
use crate::user::User;

/// A client of one NodeManager, authenticated by the token that the ResourceManager gave out for that node.
#[derive(Debug, Clone)]
pub struct ContainerManager {
    rpc: RpcClient,
}

/// Why one container of a request was not started, stopped or looked at, while the call as such succeeded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message} ({class})")]
pub struct ContainerError {
    /// Which one, if the NodeManager said so.
    pub container: Option<ContainerId>,
    /// The exception's full class name.
    pub class: String,
    /// Its text.
    pub message: String,
}

impl From<ContainerExceptionMap> for ContainerError {
    fn from(failed: ContainerExceptionMap) -> ContainerError {
        let exception = failed.exception.unwrap_or_default();
        let class = exception.class_name().to_owned();
        let message = plain_message(&class, exception.message());
        ContainerError { container: failed.container_id, class, message }
    }
}

impl ContainerManager {
    /// A client of the NodeManager `node` with its `token`. Other tokens of its user are not used.
    ///
    /// # Errors
    /// The node has no host or port.
    pub fn new(
        configuration: &Configuration,
        node: &NodeId,
        token: Token,
    ) -> Result<ContainerManager, RpcError> {
        let (Some(host), Some(port)) = (&node.host, node.port) else {
            return Err(RpcError::configuration(format!("a node without host or port: {node:?}")));
        };
        let address = match host.contains(':') {
            true => format!("[{host}]:{port}"),
            false => format!("{host}:{port}"),
        };
        // The token's own idea of its service may be an address; it is right for this node because it came for this node.
        let aliases = vec![token.service.clone()];
        let user = User::simple("container manager");
        user.add_token(token);
        let servers = Servers { addresses: vec![address], aliases };
        let rpc =
            RpcClient::new(Protocol::CONTAINER_MANAGEMENT, servers, user, Settings::new(configuration)?)?;
        Ok(ContainerManager { rpc })
    }

    /// The client below, for another policy ([`RpcClient::with_policy`]).
    pub fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// The same client over another view of its connection.
    pub fn over(rpc: RpcClient) -> ContainerManager {
        ContainerManager { rpc }
    }

    /// Uses a newer token for this node from the next connection on.
    pub fn set_token(&self, token: Token) {
        let service = self.rpc.servers().aliases.first().cloned().unwrap_or_default();
        self.rpc.user().add_token(Token { service, ..token });
    }

    /// Starts containers, each by the token it was allocated with. Succeeds also if single containers fail: see the answer's
    /// `failed_requests`, each a [`ContainerError`].
    ///
    /// # Errors
    /// A call that may have happened is not repeated: [`RpcError::may_have_happened`]; the containers' statuses tell.
    pub async fn start_containers(
        &self,
        requests: Vec<StartContainerRequest>,
    ) -> Result<StartContainersResponse, RpcError> {
        const METHOD: Method = Method::at_most_once("startContainers");
        let request = StartContainersRequest { start_container_request: requests };
        self.rpc.call(&METHOD, &request).await
    }

    /// Starts one container.
    ///
    /// # Errors
    /// The call's failure, or the container's: `Ok(Err(_))`.
    pub async fn start_container(
        &self,
        token: common::Token,
        launch: ContainerLaunchContext,
    ) -> Result<Result<(), ContainerError>, RpcError> {
        let request =
            StartContainerRequest { container_launch_context: Some(launch), container_token: Some(token) };
        let response = self.start_containers(vec![request]).await?;
        Ok(response.failed_requests.into_iter().next().map_or(Ok(()), |failed| Err(failed.into())))
    }

    /// Stops containers; those that have ended are fine.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn stop_containers(&self, ids: Vec<ContainerId>) -> Result<StopContainersResponse, RpcError> {
        const METHOD: Method = Method::idempotent("stopContainers");
        self.rpc.call(&METHOD, &StopContainersRequest { container_id: ids }).await
    }

    /// How containers are doing.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_container_statuses(
        &self,
        ids: Vec<ContainerId>,
    ) -> Result<GetContainerStatusesResponse, RpcError> {
        const METHOD: Method = Method::idempotent("getContainerStatuses");
        self.rpc.call(&METHOD, &GetContainerStatusesRequest { container_id: ids }).await
    }
}
