//! What is there, counted from the records alone, and what the rules say of it.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rules::{DATABASES, HOSTS, Rules, USERS};
use super::world::{World, place_of};
use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, PoolId};
use crate::pool::records::client::Member;
use crate::pool::records::pool::Pool;
use crate::pool::records::server;

/// A login of this age is not waited for where another host may be tried.
const HUNG: Duration = Duration::from_secs(1);

/// How many there are of what the limits limit.
#[derive(Default)]
pub struct Count {
    /// By pool: database and user.
    servers: BTreeMap<(usize, usize), usize>,
    db_servers: [usize; DATABASES],
    user_servers: [usize; USERS],
    pub clients: usize,
    pub db_clients: [usize; DATABASES],
    pub user_clients: [usize; USERS],
    logins: [usize; HOSTS],
    /// Servers past their login, by pool.
    working: BTreeMap<(usize, usize), usize>,
    /// Who waits, by pool, with the moment of the question.
    queues: BTreeMap<(usize, usize), Vec<(Moment, ClientId)>>,
    /// Servers up to this number were there before.
    last_number: u64,
}

fn key(core: &Core, pool: PoolId) -> (usize, usize) {
    let pool = &core.pools[pool];
    let database = &core.databases[pool.database].line.name;
    (place_of(database), place_of(&core.users[pool.user].name))
}

impl Count {
    pub fn of(core: &Core) -> Count {
        let mut count = Count::default();
        for (_, server) in core.servers.iter() {
            count.last_number = count.last_number.max(server.number);
            if matches!(server.state(), server::ServerState::Closing) {
                continue;
            }
            let (database, user) = key(core, server.pool);
            *count.servers.entry((database, user)).or_default() += 1;
            count.db_servers[database] += 1;
            count.user_servers[user] += 1;
            if let server::ServerState::Login(_) = server.state() {
                count.logins[host_of(core, server)] += 1;
            } else {
                *count.working.entry((database, user)).or_default() += 1;
            }
        }
        for (id, client) in core.clients.iter().filter(|(_, client)| !client.is_closing()) {
            let Some(&Member { pool, user, .. }) = client.member() else { continue };
            count.clients += 1;
            let database = key(core, pool).0;
            count.db_clients[database] += 1;
            count.user_clients[place_of(&core.users[user].name)] += 1;
            if client.is_waiting() {
                let queue = count.queues.entry(key(core, pool)).or_default();
                queue.push((client.requested, id));
            }
        }
        count
    }
}

fn host_of(core: &Core, server: &server::Server) -> usize {
    let crate::config::Host::Tcp(name) = &core.sites[server.site].host else { panic!("no host") };
    name.rsplit('.').next().and_then(|last| last.parse().ok()).expect("10.0.0.n")
}

impl World {
    /// Compares with the rules; `is_whole` tells that the pooler has just looked at everything.
    pub fn verify(&mut self, before: &Count, is_whole: bool) -> Result<(), String> {
        let count = Count::of(&self.core);
        self.check_servers(before, &count)?;
        self.check_clients(before, &count)?;
        self.check_order(before, &count)?;
        if is_whole {
            self.check_waiting(&count)?;
        }
        Ok(())
    }

    /// Nothing is above a limit, or has grown where it was.
    fn check_servers(&mut self, before: &Count, count: &Count) -> Result<(), String> {
        let rules = &self.rules;
        let mut surplus = 0;
        let mut within = |what: String, limit: u32, now: usize, then: usize| {
            if limit == 0 || now <= limit as usize {
                return Ok(());
            }
            surplus += 1;
            let text = format!("{what}: {now} servers, before {then}, and the limit is {limit}");
            if now <= then { Ok(()) } else { Err(text) }
        };
        for (&(database, user), &now) in &count.servers {
            let then = before.servers.get(&(database, user)).copied().unwrap_or(0);
            let size = rules.pool_size(database, user);
            let whole = if size == 0 { 0 } else { size + rules.reserve(database, user) };
            within(format!("pool d{database}/u{user}"), whole, now, then)?;
        }
        for database in 0..DATABASES {
            let (now, then) = (count.db_servers[database], before.db_servers[database]);
            within(format!("database d{database}"), rules.db_servers(database), now, then)?;
        }
        for user in 0..USERS {
            let (now, then) = (count.user_servers[user], before.user_servers[user]);
            within(format!("user u{user}"), rules.user_servers(user), now, then)?;
        }
        for host in 0..HOSTS {
            let (now, then) = (count.logins[host], before.logins[host]);
            within(format!("logins at {host}"), rules.login_concurrency, now, then)?;
        }
        self.figures.surplus += surplus;
        self.check_new_servers(before, count)
    }

