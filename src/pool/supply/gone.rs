//! Reports of the shell about connections: they ended, broke, or could not be established.

use std::time::Duration;

use crate::config::Host;
use crate::log::{Level, PeerAddress};
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, Outbound, ServerId};
use crate::pool::records::client::ClientState;
use crate::pool::records::site::Site;
use crate::pool::telling::reason::Reason;

/// How long the pooler opens no connections after it ran out of descriptors.
const EXHAUSTION_PAUSE: Duration = Duration::from_secs(1);

impl Core {
    /// A client's connection has ended or broken.
    pub fn client_gone(&mut self, id: ClientId, error: Option<String>) {
        if !self.clients.contains(id) || self.clients[id].is_closing() {
            return;
        }
        if let ClientState::Login(login) = self.clients[id].state()
            && login.names.is_none()
        {
            return match login.was_denied_tls {
                true => self.close_client(id, Reason::TlsDenied),
                false => self.drop_client(id),
            };
        }
        let reason = match error {
            None => Reason::ClientEof,
            Some(error) => Reason::ClientLost(error.into()),
        };
        self.close_client(id, reason);
    }

    /// A client has sent Terminate, whatever answers it was still owed.
    pub fn client_says_goodbye(&mut self, id: ClientId) {
        self.close_client(id, Reason::ClientClose);
    }

    /// A connection that the pooler has opened has ended or broken.
    pub fn outbound_gone(&mut self, id: Outbound, error: Option<String>) {
        if self.is_there(id) {
            match id {
                Outbound::Carrier(id) => self.carrier_gone(id, error),
                Outbound::Server(id) => self.server_gone(id, error),
            }
        }
    }

    fn server_gone(&mut self, id: ServerId, error: Option<String>) {
        if let Some(error) = &error {
            self.log_server(Level::Debug, id, format_args!("{error}"));
        }
        self.server_failed(id, Reason::ServerCrashed);
    }

    /// A connection could not be established.
    pub fn connect_failed(&mut self, id: Outbound, error: &str) {
        if !self.is_there(id) {
            return;
        }
        let words = format!("connect failed: {error} ({})", self.place_of(id));
        self.log_outbound(Level::Warning, id, format_args!("{words}"));
        self.outbound_failed(id, Reason::ServerConnectFailed, &words);
    }

    /// The target of a connection: host and port, or the path of a Unix socket.
    fn place_of(&self, id: Outbound) -> String {
        let Site { host, port, .. } = &self.sites[self.site_of(id)];
        match (host, self.peer_of(id)) {
            (Host::Unix(directory), _) => format!("unix:{directory}/.s.PGSQL.{port}"),
            (Host::Tcp(name), peer @ PeerAddress::Tcp { ip, .. }) if *name != ip.to_string() => {
                format!("{name} at {peer}")
            }
            (Host::Tcp(name), _) => format!("{name}:{port}"),
        }
    }

    /// A connection could not be started because this process lacks descriptors or memory. The host
    /// is not at fault, and the pooler opens no connections for a while.
    pub fn connect_not_begun(&mut self, id: Outbound, error: &str) {
        if !self.is_there(id) {
            return;
        }
        self.log_outbound(Level::Warning, id, format_args!("connect failed: {error}"));
        self.note_repeating("limit reached: file descriptors");
        self.connects_after = self.mono() + EXHAUSTION_PAUSE;
        match id {
            Outbound::Carrier(id) => self.close_carrier(id, Reason::ServerConnectFailed),
            Outbound::Server(id) => self.close_server(id, Reason::ServerConnectFailed),
        }
    }

    /// Notes how many bytes of a server have gone to its client, and whether a message is half
    /// read.
    #[inline(always)]
    pub fn server_was_read(&mut self, id: ServerId, sent: usize, is_mid_reply: bool) {
        if let Some(server) = self.servers.get_mut(id) {
            server.is_mid_reply = is_mid_reply;
            self.pools[server.pool].stats.sent += sent as u64;
        }
    }

    /// Notes how many bytes of the client's message to this server are still to come.
    pub fn set_half_sent(&mut self, id: ServerId, bytes: u32) {
        if let Some(server) = self.servers.get_mut(id) {
            server.half_sent = bytes;
        }
    }
}
