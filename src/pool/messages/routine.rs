//! The messages that most of a pipeline, a result or a COPY is made of, taken by the stretch.
//!
//! Whole messages that follow one another are passed on without a verdict for each, where a judge
//! would do no more than note that a request was sent or answered. Whatever is more than that, or
//! is not whole, ends the stretch and goes to the judges; they would come to the same, message by
//! message. Of a client's messages, a stretch follows one that was judged and went to the server,
//! or begins a transaction (`first`).
//! Of a server's messages, the stretch comes first, and the judge gets what ends it, unless that is
//! the ReadyForQuery of the last request in it.

use super::slow::EndedQuery;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId, StatementId};
use crate::pool::owed::kept::KeptQuery;
use crate::pool::owed::replies::Replies;
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::owed::unnamed::{UNNAMED, UnnamedText};
use crate::pool::prepared::prepare::{Named, named_by};
use crate::pool::prepared::presence::tells_of_statements;
use crate::pool::prepared::unnamed::binds_unnamed;
use crate::pool::prepared::usual::{BindNames, usual_statement};
use crate::pool::records::server::Server;
use crate::pool::records::session::ServerSession;
use crate::pool::records::unnamed_effects::BindPlace;
use crate::pool::statements::deallocate;
use crate::pool::statements::held::ServerStatements;
use crate::pool::statements::table::{ClientStatements, StatementTable};
use crate::pool::statements::traces::Effects;
use crate::wire::fields::behind_name;
use crate::wire::head::{self, HEAD_BYTES};
use crate::wire::kind::Front;

/// A stretch of a client's requests, and what they change.
struct Requests<'a, 'b> {
    replies: &'a mut Replies,
    session: &'a mut ServerSession,
    unnamed: &'a mut UnnamedText,
    kept: &'a mut KeptQuery,
    /// The statements of the client, of its server, and of the whole pooler.
    named: Option<&'a ClientStatements>,
    held: Option<&'a mut ServerStatements>,
    table: &'a mut StatementTable,
    /// The pool's counter, for statistics.
    binds: &'a mut u64,
    /// The longest body of a message, in bytes.
    longest: usize,
    /// Whether the stretch is so short that no message in it can be too long, nor its requests too
    /// many.
    is_roomy: bool,
    is_tracking: bool,
    keeps_unnamed: bool,
    /// The name that was bound last, and what was found for it.
    last: Option<LastBound<'b>>,
    may_decide: bool,
    is_copying: bool,
    is_watched: bool,
}

/// What a name was found to stand for, in a segment: nothing in a stretch changes that, and a
/// pipeline often binds one statement over and over.
#[derive(Clone, Copy)]
struct LastBound<'b> {
    name: &'b [u8],
    segment: u32,
    id: StatementId,
}

