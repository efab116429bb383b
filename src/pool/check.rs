//! What must hold after every move of a record, whoever made it. Debug builds and the simulation
//! ask after every turn of the loop; the release program leaves it out.

use std::collections::HashMap;

use super::ids::{ClientId, PoolId};
use crate::pool::core::Core;
use crate::pool::core::plan::Plan;
use crate::pool::owed::verdict::Hold;
use crate::pool::records::calendar::STEP;
use crate::pool::records::client::{self, Client, Progress, QueryRefusal};
use crate::pool::records::inquiries::QUESTIONS_OUT_MAX;
use crate::pool::records::lookup::Lookup;
use crate::pool::records::pool::Purpose;
use crate::pool::records::pool::Rest;
use crate::pool::records::server::{self, Server};

impl Core {
    /// Panics where something does not hold that must hold between any two moves.
    pub fn check(&self) {
        self.check_links();
        self.check_carriers();
        self.check_lists();
        self.check_waiting();
        self.check_holds();
        self.check_plans();
        self.check_resting();
        self.check_directory();
        self.check_transients();
        self.check_lookups();
        self.check_inquiries();
    }

    /// Links agree on both sides.
    fn check_links(&self) {
        for (id, client) in self.clients.iter() {
            if let Some(server) = client.server() {
                let other = self.servers.get(server).and_then(Server::client);
                assert_eq!(other, Some(id), "a client's server has another client");
            }
        }
        for (id, server) in self.servers.iter() {
            if let server::ServerState::Active { client } = server.state() {
                let other = self.clients.get(*client).and_then(Client::server);
                assert_eq!(other, Some(id), "a server's client has another server");
            }
            let carrier = server.canceled_by.map(|carrier| self.carriers[carrier].target());
            assert!(carrier.is_none_or(|target| target == Some(id)), "a carrier is for another");
            let is_between = matches!(server.state(), server::ServerState::Between);
            assert!(!is_between, "a server was let go of, and nothing came of it");
            let is_free =
                matches!(server.state(), server::ServerState::Idle | server::ServerState::Used);
            assert!(!is_free || server.is_clean(), "a server in the pool is not clean");
            assert!(!is_free || server.closing.is_none(), "a server to be closed is in the pool");
            assert!(!is_free || !server.is_private, "a walsender is in the pool");
            let is_left_so = server.is_abandoned || server.session.must_be_reset();
            assert!(!is_free || !is_left_so, "a server in the pool is to be reset first");
            let is_over = server.half_sent == 0 && !server.replies.is_doubtful();
            assert!(!is_free || is_over, "a server in the pool may yet say something of before");
            assert!(!is_free || server.kept.is_told(), "an answer is left of another");
            let end = server.end_of(self.limits().server_lifetime(server.pool));
            assert!(!is_free || server.end_of_life == end, "a server's lifetime has changed");
        }
    }

    /// A carrier is known to the server that it may strike, and to the client that waits for it.
    fn check_carriers(&self) {
        for (id, carrier) in self.carriers.iter().filter(|(_, carrier)| !carrier.is_closing()) {
            if let Some(server) = carrier.target().and_then(|target| self.servers.get(target)) {
                assert_eq!(server.canceled_by, Some(id), "a server does not know what strikes it");
            }
            if let Some(client) = carrier.client.and_then(|client| self.clients.get(client)) {
                assert_eq!(client.cancel_carrier(), Some(id), "a client waits for no carrier");
            }
        }
    }

