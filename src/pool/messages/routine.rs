//! The messages that most of a pipeline, a result or a COPY is made of, taken by the stretch.
//!
//! Whole messages that follow one another are passed on without a verdict for each, where a judge
//! would do no more than note that a request was sent or answered. Whatever is more than that, or
//! is not whole, ends the stretch and goes to the judges; they would come to the same, message by
//! message. A stretch follows a message that was judged and passed on the same way.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::request::Request;
use crate::pool::owed::unnamed::UNNAMED;
use crate::pool::prepared::prepare::{Named, named_by};
use crate::pool::prepared::presence::tells_of_statements;
use crate::pool::records::server::Server;
use crate::pool::statements::deallocate;
use crate::wire::fields::{Fields, behind_name};
use crate::wire::head;
use crate::wire::kind::{Back, Front};

impl Core {
    /// How many bytes of what a client has sent go to its server with nothing to be said of them.
    pub fn routine_requests(&mut self, id: ClientId, data: &[u8]) -> usize {
        let client = &self.clients[id];
        let Some(server) = client.server() else { return 0 };
        let is_tracking = self.tracks_statements(client);
        let keeps_unnamed = self.shares_servers(server);
        let longest = self.longest_body();
        let Server { own, replies, unnamed, session, .. } = &mut self.servers[server];
        // The first request of a query sets the clocks.
        if !own.is_nothing() || !replies.takes_routine() || session.shares_listen {
            return 0;
        }
        let may_decide = replies.may_decide();
        let is_copying = replies.is_copying();
        let is_watched = session.is_watched();
        stretch(data, |kind, body| {
            let Some(kind) = Front::from_byte(kind) else { return false };
            let fits = body.len() <= longest.min(kind.largest()) && !replies.is_full();
            // The unnamed statement is another's until the client prepares its own.
            let is_foreign = replies.has_foreign_unnamed();
            let needs_care = is_tracking || is_foreign;
            if !fits || is_copying && kind != Front::CopyData {
                return false;
            }
            match kind {
                Front::Bind | Front::Close | Front::Describe | Front::Parse
                    if needs_care && !is_harmless(kind, body, is_tracking, is_foreign) =>
                {
                    return false;
                }
                Front::CopyData => {}
                Front::Bind => {
                    unnamed.bound();
                    if is_watched {
                        session.bound(false);
                    }
                    replies.push_routine(Request::Bind(None));
                }
                Front::Close => {
                    if body == UNNAMED {
                        unnamed.dropped();
                    }
                    replies.push_routine(Request::Close);
                }
                Front::Describe => replies.push_routine(Request::Describe(None)),
                Front::Execute if may_decide => return false,
                Front::Execute => {
                    if is_watched {
                        session.executed();
                    }
                    replies.push_routine(Request::Execute);
                }
                Front::Parse if is_watched && !session.prepares_plainly(body) => return false,
                Front::Parse if behind_name(body).is_some_and(deallocate::is_decisive) => {
                    return false;
                }
                Front::Parse if body.first() == Some(&0) => {
                    if keeps_unnamed {
                        unnamed.prepared(&body[1..]);
                    }
                    replies.push_routine(Request::Parse(None));
                }
                Front::Parse => replies.push_routine(Request::ParseNamed),
                Front::Sync => {
                    unnamed.synced();
                    replies.push_routine(Request::Sync);
                }
                Front::CopyDone
                | Front::CopyFail
                | Front::Flush
                | Front::FunctionCall
                | Front::Password
                | Front::Query
                | Front::Terminate => return false,
            }
            true
        })
    }

    /// How many bytes of what a server has sent its client hears with nothing to be said of them.
    pub fn routine_replies(&mut self, id: ServerId, to: ClientId, data: &[u8]) -> usize {
        let longest = self.longest_body();
        let server = &mut self.servers[id];
        let is_theirs = server.client() == Some(to);
        let Server { own, replies, kept, session, .. } = server;
        if !is_theirs || !own.is_nothing() || !kept.is_told() {
            return 0;
        }
        stretch(data, |kind, body| {
            let Some(kind) = Back::from_byte(kind) else { return false };
            let tells_more = kind == Back::CommandComplete
                && (tells_of_statements(body) || session.is_watched() && !is_of_rows(body));
            let fits = body.len() <= longest.min(kind.largest());
            fits && !tells_more && replies.take_routine(kind)
        })
    }
}

/// The length of the whole messages at the start of `data` that are taken, one after the other.
#[inline(always)]
fn stretch(data: &[u8], mut take: impl FnMut(u8, &[u8]) -> bool) -> usize {
    let mut left = data;
    while let Some((kind, body, rest)) = head::split_whole(left)
        && take(kind, body)
    {
        left = rest;
    }
    data.len() - left.len()
}

/// Whether a tag is that of a statement which leaves nothing in the session.
fn is_of_rows(tag: &[u8]) -> bool {
    tag.first_chunk().is_some_and(|head| [*b"SELE", *b"INSE", *b"UPDA", *b"DELE"].contains(head))
}

/// Whether a message concerns no statement that must be looked at: none that is tracked, and not
/// another client's unnamed one.
#[inline(always)]
fn is_harmless(kind: Front, body: &[u8], is_tracking: bool, is_foreign: bool) -> bool {
    is_routine_request(kind, body, is_tracking) && !(is_foreign && uses_unnamed(kind, body))
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

#[inline(always)]
pub(super) fn binds_unnamed(body: &[u8]) -> bool {
    // Most portals have no name either.
    body.starts_with(b"\0\0") || binds_unnamed_to_named(body)
}

fn binds_unnamed_to_named(body: &[u8]) -> bool {
    let mut fields = Fields::new(body);
    fields.cstr().is_some() && fields.cstr().is_some_and(<[u8]>::is_empty)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};
    use crate::pool::owed::replies::{Replies, Reply};
    use crate::pool::owed::request::Request;

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
        assert_eq!(stretch(data, |kind, _| kind != b'S'), 12);
        assert_eq!(stretch(data, |_, _| true), 17, "the last one lacks a byte");
        assert_eq!(stretch(&data[..4], |_, _| true), 0);
    }

    /// What is taken as routine leaves everything as the judge would have left it.
    #[test]
    fn routine_replies_come_to_the_same_as_judged_ones() {
        let statement = crate::pool::ids::StatementId::from_bits(1);
        let requests = [
            Request::AnswerParse,
            Request::Bind(None),
            Request::Describe(Some(statement)),
            Request::Execute,
            Request::OwnParse(statement),
            Request::OwnUnnamed,
            Request::Parse(None),
            Request::Parse(Some(statement)),
            Request::ParseNamed,
            Request::Query,
            Request::Sync,
        ];
        for seed in 0..300 {
            let mut rng = SeededRng::new(seed);
            let (mut judged, mut taken) = (Replies::default(), Replies::default());
            for _ in 0..rng.below(40) {
                let request = requests[rng.below(requests.len() as u64) as usize];
                judged.push(request);
                taken.push(request);
            }
            for step in 0..200 {
                let kind = Back::ALL[rng.below(Back::ALL.len() as u64) as usize];
                let expected = judged.received(kind, b'I');
                let got = match taken.take_routine(kind) {
                    true => Ok(Reply::Forward),
                    false => taken.received(kind, b'I'),
                };
                assert_eq!(got, expected, "seed {seed}, step {step}, {kind:?}");
                assert_eq!(format!("{taken:?}"), format!("{judged:?}"), "seed {seed}, step {step}");
            }
        }
    }
}
