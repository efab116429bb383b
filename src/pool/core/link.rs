//! Every move of a record: between states, into and out of lists, onto and off its partner. The
//! counters are kept here, and nowhere else.

use crate::log::{Level, Side, ptr};
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::records::client::{self, Client};
use crate::pool::records::pool::{Refusal, Rest};
use crate::pool::records::retry::Retry;
use crate::pool::records::server::{self, Own, Server, Test};
use crate::pool::records::strangers::Origin;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Report, Severity};

/// Queries at most that give a server its client's parameters: one for each encoding of a value
/// that is not ASCII, one to come to it, and one for the others.
const MOST_STEPS: u8 = 16;

impl Core {
    /// Moves a client to another state, list and counters with it.
    pub(in crate::pool) fn move_client(&mut self, id: ClientId, to: client::State) {
        let was_counted = matches!(self.clients[id].state.place(), client::Place::Pool(_));
        let is_counted = matches!(to.place(), client::Place::Pool(_));
        // Between two states of one pool, which is every transaction's way, no count changes.
        if was_counted && !is_counted {
            self.count_client(id, false);
        }
        self.thread_client(id, false);
        let now = self.mono();
        let client = &mut self.clients[id];
        client.state = to;
        client.since = now;
        self.thread_client(id, true);
        if is_counted && !was_counted {
            self.count_client(id, true);
        }
        // Whatever it was held for is of the state that it leaves.
        if self.clients[id].hold.is_some() {
            self.wake(id);
        }
    }

    /// Puts a client into the list of its state, or takes it out.
    fn thread_client(&mut self, id: ClientId, into: bool) {
        let client = &self.clients[id];
        let list = match client.state.place() {
            client::Place::Login => {
                self.strangers.count(Origin::of(client.peer), into);
                &mut self.logins
            }
            client::Place::Console => &mut self.consoles,
            client::Place::Cancel => &mut self.cancel_clients,
            client::Place::Pool(place) => {
                let pool = client.pool.expect("a client past its login has a pool");
                self.pools[pool].client_list(place)
            }
            client::Place::Nowhere => return,
        };
        if into {
            list.push_back(&mut self.clients, id);
        } else {
            list.remove(&mut self.clients, id);
        }
    }

    /// Adds a client to, or takes it from, the counts of its database and user.
    fn count_client(&mut self, id: ClientId, add: bool) {
        let client = &self.clients[id];
        let pool = client.pool.expect("a client past its login has a pool");
        let login_user = client.user;
        self.wake_pool(pool);
        count(&mut self.admitted, add);
        let pool = &mut self.pools[pool];
        pool.used_at = self.now.mono;
        let database = &mut self.databases[pool.database];
        database.idle_since = self.now.mono;
        count(&mut database.clients, add);
        if let Some(user) = login_user {
            count(&mut self.users[user].clients, add);
        }
    }

    /// Moves a server to another state, list and counters with it.
    pub(in crate::pool) fn move_server(&mut self, id: ServerId, to: server::State) {
        self.thread_server(id, false);
        let now = self.mono();
        let server = &mut self.servers[id];
        let was_counted = server.state.is_counted();
        let is_counted = to.is_counted();
        server.state = to;
        server.since = now;
        self.thread_server(id, true);
        if was_counted != is_counted {
            self.count_server(id, is_counted);
        }
    }

    /// Puts a server into the list of its state, or takes it out; sessions are counted.
    fn thread_server(&mut self, id: ServerId, into: bool) {
        let server = &self.servers[id];
        let (Some(place), pool_id) = (server.state.place(), server.pool) else { return };
        let pool = &mut self.pools[pool_id];
        pool.used_at = self.now.mono;
        let rests = pool.rest != Rest::Awake;
        let list = pool.server_list(place);
        if place == server::Place::Login {
            self.sites[server.site].count_login(into);
            self.has_place |= !into;
        }
        match (into, place) {
            (false, _) => list.remove(&mut self.servers, id),
            // The one that was used last is taken first: the others get old enough to be closed.
            (true, server::Place::Idle) => list.push_front(&mut self.servers, id),
            (true, _) => list.push_back(&mut self.servers, id),
        }
        if rests {
            self.wake_pool(pool_id);
        }
    }

