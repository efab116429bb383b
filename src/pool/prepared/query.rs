//! A simple query, which drops the unnamed statement, and may drop others.

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::Verdict;
use crate::pool::records::server::Server;
use crate::wire::head::Head;

impl Core {
    /// Notes what a simple query does to statements, and has it answered here, held or rewritten
    /// where that is needed. `None` passes it on.
    #[inline(always)]
    pub(in crate::pool) fn heed_query(
        &mut self,
        id: ClientId,
        server_id: ServerId,
        head: Head,
        seen: &[u8],
        said: &mut Said<'_>,
    ) -> Option<Verdict> {
        let client = &self.clients[id];
        let is_tracking = self.tracks_statements(client);
        let has_named = client.has_named();
        let Server { replies, unnamed, .. } = &mut self.servers[server_id];
        if replies.is_answered() {
            unnamed.settled();
        }
        if replies.takes_copy_data() {
            // The query ends the COPY with an error and has no other effect.
            return None;
        }
        if !replies.is_skipping() {
            unnamed.replaced();
        }
        if !is_tracking {
            return None;
        }
        if has_named && let Some(verdict) = self.rewrite_deallocate(id, server_id, head, seen, said)
        {
            return Some(verdict);
        }
        self.watch_for_drop_all(server_id, head, seen)
    }
}
