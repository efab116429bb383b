//! The first requests of a transaction, as most are: a client that has no server sends a simple
//! query or the beginning of an extended one, gets a server to which nothing has to be done before,
//! and all is passed on by the stretch.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::request::Request;
use crate::pool::owed::said::Said;
use crate::pool::prepared::drop_statement::may_drop_all;
use crate::pool::records::client::{ClientState, QueryRefusal, Standing};
use crate::wire::head::split_whole;
use crate::wire::kind::Front;

impl Core {
    /// Gives a client a server and passes on what needs no judge of what it has sent. Returns the
    /// server, and how many bytes were passed on; `None` leaves all to the judges.
    #[inline(always)]
    pub fn begin_routine(
        &mut self,
        id: ClientId,
        data: &[u8],
        said: &mut Said<'_>,
    ) -> Option<(ServerId, usize)> {
        let client = &self.clients[id];
        let ClientState::Member(member, Standing::Idle) = *client.state() else { return None };
        let (byte, body, behind) = split_whole(data)?;
        let kind = match Front::from_byte(byte)? {
            // A DEALLOCATE may need no server.
            Front::Query if client.has_named() => return None,
            kind @ (Front::Query | Front::Parse | Front::Bind) => kind,
            _ => return None,
        };
        let settings = &self.config.settings;
        let is_judged = settings.log_query_text || settings.disable_pqexec;
        let is_tracking = settings.max_prepared_statements > 0;
        if is_judged || client.refusal != QueryRefusal::None {
            return None;
        }
        let longest = self.longest_body();
        let server_id = self.acquire_plainly(id, member.pool)?;
        let now = self.mono();
        let server = &mut self.servers[server_id];
        server.is_untouched = false;
        server.last_sent = kind;
        server.unnamed.settled();
        server.replies.begin();
        self.clients[id].query_start = now;
        let taken = match kind {
            Front::Query if body.len() > longest || is_tracking && may_drop_all(body) => 0,
            Front::Query => {
                server.unnamed.replaced();
                server.replies.push(Request::Query);
                let taken = data.len() - behind.len();
                said.to_server.forward(0..taken);
                taken
            }
            _ => self.take_requests(id, server_id, (data, 0), said),
        };
        Some((server_id, taken))
    }
}
