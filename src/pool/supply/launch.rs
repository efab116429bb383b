//! How many servers to open, when, and towards which host.
//!
//! [`Core::plan`] looks at a pool and decides, [`Core::launch`] does it. A pool opens servers for
//! the clients that wait, one login at a time until one has worked, then several. Every limit is
//! asked here; where one is reached, an idle server of another pool makes room. A pool that must
//! wait for something outside itself is hungry: [`Core::feed`] looks at it again in the turn in
//! which a place gets free, and serves first whose client has waited longest.

use crate::base::order;
use crate::base::time::Moment;
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, DatabaseId, PoolId, ServerId};
use crate::pool::records::database::Database;
use crate::pool::records::handshake::Login;
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::{Server, State, Test};
use crate::pool::records::site::{Health, Site, SiteId};
use crate::pool::telling::events::Limit;
use crate::pool::telling::reason::Reason;

/// What launching comes to at the moment.
#[derive(PartialEq, Eq, Debug)]
pub(in crate::pool) enum Plan {
    /// Something outside the pool must get free first.
    Await(Shortage),
    /// This server makes room.
    Evict(ServerId, Reason),
    /// This login takes the place of one that is more likely to succeed.
    GiveUp(ServerId),
    Open {
        /// Which of the database's sites.
        place: usize,
        /// Beyond the pool's size.
        from_reserve: bool,
    },
    /// No server is needed, or what is missing comes with the pool's own events or with time.
    Rest,
}

/// What a hungry pool waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pool) enum Shortage {
    /// Each host has failed just now, or has as many logins under way as it may have.
    Hosts,
    Limit(Limit),
}

/// For whom a server is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Need {
    /// Clients wait, or will wait soon: idle servers of other pools give way.
    Clients,
    /// min_pool_size: within the limits, at nobody's cost.
    Minimum,
}

impl Core {
    /// Opens what servers the pool needs and the limits allow, and puts idle ones that must be
    /// tested to the test.
    pub(in crate::pool) fn launch(&mut self, pool: PoolId) {
        self.wake_pool(pool);
        self.test_used(pool);
        loop {
            match self.plan(pool) {
                Plan::Await(shortage) => return self.await_place(pool, shortage),
                Plan::Evict(server, reason) => self.evict(server, reason),
                Plan::GiveUp(server) => return self.server_failed(server, Reason::ConnectTimeout),
                Plan::Open { place, from_reserve } => {
                    if from_reserve {
                        self.note_reserve(pool);
                    }
                    self.open(pool, place, None);
                }
                Plan::Rest => return,
            }
        }
    }

    /// Looks again at the pools that wait for a place, where one may have got free.
    pub(in crate::pool) fn feed(&mut self) {
        while std::mem::take(&mut self.has_place) {
            let hungry = std::mem::take(&mut self.hungry);
            let longest_first = |a: &PoolId, b: &PoolId| self.turn_of(*a).cmp(&self.turn_of(*b));
            for pool in order::sorted(&hungry, longest_first) {
                if let Some(record) = self.pools.get_mut(pool) {
                    record.is_hungry = false;
                    self.launch(pool);
                }
            }
        }
    }

    /// Clients that have proved who they are come first, then lookups in databases that are known
    /// to exist; within each, who has waited longest.
    fn turn_of(&self, pool: PoolId) -> (u8, Moment) {
        let rank = self.pools.get(pool).map_or(0, |record| match record.purpose {
            Purpose::Clients | Purpose::Listening => 0,
            Purpose::Lookups if self.databases[record.database].is_reached => 1,
            Purpose::Lookups => 2,
        });
        (rank, self.hunger(pool))
    }

    /// Since when a pool's first client waits; later than ever when none does.
    fn hunger(&self, pool: PoolId) -> Moment {
        let Some(record) = self.pools.get(pool) else { return Moment(u64::MAX) };
        let welcoming = record.welcoming.first().map(|client| self.clients[client].requested);
        self.waiting_since(pool).or(welcoming).unwrap_or(Moment(u64::MAX))
    }

    fn await_place(&mut self, pool: PoolId, shortage: Shortage) {
        if let Shortage::Limit(limit) = shortage {
            self.note_limit(limit);
        }
        self.look_later(pool);
    }

    /// Has the pool looked at when a place has got free.
    pub(super) fn look_later(&mut self, pool: PoolId) {
        if !std::mem::replace(&mut self.pools[pool].is_hungry, true) {
            self.hungry.push(pool);
        }
    }

