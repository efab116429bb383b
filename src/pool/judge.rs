//! What each message means, and where it goes. The judge sees the head and, where the table of
//! kinds asks for it, the first bytes; it never holds a payload.
//!
//! This is the path of every transaction: no memory is reserved here, no clock read, no line
//! formatted, unless something is wrong.

use super::client::{Refusal, State as ClientState};
use super::core::{Action, ClientId, Core, ServerId};
use super::reason::Reason;
use super::replies::{Reply, Status};
use super::server::{Own, State, Test};
use crate::config::PoolMode;
use crate::log::Level;
use crate::wire::build::{self, Severity};
use crate::wire::fields;
use crate::wire::head::Head;
use crate::wire::kind::{Back, Front};
use crate::wire::sqlstate;

/// What the relay does with a message. Bytes in [`Core::back`] go to the client in any case.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict<To> {
    /// As it is.
    Forward(To),
    /// [`Core::splice`] in place of the first `taken` bytes (the head counts), then the rest.
    Replace { to: To, taken: usize },
    /// Not at all.
    Drop,
    /// So many bytes of the body must be there first.
    Need(usize),
    /// Later: the client must wait for a server, and is not read until it is run again.
    Hold,
    /// It is for the console, whole.
    Console,
    /// The connection is being closed; what follows is of no interest.
    Closed,
}

/// Messages to a server go to that server, messages of a server to its client.
pub type ClientVerdict = Verdict<ServerId>;
pub type ServerVerdict = Verdict<ClientId>;

/// The longest command that the console takes, in bytes.
const LONGEST_COMMAND: usize = 64 * 1024;

impl Core {
    /// Judges a message of a client's. `seen` is what has come of its body.
    pub fn judge_client(&mut self, id: ClientId, head: Head, seen: &[u8]) -> ClientVerdict {
        let Some(kind) = Front::from_byte(head.kind) else {
            return self.unknown_from_client(id, head.kind);
        };
        let longest = kind.largest().min(self.config.settings.max_packet_size as usize);
        if head.body > longest {
            return self.refuse_header(id, head);
        }
        match self.clients[id].state {
            ClientState::Active { server } => self.judge_linked(id, server, kind, head, seen),
            ClientState::Idle => self.judge_unlinked(id, kind, head, seen),
            ClientState::Waiting | ClientState::AwaitWelcome => Verdict::Hold,
            ClientState::Login(_) => self.judge_answer(id, kind, head, seen),
            ClientState::Console(ref console) => {
                let is_busy = console.wait.is_some();
                self.judge_command(id, head, seen, is_busy)
            }
            ClientState::Cancel { .. } => Verdict::Drop,
            ClientState::Closing => Verdict::Closed,
        }
    }

    fn unknown_from_client(&mut self, id: ClientId, kind: u8) -> ClientVerdict {
        self.log_client(
            Level::Error,
            id,
            format_args!("unknown pkt from client: {kind}/{kind:#x}"),
        );
        self.close_client(id, Reason::UnknownClientPacket);
        Verdict::Closed
    }

    fn refuse_header(&mut self, id: ClientId, head: Head) -> ClientVerdict {
        let Head { kind, body } = head;
        let text = format!("{kind:02x}{:08x}", body as u64 + 4);
        self.close_client(id, Reason::BadHeader(text.into()));
        Verdict::Closed
    }

    /// The length of a head makes no sense.
    pub fn client_sent_bad_head(&mut self, id: ClientId, head: &[u8]) {
        let text: String = head.iter().map(|byte| format!("{byte:02x}")).collect();
        self.close_client(id, Reason::BadHeader(text.into()));
    }

    /// The length of a head makes no sense.
    pub fn server_sent_bad_head(&mut self, id: ServerId) {
        self.server_failed(id, Reason::BadPacketHeader);
    }

    /// A message during login can only be the answer to what was asked.
    fn judge_answer(
        &mut self,
        id: ClientId,
        kind: Front,
        head: Head,
        seen: &[u8],
    ) -> ClientVerdict {
        if kind != Front::Password {
            return self.unknown_from_client(id, head.kind);
        }
        if seen.len() < head.body {
            return Verdict::Need(head.body);
        }
        self.client_answered(id, seen);
        self.dropped_or_closed(id)
    }

