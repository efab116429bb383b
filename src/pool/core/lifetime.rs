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

/// The end of a lifetime of 0. The clock is past it at any time.
const ON_FIRST_USE: Moment = Moment(0);

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
        let is_over = server.is_too_old(self.mono()) && !pool.listens();
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

    /// Notes when the server's lifetime is over by the settings in force.
    pub(in crate::pool) fn set_end_of_life(&mut self, id: ServerId) {
        let lifetime = self.limits().server_lifetime(self.servers[id].pool);
        let server = &mut self.servers[id];
        server.end_of_life = server.end_of(lifetime);
    }
}

impl Server {
    /// Whether its lifetime is over.
    #[inline(always)]
    fn is_too_old(&self, now: Moment) -> bool {
        now >= self.end_of_life && (self.end_of_life != ON_FIRST_USE || self.was_used())
    }

    /// When this lifetime is over, the server's share of the spread taken off.
    pub(in crate::pool) fn end_of(&self, lifetime: Duration) -> Moment {
        if lifetime.is_zero() {
            return ON_FIRST_USE;
        }
        let end = (self.connected + lifetime).0.saturating_sub(self.lifetime_cut_us);
        Moment(end).max(self.connected)
    }

    /// The moment at which its lifetime is over, where it is one.
    pub(in crate::pool) fn foreseen_end(&self) -> Option<Moment> {
        (self.end_of_life != ON_FIRST_USE).then_some(self.end_of_life)
    }
}
