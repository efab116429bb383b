//! The unnamed statement: no client ever runs that of another client.
//!
//! PostgreSQL keeps the unnamed statement of a session until the next one is prepared or a simple
//! query comes. Most drivers send its Parse and Bind together. Other drivers prepare it, read its
//! description, and bind it later. Meanwhile the client may have got another server, which has
//! another client's unnamed statement.
//!
//! So the pooler knows of each server whether its unnamed statement belongs to its present client
//! ([`Replies::has_foreign_unnamed`]). A short text that was prepared and not bound before its
//! client released the server is kept with the client, and prepared again when the client uses it.
//! If the text was bound already, or was long, the client is told that the statement does not
//! exist. A Parse that the server refuses or skips may leave another client's statement in place,
//! so a Bind in a later segment waits until the Parse is answered. A Parse that comes with its Bind
//! costs one copy into memory that the server's record keeps.
//!
//! [`Replies::has_foreign_unnamed`]: crate::pool::owed::replies::Replies::has_foreign_unnamed

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::unnamed::{MOST_KEPT_BYTES, UNNAMED};
use crate::pool::owed::verdict::{Hold, Verdict};
use crate::pool::records::server::Server;
use crate::pool::statements::deallocate;
use crate::wire::build::Message;
use crate::wire::fields::{self, Fields, ReportFields};
use crate::wire::head::Head;
use crate::wire::kind::Front;
use crate::wire::sqlstate;

/// How many bytes of a Parse are examined if its text is not kept.
const LOOKED_AT_BYTES: usize = 256;

/// Whether a Bind is of the unnamed statement. That is not known before both names are here.
#[inline(always)]
pub(in crate::pool) fn binds_unnamed(body: &[u8]) -> bool {
    // Most portals have no name.
    match body {
        [0, first, ..] => *first == 0,
        _ => binds_unnamed_to_named(body),
    }
}

fn binds_unnamed_to_named(body: &[u8]) -> bool {
    let mut fields = Fields::new(body);
    fields.cstr().is_some() && fields.cstr().is_some_and(<[u8]>::is_empty)
}

impl Core {
    /// Notes what a message does to the unnamed statement, and makes sure that a message which uses
    /// it gets the client's own. `None` leaves the message to other judges.
    #[inline(always)]
    pub(in crate::pool) fn heed_unnamed(
        &mut self,
        id: ClientId,
        server: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let Server { replies, unnamed, .. } = &mut self.servers[server];
        if replies.is_answered() {
            unnamed.settled();
        }
        if kind == Front::Sync {
            unnamed.synced();
            return None;
        }
        if !kind.concerns_statements() || replies.takes_copy_data() || replies.is_skipping() {
            return None;
        }
        let is_foreign = replies.has_foreign_unnamed();
        let names_none =
            matches!(kind, Front::Close | Front::Describe) && head.body == UNNAMED.len();
        if names_none && seen.len() < head.body {
            return Some(Verdict::Need(head.body));
        }
        match kind {
            Front::Parse => return self.heed_parse(id, server, head, seen),
            Front::Bind => return self.heed_bind(id, server, head, seen, is_foreign, said),
            Front::Describe if seen == UNNAMED && replies.is_unnamed_undecided() => {
                return Some(self.await_owner(server));
            }
            Front::Describe if is_foreign && seen == UNNAMED => {
                self.own_unnamed(id, server, said);
                self.servers[server].replies.push(Request::Describe(None));
                return Some(Verdict::Replace { to: server, taken: 0 });
            }
            Front::Close if seen == UNNAMED => self.servers[server].unnamed.dropped(),
            Front::Close
            | Front::CopyData
            | Front::CopyDone
            | Front::CopyFail
            | Front::Describe
            | Front::Execute
            | Front::Flush
            | Front::FunctionCall
            | Front::Password
            // `heed_query` has noted it.
            | Front::Query
            | Front::Sync
            | Front::Terminate => {}
        }
        None
    }

    fn heed_parse(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
    ) -> Option<Verdict> {
        let is_kept = self.shares_servers(server) && head.body <= MOST_KEPT_BYTES;
        let need = if is_kept { head.body } else { head.body.min(LOOKED_AT_BYTES) };
        match seen.first() {
            None if head.body > 0 => Some(Verdict::Need(1)),
            Some(0) if seen.len() < need => Some(Verdict::Need(need)),
            Some(0) => {
                let unnamed = &mut self.servers[server].unnamed;
                match is_kept {
                    true => unnamed.prepared(&seen[1..]),
                    false => unnamed.replaced(),
                }
                if deallocate::is_decisive(&seen[1..]) {
                    self.servers[server].replies.expect_decision();
                }
                None
            }
            Some(_) if !self.tracks_statements(&self.clients[id]) => {
                let need = head.body.min(LOOKED_AT_BYTES);
                if seen.len() < need {
                    return Some(Verdict::Need(need));
                }
                if fields::behind_name(seen).is_some_and(deallocate::is_decisive) {
                    self.servers[server].replies.expect_decision();
                }
                self.servers[server].replies.push(Request::ParseNamed);
                Some(Verdict::Forward(server))
            }
            None | Some(_) => None,
        }
    }

