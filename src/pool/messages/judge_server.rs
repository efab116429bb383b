//! What each message of a server means, and whose it is: its client's, the pooler's own, or
//! nobody's.
//!
//! As in `judge`, this is the path of every transaction.

use super::doubt::{self, Answered};
use super::slow::EndedQuery;
use super::{listen, pin};
use crate::config::PoolMode;
use crate::log::Level;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::replies::{Reply, TransactionStatus};
use crate::pool::owed::verdict::ServerVerdict;
use crate::pool::records::server::{OwnQuery, ServerState, Test};
use crate::pool::telling::reason::Reason;
use crate::wire::fields;
use crate::wire::head::Head;
use crate::wire::kind::Back;
use crate::wire::sqlstate;

impl Core {
    /// Judges a message of a server's. `seen` is what has come of its body.
    #[inline(never)]
    pub fn judge_server(
        &mut self,
        id: ServerId,
        head: Head,
        seen: &[u8],
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        let Some(kind) = Back::from_byte(head.kind) else {
            self.unknown_from_server(id, head.kind);
            return ServerVerdict::Closed;
        };
        if head.body > kind.largest().min(self.longest_body()) {
            self.server_sent_bad_head(id);
            return ServerVerdict::Closed;
        }
        let need = kind.must_see(head);
        if seen.len() < need {
            return ServerVerdict::Need(need);
        }
        if kind.is_news() && !self.servers[id].bears(head) {
            self.close_server(id, Reason::ServerTalks);
            return ServerVerdict::Closed;
        }
        match *self.servers[id].state() {
            ServerState::Active { client } => {
                self.judge_reply(id, client, kind, head, seen, to_client)
            }
            ServerState::Tested(test) => self.judge_own_reply(id, test, kind, seen),
            ServerState::Lookup(_) => self.judge_lookup_reply(id, kind, head, seen),
            ServerState::Login(_) => {
                self.server_login_message(id, kind, seen);
                self.server_dropped_or_closed(id)
            }
            ServerState::BeingCanceled
            | ServerState::Between
            | ServerState::Idle
            | ServerState::Used => self.judge_unasked(id, kind, seen),
            ServerState::Closing => ServerVerdict::Closed,
        }
    }

    #[inline(always)]
    fn judge_reply(
        &mut self,
        id: ServerId,
        client: ClientId,
        kind: Back,
        head: Head,
        seen: &[u8],
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        let server = &mut self.servers[id];
        match server.own {
            OwnQuery::Nothing | OwnQuery::Repeat => {}
            OwnQuery::Doubt(_) => {
                return self.judge_doubt_reply(id, client, kind, head, seen, to_client);
            }
            OwnQuery::Channels { .. } | OwnQuery::Recall { .. }
                if kind == Back::DataRow && seen.len() < head.body =>
            {
                return listen::await_row(self, id, head);
            }
            OwnQuery::Channels { .. }
            | OwnQuery::Probe { .. }
            | OwnQuery::Recall { .. }
            | OwnQuery::Undo { .. } => {
                return pin::judge_own_query(self, id, client, kind, seen, to_client);
            }
            OwnQuery::Reset(step) => {
                return pin::judge_reset_reply(self, id, client, step, kind, seen);
            }
            OwnQuery::Vars { .. } | OwnQuery::VarsRefused => {
                return self.judge_vars_reply(id, client, kind, seen);
            }
        }
        let is_asked_or_news = !server.replies.is_clean() || kind.is_news();
        if !is_asked_or_news && self.let_go_of_done_client(id) {
            return self.judge_unasked(id, kind, seen);
        }
        self.push_due_answers(id, to_client);
        let Some(reply) = self.take_reply(id, kind, seen) else { return ServerVerdict::Closed };
        match reply {
            Reply::Forward => self.heed(id, client, kind, head, seen, to_client),
            Reply::Parsed(statement) => {
                self.server_prepared(id, statement);
                self.name_settled(client);
                ServerVerdict::Forward(client)
            }
            Reply::Prepared(statement) => {
                self.server_prepared(id, statement);
                ServerVerdict::Drop
            }
            Reply::Dropped(statement) => {
                self.server_dropped(statement);
                ServerVerdict::Drop
            }
            Reply::Swallowed => ServerVerdict::Drop,
            Reply::Ready(status) if matches!(self.servers[id].own, OwnQuery::Repeat) => {
                self.repeat(id, client, status)
            }
            Reply::Ready(status) => self.query_ended(id, client, status, to_client),
        }
    }

