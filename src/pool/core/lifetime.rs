//! How long a server may live, and why one must not be used again.

use std::time::Duration;

use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::ServerId;
use crate::pool::records::server::Server;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Why a clean server must not be used again, if so.
    pub(in crate::pool) fn reason_to_retire(&self, id: ServerId) -> Option<Reason> {
        let server = &self.servers[id];
        if let Some(reason) = &server.closing {
            return Some(reason.clone().on_release());
        }
        let pool = &self.pools[server.pool];
        if self.is_held_back(pool.database) {
            return Some(Reason::PauseMode);
        }
        if self.databases[pool.database].is_removed {
            return Some(Reason::DatabaseRemoved);
        }
        if self.is_winding_down() {
            return Some(Reason::PauseMode);
        }
        if self.is_too_old(id) {
            return Some(Reason::ServerLifetime);
        }
        None
    }

    /// Whether the server's lifetime is over. A lifetime of 0 is over when the
    /// server has been used once.
    pub(in crate::pool) fn is_too_old(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        self.end_of_life(server).map_or(server.was_used(), |end| self.mono() >= end)
    }

    /// When the server's lifetime is over, its share of the spread taken off.
    pub(in crate::pool) fn end_of_life(&self, server: &Server) -> Option<Moment> {
        let lifetime = self.server_lifetime(server.pool);
        let cut = Duration::from_micros(server.lifetime_cut_us);
        (!lifetime.is_zero()).then(|| server.connected + lifetime.saturating_sub(cut))
    }
}
