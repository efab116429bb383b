//! State that clients have left in the session of a server, as far as the pooler knows it, and what
//! must be done about it.
//!
//! Each kind of such state is a trace. A trace is marked when its statement is sent, before anybody
//! knows whether the statement will succeed; or by a command tag, if the text did not show the
//! effect. A trace is cleared when a statement that removes it has succeeded and its transaction
//! was committed: a ROLLBACK restores what was there and clears nothing. The pooler's own queries
//! mark nothing.

use super::listening::Handing;
use super::unnamed_effects::{BindPlace, UnnamedEffects};
use crate::base::time::Moment;
use crate::config::SessionState;
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::statements::plain::is_plain;
use crate::pool::statements::scan::{self, Scan};
use crate::pool::statements::traces::{Effects, Traces};
use crate::wire::fields::sql_of;
use crate::wire::head::Head;
use crate::wire::kind::Front;

/// What is known of the session of one server.
#[derive(Debug, Default)]
pub struct ServerSession {
    /// The policy of the present or last client.
    pub(in crate::pool) policy: SessionState,
    /// Whether traces must be undone before another client gets the server.
    must_end_clean: bool,
    /// With `shared_listen`: at the end of each transaction this session listens to no channel.
    pub(in crate::pool) shares_listen: bool,
    /// What is known of the client's channels until then.
    pub(in crate::pool) handing: Option<Box<Handing>>,
    /// Whether a text was sent that may notify other sessions.
    pub(in crate::pool) notifies: bool,
    /// Traces that may be in the session.
    left: Traces,
    /// Traces of the present client among them. A weak policy allows further ones, of clients
    /// before.
    of_client: Traces,
    /// Traces that will be gone if everything under way succeeds and the transaction is committed.
    clears: Traces,
    /// Traces that the unnamed portal clears once it is executed, if it was sent before all else.
    pub(in crate::pool) awaits: Traces,
    /// The same of the unnamed statement, which is not bound yet.
    unbound: Traces,
    /// Traces of what is bound to portals with a name: each Execute of one may leave them again.
    portals: Traces,
    /// Traces of statements that stay prepared and are not tracked, by PREPARE or a named Parse,
    /// and of what cursors were declared for.
    prepared: Traces,
    unnamed: UnnamedEffects,
    /// Whether a SET under way leaves no trace.
    sets_harmlessly: bool,
    /// Whether a statement under way takes or releases advisory locks.
    pub(in crate::pool) touches_locks: bool,
    /// Whether clients have had the server whose texts were not scanned.
    is_unseen: bool,
    /// Since when the server is pinned to its client, if so.
    pub(in crate::pool) pinned: Option<Moment>,
    /// Statements of the undoing query that have not ended yet.
    undoing: u8,
    /// The number of the client that last left a trace.
    pub(in crate::pool) by: u64,
    /// The text of a message that is half sent.
    half_read: Option<Box<SessionText>>,
}

/// A text that comes in pieces.
#[derive(Debug)]
struct SessionText {
    scan: Scan,
    /// Whether the name of the statement, which precedes the text, has not ended yet.
    is_in_name: bool,
    has_ended: bool,
    of: TextOrigin,
}

/// The kind of message that carries a text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextOrigin {
    Query,
    /// A Parse of a named statement that is not tracked.
    Named,
    /// A Parse of the unnamed statement, and its segment: see [`UnnamedEffects`].
    Unnamed {
        segment: Option<u32>,
    },
}

impl ServerSession {
    /// A client gets the server.
    #[inline]
    pub(in crate::pool) fn begin(&mut self, policy: SessionState, shares_listen: bool) {
        if !self.is_watched() {
            // The last client's texts were not scanned, and the same client may still bind one of
            // them.
            self.unnamed.set(Effects { leaves: Traces::UNKNOWN, ..Effects::default() });
        }
        if policy >= SessionState::Reset {
            // Nothing can undo a LOAD by earlier clients of a weaker policy, and this client did
            // not cause it.
            self.left = self.left.without(Traces::LASTING);
        }
        self.is_unseen |= policy == SessionState::Allow;
        self.policy = policy;
        self.shares_listen = shares_listen;
        self.handing = None;
        self.of_client = Traces::NONE;
        // Nothing is under way. The client before may have gone before it was settled.
        (self.clears, self.awaits, self.unbound) = (Traces::NONE, Traces::NONE, Traces::NONE);
        self.portals = Traces::NONE;
        self.unnamed.answered();
        self.must_end_clean = policy >= SessionState::Reset;
        self.pinned = None;
    }