    /// Every record is in exactly one list, and counters equal what they count.
    fn check_lists(&self) {
        let watches = self.has_session_policy();
        // It may yet be on for a client that has chosen a policy, and has gone.
        assert!(self.watches_sessions || !watches, "sessions are not watched that should be");
        let mut clients = self.logins.len() + self.consoles.len() + self.cancel_clients.len();
        let (mut servers, mut carriers) = (0, 0);
        for (id, pool) in self.pools.iter() {
            let mode = self.limits().mode_of(pool.database, pool.user);
            assert_eq!(pool.mode, mode, "the mode of {} is an old one", self.pool_name(id));
            let is_plain = pool.plain_under != self.plainness || self.hands_over_plainly(id);
            assert!(is_plain, "hand-overs in {} are plain no more", self.pool_name(id));
            for id in pool.active.iter(&self.servers) {
                let server = &self.servers[id];
                let Some(client) = server.client().filter(|_| !server.is_private) else { continue };
                let mode = self.client_mode(&self.clients[client]);
                assert_eq!(server.mode, mode, "the mode of a server is not its client's");
            }
            let active = pool.settled.iter(&self.clients);
            let active = active.filter(|id| self.clients[*id].server().is_some()).count();
            assert_eq!(pool.active_clients(), active, "clients of {}", self.pool_name(id));
            clients += pool.client_count();
            servers += pool.server_count();
            carriers += pool.carriers.len();
        }
        let closing = self.clients.iter().filter(|(_, c)| c.is_closing()).count();
        assert_eq!(clients + closing, self.clients.len(), "a client is in no list, or in two");
        let closing = self.servers.iter().filter(|(_, s)| s.is_closing()).count();
        assert_eq!(servers + closing, self.servers.len(), "a server is in no list, or in two");
        carriers += self.peers.iter().map(|(_, peer)| peer.carriers.len()).sum::<usize>();
        let closing = self.carriers.iter().filter(|(_, c)| c.is_closing()).count();
        assert_eq!(carriers + closing, self.carriers.len(), "a carrier is in no list, or in two");
        for (id, database) in self.databases.iter() {
            let pools = || self.pools.iter().filter(move |(_, pool)| pool.database == id);
            let servers: usize = pools().map(|(_, pool)| pool.server_count()).sum();
            assert_eq!(database.servers as usize, servers, "servers of {}", database.line.name);
            let clients: usize = pools().map(|(_, pool)| pool.client_count()).sum();
            assert_eq!(database.clients as usize, clients, "clients of {}", database.line.name);
        }
        for (id, user) in self.users.iter() {
            let pools = self.pools.iter().filter(|(_, pool)| pool.user == id);
            let servers: usize = pools.map(|(_, pool)| pool.server_count()).sum();
            assert_eq!(user.servers as usize, servers, "servers of {}", user.name);
        }
    }

    /// No client waits while a server that it may use is idle.
    fn check_waiting(&self) {
        for (_, pool) in self.pools.iter() {
            let may_use = !self.is_held_back(pool.database);
            assert!(
                pool.demand() == 0 || pool.idle.is_empty() || !may_use,
                "a client waits beside an idle server"
            );
        }
    }

    /// No client is held for what has come already, nor for what can never come.
    fn check_holds(&self) {
        for (id, client) in self.clients.iter() {
            let Some(hold) = client.hold() else { continue };
            assert!(self.is_awaited(id, hold), "a client is held for {hold:?}, which has come");
            // Another connection is to speak, or the client itself is to take what it was told of
            // its parameters, before its server is taken off it and its query answered.
            let is_told_first = hold == Hold::Parameters && client.refusal != QueryRefusal::None;
            let waits_for_server = hold != Hold::Channels && !is_told_first;
            if let Some(server) = client.server().filter(|_| waits_for_server) {
                let server = &self.servers[server];
                let speaks = server.is_mid_reply || server.replies.is_server_to_speak();
                assert!(speaks, "a client is held for {hold:?}, and its server owes nothing");
            }
        }
    }

    /// No pool needs a server that it could have, after a sweep that has looked at all of them.
    fn check_plans(&self) {
        if self.must_look() || !self.was_swept_now() {
            return;
        }
        for (id, pool) in self.pools.iter() {
            match self.planner().plan(id) {
                Plan::Await(shortage) => {
                    let name = self.pool_name(id);
                    assert!(pool.awaits_place, "{name} is not fed: {shortage:?}");
                }
                Plan::Rest => {}
                plan @ (Plan::Evict(..) | Plan::GiveUp(_) | Plan::Open { .. }) => {
                    let (name, coming) = (self.pool_name(id), self.planner().logins_that_count(id));
                    let (logins, working) = (pool.logging_in.len(), pool.working_count());
                    let (waiting, awaits_place) = (pool.waiting.len(), pool.awaits_place);
                    let sites = self.databases[pool.database].sites.iter();
                    let sites: Vec<_> = sites.map(|site| &self.sites[*site]).collect();
                    panic!(
                        "{name} is left with {plan:?}: {working} work, {coming} of {logins} come, \
                         {waiting} wait, awaits a place: {awaits_place}, {sites:?}"
                    )
                }
            }
        }
    }

