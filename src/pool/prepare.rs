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

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};

use super::client::Client;
use super::core::{ClientId, Core, ServerId};
use super::judge::{ClientVerdict, Verdict};
use super::reason::Reason;
use super::replies::{Request, Status};
use crate::base::arena::{Arena, Id};
use crate::config::PoolMode;
use crate::wire::build::{self, Message};
use crate::wire::fields::Fields;
use crate::wire::head::{HEAD, Head};
use crate::wire::kind::{Back, Front};

pub type StatementId = Id<Statement>;

/// One text with its parameter types.
pub struct Statement {
    /// The body of a Parse behind the name: query, NUL, count and types of parameters.
    text: Box<[u8]>,
    hash: u64,
    /// The number in its name on servers; never used again.
    number: u64,
    /// Clients' names and servers that hold it.
    holders: u32,
}

/// All statements that somebody holds. A text is stored once.
#[derive(Default)]
pub struct StatementTable {
    statements: Arena<Statement>,
    by_hash: HashMap<u64, Vec<StatementId>>,
    hasher: RandomState,
    last_number: u64,
    text_bytes: usize,
}

/// The statements of one client, and the changes whose reply has not come.
#[derive(Debug, Default)]
pub struct ClientStatements {
    names: HashMap<Box<[u8]>, StatementId>,
    journal: VecDeque<Change>,
}

/// A change of a client's names that a skipped message would undo.
#[derive(Debug)]
struct Change {
    /// The Sync that decides on it (see [`super::replies::Replies::segment`]).
    segment: u32,
    name: Box<[u8]>,
    before: Option<StatementId>,
}

/// The statements of one server.
#[derive(Debug, Default)]
pub struct ServerStatements {
    held: HashMap<StatementId, Held>,
    /// Counts uses, to find the one that was not used for longest.
    clock: u64,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    used: u64,
    /// The segment whose Sync decides whether it is there; `None` when it is known to be.
    pending: Option<u32>,
}

impl StatementTable {
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Bytes of all texts, for SHOW MEM.
    pub fn text_bytes(&self) -> usize {
        self.text_bytes
    }

    /// The id of a text, with one more holder.
    fn hold(&mut self, text: &[u8]) -> StatementId {
        let hash = self.hasher.hash_one(text);
        let same = self.by_hash.entry(hash).or_default();
        if let Some(&id) = same.iter().find(|&&id| *self.statements[id].text == *text) {
            self.statements[id].holders += 1;
            return id;
        }
        self.last_number += 1;
        let number = self.last_number;
        self.text_bytes += text.len();
        let id = self.statements.insert(Statement { text: text.into(), hash, number, holders: 1 });
        same.push(id);
        id
    }

    fn hold_again(&mut self, id: StatementId) {
        self.statements[id].holders += 1;
    }

    fn release(&mut self, id: StatementId) {
        let statement = &mut self.statements[id];
        statement.holders -= 1;
        if statement.holders > 0 {
            return;
        }
        self.text_bytes -= statement.text.len();
        let hash = statement.hash;
        self.statements.remove(id);
        if let Some(same) = self.by_hash.get_mut(&hash) {
            same.retain(|&other| other != id);
            if same.is_empty() {
                self.by_hash.remove(&hash);
            }
        }
    }

    /// The name on servers.
    fn name(&self, id: StatementId) -> String {
        format!("PGBOUNCER_{}", self.statements[id].number)
    }

    pub(super) fn forget_client(&mut self, statements: ClientStatements) {
        for id in statements.names.into_values() {
            self.release(id);
        }
        for id in statements.journal.into_iter().filter_map(|change| change.before) {
            self.release(id);
        }
    }

    pub(super) fn forget_server(&mut self, statements: ServerStatements) {
        for id in statements.held.into_keys() {
            self.release(id);
        }
    }
}

impl ClientStatements {
    pub fn len(&self) -> usize {
        self.names.len()
    }

    /// Whether what has become of a name is decided by a Sync before `segment`.
    fn is_undecided(&self, name: &[u8], segment: u32) -> bool {
        self.journal.iter().any(|change| change.segment != segment && *change.name == *name)
    }

    /// Binds a name anew, or takes it away. The journal keeps what was before, with its hold.
    fn change(&mut self, name: &[u8], after: Option<StatementId>, segment: u32) {
        let before = match after {
            Some(id) => self.names.insert(name.into(), id),
            None => self.names.remove(name),
        };
        self.journal.push_back(Change { segment, name: name.into(), before });
    }
}

