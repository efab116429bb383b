//! TLS, as far as the core has a word in it: who may ask for it, which servers are asked for it,
//! and what its failure means. The handshakes themselves are the relay's and the library's.

use crate::config::{Host, TlsMode};
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::records::secured::{Secured, ServerTls, TlsContext, TlsModes, TlsTally, Whose};
use crate::pool::telling::reason::Reason;

/// The first byte of a TLS handshake record (RFC 8446, 5.1): no startup packet begins so.
const HANDSHAKE_RECORD: u8 = 0x16;

impl Core {
    /// What the shell has set up. Servers that were opened under other modes are closed once nobody
    /// uses them.
    pub fn set_tls(&mut self, modes: TlsModes, mut contexts: Vec<TlsContext>) {
        self.tls = modes;
        for context in &mut contexts {
            let old = self.tls_contexts.iter().find(|old| old.whose == context.whose);
            context.tally = old.map(|old| old.tally).unwrap_or_default();
        }
        self.tls_contexts = contexts;
    }

    fn tls_tally(&mut self, whose: &Whose) -> Option<&mut TlsTally> {
        let mut contexts = self.tls_contexts.iter_mut();
        Some(&mut contexts.find(|context| context.whose == *whose)?.tally)
    }

    fn server_tally(&mut self, id: ServerId) -> Option<&mut TlsTally> {
        let whose = Whose::Servers(self.server_tls(id)?.own);
        self.tls_tally(&whose)
    }

    /// Counts the handshake with a server that is done.
    pub(super) fn count_server_handshake(&mut self, id: ServerId, secured: &Secured) {
        if let Some(tally) = self.server_tally(id) {
            tally.note(secured);
        }
    }

    /// Another configuration of TLS to servers is in force.
    pub fn server_tls_changed(&mut self) {
        for id in self.servers.ids() {
            if matches!(self.servers[id].peer, PeerAddress::Tcp { .. }) {
                self.retire(id, Reason::DatabaseChanged);
            }
        }
    }

    /// Whether a client may be offered TLS. A Unix socket needs none.
    fn offers_tls(&self, id: ClientId) -> bool {
        let client = &self.clients[id];
        self.tls.clients != TlsMode::Disable
            && client.tls().is_none()
            && matches!(client.peer, PeerAddress::Tcp { .. })
    }

    /// Whether a client begins a handshake without asking first.
    pub(super) fn begins_tls(&self, id: ClientId, bytes: &[u8]) -> bool {
        bytes.first() == Some(&HANDSHAKE_RECORD) && self.offers_tls(id)
    }

    /// Answers a client that asks for TLS.
    pub(super) fn tls_requested(&mut self, id: ClientId) {
        if self.clients[id].tls().is_some() {
            return self.close_client(id, Reason::SslInside);
        }
        let is_offered = self.offers_tls(id);
        if let Some(login) = self.clients[id].login_mut() {
            login.was_denied_tls = !is_offered;
        }
        let bytes = if is_offered { b"S".to_vec() } else { b"N".to_vec() };
        self.act(Action::SendClient { client: id, bytes });
        if is_offered {
            self.act(Action::SecureClient(id));
        }
    }

    /// The handshake with a client is done; its startup packet follows.
    pub fn client_secured(&mut self, id: ClientId, secured: Box<Secured>) {
        if let Some(tally) = self.tls_tally(&Whose::Clients) {
            tally.note(&secured);
        }
        if let Some(client) = self.clients.get_mut(id) {
            client.rare.get_or_insert_default().tls = Some(secured);
        }
    }

    /// The handshake with a client has failed, or could not begin. The client has no ears for a
    /// reason of ours: the library has sent an alert.
    pub fn client_tls_failed(&mut self, id: ClientId, error: &str) {
        if !self.clients.contains(id) || self.clients[id].is_closing() {
            return;
        }
        if let Some(tally) = self.tls_tally(&Whose::Clients) {
            tally.failures += 1;
        }
        self.log_client(Level::Warning, id, format_args!("TLS handshake error: {error}"));
        self.close_client(id, Reason::TlsFailed);
    }

    /// How a server that has just been reached is to be secured, if it is.
    pub fn server_tls(&self, id: ServerId) -> Option<ServerTls> {
        let server = self.servers.get(id)?;
        let line = &self.databases[self.pools[server.pool].database].line;
        match &self.sites[server.site].host {
            Host::Tcp(name) => ServerTls::of(line, name, &self.tls),
            Host::Unix(_) => None,
        }
    }

    /// A server has no TLS, and must have it.
    pub fn server_refused_tls(&mut self, id: ServerId) {
        self.end_unsecured(id, Reason::ServerRefusedSsl);
    }

    /// What a server has answered to the request for TLS is neither yes nor no.
    pub fn server_mistook_tls(&mut self, id: ServerId) {
        self.end_unsecured(id, Reason::BadSslAnswer);
    }

    /// Bytes came behind the answer to the request for TLS: they would be taken for what was sent
    /// under it.
    pub fn server_stuffed_tls(&mut self, id: ServerId) {
        self.end_unsecured(id, Reason::StuffedSslResponse);
    }

    /// The handshake with a server has failed.
    pub fn server_tls_failed(&mut self, id: ServerId, error: &str) {
        if self.servers.contains(id) && !self.servers[id].is_closing() {
            if let Some(tally) = self.server_tally(id) {
                tally.failures += 1;
            }
            self.log_server(Level::Warning, id, format_args!("TLS handshake error: {error}"));
        }
        self.end_unsecured(id, Reason::TlsStartupFailed);
    }

    fn end_unsecured(&mut self, id: ServerId, reason: Reason) {
        if self.servers.contains(id) && !self.servers[id].is_closing() {
            self.server_failed(id, reason);
        }
    }
}