    /// Who waits for a lookup is in one of its pool's, once; no pool is for clients and lookups.
    fn check_lookups(&self) {
        let mut listed = 0;
        for (id, pool) in self.pools.iter() {
            let clients = pool.lookup_clients(&self.servers);
            listed += clients.len();
            for client in clients {
                let awaited = self.lookup_awaited(client);
                assert_eq!(awaited, Some(id), "a client waits for a lookup of another pool");
            }
            match pool.purpose {
                Purpose::Clients => assert!(pool.lookups.is_empty(), "a lookup among clients"),
                Purpose::Listening => {
                    assert!(pool.lookups.is_empty() && pool.client_count() == 0, "not for clients");
                    assert!(pool.server_count() <= 1, "two connections listen for one pool");
                }
                Purpose::Lookups => assert_eq!(pool.client_count(), 0, "a client among lookups"),
            }
            let is_wanted = |lookup: &Lookup| !lookup.clients.is_empty();
            assert!(pool.lookups.iter().all(is_wanted), "a lookup for nobody waits");
        }
        let logins = self.logins.iter(&self.clients);
        let waiting = logins.filter(|&client| self.lookup_awaited(client).is_some()).count();
        assert_eq!(waiting, listed, "a client waits for no lookup, or for two");
    }

    /// No question to a judge waits while one more may be sent, and none waits twice.
    fn check_inquiries(&self) {
        assert!(
            self.inquiries.out <= QUESTIONS_OUT_MAX,
            "{} inquiries are out",
            self.inquiries.out
        );
        let unsent = self.logins.iter(&self.clients).filter(|&id| {
            let client::ClientState::Login(login) = self.clients[id].state() else { return false };
            matches!(&login.progress, Progress::Judged(question) if !question.is_sent)
        });
        for id in unsent {
            let places = self.inquiries.waiting.iter().filter(|waiting| **waiting == id);
            assert_eq!(places.count(), 1, "a client waits to be judged in no place, or in two");
            assert_eq!(self.inquiries.out, QUESTIONS_OUT_MAX, "a question waits for nothing");
        }
    }

    /// The pool of the lookup that a client waits for.
    fn lookup_awaited(&self, client: ClientId) -> Option<PoolId> {
        let client::ClientState::Login(login) = self.clients[client].state() else { return None };
        match login.progress {
            Progress::LookUp { pool, .. } => Some(pool),
            Progress::Asked(_)
            | Progress::Begun
            | Progress::Deriving(_)
            | Progress::Judged(_)
            | Progress::Parked => None,
        }
    }

    /// Who looks for a database finds it unless it was removed, and each pool is found by all that
    /// name it.
    fn check_directory(&self) {
        let mut listed = [0; 2];
        for (id, database) in self.databases.iter() {
            let name = &database.line.name;
            let is_found = self.directory.find_database(name) == Some(id);
            assert_ne!(is_found, database.is_removed, "{name} by its name");
            let is_its_own = |pool: &PoolId| self.pools[*pool].database == id;
            assert!(database.pools.iter().all(is_its_own), "pools of {name}");
            listed[0] += database.pools.len();
        }
        for (id, user) in self.users.iter() {
            let is_its_own = |pool: &PoolId| self.pools[*pool].user == id;
            assert!(user.pools.iter().all(is_its_own), "pools of {}", user.name);
            listed[1] += user.pools.len();
        }
        assert_eq!(listed, [self.pools.len(); 2], "pools by database, and by user");
        assert_eq!(self.directory.pool_count(), self.pools.len(), "pools by both");
        for (id, pool) in self.pools.iter() {
            let found = self.directory.find_pool(pool.database, pool.user, pool.purpose);
            assert_eq!(found, Some(id), "{} by its database and user", self.pool_name(id));
        }
    }

    /// Databases that may go are known, each once.
    fn check_transients(&self) {
        let mut listed = HashMap::new();
        for id in self.directory.transients.iter(&self.databases) {
            *listed.entry(id).or_insert(0) += 1;
        }
        for (id, database) in self.databases.iter() {
            let count = listed.get(&id).copied().unwrap_or_default();
            assert_eq!(count, usize::from(database.is_transient()), "{}", database.line.name);
        }
    }

    /// No pool rests in which something is to be done.
    fn check_resting(&self) {
        for (id, _) in self.pools.iter().filter(|(_, pool)| pool.rest != Rest::Awake) {
            let name = self.pool_name(id);
            let Some(due) = self.quiet_until(id) else { panic!("{name} rests at work") };
            let is_late = self.was_swept_now() && due + STEP * 2 <= self.mono();
            assert!(!is_late, "{name} has overslept");
        }
    }
}