    /// Replies that belong to the client and tell the pooler something too.
    #[inline]
    fn heed(
        &mut self,
        id: ServerId,
        client: ClientId,
        kind: Back,
        head: Head,
        seen: &[u8],
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        match kind {
            Back::ParameterStatus => {
                self.server_reported(id, seen);
                if self.servers[id].is_closing() {
                    return ServerVerdict::Closed;
                }
                self.client_takes_over(id, client, seen);
            }
            Back::CommandComplete => {
                if self.servers[id].session.is_watched() {
                    self.servers[id].session.tagged(seen);
                }
                self.heed_tag(id, client, seen);
            }
            Back::ErrorResponse => return self.heed_failure(id, client, head, seen, to_client),
            Back::ParameterDescription => {
                self.note_types(id, seen);
                if self.hold_parameters_back(id, seen, to_client) {
                    return ServerVerdict::Drop;
                }
            }
            Back::NoData | Back::RowDescription => self.tell_parameters(id, to_client),
            Back::CopyBoth | Back::CopyIn => self.servers[id].session.copies_in(),
            Back::NotificationResponse => {
                return listen::judge_notification(self, id, client, seen, to_client);
            }
            Back::Authentication
            | Back::BackendKeyData
            | Back::BindComplete
            | Back::CloseComplete
            | Back::CopyData
            | Back::CopyDone
            | Back::CopyOut
            | Back::DataRow
            | Back::EmptyQuery
            | Back::FunctionCallResponse
            | Back::NegotiateProtocolVersion
            | Back::NoticeResponse
            | Back::ParseComplete
            | Back::PortalSuspended
            | Back::ReadyForQuery => {}
        }
        ServerVerdict::Forward(client)
    }

    /// An error: what it made the server skip is undone, and the client hears of it, if it must.
    fn heed_failure(
        &mut self,
        id: ServerId,
        client: ClientId,
        head: Head,
        seen: &[u8],
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        self.heed_error(id, seen);
        self.servers[id].session.failed();
        let skipped = self.servers[id].replies.take_skipped();
        self.requests_skipped(id, &skipped);
        self.unnamed_skipped(id, &skipped, seen);
        self.doubt_failed(id, &skipped, seen);
        if self.is_no_concern_of_the_client(id) {
            // If the client sends again, it is told of the server's end then.
            self.servers[id].has_said_farewell = false;
            return ServerVerdict::Drop;
        }
        if self.is_repeated(id, client, &skipped, seen) {
            return ServerVerdict::Drop;
        }
        self.tell_parameters(id, to_client);
        let is_whole = seen.len() == head.body;
        match self.tell_by_own_name(id, client, &skipped, seen, is_whole, to_client) {
            true => ServerVerdict::Drop,
            false => ServerVerdict::Forward(client),
        }
    }

    /// Whether a server says goodbye when its client is done with it, and about to let go of it.
    /// The client would take the goodbye for the end of its own connection, which stays.
    fn is_no_concern_of_the_client(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        let is_session = server.mode == PoolMode::Session;
        let is_kept = is_session || server.is_private || server.session.is_pinned();
        server.has_said_farewell && server.is_clean() && !is_kept
    }

    /// A parameter changed while the client has the server: it is the client's from now on.
    fn client_takes_over(&mut self, id: ServerId, client: ClientId, body: &[u8]) {
        let name = fields::Fields::new(body).str().unwrap_or_default();
        let Some(place) = self.vars.find(name) else { return };
        let server = &self.servers[id].vars;
        self.vars.take_over(&mut self.clients[client].vars, server, place);
        if self.vars.is_reading(place) {
            self.settings_changed(id);
        }
    }

    /// A server that says goodbye is of no use any more.
    pub(super) fn heed_error(&mut self, id: ServerId, body: &[u8]) {
        let is_expected = !self.servers[id].replies.is_answered();
        if is_expected && !body.starts_with(b"SFATAL") && !self.servers[id].owes_service {
            return;
        }
        let report = fields::ReportFields::parse(body);
        if matches!(report.severity.as_str(), "FATAL" | "PANIC") {
            let server = &mut self.servers[id];
            server.has_said_farewell = true;
            server.closing.get_or_insert(Reason::ServerCrashed);
        } else if self.servers[id].owes_service {
            // The server has answered. If it closes next because of what the client sent, that does
            // not count as a login in vain.
            self.note_served(id);
        }
    }

