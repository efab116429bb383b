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

use super::client::Client;
use super::core::Core;
use super::deallocate;
use super::ids::StatementId;
use super::ids::{ClientId, ServerId};
use super::prepared::Presence;
use super::reason::Reason;
use super::replies::{Request, Status};
use super::verdict::{ClientVerdict, Verdict};
use crate::config::PoolMode;
use crate::wire::build::{self, Message};
use crate::wire::fields::Fields;
use crate::wire::head::{HEAD, Head};
use crate::wire::kind::{Back, Front};

/// A named Parse, taken apart.
struct ParseMessage<'a> {
    name: &'a [u8],
    /// Everything behind the name.
    text: &'a [u8],
}

impl Core {
    /// Whether statements of this pool follow their clients.
    pub(super) fn tracks_statements(&self, client: &Client) -> bool {
        self.config.settings.max_prepared_statements > 0
            && client.pool.is_some_and(|pool| self.pool_mode(pool) != PoolMode::Session)
    }

    /// Answers without a server what needs none: a Sync behind nothing, and the Close or
    /// DEALLOCATE of a tracked statement.
    pub(super) fn answer_here(
        &mut self,
        id: ClientId,
        kind: Front,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        match kind {
            Front::Sync => {
                self.count_local_query(id);
                build::ready_for_query(&mut self.back, b'I');
                Some(Verdict::Drop)
            }
            Front::Close if self.tracks_statements(&self.clients[id]) => {
                if seen.len() < head.body {
                    return Some(Verdict::Need(head.body));
                }
                let name = tracked_name(seen)?;
                self.drop_name(id, name);
                build::empty_back(&mut self.back, Back::CloseComplete);
                Some(Verdict::Drop)
            }
            Front::Query => {
                let verdict = self.find_deallocate(id, kind, head, seen)?;
                let name = match verdict {
                    Ok(name) => name,
                    Err(need) => return Some(need),
                };
                self.drop_name(id, &name);
                self.count_local_query(id);
                build::command_complete(&mut self.back, "DEALLOCATE");
                build::ready_for_query(&mut self.back, b'I');
                Some(Verdict::Drop)
            }
            _ => None,
        }
    }

    /// A query that was answered here is a query and a transaction all the same.
    fn count_local_query(&mut self, id: ClientId) {
        if let Some(pool) = self.clients[id].pool {
            let stats = &mut self.pools[pool].stats;
            stats.queries += 1;
            stats.xacts += 1;
        }
    }

    /// Takes a name from a client for which nothing is under way.
    fn drop_name(&mut self, id: ClientId, name: &[u8]) {
        let Some(statements) = &mut self.clients[id].statements else { return };
        if let Some(statement) = statements.names.remove(name) {
            self.statements.release(statement);
        }
    }

    /// The name in a simple query that is one DEALLOCATE of a statement of this client's.
    fn find_deallocate(
        &self,
        id: ClientId,
        kind: Front,
        head: Head,
        seen: &[u8],
    ) -> Option<Result<Vec<u8>, ClientVerdict>> {
        let statements = self.clients[id].statements.as_ref()?;
        if statements.names.is_empty() || !self.tracks_statements(&self.clients[id]) {
            return None;
        }
        let need = kind.must_see(head);
        if seen.len() < need {
            return Some(Err(Verdict::Need(need)));
        }
        let sql = seen.get(..head.body)?.strip_suffix(b"\0")?;
        let name = deallocate::name(sql)?;
        statements.names.contains_key(&*name).then_some(Ok(name))
    }

