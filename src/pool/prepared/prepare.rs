//! Prepared statements that follow their client from server to server.
//!
//! A client chooses the name of its statement. The pooler gives each text with its parameter types
//! one id, and one name on all servers. A server that lacks a statement gets it right before its
//! use, in the same write, and the pooler swallows the reply to that Parse.
//!
//! The server may skip what it is sent, since an error makes it skip everything up to Sync. So
//! changes of names are kept in a journal until their reply comes, and undone if the request was
//! skipped. A name that a request of an earlier segment changes is not used before that segment
//! ends.
//!
//! Source: PostgreSQL manual, "Message Flow", section "Extended Query".

use super::presence::Presence;
use super::usual::BindNames;
use crate::config::PoolMode;
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::client::Client;
use crate::pool::records::server::Server;
use crate::pool::records::unnamed_effects::BindPlace;
use crate::pool::statements::deallocate;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Message};
use crate::wire::fields::Fields;
use crate::wire::head::Head;
use crate::wire::kind::Front;

/// The parts of a named Parse.
struct ParseMessage<'a> {
    name: &'a [u8],
    /// Everything after the name.
    text: &'a [u8],
}

impl Core {
    /// Whether statements of this pool follow their clients.
    #[inline]
    pub(in crate::pool) fn tracks_statements(&self, client: &Client) -> bool {
        self.config.settings.max_prepared_statements > 0
            && self.client_mode(client) != PoolMode::Session
    }

    /// Changes messages that name a statement. `None` leaves a message unchanged.
    #[inline(always)]
    pub(in crate::pool) fn rewrite(
        &mut self,
        id: ClientId,
        server: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        if kind == Front::Execute && self.servers[server].replies.may_decide_yet() {
            return self.rewrite_execute(server, head, seen, said);
        }
        if !kind.concerns_statements() || !self.tracks_statements(&self.clients[id]) {
            return None;
        }
        if self.servers[server].replies.takes_copy_data() {
            // The message ends the COPY with an error and has no other effect.
            return None;
        }
        if self.servers[server].replies.is_skipping() {
            // After an error the server skips the message.
            return Some(Verdict::Drop);
        }
        match kind {
            Front::Parse => self.rewrite_parse(id, server, head, seen, said),
            Front::Bind => self.rewrite_bind(id, server, head, seen, said),
            Front::Describe => self.rewrite_describe(id, server, head, seen, said),
            Front::Close => self.rewrite_close(id, server, head, seen),
            _ => None,
        }
    }

    /// Sends an Execute that may drop all statements, or take data. The client's further messages
    /// wait for its reply: before that, the existing names and statements are unknown. A Flush
    /// makes the server reply, since the client may not send its Sync yet.
    fn rewrite_execute(
        &mut self,
        server: ServerId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        Message::front(said.to_server.words(), Front::Execute).bytes(seen).end();
        build::empty_front(said.to_server.words(), Front::Flush);
        let replies = &mut self.servers[server].replies;
        replies.push(Request::Execute);
        replies.take_unflushed();
        replies.bar();
        Some(Verdict::Replace { to: server, taken: usize::MAX })
    }

    fn rewrite_parse(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        match seen.first() {
            None if head.body == 0 => return Some(self.malformed(id, Front::Parse)),
            None => return Some(Verdict::Need(1)),
            // Only named statements are tracked and counted.
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
            return Some(Verdict::Hold(Hold::Undecided));
        }
        if let Some(verdict) = self.refuse_other(id, server, &parse, said) {
            return Some(verdict);
        }
        if let Some(verdict) = self.refuse_more(id, &parse) {
            return Some(verdict);
        }
        let terms = self.terms(id)?;
        let held = self.statements.hold(parse.text, terms);
        let verdict = self.parse_named(id, server, parse.name, held, segment, said);
        // The client's name and the server have references of their own by now.
        self.statements.release(held);
        Some(verdict)
    }

    /// Refuses a Parse that is longer than a client's limit, before it has come completely.
    fn refuse_long(&mut self, id: ClientId, body: usize) -> Option<Verdict> {
        let most = self.config.settings.max_client_prepared_bytes;
        is_beyond(body, most).then(|| self.refuse_client_bytes(id, most))
    }

