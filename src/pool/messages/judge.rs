//! What each message of a client means, and where it goes. The judge sees the head and what has
//! come of the body. Where it needs more of the body, it says how much ([`Verdict::Need`]).
//!
//! This is the path of every transaction: no memory is reserved here, no clock read, no line
//! formatted, unless something is wrong.

use super::{listen, slow};
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::client::{Client, ClientState, QueryRefusal, Standing};
use crate::pool::records::server::OwnQuery;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Severity};
use crate::wire::head::{HEAD_BYTES, Head};
use crate::wire::kind::Front;
use crate::wire::sqlstate;

/// The longest command that the console takes, in bytes.
const LONGEST_COMMAND_BYTES: usize = 64 * 1024;

impl Core {
    /// Judges a message of a client's. `seen` is what has come of its body.
    pub fn judge_client(
        &mut self,
        id: ClientId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        let verdict = self.judge_message(id, head, seen, said);
        if let Verdict::Hold(hold) = verdict {
            self.clients[id].hold = Some(hold);
        }
        verdict
    }

    #[inline]
    fn judge_message(
        &mut self,
        id: ClientId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        let client = &self.clients[id];
        if let Some(console) = client.console() {
            let is_busy = console.wait.is_some();
            return self.judge_command(id, head, seen, is_busy);
        }
        let Some(kind) = Front::from_byte(head.kind) else {
            return self.unknown_from_client(id, head.kind);
        };
        if head.body > kind.largest().min(self.longest_body()) {
            return self.refuse_header(id, head);
        }
        if client.awaits_channels() {
            return Verdict::Hold(Hold::Channels);
        }
        match *client.state() {
            ClientState::Member(_, Standing::Active { server }) => {
                self.judge_linked(id, server, kind, head, seen, said)
            }
            ClientState::Member(member, Standing::Idle) => {
                self.judge_unlinked(id, member.pool, kind, head, seen, said)
            }
            ClientState::Member(_, Standing::Waiting) => {
                Verdict::Hold(Hold::Server { is_told: false })
            }
            ClientState::Member(_, Standing::AwaitWelcome) => Verdict::Hold(Hold::Welcome),
            ClientState::Login(ref login) if login.is_held() => match kind {
                Front::Terminate => self.goodbye(id),
                // Nothing has been asked yet.
                _ => Verdict::Hold(Hold::Login),
            },
            ClientState::Login(_) => self.judge_answer(id, kind, head, seen),
            ClientState::Cancel { .. } => Verdict::Drop,
            // The console was judged before.
            ClientState::Console(_) | ClientState::Closing(_) => Verdict::Closed,
        }
    }

    /// The longest body of a message that max_packet_size allows, which counts the head.
    #[inline]
    pub(super) fn longest_body(&self) -> usize {
        (self.config.settings.max_packet_size as usize).saturating_sub(HEAD_BYTES)
    }

    fn unknown_from_client(&mut self, id: ClientId, kind: u8) -> Verdict {
        self.log_client(
            Level::Error,
            id,
            format_args!("unknown pkt from client: {kind}/{kind:#x}"),
        );
        self.close_client(id, Reason::UnknownClientPacket);
        Verdict::Closed
    }

