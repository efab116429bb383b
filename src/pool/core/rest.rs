//! Pools in which nothing is under way: how long they may be left alone, and what wakes them.

use std::time::Duration;

use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::records::calendar::NEVER;
use crate::pool::records::pool::Rest;
use crate::pool::records::server::State;

impl Core {
    /// Takes a pool in which nothing is under way off the sweep's way.
    pub(in crate::pool) fn settle_down(&mut self, id: PoolId) {
        if let Some(due) = self.quiet_until(id) {
            self.live_pools.remove(&mut self.pools, id);
            self.calendar.put(&mut self.pools, id, due);
        }
    }

    /// Puts a pool back onto the sweep's way.
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

    /// When something will be due in a pool of itself; `None` when there is something to do in it
    /// already. What others do to it wakes it, and so does RELOAD.
    pub(in crate::pool) fn quiet_until(&self, id: PoolId) -> Option<Moment> {
        let pool = &self.pools[id];
        let size = self.pool_size(id) as usize;
        let is_quiet = !pool.is_at_work()
            && !pool.is_hungry
            && !self.databases[pool.database].is_removed
            && !self.is_below_minimum(id)
            && (size == 0 || pool.server_count() <= size);
        if !is_quiet {
            return None;
        }
        let first = self.idle_servers_until(id).min(self.idle_clients_until(id));
        let deserted = pool.used_at + no_limit_is_never(self.settings().pool_idle_timeout);
        Some(if pool.is_deserted() { first.min(deserted) } else { first })
    }

    /// When the first idle server is too old, idle for too long, or to be tested.
    fn idle_servers_until(&self, id: PoolId) -> Moment {
        let (pool, settings) = (&self.pools[id], self.settings());
        if pool.listens() {
            return NEVER;
        }
        let is_spare = pool.server_count() > self.min_pool_size(id) as usize;
        let idle_limit = match is_spare {
            true => no_limit_is_never(settings.server_idle_timeout),
            false => Duration::MAX,
        };
        let until = |server: &crate::pool::records::server::Server| {
            let end = self.end_of_life(server).unwrap_or(NEVER).min(server.requested + idle_limit);
            let is_tested = !settings.server_check_query.is_empty();
            match server.state() {
                State::Idle if is_tested => end.min(server.requested + settings.server_check_delay),
                _ => end,
            }
        };
        let idle = pool.idle.iter(&self.servers).chain(pool.used.iter(&self.servers));
        idle.map(|id| until(&self.servers[id])).min().unwrap_or(NEVER)
    }

    /// When the first idle client has been so for too long.
    fn idle_clients_until(&self, id: PoolId) -> Moment {
        if !self.may_time_out_idle_clients() {
            return NEVER;
        }
        let clients = self.pools[id].idle_clients.iter(&self.clients);
        let until = |id| {
            let client = &self.clients[id];
            client.since + no_limit_is_never(self.client_idle_timeout(client))
        };
        clients.map(until).min().unwrap_or(NEVER)
    }
}

/// A timeout of zero is none.
fn no_limit_is_never(limit: Duration) -> Duration {
    if limit.is_zero() { Duration::MAX } else { limit }
}