    fn judge_command(
        &mut self,
        id: ClientId,
        head: Head,
        seen: &[u8],
        is_busy: bool,
    ) -> ClientVerdict {
        if is_busy {
            return Verdict::Hold;
        }
        if head.body > LONGEST_COMMAND {
            self.close_client(id, Reason::BadPacket);
            return Verdict::Closed;
        }
        if seen.len() < head.body { Verdict::Need(head.body) } else { Verdict::Console }
    }

    fn dropped_or_closed<To>(&self, id: ClientId) -> Verdict<To> {
        if self.clients[id].is_closing() { Verdict::Closed } else { Verdict::Drop }
    }

    /// A client without a server: what needs one gets it, or waits.
    fn judge_unlinked(
        &mut self,
        id: ClientId,
        kind: Front,
        head: Head,
        seen: &[u8],
    ) -> ClientVerdict {
        if self.clients[id].refusal != Refusal::None {
            return self.refuse(id, kind);
        }
        match kind {
            // Data of a COPY that has failed or ended, and a Flush behind nothing: PostgreSQL
            // passes over them too.
            Front::CopyData | Front::CopyDone | Front::CopyFail | Front::Flush => Verdict::Drop,
            Front::Terminate => self.goodbye(id),
            Front::Password => self.unknown_from_client(id, head.kind),
            Front::Query if self.config.settings.disable_pqexec => {
                self.log_client(Level::Error, id, format_args!("client used \"Query\" packet type"));
                self.close_client(id, Reason::QueryDisallowed);
                Verdict::Closed
            }
            Front::Bind
            | Front::Close
            | Front::Describe
            | Front::Execute
            | Front::FunctionCall
            | Front::Parse
            | Front::Query
            | Front::Sync => {
                if let Some(verdict) = self.answer_here(id, kind, head, seen) {
                    return verdict;
                }
                match self.acquire(id) {
                    Some(server) => self.judge_linked(id, server, kind, head, seen),
                    None if self.clients[id].is_closing() => Verdict::Closed,
                    None => Verdict::Hold,
                }
            }
        }
    }

    fn goodbye(&mut self, id: ClientId) -> ClientVerdict {
        self.close_client(id, Reason::ClientClose);
        Verdict::Closed
    }

    /// Answers in the server's place a client whose wait was cancelled: an error, and all up to
    /// the end of the query dropped.
    fn refuse(&mut self, id: ClientId, kind: Front) -> ClientVerdict {
        let refusal = self.clients[id].refusal;
        if kind == Front::Terminate {
            return self.goodbye(id);
        }
        if refusal == Refusal::Cancelled {
            self.clients[id].refusal = Refusal::ToSync;
            if kind != Front::Sync {
                self.push_cancelled();
            }
        }
        let ends = matches!(kind, Front::Sync)
            || (refusal == Refusal::Cancelled
                && matches!(kind, Front::Query | Front::FunctionCall));
        if ends {
            self.clients[id].refusal = Refusal::None;
            build::ready_for_query(&mut self.back, b'I');
        }
        Verdict::Drop
    }

    fn push_cancelled(&mut self) {
        build::report(
            &mut self.back,
            &build::Report {
                severity: Severity::Error,
                sqlstate: sqlstate::QUERY_CANCELED,
                message: "canceling statement due to user request",
                detail: Some("The client was waiting for a server connection."),
                hint: None,
            },
        );
    }

    #[inline]
    fn judge_linked(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
    ) -> ClientVerdict {
        let now = self.mono();
        let server = &mut self.servers[server_id];
        if server.own != Own::Nothing || server.replies.is_full() {
            return Verdict::Hold;
        }
        match kind {
            Front::Terminate => return self.goodbye(id),
            Front::Password => return self.unknown_from_client(id, head.kind),
            Front::Query if self.config.settings.disable_pqexec => {
                self.close_client(id, Reason::QueryDisallowed);
                return Verdict::Closed;
            }
            _ => {}
        }
        if server.replies.is_answered() && !matches!(kind, Front::CopyData | Front::Flush) {
            let client = &mut self.clients[id];
            client.query_start = now;
            client.requested = now;
            if server.replies.status() == Status::Idle {
                server.xact_start = now;
            }
        }
        if let Some(verdict) = self.rewrite(id, server_id, kind, head, seen) {
            return verdict;
        }
        self.servers[server_id].replies.sent(kind);
        Verdict::Forward(server_id)
    }

