//! How far the login to a server has come.

use crate::auth::server::{AwaitOwnKeys, ServerLogin};
use crate::pool::ids::ClientId;

/// The login of one server.
#[derive(Debug)]
pub struct ServerHandshake {
    pub(in crate::pool) stage: LoginStage,
    /// Reported so far, not tracked.
    pub(in crate::pool) reported: Vec<(Box<str>, Box<[u8]>)>,
    /// Names and values of all that was reported so far, in bytes.
    pub(in crate::pool) reported_bytes: usize,
    /// The replication client that it is opened for.
    pub for_client: Option<ClientId>,
}

#[derive(Debug)]
pub(in crate::pool) enum LoginStage {
    /// The address of this host is being looked up.
    Resolving(Box<str>),
    Connecting,
    Authenticating(ServerLogin),
    /// The keys of our password are being derived for it.
    Deriving(AwaitOwnKeys),
    /// Authenticated; what it reports is on its way.
    Reporting,
    /// connect_query runs.
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

    /// Whether the pooler itself has to do something before the login goes on.
    pub fn awaits_keys(&self) -> bool {
        matches!(self.stage, LoginStage::Deriving(_))
    }

    /// The name that is being looked up.
    pub fn resolving(&self) -> Option<&str> {
        match &self.stage {
            LoginStage::Resolving(name) => Some(name),
            _ => None,
        }
    }
}
