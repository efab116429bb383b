//! Where a server changes hands: how a client gets one, and what becomes of it when the client is
//! done with it, or gone.
//!
//! A client that asks ([`Core::acquire`]) gets a server that is idle ([`Core::take_idle`]), or
//! waits. One whose transaction is over lets go of its server ([`Core::part_if_done`]), and so does
//! one that ends ([`Core::client_left_server`]). A server that is let go of is in state `Between`
//! until it is decided what becomes of it ([`Core::part`]): it is closed, tested, reset, or made
//! available ([`Core::make_available`]), and then the client that has waited longest gets it, or
//! its pool.

use crate::config::{PoolMode, SessionState};
use crate::log::{ConnectionSide, Level, ptr};
use crate::pool::core::own_query::MOST_STEPS;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::client::{QueryRefusal, Standing};
use crate::pool::records::listening::Recalled;
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::{Attempt, OwnQuery, Server, ServerState, Test};
use crate::pool::statements::traces::Traces;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Finds a server for a client that asks, or puts it into the queue.
    pub(in crate::pool) fn acquire(
        &mut self,
        id: ClientId,
        pool_id: PoolId,
    ) -> Result<ServerId, Verdict> {
        let now = self.mono();
        if self.is_winding_down() {
            self.close_client(id, Reason::ServerShuttingDown);
            return Err(Verdict::Closed);
        }
        self.clients[id].requested = now;
        let pool = &self.pools[pool_id];
        if pool.waiting.is_empty() && !self.is_held_back(pool.database) {
            if let Some(server) = self.take_idle(pool_id) {
                let is_ready = self.give(server, id);
                return if is_ready { Ok(server) } else { Err(Verdict::Hold(Hold::Parameters)) };
            }
            if let Some(message) = self.planner().failure_to_tell(pool_id) {
                self.look_soon(pool_id);
                self.close_client(id, Reason::CachedLoginError(message));
                return Err(Verdict::Closed);
            }
        }
        self.move_member(id, Standing::Waiting);
        self.look_soon(pool_id);
        Err(Verdict::Hold(Hold::Server { is_told: false }))
    }

    /// An idle server that need not be tested first.
    pub(in crate::pool) fn take_idle(&mut self, pool_id: PoolId) -> Option<ServerId> {
        let in_turn = self.config.settings.server_round_robin;
        loop {
            let idle = &self.pools[pool_id].idle;
            let id = if in_turn { idle.last() } else { idle.first() }?;
            if self.mono() >= self.due_times().test_due(&self.servers[id]) {
                self.move_server(id, ServerState::Used);
                continue;
            }
            if let Some(reason) = self.reason_to_retire(id) {
                self.close_server(id, reason);
                continue;
            }
            return Some(id);
        }
    }

    /// Gives a clean server to a client. Returns whether the client may use it at once. If not, the
    /// session is reset or given the client's parameters first; [`Core::set_up_ended`] wakes the
    /// client then.
    fn give(&mut self, server_id: ServerId, client_id: ClientId) -> bool {
        debug_assert!(self.servers[server_id].is_clean(), "a server is handed on unclean");
        debug_assert!(self.servers[server_id].closing.is_none());
        debug_assert!(!self.servers[server_id].is_private, "a walsender is handed on");
        debug_assert!(self.servers[server_id].kept.is_told(), "an answer is left of another");
        let now = self.mono();
        self.link(client_id, server_id);
        let first = self.begin_session(server_id, client_id);
        let server = &mut self.servers[server_id];
        let client = &mut self.clients[client_id];
        server.begin_use(client_id, client, now);
        self.pools[server.pool].count_assignment(server.waited_us, &mut self.latencies);
        if self.hears(Level::Noise) {
            let Server { peer, number, .. } = self.servers[server_id];
            let ptr = ptr(number, ConnectionSide::Server);
            self.log_client(Level::Noise, client_id, format_args!("is given S-{ptr} at {peer}"));
        }
        if let Some((step, sql)) = first {
            self.servers[server_id].own = OwnQuery::Reset(step);
            self.run_own_query(server_id, sql);
            return false;
        }
        self.set_parameters(client_id, server_id, MOST_STEPS)
    }

    /// How the client uses the server, and what becomes of what it leaves there. Returns the query
    /// that takes away what others have left, where that must come first.
    fn begin_session(
        &mut self,
        server_id: ServerId,
        client_id: ClientId,
    ) -> Option<(Test, String)> {
        let client = &self.clients[client_id];
        let mode = self.client_mode(client);
        let policy = self.session_state(client, mode);
        let is_session = mode == PoolMode::Session;
        let shares_listen = !is_session && self.shares_listen(client);
        let goes_unseen = is_session && self.must_end_clean(client);
        let can_reset = is_session && !self.settings().server_reset_query.is_empty();
        let server = &mut self.servers[server_id];
        server.mode = mode;
        // A session gets a server that is reset, if clients that share servers have used it.
        let is_reset = can_reset && server.is_worn;
        server.is_worn |= !is_session;
        // The policies of others may have let something stay that this client's does not.
        let is_undone = policy >= SessionState::Reset && server.session.is_stained();
        server.session.begin(policy, shares_listen);
        if goes_unseen {
            server.session.go_unseen();
        }
        match (is_reset, is_undone) {
            (true, _) => Some((Test::Reset, self.reset_query())),
            (false, true) => Some((Test::Undo, server.session.begin_undoing())),
            (false, false) => None,
        }
    }

    /// The session is as its client asks for: the client goes on. A query that was cancelled
    /// meanwhile is not sent: the server is free again, and the query is answered here.
    pub(in crate::pool) fn set_up_ended(&mut self, id: ServerId, client: ClientId) {
        if self.clients[client].refusal == QueryRefusal::None {
            return self.wake(client);
        }
        self.servers[id].is_untouched = false;
        self.act(Action::PartIfDrained(id));
    }

    /// Cheap to ask after each run: whether [`Core::part_if_done`] could do something.
    #[inline]
    pub fn may_part(&self, id: ServerId) -> bool {
        self.servers.get(id).is_some_and(|server| {
            let is_abandoned = || matches!(server.state(), ServerState::Tested(Test::Abandoned(_)));
            server.replies.is_clean() || is_abandoned()
        })
    }

    /// The server's client may be done with it. The relay calls this when both directions are
    /// drained: nothing of either side is held, and no message is half relayed.
    pub fn part_if_done(&mut self, id: ServerId) {
        if !self.part_plainly(id) {
            self.part_after_all(id);
        }
    }

    fn part_after_all(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(id) else { return };
        if let ServerState::Tested(test @ Test::Abandoned(_)) = *server.state() {
            return self.test_ended(id, test);
        }
        let Some(client) = server.client() else { return };
        let is_at_rest = server.replies.is_clean() && server.own.is_nothing();
        if !is_at_rest || server.is_untouched || server.is_private {
            return;
        }
        if self.clients[client].refusal != QueryRefusal::None {
            self.take_off_client(id, client);
            self.part(id);
            return self.wake(client);
        }
        // In session mode only this client meets the doubt: it is left. A pinned server is asked
        // each time, as its client may yet lose it.
        if server.replies.is_doubtful() && server.mode != PoolMode::Session {
            return self.resolve_doubt(id, false);
        }
        if server.session.must_tell_channels() {
            // Nothing could be asked when the client heard of the end of its transaction.
            return self.ask_for_channels(id, client, true, Attempt::First);
        }
        if server.mode == PoolMode::Session || server.session.is_pinned() {
            // A cancel request may yet strike a server that is `CloseNeeded`. It is kept from other
            // clients for that, not from this one.
            if let Some(reason) = server.closing.clone()
                && reason != Reason::CloseNeeded
                && self.settings().server_fast_close
            {
                // The client hears of it.
                let is_told = reason.is_told();
                let told = if is_told { reason } else { Reason::DatabaseChanged };
                self.close_server(id, told);
            }
            return;
        }
        if server.session.must_be_pinned() {
            return self.pin_unjudged(id, client);
        }
        if server.canceled_by.is_some() {
            self.recall_unsent_cancel(id);
        }
        self.take_off_client(id, client);
        self.part(id);
    }

    /// More was under way when the transaction ended, so that nobody could tell what the client
    /// would leave. It has heard of that end and cannot be refused any more: it keeps its server,
    /// whatever the limit.
    #[cold]
    fn pin_unjudged(&mut self, id: ServerId, client: ClientId) {
        let (now, number) = (self.mono(), self.clients[client].number);
        let Server { session, pool, .. } = &mut self.servers[id];
        session.pin(number, now);
        self.pools[*pool].undone.pins += 1;
    }

    /// A server has said something unasked after its last answer, in the same read, and the caller
    /// is about to close it. Outside of session mode its client is done with it, and is taken off
    /// first, so that it does not learn of the close. Returns whether there was such a client.
    pub(in crate::pool) fn let_go_of_done_client(&mut self, id: ServerId) -> bool {
        let server = &self.servers[id];
        let Some(client) = server.client() else { return false };
        // A cancel request on its way does not matter: the server is not used again.
        let is_clean = server.replies.is_clean() && server.own.is_nothing();
        let is_kept = server.is_private || server.session.is_pinned();
        let is_done = is_clean && !server.replies.is_doubtful() && !is_kept;
        if !is_done || server.mode == PoolMode::Session {
            return false;
        }
        self.take_off_client(id, client);
        true
    }

    /// Takes a server off its client, which has nothing under way.
    #[inline(always)]
    fn take_off_client(&mut self, id: ServerId, client: ClientId) {
        self.take_unnamed_along(client, id);
        self.unlink(client, id);
    }

    /// The client lets go of its server: an unnamed statement that it may bind later is kept with
    /// the client.
    #[inline(always)]
    pub(in crate::pool) fn take_unnamed_along(&mut self, id: ClientId, server: ServerId) {
        let Some(after) = self.servers[server].unnamed.result() else { return };
        let keeps_one = self.clients[id].statements.as_ref().is_some_and(|s| s.unnamed.is_some());
        if after.is_some() || keeps_one {
            self.replace_kept_unnamed(id, server);
        }
    }

    /// Sends a query of the pooler's own to a server that a client has, after its last answer or
    /// before its next message.
    pub(in crate::pool) fn ask_beside(
        &mut self,
        id: ServerId,
        client: ClientId,
        own: OwnQuery,
        sql: &[u8],
    ) {
        self.servers[id].own = own;
        // The query drops the server's unnamed statement, which the client may bind later.
        self.take_unnamed_along(client, id);
        self.servers[id].unnamed.begin();
        self.run_own_query(id, sql);
    }

    /// Asks the session of a client's server for its channels at the end of a transaction, and has
    /// it listen to none any more. `is_end_told` tells that the client has heard of that end.
    pub(in crate::pool) fn ask_for_channels(
        &mut self,
        id: ServerId,
        client: ClientId,
        is_end_told: bool,
        attempt: Attempt,
    ) {
        let handing = self.servers[id].session.handing.get_or_insert_default();
        handing.channels.clear();
        let mut sql = String::new();
        if let Recalled::In(number) = &handing.recalled {
            sql = format!("SELECT pg_catalog.txid_status({number}); ");
        }
        sql += "SELECT pg_catalog.pg_listening_channels(); UNLISTEN *";
        handing.told = None;
        self.ask_beside(id, client, OwnQuery::Channels { is_end_told, attempt }, sql.as_bytes());
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

    /// The client of a server has gone. A clean server goes back to its pool. One in the middle of
    /// something is closed, or brought to an end first ([`Core::rescue`]).
    pub(super) fn client_left_server(&mut self, id: ServerId) {
        let server = &self.servers[id];
        if server.is_closing() {
            return;
        }
        if server.is_private {
            // The server of a replication client is nobody else's, whatever it is in the middle of.
            self.move_server(id, ServerState::Between);
            return self.close_server(id, Reason::ReplicationClientClosed);
        }
        let drained = server.half_sent == 0 && !server.is_mid_reply;
        if drained && server.replies.is_clean() && server.own.is_nothing() {
            if server.may_have_more_coming() {
                return self.rescue(id);
            }
            if server.canceled_by.is_some() {
                self.recall_unsent_cancel(id);
            }
            self.move_server(id, ServerState::Between);
            return self.part(id);
        }
        self.servers[id].kept.forget();
        if self.may_rescue(id) {
            return self.rescue(id);
        }
        // Taken off its client first, which has gone of itself and is not to be told.
        self.move_server(id, ServerState::Between);
        self.close_server(id, Reason::ClientLeftUnanswered);
    }

    /// A client asks for parameters that its server does not take, and is ended. The server is as
    /// it was before, since its statements were one query, and another client may have it.
    pub(in crate::pool) fn part_for_parameters(&mut self, id: ServerId, client: ClientId) {
        let server = &mut self.servers[id];
        let (is_clean, detail) = (server.replies.is_clean(), server.own_error.take());
        self.move_member(client, Standing::Idle);
        self.move_server(id, ServerState::Between);
        self.close_client_with(client, Reason::ParametersRefused, detail.as_deref());
        match is_clean {
            true => self.part(id),
            false => self.close_server(id, Reason::ParametersRefused),
        }
    }

    /// What becomes of a server that nobody has; the first that applies: kept until a cancel
    /// request has passed, closed, tested, reset, or made available.
    pub(in crate::pool) fn part(&mut self, id: ServerId) {
        let now = self.mono();
        let server = &mut self.servers[id];
        server.requested = now;
        server.replies.shrink();
        if server.canceled_by.is_some() {
            return self.move_server(id, ServerState::BeingCanceled);
        }
        if let Some(reason) = server.closing.clone() {
            return self.close_server(id, reason.on_release());
        }
        if server.is_private {
            return self.close_server(id, Reason::ReplicationClientClosed);
        }
        if server.replies.is_doubtful() {
            self.move_server(id, ServerState::Tested(Test::Doubt));
            return self.run_own_query(id, "");
        }
        if self.must_reset(id) {
            let sql = self.reset_query();
            self.move_server(id, ServerState::Tested(Test::Reset));
            return self.run_own_query(id, &sql);
        }
        self.make_available(id);
    }

    /// A reset or check query has been answered, or what was abandoned has come to an end.
    pub(in crate::pool) fn test_ended(&mut self, id: ServerId, test: Test) {
        if let Test::Abandoned(rescue) = test {
            return self.abandoned_settled(id, rescue);
        }
        let server = &self.servers[id];
        if !server.replies.is_clean() || server.replies.is_doubtful() {
            return self.close_server(id, test.failure());
        }
        match test {
            Test::Doubt => return self.part(id),
            Test::Undo => return self.left_undone(id),
            Test::Reset => self.servers[id].is_worn = false,
            Test::Listen => {
                let pool = &mut self.pools[self.servers[id].pool];
                pool.listening.iter_mut().for_each(|all| all.is_told = true);
            }
            Test::Abandoned(_) | Test::Check | Test::Setup => {}
        }
        if self.servers[id].canceled_by.is_some() {
            return self.move_server(id, ServerState::BeingCanceled);
        }
        self.make_available(id);
    }

    /// Hands a clean server to the client that has waited longest, or puts it into its pool.
    pub(in crate::pool) fn make_available(&mut self, id: ServerId) {
        debug_assert!(self.servers[id].is_clean());
        self.servers[id].is_abandoned = false;
        if let Some(reason) = self.reason_to_retire(id) {
            return self.close_server(id, reason);
        }
        if self.servers[id].session.must_be_reset() {
            return self.undo_left(id);
        }
        let pool_id = self.servers[id].pool;
        if self.pools[pool_id].purpose == Purpose::Listening {
            self.untuned.push(pool_id);
            return self.move_server(id, ServerState::Idle);
        }
        let pool = &self.pools[pool_id];
        let held_back = self.is_held_back(pool.database);
        if !held_back && !pool.lookups.is_empty() {
            return self.run_lookup(id);
        }
        if !held_back && let Some(client) = pool.waiting.first() {
            self.give(id, client);
            return;
        }
        if self.hears(Level::Noise) {
            self.log_server(Level::Noise, id, format_args!("is free"));
        }
        let untested = self.settings().server_check_delay.is_zero()
            && !self.settings().server_check_query.is_empty();
        match untested {
            true => self.move_server(id, ServerState::Used),
            false => self.rest_server(id),
        }
        // Another pool may take its place (max_db_connections, max_user_connections).
        self.has_place |= !self.awaiting_place.is_empty();
    }

    /// Undoes what clients have left in the session of a server that is about to be handed on.
    fn undo_left(&mut self, id: ServerId) {
        let left = self.servers[id].session.left_behind();
        if left.has(Traces::LASTING) {
            return self.close_server(id, Reason::SessionStateKept);
        }
        let sql = self.servers[id].session.begin_undoing();
        self.move_server(id, ServerState::Tested(Test::Undo));
        self.run_own_query(id, sql);
    }

    /// The query that undoes it has ended: all of it has succeeded, or the server is closed. What
    /// connect_query has set is set again.
    fn left_undone(&mut self, id: ServerId) {
        let took = self.mono().micros_since(self.servers[id].since);
        let server = &mut self.servers[id];
        let pool = server.pool;
        if !server.session.ends_undone() {
            return self.close_server(id, Reason::SessionStateKept);
        }
        self.pools[pool].undone.resets += 1;
        self.pools[pool].undone.reset_us += took;
        match self.set_up_again(id) {
            true => self.move_server(id, ServerState::Tested(Test::Setup)),
            false => self.make_available(id),
        }
    }

    /// Runs connect_query once more, whose settings were undone too. Returns whether there is one.
    pub(in crate::pool) fn set_up_again(&mut self, id: ServerId) -> bool {
        let line = &self.databases[self.pools[self.servers[id].pool].database].line;
        let Some(sql) = line.connect_query.clone().filter(|sql| !sql.is_empty()) else {
            return false;
        };
        self.run_own_query(id, sql);
        true
    }

    /// Whether a server is reset before another client gets it: where its client has left it in the
    /// middle; else by server_reset_query, in session mode or with server_reset_query_always.
    pub(in crate::pool) fn must_reset(&self, id: ServerId) -> bool {
        if self.servers[id].is_abandoned {
            return true;
        }
        let settings = self.settings();
        !settings.server_reset_query.is_empty()
            && (settings.server_reset_query_always || self.servers[id].mode == PoolMode::Session)
    }

    pub(in crate::pool) fn reset_query(&self) -> String {
        match &*self.settings().server_reset_query {
            // No server_reset_query: a server that was left in the middle is reset all the same.
            "" => "DISCARD ALL".to_owned(),
            sql => sql.to_owned(),
        }
    }
}