    /// Whether the session may have traces that did not have to be undone.
    pub(in crate::pool) fn is_stained(&self) -> bool {
        self.is_unseen || !self.left.is_empty()
    }

    /// The client keeps the server for a whole session. Its texts are not scanned, and the session
    /// must be reset after it.
    pub(in crate::pool) fn go_unseen(&mut self) {
        self.must_end_clean = true;
        self.mark(Traces::UNKNOWN);
    }

    /// Notes that the present client may have left these traces.
    fn mark(&mut self, traces: Traces) {
        self.left = self.left.and(traces);
        self.of_client = self.of_client.and(traces);
        self.clears = self.clears.without(traces);
    }

    /// Whether the texts of the client must be scanned.
    #[inline(always)]
    pub fn is_watched(&self) -> bool {
        self.policy != SessionState::Allow || self.shares_listen
    }

    /// Whether traces must be undone before another client gets the server.
    pub(in crate::pool) fn must_be_reset(&self) -> bool {
        !self.owed().is_empty()
    }

    /// The traces that must be undone before another client gets the server.
    fn owed(&self) -> Traces {
        match (self.must_end_clean, self.shares_listen) {
            (true, _) => self.left,
            (false, true) if self.left.has(Traces::LISTEN) => Traces::LISTEN,
            (false, _) => Traces::NONE,
        }
    }

    /// Whether to ask the session for its channels, at the end of a transaction.
    #[inline]
    pub(in crate::pool) fn must_tell_channels(&self) -> bool {
        self.shares_listen && (self.handing.is_some() || self.left.has(Traces::LISTEN))
    }

    /// The client's channels were given back to the session.
    pub(in crate::pool) fn left_by_recall(&mut self) {
        self.mark(Traces::LISTEN);
    }

    /// Whether the unnamed statement needs the client's channels in the session.
    pub(in crate::pool) fn unnamed_needs_channels(&self, segment: u32) -> bool {
        self.unnamed.bound_in(segment).needs_channels
    }

    /// Whether the server must be pinned to its client, once nothing is under way.
    #[inline]
    pub(in crate::pool) fn must_be_pinned(&self) -> bool {
        self.policy == SessionState::Pin && !self.is_pinned() && !self.left_for_sure().is_empty()
    }

    pub(in crate::pool) fn pin(&mut self, by: u64, now: Moment) {
        self.by = by;
        self.pinned = Some(now);
    }

    #[inline(always)]
    pub fn is_pinned(&self) -> bool {
        self.pinned.is_some()
    }

    pub fn pinned_since(&self) -> Option<Moment> {
        self.pinned
    }

    /// Whether nothing must be done about this client's traces, as after most transactions.
    #[inline]
    pub(in crate::pool) fn leaves_nothing(&self) -> bool {
        self.of_client.is_empty() && !self.shares_listen && !self.is_pinned() && !self.touches_locks
    }

    /// The present client's traces that call for a pin, a warning or an error.
    pub(in crate::pool) fn left_for_sure(&self) -> Traces {
        self.of_worth(self.of_client)
    }

    /// The traces among these that call for a pin, a warning or an error. Unknown ones do not, nor
    /// those that no client would miss, nor LISTEN if the channels are shared.
    pub(in crate::pool) fn of_worth(&self, traces: Traces) -> Traces {
        let shared = if self.shares_listen { Traces::LISTEN } else { Traces::NONE };
        traces.without(Traces::UNKNOWN.and(Traces::DIGITS).and(shared))
    }

    /// Traces that may be in the session.
    pub fn left_behind(&self) -> Traces {
        self.left
    }

    /// Notes the effects of a text that is sent to be run. With `is_first` nothing else is under
    /// way, so what the text clears is gone at the next ReadyForQuery.
    pub(in crate::pool) fn note(&mut self, effects: Effects, is_first: bool) {
        self.leave(effects);
        if is_first {
            self.clears = self.clears.and(effects.clears);
        }
    }

    /// Notes that something is run whose text is unknown.
    pub(in crate::pool) fn note_unknown(&mut self) {
        self.leave(Effects { leaves: Traces::UNKNOWN, ..Effects::default() });
    }

