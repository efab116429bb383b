//! Which statements a server has, and which names a client has: what replies confirm, and what
//! errors undo.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::server::Server;
use crate::pool::statements::held::HeldStatement;
use crate::wire::build::{self, Message};
use crate::wire::kind::Front;

/// Whether a server has a statement.
pub(super) enum Presence {
    Held,
    Missing,
    /// A request of an earlier segment decides.
    Undecided,
}

impl Core {
    /// Makes sure that the server has the client's statement before the next message.
    pub(super) fn prepare_on(
        &mut self,
        client: ClientId,
        server: ServerId,
        id: StatementId,
        said: &mut Said<'_>,
    ) -> Result<StatementId, Verdict> {
        match self.presence(server, id) {
            Presence::Held => return Ok(id),
            Presence::Undecided => return Err(Verdict::Hold(Hold::Undecided)),
            Presence::Missing => {}
        }
        let id = self.under_present_terms(client, id);
        match self.presence(server, id) {
            Presence::Held => {}
            Presence::Undecided => return Err(Verdict::Hold(Hold::Undecided)),
            Presence::Missing => self.say_parse(server, id, true, said),
        }
        Ok(id)
    }

    /// The statement that the client's text means under its present settings. If the client has
    /// changed the settings by which PostgreSQL reads constants, that is a statement of its own.
    fn under_present_terms(&mut self, client: ClientId, id: StatementId) -> StatementId {
        let Some(terms) = self.terms(client) else { return id };
        if self.statements.terms_of(id).settings == terms.settings {
            return id;
        }
        let Some(statements) = &mut self.clients[client].statements else { return id };
        let after = self.statements.same_under(id, terms);
        statements.rename(&mut self.statements, id, after);
        self.statements.release(after);
        after
    }

    /// Whether a server has the statement that is about to be used.
    #[inline]
    pub(super) fn presence(&mut self, server: ServerId, id: StatementId) -> Presence {
        let Server { replies, statements, .. } = &mut self.servers[server];
        let held = statements.as_mut().and_then(|statements| statements.use_held(id));
        match held.map(|held| held.pending) {
            None if replies.is_close_undecided(id) => Presence::Undecided,
            None => Presence::Missing,
            Some(None) => Presence::Held,
            Some(Some(segment)) if segment == replies.segment() => Presence::Held,
            Some(Some(_)) => Presence::Undecided,
        }
    }

    /// Sends a Parse under the name for servers, after a Close of the oldest statement if room is
    /// needed. `is_own` tells that the client did not send this Parse.
    pub(super) fn say_parse(
        &mut self,
        server: ServerId,
        id: StatementId,
        is_own: bool,
        said: &mut Said<'_>,
    ) {
        let request = if is_own { Request::OwnParse(id) } else { Request::Parse(Some(id)) };
        self.make_room_for_statement(server, said);
        let body = self.statements.statements[id].body();
        Message::front(said.to_server.words(), Front::Parse).bytes(body).end();
        let pool = self.servers[server].pool;
        self.pools[pool].stats.server_parses += 1;
        self.servers[server].replies.push(request);
        self.statements.server_holds(id);
        let record = &mut self.servers[server];
        let segment = record.replies.segment();
        let statements = record.statements.get_or_insert_default();
        statements.hold(id, segment);
    }

    fn make_room_for_statement(&mut self, server: ServerId, said: &mut Said<'_>) {
        let most = self.config.settings.max_prepared_statements as usize;
        let record = &mut self.servers[server];
        let Some(statements) = &mut record.statements else { return };
        while statements.held.len() >= most {
            let Some(oldest) = statements.oldest() else { return };
            statements.held.remove(&oldest);
            self.statements.evictions += 1;
            let name = self.statements.statements[oldest].name();
            Message::front(said.to_server.words(), Front::Close).u8(b'S').cstr(name).end();
            // The request takes over the reference: after an error the server may still have the
            // statement.
            record.replies.push(Request::OwnClose(oldest));
        }
    }

    /// A Parse was answered: the server has the statement.
    pub(in crate::pool) fn server_prepared(&mut self, server: ServerId, id: StatementId) {
        if let Some(statements) = &mut self.servers[server].statements
            && let Some(held) = statements.held.get_mut(&id)
        {
            held.pending = None;
            statements.note_fresh(id);
        }
    }

    /// A Close of the pooler's own was answered: the server no longer has the statement.
    pub(in crate::pool) fn server_dropped(&mut self, id: StatementId) {
        self.statements.server_releases(id);
    }

    /// A Parse or Close of the client was answered: the change of the name is final.
    pub(in crate::pool) fn name_settled(&mut self, client: ClientId) {
        let Some(statements) = &mut self.clients[client].statements else { return };
        statements.keep_oldest_change(&mut self.statements);
    }

