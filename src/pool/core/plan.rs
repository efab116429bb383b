//! How many servers a pool needs, and whether and where the next one may be opened.
//!
//! [`Planner::plan`] looks at the records and decides; `supply::launch` does it. A pool opens
//! servers for the clients that wait, one login at a time until one has worked, then several. Every
//! limit is asked here; where one is reached, an idle server of another pool makes room.

use crate::base::arena::Arena;
use crate::base::time::Moment;
use crate::config::Settings;
use crate::pool::core::Core;
use crate::pool::ids::{DatabaseId, PoolId, ServerId};
use crate::pool::records::client::{Client, Replication};
use crate::pool::records::database::Database;
use crate::pool::records::limits::Limits;
use crate::pool::records::pool::Pool;
use crate::pool::records::server::Server;
use crate::pool::records::site::{Health, Site, Sites};
use crate::pool::records::user::User;
use crate::pool::telling::events::ReachedLimit;
use crate::pool::telling::reason::Reason;

/// What is to be done for a pool at the moment.
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

/// What a pool that awaits a place waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pool) enum Shortage {
    /// Each host has failed just now, or has as many logins under way as it may have.
    Hosts,
    Limit(ReachedLimit),
}

/// For whom a server is to be opened.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pool) enum Need {
    /// Clients wait, or will wait soon: idle servers of other pools give way.
    Clients,
    /// min_pool_size: within the limits, at nobody's cost.
    Minimum,
}

/// What a plan is made from, to be read only.
pub(in crate::pool) struct Planner<'a> {
    pub now: Moment,
    pub settings: &'a Settings,
    pub limits: Limits<'a>,
    pub clients: &'a Arena<Client>,
    pub servers: &'a Arena<Server>,
    pub pools: &'a Arena<Pool>,
    pub databases: &'a Arena<Database>,
    pub users: &'a Arena<User>,
    pub sites: &'a Sites,
    /// No connection is begun before then, for want of descriptors.
    pub connects_after: Moment,
    /// PAUSE of all databases.
    pub is_paused: bool,
    pub is_winding_down: bool,
}

impl Core {
    /// The records and settings that plans are made from.
    pub(in crate::pool) fn planner(&self) -> Planner<'_> {
        let Core { clients, servers, pools, databases, users, sites, .. } = self;
        Planner {
            now: self.now.mono,
            settings: &self.config.settings,
            limits: self.limits(),
            clients,
            servers,
            pools,
            databases,
            users,
            sites,
            connects_after: self.connects_after,
            is_paused: self.is_paused,
            is_winding_down: self.is_winding_down(),
        }
    }

    /// Since when the one that has waited longest for a server does so.
    pub fn waiting_since(&self, pool: PoolId) -> Option<Moment> {
        self.planner().waiting_since(pool)
    }
}