    fn leave(&mut self, effects: Effects) {
        let mut leaves = effects.leaves;
        if effects.executes {
            leaves = leaves.and(self.prepared);
        }
        if leaves.has(Traces::PREPARED) || effects.declares {
            let again = leaves.without(Traces::PREPARED.and(Traces::CURSOR));
            self.prepared = self.prepared.and(again);
        }
        self.mark(leaves);
        self.awaits = self.awaits.without(leaves);
        self.unbound = self.unbound.without(leaves);
        self.sets_harmlessly |= effects.sets_harmlessly;
        self.touches_locks |= effects.touches_locks;
        self.notifies |= effects.notifies;
    }

    /// Whether a message leaves no trace and needs none, as most messages do.
    #[inline]
    pub(in crate::pool) fn leaves_no_trace(&self, kind: Front, head: Head, seen: &[u8]) -> bool {
        if self.shares_listen {
            return false;
        }
        match kind {
            Front::Query => {
                let text = seen.strip_suffix(b"\0");
                seen.len() == head.body && text.is_some_and(is_plain)
            }
            Front::Bind | Front::Execute | Front::FunctionCall | Front::Parse => false,
            Front::Close
            | Front::CopyData
            | Front::CopyDone
            | Front::CopyFail
            | Front::Describe
            | Front::Flush
            | Front::Password
            | Front::Sync
            | Front::Terminate => true,
        }
    }

    /// Takes the Parse of an unnamed statement that leaves no trace, as most are. Returns false for
    /// any other message.
    #[inline]
    pub(in crate::pool) fn prepares_plainly(&mut self, body: &[u8], segment: Option<u32>) -> bool {
        let text = sql_of(Front::Parse, body);
        let is_one = body.first() == Some(&0) && text.is_some_and(is_plain);
        if is_one {
            self.unnamed.replace(Effects::default(), segment);
            self.unbound = Traces::NONE;
        }
        is_one
    }

    /// Takes a text that is complete or begins here: `body` is what has come of the message.
    #[inline]
    pub(in crate::pool) fn note_text(
        &mut self,
        of: TextOrigin,
        body: &[u8],
        is_whole: bool,
        is_first: bool,
    ) {
        if !is_whole {
            let is_in_name = of != TextOrigin::Query;
            let scan = Scan::default();
            self.half_read = Some(Box::new(SessionText { scan, is_in_name, has_ended: false, of }));
            return self.go_on(body, false);
        }
        let kind = if of == TextOrigin::Query { Front::Query } else { Front::Parse };
        let is_unnamed = matches!(of, TextOrigin::Unnamed { .. });
        debug_assert!(of == TextOrigin::Query || is_unnamed == (body.first() == Some(&0)));
        let effects = scan::read(sql_of(kind, body).unwrap_or_default());
        self.note_effects(of, effects, is_first);
    }

    fn note_effects(&mut self, of: TextOrigin, effects: Effects, is_first: bool) {
        match of {
            TextOrigin::Query => return self.note(effects, is_first),
            TextOrigin::Unnamed { segment } => {
                self.unnamed.replace(effects, segment);
                self.unbound = if is_first { effects.clears } else { Traces::NONE };
            }
            TextOrigin::Named => {
                self.mark(Traces::PREPARED);
                self.prepared = self.prepared.and(effects.leaves);
            }
        }
        self.leave(effects);
    }

    /// Whether a message is half sent whose text is still being scanned.
    #[inline(always)]
    pub(in crate::pool) fn is_half_read(&self) -> bool {
        self.half_read.is_some()
    }

    /// Scans the next piece of that message.
    #[cold]
    pub(in crate::pool) fn go_on(&mut self, mut piece: &[u8], is_last: bool) {
        let Some(text) = &mut self.half_read else { return };
        if text.is_in_name {
            let Some(end) = piece.iter().position(|byte| *byte == 0) else { return };
            text.is_in_name = false;
            piece = &piece[end + 1..];
        }
        if !text.has_ended {
            let end = piece.iter().position(|byte| *byte == 0);
            text.has_ended = end.is_some();
            text.scan.feed(&piece[..end.unwrap_or(piece.len())]);
        }
        if is_last && let Some(text) = self.half_read.take() {
            // What a text of this length clears is not worth the trouble.
            self.note_effects(text.of, text.scan.finish(), false);
        }
    }