    /// Adds a session to, or takes it from, the counts of its database and user.
    fn count_server(&mut self, id: ServerId, add: bool) {
        let server = &self.servers[id];
        let pool = &self.pools[server.pool];
        let database = &mut self.databases[pool.database];
        database.idle_since = self.now.mono;
        count(&mut database.servers, add);
        count(&mut self.users[pool.user].servers, add);
        count(&mut self.sites[server.site].servers, add);
    }

    /// A client record for a new connection, in the list of logins.
    pub(in crate::pool) fn add_client(&mut self, client: Client) -> ClientId {
        let id = self.clients.insert(client);
        self.thread_client(id, true);
        id
    }

    /// A server record, in the list of its state.
    pub(in crate::pool) fn add_server(&mut self, server: Server) -> ServerId {
        let id = self.servers.insert(server);
        self.thread_server(id, true);
        if self.servers[id].state.is_counted() {
            self.count_server(id, true);
        }
        id
    }

    /// Gives a clean server to a client. Returns whether the client may use it at once; else its
    /// parameters are set first, and it is run when they are.
    pub(in crate::pool) fn link(&mut self, client_id: ClientId, server_id: ServerId) -> bool {
        debug_assert!(self.servers[server_id].is_clean(), "a server is handed on unclean");
        debug_assert!(self.servers[server_id].closing.is_none());
        debug_assert!(self.servers[server_id].kept.is_told(), "an answer is left of another");
        let now = self.mono();
        self.move_client(client_id, client::State::Active { server: server_id });
        self.move_server(server_id, server::State::Active { client: client_id });
        let server = &mut self.servers[server_id];
        let client = &mut self.clients[client_id];
        server.requested = now;
        server.xact_start = now;
        server.is_untouched = true;
        // What the client has prepared since on another server counts, not what is left here.
        let mark = server.mark();
        let was_here_last = std::mem::replace(&mut client.last_server, mark) == mark;
        if server.last_client.replace(client_id) != Some(client_id) || !was_here_last {
            server.replies.disown_unnamed();
        }
        server.unnamed.begin();
        server.unheard = 0;
        let pool = &mut self.pools[server.pool];
        pool.stats.assignments += 1;
        pool.stats.wait_us += now.micros_since(client.requested);
        let (peer, number) = (server.peer, server.number);
        if self.hears(Level::Noise) {
            let ptr = ptr(number, Side::Server);
            self.log_client(Level::Noise, client_id, format_args!("is given S-{ptr} at {peer}"));
        }
        self.set_parameters(client_id, server_id, MOST_STEPS)
    }

    /// Makes a server's parameters its client's. Returns whether they are; else they are being set.
    pub(in crate::pool) fn set_parameters(
        &mut self,
        client_id: ClientId,
        server_id: ServerId,
        steps: u8,
    ) -> bool {
        let (client, server) = (&mut self.clients[client_id], &mut self.servers[server_id]);
        if let Some(step) = self.vars.next_step(&client.vars, &server.vars) {
            server.own = match steps.checked_sub(1) {
                Some(more) => Own::Vars { change: step.change, more },
                None => Own::VarsRefused,
            };
            self.run_own_query(server_id, &step.sql);
            return false;
        }
        let mut bytes = Vec::new();
        self.vars.agree(&mut client.vars, &server.vars, &mut bytes);
        if !bytes.is_empty() {
            self.act(Action::SendClient { client: client_id, bytes });
        }
        true
    }

    /// Sends a query of the pooler's own to a server.
    pub(in crate::pool) fn run_own_query(&mut self, id: ServerId, sql: impl AsRef<[u8]>) {
        let sql = sql.as_ref();
        if self.hears(Level::Debug) {
            let text = String::from_utf8_lossy(sql).into_owned();
            self.log_server(Level::Debug, id, format_args!("query of the pooler's own: {text}"));
        }
        let server = &mut self.servers[id];
        server.replies.push(crate::pool::owed::request::Request::Query);
        // A simple query takes the unnamed statement away.
        server.last_client = None;
        server.unheard = 0;
        let mut bytes = Vec::new();
        build::query(&mut bytes, sql);
        self.act(Action::SendServer { server: id, bytes });
    }

