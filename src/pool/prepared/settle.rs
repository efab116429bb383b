//! Which statements a server has, and which names a client: what replies settle, and what an error
//! undoes.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::request::Request;
use crate::pool::owed::verdict::{ClientVerdict, Verdict};
use crate::pool::records::server::Server;
use crate::pool::statements::table::{Change, Held};
use crate::wire::build::{self, Message};
use crate::wire::kind::Front;

/// What a server has of a statement.
pub(super) enum Presence {
    Held,
    Missing,
    /// An earlier Sync decides.
    Undecided,
}

impl Core {
    /// Makes sure that the server has the statement when the next message reaches it.
    pub(super) fn prepare_on(
        &mut self,
        server: ServerId,
        id: StatementId,
    ) -> Result<(), ClientVerdict> {
        match self.presence(server, id) {
            Presence::Held => {}
            Presence::Undecided => return Err(Verdict::Hold),
            Presence::Missing => self.splice_parse(server, id, true),
        }
        Ok(())
    }

    /// What the server has of a statement that is about to be used.
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

    /// Appends a Parse under the server's name to the splice; before it, a Close of what must make
    /// room. `is_own` tells that the client did not ask for it.
    pub(super) fn splice_parse(&mut self, server: ServerId, id: StatementId, is_own: bool) {
        let request = if is_own { Request::OwnParse(id) } else { Request::Parse(Some(id)) };
        self.make_room_for_statement(server);
        let body = self.statements.statements[id].body();
        Message::front(&mut self.splice, Front::Parse).bytes(body).end();
        let pool = self.servers[server].pool;
        self.pools[pool].stats.server_parses += 1;
        self.servers[server].replies.push(request);
        self.statements.hold_again(id);
        let record = &mut self.servers[server];
        let segment = record.replies.segment();
        let statements = record.statements.get_or_insert_default();
        statements.hold(id, segment);
    }

    fn make_room_for_statement(&mut self, server: ServerId) {
        let most = self.config.settings.max_prepared_statements as usize;
        let record = &mut self.servers[server];
        let Some(statements) = &mut record.statements else { return };
        while statements.held.len() >= most {
            let Some(oldest) = statements.oldest() else { return };
            statements.held.remove(&oldest);
            let name = self.statements.statements[oldest].name();
            Message::front(&mut self.splice, Front::Close).u8(b'S').cstr(name).end();
            // The hold goes over to the request: an error may give the statement back.
            record.replies.push(Request::OwnClose(oldest));
        }
    }

    /// A Parse has been answered: the server has the statement.
    pub(in crate::pool) fn server_prepared(&mut self, server: ServerId, id: StatementId) {
        if let Some(statements) = &mut self.servers[server].statements
            && let Some(held) = statements.held.get_mut(&id)
        {
            held.pending = None;
        }
    }

    /// A Close of the pooler's has been answered: the server has the statement no more.
    pub(in crate::pool) fn server_dropped(&mut self, id: StatementId) {
        self.statements.release(id);
    }

    /// A Parse or Close of the client's has been answered: its change stands.
    pub(in crate::pool) fn name_settled(&mut self, client: ClientId) {
        let Some(statements) = &mut self.clients[client].statements else { return };
        if let Some(before) = statements.settle_oldest() {
            self.statements.release(before);
        }
    }

    /// Requests that an error made the server skip: what they would have changed is undone.
    pub(in crate::pool) fn requests_skipped(&mut self, server: ServerId, skipped: &[Request]) {
        let client = self.servers[server].client();
        let mut changes = 0;
        // From the last one back: a statement may have been closed and prepared again.
        for request in skipped.iter().rev() {
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
                Some(before) => statements.names.insert(&change.name, before),
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
    pub(in crate::pool) fn heed_tag(&mut self, server: ServerId, client: ClientId, tag: &[u8]) {
        if !is_all_gone(tag) {
            return;
        }
        self.heed_server_tag(server, tag);
        if !self.tracks_statements(&self.clients[client]) {
            return;
        }
        let Some(statements) = &mut self.clients[client].statements else { return };
        for id in statements.forget_settled() {
            self.statements.release(id);
        }
    }

    pub(in crate::pool) fn heed_server_tag(&mut self, server: ServerId, tag: &[u8]) {
        if !is_all_gone(tag) {
            return;
        }
        let Some(statements) = &mut self.servers[server].statements else { return };
        for id in statements.forget_settled() {
            self.statements.release(id);
        }
    }
}

pub(in crate::pool) fn is_all_gone(tag: &[u8]) -> bool {
    matches!(tag, b"DEALLOCATE ALL\0" | b"DISCARD ALL\0")
}
