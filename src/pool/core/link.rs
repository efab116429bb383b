//! Every move of a record: between states, into and out of lists, onto and off its partner. The
//! counters are kept here, and nowhere else. What is decided is decided elsewhere
//! ([`super::handover`], [`super::end`]); nobody else can write a state, for want of the [`Pass`].

use crate::base::arena::Arena;
use crate::base::list::{Linked, Links};
use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::{CarrierId, ClientId, PoolId, ServerId, ServerKind};
use crate::pool::records::carrier::{Carrier, CarrierStage, Errand};
use crate::pool::records::client::{self, Client, Member, Standing};
use crate::pool::records::pass::Pass;
use crate::pool::records::pool::{Pool, Rest};
use crate::pool::records::server::{self, Server};
use crate::pool::records::strangers::StrangerOrigin;

/// The right to write states.
pub struct Mover(Pass);

impl Mover {
    pub(super) fn new(pass: Pass) -> Mover {
        Mover(pass)
    }

    /// As [`Core::link`], for an idle client and an idle server of a pool that is awake.
    #[inline(always)]
    pub(super) fn pair_idle(
        &self,
        (client_id, client): (ClientId, &mut Client),
        (server_id, servers): (ServerId, &mut Arena<Server>),
        pool: &mut Pool,
        now: Moment,
    ) {
        client.set_standing(Standing::Active { server: server_id }, &self.0);
        client.since = now;
        let server = &mut servers[server_id];
        let links = std::mem::take(server.links_mut());
        let before = server.set_state(server::ServerState::Active { client: client_id }, &self.0);
        forget_plain(before);
        server.since = now;
        pool.idle.close(servers, links);
        *servers[server_id].links_mut() = pool.active.open_back(servers, server_id);
        pool.used_at = now;
    }

    /// As [`Core::unlink`] and then [`Core::rest_server`], for a client that is not held.
    #[inline(always)]
    pub(super) fn part_to_idle(
        &self,
        client: &mut Client,
        (server_id, servers): (ServerId, &mut Arena<Server>),
        pool: &mut Pool,
        now: Moment,
    ) {
        client.set_standing(Standing::Idle, &self.0);
        client.since = now;
        let server = &mut servers[server_id];
        let links = std::mem::take(server.links_mut());
        forget_plain(server.set_state(server::ServerState::Idle, &self.0));
        server.since = now;
        pool.active.close(servers, links);
        *servers[server_id].links_mut() = pool.idle.open_front(servers, server_id);
        pool.used_at = now;
    }
}

impl Core {
    /// Moves a client to another state, list and counters with it.
    pub(in crate::pool) fn move_client(&mut self, id: ClientId, to: client::ClientState) {
        let before = self.clients[id].standing().and(self.clients[id].member().copied());
        self.thread_client(id, false);
        let now = self.mono();
        let client = &mut self.clients[id];
        client.set_state(to, &self.mover.0);
        client.since = now;
        let after = client.standing().and(client.member().copied());
        self.thread_client(id, true);
        // Between two states of one pool no count changes.
        match (before, after) {
            (Some(left), None) => self.count_client(left, false),
            (None, Some(entered)) => self.count_client(entered, true),
            (Some(_), Some(_)) | (None, None) => {}
        }
        // A hold belongs to the state that the client leaves.
        if self.clients[id].hold.is_some() {
            self.wake(id);
        }
    }

    /// Moves a client to another standing in the pool that it belongs to.
    pub(in crate::pool) fn move_member(&mut self, id: ClientId, to: Standing) {
        if let Some(member) = self.clients[id].member().copied() {
            self.move_client(id, client::ClientState::Member(member, to));
        }
    }

    /// Closes a client, as far as the core goes.
    pub(in crate::pool) fn move_to_closing(&mut self, id: ClientId) {
        let member = self.clients[id].member().copied();
        self.move_client(id, client::ClientState::Closing(member));
    }