impl<'b> Requests<'_, 'b> {
    /// Whether a message of this kind and length may be taken now.
    #[inline(always)]
    fn fits(&self, kind: Front, body: &[u8]) -> bool {
        body.len() <= kind.largest()
            && (self.is_roomy || self.fits_closely(body))
            && (!self.is_copying || kind == Front::CopyData)
    }

    #[cold]
    fn fits_closely(&self, body: &[u8]) -> bool {
        body.len() <= self.longest && !self.replies.is_full()
    }

    /// A Bind of a tracked statement: its name on servers takes the place of the client's. Returns
    /// the statement and the names, unless that is for the judge.
    #[inline(always)]
    fn bind_tracked(
        &mut self,
        body: &'b [u8],
        may_repeat: &mut bool,
    ) -> Option<(StatementId, BindNames<'b>)> {
        let names = BindNames::read(body)?;
        let (name, segment) = (names.statement, self.replies.segment());
        let id = match self.last {
            Some(last) if last.segment == segment && last.name == name => last.id,
            _ => {
                let held = self.held.as_deref_mut();
                let id = usual_statement(self.named, held, self.table, (name, segment))?;
                self.last = Some(LastBound { name, segment, id });
                id
            }
        };
        if self.is_watched {
            if self.table.effects(id) != Effects::default() {
                return None;
            }
            let is_unnamed = names.portal.is_empty();
            let place = BindPlace { is_first: false, is_unnamed, is_of_unnamed: false };
            self.session.bound_tracked(Effects::default(), place);
        }
        self.kept.bytes.clear();
        *may_repeat = *may_repeat || self.replies.is_at_rest();
        *self.binds += 1;
        self.replies.push_routine(Request::Bind(Some(id)));
        Some((id, names))
    }

    /// Whether a message concerns no statement that must be looked at: none that is tracked, and
    /// not another client's unnamed one, which may be there until the client prepares its own.
    #[inline(always)]
    fn is_harmless(&self, kind: Front, body: &[u8]) -> bool {
        let is_routine = !self.is_tracking || is_routine_request(kind, body, true);
        is_routine && (!uses_unnamed(kind, body) || self.replies.has_own_unnamed())
    }

    #[inline(always)]
    fn prepares_plainly(&mut self, body: &[u8]) -> bool {
        self.session.prepares_plainly(body, self.replies.segment_of_parse())
    }

    /// A Bind of a statement with a name, where none is tracked.
    #[cold]
    #[inline(never)]
    fn bind_by_name(&mut self, body: &[u8]) -> Taken {
        if self.is_watched {
            let is_unnamed = body.first() == Some(&0);
            let place = BindPlace { is_first: false, is_unnamed, is_of_unnamed: false };
            self.session.bound(self.replies.segment(), place);
        }
        self.replies.push_routine(Request::Bind(None));
        Taken::One
    }

    /// Takes a message that is passed on as it is, or leaves it to the judge.
    #[inline(always)]
    fn take(&mut self, kind: Front, body: &[u8]) -> Taken {
        match kind {
            Front::Bind | Front::Close | Front::Describe | Front::Parse
                if !self.is_harmless(kind, body) =>
            {
                return Taken::No;
            }
            Front::CopyData => {
                return Taken::Run { most: self.longest.min(kind.largest()) };
            }
            Front::Bind if !self.is_tracking && !binds_unnamed(body) => {
                return self.bind_by_name(body);
            }
            Front::Bind => {
                self.unnamed.bound();
                if self.is_watched {
                    let is_unnamed = body.first() == Some(&0);
                    let place = BindPlace { is_first: false, is_unnamed, is_of_unnamed: true };
                    self.session.bound(self.replies.segment(), place);
                }
                self.replies.push_routine(Request::Bind(None));
            }
            Front::Close => {
                if body == UNNAMED {
                    self.unnamed.dropped();
                }
                self.replies.push_routine(Request::Close);
            }
            Front::Describe => self.replies.push_routine(Request::Describe(None)),
            Front::Execute if self.may_decide => return Taken::No,
            Front::Execute => {
                if self.is_watched {
                    self.session.executed(body.first() == Some(&0));
                }
                self.replies.push_routine(Request::Execute);
            }
            Front::Parse if self.is_watched && !self.prepares_plainly(body) => return Taken::No,
            Front::Parse if behind_name(body).is_some_and(deallocate::is_decisive) => {
                return Taken::No;
            }
            Front::Parse if body.first() == Some(&0) => {
                match self.keeps_unnamed {
                    true => self.unnamed.prepared(&body[1..]),
                    false => self.unnamed.replaced(),
                }
                self.replies.push_routine(Request::Parse(None));
            }
            Front::Parse => self.replies.push_routine(Request::ParseNamed),
            Front::Sync => {
                self.unnamed.synced();
                self.replies.push_routine(Request::Sync);
            }
            Front::CopyDone
            | Front::CopyFail
            | Front::Flush
            | Front::FunctionCall
            | Front::Password
            | Front::Query
            | Front::Terminate => return Taken::No,
        }
        Taken::One
    }
}

impl Core {
    /// Passes on what needs no judge of what a client has sent, from `at` on. Returns how many
    /// bytes that is.
    pub fn routine_requests(
        &mut self,
        id: ClientId,
        (data, at): (&[u8], usize),
        said: &mut Said<'_>,
    ) -> usize {
        let client = &self.clients[id];
        let Some(server) = client.server() else { return 0 };
        // The first request of a query sets the clocks, and the judge keeps texts for the log.
        let keeps_texts = self.config.settings.log_query_text;
        let Server { own, replies, session, .. } = &self.servers[server];
        if !own.is_nothing() || !replies.takes_routine() || session.shares_listen || keeps_texts {
            return 0;
        }
        self.take_requests(id, server, (data, at), said)
    }

