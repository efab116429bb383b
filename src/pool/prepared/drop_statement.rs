//! Messages that drop prepared statements: Close, and the simple queries DEALLOCATE and DISCARD
//! ALL. The pooler answers them itself where no server is needed.

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

/// The longest query in which a DEALLOCATE is looked for, in bytes.
const LONGEST_READ_BYTES: usize = 4096;

impl Core {
    /// Answers messages that need no server: a Sync with no request before it, and the Close or
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
            Front::Query if self.clients[id].has_named() => {
                self.deallocate_here(id, head, seen, said)
            }
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

    /// Sends ReadyForQuery. A query that the pooler answers itself counts as a query, and outside
    /// of a transaction also as a transaction.
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

    /// A simple DEALLOCATE after an extended query without its Sync ends that query's transaction.
    /// The server gets a Sync instead, whose ReadyForQuery answers the DEALLOCATE too.
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

    /// Drops a name and tells the client so, if the server would do it in the present state. `None`
    /// leaves the refusal to the server.
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

    /// Removes a name of a client that has nothing under way.
    fn drop_name(&mut self, id: ClientId, name: &[u8]) {
        let Some(statements) = &mut self.clients[id].statements else { return };
        statements.remove(&mut self.statements, name);
    }

    /// Finds a simple query that is one DEALLOCATE of a tracked statement of this client.
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

    /// A simple query that is a DEALLOCATE of a tracked statement, while the client has a server.
    /// The pooler answers it itself, once nothing is under way.
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

    /// Holds back all messages after a simple query that may drop all statements, until that query
    /// is done: before that, the existing names and statements are unknown.
    #[inline(always)]
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

/// Whether a simple query, all of which is here, may drop all statements. A long query is not read,
/// so it may be any.
#[inline(always)]
pub(in crate::pool) fn may_drop_all(body: &[u8]) -> bool {
    body.len() > LONGEST_READ_BYTES || deallocate::may_drop_all(body)
}

/// How many bytes of a query must have come: all of a short one, none of a long one.
fn must_read(query: Head) -> usize {
    if query.body <= LONGEST_READ_BYTES { query.body } else { 0 }
}