    /// Servers that this step has opened: the reserve only for who has waited, and one login at a
    /// time until one has worked.
    fn check_new_servers(&mut self, before: &Count, count: &Count) -> Result<(), String> {
        for (id, server) in self.core.servers.iter() {
            let is_login = matches!(server.state(), server::ServerState::Login(_));
            if server.number <= before.last_number || !is_login {
                continue;
            }
            let pool = &self.core.pools[server.pool];
            let (database, user) = key(&self.core, server.pool);
            let (size, now) = (self.rules.pool_size(database, user), self.core.mono());
            let patience = self.rules.reserve_pool_timeout;
            let queue = before.queues.get(&(database, user)).into_iter().flatten();
            let mut waits = queue.map(|(since, _)| now.since(*since));
            let may_use = !patience.is_zero() && waits.any(|wait| wait >= patience);
            if size > 0 && count.servers[&(database, user)] > size as usize && !may_use {
                return Err(format!("{id:?} of d{database}/u{user} is opened from the reserve"));
            }
            let logins = pool.logging_in.iter(&self.core.servers);
            let young = logins.filter(|id| !self.may_hang(*id)).count();
            let had_working = before.working.contains_key(&(database, user))
                || self.logged_in.contains(&server.pool);
            if pool.working_count() == 0 && !had_working && young > 1 {
                return Err(format!("{young} first logins of d{database}/u{user} at a time"));
            }
        }
        Ok(())
    }

    /// Whether a login is one that need not be waited for: it takes long, or its host has failed.
    fn may_hang(&self, id: crate::pool::ids::ServerId) -> bool {
        let server = &self.core.servers[id];
        let host = host_of(&self.core, server);
        let others = self.sockets.iter().filter(|socket| socket.host == host);
        let is_old = |since: Moment| self.core.mono().since(since) >= HUNG;
        self.inns[host].failed_at.is_some()
            || others.into_iter().any(|other| is_old(self.core.servers[other.server].connected))
    }

    fn check_clients(&self, before: &Count, count: &Count) -> Result<(), String> {
        let rules = &self.rules;
        let within = |what: String, limit: u32, now: usize, then: usize| {
            let is_good = limit == 0 || now <= limit as usize || now <= then;
            let text = format!("{what}: {now} clients, before {then}, and the limit is {limit}");
            if is_good { Ok(()) } else { Err(text) }
        };
        within("all".into(), rules.max_client_conn, count.clients, before.clients)?;
        for database in 0..DATABASES {
            let (now, then) = (count.db_clients[database], before.db_clients[database]);
            within(format!("database d{database}"), rules.db_clients(database), now, then)?;
        }
        for user in 0..USERS {
            let (now, then) = (count.user_clients[user], before.user_clients[user]);
            within(format!("user u{user}"), rules.user_clients(user), now, then)?;
        }
        Ok(())
    }

    /// Who has waited longer was served before.
    fn check_order(&self, before: &Count, count: &Count) -> Result<(), String> {
        for (pool, queue) in &before.queues {
            let waits = |who: &(Moment, ClientId)| {
                count.queues.get(pool).is_some_and(|now| now.contains(who))
            };
            let has_server = |id| self.core.clients.get(id).is_some_and(|c| c.server().is_some());
            let served = queue.iter().filter(|who| !waits(who) && has_server(who.1));
            let Some((latest, id)) = served.max_by_key(|(since, _)| *since) else { continue };
            if let Some((since, other)) = queue.iter().find(|who| who.0 < *latest && waits(who)) {
                return Err(format!("{id:?} is served before {other:?}, {since:?}"));
            }
        }
        Ok(())
    }

    /// Nobody waits, and no pool is below its minimum, without a reason.
    fn check_waiting(&mut self, count: &Count) -> Result<(), String> {
        for (id, pool) in self.core.pools.iter() {
            if let Err(why) = self.excuse(id, pool, count) {
                let (database, user) = key(&self.core, id);
                return Err(format!("d{database}/u{user} gets no server: {why}"));
            }
        }
        let logins = self.sockets.iter();
        let hung = logins.filter(|s| self.may_hang(s.server)).count();
        self.figures.hung += hung as u32;
        Ok(())
    }

