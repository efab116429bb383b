//! Sends a query again if it failed because a table has changed since its statement was prepared.
//!
//! PostgreSQL refuses to run a statement whose result would have other columns than when it was
//! prepared, because the client relies on the old ones. Here another client may have prepared the
//! statement long ago, and the error would repeat for as long as the server lives. So the client's
//! names move to a new statement of the same text, which no server has yet: the next use works.
//! Names of other clients do not move, since those clients must be told too.
//!
//! The failure is hidden from the client if the query was alone and outside of a transaction, so
//! that nothing else is lost, and if the client has asked for the columns in the query. A client
//! that has not would read the new rows by the old columns: it gets the error, as from PostgreSQL.
//!
//! PostgreSQL describes the parameters of a statement before it checks the columns. That reply is
//! held back until the next one comes, so that the client does not get it twice.
//!
//! A server may lose a statement without any command tag that shows it, for example when a DO block
//! drops all. Then the server gets the statement again, and a query that was alone is sent again.
//!
//! The messages of a query are kept until the client uses a statement again: a copy of one or two
//! small messages, in memory that the server's record keeps.

use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::ServerVerdict;
use crate::pool::records::server::OwnQuery;
use crate::wire::build::{self, Message};
use crate::wire::fields::{Fields, ReportFields};
use crate::wire::head::{self, HEAD_BYTES, ParsedHead};
use crate::wire::kind::{Back, Front};
use crate::wire::sqlstate;

/// The longest query that is kept for sending again, in bytes.
const LONGEST_QUERY_BYTES: usize = 8 * 1024;

/// PostgreSQL's error for a statement that no longer fits its tables. In other languages its words
/// differ; there the name of the function that raises it is recognised.
const WORDS: &str = "cached plan must not change result type";
const ROUTINE: &[u8] = b"\0RRevalidateCachedQuery\0";

const FLUSH: &[u8] = b"H\0\0\0\x04";

impl Core {
    /// A client is about to use a tracked statement.
    #[inline]
    pub(super) fn begin_use(&mut self, id: ServerId, said: &mut Said<'_>) {
        let server = &mut self.servers[id];
        server.kept.bytes.clear();
        said.may_repeat |= server.replies.is_at_rest();
    }

    /// Keeps complete messages that went to a server which had nothing to do, as they may have to
    /// be sent again.
    pub fn keep_for_repeat(&mut self, id: ServerId, bytes: &[u8]) {
        let Some(server) = self.servers.get_mut(id) else { return };
        if bytes.len() <= LONGEST_QUERY_BYTES
            && let Some(asks_columns) = server.replies.lone_use()
        {
            server.kept.asks_columns = asks_columns;
            server.kept.bytes.extend_from_slice(after_answered_messages(bytes));
            server.kept.requests = server.replies.len();
        }
    }

    /// These bytes were sent to a server: a query that was kept before is no longer alone, and is
    /// dropped; a Flush does not count. `half_sent` bytes of the last message are still to come.
    /// Returns whether the next reply is one that the pooler gives itself.
    #[inline(always)]
    pub fn was_sent(&mut self, id: ServerId, bytes: &[u8], half_sent: u32) -> bool {
        let Some(server) = self.servers.get_mut(id) else { return false };
        server.half_sent = half_sent;
        if !server.kept.bytes.is_empty() && !matches!(bytes, b"" | FLUSH) {
            server.kept.bytes.clear();
        }
        server.replies.is_own_turn()
    }

    /// The server describes the parameters of a statement. Returns whether the reply is held back.
    pub(in crate::pool) fn hold_parameters_back(
        &mut self,
        id: ServerId,
        body: &[u8],
        to_client: &mut OutgoingBytes<'_>,
    ) -> bool {
        let kept = &mut self.servers[id].kept;
        let mut fields = Fields::new(body);
        let types = fields.u16().map(|count| usize::from(count) * 4);
        if types != Some(fields.rest().len()) {
            kept.bytes.clear();
        }
        if kept.bytes.is_empty() {
            return false;
        }
        // A second description in a row makes no sense, but does no harm.
        self.tell_parameters(id, to_client);
        let kept = &mut self.servers[id].kept;
        Message::back(&mut kept.parameters, Back::ParameterDescription).bytes(body).end();
        true
    }

    /// Appends the description that was held back, before the reply that has come now.
    #[inline]
    pub(in crate::pool) fn tell_parameters(
        &mut self,
        id: ServerId,
        to_client: &mut OutgoingBytes<'_>,
    ) {
        let parameters = &mut self.servers[id].kept.parameters;
        if !parameters.is_empty() {
            to_client.words().append(parameters);
        }
    }