    /// Refuses a Parse if its client, or all clients together, would exceed a limit.
    fn refuse_more(&mut self, id: ClientId, parse: &ParseMessage<'_>) -> Option<Verdict> {
        let settings = &self.config.settings;
        let most_names = settings.max_client_prepared_statements;
        let (most, most_in_all) = (settings.max_client_prepared_bytes, settings.max_prepared_bytes);
        let statements = self.clients[id].statements.as_ref()?;
        if statements.names.get(parse.name).is_some() {
            // The client has this name already, so no name is added.
            return None;
        }
        if most_names > 0 && statements.len() >= most_names as usize {
            let detail = format!("max_client_prepared_statements is {most_names}.");
            self.close_client_with(id, Reason::StatementLimit, Some(&detail));
            return Some(Verdict::Closed);
        }
        let size = parse.name.len() + parse.text.len();
        if is_beyond(statements.held_bytes() + size, most) {
            return Some(self.refuse_client_bytes(id, most));
        }
        let terms = self.terms(id)?;
        let is_new = !self.statements.is_used(parse.text, terms);
        let more = parse.name.len() + if is_new { parse.text.len() } else { 0 };
        if is_beyond(self.statements.client_bytes() + more, most_in_all) {
            let detail = format!("max_prepared_bytes is {most_in_all}.");
            self.close_client_with(id, Reason::StatementMemory, Some(&detail));
            return Some(Verdict::Closed);
        }
        None
    }

    fn refuse_client_bytes(&mut self, id: ClientId, most: u32) -> Verdict {
        let detail = format!("max_client_prepared_bytes is {most}.");
        self.close_client_with(id, Reason::StatementBytes, Some(&detail));
        Verdict::Closed
    }

    fn parse_named(
        &mut self,
        id: ClientId,
        server: ServerId,
        name: &[u8],
        statement: StatementId,
        segment: u32,
        said: &mut Said<'_>,
    ) -> Verdict {
        let presence = self.presence(server, statement);
        let replies = &self.servers[server].replies;
        if let Presence::Held = presence
            && replies.may_fail_block()
            && !deallocate::may_end_block(self.statements.statements[statement].text())
        {
            if !replies.is_answered() {
                self.make_speak(server);
                return Verdict::Hold(Hold::Answers);
            }
            // In a failed transaction the server refuses every Parse, whatever its name.
            let text = self.statements.statements[statement].text().to_vec();
            return self.refuse_taken(server, name, statement, &text, said);
        }
        if let Presence::Undecided = presence {
            // The message is judged again later, so it must be read again in full.
            self.servers[server].replies.bar_until_synced();
            return Verdict::Hold(Hold::Undecided);
        }
        // A Parse of the same text under the same name changes nothing, but the journal must have
        // one entry for each reply.
        self.statements.hold_again(statement);
        let statements = self.clients[id].statements.get_or_insert_default();
        statements.change(&mut self.statements, name, Some(statement), segment);
        self.count_client_parse(id);
        if let Presence::Held = presence {
            self.servers[server].replies.push(Request::AnswerParse);
            return Verdict::Drop;
        }
        self.say_parse(server, statement, false, said);
        Verdict::Replace { to: server, taken: usize::MAX }
    }

    fn rewrite_bind(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let Some(names) = BindNames::read(seen) else {
            return Some(self.need_names(id, head, seen));
        };
        if names.statement.is_empty() {
            return None;
        }
        let statement = match self.statement_of(id, server, names.statement, said) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        self.begin_use(server, said);
        let is_first = self.servers[server].replies.is_unburdened();
        let statement = match self.prepare_on(id, server, statement, said) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        let Server { replies, session, pool, .. } = &mut self.servers[server];
        self.pools[*pool].stats.binds += 1;
        if session.is_watched() {
            let is_unnamed = names.portal.is_empty();
            let place = BindPlace { is_first, is_unnamed, is_of_unnamed: false };
            session.bound_tracked(self.statements.effects(statement), place);
        }
        let record = &self.statements.statements[statement];
        if record.is_decisive {
            replies.expect_decision();
        }
        replies.push(Request::Bind(Some(statement)));
        let taken = names.say(head.body, record, said.to_server.words());
        Some(Verdict::Replace { to: server, taken })
    }

