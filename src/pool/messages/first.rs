//! The first requests of a transaction, as most are: a client that has no server sends a simple
//! query or the beginning of an extended one, gets a server to which nothing has to be done before,
//! and all is passed on by the stretch.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::said::Said;
use crate::pool::prepared::drop_statement::may_drop_all;
use crate::pool::prepared::unnamed::binds_unnamed;
use crate::pool::records::client::{ClientState, QueryRefusal, Standing};
use crate::pool::records::server::Server;
use crate::wire::head::{Head, split_whole};
use crate::wire::kind::Front;

/// A client's server, and how many bytes of what the client has sent are passed on to it.
#[derive(Clone, Copy)]
pub struct Begun {
    pub server: ServerId,
    pub taken: usize,
}

impl Core {
    /// Gives a client a server and passes on the simple query that it has sent. `None` leaves all
    /// to the judges, and so do bytes that are not taken.
    #[inline(always)]
    pub fn begin_query(&mut self, id: ClientId, data: &[u8]) -> Option<Begun> {
        let (byte, body, behind) = split_whole(data)?;
        let settings = &self.config.settings;
        // A DEALLOCATE may need no server.
        let is_judged = settings.disable_pqexec || self.clients[id].has_named();
        if byte != Front::Query as u8 || is_judged {
            return None;
        }
        let is_tracking = settings.max_prepared_statements > 0;
        let longest = self.longest_body();
        let server = self.begin(id, Front::Query)?;
        if body.len() > longest || is_tracking && may_drop_all(body) {
            return Some(Begun { server, taken: 0 });
        }
        let Server { unnamed, replies, session, .. } = &mut self.servers[server];
        let head = Head { kind: byte, body: body.len() };
        if session.is_watched() && !session.leaves_no_trace(Front::Query, head, body) {
            return Some(Begun { server, taken: 0 });
        }
        unnamed.replaced();
        replies.push_first_query();
        Some(Begun { server, taken: data.len() - behind.len() })
    }

    /// As [`Core::begin_query`], for an extended query: what goes out is in `said`.
    #[inline(always)]
    pub fn begin_extended(
        &mut self,
        id: ClientId,
        data: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Begun> {
        let (byte, body, _) = split_whole(data)?;
        let kind = Front::from_byte(byte)?;
        // What the unnamed statement of an earlier transaction clears is cleared if it comes first.
        let is_judged = kind == Front::Bind && self.watches_sessions && binds_unnamed(body);
        if !matches!(kind, Front::Bind | Front::Parse) || is_judged {
            return None;
        }
        let server = self.begin(id, kind)?;
        Some(Begun { server, taken: self.take_requests(id, server, (data, 0), said) })
    }

    /// Gives a client a server that owes nothing, for a message of this kind.
    #[inline(always)]
    fn begin(&mut self, id: ClientId, kind: Front) -> Option<ServerId> {
        let client = &self.clients[id];
        let ClientState::Member(member, Standing::Idle) = *client.state() else { return None };
        // The judge keeps texts for the log.
        if self.config.settings.log_query_text || client.refusal != QueryRefusal::None {
            return None;
        }
        self.acquire_plainly(id, member.pool, kind)
    }
}