    /// Finds a server for a client that asks, or puts it into the queue.
    fn acquire(&mut self, id: ClientId) -> Option<ServerId> {
        let now = self.mono();
        let pool_id = self.clients[id].pool.expect("a logged-in client has a pool");
        if self.is_winding_down() {
            self.close_client(id, Reason::ServerShuttingDown);
            return None;
        }
        self.clients[id].requested = now;
        let pool = &self.pools[pool_id];
        if pool.waiting.is_empty() && !self.is_held_back(pool.database) {
            if let Some(server) = self.take_idle(pool_id) {
                return self.link(id, server).then_some(server);
            }
            if let Some(message) = self.failure_to_tell(pool_id) {
                self.launch(pool_id);
                self.close_client(id, Reason::CachedLoginError(message));
                return None;
            }
        }
        if self.is_winding_down() {
            self.close_client(id, Reason::ServerShuttingDown);
            return None;
        }
        self.move_client(id, ClientState::Waiting);
        self.launch(pool_id);
        None
    }

    /// An idle server that need not be tested first.
    fn take_idle(&mut self, pool_id: super::core::PoolId) -> Option<ServerId> {
        let settings = &self.config.settings;
        let (in_turn, delay) = (settings.server_round_robin, settings.server_check_delay);
        let is_tested = !settings.server_check_query.is_empty();
        loop {
            let idle = &self.pools[pool_id].idle;
            let id = if in_turn { idle.last() } else { idle.first() }?;
            let rested = self.mono().since(self.servers[id].requested);
            if is_tested && rested >= delay {
                self.move_server(id, State::Used);
                continue;
            }
            if let Some(reason) = self.reason_to_retire(id) {
                self.close_server(id, reason);
                continue;
            }
            return Some(id);
        }
    }

    /// Why clients need not wait: no server of the pool works, and none is tried at present.
    fn failure_to_tell(&self, pool: super::core::PoolId) -> Option<Box<str>> {
        let pool = &self.pools[pool];
        let failing = pool.failing.as_ref()?;
        let hopeless = pool.working_count() == 0
            && pool.logging_in.is_empty()
            && self.mono() < failing.retry_at;
        hopeless.then(|| failing.message.clone())
    }

    /// Judges a message of a server's. `seen` is what has come of its body.
    pub fn judge_server(&mut self, id: ServerId, head: Head, seen: &[u8]) -> ServerVerdict {
        let Some(kind) = Back::from_byte(head.kind) else {
            self.unknown_from_server(id, head.kind);
            return Verdict::Closed;
        };
        if head.body > kind.largest() {
            self.server_sent_bad_head(id);
            return Verdict::Closed;
        }
        let need = kind.must_see(head);
        if seen.len() < need {
            return Verdict::Need(need);
        }
        match self.servers[id].state {
            State::Active { client } => self.judge_reply(id, client, kind, seen),
            State::Tested(test) => self.judge_own_reply(id, test, kind, seen),
            State::Login(_) => {
                self.server_login_message(id, kind, seen);
                self.server_dropped_or_closed(id)
            }
            State::Idle | State::Used | State::BeingCanceled => self.judge_unasked(id, kind, seen),
            State::Cancel(_) => Verdict::Drop,
            State::Closing => Verdict::Closed,
        }
    }

    fn server_dropped_or_closed<To>(&self, id: ServerId) -> Verdict<To> {
        if self.servers[id].is_closing() { Verdict::Closed } else { Verdict::Drop }
    }

    #[inline]
    fn judge_reply(
        &mut self,
        id: ServerId,
        client: ClientId,
        kind: Back,
        seen: &[u8],
    ) -> ServerVerdict {
        let server = &mut self.servers[id];
        if let Own::Vars { .. } = server.own {
            return self.judge_vars_reply(id, client, kind, seen);
        }
        self.push_due_answers(id);
        let status = seen.first().copied().unwrap_or_default();
        let server = &mut self.servers[id];
        let Ok(reply) = server.replies.received(kind, status) else {
            self.unknown_from_server(id, kind as u8);
            return Verdict::Closed;
        };
        match reply {
            Reply::Forward => self.heed(id, client, kind, seen),
            Reply::Parsed(statement) => {
                self.server_prepared(id, statement);
                self.name_settled(client);
                Verdict::Forward(client)
            }
            Reply::Prepared(statement) => {
                self.server_prepared(id, statement);
                Verdict::Drop
            }
            Reply::Dropped(statement) => {
                self.server_dropped(statement);
                Verdict::Drop
            }
            Reply::Ready(status) => self.query_ended(id, client, status),
        }
    }