    /// A login has shown a site to be well, slow or unreachable. Pools that count on logins at a
    /// host that is not well may try another now.
    pub(in crate::pool) fn change_health(&mut self, site: SiteId, health: Health) {
        let was_doubtful = self.sites[site].is_doubtful();
        self.sites[site].health = health;
        if self.sites[site].is_doubtful() == was_doubtful {
            return;
        }
        for id in self.servers.ids() {
            if self.servers[id].login().is_some() {
                self.look_later(self.servers[id].pool);
            }
        }
        self.has_place = true;
    }

    /// Runs server_check_query on as many servers as clients wait for.
    fn test_used(&mut self, pool_id: PoolId) {
        loop {
            let pool = &self.pools[pool_id];
            let wanted = pool.demand() > pool.tested.len();
            let Some(server) = pool.used.first().filter(|_| wanted) else { return };
            if self.is_held_back(self.pools[pool_id].database) {
                return;
            }
            self.test(server);
        }
    }

    /// Runs server_check_query on an idle server.
    pub(in crate::pool) fn test(&mut self, server: ServerId) {
        let sql = match self.settings().server_check_query.as_str() {
            "<empty>" => String::new(),
            sql => sql.to_owned(),
        };
        self.move_server(server, State::Tested(Test::Check));
        self.run_own_query(server, &sql);
    }

    /// What is to be done for a pool now.
    pub(in crate::pool) fn plan(&self, id: PoolId) -> Plan {
        let pool = &self.pools[id];
        let database = &self.databases[pool.database];
        if database.is_removed || self.is_held_back(pool.database) || self.is_winding_down() {
            return Plan::Rest;
        }
        let coming = self.logins_that_count(id);
        let Some(need) = self.need(id, coming) else { return Plan::Rest };
        if !self.may_log_in_one_more(id, coming) {
            return Plan::Rest;
        }
        let Some(from_reserve) = self.room(id) else { return self.give_up(id) };
        let Some(place) = self.choose_site(database) else {
            return Plan::Await(Shortage::Hosts);
        };
        match self.eviction(id, need) {
            Ok(None) => Plan::Open { place, from_reserve },
            Ok(Some((server, reason))) => Plan::Evict(server, reason),
            Err(limit) => Plan::Await(Shortage::Limit(limit)),
        }
    }

    /// Whether a server is needed beside so many that are logging in.
    fn need(&self, id: PoolId, coming: usize) -> Option<Need> {
        let pool = &self.pools[id];
        let wanted = pool.demand() + usize::from(self.lacks_welcome(id));
        if wanted > coming + pool.tested.len() {
            return Some(Need::Clients);
        }
        self.is_below_minimum(id).then_some(Need::Minimum)
    }

    /// Clients wait for what the first server of the pool will report.
    fn lacks_welcome(&self, pool: PoolId) -> bool {
        let pool = &self.pools[pool];
        let is_pooled =
            |id| self.clients[id].replication == crate::pool::records::client::Replication::No;
        pool.welcome.is_none() && pool.welcoming.iter(&self.clients).any(is_pooled)
    }

    /// The logins under way that clients may count on. Where there is a host that is well, those at
    /// hosts that are slow or have failed do not count: an unreachable host must not hold up the
    /// others.
    pub(in crate::pool) fn logins_that_count(&self, id: PoolId) -> usize {
        let pool = &self.pools[id];
        let is_choosy = self.has_well_site(pool.database);
        let logins = pool.logging_in.iter(&self.servers).map(|id| &self.servers[id]);
        let counts = |server: &&Server| {
            !(server.is_private || is_choosy && self.sites[server.site].is_doubtful())
        };
        logins.filter(counts).count()
    }

    fn has_well_site(&self, database: DatabaseId) -> bool {
        let mut sites = self.databases[database].sites.iter().map(|id| &self.sites[*id]);
        sites.any(|site| !site.is_doubtful())
    }

    /// One login at a time until one has worked; the cap for each host is the site's.
    fn may_log_in_one_more(&self, pool_id: PoolId, coming: usize) -> bool {
        let pool = &self.pools[pool_id];
        if let Some(refusal) = &pool.refusal {
            let longest = self.settings().server_login_retry;
            return self.mono() >= refusal.retry.at(longest) && pool.logging_in.is_empty();
        }
        let several = pool.working_count() > 0 && self.settings().server_login_concurrency > 0;
        several || coming == 0
    }