    /// The server has refused a request with this error. Returns whether the query is sent again,
    /// so that the client is not told.
    pub(in crate::pool) fn is_repeated(
        &mut self,
        id: ServerId,
        client: ClientId,
        skipped: &[Request],
        error: &[u8],
    ) -> bool {
        let Some(statement) = skipped.first().and_then(Request::used) else { return false };
        if is_outdated_plan(error) {
            self.move_names_on(client, statement);
            self.servers[id].kept.asks_columns && self.send_again(id, skipped.len())
        } else if is_lost(error) {
            // Nothing has shown the pooler that the statement was dropped.
            self.unprepare(id, statement);
            self.send_again(id, skipped.len())
        } else {
            false
        }
    }

    /// Prepares to send the failed query again, if nothing else is lost. Returns whether it will be
    /// sent.
    fn send_again(&mut self, id: ServerId, skipped: usize) -> bool {
        let server = &mut self.servers[id];
        let replies = &server.replies;
        let is_alone = server.kept.requests == skipped + replies.len()
            && (replies.is_answered() || replies.is_last_sync())
            && server.half_sent == 0;
        if server.kept.bytes.is_empty() || !is_alone || server.has_said_farewell {
            return false;
        }
        server.kept.parameters.clear();
        server.own = OwnQuery::Repeat;
        if server.replies.is_skipping() {
            // The client waits for a reply before it sends its Sync. Its Flush may have come
            // separately.
            build::empty_front(&mut server.kept.bytes, Front::Flush);
            self.end_skipping(id);
        }
        true
    }

    fn move_names_on(&mut self, client: ClientId, before: StatementId) {
        let Some(statements) = &mut self.clients[client].statements else { return };
        let Some(after) = self.statements.renew(before) else { return };
        statements.rename(&mut self.statements, before, after);
        self.statements.release(after);
    }

    /// The server is done with the failed query: the client's bytes are judged again.
    pub(in crate::pool) fn repeat(
        &mut self,
        id: ServerId,
        client: ClientId,
        status: TransactionStatus,
    ) -> ServerVerdict {
        let server = &mut self.servers[id];
        server.own = OwnQuery::Nothing;
        if status != TransactionStatus::Idle {
            // No transaction was open when the query failed, so this is a protocol violation.
            self.unknown_from_server(id, Back::ReadyForQuery as u8);
            return ServerVerdict::Closed;
        }
        let bytes = std::mem::take(&mut server.kept.bytes);
        let pool = server.pool;
        // The bytes are counted again when they are judged again.
        self.pools[pool].stats.received -= bytes.len() as u64;
        self.clients[client].hold = None;
        self.act(Action::Repeat { client, bytes });
        ServerVerdict::Drop
    }
}

/// Whether an error means that the server does not have the statement.
fn is_lost(error: &[u8]) -> bool {
    ReportFields::parse(error).sqlstate == sqlstate::UNDEFINED_PREPARED_STATEMENT
}

/// Whether an error means that the statement no longer fits its tables.
fn is_outdated_plan(error: &[u8]) -> bool {
    let report = ReportFields::parse(error);
    report.sqlstate == sqlstate::FEATURE_NOT_SUPPORTED
        && (report.message == WORDS || error.windows(ROUTINE.len()).any(|part| part == ROUTINE))
}

/// The messages of a query that went to the server, without those before that the pooler answered.
fn after_answered_messages(mut bytes: &[u8]) -> &[u8] {
    while let ParsedHead::Head(head) = head::parse(bytes) {
        if matches!(Front::from_byte(head.kind), Some(Front::Bind | Front::Describe)) {
            break;
        }
        bytes = bytes.get(HEAD_BYTES + head.body..).unwrap_or_default();
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_error_is_known_by_its_words_or_by_its_place() {
        let known: [&[u8]; 2] = [
            b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\0",
            b"SFEHLER\0VERROR\0C0A000\0Mgecachter Plan\0Fplancache.c\0RRevalidateCachedQuery\0\0",
        ];
        for error in known {
            assert!(is_outdated_plan(error), "{}", error.escape_ascii());
        }
        let others: [&[u8]; 4] = [
            b"",
            b"SERROR\0C0A000\0Mnot supported\0\0",
            b"SERROR\0C42P01\0Mcached plan must not change result type\0\0",
            b"SERROR\0C0A000\0MRevalidateCachedQuery\0\0",
        ];
        for error in others {
            assert!(!is_outdated_plan(error), "{}", error.escape_ascii());
        }
    }

    #[test]
    fn what_the_pooler_answered_is_not_sent_again() {
        let parse = b"P\0\0\0\x08a\0\0\0";
        let sync = b"S\0\0\0\x04";
        let used = b"D\0\0\0\x07Sa\0S\0\0\0\x04";
        let all = [&sync[..], parse, used].concat();
        assert_eq!(after_answered_messages(&all), used);
        assert_eq!(after_answered_messages(used), used);
        assert_eq!(after_answered_messages(sync), b"");
        assert_eq!(after_answered_messages(b"P\0\0\0\xff"), b"");
    }
}
