//! From a host's name to an authenticated connection: resolve, connect, prove who is who, say which protocol.

use std::net::SocketAddr;

use bytes::Bytes;
use prost::Message;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use super::Endpoint;
use super::stream::{FrameReader, FrameWriter, StreamError, protect};
use crate::error::{RemoteException, RpcError};
use crate::frame::{self, Outcome};
use crate::principal::{PrincipalDecision, decide};
use crate::proto::common::rpc_sasl::SaslAuth;
use crate::proto::common::{IpcConnectionContext, RpcSasl, UserInformation};
use crate::sasl::{self, Choice, Layer, Means, Negotiation, SaslError, Step, Target};
use crate::user::Login;

/// No message of the handshake is larger.
const MAX_HANDSHAKE_FRAME: usize = 1 << 20;
/// No mechanism needs more rounds.
const MAX_ROUNDS: usize = 16;

/// How the server came to know the caller, which decides what the connection context says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Simple,
    Token,
    Kerberos,
}

/// Opens a connection on which calls can follow, behind the frame that is returned: it says who calls.
pub(super) async fn open(endpoint: &Endpoint<'_>) -> Result<(FrameReader, FrameWriter, Vec<u8>), RpcError> {
    let (socket, peer) = connect(endpoint).await?;
    let (reader, writer) = socket.into_split();
    let mut handshake = Handshake {
        endpoint,
        peer,
        reader: FrameReader::new(reader, MAX_HANDSHAKE_FRAME),
        writer: FrameWriter::new(writer),
    };
    let after = endpoint.settings.handshake_timeout;
    let done = async {
        let (method, layer) = handshake.authenticate().await?;
        let Handshake { reader, writer, .. } = handshake;
        let (reader, writer) = protect(reader, writer, layer, endpoint.settings.max_response);
        let context = frame::context(endpoint.client_id, &context(endpoint, method)?);
        Ok((reader, writer, context))
    };
    let late = |_| RpcError::Connect {
        address: endpoint.address.into(),
        reason: format!("it does not answer the handshake within {after:?}"),
    };
    timeout(after, done).await.map_err(late)?
}

async fn connect(endpoint: &Endpoint<'_>) -> Result<(TcpStream, SocketAddr), RpcError> {
    let address = endpoint.address;
    let failed = |reason: String| RpcError::Connect { address: address.into(), reason };
    let after = endpoint.settings.connect_timeout;
    let addresses: Vec<_> = match timeout(after, lookup_host(address)).await {
        Ok(Ok(addresses)) => addresses.collect(),
        Ok(Err(error)) => return Err(failed(format!("the host cannot be resolved: {error}"))),
        Err(_) => return Err(failed(format!("the host is not resolved after {after:?}"))),
    };
    let mut reason = "the host has no address".to_owned();
    for peer in addresses {
        match timeout(after, TcpStream::connect(peer)).await {
            Ok(Ok(socket)) => {
                socket.set_nodelay(true).map_err(|error| failed(error.to_string()))?;
                return Ok((socket, peer));
            }
            Ok(Err(error)) => reason = format!("{error}, at {peer}"),
            Err(_) => reason = format!("no answer from {peer} within {after:?}"),
        }
    }
    Err(failed(reason))
}

fn broken(address: &str, error: StreamError) -> RpcError {
    match error {
        StreamError::Io(reason) => RpcError::Lost { server: address.into(), reason, sent: false },
        StreamError::Protocol(reason) => RpcError::protocol(address, reason),
    }
}