    /// Puts a client into the list of its state, or takes it out.
    fn thread_client(&mut self, id: ClientId, into: bool) {
        let client = &self.clients[id];
        let list = match client.state().place() {
            client::ClientPlace::Login => {
                self.strangers.count(StrangerOrigin::of(client.peer), into);
                &mut self.logins
            }
            client::ClientPlace::Console => &mut self.consoles,
            client::ClientPlace::Cancel => &mut self.cancel_clients,
            client::ClientPlace::Pool(pool, place) => self.pools[pool].client_list(place),
            client::ClientPlace::Nowhere => return,
        };
        if into {
            list.push_back(&mut self.clients, id);
        } else {
            list.remove(&mut self.clients, id);
        }
    }

    /// Adds a client to, or takes it from, the counts of its database and user.
    fn count_client(&mut self, of: Member, add: bool) {
        self.wake_pool(of.pool);
        count(&mut self.admitted, add);
        self.pools[of.pool].used_at = self.now.mono;
        let database = &mut self.databases[of.database];
        database.idle_since = self.now.mono;
        count(&mut database.clients, add);
        count(&mut self.users[of.user].clients, add);
    }

    /// Moves a server to another state, list and counters with it.
    pub(in crate::pool) fn move_server(&mut self, id: ServerId, to: server::ServerState) {
        self.replace_state(id, to);
    }

    /// Takes a server that ends out of everything. Returns the state that it was in.
    pub(super) fn end_server(&mut self, id: ServerId) -> server::ServerState {
        self.replace_state(id, server::ServerState::Closing)
    }

    fn replace_state(&mut self, id: ServerId, to: server::ServerState) -> server::ServerState {
        let now = self.now.mono;
        let server = &mut self.servers[id];
        let (pool, from, into) = (server.pool, server.state().place(), to.place());
        let is_counted = to.is_counted();
        let links = std::mem::take(server.links_mut());
        let before = server.set_state(to, &self.mover.0);
        server.since = now;
        self.thread_server(id, pool, (from, links), into);
        if before.is_counted() != is_counted {
            self.count_server(id, is_counted);
        }
        before
    }

    /// Moves a server to `Idle`. From `Between`, in which it is counted and in no list, that takes
    /// fewer steps than another move.
    pub(super) fn rest_server(&mut self, id: ServerId) {
        let now = self.now.mono;
        let server = &mut self.servers[id];
        if !matches!(server.state(), server::ServerState::Between) {
            return self.move_server(id, server::ServerState::Idle);
        }
        let pool = server.pool;
        server.set_state(server::ServerState::Idle, &self.mover.0);
        server.since = now;
        self.thread_server(id, pool, (None, Links::default()), Some(server::ServerPlace::Idle));
    }

    /// Makes a client and a server of one pool partners.
    pub(in crate::pool) fn link(&mut self, client: ClientId, server: ServerId) {
        self.move_pair(
            (client, Standing::Active { server }),
            (server, server::ServerPlace::Idle, server::ServerState::Active { client }),
        );
    }

    /// Takes a client and its server off each other.
    pub(super) fn unlink(&mut self, client: ClientId, server: ServerId) {
        self.move_pair(
            (client, Standing::Idle),
            (server, server::ServerPlace::Active, server::ServerState::Between),
        );
    }

    /// Moves a client and a server of one pool. It comes to the same as two moves, but in the
    /// common case each of the three records is looked up once.
    #[inline(always)]
    fn move_pair(
        &mut self,
        (client_id, to_client): (ClientId, Standing),
        (server_id, server_from, to_server): (ServerId, server::ServerPlace, server::ServerState),
    ) {
        let (client, server) = (&self.clients[client_id], &self.servers[server_id]);
        let is_common = server.state().place() == Some(server_from) && client.hold.is_none();
        let (Some(client_from), true) = (client.standing(), is_common) else {
            self.move_member(client_id, to_client);
            return self.move_server(server_id, to_server);
        };
        debug_assert_eq!(client.pool(), Some(server.pool), "partners are of one pool");
        let (now, pool_id) = (self.now.mono, server.pool);
        let pool = &mut self.pools[pool_id];

        let client = &mut self.clients[client_id];
        client.set_standing(to_client, &self.mover.0);
        client.since = now;
        // With and without a server the client is in one list, unless it has waited.
        if client_from.place() != to_client.place() {
            let links = std::mem::take(client.links_mut());
            pool.client_list(client_from.place()).close(&mut self.clients, links);
            let into = pool.client_list(to_client.place());
            let links = into.open_back(&mut self.clients, client_id);
            *self.clients[client_id].links_mut() = links;
        }

        let server = &mut self.servers[server_id];
        let after = to_server.place();
        let links = std::mem::take(server.links_mut());
        server.set_state(to_server, &self.mover.0);
        server.since = now;
        self.thread_server(server_id, pool_id, (Some(server_from), links), after);
    }

