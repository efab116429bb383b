//! Messages that drop prepared statements, answered here where no server is needed: Close, and the
//! simple queries DEALLOCATE and DISCARD ALL.

use super::prepare::{Named, named_by};
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::statements::deallocate::{self, Deallocate};
use crate::wire::build;
use crate::wire::head::Head;
use crate::wire::kind::{Back, Front};

/// The longest query that is read for a DEALLOCATE, in bytes.
const LONGEST_READ_BYTES: usize = 4096;

impl Core {
    /// Answers without a server what needs none: a Sync with no request before it, and the Close or
    /// DEALLOCATE of a tracked statement.
    #[inline(always)]
    pub(in crate::pool) fn answer_here(
        &mut self,
        id: ClientId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        match kind {
            Front::Sync => {
                self.end_local_query(id, TransactionStatus::Idle, said);
                Some(Verdict::Drop)
            }
            Front::Close => self.close_here(id, head, seen, said),
            Front::Query if self.has_named(id) => self.deallocate_here(id, head, seen, said),
            _ => None,
        }
    }

    fn close_here(
        &mut self,
        id: ClientId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        if !self.tracks_statements(&self.clients[id]) {
            return None;
        }
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        let Named::Statement(name) = named_by(seen) else { return None };
        self.drop_name(id, name);
        build::empty_back(said.to_client.words(), Back::CloseComplete);
        Some(Verdict::Drop)
    }

    fn deallocate_here(
        &mut self,
        id: ClientId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let query = match self.find_deallocate(id, head, seen)? {
            Ok(query) => query,
            Err(need) => return Some(need),
        };
        self.answer_deallocate(id, &query, TransactionStatus::Idle, said)
    }

    /// Whether a client has names that a DEALLOCATE could drop. Most have none, and their queries
    /// are not read for one.
    #[inline(always)]
    pub(super) fn has_named(&self, id: ClientId) -> bool {
        self.clients[id].statements.as_ref().is_some_and(|statements| !statements.names.is_empty())
    }

    /// ReadyForQuery. A query that was answered here is a query all the same, and outside of a
    /// transaction one of its own.
    fn end_local_query(&mut self, id: ClientId, status: TransactionStatus, said: &mut Said<'_>) {
        if let Some(pool) = self.clients[id].pool() {
            let stats = &mut self.pools[pool].stats;
            stats.queries += 1;
            stats.xacts += u64::from(status == TransactionStatus::Idle);
        }
        build::ready_for_query(said.to_client.words(), status as u8);
    }

    fn answer_deallocate(
        &mut self,
        id: ClientId,
        query: &Deallocate,
        status: TransactionStatus,
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        self.deallocate(id, query, status, said)?;
        self.end_local_query(id, status, said);
        Some(Verdict::Drop)
    }

    /// After an extended query without its Sync, a simple one ends what that has begun: the server
    /// gets a Sync in its place, whose ReadyForQuery is that of the query.
    fn end_with_deallocate(
        &mut self,
        id: ClientId,
        server: ServerId,
        query: &Deallocate,
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let status = self.servers[server].replies.status();
        self.deallocate(id, query, status, said)?;
        build::empty_front(said.to_server.words(), Front::Sync);
        self.servers[server].replies.push(Request::Sync);
        Some(Verdict::Replace { to: server, taken: usize::MAX })
    }

    /// Drops a name as the server would, in a state in which it would, and says so. `None` leaves
    /// it to the server to refuse.
    fn deallocate(
        &mut self,
        id: ClientId,
        query: &Deallocate,
        status: TransactionStatus,
        said: &mut Said<'_>,
    ) -> Option<()> {
        let tags: &[&str] = match (status, query.in_savepoint) {
            (TransactionStatus::Failed, _) | (TransactionStatus::Idle, true) => return None,
            (TransactionStatus::InTransaction, true) => &["SAVEPOINT", "DEALLOCATE", "RELEASE"],
            (TransactionStatus::Idle | TransactionStatus::InTransaction, false) => &["DEALLOCATE"],
        };
        self.drop_name(id, &query.name);
        self.forget_unnamed(id);
        for tag in tags {
            build::command_complete(said.to_client.words(), tag);
        }
        Some(())
    }

    /// Takes a name from a client for which nothing is under way.
    fn drop_name(&mut self, id: ClientId, name: &[u8]) {
        let Some(statements) = &mut self.clients[id].statements else { return };
        statements.remove(&mut self.statements, name);
    }

    /// A simple query that is one DEALLOCATE of a statement of this client's.
    fn find_deallocate(
        &self,
        id: ClientId,
        head: Head,
        seen: &[u8],
    ) -> Option<Result<Deallocate, Verdict>> {
        let statements = self.clients[id].statements.as_ref()?;
        if !self.tracks_statements(&self.clients[id]) {
            return None;
        }
        let need = must_read(head);
        if seen.len() < need {
            return Some(Err(Verdict::Need(need)));
        }
        let sql = seen.get(..head.body)?.strip_suffix(b"\0")?;
        let query = deallocate::read(sql)?;
        statements.names.get(&query.name).is_some().then_some(Ok(query))
    }

    /// DEALLOCATE of a tracked statement, as a simple query, while the client has a server: it is
    /// answered here when nothing is under way and no transaction would have to undo it.
    pub(super) fn rewrite_deallocate(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let query = match self.find_deallocate(id, head, seen)? {
            Ok(query) => query,
            Err(need) => return Some(need),
        };
        let replies = &self.servers[server].replies;
        if replies.is_skipping() {
            return None;
        }
        if !replies.is_answered() || self.servers[server].is_mid_reply {
            self.make_speak(server);
            return Some(Verdict::Hold(Hold::Answers));
        }
        if replies.is_unsynced() {
            return self.end_with_deallocate(id, server, &query, said);
        }
        let status = replies.status();
        self.answer_deallocate(id, &query, status, said)
    }

    /// Nothing after a simple query that may drop all statements is judged before that query is
    /// done: until then nobody knows which names and statements there are.
    pub(super) fn watch_for_drop_all(
        &mut self,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<Verdict> {
        let need = must_read(head);
        if seen.len() < need {
            return Some(Verdict::Need(need));
        }
        // A long one is not read: it may be anything.
        let may_drop = need < head.body || deallocate::may_drop_all(seen);
        let replies = &mut self.servers[server].replies;
        if replies.is_skipping() || !may_drop {
            return None;
        }
        replies.push(Request::Query);
        replies.bar();
        Some(Verdict::Forward(server))
    }
}

/// How much of a query must have come before it is read: all of it, or nothing of a long one.
fn must_read(query: Head) -> usize {
    if query.body <= LONGEST_READ_BYTES { query.body } else { 0 }
}