    fn refuse_header(&mut self, id: ClientId, head: Head) -> Verdict {
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

    /// A message during login can only be the answer to what was asked.
    fn judge_answer(&mut self, id: ClientId, kind: Front, head: Head, seen: &[u8]) -> Verdict {
        if kind != Front::Password {
            return self.unknown_from_client(id, head.kind);
        }
        let ClientState::Login(login) = self.clients[id].state() else { return Verdict::Closed };
        // Nothing longer is kept of those who have proved nothing.
        if login.longest_answer().is_some_and(|longest| head.body > longest) {
            return self.refuse_header(id, head);
        }
        if seen.len() < head.body {
            return Verdict::Need(head.body);
        }
        self.client_answered(id, seen);
        self.dropped_or_closed(id)
    }

    fn judge_command(&mut self, id: ClientId, head: Head, seen: &[u8], is_busy: bool) -> Verdict {
        // Whoever leaves in the middle of a PAUSE need not wait for its end.
        if head.kind == Front::Terminate as u8 {
            return self.goodbye(id);
        }
        if is_busy {
            return Verdict::Hold(Hold::Command);
        }
        if head.body > LONGEST_COMMAND_BYTES {
            let detail =
                format!("The console takes messages of at most {LONGEST_COMMAND_BYTES} bytes.");
            self.close_client_with(id, Reason::BadPacket, Some(&detail));
            return Verdict::Closed;
        }
        if seen.len() < head.body { Verdict::Need(head.body) } else { Verdict::Console }
    }

    fn dropped_or_closed(&self, id: ClientId) -> Verdict {
        if self.clients[id].is_closing() { Verdict::Closed } else { Verdict::Drop }
    }

    /// A message of a client that has no server: if it needs one, the client gets one, or waits.
    #[inline(always)]
    fn judge_unlinked(
        &mut self,
        id: ClientId,
        pool: PoolId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        if self.clients[id].refusal != QueryRefusal::None {
            return self.refuse(id, kind, seen, said);
        }
        match kind {
            // Data of a COPY that has failed or ended, and a Flush after nothing: PostgreSQL
            // passes over them too.
            Front::CopyData | Front::CopyDone | Front::CopyFail | Front::Flush => Verdict::Drop,
            Front::Terminate => self.goodbye(id),
            Front::Password => self.unknown_from_client(id, head.kind),
            Front::Query if self.config.settings.disable_pqexec => self.refuse_query(id),
            Front::Bind
            | Front::Close
            | Front::Describe
            | Front::Execute
            | Front::FunctionCall
            | Front::Parse
            | Front::Query
            | Front::Sync => {
                if let Some(verdict) = self.answer_here(id, kind, head, seen, said) {
                    return verdict;
                }
                match self.acquire(id, pool) {
                    Ok(server) => self.judge_linked(id, server, kind, head, seen, said),
                    Err(verdict) => verdict,
                }
            }
        }
    }

    #[cold]
    fn refuse_query(&mut self, id: ClientId) -> Verdict {
        self.log_client(Level::Error, id, format_args!("client used \"Query\" packet type"));
        self.close_client(id, Reason::QueryDisallowed);
        Verdict::Closed
    }

    fn goodbye(&mut self, id: ClientId) -> Verdict {
        self.close_client(id, Reason::ClientClose);
        Verdict::Closed
    }

    /// Answers in the server's place a client whose wait was cancelled: an error, and all up to
    /// the end of the query dropped.
    fn refuse(&mut self, id: ClientId, kind: Front, seen: &[u8], said: &mut Said<'_>) -> Verdict {
        let refusal = self.clients[id].refusal;
        if kind == Front::Terminate {
            return self.goodbye(id);
        }
        if refusal == QueryRefusal::Cancelled {
            self.clients[id].refusal = QueryRefusal::ToSync;
            if kind != Front::Sync {
                self.push_cancelled(said);
            }
            let is_unnamed = seen.first().is_none_or(|first| *first == 0);
            if kind == Front::Query || kind == Front::Parse && is_unnamed {
                // A server drops the unnamed statement before it breaks either off.
                self.forget_unnamed(id);
            }
        }
        let ends = matches!(kind, Front::Sync)
            || (refusal == QueryRefusal::Cancelled
                && matches!(kind, Front::Query | Front::FunctionCall));
        if ends {
            self.clients[id].refusal = QueryRefusal::None;
            listen::take(self, id, said.to_client.words());
            build::ready_for_query(said.to_client.words(), b'I');
        }
        Verdict::Drop
    }

    fn push_cancelled(&mut self, said: &mut Said<'_>) {
        build::report(
            said.to_client.words(),
            &build::ErrorReport {
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
        said: &mut Said<'_>,
    ) -> Verdict {
        if let Some(hold) = self.awaits_replies(server_id, said) {
            return Verdict::Hold(hold);
        }
        let now = self.mono();
        let server = &mut self.servers[server_id];
        server.is_untouched = false;
        if server.replies.is_refusing()
            && !matches!(kind, Front::Flush | Front::Password | Front::Sync | Front::Terminate)
        {
            // The server will pass over it.
            return Verdict::Drop;
        }
        if server.replies.hinges_on_copy(kind) {
            if server.replies.is_copy_overtaken() {
                // The error of the COPY comes without a Flush; the doubt is judged when it is
                // there.
                self.make_speak(server_id);
                return Verdict::Hold(Hold::Undecided);
            }
            self.resolve_doubt(server_id, true);
            return Verdict::Hold(Hold::Doubt);
        }
        if server.replies.hinges_on_outcome(kind) {
            self.make_speak(server_id);
            return Verdict::Hold(Hold::Answers);
        }
        if kind != Front::Terminate {
            server.last_sent = kind;
        }
        match kind {
            Front::Terminate => return self.goodbye(id),
            Front::Password => return self.unknown_from_client(id, head.kind),
            Front::Query if self.config.settings.disable_pqexec => return self.refuse_query(id),
            // The COPY is over: the server would ignore its late data.
            Front::CopyData | Front::CopyDone | Front::CopyFail if server.replies.is_answered() => {
                return Verdict::Drop;
            }
            Front::Bind
            | Front::Close
            | Front::CopyData
            | Front::CopyDone
            | Front::CopyFail
            | Front::Describe
            | Front::Execute
            | Front::Flush
            | Front::FunctionCall
            | Front::Parse
            | Front::Query
            | Front::Sync => {}
        }
        if server.replies.is_answered() && kind != Front::Flush {
            let client = &mut self.clients[id];
            client.query_start = now;
            client.requested = now;
            if server.replies.status() == TransactionStatus::Idle {
                server.xact_start = now;
            }
        }
        if self.config.settings.log_query_text {
            let client = self.clients[id].statements.as_deref();
            let server = &mut self.servers[server_id];
            slow::keep_text(server, client, &self.statements, kind, seen);
        }
        let session = &self.servers[server_id].session;
        if session.is_watched() && !session.leaves_no_trace(kind, head, seen) {
            return self.judge_watched(id, server_id, kind, head, seen, said);
        }
        self.pass_message(id, server_id, kind, head, seen, said)
    }

    /// Has a message rewritten or refused where that is needed, or passes it on. `refuse_portal`,
    /// `heed_unnamed` and `rewrite` have this one caller and are inlined.
    pub(super) fn pass_message(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        if kind == Front::Query {
            if let Some(verdict) = self.heed_query(id, server_id, head, seen, said) {
                return verdict;
            }
            self.servers[server_id].replies.push(Request::Query);
            return Verdict::Forward(server_id);
        }
        if matches!(kind, Front::Close | Front::Describe | Front::Execute)
            && let Some(verdict) = self.refuse_portal(server_id, kind, head, seen, said)
        {
            return verdict;
        }
        if let Some(verdict) = self.heed_unnamed(id, server_id, kind, head, seen, said) {
            return verdict;
        }
        if let Some(verdict) = self.rewrite(id, server_id, kind, head, seen, said) {
            return verdict;
        }
        self.servers[server_id].replies.sent(kind);
        Verdict::Forward(server_id)
    }

    /// Why no more may be sent to a server before it has spoken.
    #[inline]
    fn awaits_replies(&mut self, id: ServerId, said: &mut Said<'_>) -> Option<Hold> {
        let server = &self.servers[id];
        if server.replies.is_own_turn() && !server.is_mid_reply {
            // The next answer in order is the pooler's own.
            self.push_due_answers(id, &mut said.to_client);
        }
        let server = &self.servers[id];
        match server.own {
            OwnQuery::Nothing => {}
            OwnQuery::Doubt(_) => return Some(Hold::Doubt),
            OwnQuery::Channels { .. }
            | OwnQuery::Probe { .. }
            | OwnQuery::Recall { .. }
            | OwnQuery::Undo { .. } => {
                return Some(Hold::Probe);
            }
            OwnQuery::Repeat => return Some(Hold::Repeat),
            OwnQuery::Reset(_) | OwnQuery::Vars { .. } | OwnQuery::VarsRefused => {
                return Some(Hold::Parameters);
            }
        }
        if server.replies.is_barred() {
            // The server may keep the answer back until a Sync, and the client's is held, too.
            self.make_speak(id);
            return Some(Hold::Bar);
        }
        if !server.replies.is_full() {
            return None;
        }
        self.make_speak(id);
        Some(Hold::Replies)
    }

    /// Bytes have passed from a client or to one; counted per run, not per message.
    pub fn count_bytes(&mut self, client: ClientId, received: usize, sent: usize) {
        let Some(pool) = self.clients.get(client).and_then(Client::pool) else { return };
        let stats = &mut self.pools[pool].stats;
        stats.received += received as u64;
        stats.sent += sent as u64;
    }
}