    /// A ReadyForQuery has been taken, which is the client's.
    fn query_ended(
        &mut self,
        id: ServerId,
        client: ClientId,
        status: TransactionStatus,
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        let server = &mut self.servers[id];
        let pool = &mut self.pools[server.pool];
        let latencies = self.latencies.of_mut(pool.latency);
        let record = &mut self.clients[client];
        let ended = EndedQuery::count(server, record, (pool, latencies), (status, self.now.mono));
        self.judge_end(id, client, ended, to_client)
    }

    /// Judges a ReadyForQuery whose query is counted.
    #[inline(never)]
    pub fn judge_end(
        &mut self,
        id: ServerId,
        client: ClientId,
        ended: EndedQuery,
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        let status = ended.status;
        if self.servers[id].owes_service {
            self.note_served(id);
        }
        if ended.is_slow(&self.config.settings) {
            let slow = ended.told(&mut self.servers[id], &self.config.settings);
            self.log_client_with(Level::Log, client, &slow.fields(), format_args!("{slow}"));
        }
        if status == TransactionStatus::Idle {
            self.transaction_settled(id);
        }
        let server = &mut self.servers[id];
        let is_last = server.replies.is_answered();
        if status == TransactionStatus::Idle {
            if server.session.is_watched() {
                server.session.note_ready(status, is_last);
                return pin::transaction_ended(self, id, client, to_client);
            }
            return ServerVerdict::Forward(client);
        }
        server.session.note_ready(status, is_last);
        if server.mode == PoolMode::Statement && !server.is_private {
            self.close_server(id, Reason::TransactionBlock);
            return ServerVerdict::Closed;
        }
        ServerVerdict::Forward(client)
    }

    fn judge_doubt_reply(
        &mut self,
        id: ServerId,
        client: ClientId,
        kind: Back,
        head: Head,
        seen: &[u8],
        to_client: &mut OutgoingBytes<'_>,
    ) -> ServerVerdict {
        let is_probed = self.servers[id].replies.is_probe_due();
        let Some(reply) = self.take_reply(id, kind, seen) else { return ServerVerdict::Closed };
        match doubt::tell(&mut self.servers[id], (reply, kind), is_probed, seen) {
            Answered::End => {
                self.wake(client);
                ServerVerdict::Drop
            }
            Answered::Ours => ServerVerdict::Drop,
            Answered::Ready(status) => self.query_ended(id, client, status, to_client),
            Answered::Theirs => self.heed(id, client, kind, head, seen, to_client),
        }
    }

    /// Replies to the SETs that give the server the client's parameters.
    fn judge_vars_reply(
        &mut self,
        id: ServerId,
        client: ClientId,
        kind: Back,
        seen: &[u8],
    ) -> ServerVerdict {
        if self.take_reply(id, kind, seen).is_none() {
            return ServerVerdict::Closed;
        }
        if kind == Back::ParameterStatus {
            self.server_reported(id, seen);
        } else if kind == Back::ErrorResponse {
            let report = fields::ReportFields::parse(seen);
            let own = &mut self.servers[id].own;
            if let OwnQuery::Vars { change, .. } = own
                && report.sqlstate == sqlstate::QUERY_CANCELED
            {
                *change = None;
                return self.server_dropped_or_closed(id);
            }
            *own = OwnQuery::VarsRefused;
            let text = format!(
                "setting the client's parameters failed: {}: {}",
                report.severity, report.message
            );
            self.log_server(Level::Error, id, format_args!("{text}"));
            self.servers[id].own_error = Some(report.message.into());
        } else if kind == Back::ReadyForQuery {
            self.vars_settled(id, client);
        }
        self.server_dropped_or_closed(id)
    }

    fn vars_settled(&mut self, id: ServerId, client: ClientId) {
        let server = &mut self.servers[id];
        let own = std::mem::take(&mut server.own);
        let OwnQuery::Vars { change, more } = own else {
            return self.part_for_parameters(id, client);
        };
        if !server.replies.is_clean() {
            return self.part_for_parameters(id, client);
        }
        server.replies.disown_unnamed();
        if let Some(change) = change {
            self.vars.step_done(&mut self.clients[client].vars, &mut server.vars, change);
        }
        if self.set_parameters(client, id, more) {
            self.set_up_ended(id, client);
        }
    }

