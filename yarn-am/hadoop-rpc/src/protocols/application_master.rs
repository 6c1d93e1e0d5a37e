//! What an ApplicationMaster asks the ResourceManager: to be registered, for containers, to be let go.

use std::time::Duration;

use crate::client::{Method, RpcClient};
use crate::configuration::Configuration;
use crate::error::RpcError;
use crate::proto::yarn::*;
use crate::protocol::Protocol;
use crate::retry::CallKind;
use crate::servers::{ResourceManagerService, resource_managers};
use crate::settings::Settings;
use crate::user::User;

/// An ApplicationMaster's client, authenticated by the application's token (kind `YARN_AM_RM_TOKEN`) among the user's.
#[derive(Debug, Clone)]
pub struct ApplicationMasterClient {
    rpc: RpcClient,
}

impl ApplicationMasterClient {
    /// A client of the ResourceManager that the configuration names.
    ///
    /// # Errors
    /// The configuration names none, or the user has no application's token.
    pub fn new(configuration: &Configuration, user: User) -> Result<ApplicationMasterClient, RpcError> {
        if user.token_of_kind(Protocol::APPLICATION_MASTER.token_kind).is_none() {
            let reason = "there is no YARN_AM_RM_TOKEN: an ApplicationMaster runs in a container that YARN started, which has one";
            return Err(RpcError::configuration(reason));
        }
        let servers = resource_managers(configuration, ResourceManagerService::Scheduler)?;
        let rpc = RpcClient::new(Protocol::APPLICATION_MASTER, servers, user, Settings::new(configuration)?)?;
        Ok(ApplicationMasterClient { rpc })
    }

    /// The client below, for another policy ([`RpcClient::with_policy`]).
    pub fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// The same client over another view of its connection.
    pub fn over(rpc: RpcClient) -> ApplicationMasterClient {
        ApplicationMasterClient { rpc }
    }

    /// Registers this attempt, also anew after
    /// [`ApplicationMasterNotRegistered`](crate::RemoteException::ApplicationMasterNotRegistered).
    ///
    /// # Errors
    /// [`InvalidApplicationMasterRequest`](crate::RemoteException::InvalidApplicationMasterRequest) where it is registered already: after
    /// a failure that left that open, it tells that the first try went through.
    pub async fn register(
        &self,
        request: &RegisterApplicationMasterRequest,
    ) -> Result<RegisterApplicationMasterResponse, RpcError> {
        const METHOD: Method = Method::idempotent("registerApplicationMaster");
        self.rpc.call(&METHOD, request).await
    }

    /// The heartbeat: says what is asked for and given back, learns what is granted and has ended. A new application's token in the answer
    /// is put into use here. Since the answer to a repeated `response_id` is the same, trying again is safe.
    ///
    /// # Errors
    /// [`ApplicationMasterNotRegistered`](crate::RemoteException::ApplicationMasterNotRegistered): register and ask for everything
    /// again. [`ApplicationAttemptNotFound`](crate::RemoteException::ApplicationAttemptNotFound): leave.
    pub async fn allocate(&self, request: &AllocateRequest) -> Result<AllocateResponse, RpcError> {
        const METHOD: Method =
            Method { name: "allocate", kind: CallKind::Idempotent, timeout: Duration::from_secs(10) };
        let response: AllocateResponse = self.rpc.call(&METHOD, request).await?;
        if let Some(token) = &response.am_rm_token {
            // Connections that are open go on; the next one needs the new token.
            let token = crate::credentials::Token::from(token.clone());
            let service =
                self.rpc.user().token_of_kind(&token.kind).map(|old| old.service).unwrap_or_default();
            self.rpc.user().add_token(crate::credentials::Token { service, ..token });
        }
        Ok(response)
    }

    /// Says that the application has ended, and how; true once the ResourceManager has written that down, else ask again.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn finish(&self, request: &FinishApplicationMasterRequest) -> Result<bool, RpcError> {
        const METHOD: Method = Method::idempotent("finishApplicationMaster");
        let response: FinishApplicationMasterResponse = self.rpc.call(&METHOD, request).await?;
        Ok(response.is_unregistered())
    }
}