    /// Replies that belong to the client and tell the pooler something too.
    #[inline]
    fn heed(&mut self, id: ServerId, client: ClientId, kind: Back, seen: &[u8]) -> ServerVerdict {
        match kind {
            Back::ParameterStatus => {
                self.server_reported(id, seen);
                if self.servers[id].is_closing() {
                    return Verdict::Closed;
                }
                self.client_takes_over(id, client, seen);
            }
            Back::CommandComplete => self.heed_tag(id, client, seen),
            Back::ErrorResponse => {
                self.heed_error(id, seen);
                let skipped = self.servers[id].replies.take_skipped();
                self.requests_skipped(id, &skipped);
            }
            _ => {}
        }
        Verdict::Forward(client)
    }

    /// A parameter changed while the client has the server: it is the client's from now on.
    fn client_takes_over(&mut self, id: ServerId, client: ClientId, body: &[u8]) {
        let name = fields::Fields::new(body).str().unwrap_or_default();
        let Some(place) = self.vars.find(name) else { return };
        let server = &self.servers[id];
        if let Some(value) = self.vars.value(&server.vars, place).map(str::to_owned) {
            self.vars.set(&mut self.clients[client].vars, place, &value);
        }
    }

    /// A server that says goodbye is of no use any more.
    fn heed_error(&mut self, id: ServerId, body: &[u8]) {
        if !self.servers[id].replies.is_answered() && !body.starts_with(b"SFATAL") {
            return;
        }
        let report = fields::Report::parse(body);
        if matches!(report.severity.as_str(), "FATAL" | "PANIC") {
            self.servers[id].has_said_farewell = true;
        }
    }

    fn query_ended(&mut self, id: ServerId, client: ClientId, status: Status) -> ServerVerdict {
        let now = self.mono();
        let server = &mut self.servers[id];
        let pool = &mut self.pools[server.pool];
        let record = &mut self.clients[client];
        pool.stats.queries += 1;
        pool.stats.query_us += now.micros_since(record.query_start);
        record.query_start = now;
        if status == Status::Idle {
            pool.stats.xacts += 1;
            pool.stats.xact_us += now.micros_since(server.xact_start);
            server.xact_start = now;
            return Verdict::Forward(client);
        }
        let pool = server.pool;
        if self.pool_mode(pool) == PoolMode::Statement && !self.servers[id].is_private {
            self.close_server(id, Reason::TransactionBlock);
            return Verdict::Closed;
        }
        Verdict::Forward(client)
    }

    /// Replies to the SETs that give the server the client's parameters.
    fn judge_vars_reply(
        &mut self,
        id: ServerId,
        client: ClientId,
        kind: Back,
        seen: &[u8],
    ) -> ServerVerdict {
        let status = seen.first().copied().unwrap_or_default();
        if self.servers[id].replies.received(kind, status).is_err() {
            self.unknown_from_server(id, kind as u8);
            return Verdict::Closed;
        }
        match kind {
            Back::ParameterStatus => self.server_reported(id, seen),
            Back::ErrorResponse => {
                self.servers[id].own = Own::Vars { failed: true };
                let report = fields::Report::parse(seen);
                let text = format!(
                    "setting the client's parameters failed: {}: {}",
                    report.severity, report.message
                );
                self.log_server(Level::Error, id, format_args!("{text}"));
                self.servers[id].own_error = Some(report.message.into());
            }
            Back::ReadyForQuery => self.vars_settled(id, client),
            _ => {}
        }
        self.server_dropped_or_closed(id)
    }

    fn vars_settled(&mut self, id: ServerId, client: ClientId) {
        let own = std::mem::take(&mut self.servers[id].own);
        if own == (Own::Vars { failed: true }) || !self.servers[id].replies.is_clean() {
            let detail = self.servers[id].own_error.take();
            self.move_client(client, ClientState::Idle);
            self.forsake(id, Reason::ParametersRefused);
            return self.close_client_with(client, Reason::ParametersRefused, detail.as_deref());
        }
        let pool = self.servers[id].pool;
        let server = &mut self.servers[id];
        if let Some(welcome) = &self.pools[pool].welcome {
            self.vars.settle(&mut self.clients[client].vars, &mut server.vars, &welcome.vars);
        }
        self.act(Action::RunClient(client));
    }

