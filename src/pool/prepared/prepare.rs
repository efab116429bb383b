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
use crate::pool::statements::deallocate;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Message};
use crate::wire::fields::Fields;
use crate::wire::head::Head;
use crate::wire::kind::Front;

/// A named Parse, taken apart.
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

    /// Changes the messages that name a statement. `None` leaves a message as it is.
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
            // It ends the COPY by an error and has no other effect, whatever it names.
            return None;
        }
        if self.servers[server].replies.is_skipping() && kind != Front::Query {
            // After an error the server passes over it, whatever it names.
            return Some(Verdict::Drop);
        }
        match kind {
            Front::Parse => self.rewrite_parse(id, server, head, seen, said),
            Front::Bind => self.rewrite_bind(id, server, head, seen, said),
            Front::Describe => self.rewrite_describe(id, server, head, seen, said),
            Front::Close => self.rewrite_close(id, server, head, seen),
            Front::Query => {
                let rewritten = match self.has_named(id) {
                    true => self.rewrite_deallocate(id, server, head, seen, said),
                    false => None,
                };
                rewritten.or_else(|| self.watch_for_drop_all(server, head, seen))
            }
            _ => None,
        }
    }

    /// An Execute may drop all statements, or take in data. The client's further messages wait for
    /// its answer: before that, nobody knows which names and statements there are. A Flush brings
    /// the answer, since the Sync may be yet to come.
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
        // The hold of this function ends; the client's name and the server have their own.
        self.statements.release(held);
        Some(verdict)
    }

    /// Refuses a Parse that must be kept until all of it has come, and is longer than what its
    /// client may have.
    fn refuse_long(&mut self, id: ClientId, body: usize) -> Option<Verdict> {
        let most = self.config.settings.max_client_prepared_bytes;
        is_beyond(body, most).then(|| self.refuse_client_bytes(id, most))
    }

    /// Refuses a Parse that has come, where its client or all clients have too much already.
    fn refuse_more(&mut self, id: ClientId, parse: &ParseMessage<'_>) -> Option<Verdict> {
        let settings = &self.config.settings;
        let most_names = settings.max_client_prepared_statements;
        let (most, most_in_all) = (settings.max_client_prepared_bytes, settings.max_prepared_bytes);
        let statements = self.clients[id].statements.as_ref()?;
        if statements.names.get(parse.name).is_some() {
            // It is there already, or the name is taken.
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
            // The server refuses every Parse; this one without a look at its name.
            let text = self.statements.statements[statement].text().to_vec();
            return self.refuse_taken(server, name, statement, &text, said);
        }
        if let Presence::Undecided = presence {
            // To know the text again it must be read again, all of it.
            self.servers[server].replies.bar_until_synced();
            return Verdict::Hold(Hold::Undecided);
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
            session.bound_tracked(self.statements.effects(statement), is_first);
        }
        let record = &self.statements.statements[statement];
        if record.is_decisive {
            replies.expect_decision();
        }
        replies.push(Request::Bind(Some(statement)));
        let taken = names.say(head.body, record, said.to_server.words());
        Some(Verdict::Replace { to: server, taken })
    }

    /// The names of a Bind have not come whole: asks for more, in growing steps.
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

    /// The statement that a client means by a name, or what to do when there is none.
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

/// 0 is no limit.
fn is_beyond(bytes: usize, most: u32) -> bool {
    most > 0 && bytes > most as usize
}

/// The longest portal and statement names together that a Bind may have, in bytes.
const LONGEST_NAMES_BYTES: usize = 256 * 1024;

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
