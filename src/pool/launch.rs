//! How many servers to open, when, and towards which host.
//!
//! A pool opens servers for the clients that wait, one login at a time until one has worked, then
//! several. Every limit is checked here; where one is reached, an idle server of another pool may
//! make room.

use std::time::Duration;

use super::core::Core;
use super::database::{Database, Site};
use super::events::Limit;
use super::handshake::Login;
use super::ids::{ClientId, DatabaseId, PoolId, ServerId};
use super::reason::Reason;
use super::server::{Server, State, Test};
use crate::base::time::Moment;
use crate::config::LoadBalanceHosts;
use crate::log::Level;

/// The first pause after a failed connection; doubled with each further failure.
const FIRST_RETRY: Duration = Duration::from_millis(100);

/// What a limit says to one more server.
#[derive(PartialEq, Eq, Debug)]
enum Room {
    Yes,
    /// By using the reserve.
    Reserve,
    No,
}

impl Core {
    /// Opens what servers the pool needs and the limits allow, and puts idle ones that must be
    /// tested to the test.
    pub(super) fn launch(&mut self, pool: PoolId) {
        self.test_used(pool);
        while self.needs_server(pool) && self.may_log_in_one_more(pool) {
            match self.room_for_one_more(pool) {
                Room::Yes => {}
                Room::Reserve => {
                    let client = self.pools[pool].waiting.first();
                    if let Some(client) = client {
                        let text = "taking connection from reserve_pool";
                        self.log_client(Level::Warning, client, format_args!("{text}"));
                        let name = self.pool_name(pool);
                        self.note_repeating(&format!(
                            "taking connection from reserve_pool, {name}"
                        ));
                    }
                }
                Room::No => return,
            }
            if !self.make_room(pool) || !self.open_server(pool, None) {
                return;
            }
        }
    }

    /// Runs server_check_query on as many servers as clients wait for.
    fn test_used(&mut self, pool_id: PoolId) {
        loop {
            let pool = &self.pools[pool_id];
            let wanted = pool.waiting.len() > pool.tested.len();
            let Some(server) = pool.used.first().filter(|_| wanted) else { return };
            if self.is_held_back(self.pools[pool_id].database) {
                return;
            }
            self.test(server);
        }
    }

    /// Runs server_check_query on an idle server.
    pub(super) fn test(&mut self, server: ServerId) {
        let sql = match self.settings().server_check_query.as_str() {
            "<empty>" => String::new(),
            sql => sql.to_owned(),
        };
        self.move_server(server, State::Tested(Test::Check));
        self.run_own_query(server, &sql);
    }

    fn needs_server(&self, pool_id: PoolId) -> bool {
        let pool = &self.pools[pool_id];
        let is_removed = self.databases[pool.database].is_removed;
        if is_removed || self.is_held_back(pool.database) || self.is_winding_down() {
            return false;
        }
        let coming = pool.logging_in.len() + pool.tested.len();
        let wanted = pool.waiting.len() + usize::from(self.lacks_welcome(pool_id));
        wanted > coming || self.is_below_minimum(pool_id)
    }

    /// Clients wait for what the first server of the pool will report.
    fn lacks_welcome(&self, pool: PoolId) -> bool {
        let pool = &self.pools[pool];
        pool.welcome.is_none() && !pool.welcoming.is_empty()
    }

    /// min_pool_size holds for pools that somebody uses, or that have a user of their own.
    pub(super) fn is_below_minimum(&self, pool_id: PoolId) -> bool {
        let pool = &self.pools[pool_id];
        let minimum = self.min_pool_size(pool_id) as usize;
        let size = self.pool_size(pool_id) as usize;
        let minimum = if size == 0 { minimum } else { minimum.min(size) };
        let is_used =
            self.databases[pool.database].forced_user.is_some() || pool.client_count() > 0;
        let is_wanted = is_used && !self.databases[pool.database].is_removed;
        is_wanted && pool.server_count() < minimum && !self.is_held_back(pool.database)
    }

    /// How many logins may be under way: one until one has worked.
    fn may_log_in_one_more(&self, pool_id: PoolId) -> bool {
        let pool = &self.pools[pool_id];
        if let Some(failing) = &pool.failing
            && (self.mono() < failing.retry_at || !pool.logging_in.is_empty())
        {
            return false;
        }
        if pool.working_count() == 0 || self.settings().server_login_concurrency == 0 {
            return pool.logging_in.is_empty();
        }
        pool.logging_in.len() < self.settings().server_login_concurrency as usize
    }

    fn room_for_one_more(&self, pool_id: PoolId) -> Room {
        let pool = &self.pools[pool_id];
        let size = self.pool_size(pool_id) as usize;
        let count = pool.server_count();
        if size == 0 || count < size {
            return Room::Yes;
        }
        let patience = self.settings().reserve_pool_timeout;
        let has_waited = pool
            .waiting
            .first()
            .is_some_and(|client| self.mono().since(self.clients[client].requested) >= patience);
        let reserve = self.reserve_pool_size(pool_id) as usize;
        let may_use = count < size + reserve && has_waited && !patience.is_zero();
        if may_use { Room::Reserve } else { Room::No }
    }

