//! Servers are opened, and idle ones tested or evicted, as [`Planner`] decides.
//!
//! A pool that lacks a place awaits one: [`Core::fill_places`] looks at it again in the turn in
//! which a place becomes free, in the order of [`Core::turn_of`]. When a client asks for a server,
//! only its own pool is looked at.
//!
//! [`Planner`]: crate::pool::core::plan::Planner

use crate::base::order;
use crate::base::time::Moment;
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::core::plan::{Need, Plan, Shortage};
use crate::pool::ids::{ClientId, Outbound, PoolId, ServerId};
use crate::pool::records::client::Replication;
use crate::pool::records::handshake::ServerHandshake;
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::{Server, ServerState, Test};
use crate::pool::telling::events::ReachedLimit;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Opens the servers that the pool needs and the limits allow, and tests idle servers that must
    /// be tested before use.
    pub(in crate::pool) fn launch(&mut self, pool: PoolId) {
        self.wake_pool(pool);
        self.test_used(pool);
        loop {
            match self.planner().plan(pool) {
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

    /// Looks at pools that may need a server now, and, if a place may be free, at pools that await
    /// one. Returns the number of looks.
    pub(in crate::pool) fn fill_places(&mut self) -> usize {
        let mut looks = 0;
        while self.must_look() {
            let mut pools = self.take_next_pools();
            if std::mem::take(&mut self.has_place) {
                pools.append(&mut self.take_awaiting_place());
            }
            let longest_first = |a: &PoolId, b: &PoolId| self.turn_of(*a).cmp(&self.turn_of(*b));
            for pool in order::sorted(&pools, longest_first) {
                if self.pools.contains(pool) {
                    self.launch_privates(pool);
                    self.launch(pool);
                    looks += 1;
                }
            }
        }
        looks
    }

    fn take_next_pools(&mut self) -> Vec<PoolId> {
        let pools = std::mem::take(&mut self.next_pools);
        for pool in &pools {
            if let Some(record) = self.pools.get_mut(*pool) {
                record.is_next = false;
            }
        }
        pools
    }

    fn take_awaiting_place(&mut self) -> Vec<PoolId> {
        let pools = std::mem::take(&mut self.awaiting_place);
        for pool in &pools {
            if let Some(record) = self.pools.get_mut(*pool) {
                record.awaits_place = false;
            }
        }
        pools
    }

    /// The rank of a pool in the order for places. Clients that have proved who they are come
    /// first, then lookups in databases known to exist; within each rank the longest wait comes
    /// first.
    fn turn_of(&self, pool: PoolId) -> (u8, Moment) {
        let rank = self.pools.get(pool).map_or(0, |record| match record.purpose {
            Purpose::Clients | Purpose::Listening => 0,
            Purpose::Lookups if self.databases[record.database].is_reached => 1,
            Purpose::Lookups => 2,
        });
        (rank, self.first_wait_of(pool))
    }

    /// Since when the first client of the pool waits; the latest moment if none does.
    fn first_wait_of(&self, pool: PoolId) -> Moment {
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
        self.move_server(server, ServerState::Tested(Test::Check));
        self.run_own_query(server, &sql);
    }

    /// Opens one connection.
    fn open(&mut self, pool_id: PoolId, place: usize, for_client: Option<ClientId>) {
        let database = &mut self.databases[self.pools[pool_id].database];
        let site = database.take_site(place);
        let login = ServerState::Login(Box::new(ServerHandshake::new(for_client)));
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
        debug_assert!(self.limits().is_respected(pool_id), "{}", self.pool_name(pool_id));
        self.approach(Outbound::Server(id));
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

    /// Opens one server more than is needed now, if the limits allow it.
    pub(in crate::pool) fn launch_successor(&mut self, id: PoolId) {
        let database = &self.databases[self.pools[id].database];
        let Some(place) = self.planner().choose_site(database) else { return };
        let may = !self.is_winding_down() && self.planner().may_log_in_one_more(id, 0);
        if may
            && self.planner().room(id) == Some(false)
            && self.planner().eviction(id, Need::Minimum) == Ok(None)
        {
            self.open(id, place, None);
        }
    }

    /// Opens a server for a single replication client. Without a place for it, the pool is looked
    /// at again when one becomes free; during PAUSE, when that is over.
    pub(in crate::pool) fn launch_private(&mut self, id: PoolId, client: ClientId) {
        let database = self.pools[id].database;
        if !self.planner().may_open_in(database) {
            self.pools[id].lacks_private = true;
            return;
        }
        let Some(place) = self.planner().choose_site(&self.databases[database]) else { return };
        if self.make_room(id) {
            return self.open(id, place, Some(client));
        }
        self.pools[id].lacks_private = true;
        self.look_later(id);
    }

    /// Closes idle servers, those of the pool itself too, until it may have one more. Returns
    /// whether it may.
    fn make_room(&mut self, id: PoolId) -> bool {
        while self.planner().room(id) != Some(false) {
            let Some(server) = self.planner().longest_idle([id].into_iter()) else { return false };
            self.evict(server, Reason::EvictedForPool);
        }
        loop {
            let own = self.planner().longest_idle([id].into_iter());
            match (self.planner().eviction(id, Need::Clients), own) {
                (Ok(None), _) => return true,
                (Ok(Some((server, reason))), _) => self.evict(server, reason),
                (Err(ReachedLimit::UserServers(_)), Some(own)) => {
                    self.evict(own, Reason::EvictedForUser);
                }
                (Err(_), Some(own)) => self.evict(own, Reason::EvictedForDatabase),
                (Err(_), None) => return false,
            }
        }
    }

    /// Opens servers for replication clients that a place was not there for.
    pub(in crate::pool) fn launch_privates(&mut self, id: PoolId) {
        if !std::mem::take(&mut self.pools[id].lacks_private) {
            return;
        }
        for client in self.pools[id].welcoming.ids(&self.clients) {
            let is_private = self.clients[client].replication != Replication::No;
            if is_private && !self.is_served(id, client) {
                self.launch_private(id, client);
            }
        }
    }

    /// Whether a server is already being opened for this replication client.
    pub(in crate::pool) fn is_served(&self, pool: PoolId, client: ClientId) -> bool {
        self.pools[pool].logging_in.iter(&self.servers).any(|id| match self.servers[id].state() {
            ServerState::Login(login) => login.for_client == Some(client),
            _ => false,
        })
    }
}