    /// Takes a clean server off its client, which may ask again; the server is handed on, reset,
    /// kept or closed.
    pub(in crate::pool) fn unlink(&mut self, server_id: ServerId, client_id: ClientId) {
        self.take_unnamed_along(client_id, server_id);
        self.move_client(client_id, client::State::Idle);
        self.part(server_id);
    }

    /// The client lets go of its server: what it may bind later goes with it.
    #[inline]
    pub(in crate::pool) fn take_unnamed_along(&mut self, id: ClientId, server: ServerId) {
        let Some(after) = self.servers[server].unnamed.result() else { return };
        let keeps_one = self.clients[id].statements.as_ref().is_some_and(|s| s.unnamed.is_some());
        if after.is_some() || keeps_one {
            self.replace_kept_unnamed(id, server);
        }
    }

    #[cold]
    fn replace_kept_unnamed(&mut self, id: ClientId, server: ServerId) {
        let Some(after) = self.servers[server].unnamed.result() else { return };
        let after = match (after, self.terms(id)) {
            (Some(text), Some(terms)) => Some(self.statements.hold(text, terms)),
            (None, _) | (_, None) => None,
        };
        let statements = self.clients[id].statements.get_or_insert_default();
        statements.keep_unnamed(&mut self.statements, after);
    }

    /// What becomes of a clean server whose client is done with it.
    pub(in crate::pool) fn part(&mut self, id: ServerId) {
        let now = self.mono();
        // Off its client first: whatever becomes of it is no concern of that client's.
        self.move_server(id, server::State::Tested(Test::Check));
        let server = &mut self.servers[id];
        server.requested = now;
        server.replies.shrink();
        if server.cancels > 0 {
            return self.move_server(id, server::State::BeingCanceled);
        }
        if let Some(reason) = server.closing.clone() {
            return self.close_server(id, reason.on_release());
        }
        if server.is_private {
            return self.close_server(id, Reason::ReplicationClientClosed);
        }
        if self.servers[id].replies.is_doubtful() {
            self.move_server(id, server::State::Tested(Test::Doubt));
            return self.run_own_query(id, "");
        }
        if self.must_reset(id) {
            let sql = self.reset_query();
            self.move_server(id, server::State::Tested(Test::Reset));
            return self.run_own_query(id, &sql);
        }
        self.make_available(id);
    }

    /// Whether a server is reset before another client gets it. Not where each transaction may go
    /// to another server anyhow, unless its client has left it in the middle, with its locks.
    pub(in crate::pool) fn must_reset(&self, id: ServerId) -> bool {
        if self.servers[id].is_abandoned {
            return true;
        }
        let settings = self.settings();
        let is_session = self.pool_mode(self.servers[id].pool) == crate::config::PoolMode::Session;
        !settings.server_reset_query.is_empty()
            && (is_session || settings.server_reset_query_always)
    }

    pub(in crate::pool) fn reset_query(&self) -> String {
        match &*self.settings().server_reset_query {
            // None for clients that end as they should: an abandoned server is reset all the same.
            "" => "DISCARD ALL".to_owned(),
            sql => sql.to_owned(),
        }
    }

    /// Hands a clean server to the client that has waited longest, or puts it into its pool.
    pub(in crate::pool) fn make_available(&mut self, id: ServerId) {
        debug_assert!(self.servers[id].is_clean());
        self.servers[id].is_abandoned = false;
        if let Some(reason) = self.reason_to_retire(id) {
            return self.close_server(id, reason);
        }
        let pool_id = self.servers[id].pool;
        let held_back = self.is_held_back(self.pools[pool_id].database);
        if !held_back && !self.pools[pool_id].lookups.is_empty() {
            return self.run_lookup(id);
        }
        if !held_back && let Some(client) = self.pools[pool_id].waiting.first() {
            self.link(client, id);
            return;
        }
        self.log_server(Level::Noise, id, format_args!("is free"));
        let untested = self.settings().server_check_delay.is_zero()
            && !self.settings().server_check_query.is_empty();
        let state = if untested { server::State::Used } else { server::State::Idle };
        self.move_server(id, state);
        // Another pool may take its place (max_db_connections, max_user_connections).
        self.has_place |= !self.hungry.is_empty();
    }