    /// The names of a Bind are incomplete: asks for more bytes, in growing steps.
    pub(super) fn need_names(&mut self, id: ClientId, head: Head, seen: &[u8]) -> Verdict {
        if seen.len() >= head.body.min(LONGEST_NAMES_BYTES) {
            return self.malformed(id, Front::Bind);
        }
        Verdict::Need((seen.len() * 2).max(256).min(head.body).min(LONGEST_NAMES_BYTES))
    }

    fn rewrite_describe(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        let name = match named_by(seen) {
            Named::Statement(name) => name,
            Named::Other => return None,
            Named::Malformed => return Some(self.malformed(id, Front::Describe)),
        };
        let statement = match self.statement_of(id, server, name, said) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        self.begin_use(server, said);
        let statement = match self.prepare_on(id, server, statement, said) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        let new_name = self.statements.statements[statement].name();
        Message::front(said.to_server.words(), Front::Describe).u8(b'S').cstr(new_name).end();
        self.servers[server].replies.push(Request::Describe(Some(statement)));
        Some(Verdict::Replace { to: server, taken: usize::MAX })
    }

    fn rewrite_close(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<Verdict> {
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
            return Some(Verdict::Hold(Hold::Undecided));
        }
        statements.change(&mut self.statements, name, None, segment);
        replies.push(Request::AnswerClose);
        Some(Verdict::Drop)
    }

    /// The statement to which a client's name belongs, or the verdict if there is none.
    fn statement_of(
        &mut self,
        id: ClientId,
        server: ServerId,
        name: &[u8],
        said: &mut Said<'_>,
    ) -> Result<StatementId, Verdict> {
        let segment = self.servers[server].replies.segment();
        let found = self.clients[id].statements.as_ref().and_then(|statements| {
            if statements.is_undecided(&self.statements, name, segment) {
                return Some(Err(Verdict::Hold(Hold::Undecided)));
            }
            statements.names.get(name).map(Ok)
        });
        if let Some(found) = found {
            return found;
        }
        Err(self.refuse_unknown(server, name, said))
    }

    /// Refuses a Parse whose name the client has given to another text.
    fn refuse_other(
        &mut self,
        id: ClientId,
        server: ServerId,
        parse: &ParseMessage<'_>,
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let present = self.clients[id].statements.as_ref()?.names.get(parse.name)?;
        if self.statements.statements[present].text() == parse.text {
            return None;
        }
        Some(match self.prepare_on(id, server, present, said) {
            Ok(present) => self.refuse_taken(server, parse.name, present, parse.text, said),
            Err(verdict) => verdict,
        })
    }

    fn malformed(&mut self, id: ClientId, kind: Front) -> Verdict {
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
        if let Some(pool) = self.clients[id].pool() {
            self.pools[pool].stats.client_parses += 1;
        }
    }
}

/// Whether `bytes` exceeds the limit; 0 means no limit.
fn is_beyond(bytes: usize, most: u32) -> bool {
    most > 0 && bytes > most as usize
}

/// The most bytes that the portal and statement names of one Bind may have together.
const LONGEST_NAMES_BYTES: usize = 256 * 1024;

/// What a Describe or Close names.
pub(in crate::pool) enum Named<'a> {
    Statement(&'a [u8]),
    /// A portal or the unnamed statement, neither of which is tracked.
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

/// Splits a complete Parse; `None` if it is malformed.
fn read_parse(body: &[u8]) -> Option<ParseMessage<'_>> {
    let mut fields = Fields::new(body);
    let name = fields.cstr()?;
    let text = fields.rest();
    fields.cstr()?;
    let count = usize::from(fields.u16()?);
    (fields.rest().len() == count * 4).then_some(ParseMessage { name, text })
}
