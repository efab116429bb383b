//! Messages that misuse a name: an unknown one, or one that is taken.
//!
//! PostgreSQL refuses such a message with an error in its place in the order, aborts the
//! transaction and skips everything up to Sync; after an earlier error it skips the message itself.
//! So the refusal is left to the server. It is sent a substitute that it refuses in the same way,
//! under a stand-in name, and the client gets the error with its own name. No further messages are
//! judged until the next Sync is answered.

use crate::config::SessionState;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::misnamed::Misnamed;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::unnamed::UNNAMED;
use crate::pool::owed::verdict::Verdict;
use crate::pool::records::server::Server;
use crate::pool::statements::scan;
use crate::pool::telling::refusal::StatementRefusal;
use crate::wire::build::{self, Message};
use crate::wire::fields;
use crate::wire::head::Head;
use crate::wire::kind::{Back, Front};

/// The longest statement that is read in full before it is sent, in bytes.
const LONGEST_READ_BYTES: usize = 64 * 1024;

/// A name that no statement and no portal has on any server: numbers begin at 1.
const NOBODY: &[u8] = b"PGBOUNCER_0";

/// The beginning of the names that statements have on servers.
const PREFIX: &[u8] = b"PGBOUNCER_";

impl Core {
    /// Refuses a statement name that the client does not have.
    pub(super) fn refuse_unknown(
        &mut self,
        server: ServerId,
        name: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        Message::front(said.to_server.words(), Front::Describe).u8(b'S').cstr(NOBODY).end();
        self.will_be_refused(server, name, NOBODY)
    }

    /// Refuses a Parse whose name the client has given to another text. The server has that other
    /// one.
    pub(super) fn refuse_taken(
        &mut self,
        server: ServerId,
        name: &[u8],
        present: StatementId,
        text: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        let stand_in = self.statements.statements[present].name().to_vec();
        Message::front(said.to_server.words(), Front::Parse).cstr(&stand_in).bytes(text).end();
        self.will_be_refused(server, name, &stand_in)
    }

    fn will_be_refused(&mut self, server: ServerId, name: &[u8], stand_in: &[u8]) -> Verdict {
        let server = &mut self.servers[server];
        server.replies.push_misnamed();
        let (name, stand_in) = (name.into(), stand_in.into());
        server.misnamed = Some(Box::new(Misnamed { name, stand_in, told: None }));
        Verdict::Drop
    }

    /// Refuses a statement that would leave session state, if the client must not leave any
    /// (`session_state = error`). A text that is too long is sent on instead; its state is found
    /// and refused afterwards.
    pub(in crate::pool) fn refuse_traces(
        &mut self,
        server: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let Server { session, replies, .. } = &self.servers[server];
        if session.policy != SessionState::Error
            || !matches!(kind, Front::Parse | Front::Query)
            || head.body > LONGEST_READ_BYTES
            || replies.takes_copy_data()
            || replies.is_skipping()
        {
            return None;
        }
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        let sql = fields::sql_of(kind, seen).unwrap_or_default();
        let left = session.of_worth(scan::read(sql).leaves);
        if left.is_empty() {
            return None;
        }
        if kind == Front::Query || seen.first() == Some(&0) {
            // Either message would have dropped the unnamed statement.
            Message::front(said.to_server.words(), Front::Close).bytes(UNNAMED).end();
            self.servers[server].replies.push(Request::OwnUnnamed);
            self.servers[server].unnamed.dropped();
        }
        Message::front(said.to_server.words(), Front::Describe).u8(b'S').cstr(NOBODY).end();
        let verdict = self.will_be_refused(server, NOBODY, NOBODY);
        if kind == Front::Query {
            build::empty_front(said.to_server.words(), Front::Sync);
            self.servers[server].replies.push(Request::Sync);
        }
        let pool = self.servers[server].pool;
        self.pools[pool].undone.refusals += 1;
        let mut told = Vec::new();
        build::report(&mut told, &StatementRefusal::of_policy(&left.meanings(), false).report());
        if let Some(misnamed) = &mut self.servers[server].misnamed {
            misnamed.told = Some(told.into());
        }
        Some(verdict)
    }