    /// Whether the pool's size leaves room, and whether that is the reserve's.
    fn room(&self, pool_id: PoolId) -> Option<bool> {
        let pool = &self.pools[pool_id];
        let size = self.pool_size(pool_id) as usize;
        let count = pool.server_count();
        if size == 0 || count < size {
            return Some(false);
        }
        let patience = self.settings().reserve_pool_timeout;
        let since = self.waiting_since(pool_id);
        let has_waited = since.is_some_and(|since| self.mono().since(since) >= patience);
        let reserve = self.reserve_pool_size(pool_id) as usize;
        let may_use = count < size + reserve && has_waited && !patience.is_zero();
        may_use.then_some(true)
    }

    /// Since when the one that has waited longest for a server does so.
    pub fn waiting_since(&self, pool: PoolId) -> Option<Moment> {
        let pool = &self.pools[pool];
        let client = pool.waiting.first().map(|client| self.clients[client].requested);
        client.or(pool.lookups.front().map(|lookup| lookup.since))
    }

    /// A full pool whose places are taken by logins at a host that does not answer gives one up,
    /// where another host would answer.
    fn give_up(&self, pool: PoolId) -> Plan {
        let pool = &self.pools[pool];
        let is_well = self.has_well_site(pool.database);
        let mut logins = pool.logging_in.iter(&self.servers);
        let hung =
            logins.find(|id| matches!(self.sites[self.servers[*id].site].health, Health::Slow));
        match hung {
            Some(server) if is_well => Plan::GiveUp(server),
            _ => Plan::Rest,
        }
    }

    /// Which server must go so that database and user may have one more, if any; fails with the
    /// limit that is reached when none can go. More than one may have to go, one after the other.
    fn eviction(&self, id: PoolId, need: Need) -> Result<Option<(ServerId, Reason)>, Limit> {
        let (database, user) = (self.pools[id].database, self.pools[id].user);
        let find = |pools: &[PoolId], reason: Reason, limit: Limit| {
            let others = pools.iter().copied().filter(|&other| other != id);
            let server = self.longest_idle(others).filter(|_| need == Need::Clients);
            server.map(|server| Some((server, reason))).ok_or(limit)
        };
        let (mut first, mut second) = (None, None);
        let (limit, record) = (self.max_db_connections(database), &self.databases[database]);
        if limit > 0 && record.servers >= limit {
            let limit = Limit::DatabaseServers(database);
            first = find(&record.pools, Reason::EvictedForDatabase, limit)?;
        }
        let (limit, record) = (self.max_user_connections(user), &self.users[user]);
        if limit > 0 && record.servers >= limit {
            second = find(&record.pools, Reason::EvictedForUser, Limit::UserServers(user))?;
        }
        Ok(first.or(second))
    }

    /// The server that has been idle longest in these pools.
    fn longest_idle(&self, pools: impl Iterator<Item = PoolId>) -> Option<ServerId> {
        let last = pools.filter(|pool| !self.pools[*pool].listens()).filter_map(|pool| {
            let pool = &self.pools[pool];
            let (idle, used) = (pool.idle.last(), pool.used.first());
            idle.into_iter().chain(used).min_by_key(|&id| self.servers[id].requested)
        });
        last.min_by_key(|&id| self.servers[id].requested)
    }

    /// The site for the next connection, by load_balance_hosts. One with a login that hangs is none
    /// as long as another is well.
    fn choose_site(&self, database: &Database) -> Option<usize> {
        let count = database.sites.len();
        let mut in_turn = (0..count).map(|step| (database.next_site + step) % count);
        let site = |place: &usize| &self.sites[database.sites[*place]];
        let may_try = |place: &usize| self.may_try(site(place));
        let has_well = database.sites.iter().any(|id| !self.sites[*id].is_doubtful());
        let hangs = |place: &usize| matches!(site(place).health, Health::Slow);
        in_turn.find(|place| may_try(place) && !(has_well && hangs(place)))
    }

    /// Whether one more login may be made at a site: after a failure one at a time, and never more
    /// than the cap.
    fn may_try(&self, site: &Site) -> bool {
        let most = match (self.settings().server_login_concurrency, &site.health) {
            (_, Health::Failing { .. }) => 1,
            (0, Health::Well | Health::Slow) => u32::MAX,
            (most, Health::Well | Health::Slow) => most,
        };
        let is_time = self.mono() >= self.connects_after && !self.is_left_alone(site);
        is_time && site.logins < most
    }

