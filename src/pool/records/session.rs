//! What clients have left in the session of a server, as far as it is known, and what becomes
//! of it.
//!
//! A mark is set when the statement is sent, before anybody knows whether it will succeed, and by
//! the tag of a statement that was not seen for what it is. It goes when a statement that clears it
//! has succeeded and its transaction with it: a ROLLBACK brings back what was there, and clears
//! nothing. Queries of the pooler's own set no mark.

use super::listening::Handing;
use crate::base::time::Moment;
use crate::config::SessionState;
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::statements::plain::is_plain;
use crate::pool::statements::scan::{self, Scan};
use crate::pool::statements::traces::{Effects, Traces};
use crate::wire::fields::sql_of;
use crate::wire::head::Head;
use crate::wire::kind::Front;

/// The session of one server.
#[derive(Debug, Default)]
pub struct ServerSession {
    /// That of the client that has the server, or had it last.
    pub(in crate::pool) policy: SessionState,
    /// What is left must be undone before another client gets the server.
    must_end_clean: bool,
    /// LISTEN is for the shared connection: at the end of its client's transactions there is none.
    pub(in crate::pool) shares_listen: bool,
    /// What is known of its channels until then.
    pub(in crate::pool) handing: Option<Box<Handing>>,
    /// A text was sent that may notify others.
    pub(in crate::pool) notifies: bool,
    /// What may be there.
    left: Traces,
    /// What of it the client may have left that has the server. With a weak policy there may be
    /// more, of clients before it.
    of_client: Traces,
    /// What is gone when all that is under way succeeds, and the transaction is committed.
    clears: Traces,
    /// What the statement clears, when it is executed, that was prepared or bound before all else.
    awaits: Traces,
    /// What statements leave when they are run that stay prepared: by PREPARE, or under a name that
    /// is not tracked.
    prepared: Traces,
    /// What the unnamed statement does.
    unnamed: Effects,
    /// What those leave that a Parse under way was to replace: after an error it is passed over.
    replaced: Traces,
    /// A SET under way leaves nothing.
    sets_harmlessly: bool,
    /// A statement under way takes or gives back advisory locks.
    pub(in crate::pool) touches_locks: bool,
    /// Clients have had the server that nobody has watched.
    is_unseen: bool,
    /// The server stays with its client, since then.
    pub(in crate::pool) pinned: Option<Moment>,
    /// Statements of the query that undoes it whose end has not come.
    undoing: u8,
    /// The number of the client that has left something last.
    pub(in crate::pool) by: u64,
    /// The text of a message that is half sent.
    half_read: Option<Box<SessionText>>,
}

/// A text that comes in pieces.
#[derive(Debug)]
struct SessionText {
    scan: Scan,
    /// What comes before the text: the name of a statement.
    is_in_name: bool,
    has_ended: bool,
    of: TextOrigin,
}

/// Which message a text came in.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TextOrigin {
    Query,
    /// A Parse of a statement with a name that is not tracked.
    Named,
    Unnamed,
}

impl ServerSession {
    /// A client gets the server.
    #[inline]
    pub(in crate::pool) fn begin(&mut self, policy: SessionState, shares_listen: bool) {
        if !self.is_watched() {
            // Nobody has looked at what was prepared, and may be bound by the same client yet.
            self.unnamed = Effects { leaves: Traces::UNKNOWN, ..Effects::default() };
        }
        if policy >= SessionState::Reset {
            // What clients of a weaker policy have LOADed nothing takes away, and it is not theirs.
            self.left = self.left.without(Traces::LASTING);
        }
        self.is_unseen |= policy == SessionState::Allow;
        self.policy = policy;
        self.shares_listen = shares_listen;
        self.handing = None;
        self.of_client = Traces::NONE;
        self.must_end_clean = policy >= SessionState::Reset;
        self.pinned = None;
    }

    /// Whether clients may have left something that nobody had to undo.
    pub(in crate::pool) fn is_stained(&self) -> bool {
        self.is_unseen || !self.left.is_empty()
    }