    /// As [`Core::routine_requests`], where requests may be taken by the stretch.
    // Its one call of `stretch` is inlined with all that is done for a message.
    #[inline(never)]
    pub(super) fn take_requests(
        &mut self,
        id: ClientId,
        server: ServerId,
        (data, at): (&[u8], usize),
        said: &mut Said<'_>,
    ) -> usize {
        let client = &self.clients[id];
        let is_tracking = self.tracks_statements(client);
        let keeps_unnamed = self.shares_servers(server);
        let longest = self.longest_body();
        let Server { replies, unnamed, session, statements, kept, pool, .. } =
            &mut self.servers[server];
        let mut requests = Requests {
            may_decide: replies.may_decide(),
            is_copying: replies.is_copying(),
            is_roomy: data.len() <= longest && replies.has_room_for(data.len() / HEAD_BYTES),
            is_watched: session.is_watched(),
            replies,
            session,
            unnamed,
            kept,
            named: client.statements.as_deref(),
            held: statements.as_deref_mut(),
            table: &mut self.statements,
            binds: &mut self.pools[*pool].stats.binds,
            longest,
            is_tracking,
            keeps_unnamed,
            last: None,
        };
        // All before this place is in `to_server`.
        let mut from = at;
        let taken = stretch(&data[at..], |offset, kind, body| {
            let Some(kind) = Front::from_byte(kind) else { return Taken::No };
            if !requests.fits(kind, body) {
                return Taken::No;
            }
            if kind != Front::Bind || !is_tracking || binds_unnamed(body) {
                return requests.take(kind, body);
            }
            let Some((id, names)) = requests.bind_tracked(body, &mut said.may_repeat) else {
                return Taken::No;
            };
            said.to_server.forward(from..at + offset);
            let statement = &requests.table.statements[id];
            from = at + offset + names.say(body.len(), statement, said.to_server.words());
            Taken::One
        });
        said.to_server.forward(from..at + taken);
        taken
    }

    /// Takes what goes to a server's client without a verdict, of what the server has sent.
    #[inline(always)]
    pub fn routine_replies(&mut self, id: ServerId, to: ClientId, data: &[u8]) -> RoutineReplies {
        let mut taken = RoutineReplies::default();
        // No message is longer than all of them.
        let may_be_too_long = data.len() > self.longest_body();
        let server = &mut self.servers[id];
        let is_theirs = server.client() == Some(to);
        if !is_theirs || !server.own.is_nothing() || !server.kept.is_told() || may_be_too_long {
            return taken;
        }
        let is_watched = server.session.is_watched();
        while taken.bytes < data.len() {
            let (bytes, ready) = server.replies.take_routine(&data[taken.bytes..], |tag| {
                is_of_rows(tag) || !is_watched && tells_no_more(tag)
            });
            taken.bytes += bytes;
            let Some(status) = ready else { break };
            let pool = &mut self.pools[server.pool];
            let latencies = self.latencies.of_mut(pool.latency);
            let client = &mut self.clients[to];
            let ended =
                EndedQuery::count(server, client, (pool, latencies), (status, self.now.mono));
            if !ended.is_all(server, &self.config.settings) {
                taken.ended = Some(ended);
                break;
            }
            if is_watched {
                server.session.note_ready(status, server.replies.is_answered());
            }
            taken.bytes += READY_FOR_QUERY_BYTES;
        }
        taken
    }
}

/// What was taken of what a server has sent.
#[derive(Default)]
pub struct RoutineReplies {
    /// The length of the messages that belong to the client and mean nothing else to the pooler.
    pub bytes: usize,
    /// The query that the ReadyForQuery behind them ends, if that was taken as well, and has yet to
    /// be judged (see [`Core::judge_end`]).
    pub ended: Option<EndedQuery>,
}

/// A whole ReadyForQuery.
const READY_FOR_QUERY_BYTES: usize = HEAD_BYTES + 1;