    fn heed_bind(
        &mut self,
        id: ClientId,
        server: ServerId,
        head: Head,
        seen: &[u8],
        is_foreign: bool,
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let is_undecided = self.servers[server].replies.is_unnamed_undecided();
        let is_own = !is_foreign && !is_undecided;
        if is_own && !self.tracks_statements(&self.clients[id]) {
            if binds_unnamed(seen) {
                self.servers[server].unnamed.bound();
            }
            return None;
        }
        let mut fields = Fields::new(seen);
        let Some(name) = fields.cstr().and_then(|_| fields.cstr()) else {
            // A Bind without complete names is refused by the server.
            return (seen.len() < head.body).then(|| self.need_names(id, head, seen));
        };
        if !name.is_empty() {
            return None;
        }
        if is_undecided {
            return Some(self.await_owner(server));
        }
        if is_own {
            self.servers[server].unnamed.bound();
            return None;
        }
        self.own_unnamed(id, server, said);
        self.servers[server].replies.push(Request::Bind(None));
        Some(Verdict::Replace { to: server, taken: 0 })
    }

    /// The client uses the unnamed statement that a segment under way prepares. If the server
    /// refuses or skips that Parse, it will still have another client's statement: the message
    /// waits until the segment is answered.
    #[cold]
    fn await_owner(&mut self, server: ServerId) -> Verdict {
        self.servers[server].replies.bar_until_synced();
        Verdict::Hold(Hold::Undecided)
    }

    /// Makes the server's unnamed statement the client's own before the next message: prepares the
    /// client's text again, or drops the present statement, so that the server reports that none
    /// exists.
    fn own_unnamed(&mut self, id: ClientId, server: ServerId, said: &mut Said<'_>) {
        match self.kept_unnamed(id, server) {
            Some(statement) => {
                let text = self.statements.statements[statement].text();
                Message::front(said.to_server.words(), Front::Parse).cstr(b"").bytes(text).end();
                let pool = self.servers[server].pool;
                self.pools[pool].stats.server_parses += 1;
                let Server { session, replies, .. } = &mut self.servers[server];
                if session.is_watched() {
                    let effects = self.statements.effects(statement);
                    session.note_unnamed(effects, replies.segment_of_parse());
                }
                if self.statements.is_decisive(statement) {
                    self.servers[server].replies.expect_decision();
                }
            }
            None => Message::front(said.to_server.words(), Front::Close).bytes(UNNAMED).end(),
        }
        self.servers[server].replies.push(Request::OwnUnnamed);
    }

    /// The text that the client keeps, unless the client has prepared or dropped one since, or its
    /// settings would now read constants in another way.
    fn kept_unnamed(&self, id: ClientId, server: ServerId) -> Option<StatementId> {
        let is_untouched = self.servers[server].unnamed.is_untouched();
        let kept = self.clients[id].statements.as_ref()?.unnamed.filter(|_| is_untouched)?;
        let terms = self.terms(id)?;
        (self.statements.terms_of(kept).settings == terms.settings).then_some(kept)
    }

    /// The pooler has answered a simple query of the client itself. A simple query drops the
    /// unnamed statement, as it would on a server.
    pub(in crate::pool) fn forget_unnamed(&mut self, id: ClientId) {
        if let Some(server) = self.clients[id].server() {
            let server = &mut self.servers[server];
            server.replies.disown_unnamed();
            server.unnamed.dropped();
            return;
        }
        let client = &mut self.clients[id];
        // The unnamed statement on the last server is gone for the client too.
        client.last_server = [0; 3];
        if let Some(statements) = &mut client.statements {
            statements.keep_unnamed(&mut self.statements, None);
        }
    }

    /// An error made the server skip requests, of which the first is the one that failed.
    pub(in crate::pool) fn unnamed_skipped(
        &mut self,
        server: ServerId,
        skipped: &[Request],
        error: &[u8],
    ) {
        let changes = |request: &&Request| matches!(request, Request::Parse(None) | Request::Query);
        let mut count = skipped.iter().filter(changes).count();
        if count == 0 {
            return;
        }
        let is_last = !self.servers[server].replies.prepares_unnamed();
        let is_only = count == 1 && is_last;
        if skipped[0] == Request::Parse(None) && !self.was_left_unread(server, is_only, error) {
            // The failed Parse has dropped the statement before and prepared none.
            count -= 1;
        }
        self.servers[server].unnamed.skipped(count, is_last);
    }

    /// Whether a server has refused a Parse of an unnamed statement unread, so that the statement
    /// before is still there: it cannot take the message apart, or the text is not in the client's
    /// encoding. A constant in the text (`E'\xff'`) gives the second SQLSTATE too, when that
    /// statement is gone, so the text is looked at; it is known if the Parse was the last one. In
    /// doubt the answer is no: a client whose Parse failed must not run an older statement instead.
    fn was_left_unread(&self, server: ServerId, is_last: bool, error: &[u8]) -> bool {
        let Server { unnamed, vars, .. } = &self.servers[server];
        match ReportFields::parse(error).sqlstate.as_str() {
            sqlstate::PROTOCOL_VIOLATION => true,
            sqlstate::CHARACTER_NOT_IN_REPERTOIRE => {
                is_last && self.vars.is_miscoded(&vars.present, unnamed.last_sql())
            }
            _ => false,
        }
    }
}