    /// The client keeps the server for its session, which nobody watches and must end clean.
    pub(in crate::pool) fn go_unseen(&mut self) {
        self.must_end_clean = true;
        self.mark(Traces::UNKNOWN);
    }

    /// The client that has the server may have left these.
    fn mark(&mut self, traces: Traces) {
        self.left = self.left.and(traces);
        self.of_client = self.of_client.and(traces);
        self.clears = self.clears.without(traces);
    }

    /// Whether anybody wants to know what its client leaves.
    #[inline(always)]
    pub fn is_watched(&self) -> bool {
        self.policy != SessionState::Allow || self.shares_listen
    }

    /// Whether something must be undone before another client gets the server.
    pub(in crate::pool) fn must_be_reset(&self) -> bool {
        !self.owed().is_empty()
    }

    /// What must be undone before another client gets the server.
    fn owed(&self) -> Traces {
        match (self.must_end_clean, self.shares_listen) {
            (true, _) => self.left,
            (false, true) if self.left.has(Traces::LISTEN) => Traces::LISTEN,
            (false, _) => Traces::NONE,
        }
    }

    /// Whether the session, which is at the end of a transaction, must be asked for its channels.
    #[inline]
    pub(in crate::pool) fn must_tell_channels(&self) -> bool {
        self.shares_listen && (self.handing.is_some() || self.left.has(Traces::LISTEN))
    }

    /// The client's channels are given back to the session.
    pub(in crate::pool) fn left_by_recall(&mut self) {
        self.mark(Traces::LISTEN);
    }

    /// Whether the unnamed statement must find the client's channels in the session.
    pub(in crate::pool) fn unnamed_needs_channels(&self) -> bool {
        self.unnamed.needs_channels
    }

    /// Whether its client keeps the server, once nothing more is under way.
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

    /// Whether there is nothing to be done of what its client leaves, as after most transactions.
    #[inline]
    pub(in crate::pool) fn leaves_nothing(&self) -> bool {
        self.of_client.is_empty() && !self.shares_listen && !self.is_pinned() && !self.touches_locks
    }

    /// What its client has left that is worth a pin, a warning or an error.
    pub(in crate::pool) fn left_for_sure(&self) -> Traces {
        self.of_worth(self.of_client)
    }

    /// What of these is worth that: not where nobody knows what it is or would miss it, nor
    /// channels that are taken over.
    pub(in crate::pool) fn of_worth(&self, traces: Traces) -> Traces {
        let shared = if self.shares_listen { Traces::LISTEN } else { Traces::NONE };
        traces.without(Traces::UNKNOWN.and(Traces::DIGITS).and(shared))
    }

    /// What may be there.
    pub fn left_behind(&self) -> Traces {
        self.left
    }

    /// A text is sent to be run. `is_first` tells that nothing else is under way, so that what it
    /// clears is gone with the next ReadyForQuery.
    pub(in crate::pool) fn note(&mut self, effects: Effects, is_first: bool) {
        self.leave(effects);
        if is_first {
            self.clears = self.clears.and(effects.clears);
        }
    }

    /// Something is sent to be run of which no words are seen.
    pub(in crate::pool) fn note_unknown(&mut self) {
        self.leave(Effects { leaves: Traces::UNKNOWN, ..Effects::default() });
    }

    fn leave(&mut self, effects: Effects) {
        let mut leaves = effects.leaves;
        if effects.executes {
            leaves = leaves.and(self.prepared);
        }
        if leaves.has(Traces::PREPARED) {
            self.prepared = self.prepared.and(leaves.without(Traces::PREPARED));
        }
        self.mark(leaves);
        self.awaits = self.awaits.without(leaves);
        self.sets_harmlessly |= effects.sets_harmlessly;
        self.touches_locks |= effects.touches_locks;
        self.notifies |= effects.notifies;
    }

    /// Whether a message leaves nothing in the session and waits for nothing of it, as most do.
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

    /// The Parse of an unnamed statement that leaves nothing, as most do. Returns whether it is
    /// one.
    #[inline]
    pub(in crate::pool) fn prepares_plainly(&mut self, body: &[u8]) -> bool {
        let text = sql_of(Front::Parse, body);
        let is_one = body.first() == Some(&0) && text.is_some_and(is_plain);
        if is_one {
            self.replace_unnamed(Effects::default());
        }
        is_one
    }

