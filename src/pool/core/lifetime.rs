//! When a server's lifetime is over, and why a clean server must not be used again.
//!
//! [`Core::reason_to_retire`] is asked where a server would be used or kept: by `take_idle`, by
//! `make_available`, and by the sweep. `due` gives the calendar the same end, so that a resting
//! pool wakes then.

use std::time::Duration;

use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::ServerId;
use crate::pool::records::database::Database;
use crate::pool::records::server::Server;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Why a clean server must not be used again, if so.
    #[inline]
    pub(in crate::pool) fn reason_to_retire(&self, id: ServerId) -> Option<Reason> {
        let server = &self.servers[id];
        let pool = &self.pools[server.pool];
        let database = &self.databases[pool.database];
        let is_held_back = self.is_paused || database.is_paused || self.is_winding_down();
        if is_held_back || database.is_removed || server.closing.is_some() {
            return Some(self.retired_by_others(server, database));
        }
        // A connection that listens goes on: notifications would be lost until the next one
        // listens.
        let is_over = !pool.listens() && {
            let lifetime = self.lifetime_in(database);
            server.is_older_than(lifetime, self.mono())
        };
        is_over.then_some(Reason::ServerLifetime)
    }

    #[cold]
    fn retired_by_others(&self, server: &Server, database: &Database) -> Reason {
        match &server.closing {
            Some(reason) => reason.clone().on_release(),
            None if self.is_paused || database.is_paused => Reason::PauseMode,
            None if database.is_removed => Reason::DatabaseRemoved,
            // It winds down.
            None => Reason::PauseMode,
        }
    }

    /// When the server's lifetime is over.
    pub(in crate::pool) fn end_of_life(&self, server: &Server) -> Option<Moment> {
        server.end_of(self.server_lifetime(server.pool))
    }
}

impl Server {
    /// Whether this lifetime is over. A lifetime of 0 ends with the server's first use.
    #[inline(always)]
    fn is_older_than(&self, lifetime: Duration, now: Moment) -> bool {
        self.end_of(lifetime).map_or(self.was_used(), |end| now >= end)
    }

    /// When this lifetime is over, the server's share of the spread taken off.
    #[inline(always)]
    fn end_of(&self, lifetime: Duration) -> Option<Moment> {
        let end = (self.connected + lifetime).0.saturating_sub(self.lifetime_cut_us);
        (!lifetime.is_zero()).then(|| Moment(end).max(self.connected))
    }
}
