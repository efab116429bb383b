//! Messages of clients whose traces in the session are noted, or whose LISTEN is taken over
//! (`session_state`, `shared_listen`).

use super::listen;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::Verdict;
use crate::pool::prepared::unnamed::binds_unnamed;
use crate::pool::records::server::Server;
use crate::pool::records::session::TextOrigin;
use crate::pool::records::unnamed_effects::BindPlace;
use crate::wire::head::Head;
use crate::wire::kind::Front;

impl Core {
    /// A message of a client whose traces in the session are noted, or whose LISTEN is taken over.
    pub(super) fn judge_watched(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        kind: Front,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Verdict {
        if self.servers[server_id].session.shares_listen
            && let Some(verdict) = listen::recall(self, id, server_id, kind, head, seen)
        {
            return verdict;
        }
        if let Some(verdict) = self.refuse_traces(server_id, kind, head, seen, said) {
            return verdict;
        }
        let Server { replies, session, .. } = &self.servers[server_id];
        let is_nameless = seen.is_empty() && head.body > 0;
        if kind == Front::Execute && is_nameless && !session.awaits.is_empty() {
            // It matters which portal that is.
            return Verdict::Need(1);
        }
        let (is_first, is_passed_over) = (replies.is_unburdened(), replies.is_skipping());
        let verdict = self.pass_message(id, server_id, kind, head, seen, said);
        let is_sent = matches!(verdict, Verdict::Forward(_) | Verdict::Replace { .. });
        if is_sent && !is_passed_over {
            let is_tracked = self.tracks_statements(&self.clients[id]);
            let server = &mut self.servers[server_id];
            // A Bind that was rewritten is of a tracked statement: `bound_tracked` has noted it.
            if kind != Front::Bind || matches!(verdict, Verdict::Forward(_)) {
                server.note_message(kind, head, seen, is_tracked, is_first);
            }
            if std::mem::take(&mut server.session.notifies) {
                server.notifier = Some(id);
            }
        }
        verdict
    }

    /// The next piece of a message that is half sent to a server, and was judged by its first
    /// piece.
    #[inline]
    pub fn passes(&mut self, server: ServerId, piece: &[u8], is_last: bool) {
        if let Some(server) = self.servers.get_mut(server)
            && server.session.is_half_read()
        {
            server.session.go_on(piece, is_last);
        }
    }
}

impl Server {
    /// Notes what a message may leave in the session when it is carried out.
    fn note_message(
        &mut self,
        kind: Front,
        head: Head,
        seen: &[u8],
        is_tracked: bool,
        is_first: bool,
    ) {
        let is_whole = seen.len() == head.body;
        let of = match (kind, seen.first()) {
            (Front::Query, _) => TextOrigin::Query,
            (Front::Parse, Some(0)) => {
                TextOrigin::Unnamed { segment: self.replies.segment_of_parse() }
            }
            // Its name has not come. In the middle of a COPY nobody waits for that.
            (Front::Parse, None) => return self.session.note_unknown(),
            // What a tracked statement leaves is noted at its Bind (`bound_tracked`).
            (Front::Parse, _) if is_tracked => return,
            (Front::Parse, _) => TextOrigin::Named,
            // `bound_tracked` has noted the Bind of a tracked statement.
            (Front::Bind, _) if is_tracked && !binds_unnamed(seen) => return,
            (Front::Bind, portal) => {
                let (is_unnamed, is_of_unnamed) = (portal == Some(&0), binds_unnamed(seen));
                let place = BindPlace { is_first, is_unnamed, is_of_unnamed };
                return self.session.bound(self.replies.segment(), place);
            }
            (Front::Execute, portal) => return self.session.executed(portal == Some(&0)),
            (Front::FunctionCall, _) => return self.session.note_unknown(),
            _ => return,
        };
        self.session.note_text(of, seen, is_whole, is_first);
    }
}