/// Whether a message is taken without a verdict of its own.
enum Taken {
    No,
    One,
    /// And so are those of its kind that follow, up to so many bytes of body: nothing has changed
    /// by this one.
    Run {
        most: usize,
    },
}

/// The length of the whole messages at the start of `data` that are taken, one after the other: by
/// where they begin, kind and body.
#[inline(always)]
fn stretch<'b>(data: &'b [u8], mut take: impl FnMut(usize, u8, &'b [u8]) -> Taken) -> usize {
    let mut left = data;
    while let Some((kind, body, rest)) = head::split_whole(left) {
        left = match take(data.len() - left.len(), kind, body) {
            Taken::No => break,
            Taken::One => rest,
            Taken::Run { most } => head::behind_run(rest, kind, most),
        };
    }
    data.len() - left.len()
}

/// Whether a tag is that of a statement which leaves nothing in the session, and changes nothing
/// that prepared statements depend on.
#[inline(always)]
fn is_of_rows(tag: &[u8]) -> bool {
    let Some(head) = tag.first_chunk() else { return false };
    head == b"SELE" || head == b"INSE" || head == b"UPDA" || head == b"DELE"
}

/// Whether a tag tells nothing of statements.
#[inline(never)]
fn tells_no_more(tag: &[u8]) -> bool {
    !tells_of_statements(tag)
}

/// Whether a message of the extended protocol, or data of a COPY, is passed on as it is.
#[inline(always)]
fn is_routine_request(kind: Front, body: &[u8], is_tracking: bool) -> bool {
    match kind {
        Front::CopyData | Front::Execute | Front::Sync => true,
        Front::Bind => !is_tracking || binds_unnamed(body),
        Front::Close | Front::Describe => !is_tracking || matches!(named_by(body), Named::Other),
        Front::Parse => !is_tracking || body.first() == Some(&0),
        Front::CopyDone
        | Front::CopyFail
        | Front::Flush
        | Front::FunctionCall
        | Front::Password
        | Front::Query
        | Front::Terminate => false,
    }
}

/// Whether a message uses the unnamed statement that is there.
#[inline]
fn uses_unnamed(kind: Front, body: &[u8]) -> bool {
    match kind {
        Front::Bind => binds_unnamed(body),
        Front::Describe => body == UNNAMED,
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_names_a_statement_is_no_routine_where_statements_are_tracked() {
        let named: [(Front, &[u8]); 4] = [
            (Front::Parse, b"a\0select 1\0\0\0"),
            (Front::Bind, b"portal\0a\0\0\0\0\0\0\0"),
            (Front::Describe, b"Sa\0"),
            (Front::Close, b"Sa\0"),
        ];
        let unnamed: [(Front, &[u8]); 4] = [
            (Front::Parse, b"\0select 1\0\0\0"),
            (Front::Bind, b"portal\0\0\0\0\0\0\0\0"),
            (Front::Describe, b"Pportal\0"),
            (Front::Close, b"S\0"),
        ];
        for (kind, body) in named {
            assert!(!is_routine_request(kind, body, true) && is_routine_request(kind, body, false));
        }
        for (kind, body) in unnamed {
            assert!(is_routine_request(kind, body, true) && is_routine_request(kind, body, false));
            assert!(
                !is_routine_request(kind, b"", true),
                "{kind:?} without a name is for the judge"
            );
        }
        for kind in [Front::Query, Front::FunctionCall, Front::Terminate, Front::CopyDone] {
            assert!(!is_routine_request(kind, b"", false));
        }
    }

    #[test]
    fn a_stretch_ends_before_what_is_not_whole_or_not_taken() {
        let data = b"E\0\0\0\x04E\0\0\0\x06xyS\0\0\0\x04E\0\0\0\x05";
        let but_sync = |_, kind, _: &[u8]| if kind == b'S' { Taken::No } else { Taken::One };
        assert_eq!(stretch(data, but_sync), 12);
        assert_eq!(stretch(data, |_, _, _| Taken::One), 17, "the last one lacks a byte");
        assert_eq!(stretch(&data[..4], |_, _, _| Taken::One), 0);
    }
}