    /// The client binds a statement that is not tracked, in this segment.
    #[inline]
    pub(in crate::pool) fn bound(&mut self, segment: u32, place: BindPlace) {
        let effects = self.unnamed.bound_in(segment);
        let leaves = effects.leaves.and(self.prepared);
        if !leaves.is_empty() || effects != Effects::default() {
            self.leave(Effects { leaves, ..effects });
        }
        let unbound = std::mem::take(&mut self.unbound);
        let clears = if place.is_first { effects.clears } else { unbound };
        self.binds(leaves, if place.is_of_unnamed { clears } else { Traces::NONE }, place);
    }

    /// The client binds a tracked statement.
    #[inline]
    pub(in crate::pool) fn bound_tracked(&mut self, effects: Effects, place: BindPlace) {
        if effects != Effects::default() {
            self.leave(effects);
        }
        let clears = if place.is_first { effects.clears } else { Traces::NONE };
        self.binds(effects.leaves, clears, place);
    }

    #[inline(always)]
    fn binds(&mut self, leaves: Traces, clears: Traces, place: BindPlace) {
        self.awaits = if place.is_unnamed { clears } else { Traces::NONE };
        if !place.is_unnamed {
            self.portals = self.portals.and(leaves);
        }
    }

    /// The client executes a portal.
    #[inline]
    pub(in crate::pool) fn executed(&mut self, is_unnamed: bool) {
        if is_unnamed {
            self.clears = self.clears.and(std::mem::take(&mut self.awaits));
        } else if !self.portals.is_empty() {
            self.leave(Effects { leaves: self.portals, ..Effects::default() });
        }
    }

    /// The unnamed statement now belongs to another client, or is gone.
    pub(in crate::pool) fn disown_unnamed(&mut self) {
        self.unnamed.set(Effects::default());
    }

    /// The unnamed statement that the client had kept was prepared again.
    pub(in crate::pool) fn note_unnamed(&mut self, effects: Effects, segment: Option<u32>) {
        self.note_effects(TextOrigin::Unnamed { segment }, effects, false);
    }

    /// The server asks for the data of a COPY. What comes behind that, it may answer or pass over.
    pub(in crate::pool) fn copies_in(&mut self) {
        self.unnamed.doubt();
    }

    /// An error undoes what was under way.
    #[inline]
    pub(in crate::pool) fn failed(&mut self) {
        (self.clears, self.awaits, self.unbound) = (Traces::NONE, Traces::NONE, Traces::NONE);
        self.unnamed.failed();
    }

    /// A statement of the client has ended. The command tag shows effects that the text did not.
    #[inline]
    pub(in crate::pool) fn tagged(&mut self, tag: &[u8]) {
        let told = match tag {
            b"ROLLBACK\0" => return self.failed(),
            b"LISTEN\0" => Traces::LISTEN,
            b"LOAD\0" => Traces::LASTING,
            b"PREPARE\0" => Traces::PREPARED,
            b"SET\0" if !self.sets_harmlessly && !self.of_client.has(SET_BY_TAG) => Traces::SET,
            _ => return,
        };
        if !self.of_client.has(told) {
            self.mark(told);
        }
    }

    /// ReadyForQuery has come. With `is_last` nothing else is under way.
    pub(in crate::pool) fn note_ready(&mut self, status: TransactionStatus, is_last: bool) {
        (self.awaits, self.unbound) = (Traces::NONE, Traces::NONE);
        if is_last {
            self.unnamed.answered();
        }
        match status {
            TransactionStatus::InTransaction => {}
            TransactionStatus::Failed => self.clears = Traces::NONE,
            TransactionStatus::Idle => {
                let clears = std::mem::take(&mut self.clears);
                self.cleared(clears);
                if is_last {
                    (self.sets_harmlessly, self.portals) = (false, Traces::NONE);
                }
            }
        }
    }

    /// Clears these traces.
    pub(in crate::pool) fn cleared(&mut self, traces: Traces) {
        self.left = self.left.without(traces);
        self.of_client = self.of_client.without(traces);
        if traces.has(Traces::PREPARED) {
            self.prepared = Traces::NONE;
        }
    }

    /// The query that undoes the traces. Its command tags must follow.
    pub(in crate::pool) fn begin_undoing(&mut self) -> String {
        if self.is_unseen && self.must_end_clean {
            self.left = self.left.and(Traces::UNKNOWN);
        }
        let (sql, count) = self.owed().undoing_query();
        self.undoing = count;
        sql
    }

