//! What is asked of a NameNode beside plain reading and writing: tokens, where blocks are, truncation, safe mode.

use crate::client::{Method, RpcClient};
use crate::configuration::Configuration;
use crate::credentials::Token;
use crate::error::RpcError;
use crate::proto::common::*;
use crate::proto::hdfs::*;
use crate::protocol::Protocol;
use crate::servers::name_nodes;
use crate::settings::Settings;
use crate::user::User;

/// A client of a NameNode, or of a nameservice with several. Paths are absolute, without scheme and authority.
#[derive(Debug, Clone)]
pub struct NameNode {
    rpc: RpcClient,
}

impl NameNode {
    /// A client of the NameNode of `authority` (`hdfs://authority/…`), without one of that of `fs.defaultFS`.
    ///
    /// # Errors
    /// The configuration does not say where it is.
    pub fn new(
        configuration: &Configuration,
        authority: Option<&str>,
        user: User,
    ) -> Result<NameNode, RpcError> {
        let servers = name_nodes(configuration, authority)?;
        let rpc = RpcClient::new(Protocol::NAME_NODE, servers, user, Settings::new(configuration)?)?;
        Ok(NameNode { rpc })
    }

    /// The client below, for another policy ([`RpcClient::with_policy`]) or a method not listed here.
    pub fn rpc(&self) -> &RpcClient {
        &self.rpc
    }

    /// The same client over another view of its connection.
    pub fn over(rpc: RpcClient) -> NameNode {
        NameNode { rpc }
    }

    /// A token with which the user's processes can use HDFS without a ticket; none on a cluster without Kerberos. `renewer` may renew it.
    /// Its service is the one that readers of token files look for: the nameservice's, or host and port.
    ///
    /// # Errors
    /// Among others for callers who have only a token themselves.
    pub async fn get_delegation_token(&self, renewer: &str) -> Result<Option<Token>, RpcError> {
        const METHOD: Method = Method::idempotent("getDelegationToken");
        let request = GetDelegationTokenRequest { renewer: renewer.into() };
        let response: GetDelegationTokenResponse = self.rpc.call(&METHOD, &request).await?;
        let servers = self.rpc.servers();
        let service = servers.aliases.first().or(servers.addresses.first()).cloned().unwrap_or_default();
        Ok(response.token.map(|token| Token { service, ..token.into() }))
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

    /// The blocks that hold `length` bytes from `offset` on, and where they are; none if there is no such file.
    ///
    /// # Errors
    /// Among others [`FileNotFound`](crate::RemoteException::FileNotFound).
    pub async fn get_block_locations(
        &self,
        path: &str,
        offset: u64,
        length: u64,
    ) -> Result<Option<LocatedBlocks>, RpcError> {
        const METHOD: Method = Method::idempotent("getBlockLocations");
        let request = GetBlockLocationsRequest { src: path.into(), offset, length };
        let response: GetBlockLocationsResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.locations)
    }

    /// A file or folder; none if there is none.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_file_info(&self, path: &str) -> Result<Option<HdfsFileStatus>, RpcError> {
        const METHOD: Method = Method::idempotent("getFileInfo");
        let response: GetFileInfoResponse =
            self.rpc.call(&METHOD, &GetFileInfoRequest { src: path.into() }).await?;
        Ok(response.fs)
    }

    /// Cuts a closed file to a length it has had. False means that its last block is being cut: wait until
    /// [`Self::is_file_closed`].
    ///
    /// # Errors
    /// Among others a file that is being written, or is shorter.
    pub async fn truncate(&self, path: &str, new_length: u64, client: &str) -> Result<bool, RpcError> {
        const METHOD: Method = Method::idempotent("truncate");
        let request = TruncateRequest { src: path.into(), new_length, client_name: client.into() };
        let response: TruncateResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.result)
    }

    /// Takes a file from a writer that is gone; true once the file is closed, else ask again.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn recover_lease(&self, path: &str, client: &str) -> Result<bool, RpcError> {
        const METHOD: Method = Method::idempotent("recoverLease");
        let request = RecoverLeaseRequest { src: path.into(), client_name: client.into() };
        let response: RecoverLeaseResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.result)
    }

    /// Whether nobody writes a file and all its blocks are there.
    ///
    /// # Errors
    /// Among others [`FileNotFound`](crate::RemoteException::FileNotFound).
    pub async fn is_file_closed(&self, path: &str) -> Result<bool, RpcError> {
        const METHOD: Method = Method::idempotent("isFileClosed");
        let response: IsFileClosedResponse =
            self.rpc.call(&METHOD, &IsFileClosedRequest { src: path.into() }).await?;
        Ok(response.result)
    }

    /// Whether HDFS is in safe mode, where it can be read and not changed.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn is_in_safe_mode(&self) -> Result<bool, RpcError> {
        const METHOD: Method = Method::idempotent("setSafeMode");
        let request = SetSafeModeRequest { action: SafeModeAction::Get.into(), checked: Some(false) };
        let response: SetSafeModeResponse = self.rpc.call(&METHOD, &request).await?;
        Ok(response.result)
    }

    /// What HDFS gives files that say nothing else: block size, replication.
    ///
    /// # Errors
    /// See [`RpcError`].
    pub async fn get_server_defaults(&self) -> Result<FsServerDefaults, RpcError> {
        const METHOD: Method = Method::idempotent("getServerDefaults");
        let response: GetServerDefaultsResponse =
            self.rpc.call(&METHOD, &GetServerDefaultsRequest {}).await?;
        Ok(response.server_defaults)
    }
}
