//! The ends of connections: who is told, what is counted and logged, and who loses a partner.

use crate::base::time::Moment;
use crate::log::{Level, LogFields, LogValue};
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, Outbound, PoolId, ServerId};
use crate::pool::records::client::Standing;
use crate::pool::records::pool::{LoginRefusal, Purpose};
use crate::pool::records::retry::Retry;
use crate::pool::records::server::ServerState;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, ErrorReport, Severity};

impl Core {
    /// Ends a server. A client that has it is told.
    pub(in crate::pool) fn close_server(&mut self, id: ServerId, reason: Reason) {
        if self.servers[id].is_closing() {
            return;
        }
        self.log_outbound_end(Outbound::Server(id), &reason);
        self.tally_server(id, &reason);
        if reason == Reason::SessionStateKept {
            let pool = self.servers[id].pool;
            self.pools[pool].undone.failures += 1;
        }
        if self.servers[id].owes_service && self.servers[id].is_session() && reason.is_servers_own()
        {
            self.note_unserved(id, &reason);
        }
        let pool = self.servers[id].pool;
        let state = self.end_server(id);
        self.act(Action::CloseServer(id));
        if self.pools[pool].purpose == Purpose::Listening {
            self.untuned.push(pool);
        }
        match state {
            // A client that was moved off its server before this is not told.
            ServerState::Active { client } if self.clients[client].server() == Some(id) => {
                let told = match reason.is_told() {
                    _ if self.servers[id].has_said_farewell => Reason::ServerFarewell,
                    true => reason,
                    false => Reason::ServerCrashed,
                };
                self.end_client_of_lost_server(client, told);
            }
            ServerState::Lookup(lookup) => self.lookup_lost(id, *lookup, &reason),
            ServerState::Active { .. }
            | ServerState::Between
            | ServerState::Login(_)
            | ServerState::Idle
            | ServerState::Used
            | ServerState::Tested(_)
            | ServerState::BeingCanceled
            | ServerState::Closing => {}
        }
        self.server_left(pool);
    }

    /// Closes a server now if it is free, or as soon as it is.
    pub(in crate::pool) fn retire(&mut self, id: ServerId, reason: Reason) {
        match *self.servers[id].state() {
            ServerState::Idle | ServerState::Used | ServerState::Login(_) => {
                self.close_server(id, reason)
            }
            ServerState::Active { .. }
            | ServerState::BeingCanceled
            | ServerState::Between
            | ServerState::Lookup(_)
            | ServerState::Tested(_) => {
                self.servers[id].closing = Some(reason);
                self.act(Action::PartIfDrained(id));
            }
            ServerState::Closing => {}
        }
    }

    /// A server of this pool has ended: its place may be filled.
    fn server_left(&mut self, pool: PoolId) {
        self.look_soon(pool);
        self.has_place = true;
        self.check_shutdown_soon();
    }

    /// The end comes with the sweep of this turn: whoever asked for it is answered before.
    pub(in crate::pool) fn check_shutdown_soon(&mut self) {
        if self.shutdown != Shutdown::No {
            self.sweep_at = Moment(0);
        }
    }

    /// A server whose login cost SCRAM keys has ended before it gave an answer: the next login is
    /// put off as after a refusal. Otherwise a server could have any number of keys derived.
    fn note_unserved(&mut self, id: ServerId, reason: &Reason) {
        let pool = &mut self.pools[self.servers[id].pool];
        let retry = Retry::after(pool.unserved, self.now.mono, &mut *self.rng);
        pool.unserved = Some(retry);
        let message = reason.words().into_owned().into();
        pool.refusal = Some(LoginRefusal { message, retry });
    }

    /// A server whose login cost SCRAM keys has given its first answer.
    #[cold]
    pub(in crate::pool) fn note_served(&mut self, id: ServerId) {
        self.servers[id].owes_service = false;
        let pool = self.servers[id].pool;
        self.pools[pool].unserved = None;
    }

    pub(super) fn log_outbound_end(&mut self, id: Outbound, reason: &Reason) {
        if !self.settings().log_disconnections {
            return;
        }
        let connected = match id {
            Outbound::Carrier(id) => self.carriers[id].connected,
            Outbound::Server(id) => self.servers[id].connected,
        };
        let age = self.mono().since(connected).as_secs();
        let words = reason.words();
        let fields: LogFields<'_> =
            &[("reason", LogValue::Text(&words)), ("age", LogValue::Number(age))];
        let text = format_args!("closing because: {words} (age={age}s)");
        self.log_outbound_with(Level::Log, id, fields, text);
    }