    fn replace_unnamed(&mut self, effects: Effects) {
        self.replaced = self.replaced.and(self.unnamed.leaves);
        self.unnamed = effects;
    }

    /// A text that is whole, or begins here: `body` is what has come of the message.
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
        let is_unnamed = of == TextOrigin::Unnamed;
        debug_assert!(of == TextOrigin::Query || is_unnamed == (body.first() == Some(&0)));
        let effects = scan::read(sql_of(kind, body).unwrap_or_default());
        self.note_effects(of, effects, is_first);
    }

    fn note_effects(&mut self, of: TextOrigin, effects: Effects, is_first: bool) {
        match of {
            TextOrigin::Query => return self.note(effects, is_first),
            TextOrigin::Unnamed => self.replace_unnamed(effects),
            TextOrigin::Named => {
                self.mark(Traces::PREPARED);
                self.prepared = self.prepared.and(effects.leaves);
            }
        }
        self.leave(effects);
        if is_first {
            self.awaits = effects.clears;
        }
    }

    /// Whether a message whose text is not read to its end is half sent.
    #[inline(always)]
    pub(in crate::pool) fn is_half_read(&self) -> bool {
        self.half_read.is_some()
    }

    /// More of that message.
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
            // What it clears is not worth to wait for.
            self.note_effects(text.of, text.scan.finish(), false);
        }
    }

    /// A statement is bound that the pooler does not track.
    #[inline]
    pub(in crate::pool) fn bound(&mut self, is_first: bool) {
        let leaves = self.unnamed.leaves.and(self.prepared).and(self.replaced);
        self.sets_harmlessly |= self.unnamed.sets_harmlessly;
        if !leaves.is_empty() {
            self.leave(Effects { leaves, ..self.unnamed });
        }
        if is_first {
            self.awaits = self.unnamed.clears;
        }
    }

    /// A statement is bound that the pooler tracks.
    #[inline]
    pub(in crate::pool) fn bound_tracked(&mut self, effects: Effects, is_first: bool) {
        self.awaits = if is_first { effects.clears } else { Traces::NONE };
        if effects != Effects::default() {
            let awaits = self.awaits;
            self.leave(effects);
            self.awaits = awaits;
        }
    }

    /// What was bound is executed.
    #[inline]
    pub(in crate::pool) fn executed(&mut self) {
        self.clears = self.clears.and(std::mem::take(&mut self.awaits));
    }

    /// The unnamed statement is another client's, or gone.
    pub(in crate::pool) fn disown_unnamed(&mut self) {
        self.unnamed = Effects::default();
    }

    /// The client's kept unnamed statement was prepared again.
    pub(in crate::pool) fn note_unnamed(&mut self, effects: Effects) {
        self.note_effects(TextOrigin::Unnamed, effects, false);
    }

    /// An error undoes what was under way.
    #[inline]
    pub(in crate::pool) fn failed(&mut self) {
        (self.clears, self.awaits) = (Traces::NONE, Traces::NONE);
        self.unnamed.leaves = self.unnamed.leaves.and(self.replaced);
    }

    /// A statement of the client's has ended. Its tag tells of what its text has hidden.
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

    /// ReadyForQuery has come. `is_last` tells that nothing else is under way.
    pub(in crate::pool) fn note_ready(&mut self, status: TransactionStatus, is_last: bool) {
        self.awaits = Traces::NONE;
        if is_last {
            self.replaced = Traces::NONE;
        }
        match status {
            TransactionStatus::InTransaction => {}
            TransactionStatus::Failed => self.clears = Traces::NONE,
            TransactionStatus::Idle => {
                let clears = std::mem::take(&mut self.clears);
                self.cleared(clears);
                self.sets_harmlessly &= !is_last;
            }
        }
    }

    /// These are gone.
    pub(in crate::pool) fn cleared(&mut self, traces: Traces) {
        self.left = self.left.without(traces);
        self.of_client = self.of_client.without(traces);
        if traces.has(Traces::PREPARED) {
            self.prepared = Traces::NONE;
        }
    }

    /// The query that undoes what is left; its tags are awaited.
    pub(in crate::pool) fn begin_undoing(&mut self) -> String {
        if self.is_unseen && self.must_end_clean {
            self.left = self.left.and(Traces::UNKNOWN);
        }
        let (sql, count) = reset_query(self.owed());
        self.undoing = count;
        sql
    }

    /// That query has ended. Returns whether all of it was done.
    pub(in crate::pool) fn ends_undone(&mut self) -> bool {
        let is_complete = self.undoing == 0;
        if is_complete {
            self.is_unseen &= !self.must_end_clean;
            self.cleared(if self.must_end_clean { Traces::DISCARDED } else { Traces::LISTEN });
        }
        is_complete
    }

    /// A query of the pooler's own has ended so.
    pub(in crate::pool) fn tagged_of_own(&mut self, tag: &[u8]) {
        // One too many is as bad as one too few.
        self.undoing = self.undoing.checked_sub(1).unwrap_or(u8::MAX);
        if tag == b"DISCARD ALL\0" {
            self.cleared(Traces::DISCARDED);
        }
    }
}