    /// Ends a server. A client that has it is told; a cancel carrier's target is freed.
    pub(in crate::pool) fn close_server(&mut self, id: ServerId, reason: Reason) {
        if self.servers[id].is_closing() {
            return;
        }
        self.log_server_end(id, &reason);
        self.tally_server(id, &reason);
        self.thread_server(id, false);
        if self.servers[id].state.is_counted() {
            self.count_server(id, false);
        }
        if self.servers[id].owes_service && self.servers[id].is_session() && reason.is_servers_own()
        {
            self.note_unserved(id, &reason);
        }
        let server = &mut self.servers[id];
        let pool = server.pool;
        let state = std::mem::replace(&mut server.state, server::State::Closing);
        self.act(Action::CloseServer(id));
        match state {
            // It may have been taken off the server just now.
            server::State::Active { client } if self.clients[client].server() == Some(id) => {
                let told = match reason.is_told() {
                    _ if self.servers[id].has_said_farewell => Reason::ServerFarewell,
                    true => reason,
                    false => Reason::ServerCrashed,
                };
                self.end_client_of_lost_server(client, told);
            }
            server::State::Cancel(carrier) => self.cancel_ended(carrier, reason),
            server::State::Lookup(lookup) => self.lookup_lost(id, *lookup, &reason),
            server::State::Active { .. }
            | server::State::Login(_)
            | server::State::Idle
            | server::State::Used
            | server::State::Tested(_)
            | server::State::BeingCanceled
            | server::State::Closing => {}
        }
        self.next_to_peer(pool);
        self.server_left(pool);
    }

    /// A server has ended whose login cost keys, and nobody had an answer of it: as if the login
    /// had failed, the next is put off, or its server could have any number of them derived.
    fn note_unserved(&mut self, id: ServerId, reason: &Reason) {
        let pool = &mut self.pools[self.servers[id].pool];
        let retry = Retry::after(pool.unserved, self.now.mono, &mut *self.rng);
        pool.unserved = Some(retry);
        let message = reason.words().into_owned().into();
        pool.refusal = Some(Refusal { message, retry });
    }

    /// A server that was dear to log in to has given its first answer.
    #[cold]
    pub(in crate::pool) fn note_served(&mut self, id: ServerId) {
        self.servers[id].owes_service = false;
        let pool = self.servers[id].pool;
        self.pools[pool].unserved = None;
    }

    fn log_server_end(&mut self, id: ServerId, reason: &Reason) {
        if !self.settings().log_disconnections {
            return;
        }
        let age = self.mono().since(self.servers[id].connected).as_secs();
        let words = reason.words();
        self.log_server(Level::Log, id, format_args!("closing because: {words} (age={age}s)"));
    }

    fn end_client_of_lost_server(&mut self, id: ClientId, reason: Reason) {
        self.move_client(id, client::State::Idle);
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
        self.act(Action::CloseClient(id));
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
        build::report(&mut bytes, &Report { severity, sqlstate, message, detail, hint });
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
        self.act(Action::CloseClient(id));
    }

    /// Takes a client out of everything that knows it.
    fn leave(&mut self, id: ClientId) {
        self.leave_lookup(id);
        let server = self.clients[id].server();
        let carrier = match self.clients[id].state {
            client::State::Cancel { server } => Some(server),
            _ => None,
        };
        if self.clients[id].is_counted {
            self.clients[id].is_counted = false;
            self.client_count -= 1;
        }
        self.take_key(id);
        self.move_client(id, client::State::Closing);
        if let Some(server) = carrier.and_then(|id| self.servers.get_mut(id)) {
            server.forget_cancel_client();
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
            self.log_client(Level::Log, id, format_args!("closing because: {words} (age={age}s)"));
        }
        if errors && reason.is_told() {
            self.log_client(Level::Warning, id, format_args!("pooler error: {words}"));
        }
    }
}

fn count(counter: &mut u32, add: bool) {
    *counter = if add { *counter + 1 } else { *counter - 1 };
}