    /// Replies to a reset or check query.
    fn judge_own_reply(
        &mut self,
        id: ServerId,
        test: Test,
        kind: Back,
        seen: &[u8],
    ) -> ServerVerdict {
        // The pooler's own answers that are due: the client they were for is gone.
        while self.servers[id].replies.answer_due().is_some() {}
        let Some(reply) = self.take_reply(id, kind, seen) else { return ServerVerdict::Closed };
        let skipped = self.servers[id].replies.take_skipped();
        self.requests_skipped(id, &skipped);
        match reply {
            Reply::Parsed(statement) | Reply::Prepared(statement) => {
                self.server_prepared(id, statement);
            }
            Reply::Dropped(statement) => self.server_dropped(statement),
            Reply::Forward | Reply::Swallowed => self.heed_own_reply(id, test, kind, seen),
            Reply::Ready(_) => {
                self.transaction_settled(id);
                match test {
                    // The relay tells when all that its client has sent has gone out.
                    Test::Abandoned(_) => self.act(Action::PartIfDrained(id)),
                    Test::Check
                    | Test::Doubt
                    | Test::Listen
                    | Test::Reset
                    | Test::Setup
                    | Test::Undo => self.test_ended(id, test),
                }
            }
        }
        self.server_dropped_or_closed(id)
    }

    pub(super) fn heed_own_reply(&mut self, id: ServerId, test: Test, kind: Back, seen: &[u8]) {
        let is_abandoned = matches!(test, Test::Abandoned(_));
        if kind == Back::CopyIn && is_abandoned {
            // It waits for data that nobody will send.
            self.end_requests(id);
        } else if matches!(kind, Back::CopyBoth | Back::CopyIn) {
            self.close_server(id, test.failure());
        } else if kind == Back::ParameterStatus {
            self.server_reported(id, seen);
        } else if kind == Back::CommandComplete {
            self.servers[id].session.tagged_of_own(seen);
            self.heed_server_tag(id, seen);
        } else if kind == Back::NotificationResponse && test == Test::Listen {
            listen::notified(self, id, seen);
        } else if kind == Back::ErrorResponse && test.is_heeded() {
            self.own_query_failed(id, test, seen);
        } else if kind == Back::EmptyQuery && test == Test::Doubt {
            self.servers[id].replies.end_doubt();
        }
    }

    /// A check query that fails tells something of the query. A server whose reset has failed is as
    /// its client has left it, and no other one gets it.
    fn own_query_failed(&mut self, id: ServerId, test: Test, body: &[u8]) {
        let message = fields::ReportFields::parse(body).message;
        let text = format!("{}: {message}", test.failure().words());
        self.log_server(Level::Warning, id, format_args!("{text}"));
        let failure = test.failure();
        if test == Test::Listen {
            listen::failed(self, id, message);
        }
        if matches!(failure, Reason::ResetFailed | Reason::SessionStateKept) {
            self.close_server(id, failure);
        }
    }

    /// What a server says that nobody has asked: its parameters, a notice, a notification, or a
    /// goodbye. Anything else means that it is not as clean as it seemed.
    fn judge_unasked(&mut self, id: ServerId, kind: Back, seen: &[u8]) -> ServerVerdict {
        match kind {
            Back::ParameterStatus => self.server_reported(id, seen),
            Back::NotificationResponse if listen::is_shared(self, id) => {
                listen::notified(self, id, seen);
            }
            Back::NoticeResponse | Back::NotificationResponse => {}
            Back::ErrorResponse => {
                let message = fields::ReportFields::parse(seen).message;
                let text = format!("got packet 'E' from server when not linked: {message}");
                self.log_server(Level::Warning, id, format_args!("{text}"));
                self.close_server(id, Reason::ServerCrashed);
            }
            _ => {
                let reason = match *self.servers[id].state() {
                    ServerState::Between | ServerState::Idle => Reason::IdleDirty,
                    ServerState::Used => Reason::UsedDirty,
                    ServerState::Active { .. }
                    | ServerState::BeingCanceled
                    | ServerState::Closing
                    | ServerState::Login(_)
                    | ServerState::Lookup(_)
                    | ServerState::Tested(_) => Reason::ServerDirty,
                };
                self.close_server(id, reason);
            }
        }
        self.server_dropped_or_closed(id)
    }
}