    /// Checks the limits of database and user; at a limit an idle server of another pool goes.
    fn make_room(&mut self, pool_id: PoolId) -> bool {
        let (database, user) = (self.pools[pool_id].database, self.pools[pool_id].user);
        let limit = self.max_db_connections(database);
        if limit > 0 && self.databases[database].servers >= limit {
            let evicted = self.evict(Reason::EvictedForDatabase, |core, other| {
                other != pool_id && core.pools[other].database == database
            });
            if !evicted {
                self.note_limit(Limit::DatabaseServers(database));
                return false;
            }
        }
        let limit = self.max_user_connections(user);
        if limit > 0 && self.users[user].servers >= limit {
            let evicted = self.evict(Reason::EvictedForUser, |core, other| {
                other != pool_id && core.pools[other].user == user
            });
            if !evicted {
                self.note_limit(Limit::UserServers(user));
            }
            return evicted;
        }
        true
    }

    /// Closes the server that has been idle longest among the pools that `which` names.
    fn evict(&mut self, reason: Reason, which: impl Fn(&Core, PoolId) -> bool) -> bool {
        let pools = self.live_pools.ids(&self.pools);
        let candidates = pools.into_iter().filter(|&pool| which(self, pool));
        let oldest = candidates
            .filter_map(|pool| {
                let pool = &self.pools[pool];
                pool.idle.last().or(pool.used.last())
            })
            .min_by_key(|&id| self.servers[id].requested);
        let Some(server) = oldest else { return false };
        let words = reason.words();
        let text = format!("server of {} {words}", self.pool_name(self.servers[server].pool));
        self.note_repeating(&text);
        self.close_server(server, reason);
        true
    }

    /// Starts one connection. Returns false when no host can be tried at present.
    fn open_server(&mut self, pool_id: PoolId, for_client: Option<ClientId>) -> bool {
        let now = self.mono();
        let database = self.pools[pool_id].database;
        let Some(host) = self.databases[database].choose_host(now) else { return false };
        let number = self.next_number();
        let login = State::Login(Box::new(Login::new(for_client)));
        let mut server = Server::new(number, now, pool_id, login);
        server.host = host;
        server.is_private = for_client.is_some();
        let id = self.add_server(server);
        self.approach(id);
        true
    }

    /// Opens one server more than is needed now, where the limits allow it.
    pub(super) fn launch_successor(&mut self, pool: PoolId) {
        let may = self.may_log_in_one_more(pool) && !self.is_winding_down();
        if may && self.room_for_one_more(pool) == Room::Yes && self.make_room(pool) {
            self.open_server(pool, None);
        }
    }

    /// Opens a server for one replication client alone.
    pub(super) fn launch_private(&mut self, client: ClientId) {
        let pool = self.clients[client].pool.expect("a client past its login has a pool");
        let room = self.room_for_one_more(pool) == Room::Yes
            || self.evict(Reason::EvictedForPool, |_, other| other == pool);
        if room && self.make_room(pool) {
            self.open_server(pool, Some(client));
        }
    }

    /// Whether a server is already being opened for this replication client.
    pub(super) fn is_served(&self, pool: PoolId, client: ClientId) -> bool {
        self.pools[pool].logging_in.iter(&self.servers).any(|id| match self.servers[id].state() {
            State::Login(login) => login.for_client == Some(client),
            _ => false,
        })
    }

    /// The place that a server belongs to; `None` when the configuration names it no more.
    pub(super) fn site_of(&self, id: ServerId) -> Option<Site> {
        self.database_of(id).sites.get(self.servers[id].host).cloned()
    }

    pub(super) fn database_of(&self, id: ServerId) -> &Database {
        &self.databases[self.pools[self.servers[id].pool].database]
    }

    /// When a host that has failed so often is tried again: from 100 ms, doubled each time, up to
    /// server_login_retry, and a little earlier or later so that pools do not try together.
    pub(super) fn retry_at(&mut self, failures: u32) -> Moment {
        let longest = self.settings().server_login_retry;
        let doubled = FIRST_RETRY.saturating_mul(1 << failures.saturating_sub(1).min(16));
        let span = doubled.min(longest).as_micros() as u64;
        let jitter = self.rng.below(span / 5 + 1);
        self.mono() + Duration::from_micros(span - span / 10 + jitter)
    }

    pub(super) fn earliest_retry(&self, database: DatabaseId) -> Moment {
        let hosts = self.databases[database].hosts.iter();
        hosts.map(|host| host.retry_at).min().unwrap_or_default()
    }

    /// Spreads the ends of servers that were opened together over the last tenth of their lives.
    pub(super) fn set_lifetime_cut(&mut self, id: ServerId) {
        let lifetime = self.server_lifetime(self.servers[id].pool).as_micros() as u64;
        self.servers[id].lifetime_cut_us = self.rng.below(lifetime / 10 + 1);
    }
}

impl Database {
    /// The next host that may be tried, by load_balance_hosts.
    fn choose_host(&mut self, now: Moment) -> Option<usize> {
        let count = self.sites.len();
        let may_try = |host: &usize| self.hosts[*host].retry_at <= now;
        let in_turn = (0..count).map(|step| (self.next_host + step) % count);
        let chosen = in_turn.clone().find(may_try)?;
        self.next_host = match self.line.load_balance_hosts {
            Some(LoadBalanceHosts::Disable) => chosen,
            Some(LoadBalanceHosts::RoundRobin) | None => (chosen + 1) % count,
        };
        Some(chosen)
    }
}