    /// An error made the server skip these requests: undoes what they would have changed.
    pub(in crate::pool) fn requests_skipped(&mut self, server: ServerId, skipped: &[Request]) {
        let client = self.servers[server].client();
        let mut changes = 0;
        // Backwards, since a statement may have been closed and prepared again.
        for request in skipped.iter().rev() {
            match *request {
                Request::OwnParse(id) => self.unprepare(server, id),
                Request::Parse(Some(id)) => {
                    self.unprepare(server, id);
                    changes += 1;
                }
                Request::OwnClose(id) => {
                    let statements = self.servers[server].statements.get_or_insert_default();
                    statements.held.insert(id, HeldStatement { used: 0, pending: None });
                }
                Request::AnswerParse | Request::AnswerClose => changes += 1,
                Request::Bind(_)
                | Request::Close
                | Request::CopyEnd
                | Request::Describe(_)
                | Request::Execute
                | Request::FunctionCall
                | Request::Misnamed
                | Request::OwnUnnamed
                | Request::Parse(None)
                | Request::ParseNamed
                | Request::Query
                | Request::Probe
                | Request::Sync => {}
            }
        }
        if let Some(client) = client
            && let Some(statements) = &mut self.clients[client].statements
        {
            statements.undo(&mut self.statements, changes);
        }
    }

    pub(super) fn unprepare(&mut self, server: ServerId, id: StatementId) {
        if let Some(statements) = &mut self.servers[server].statements
            && statements.held.remove(&id).is_some()
        {
            self.statements.server_releases(id);
        }
    }

    /// Whether the next reply is one that the pooler gives itself. The server may be gone.
    #[inline(always)]
    pub fn has_due_answers(&self, server: ServerId) -> bool {
        self.servers.get(server).is_some_and(|server| server.replies.is_own_turn())
    }

    /// Sends the replies that the pooler gives itself, as far as their turn has come.
    #[inline]
    pub fn push_due_answers(&mut self, server: ServerId, to_client: &mut OutgoingBytes<'_>) {
        if self.servers[server].replies.is_own_turn() {
            self.push_answers(server, to_client);
        }
    }

    fn push_answers(&mut self, server: ServerId, to_client: &mut OutgoingBytes<'_>) {
        while let Some(reply) = self.servers[server].replies.answer_due() {
            if let Some(client) = self.servers[server].client() {
                self.name_settled(client);
                self.replies_came(client);
            }
            // Nothing follows the goodbye of a server that its client has heard.
            if !self.servers[server].has_said_farewell {
                build::empty_back(to_client.words(), reply);
            }
        }
    }

    /// Takes note of what a command has done to statements and parameters, by its tag: after
    /// DEALLOCATE ALL and DISCARD ALL the server and the client have no statements; a change of
    /// tables or types outdates the statements that depend on them.
    #[inline]
    pub(in crate::pool) fn heed_tag(&mut self, server: ServerId, client: ClientId, tag: &[u8]) {
        if !tells_of_statements(tag) {
            return;
        }
        self.heed_server_tag(server, tag);
        if !is_all_gone(tag) || !self.tracks_statements(&self.clients[client]) {
            return;
        }
        if let Some(statements) = &mut self.clients[client].statements {
            statements.forget_settled(&mut self.statements);
        }
    }

    pub(in crate::pool) fn heed_server_tag(&mut self, server: ServerId, tag: &[u8]) {
        if tag == b"DISCARD ALL\0" {
            self.vars.forget_unreported(&mut self.servers[server].vars);
        } else if tag == b"RESET\0" {
            self.vars.doubt_unreported(&mut self.servers[server].vars);
        }
        if changes_tables(tag) {
            self.servers[server].has_changed_tables = true;
            self.begin_generation(server);
        }
        if !is_all_gone(tag) {
            return;
        }
        let Some(statements) = &mut self.servers[server].statements else { return };
        for id in statements.forget_settled() {
            self.statements.server_releases(id);
        }
    }

    /// A transaction has ended: only now do other sessions see the tables that it has changed.
    #[inline]
    pub(in crate::pool) fn transaction_settled(&mut self, server: ServerId) {
        if std::mem::take(&mut self.servers[server].has_changed_tables) {
            self.begin_generation(server);
        }
    }

    fn begin_generation(&mut self, server: ServerId) {
        let database = self.pools[self.servers[server].pool].database;
        self.statements.begin_generation(self.databases[database].remote_name());
    }

    /// The server has reported a setting by which it reads constants. It may have read the latest
    /// Parse messages under the old setting or under the new one.
    pub(in crate::pool) fn settings_changed(&mut self, server: ServerId) {
        let Server { replies, statements, .. } = &mut self.servers[server];
        let fresh = statements.as_ref().map_or(&[][..], |statements| &statements.fresh);
        for id in replies.parses_under_way().chain(fresh.iter().copied()) {
            self.statements.put_aside(id);
        }
    }
}

/// Whether a command tag concerns prepared statements or parameters.
#[inline]
pub(in crate::pool) fn tells_of_statements(tag: &[u8]) -> bool {
    match tag.first() {
        Some(b'A' | b'C' | b'D' | b'I') => is_all_gone(tag) || changes_tables(tag),
        // RESET of one parameter, of all, or of the role.
        Some(b'R') => tag == b"RESET\0",
        _ => false,
    }
}

fn is_all_gone(tag: &[u8]) -> bool {
    matches!(tag, b"DEALLOCATE ALL\0" | b"DISCARD ALL\0")
}

/// Whether tables, types or functions may have changed. The changes of a transaction that was
/// prepared take effect with COMMIT PREPARED.
fn changes_tables(tag: &[u8]) -> bool {
    let rest = [&b"CREATE "[..], b"ALTER ", b"DROP "].iter().find_map(|w| tag.strip_prefix(*w));
    let is_other = rest.is_some_and(|rest| !rest.starts_with(b"INDEX"));
    is_other || matches!(tag, b"IMPORT FOREIGN SCHEMA\0" | b"COMMIT PREPARED\0")
}
