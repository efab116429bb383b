//! TLS, as far as the core decides on it: which clients may ask for it, which servers are asked for
//! it, and what its failure means. The relay and the TLS library carry out the handshakes.

use crate::config::{DatabaseLine, Host, TlsMode};
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::records::secured::{Secured, ServerTls, TlsContext, TlsModes, TlsTally, Whose};
use crate::pool::telling::reason::Reason;

/// The first byte of a TLS handshake record (RFC 8446, 5.1). No startup packet begins with it.
const HANDSHAKE_RECORD: u8 = 0x16;

impl Core {
    /// Takes over the TLS configuration that the shell has made. Contexts that existed before keep
    /// their counts.
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

    fn outbound_tally(&mut self, id: Outbound) -> Option<&mut TlsTally> {
        let whose = Whose::Servers(self.outbound_tls(id)?.own);
        self.tls_tally(&whose)
    }

    /// Counts a completed handshake with a server or a peer.
    pub(super) fn count_outbound_handshake(&mut self, id: Outbound, secured: &Secured) {
        if let Some(tally) = self.outbound_tally(id) {
            tally.note(secured);
        }
    }

    /// A new configuration of TLS to servers is in force. If the settings have just changed,
    /// `renew_servers` has already renewed the servers, and servers opened since use the new
    /// configuration. Otherwise the shell could not make this configuration when the settings
    /// changed, and has made it now.
    pub fn server_tls_changed(&mut self) {
        if self.tls_generation == self.generation {
            return;
        }
        for id in self.servers.ids() {
            if matches!(self.servers[id].peer, PeerAddress::Tcp { .. }) {
                self.retire(id, Reason::DatabaseChanged);
            }
        }
    }

    /// Whether a client may be offered TLS. A Unix socket does not need it.
    fn offers_tls(&self, id: ClientId) -> bool {
        let client = &self.clients[id];
        self.tls.clients != TlsMode::Disable
            && client.tls().is_none()
            && matches!(client.peer, PeerAddress::Tcp { .. })
    }

    /// Whether a client begins a handshake without a request for TLS.
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

    /// The handshake with a client has failed, or could not begin. The client is told no reason:
    /// the library has sent an alert.
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

    /// How to secure a connection that has just been established, if at all.
    pub fn outbound_tls(&self, id: Outbound) -> Option<ServerTls> {
        let pool = match id {
            Outbound::Carrier(id) => self.carriers.get(id)?.pool(),
            Outbound::Server(id) => Some(self.servers.get(id)?.pool),
        };
        let Host::Tcp(name) = &self.sites[self.site_of(id)].host else { return None };
        match pool {
            Some(pool) => {
                ServerTls::of(&self.databases[self.pools[pool].database].line, name, &self.tls)
            }
            // A peer uses the settings and has none of its own.
            None => ServerTls::of(&DatabaseLine::default(), name, &self.tls),
        }
    }

    /// The host refuses TLS, but the settings require it.
    pub fn outbound_refused_tls(&mut self, id: Outbound) {
        self.end_unsecured(id, Reason::ServerRefusedSsl);
    }

    /// The answer to the request for TLS is neither yes nor no.
    pub fn outbound_mistook_tls(&mut self, id: Outbound) {
        self.end_unsecured(id, Reason::BadSslAnswer);
    }

    /// Bytes follow the answer to the request for TLS. They were sent in clear and would be read as
    /// if they had been encrypted.
    pub fn outbound_stuffed_tls(&mut self, id: Outbound) {
        self.end_unsecured(id, Reason::StuffedSslResponse);
    }

    /// The handshake with a server or a peer has failed.
    pub fn outbound_tls_failed(&mut self, id: Outbound, error: &str) {
        if self.is_there(id) {
            if let Some(tally) = self.outbound_tally(id) {
                tally.failures += 1;
            }
            self.log_outbound(Level::Warning, id, format_args!("TLS handshake error: {error}"));
        }
        self.end_unsecured(id, Reason::TlsStartupFailed);
    }

    fn end_unsecured(&mut self, id: Outbound, reason: Reason) {
        if self.is_there(id) {
            let words = reason.words().into_owned();
            self.outbound_failed(id, reason, &words);
        }
    }
}