    /// Takes a server, which carried these links, out of the list of one state, and puts it into
    /// that of another. Those that log in are counted.
    #[inline(always)]
    fn thread_server(
        &mut self,
        id: ServerId,
        pool_id: PoolId,
        (from, links): (Option<server::ServerPlace>, Links<ServerKind>),
        into: Option<server::ServerPlace>,
    ) {
        let pool = &mut self.pools[pool_id];
        if let Some(from) = from {
            pool.server_list(from).close(&mut self.servers, links);
        }
        if let Some(into) = into {
            let list = pool.server_list(into);
            let links = match into {
                // The one that was used last is taken first: the others get old enough to be
                // closed.
                server::ServerPlace::Idle => list.open_front(&mut self.servers, id),
                _ => list.open_back(&mut self.servers, id),
            };
            *self.servers[id].links_mut() = links;
        }
        if from.is_some() || into.is_some() {
            pool.used_at = self.now.mono;
            if pool.rest != Rest::Awake {
                self.wake_pool(pool_id);
            }
        }
        let login = Some(server::ServerPlace::Login);
        if from == login || into == login {
            self.count_server_login(id, from == login, into == login);
        }
    }

    #[cold]
    fn count_server_login(&mut self, id: ServerId, was: bool, is: bool) {
        let site = self.servers[id].site;
        if was {
            self.sites[site].count_login(false);
            self.has_place = true;
        }
        if is {
            self.sites[site].count_login(true);
        }
    }

    /// Adds a session to, or takes it from, the counts of its database and user.
    fn count_server(&mut self, id: ServerId, add: bool) {
        let server = &self.servers[id];
        let pool = &self.pools[server.pool];
        let database = &mut self.databases[pool.database];
        database.idle_since = self.now.mono;
        count(&mut database.servers, add);
        count(&mut self.users[pool.user].servers, add);
        count(&mut self.sites[server.site].servers, add);
    }

    /// A client record for a new connection, in the list of logins.
    pub(in crate::pool) fn add_client(&mut self, client: Client) -> ClientId {
        let id = self.clients.insert(client);
        self.thread_client(id, true);
        id
    }

    /// A server record, in the list of its state.
    pub(in crate::pool) fn add_server(&mut self, server: Server) -> ServerId {
        let (pool, into) = (server.pool, server.state().place());
        let id = self.servers.insert(server);
        self.thread_server(id, pool, (None, Links::default()), into);
        if self.servers[id].state().is_counted() {
            self.count_server(id, true);
        }
        id
    }

    /// A carrier record, in the list of its pool or peer.
    pub(in crate::pool) fn add_carrier(&mut self, carrier: Carrier) -> CarrierId {
        let id = self.carriers.insert(carrier);
        self.thread_carrier(id, true);
        id
    }

    /// Takes a carrier that ends out of its list.
    pub(super) fn end_carrier(&mut self, id: CarrierId) {
        self.thread_carrier(id, false);
        self.carriers[id].stage = CarrierStage::Closing;
    }

    fn thread_carrier(&mut self, id: CarrierId, into: bool) {
        let list = match self.carriers[id].errand {
            Errand::Peer { peer, .. } => &mut self.peers[peer].carriers,
            Errand::Server { pool, .. } => {
                self.pools[pool].used_at = self.now.mono;
                self.wake_pool(pool);
                &mut self.pools[pool].carriers
            }
        };
        match into {
            true => list.push_back(&mut self.carriers, id),
            false => list.remove(&mut self.carriers, id),
        }
    }
}

/// Drops a state that owns nothing, without asking which one it is.
#[inline(always)]
fn forget_plain(before: server::ServerState) {
    debug_assert!(matches!(before, server::ServerState::Active { .. } | server::ServerState::Idle));
    std::mem::forget(before);
}

fn count(counter: &mut u32, add: bool) {
    *counter = if add { *counter + 1 } else { *counter - 1 };
}