    /// Whether a site has failed just now.
    pub(in crate::pool) fn is_left_alone(&self, site: &Site) -> bool {
        match &site.health {
            Health::Failing { retry, .. } => {
                self.mono() < retry.at(self.settings().server_login_retry)
            }
            Health::Slow | Health::Well => false,
        }
    }

    /// Starts one connection.
    fn open(&mut self, pool_id: PoolId, place: usize, for_client: Option<ClientId>) {
        let database = &mut self.databases[self.pools[pool_id].database];
        let site = database.take_site(place);
        let login = State::Login(Box::new(Login::new(for_client)));
        let number = self.next_number();
        let mut server = Server::new(number, self.mono(), pool_id, site, login);
        server.is_private = for_client.is_some();
        let id = self.add_server(server);
        if self.hears(Level::Debug) {
            let pool = &self.pools[pool_id];
            let text = format!(
                "opening a connection: clients waiting {}, servers busy {}, idle {}, opening {}",
                pool.waiting.len() + pool.welcoming.len(),
                pool.active.len(),
                pool.idle.len(),
                pool.logging_in.len()
            );
            self.log_server(Level::Debug, id, format_args!("{text}"));
        }
        debug_assert!(self.is_within_limits(pool_id), "{}", self.pool_name(pool_id));
        self.approach(id);
    }

    /// Whether pool, database and user have no more servers than they may. A limit that was lowered
    /// may be exceeded for a while, but no server is opened then.
    fn is_within_limits(&self, id: PoolId) -> bool {
        let pool = &self.pools[id];
        let within = |count: usize, limit: u32| limit == 0 || count <= limit as usize;
        let size = self.pool_size(id);
        let whole_size = if size == 0 { 0 } else { size + self.reserve_pool_size(id) };
        within(pool.server_count(), whole_size)
            && within(
                self.databases[pool.database].servers as usize,
                self.max_db_connections(pool.database),
            )
            && within(self.users[pool.user].servers as usize, self.max_user_connections(pool.user))
    }

    fn evict(&mut self, server: ServerId, reason: Reason) {
        let words = reason.words();
        let text = format!("server of {} {words}", self.pool_name(self.servers[server].pool));
        self.note_repeating(&text);
        self.close_server(server, reason);
    }

    fn note_reserve(&mut self, pool: PoolId) {
        let Some(client) = self.pools[pool].waiting.first() else { return };
        let text = "taking connection from reserve_pool";
        self.log_client(Level::Warning, client, format_args!("{text}"));
        let name = self.pool_name(pool);
        self.note_repeating(&format!("{text}, {name}"));
    }

    /// Opens one server more than is needed now, where the limits allow it.
    pub(in crate::pool) fn launch_successor(&mut self, id: PoolId) {
        let database = &self.databases[self.pools[id].database];
        let Some(place) = self.choose_site(database) else { return };
        let may = !self.is_winding_down() && self.may_log_in_one_more(id, 0);
        if may && self.room(id) == Some(false) && self.eviction(id, Need::Minimum) == Ok(None) {
            self.open(id, place, None);
        }
    }

    /// Opens a server for one replication client alone.
    pub(in crate::pool) fn launch_private(&mut self, id: PoolId, client: ClientId) {
        let database = &self.databases[self.pools[id].database];
        let Some(place) = self.choose_site(database) else { return };
        while self.room(id) != Some(false) {
            let Some(server) = self.longest_idle([id].into_iter()) else { return };
            self.evict(server, Reason::EvictedForPool);
        }
        loop {
            match self.eviction(id, Need::Clients) {
                Ok(None) => return self.open(id, place, Some(client)),
                Ok(Some((server, reason))) => self.evict(server, reason),
                Err(_) => return,
            }
        }
    }

    /// Whether a server is already being opened for this replication client.
    pub(in crate::pool) fn is_served(&self, pool: PoolId, client: ClientId) -> bool {
        self.pools[pool].logging_in.iter(&self.servers).any(|id| match self.servers[id].state() {
            State::Login(login) => login.for_client == Some(client),
            _ => false,
        })
    }

    /// Spreads the ends of servers that were opened together over the last tenth of their lives.
    pub(in crate::pool) fn set_lifetime_cut(&mut self, id: ServerId) {
        let lifetime = self.server_lifetime(self.servers[id].pool).as_micros() as u64;
        self.servers[id].lifetime_cut_us = self.rng.below(lifetime / 10 + 1);
    }
}