    /// Changes the messages that name a statement. `None` leaves a message as it is.
    #[inline]
    pub(super) fn rewrite(
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

    /// Behind a simple query that drops all statements nothing is judged before it is done: which
    /// names and statements are there is not known so long.
    fn watch_for_drop_all(
        &mut self,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        match seen.first() {
            None if head.body > 0 => return Some(Verdict::Need(1)),
            Some(&first) if deallocate::may_concern(first) => {}
            _ => return None,
        }
        let need = Front::Query.must_see(head);
        if seen.len() < need {
            return Some(Verdict::Need(need));
        }
        let replies = &mut self.servers[server].replies;
        if replies.is_skipping() || !deallocate::drops_all(seen) {
            return None;
        }
        replies.push(Request::Query);
        replies.bar();
        Some(Verdict::Forward(server))
    }

    fn rewrite_parse(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        match seen.first() {
            None if head.body == 0 => return Some(self.bad_packet(id)),
            None => return Some(Verdict::Need(1)),
            // Only statements with a name are tracked, and counted.
            Some(0) => return None,
            Some(_) => {}
        }
        if seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        let Some(parse) = read_parse(seen) else { return Some(self.bad_packet(id)) };
        let segment = self.servers[server].replies.segment();
        let held = self.statements.hold(parse.text);
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
        let limit = self.config.settings.max_client_prepared_statements as usize;
        let statements = self.clients[id].statements.get_or_insert_default();
        if statements.is_undecided(name, segment) {
            return Verdict::Hold;
        }
        match statements.names.get(name) {
            Some(&present) if present != statement => {
                self.close_client(id, Reason::PreparedTaken);
                return Verdict::Closed;
            }
            Some(_) => {}
            None if limit > 0 && statements.names.len() >= limit => {
                let detail = format!("max_client_prepared_statements is {limit}.");
                self.close_client_with(id, Reason::StatementLimit, Some(&detail));
                return Verdict::Closed;
            }
            None => {}
        }
        let presence = self.presence(server, statement);
        if let Presence::Undecided = presence {
            return Verdict::Hold;
        }
        // The same text under a name that has it already changes nothing, but the journal keeps
        // step with the replies.
        self.statements.hold_again(statement);
        let statements = self.clients[id].statements.get_or_insert_default();
        statements.change(name, Some(statement), segment);
        self.count_client_parse(id);
        if let Presence::Held = presence {
            self.touch(server, statement);
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
        if let Err(verdict) = self.prepare_on(server, statement) {
            return Some(verdict);
        }
        self.count_bind(id);
        let new_name = self.statements.name(statement);
        let body = head.body - name.len() + new_name.len();
        self.splice.push(Front::Bind as u8);
        self.splice.extend_from_slice(&(body as u32 + 4).to_be_bytes());
        for text in [portal, new_name.as_bytes()] {
            self.splice.extend_from_slice(text);
            self.splice.push(0);
        }
        let taken = HEAD + portal.len() + name.len() + 2;
        self.servers[server].replies.push(Request::Bind);
        Some(Verdict::Replace { to: server, taken })
    }

    /// The names of a Bind have not come whole: asks for more, in growing steps.
    fn need_names(&mut self, id: ClientId, head: Head, seen: &[u8]) -> ClientVerdict {
        if seen.len() >= head.body.min(LONGEST_NAMES) {
            return self.bad_packet(id);
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
        let name = tracked_name(seen)?;
        let statement = match self.statement_of(id, server, name) {
            Ok(statement) => statement,
            Err(verdict) => return Some(verdict),
        };
        if let Err(verdict) = self.prepare_on(server, statement) {
            return Some(verdict);
        }
        let new_name = self.statements.name(statement);
        Message::front(&mut self.splice, Front::Describe).u8(b'S').cstr(new_name).end();
        self.servers[server].replies.push(Request::Describe);
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
        let name = tracked_name(seen)?;
        let replies = &mut self.servers[server].replies;
        let segment = replies.segment();
        let statements = self.clients[id].statements.get_or_insert_default();
        if statements.is_undecided(name, segment) {
            return Some(Verdict::Hold);
        }
        statements.change(name, None, segment);
        replies.push(Request::AnswerClose);
        Some(Verdict::Drop)
    }

    /// DEALLOCATE of a tracked statement, as a simple query, while the client has a server: it is
    /// answered here when nothing is under way and no transaction would have to undo it.
    fn rewrite_deallocate(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<ClientVerdict> {
        let name = match self.find_deallocate(id, Front::Query, head, seen)? {
            Ok(name) => name,
            Err(need) => return Some(need),
        };
        let replies = &self.servers[server].replies;
        // Without a Sync the answers that would have to be awaited may never come.
        if replies.is_skipping() || replies.is_unsynced() {
            return None;
        }
        if !replies.is_answered() || self.servers[server].is_mid_reply {
            return Some(Verdict::Hold);
        }
        let status = match replies.status() {
            // The server would refuse it, and so it shall.
            Status::Failed => return None,
            Status::Idle => b'I',
            Status::InTransaction => b'T',
        };
        self.drop_name(id, &name);
        self.count_local_query(id);
        build::command_complete(&mut self.back, "DEALLOCATE");
        build::ready_for_query(&mut self.back, status);
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
            if statements.is_undecided(name, segment) {
                return Some(Err(Verdict::Hold));
            }
            statements.names.get(name).map(|&id| Ok(id))
        });
        if let Some(found) = found {
            return found;
        }
        self.close_client(id, Reason::PreparedMissing);
        Err(Verdict::Closed)
    }

    fn bad_packet(&mut self, id: ClientId) -> ClientVerdict {
        self.close_client(id, Reason::BadPacket);
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

/// The name in a Describe or Close of a named statement; portals and the unnamed statement are not
/// tracked.
fn tracked_name(body: &[u8]) -> Option<&[u8]> {
    let mut fields = Fields::new(body);
    if fields.u8() != Some(b'S') {
        return None;
    }
    fields.cstr().filter(|name| !name.is_empty())
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
