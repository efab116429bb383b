//! The progress of a login to a server.

use crate::auth::server::{AwaitOwnKeys, ServerLogin};
use crate::pool::ids::ClientId;

/// The login of one server.
#[derive(Debug)]
pub struct ServerHandshake {
    pub(in crate::pool) stage: LoginStage,
    /// Reported parameters that are not tracked.
    pub(in crate::pool) reported: Vec<(Box<str>, Box<[u8]>)>,
    /// The length of the names and values of all reported parameters, in bytes.
    pub(in crate::pool) reported_bytes: usize,
    /// The replication client for which the server is opened.
    pub for_client: Option<ClientId>,
}

#[derive(Debug)]
pub(in crate::pool) enum LoginStage {
    /// The address of this host name is being looked up.
    Resolving(Box<str>),
    Connecting,
    Authenticating(ServerLogin),
    /// The keys of the pooler's password are being derived.
    Deriving(AwaitOwnKeys),
    /// Authenticated; the server reports its parameters.
    Reporting,
    /// connect_query is running.
    ConnectQuery,
}

impl ServerHandshake {
    pub fn new(for_client: Option<ClientId>) -> ServerHandshake {
        ServerHandshake {
            stage: LoginStage::Connecting,
            reported: Vec::new(),
            reported_bytes: 0,
            for_client,
        }
    }

    /// Whether the login waits for the pooler to derive keys.
    pub fn awaits_keys(&self) -> bool {
        matches!(self.stage, LoginStage::Deriving(_))
    }

    /// The host name that is being looked up.
    pub fn resolving(&self) -> Option<&str> {
        match &self.stage {
            LoginStage::Resolving(name) => Some(name),
            _ => None,
        }
    }
}