    /// The query that undoes the traces has ended. Returns whether all its statements succeeded.
    pub(in crate::pool) fn ends_undone(&mut self) -> bool {
        let is_complete = self.undoing == 0;
        if is_complete {
            self.is_unseen &= !self.must_end_clean;
            self.cleared(if self.must_end_clean { Traces::DISCARDED } else { Traces::LISTEN });
        }
        is_complete
    }

    /// A statement of the pooler's own query has ended with this command tag.
    pub(in crate::pool) fn tagged_of_own(&mut self, tag: &[u8]) {
        // Too many tags are as bad as too few.
        self.undoing = self.undoing.checked_sub(1).unwrap_or(u8::MAX);
        if tag == b"DISCARD ALL\0" {
            self.cleared(Traces::DISCARDED);
        }
    }
}

/// A SET that leaves any of these traces has the command tag SET.
const SET_BY_TAG: Traces = Traces::SET.and(Traces::ROLE).and(Traces::AUTHORIZATION);

#[cfg(test)]
mod tests {
    use super::*;

    /// A Bind to the unnamed portal, before all else.
    const FIRST: BindPlace = BindPlace { is_first: true, is_unnamed: true, is_of_unnamed: true };

    fn watched() -> ServerSession {
        ServerSession {
            policy: SessionState::Reset,
            must_end_clean: true,
            ..ServerSession::default()
        }
    }

    fn send(session: &mut ServerSession, sql: &str) {
        session.note_text(TextOrigin::Query, format!("{sql}\0").as_bytes(), true, true);
    }

    #[test]
    fn a_statement_that_clears_counts_when_it_is_committed() {
        let mut session = watched();
        send(&mut session, "SET x = 1");
        session.note_ready(TransactionStatus::Idle, true);
        send(&mut session, "BEGIN");
        session.note_ready(TransactionStatus::InTransaction, true);
        send(&mut session, "RESET ALL");
        session.note_ready(TransactionStatus::InTransaction, true);
        assert_eq!(session.left, Traces::SET);
        let mut other = watched();
        other.left = session.left;
        other.clears = session.clears;
        send(&mut session, "COMMIT");
        session.tagged(b"COMMIT\0");
        session.note_ready(TransactionStatus::Idle, true);
        assert!(session.left.is_empty());
        send(&mut other, "ROLLBACK");
        other.tagged(b"ROLLBACK\0");
        other.note_ready(TransactionStatus::Idle, true);
        assert_eq!(other.left, Traces::SET);
    }

    #[test]
    fn an_error_clears_nothing() {
        let mut session = watched();
        send(&mut session, "LISTEN a; UNLISTEN *; SELECT 1/0");
        session.failed();
        session.note_ready(TransactionStatus::Idle, true);
        assert_eq!(session.left, Traces::LISTEN);
    }

    #[test]
    fn a_client_is_not_blamed_for_a_parse_under_way_when_the_one_before_went() {
        let mut session = watched();
        let unnamed = |segment| TextOrigin::Unnamed { segment: Some(segment) };
        session.note_text(unnamed(1), b"\0SET x = 1\0\0\0", true, true);
        session.bound(1, FIRST);
        session.note_ready(TransactionStatus::Idle, false);
        session.note_text(unnamed(2), b"\0SELECT 1\0\0\0", true, false);
        // The client goes, the server is reset, and another client gets it.
        session.tagged_of_own(b"DISCARD ALL\0");
        session.disown_unnamed();
        session.begin(SessionState::Error, false);
        session.note_text(unnamed(3), b"\0SELECT 2\0\0\0", true, true);
        session.bound(4, FIRST);
        assert_eq!(session.left_for_sure(), Traces::NONE);
    }

    #[test]
    fn what_is_set_behind_a_reset_that_is_under_way_stays() {
        let mut session = watched();
        send(&mut session, "RESET ALL");
        session.note_text(TextOrigin::Query, b"SET x = 1\0", true, false);
        session.note_ready(TransactionStatus::Idle, true);
        assert_eq!(session.left, Traces::SET);
    }

    #[test]
    fn a_tag_tells_what_a_text_has_hidden() {
        for (sql, tag, left) in [
            ("hidden", &b"SET\0"[..], Traces::SET),
            ("SET LOCAL x = 1", b"SET\0", Traces::NONE),
            ("SET SESSION AUTHORIZATION DEFAULT", b"SET\0", Traces::NONE),
            ("SET ROLE a", b"SET\0", Traces::ROLE),
            ("hidden", b"LISTEN\0", Traces::LISTEN),
            ("hidden", b"PREPARE\0", Traces::PREPARED),
            ("hidden", b"SELECT 1\0", Traces::NONE),
        ] {
            let mut session = watched();
            send(&mut session, sql);
            session.tagged(tag);
            session.note_ready(TransactionStatus::Idle, true);
            assert_eq!(session.left, left, "{sql}");
        }
    }

