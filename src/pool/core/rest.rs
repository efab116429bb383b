//! Pools in which nothing is under way: how long they may be left alone, and what wakes them.

use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::records::pool::Rest;

impl Core {
    /// Lets a pool in which nothing is under way rest: the sweep passes it over until something is
    /// due there.
    pub(in crate::pool) fn rest_pool(&mut self, id: PoolId) {
        if let Some(due) = self.quiet_until(id) {
            self.live_pools.remove(&mut self.pools, id);
            self.calendar.put(&mut self.pools, id, due);
        }
    }

    /// Has the sweep visit a pool again.
    #[inline]
    pub(in crate::pool) fn wake_pool(&mut self, id: PoolId) {
        if self.pools[id].rest != Rest::Awake {
            self.calendar.take(&mut self.pools, id);
            self.live_pools.push_back(&mut self.pools, id);
        }
    }

    /// Wakes the pools whose rest is over.
    pub(in crate::pool) fn wake_due(&mut self) {
        for id in self.calendar.due(&self.pools, self.now.mono) {
            self.wake_pool(id);
        }
    }

    /// When something will fall due in a pool in which nothing happens until then; `None` when
    /// there is something to do already. Any move of a record in the pool wakes it (`link`), and so
    /// does RELOAD.
    pub(in crate::pool) fn quiet_until(&self, id: PoolId) -> Option<Moment> {
        let pool = &self.pools[id];
        let size = self.limits().pool_size(id) as usize;
        let is_quiet = !pool.is_at_work()
            && !pool.awaits_place
            && !pool.is_next
            && !self.databases[pool.database].is_removed
            && !self.limits().is_below_minimum(id)
            && (size == 0 || pool.server_count() <= size);
        if !is_quiet {
            return None;
        }
        Some(self.due_times().first_due_at_rest(id))
    }

    /// Has the pool looked at when a place has got free.
    pub(in crate::pool) fn look_later(&mut self, pool: PoolId) {
        if !std::mem::replace(&mut self.pools[pool].awaits_place, true) {
            self.awaiting_place.push(pool);
        }
    }

    /// Has the pool looked at in this turn: whether it needs a server, and may have one.
    pub(in crate::pool) fn look_soon(&mut self, pool: PoolId) {
        if !std::mem::replace(&mut self.pools[pool].is_next, true) {
            self.next_pools.push(pool);
        }
    }

    /// Whether pools must be looked at before the turn ends.
    #[inline]
    pub(in crate::pool) fn must_look(&self) -> bool {
        self.has_place || !self.next_pools.is_empty()
    }
}