/// What the connection context says: under a token all is in the token, under Kerberos only who is acted for.
fn context(endpoint: &Endpoint<'_>, method: Method) -> Result<IpcConnectionContext, RpcError> {
    let user = endpoint.user;
    let user_info = match (method, user.login()) {
        (Method::Token, _) => None,
        (Method::Kerberos, _) => {
            user.proxied().map(|name| UserInformation { effective_user: Some(name.into()), real_user: None })
        }
        (Method::Simple, Login::Simple { name }) => Some(match user.proxied() {
            Some(proxied) => {
                UserInformation { effective_user: Some(proxied.into()), real_user: Some(name.clone()) }
            }
            None => UserInformation { effective_user: Some(name.clone()), real_user: None },
        }),
        (Method::Simple, Login::TicketCache { .. } | Login::Keytab { .. }) => {
            let name = short_name(user.real_name()).ok_or_else(|| {
                let reason = "it wants a name without proof, and only the ticket cache knows the user's";
                RpcError::authentication(endpoint.address, reason)
            })?;
            let proxied = user.proxied().map(str::to_owned);
            let real_user = proxied.as_ref().map(|_| name.clone());
            Some(UserInformation { effective_user: Some(proxied.unwrap_or(name)), real_user })
        }
    };
    Ok(IpcConnectionContext { user_info, protocol: Some(endpoint.protocol.name.into()) })
}

/// A principal's first part.
fn short_name(principal: &str) -> Option<String> {
    let name = principal.split(['/', '@']).next().unwrap_or_default();
    (!name.is_empty() && !name.contains(' ')).then(|| name.to_owned())
}

struct Handshake<'a> {
    endpoint: &'a Endpoint<'a>,
    peer: SocketAddr,
    reader: FrameReader,
    writer: FrameWriter,
}