    /// Refuses a named portal outside of a transaction. The only such portal that a server can have
    /// is a cursor WITH HOLD of another client.
    pub(in crate::pool) fn refuse_portal(
        &mut self,
        server: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let is_named = match (kind, seen) {
            (_, []) if head.body > 0 => return Some(Verdict::Need(1)),
            (Front::Execute, [first, ..]) => *first != 0,
            (Front::Describe | Front::Close, [b'P']) if head.body > 1 => {
                return Some(Verdict::Need(2));
            }
            (Front::Describe | Front::Close, [b'P', first, ..]) => *first != 0,
            _ => false,
        };
        if !is_named
            || !self.shares_servers(server)
            || self.servers[server].session.is_pinned()
            || !self.servers[server].replies.is_clean()
        {
            return None;
        }
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        if kind == Front::Close {
            Message::front(said.to_server.words(), Front::Close).u8(b'P').cstr(NOBODY).end();
            self.servers[server].replies.push(Request::Close);
            return Some(Verdict::Drop);
        }
        let name = if kind == Front::Execute { seen } else { &seen[1..] };
        let name = fields::up_to_nul(name);
        Message::front(said.to_server.words(), Front::Describe).u8(b'P').cstr(NOBODY).end();
        Some(self.will_be_refused(server, name, NOBODY))
    }

    /// Sends the client an error with the client's name for the statement instead of the server's.
    /// Returns false if there is no name to replace.
    pub(in crate::pool) fn tell_by_own_name(
        &mut self,
        server: ServerId,
        client: ClientId,
        skipped: &[Request],
        error: &[u8],
        is_whole: bool,
        to_client: &mut OutgoingBytes<'_>,
    ) -> bool {
        let misnamed = match skipped.contains(&Request::Misnamed) {
            true => self.servers[server].misnamed.take(),
            false => None,
        };
        if let (Some(Request::Misnamed), Some(told)) =
            (skipped.first(), misnamed.as_ref().and_then(|misnamed| misnamed.told.as_ref()))
        {
            to_client.words().extend_from_slice(told);
            return true;
        }
        if !is_whole || !error.windows(PREFIX.len()).any(|part| part == PREFIX) {
            return false;
        }
        let names = match (skipped.first(), misnamed) {
            (Some(Request::Misnamed), Some(misnamed)) => Some(misnamed),
            (Some(request), _) => request.concerned().and_then(|id| self.both_names(client, id)),
            (None, _) => None,
        };
        let Some(names) = names else { return false };
        let told = replaced(error, &names.stand_in, &names.name);
        Message::back(to_client.words(), Back::ErrorResponse).bytes(&told).end();
        true
    }

    fn both_names(&self, client: ClientId, id: StatementId) -> Option<Box<Misnamed>> {
        let stand_in = self.statements.statements.get(id)?.name().into();
        let name = self.clients[client].statements.as_ref()?.name_of(id)?.into();
        Some(Box::new(Misnamed { name, stand_in, told: None }))
    }
}

/// The text, with `name` instead of each `stand_in` that no further digit follows.
fn replaced(text: &[u8], stand_in: &[u8], name: &[u8]) -> Vec<u8> {
    let mut told = Vec::with_capacity(text.len() + name.len());
    let mut rest = text;
    while let Some(at) = rest.windows(stand_in.len()).position(|part| part == stand_in) {
        let (before, behind) = rest.split_at(at);
        let behind = &behind[stand_in.len()..];
        told.extend_from_slice(before);
        let goes_on = behind.first().is_some_and(u8::is_ascii_digit);
        told.extend_from_slice(if goes_on { stand_in } else { name });
        rest = behind;
    }
    told.extend_from_slice(rest);
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_replaced_where_it_stands_by_itself() {
        let cases: [(&[u8], &[u8]); 4] = [
            (b"Mstatement \"P_1\" is not \"P_12\"\0\0", b"Mstatement \"mine\" is not \"P_12\"\0\0"),
            (b"P_1 P_1", b"mine mine"),
            (b"", b""),
            (b"nothing", b"nothing"),
        ];
        for (text, expected) in cases {
            assert_eq!(replaced(text, b"P_1", b"mine"), expected);
        }
    }
}