    /// Why no server is opened for a pool.
    fn excuse(&self, id: PoolId, pool: &Pool, count: &Count) -> Result<&'static str, String> {
        let (database, user) = key(&self.core, id);
        let rules = &self.rules;
        if self.core.is_held_back(pool.database) || self.core.databases[pool.database].is_removed {
            return Ok("it is held back, or removed");
        }
        let open = self.usable_hosts(database, count);
        let coming = self.coming(pool, !open.is_empty());
        let waiting =
            pool.waiting.len() + usize::from(pool.welcome.is_none() && !pool.welcoming.is_empty());
        let for_clients = waiting > coming;
        let servers = count.servers.get(&(database, user)).copied().unwrap_or(0);
        if !for_clients && servers >= self.minimum(database, user, pool) {
            return Ok("it needs none");
        }
        let reached = |limit: u32, count: usize| limit > 0 && count >= limit as usize;
        let size = rules.pool_size(database, user);
        if reached(size, servers) && !self.may_use_reserve(database, user, pool, servers) {
            return Ok("it is full");
        }
        let may_evict = |of: fn((usize, usize)) -> usize| {
            let mut others = self.core.pools.iter().filter(|(other, _)| *other != id);
            for_clients
                && others.any(|(other, pool)| {
                    of(key(&self.core, other)) == of((database, user)) && !pool.idle.is_empty()
                })
        };
        let db_is_full = reached(rules.db_servers(database), count.db_servers[database]);
        if db_is_full && !may_evict(|pool| pool.0) {
            return Ok("its database is full");
        }
        let user_is_full = reached(rules.user_servers(user), count.user_servers[user]);
        if user_is_full && !may_evict(|pool| pool.1) {
            return Ok("its user is full");
        }
        if let Some(at) = self.refused_at.get(&id.to_bits())
            && (self.is_left_alone(*at) || !pool.logging_in.is_empty())
        {
            return Ok("its last login was refused");
        }
        if (pool.working_count() == 0 || rules.login_concurrency == 0) && coming > 0 {
            return Ok("its first login is under way");
        }
        if open.is_empty() && !self.may_probe(database, count) {
            return Ok("no host can be tried");
        }
        Err(format!("{waiting} wait, {coming} are coming of {servers}, hosts {open:?} are free"))
    }

    fn minimum(&self, database: usize, user: usize, pool: &Pool) -> usize {
        let is_used =
            self.rules.databases[database].forced == Some(user) || pool.client_count() > 0;
        let minimum = if is_used { self.rules.minimum(database) } else { 0 };
        match self.rules.pool_size(database, user) {
            0 => minimum as usize,
            size => minimum.min(size) as usize,
        }
    }

    fn may_use_reserve(&self, database: usize, user: usize, pool: &Pool, servers: usize) -> bool {
        let whole = self.rules.pool_size(database, user) + self.rules.reserve(database, user);
        let (patience, now) = (self.rules.reserve_pool_timeout, self.core.mono());
        let is_patient = |client| now.since(self.core.clients[client].requested) >= patience;
        let is_long = pool.waiting.first().is_some_and(is_patient) && !patience.is_zero();
        is_long && servers < whole as usize
    }

    /// Logins under way that are worth waiting for.
    fn coming(&self, pool: &Pool, has_other_host: bool) -> usize {
        let logins = pool.logging_in.iter(&self.core.servers).map(|id| &self.core.servers[id]);
        let is_old = |since: Moment| self.core.mono().since(since) >= HUNG;
        logins.filter(|server| !(has_other_host && is_old(server.connected))).count()
    }

    /// Hosts of a database that have neither failed just now nor a login that hangs, and may have
    /// one more.
    fn usable_hosts(&self, database: usize, count: &Count) -> Vec<usize> {
        let most = match self.rules.login_concurrency {
            0 => usize::MAX,
            most => most as usize,
        };
        let is_hung = |host: usize| {
            let old = |server| self.core.mono().since(self.core.servers[server].connected) >= HUNG;
            self.sockets.iter().any(|socket| socket.host == host && old(socket.server))
        };
        let hosts = self.rules.databases[database].hosts.iter().copied();
        let usable = hosts.filter(|&host| {
            let has_failed = self.inns[host].failed_at.is_some();
            !has_failed && !is_hung(host) && count.logins[host] < most
        });
        usable.collect()
    }

    /// Whether a host that has failed is to be tried again, by one login.
    fn may_probe(&self, database: usize, count: &Count) -> bool {
        let mut hosts = self.rules.databases[database].hosts.iter().copied();
        hosts.any(|host| {
            let is_over = self.inns[host].failed_at.is_some_and(|at| !self.is_left_alone(at));
            is_over && count.logins[host] == 0
        })
    }

    /// Whether what failed at `at` may still be left alone.
    fn is_left_alone(&self, at: Moment) -> bool {
        self.core.mono().since(at) <= self.rules.login_retry.mul_f64(1.1)
    }
}

/// The rules are compared with what the configuration made of them: that is the model's ground.
#[test]
fn limits_model_means_the_same_limits_as_the_core() {
    use crate::base::rng::SeededRng;
    for seed in 0..200 {
        let mut world = World::new(seed);
        world.rules = Rules::random(&mut SeededRng::new(seed + 1000));
        world.core.adopt(world.rules.config(), super::world::access());
        let core = &world.core;
        let is_there = |pool: &Pool| !core.databases[pool.database].is_removed;
        for (id, _) in core.pools.iter().filter(|(_, pool)| is_there(pool)) {
            let (database, user) = key(core, id);
            assert_eq!(core.limits().pool_size(id), world.rules.pool_size(database, user));
            assert_eq!(core.limits().reserve_pool_size(id), world.rules.reserve(database, user));
            assert_eq!(core.limits().min_pool_size(id), world.rules.minimum(database));
        }
        for (id, record) in core.databases.iter().filter(|(_, record)| !record.is_removed) {
            let database = place_of(&record.line.name);
            assert_eq!(core.limits().max_db_connections(id), world.rules.db_servers(database));
            assert_eq!(
                core.limits().max_db_client_connections(id),
                world.rules.db_clients(database)
            );
        }
        for (id, record) in core.users.iter() {
            let user = place_of(&record.name);
            assert_eq!(core.limits().max_user_connections(id), world.rules.user_servers(user));
            assert_eq!(
                core.limits().max_user_client_connections(id),
                world.rules.user_clients(user)
            );
        }
    }
}