impl Planner<'_> {
    /// What is to be done for a pool now.
    pub fn plan(&self, id: PoolId) -> Plan {
        let pool = &self.pools[id];
        let database = &self.databases[pool.database];
        if !self.may_open_in(pool.database) {
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

    /// Whether servers are opened for this database at present: not while it is paused, removed, or
    /// the pooler lets its servers go.
    pub fn may_open_in(&self, database: DatabaseId) -> bool {
        let is_removed = self.databases[database].is_removed;
        !is_removed && !self.is_held_back(database) && !self.is_winding_down
    }

    /// Whether a server is needed beside so many that are logging in.
    fn need(&self, id: PoolId, coming: usize) -> Option<Need> {
        let pool = &self.pools[id];
        let wanted = pool.demand() + usize::from(self.lacks_welcome(id));
        if wanted > coming + pool.tested.len() {
            return Some(Need::Clients);
        }
        self.limits.is_below_minimum(id).then_some(Need::Minimum)
    }

    /// Clients wait for what the first server of the pool will report.
    fn lacks_welcome(&self, pool: PoolId) -> bool {
        let pool = &self.pools[pool];
        let is_pooled = |id| self.clients[id].replication == Replication::No;
        pool.welcome.is_none() && pool.welcoming.iter(self.clients).any(is_pooled)
    }

    /// The logins under way that clients may count on. Where there is a host that is well, those at
    /// hosts that are slow or have failed do not count: an unreachable host must not hold up the
    /// others.
    pub fn logins_that_count(&self, id: PoolId) -> usize {
        let pool = &self.pools[id];
        let is_choosy = self.has_well_site(pool.database);
        let logins = pool.logging_in.iter(self.servers).map(|id| &self.servers[id]);
        let counts = |server: &&Server| {
            !(server.is_private || is_choosy && self.sites[server.site].is_doubtful())
        };
        logins.filter(counts).count()
    }

    fn has_well_site(&self, database: DatabaseId) -> bool {
        let mut sites = self.databases[database].sites.iter().map(|id| &self.sites[*id]);
        sites.any(|site| !site.is_doubtful())
    }

    /// Whether a pool may begin one more login: one at a time until one has worked. The cap for
    /// each host is the site's.
    pub fn may_log_in_one_more(&self, pool_id: PoolId, coming: usize) -> bool {
        let pool = &self.pools[pool_id];
        if let Some(refusal) = &pool.refusal {
            let longest = self.settings.server_login_retry;
            return self.now >= refusal.retry.at(longest) && pool.logging_in.is_empty();
        }
        let several = pool.working_count() > 0 && self.settings.server_login_concurrency > 0;
        several || coming == 0
    }

    /// Whether the pool's size leaves room, and whether that is the reserve's.
    pub fn room(&self, pool_id: PoolId) -> Option<bool> {
        let pool = &self.pools[pool_id];
        let size = self.limits.pool_size(pool_id) as usize;
        let count = pool.server_count();
        if size == 0 || count < size {
            return Some(false);
        }
        let patience = self.settings.reserve_pool_timeout;
        let since = self.waiting_since(pool_id);
        let has_waited = since.is_some_and(|since| self.now.since(since) >= patience);
        let reserve = self.limits.reserve_pool_size(pool_id) as usize;
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
        let mut logins = pool.logging_in.iter(self.servers);
        let hung =
            logins.find(|id| matches!(self.sites[self.servers[*id].site].health, Health::Slow));
        match hung {
            Some(server) if is_well => Plan::GiveUp(server),
            _ => Plan::Rest,
        }
    }

    /// Which server must go so that database and user may have one more, if any; fails with the
    /// limit that is reached when none can go. More than one may have to go, one after the other.
    pub fn eviction(
        &self,
        id: PoolId,
        need: Need,
    ) -> Result<Option<(ServerId, Reason)>, ReachedLimit> {
        let (database, user) = (self.pools[id].database, self.pools[id].user);
        let find = |pools: &[PoolId], reason: Reason, limit: ReachedLimit| {
            let others = pools.iter().copied().filter(|&other| other != id);
            let server = self.longest_idle(others).filter(|_| need == Need::Clients);
            server.map(|server| Some((server, reason))).ok_or(limit)
        };
        let (mut first, mut second) = (None, None);
        let (limit, record) = (self.limits.max_db_connections(database), &self.databases[database]);
        if limit > 0 && record.servers >= limit {
            let limit = ReachedLimit::DatabaseServers(database);
            first = find(&record.pools, Reason::EvictedForDatabase, limit)?;
        }
        let (limit, record) = (self.limits.max_user_connections(user), &self.users[user]);
        if limit > 0 && record.servers >= limit {
            second = find(&record.pools, Reason::EvictedForUser, ReachedLimit::UserServers(user))?;
        }
        Ok(first.or(second))
    }

    /// The server that has been idle longest in these pools.
    pub fn longest_idle(&self, pools: impl Iterator<Item = PoolId>) -> Option<ServerId> {
        let last = pools.filter(|pool| !self.pools[*pool].listens()).filter_map(|pool| {
            let pool = &self.pools[pool];
            let (idle, used) = (pool.idle.last(), pool.used.first());
            idle.into_iter().chain(used).min_by_key(|&id| self.servers[id].requested)
        });
        last.min_by_key(|&id| self.servers[id].requested)
    }

    /// The site for the next connection, by load_balance_hosts. One with a login that hangs is none
    /// as long as another is well.
    pub fn choose_site(&self, database: &Database) -> Option<usize> {
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
        let most = match (self.settings.server_login_concurrency, &site.health) {
            (_, Health::Failing { .. }) => 1,
            (0, Health::Well | Health::Slow) => u32::MAX,
            (most, Health::Well | Health::Slow) => most,
        };
        let is_time = self.now >= self.connects_after && !self.is_left_alone(site);
        is_time && site.logins < most
    }

    /// Whether a site has failed just now.
    pub fn is_left_alone(&self, site: &Site) -> bool {
        match &site.health {
            Health::Failing { retry, .. } => self.now < retry.at(self.settings.server_login_retry),
            Health::Slow | Health::Well => false,
        }
    }

    /// No server is handed out for this database at present: PAUSE.
    fn is_held_back(&self, database: DatabaseId) -> bool {
        self.is_paused || self.databases[database].is_paused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::ids::ClientId;
    use crate::pool::records::client::Standing;
    use crate::pool::records::retry::Retry;
    use crate::pool::records::scene::{NOW, Scene};

    impl Scene {
        fn planner(&self) -> Planner<'_> {
            let Scene { settings, clients, servers, pools, databases, users, sites } = self;
            Planner {
                now: NOW,
                settings,
                limits: self.limits(),
                clients,
                servers,
                pools,
                databases,
                users,
                sites,
                connects_after: Moment(0),
                is_paused: false,
                is_winding_down: false,
            }
        }

        /// A client that has waited since this moment.
        fn wait(&mut self, pool: PoolId, since: Moment) -> ClientId {
            let mut client = self.member(pool, Standing::Waiting);
            client.requested = since;
            let id = self.clients.insert(client);
            self.pools[pool].waiting.push_back(&mut self.clients, id);
            id
        }
    }

    #[test]
    fn a_server_is_opened_for_who_waits_and_for_nobody_else() {
        let (mut scene, _, pool) = Scene::new();
        assert_eq!(scene.planner().plan(pool), Plan::Rest);
        scene.wait(pool, NOW);
        assert_eq!(scene.planner().plan(pool), Plan::Open { place: 0, from_reserve: false });
        assert_eq!(Planner { is_winding_down: true, ..scene.planner() }.plan(pool), Plan::Rest);
        assert_eq!(Planner { is_paused: true, ..scene.planner() }.plan(pool), Plan::Rest);
    }

    #[test]
    fn an_idle_server_of_another_pool_gives_way_at_the_limit_of_the_database() {
        let (mut scene, database, pool) = Scene::new();
        let other = scene.pool(database, "ann");
        let idle = scene.idle(other);
        scene.wait(pool, NOW);
        scene.settings.max_db_connections = 1;
        let evicted = Plan::Evict(idle, Reason::EvictedForDatabase);
        assert_eq!(scene.planner().plan(pool), evicted);
        scene.pools[other].idle = Default::default();
        let limit = Shortage::Limit(ReachedLimit::DatabaseServers(database));
        assert_eq!(scene.planner().plan(pool), Plan::Await(limit));
    }

    #[test]
    fn a_host_that_has_failed_just_now_is_left_alone() {
        let (mut scene, _, pool) = Scene::new();
        scene.wait(pool, NOW);
        let site = scene.site();
        let retry = Retry::lasting(NOW, &mut crate::base::rng::SeededRng::new(1));
        scene.sites[site].health = Health::Failing { retry, error: "down".into() };
        assert_eq!(scene.planner().plan(pool), Plan::Await(Shortage::Hosts));
        let told = scene.planner().failure(pool).map(|(message, _)| message.to_owned());
        assert_eq!(told.as_deref(), Some("down"));
        let later = NOW + scene.settings.server_login_retry * 2;
        assert_eq!(
            Planner { now: later, ..scene.planner() }.plan(pool),
            Plan::Open { place: 0, from_reserve: false }
        );
    }

    #[test]
    fn the_reserve_is_for_who_has_waited_long_enough() {
        let (mut scene, _, pool) = Scene::new();
        (scene.settings.default_pool_size, scene.settings.reserve_pool_size) = (1, 1);
        scene.settings.reserve_pool_timeout = std::time::Duration::from_secs(5);
        let busy = scene.idle(pool);
        scene.pools[pool].idle = Default::default();
        scene.pools[pool].active.push_back(&mut scene.servers, busy);
        scene.wait(pool, NOW);
        assert_eq!(scene.planner().plan(pool), Plan::Rest);
        let later = Planner { now: NOW + scene.settings.reserve_pool_timeout, ..scene.planner() };
        assert_eq!(later.plan(pool), Plan::Open { place: 0, from_reserve: true });
    }
}