impl ServerStatements {
    pub fn len(&self) -> usize {
        self.held.len()
    }

    fn oldest(&self) -> Option<StatementId> {
        let decided = self.held.iter().filter(|(_, held)| held.pending.is_none());
        decided.min_by_key(|(_, held)| held.used).map(|(&id, _)| id)
    }
}

/// What a server has of a statement.
enum Presence {
    Held,
    Missing,
    /// An earlier Sync decides.
    Undecided,
}

/// A named Parse, taken apart.
struct ParseMessage<'a> {
    name: &'a [u8],
    /// Everything behind the name.
    text: &'a [u8],
}

impl Core {
    /// Whether statements of this pool follow their clients.
    fn tracks_statements(&self, client: &Client) -> bool {
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
        let name = super::deallocate::name(sql)?;
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
        match kind {
            Front::Parse => self.rewrite_parse(id, server, head, seen),
            Front::Bind => self.rewrite_bind(id, server, head, seen),
            Front::Describe => self.rewrite_describe(id, server, head, seen),
            Front::Close => self.rewrite_close(id, server, head, seen),
            Front::Query => self.rewrite_deallocate(id, server, head, seen),
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
        if !self.servers[server].replies.is_skipping() {
            // The same text under a name that has it already changes nothing, but the journal
            // keeps step with the replies.
            self.statements.hold_again(statement);
            let statements = self.clients[id].statements.get_or_insert_default();
            statements.change(name, Some(statement), segment);
        }
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
        if !replies.is_skipping() {
            statements.change(name, None, segment);
        }
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
        if replies.is_skipping() {
            return None;
        }
        if !replies.is_answered() {
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
        // Behind an error the server passes over it, whatever it names.
        if self.servers[server].replies.is_skipping() {
            return Err(Verdict::Drop);
        }
        self.close_client(id, Reason::PreparedMissing);
        Err(Verdict::Closed)
    }

    /// Makes sure that the server has the statement when the next message reaches it.
    fn prepare_on(&mut self, server: ServerId, id: StatementId) -> Result<(), ClientVerdict> {
        match self.presence(server, id) {
            Presence::Held => self.touch(server, id),
            Presence::Undecided => return Err(Verdict::Hold),
            Presence::Missing => self.splice_parse(server, id, true),
        }
        Ok(())
    }

    fn presence(&self, server: ServerId, id: StatementId) -> Presence {
        let server = &self.servers[server];
        let held = server.statements.as_ref().and_then(|statements| statements.held.get(&id));
        match held.map(|held| held.pending) {
            None => Presence::Missing,
            Some(None) => Presence::Held,
            Some(Some(segment)) if segment == server.replies.segment() => Presence::Held,
            Some(Some(_)) => Presence::Undecided,
        }
    }

    fn touch(&mut self, server: ServerId, id: StatementId) {
        let statements = self.servers[server].statements.get_or_insert_default();
        statements.clock += 1;
        let clock = statements.clock;
        if let Some(held) = statements.held.get_mut(&id) {
            held.used = clock;
        }
    }

    /// Appends a Parse under the server's name to the splice; before it, a Close of what must make
    /// room. `is_own` tells that the client did not ask for it.
    fn splice_parse(&mut self, server: ServerId, id: StatementId, is_own: bool) {
        let request = if is_own { Request::OwnParse(id) } else { Request::Parse(Some(id)) };
        let skipping = self.servers[server].replies.is_skipping();
        if !skipping {
            self.make_room_for_statement(server);
        }
        let name = self.statements.name(id);
        let text = &self.statements.statements[id].text;
        Message::front(&mut self.splice, Front::Parse).cstr(name).bytes(text).end();
        let pool = self.servers[server].pool;
        self.pools[pool].stats.server_parses += 1;
        self.servers[server].replies.push(request);
        if skipping {
            return;
        }
        self.statements.hold_again(id);
        let record = &mut self.servers[server];
        let segment = record.replies.segment();
        let statements = record.statements.get_or_insert_default();
        statements.clock += 1;
        let held = Held { used: statements.clock, pending: Some(segment) };
        statements.held.insert(id, held);
    }

    fn make_room_for_statement(&mut self, server: ServerId) {
        let most = self.config.settings.max_prepared_statements as usize;
        let record = &mut self.servers[server];
        let Some(statements) = &mut record.statements else { return };
        while statements.held.len() >= most {
            let Some(oldest) = statements.oldest() else { return };
            statements.held.remove(&oldest);
            let name = self.statements.name(oldest);
            Message::front(&mut self.splice, Front::Close).u8(b'S').cstr(name).end();
            // The hold goes over to the request: an error may give the statement back.
            record.replies.push(Request::OwnClose(oldest));
        }
    }

    /// A Parse has been answered: the server has the statement.
    pub(super) fn server_prepared(&mut self, server: ServerId, id: StatementId) {
        if let Some(statements) = &mut self.servers[server].statements
            && let Some(held) = statements.held.get_mut(&id)
        {
            held.pending = None;
        }
    }

    /// A Close of the pooler's has been answered: the server has the statement no more.
    pub(super) fn server_dropped(&mut self, id: StatementId) {
        self.statements.release(id);
    }

    /// A Parse or Close of the client's has been answered: its change stands.
    pub(super) fn name_settled(&mut self, client: ClientId) {
        let Some(statements) = &mut self.clients[client].statements else { return };
        if let Some(before) = statements.journal.pop_front().and_then(|change| change.before) {
            self.statements.release(before);
        }
    }

    /// Requests that an error made the server skip: what they would have changed is undone.
    pub(super) fn requests_skipped(&mut self, server: ServerId, skipped: &[Request]) {
        let client = self.servers[server].client();
        let mut changes = 0;
        for request in skipped {
            match *request {
                Request::OwnParse(id) => self.unprepare(server, id),
                Request::Parse(Some(id)) => {
                    self.unprepare(server, id);
                    changes += 1;
                }
                Request::OwnClose(id) => {
                    let statements = self.servers[server].statements.get_or_insert_default();
                    statements.held.insert(id, Held { used: 0, pending: None });
                }
                Request::AnswerParse | Request::AnswerClose => changes += 1,
                _ => {}
            }
        }
        if let Some(client) = client {
            self.undo_changes(client, changes);
        }
    }

    fn unprepare(&mut self, server: ServerId, id: StatementId) {
        if let Some(statements) = &mut self.servers[server].statements
            && statements.held.remove(&id).is_some()
        {
            self.statements.release(id);
        }
    }

    /// Undoes the oldest `count` changes of a client's names, the newest of them first. Names with
    /// an undecided change are not changed again, so none of them has a younger change.
    fn undo_changes(&mut self, client: ClientId, count: usize) {
        let Some(statements) = &mut self.clients[client].statements else { return };
        let count = count.min(statements.journal.len());
        let undone: Vec<Change> = statements.journal.drain(..count).collect();
        for change in undone.into_iter().rev() {
            let after = match change.before {
                Some(before) => statements.names.insert(change.name, before),
                None => statements.names.remove(&change.name),
            };
            if let Some(after) = after {
                self.statements.release(after);
            }
        }
    }

    /// Replies that the pooler gives itself and whose turn has come.
    #[inline]
    pub fn push_due_answers(&mut self, server: ServerId) {
        while let Some(reply) = self.servers[server].replies.answer_due() {
            if let Some(client) = self.servers[server].client() {
                self.name_settled(client);
            }
            build::empty_back(&mut self.back, reply);
        }
    }

    /// DEALLOCATE ALL and DISCARD ALL leave nothing on the server, and nothing of the client.
    #[inline]
    pub(super) fn heed_tag(&mut self, server: ServerId, client: ClientId, tag: &[u8]) {
        if !is_all_gone(tag) {
            return;
        }
        self.heed_server_tag(server, tag);
        if !self.tracks_statements(&self.clients[client]) {
            return;
        }
        if let Some(statements) = self.clients[client].statements.take() {
            self.statements.forget_client(*statements);
        }
    }

    pub(super) fn heed_server_tag(&mut self, server: ServerId, tag: &[u8]) {
        if is_all_gone(tag)
            && let Some(statements) = self.servers[server].statements.take()
        {
            self.statements.forget_server(*statements);
        }
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

fn is_all_gone(tag: &[u8]) -> bool {
    matches!(tag, b"DEALLOCATE ALL\0" | b"DISCARD ALL\0")
}

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