/// A SET of any of these has the tag SET.
const SET_BY_TAG: Traces = Traces::SET.and(Traces::ROLE).and(Traces::AUTHORIZATION);

/// The query that undoes what is left, and how many statements it has.
fn reset_query(left: Traces) -> (String, u8) {
    if left.has(Traces::UNKNOWN) {
        return ("DISCARD ALL".to_owned(), 1);
    }
    let role = Traces::ROLE.and(Traces::AUTHORIZATION);
    let steps = [
        (Traces::AUTHORIZATION, "RESET SESSION AUTHORIZATION"),
        // Not NONE: a role may have been given one by ALTER ROLE.
        (role, "RESET ROLE"),
        (Traces::SET.and(Traces::DIGITS), "RESET ALL"),
        (Traces::LISTEN, "UNLISTEN *"),
        (Traces::PREPARED, "DEALLOCATE ALL"),
        (Traces::CURSOR, "CLOSE ALL"),
        (Traces::TEMPORARY, "DISCARD TEMP"),
        (Traces::LOCK, "SELECT pg_catalog.pg_advisory_unlock_all()"),
    ];
    let steps: Vec<&str> =
        steps.into_iter().filter(|(traces, _)| left.has(*traces)).map(|(_, sql)| sql).collect();
    (steps.join("; "), steps.len() as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

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
            TextOrigin::Unnamed,
            b"\0SELECT set_config('x', 'y', false)\0\0\0",
            true,
            true,
        );
        session.cleared(Traces::ALL);
        session.bound(true);
        assert_eq!(session.left, Traces::SET);
    }

    #[test]
    fn what_is_prepared_clears_when_it_is_executed() {
        let mut session = watched();
        session.left = Traces::SET;
        session.note_text(TextOrigin::Unnamed, b"\0RESET ALL\0\0\0", true, true);
        session.note_ready(TransactionStatus::Idle, true);
        session.bound(true);
        assert_eq!(session.left, Traces::SET);
        session.executed();
        session.note_ready(TransactionStatus::Idle, true);
        assert!(session.left.is_empty());
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

    #[test]
    fn only_what_is_there_is_undone() {
        assert_eq!(reset_query(Traces::SET), ("RESET ALL".into(), 1));
        assert_eq!(reset_query(Traces::LOCK.and(Traces::UNKNOWN)), ("DISCARD ALL".into(), 1));
        let (sql, count) = reset_query(Traces::AUTHORIZATION.and(Traces::LISTEN));
        assert_eq!(sql, "RESET SESSION AUTHORIZATION; RESET ROLE; UNLISTEN *");
        assert_eq!(count, 3);
        let all = Traces::ALL.without(Traces::UNKNOWN);
        assert_eq!(usize::from(reset_query(all).1), reset_query(all).0.split("; ").count());
    }
}
