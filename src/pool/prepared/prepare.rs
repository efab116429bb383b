//! Prepared statements that follow their client from server to server.
//!
//! A client's statement has a name of its own choosing; a text with its parameter types has one id
//! in the pooler and one name on all servers. A server that lacks a statement gets it before it is
//! used, in the same write, and the replies that the client did not ask for are swallowed.
//!
//! What is sent may yet be skipped: an error makes the server pass over everything up to Sync.
//! Changes of names are therefore kept in a journal until their reply has come, and undone when
//! they were skipped. A name whose fate hangs on an earlier Sync is not touched before that is
//! known.
//!
//! Source: PostgreSQL manual, "Message Flow", section "Extended Query".

use super::settle::Presence;
use crate::config::PoolMode;
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::request::Request;
use crate::pool::owed::verdict::{ClientVerdict, Verdict};
use crate::pool::records::client::Client;
use crate::pool::telling::reason::Reason;
use crate::wire::build::Message;
use crate::wire::fields::Fields;
use crate::wire::head::{HEAD, Head};
use crate::wire::kind::Front;

/// A named Parse, taken apart.
pub(super) struct ParseMessage<'a> {
    pub(super) name: &'a [u8],
    /// Everything behind the name.
    pub(super) text: &'a [u8],
}

impl Core {
    /// Whether statements of this pool follow their clients.
    pub(in crate::pool) fn tracks_statements(&self, client: &Client) -> bool {
        self.config.settings.max_prepared_statements > 0
            && client.pool.is_some_and(|pool| self.pool_mode(pool) != PoolMode::Session)
    }

    /// Changes the messages that name a statement. `None` leaves a message as it is.
    #[inline]
    pub(in crate::pool) fn rewrite(
        &mut self,
        id: ClientId,
        server: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        let concerned = matches!(
            kind,
            Front::Parse | Front::Bind | Front::Describe | Front::Close | Front::Query
        );
        if !concerned || !self.tracks_statements(&self.clients[id]) {
            return None;
        }
        if self.servers[server].replies.takes_copy_data() {
            // It ends the COPY by an error and has no other effect, whatever it names.
            return None;
        }
        if self.servers[server].replies.is_skipping() && kind != Front::Query {
            // Behind an error the server passes over it, whatever it names.
            return Some(Verdict::Drop);
        }
        match kind {
            Front::Parse => self.rewrite_parse(id, server, head, seen),
            Front::Bind => self.rewrite_bind(id, server, head, seen),
            Front::Describe => self.rewrite_describe(id, server, head, seen),
            Front::Close => self.rewrite_close(id, server, head, seen),
            Front::Query => self
                .rewrite_deallocate(id, server, head, seen)
                .or_else(|| self.watch_for_drop_all(server, head, seen)),
            _ => None,
        }
    }

    fn rewrite_parse(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        match seen.first() {
            None if head.body == 0 => return Some(self.malformed(id, Front::Parse)),
            None => return Some(Verdict::Need(1)),
            // Only statements with a name are tracked, and counted.
            Some(0) => return None,
            Some(_) => {}
        }
        if let Some(verdict) = self.refuse_long(id, head.body) {
            return Some(verdict);
        }
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        if !seen.contains(&0) {
            return Some(self.malformed(id, Front::Parse));
        }
        let Some(parse) = read_parse(seen) else {
            self.close_client(id, Reason::BrokenParse);
            return Some(Verdict::Closed);
        };
        let segment = self.servers[server].replies.segment();
        let statements = self.clients[id].statements.get_or_insert_default();
        if statements.is_undecided(&self.statements, parse.name, segment) {
            self.servers[server].replies.bar_until_synced();
            return Some(Verdict::Hold);
        }
        if let Some(verdict) = self.refuse_more(id, &parse) {
            return Some(verdict);
        }
        let terms = self.terms(id)?;
        let held = self.statements.hold(parse.text, terms);
        let verdict = self.parse_named(id, server, parse.name, held, segment);
        // The hold of this function ends; the client's name and the server have their own.
        self.statements.release(held);
        Some(verdict)
    }

    fn parse_named(
        &mut self,
        id: ClientId,
        server: ServerId,
        name: &[u8],
        statement: StatementId,
        segment: u32,
    ) -> ClientVerdict {
        let statements = self.clients[id].statements.get_or_insert_default();
        if let Some(present) = statements.names.get(name)
            && !self.statements.is_same_text(present, statement)
        {
            return self.bad_name(id, name, "was already prepared", Reason::PreparedTaken);
        }
        let presence = self.presence(server, statement);
        if let Presence::Undecided = presence {
            // To know the text again it must be read again, all of it.
            self.servers[server].replies.bar_until_synced();
            return Verdict::Hold;
        }
        // The same text under a name that has it already changes nothing, but the journal keeps
        // step with the replies.
        self.statements.hold_again(statement);
        let statements = self.clients[id].statements.get_or_insert_default();
        statements.change(&mut self.statements, name, Some(statement), segment);
        self.count_client_parse(id);
        if let Presence::Held = presence {
            self.servers[server].replies.push(Request::AnswerParse);
            return Verdict::Drop;
        }
        self.splice_parse(server, statement, false);
        Verdict::Replace { to: server, taken: usize::MAX }
    }