    /// Ends a server whose client has been taken off it already.
    fn forsake(&mut self, id: ServerId, reason: Reason) {
        self.move_server(id, State::Tested(Test::Check));
        self.close_server(id, reason);
    }

    /// Replies to a reset or check query.
    fn judge_own_reply(
        &mut self,
        id: ServerId,
        test: Test,
        kind: Back,
        seen: &[u8],
    ) -> ServerVerdict {
        let status = seen.first().copied().unwrap_or_default();
        let Ok(reply) = self.servers[id].replies.received(kind, status) else {
            self.unknown_from_server(id, kind as u8);
            return Verdict::Closed;
        };
        match (reply, kind) {
            (_, Back::ParameterStatus) => self.server_reported(id, seen),
            (_, Back::CommandComplete) => self.heed_server_tag(id, seen),
            (_, Back::ErrorResponse) if !matches!(test, Test::Abandoned { .. }) => {
                let message = fields::Report::parse(seen).message;
                let text = format!("{}: {message}", test.failure().words());
                self.log_server(Level::Warning, id, format_args!("{text}"));
            }
            (Reply::Ready(_), _) => self.test_ended(id, test),
            _ => {}
        }
        self.server_dropped_or_closed(id)
    }

    /// What a server says that nobody has asked: its parameters, a notice, a notification, or a
    /// goodbye. Anything else means that it is not as clean as it seemed.
    fn judge_unasked(&mut self, id: ServerId, kind: Back, seen: &[u8]) -> ServerVerdict {
        match kind {
            Back::ParameterStatus => self.server_reported(id, seen),
            Back::NoticeResponse | Back::NotificationResponse => {}
            Back::ErrorResponse => {
                let message = fields::Report::parse(seen).message;
                let text = format!("got packet 'E' from server when not linked: {message}");
                self.log_server(Level::Warning, id, format_args!("{text}"));
                self.close_server(id, Reason::ServerCrashed);
            }
            _ => {
                let reason = match self.servers[id].state {
                    State::Idle => Reason::IdleDirty,
                    State::Used => Reason::UsedDirty,
                    _ => Reason::ServerDirty,
                };
                self.close_server(id, reason);
            }
        }
        self.server_dropped_or_closed(id)
    }

    /// Bytes have passed from a client or to one; counted per run, not per message.
    pub fn count_bytes(&mut self, client: ClientId, received: usize, sent: usize) {
        let Some(pool) = self.clients.get(client).and_then(|client| client.pool) else { return };
        let stats = &mut self.pools[pool].stats;
        stats.received += received as u64;
        stats.sent += sent as u64;
    }

    /// The server's client may be done with it. The shell calls this when both directions are
    /// drained: nothing of either side is held, and no message is half relayed.
    pub fn settle(&mut self, id: ServerId) {
        let Some(server) = self.servers.get(id) else { return };
        if let State::Tested(test @ Test::Abandoned { .. }) = server.state {
            return self.test_ended(id, test);
        }
        let State::Active { client } = server.state else { return };
        if !server.replies.is_clean() || server.own != Own::Nothing || server.is_private {
            return;
        }
        let must_go = server.closing.is_some() && self.settings().server_fast_close;
        if self.pool_mode(server.pool) == PoolMode::Session && !must_go {
            return;
        }
        if server.closing.is_some() && self.pool_mode(server.pool) == PoolMode::Session {
            let reason = server.closing.clone().unwrap_or(Reason::CloseNeeded);
            return self.close_server(id, reason);
        }
        if server.cancels > 0 {
            self.recall_unsent_cancels(id);
        }
        self.unlink(id, client);
    }

    /// Cheap to ask after each run: whether [`Core::settle`] could do something.
    #[inline]
    pub fn may_settle(&self, id: ServerId) -> bool {
        self.servers.get(id).is_some_and(|server| server.replies.is_clean())
    }
}

impl Test {
    /// The reason to close a server that does not come clean out of the test.
    pub fn failure(self) -> Reason {
        match self {
            Test::Abandoned { .. } => Reason::ServerAbandoned,
            Test::Check => Reason::TestFailed,
            Test::Reset => Reason::ResetFailed,
        }
    }
}