    fn end_client_of_lost_server(&mut self, id: ClientId, reason: Reason) {
        self.move_member(id, Standing::Idle);
        self.close_client(id, reason);
    }

    /// Ends a client: it is told why, and its server is freed or closed.
    pub(in crate::pool) fn close_client(&mut self, id: ClientId, reason: Reason) {
        self.close_client_with(id, reason, None);
    }

    /// Ends a client with the words and SQLSTATE of a server, and tells who has said them to whom
    /// unless the client is still a stranger.
    pub(in crate::pool) fn close_client_as(&mut self, id: ClientId, words: &str, sqlstate: &str) {
        if self.clients[id].is_closing() {
            return;
        }
        let reason = Reason::ServerMessage(words.into());
        self.log_client_end(id, &reason);
        self.tally_client(id, &reason, None);
        let (detail, hint) = self.explain_refusal(id, sqlstate);
        self.tell(id, words, sqlstate, detail.as_deref(), hint);
        self.leave(id);
        self.act(Action::CloseClient { client: id, is_told: true });
    }

    fn tell(
        &mut self,
        id: ClientId,
        message: &str,
        sqlstate: &str,
        detail: Option<&str>,
        hint: Option<&str>,
    ) {
        let mut bytes = Vec::new();
        let severity = Severity::Fatal;
        build::report(&mut bytes, &ErrorReport { severity, sqlstate, message, detail, hint });
        self.act(Action::SendClient { client: id, bytes });
    }

    /// Ends a client, with a DETAIL that explains.
    pub(in crate::pool) fn close_client_with(
        &mut self,
        id: ClientId,
        reason: Reason,
        detail: Option<&str>,
    ) {
        if self.clients[id].is_closing() {
            return;
        }
        let explained = match detail {
            None if reason.is_told() => self.explain(id, &reason),
            _ => None,
        };
        let detail = detail.or(explained.as_deref());
        self.log_client_end(id, &reason);
        if reason.is_told() {
            if let Some(detail) = detail.filter(|_| self.settings().log_pooler_errors) {
                self.log_client(Level::Warning, id, format_args!("detail: {detail}"));
            }
            self.tally_client(id, &reason, detail);
            self.tell(id, &reason.words(), reason.sqlstate(), detail, reason.hint());
        }
        self.leave(id);
        self.act(Action::CloseClient { client: id, is_told: reason.is_told() });
    }

    /// Closes a client without a word, to it or to the log.
    pub(in crate::pool) fn drop_client(&mut self, id: ClientId) {
        self.move_to_closing(id);
        self.act(Action::CloseClient { client: id, is_told: false });
    }

    /// Takes a client out of everything that knows it.
    fn leave(&mut self, id: ClientId) {
        self.leave_lookup(id);
        let client = &mut self.clients[id];
        let listens = client.rare.as_mut().and_then(|rare| rare.listens.take());
        if let (Some(pool), Some(listens)) = (client.pool(), listens) {
            self.gone_listeners.push((id, pool, listens));
        }
        let server = self.clients[id].server();
        let carrier = self.clients[id].cancel_carrier();
        if self.clients[id].is_counted {
            self.clients[id].is_counted = false;
            self.client_count -= 1;
        }
        self.keys.take_back(&mut self.clients, id);
        self.move_to_closing(id);
        // A cancel request that this client has brought goes on without it.
        if let Some(carrier) = carrier.and_then(|id| self.carriers.get_mut(id)) {
            carrier.client = None;
        }
        if let Some(server) = server {
            self.client_left_server(server);
        }
    }

    fn log_client_end(&mut self, id: ClientId, reason: &Reason) {
        let settings = self.settings();
        let (disconnections, errors) = (settings.log_disconnections, settings.log_pooler_errors);
        let age = self.mono().since(self.clients[id].connected).as_secs();
        let words = reason.words();
        if disconnections {
            let fields: LogFields<'_> =
                &[("reason", LogValue::Text(&words)), ("age", LogValue::Number(age))];
            let text = format_args!("closing because: {words} (age={age}s)");
            self.log_client_with(Level::Log, id, fields, text);
        }
        if errors && reason.is_told() {
            let sqlstate = reason.sqlstate();
            let fields: LogFields<'_> =
                &[("reason", LogValue::Text(&words)), ("sqlstate", LogValue::Text(sqlstate))];
            let text = format_args!("pooler error: {words}");
            self.log_client_with(Level::Warning, id, fields, text);
        }
    }
}