    fn rewrite_bind(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        let mut fields = Fields::new(seen);
        let names = fields.cstr().and_then(|portal| Some((portal, fields.cstr()?)));
        let Some((portal, name)) = names else {
            return Some(self.need_names(id, head, seen));
        };
        if name.is_empty() {
            return None;
        }
        let statement = match self.statement_of(id, server, name) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        self.begin_use(server);
        let statement = match self.prepare_on(id, server, statement) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        self.count_bind(id);
        let new_name = self.statements.statements[statement].name();
        let body = head.body - name.len() + new_name.len();
        self.splice.push(Front::Bind as u8);
        self.splice.extend_from_slice(&(body as u32 + 4).to_be_bytes());
        for text in [portal, new_name] {
            self.splice.extend_from_slice(text);
            self.splice.push(0);
        }
        let taken = HEAD + portal.len() + name.len() + 2;
        self.servers[server].replies.push(Request::Bind(Some(statement)));
        Some(Verdict::Replace { to: server, taken })
    }

    /// The names of a Bind have not come whole: asks for more, in growing steps.
    pub(super) fn need_names(&mut self, id: ClientId, head: Head, seen: &[u8]) -> ClientVerdict {
        if seen.len() >= head.body.min(LONGEST_NAMES) {
            return self.malformed(id, Front::Bind);
        }
        Verdict::Need((seen.len() * 2).max(256).min(head.body).min(LONGEST_NAMES))
    }

    fn rewrite_describe(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        let name = match named_by(seen) {
            Named::Statement(name) => name,
            Named::Other => return None,
            Named::Malformed => return Some(self.malformed(id, Front::Describe)),
        };
        let statement = match self.statement_of(id, server, name) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        self.begin_use(server);
        let statement = match self.prepare_on(id, server, statement) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        let new_name = self.statements.statements[statement].name();
        Message::front(&mut self.splice, Front::Describe).u8(b'S').cstr(new_name).end();
        self.servers[server].replies.push(Request::Describe(Some(statement)));
        Some(Verdict::Replace { to: server, taken: usize::MAX })
    }

    fn rewrite_close(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        let name = match named_by(seen) {
            Named::Statement(name) => name,
            Named::Other => return None,
            Named::Malformed => return Some(self.malformed(id, Front::Close)),
        };
        let replies = &mut self.servers[server].replies;
        let segment = replies.segment();
        let statements = self.clients[id].statements.get_or_insert_default();
        if statements.is_undecided(&self.statements, name, segment) {
            return Some(Verdict::Hold);
        }
        statements.change(&mut self.statements, name, None, segment);
        replies.push(Request::AnswerClose);
        Some(Verdict::Drop)
    }

    /// The statement that a client means by a name, or what to do when there is none.
    fn statement_of(
        &mut self,
        id: ClientId,
        server: ServerId,
        name: &[u8],
    ) -> Result<StatementId, ClientVerdict> {
        let segment = self.servers[server].replies.segment();
        let found = self.clients[id].statements.as_ref().and_then(|statements| {
            if statements.is_undecided(&self.statements, name, segment) {
                return Some(Err(Verdict::Hold));
            }
            statements.names.get(name).map(Ok)
        });
        if let Some(found) = found {
            return found;
        }
        Err(self.bad_name(id, name, "not found", Reason::PreparedMissing))
    }

    /// Ends a client that uses a name as it must not.
    fn bad_name(&mut self, id: ClientId, name: &[u8], what: &str, why: Reason) -> ClientVerdict {
        let name = String::from_utf8_lossy(&name[..name.len().min(LOGGED)]);
        self.log_client(Level::Error, id, format_args!("prepared statement '{name}' {what}"));
        self.close_client(id, why);
        Verdict::Closed
    }

    fn malformed(&mut self, id: ClientId, kind: Front) -> ClientVerdict {
        let kind = char::from(kind as u8);
        self.log_client(
            Level::Error,
            id,
            format_args!("failed to parse prepared statement packet type '{kind}'"),
        );
        self.close_client(id, Reason::BadStatementPacket);
        Verdict::Closed
    }

    fn count_client_parse(&mut self, id: ClientId) {
        if let Some(pool) = self.clients[id].pool {
            self.pools[pool].stats.client_parses += 1;
        }
    }

    fn count_bind(&mut self, id: ClientId) {
        if let Some(pool) = self.clients[id].pool {
            self.pools[pool].stats.binds += 1;
        }
    }
}

/// The longest portal and statement names together that a Bind may have, in bytes.
const LONGEST_NAMES: usize = 256 * 1024;

/// So much of a name goes into the log, in bytes.
const LOGGED: usize = 128;

/// What a Describe or Close names.
pub(in crate::pool) enum Named<'a> {
    Statement(&'a [u8]),
    /// A portal or the unnamed statement, which are not tracked.
    Other,
    Malformed,
}

pub(in crate::pool) fn named_by(body: &[u8]) -> Named<'_> {
    let mut fields = Fields::new(body);
    match (fields.u8(), fields.cstr()) {
        (None, _) | (_, None) => Named::Malformed,
        (Some(b'S'), Some(name)) if !name.is_empty() => Named::Statement(name),
        _ => Named::Other,
    }
}

/// Takes a whole Parse apart; `None` when it is not well formed.
fn read_parse(body: &[u8]) -> Option<ParseMessage<'_>> {
    let mut fields = Fields::new(body);
    let name = fields.cstr()?;
    let text = fields.rest();
    fields.cstr()?;
    let count = usize::from(fields.u16()?);
    (fields.rest().len() == count * 4).then_some(ParseMessage { name, text })
}