impl Handshake<'_> {
    async fn authenticate(&mut self) -> Result<(Method, Layer), RpcError> {
        let means = self.means();
        let must = self.endpoint.settings.secure || means.token.is_some() || means.login.is_some();
        self.write(&frame::preamble(must)).await?;
        if !must {
            return Ok((Method::Simple, Layer::None));
        }
        self.write(&frame::sasl(&sasl::negotiate())).await?;
        let offer = self.receive().await?;
        match sasl::choose(&offer, &means).map_err(|error| self.refused(error))? {
            Choice::Simple(_) if !self.endpoint.settings.fallback_to_simple => Err(self.refused_because(
                "the server wants no authentication, which is not believed where there is a login or a token; \
                 ipc.client.fallback-to-simple-auth-allowed allows it",
            )),
            Choice::Simple(auth) => {
                if let Some(auth) = auth {
                    self.write(&frame::sasl(&sasl::take_simple(auth))).await?;
                }
                Ok((Method::Simple, Layer::None))
            }
            Choice::Token(auth) => {
                let token = means.token.ok_or_else(|| self.refused_because("there is no token"))?;
                let negotiation = Negotiation::token(auth, token, &means.protections);
                Ok((Method::Token, self.negotiate(negotiation).await?))
            }
            Choice::Kerberos(auth) => {
                let login = means.login.ok_or_else(|| self.refused_because("there is no Kerberos login"))?;
                let target = self.target(&auth).await?;
                let protections = means.protections;
                let begun = tokio::task::spawn_blocking(move || {
                    Negotiation::kerberos(auth, &login, &target, &protections)
                });
                let negotiation = self.joined(begun.await)?;
                Ok((Method::Kerberos, self.negotiate(negotiation).await?))
            }
        }
    }

    fn means(&self) -> Means {
        let Endpoint { address, protocol, user, settings, aliases, .. } = self.endpoint;
        let token = match protocol.any_service {
            true => user.token_of_kind(protocol.token_kind),
            false => {
                let mut services = vec![(*address).to_owned(), self.peer.to_string()];
                services.extend_from_slice(aliases);
                user.token(protocol.token_kind, &services)
            }
        };
        let login = match user.login() {
            Login::Simple { .. } => None,
            login @ (Login::TicketCache { .. } | Login::Keytab { .. }) => Some(login.clone()),
        };
        Means { token, login, protections: settings.protections.clone() }
    }

    /// The service to get a ticket for, once it is sure to be the right one.
    async fn target(&self, auth: &SaslAuth) -> Result<Target, RpcError> {
        let Endpoint { address, protocol, settings, .. } = self.endpoint;
        let host = address.rsplit_once(':').map_or(*address, |(host, _)| host);
        let decision = decide(auth, protocol.principal_key, settings, host)
            .map_err(|reason| self.refused_because(&reason))?;
        match decision {
            PrincipalDecision::Expected(target) => Ok(target),
            PrincipalDecision::ExpectedAt { target, host } => {
                let mut addresses =
                    lookup_host((host.as_str(), self.peer.port())).await.map_err(|error| {
                        self.refused_because(&format!(
                            "its principal's host {host} cannot be resolved: {error}"
                        ))
                    })?;
                match addresses.any(|address| address.ip() == self.peer.ip()) {
                    true => Ok(target),
                    false => Err(self.refused_because(&format!(
                        "the server is {}/{host}, and {host} is not the host at {}",
                        auth.protocol(),
                        self.peer.ip()
                    ))),
                }
            }
        }
    }

    async fn negotiate(&mut self, mut negotiation: Negotiation) -> Result<Layer, RpcError> {
        let blocks = negotiation.blocks();
        let mut message;
        if blocks {
            let initiate = tokio::task::spawn_blocking(move || {
                let message = negotiation.initiate()?;
                Ok((negotiation, message))
            });
            (negotiation, message) = self.joined(initiate.await)?;
        } else {
            message = negotiation.initiate().map_err(|error| self.refused(error))?;
        }
        for _ in 0..MAX_ROUNDS {
            self.write(&frame::sasl(&message)).await?;
            let received = self.receive().await?;
            let step;
            if blocks {
                let stepped = tokio::task::spawn_blocking(move || {
                    let step = negotiation.step(received)?;
                    Ok((negotiation, step))
                });
                (negotiation, step) = self.joined(stepped.await)?;
            } else {
                step = negotiation.step(received).map_err(|error| self.refused(error))?;
            }
            match step {
                Step::Send(next) => message = next,
                Step::Finished(layer) => return Ok(layer),
            }
        }
        Err(self.refused_because("it comes to no end"))
    }

    fn joined<T>(&self, result: Result<Result<T, SaslError>, tokio::task::JoinError>) -> Result<T, RpcError> {
        match result {
            Ok(result) => result.map_err(|error| self.refused(error)),
            Err(error) => Err(self.refused_because(&format!("Kerberos ended early: {error}"))),
        }
    }

    async fn write(&mut self, bytes: &[u8]) -> Result<(), RpcError> {
        self.writer.write(bytes).await.map_err(|error| broken(self.endpoint.address, error))
    }

    async fn receive(&mut self) -> Result<RpcSasl, RpcError> {
        let frame: Bytes = self.reader.read().await.map_err(|error| broken(self.endpoint.address, error))?;
        let server = self.endpoint.address;
        let response = frame::response(frame).map_err(|reason| RpcError::protocol(server, reason))?;
        match response.outcome {
            Outcome::Success(message) if response.call_id == frame::SASL_CALL => RpcSasl::decode(message)
                .map_err(|error| {
                    RpcError::protocol(server, format!("a SASL message cannot be read: {error}"))
                }),
            Outcome::Success(_) => {
                let id = response.call_id;
                Err(RpcError::protocol(
                    server,
                    format!("it answers call {id} in the middle of authentication"),
                ))
            }
            Outcome::Failure { class, message, .. } => Err(match RemoteException::of_class(&class) {
                Some(RemoteException::Standby | RemoteException::Retriable) => {
                    RpcError::Remote { server: server.into(), call: "authentication".into(), class, message }
                }
                _ => RpcError::refused(server, &class, &message),
            }),
        }
    }

    fn refused(&self, error: SaslError) -> RpcError {
        if error.is_unavailable {
            return RpcError::Unavailable { server: self.endpoint.address.into(), reason: error.to_string() };
        }
        self.refused_because(&error.to_string())
    }

    fn refused_because(&self, reason: &str) -> RpcError {
        RpcError::authentication(self.endpoint.address, reason)
    }
}