    #[test]
    fn what_a_prepared_statement_leaves_it_leaves_each_time() {
        let mut session = watched();
        send(&mut session, "PREPARE a AS SELECT set_config('x', 'y', false)");
        session.note_ready(TransactionStatus::Idle, true);
        send(&mut session, "RESET ALL");
        session.note_ready(TransactionStatus::Idle, true);
        assert_eq!(session.left, Traces::PREPARED);
        send(&mut session, "EXECUTE a");
        assert_eq!(session.left, Traces::PREPARED.and(Traces::SET));
        let mut session = watched();
        session.note_text(
            TextOrigin::Unnamed { segment: Some(1) },
            b"\0SELECT set_config('x', 'y', false)\0\0\0",
            true,
            true,
        );
        session.cleared(Traces::ALL);
        session.bound(2, FIRST);
        assert_eq!(session.left, Traces::SET);
    }

    #[test]
    fn what_is_prepared_clears_when_it_is_executed() {
        let mut session = watched();
        session.left = Traces::SET;
        let unnamed = TextOrigin::Unnamed { segment: Some(1) };
        session.note_text(unnamed, b"\0RESET ALL\0\0\0", true, true);
        session.note_ready(TransactionStatus::Idle, true);
        session.bound(2, FIRST);
        assert_eq!(session.left, Traces::SET);
        let mut other = watched();
        (other.left, other.awaits) = (session.left, session.awaits);
        session.executed(true);
        session.note_ready(TransactionStatus::Idle, true);
        assert!(session.left.is_empty());
        other.executed(false);
        other.note_ready(TransactionStatus::Idle, true);
        assert_eq!(other.left, Traces::SET, "another portal was executed");
        for is_first in [true, false] {
            let mut other = watched();
            other.left = Traces::SET;
            other.note_text(unnamed, b"\0RESET ALL\0\0\0", true, true);
            other.bound(1, BindPlace { is_first, is_of_unnamed: false, ..FIRST });
            other.executed(true);
            other.note_ready(TransactionStatus::Idle, true);
            assert_eq!(other.left, Traces::SET, "another statement was executed");
        }
    }

    #[test]
    fn a_portal_with_a_name_may_leave_more_whenever_it_is_executed() {
        let mut session = watched();
        let sets = scan::read(b"SELECT set_config('x', 'y', false)");
        session.bound_tracked(sets, BindPlace { is_unnamed: false, ..FIRST });
        session.executed(false);
        session.note_ready(TransactionStatus::InTransaction, true);
        send(&mut session, "RESET ALL");
        session.note_ready(TransactionStatus::InTransaction, true);
        session.executed(false);
        session.note_ready(TransactionStatus::Idle, true);
        assert_eq!(session.left, Traces::SET);
    }

    #[test]
    fn what_another_text_has_replaced_before_it_was_bound_clears_nothing() {
        for second in ["SELECT 1", "VACUUM"] {
            let mut session = watched();
            session.left = Traces::SET;
            for (sql, is_first) in [("RESET ALL", true), (second, false)] {
                let body = format!("\0{sql}\0\0\0");
                if !session.prepares_plainly(body.as_bytes(), Some(1)) {
                    let unnamed = TextOrigin::Unnamed { segment: Some(1) };
                    session.note_text(unnamed, body.as_bytes(), true, is_first);
                }
            }
            session.bound(1, BindPlace { is_first: false, ..FIRST });
            session.executed(true);
            session.note_ready(TransactionStatus::Idle, true);
            assert_eq!(session.left, Traces::SET, "{second}");
        }
    }

    #[test]
    fn a_text_in_pieces_is_read_to_its_end() {
        let body = b"name\0SELECT 1; LISTEN a\0\0\0; LOAD 'b'";
        for cut in 0..body.len() {
            let mut session = watched();
            session.note_text(TextOrigin::Named, &body[..cut], false, true);
            session.go_on(&body[cut..], true);
            assert_eq!(session.left, Traces::LISTEN.and(Traces::PREPARED), "{cut}");
            assert!(!session.is_half_read());
        }
    }
}
