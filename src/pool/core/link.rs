//! Every move of a record: between states, into and out of lists, onto and off its partner. The
//! counters are kept here, and nowhere else. What is decided is decided elsewhere
//! ([`super::handover`], [`super::end`]); nobody else can write a state, for want of the [`Pass`].

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::records::client::{self, Client};
use crate::pool::records::pass::Pass;
use crate::pool::records::pool::Rest;
use crate::pool::records::server::{self, Server};
use crate::pool::records::strangers::Origin;

/// The right to write states.
pub struct Mover(Pass);

impl Mover {
    pub(super) fn new(pass: Pass) -> Mover {
        Mover(pass)
    }
}

impl Core {
    /// Moves a client to another state, list and counters with it.
    pub(in crate::pool) fn move_client(&mut self, id: ClientId, to: client::State) {
        let was_counted = matches!(self.clients[id].state().place(), client::Place::Pool(_));
        let is_counted = matches!(to.place(), client::Place::Pool(_));
        // Between two states of one pool, which is every transaction's way, no count changes.
        if was_counted && !is_counted {
            self.count_client(id, false);
        }
        self.thread_client(id, false);
        let now = self.mono();
        let client = &mut self.clients[id];
        client.set_state(to, &self.mover.0);
        client.since = now;
        self.thread_client(id, true);
        if is_counted && !was_counted {
            self.count_client(id, true);
        }
        // Whatever it was held for is of the state that it leaves.
        if self.clients[id].hold.is_some() {
            self.wake(id);
        }
    }

    /// Puts a client into the list of its state, or takes it out.
    fn thread_client(&mut self, id: ClientId, into: bool) {
        let client = &self.clients[id];
        let list = match client.state().place() {
            client::Place::Login => {
                self.strangers.count(Origin::of(client.peer), into);
                &mut self.logins
            }
            client::Place::Console => &mut self.consoles,
            client::Place::Cancel => &mut self.cancel_clients,
            client::Place::Pool(place) => {
                let pool = client.pool.expect("a client past its login has a pool");
                self.pools[pool].client_list(place)
            }
            client::Place::Nowhere => return,
        };
        if into {
            list.push_back(&mut self.clients, id);
        } else {
            list.remove(&mut self.clients, id);
        }
    }

    /// Adds a client to, or takes it from, the counts of its database and user.
    fn count_client(&mut self, id: ClientId, add: bool) {
        let client = &self.clients[id];
        let pool = client.pool.expect("a client past its login has a pool");
        let login_user = client.user;
        self.wake_pool(pool);
        count(&mut self.admitted, add);
        let pool = &mut self.pools[pool];
        pool.used_at = self.now.mono;
        let database = &mut self.databases[pool.database];
        database.idle_since = self.now.mono;
        count(&mut database.clients, add);
        if let Some(user) = login_user {
            count(&mut self.users[user].clients, add);
        }
    }

    /// Moves a server to another state, list and counters with it.
    pub(in crate::pool) fn move_server(&mut self, id: ServerId, to: server::State) {
        self.replace_state(id, to);
    }

    /// Takes a server that ends out of everything. Returns the state that it was in.
    pub(super) fn end_server(&mut self, id: ServerId) -> server::State {
        self.replace_state(id, server::State::Closing)
    }

    #[inline(always)]
    fn replace_state(&mut self, id: ServerId, to: server::State) -> server::State {
        self.thread_server(id, false);
        let now = self.mono();
        let server = &mut self.servers[id];
        let is_counted = to.is_counted();
        let before = server.set_state(to, &self.mover.0);
        server.since = now;
        self.thread_server(id, true);
        if before.is_counted() != is_counted {
            self.count_server(id, is_counted);
        }
        before
    }

    /// Makes a client and a server of one pool partners.
    pub(in crate::pool) fn link(&mut self, client: ClientId, server: ServerId) {
        self.move_pair(
            (client, client::State::Active { server }),
            (server, server::State::Active { client }),
        );
    }

    /// Takes a client and its server off each other.
    pub(super) fn unlink(&mut self, client: ClientId, server: ServerId) {
        self.move_pair((client, client::State::Idle), (server, server::State::Between));
    }

    /// Moves a client and a server of one pool. As two moves, but where both stay in their pool, as
    /// in every transaction, with one look at each of the three records.
    fn move_pair(
        &mut self,
        (client_id, to_client): (ClientId, client::State),
        (server_id, to_server): (ServerId, server::State),
    ) {
        let (client, server) = (&self.clients[client_id], &self.servers[server_id]);
        let (client::Place::Pool(from), client::Place::Pool(into)) =
            (client.state().place(), to_client.place())
        else {
            self.move_client(client_id, to_client);
            return self.move_server(server_id, to_server);
        };
        if client.hold.is_some() || server.login().is_some() {
            self.move_client(client_id, to_client);
            return self.move_server(server_id, to_server);
        }
        debug_assert_eq!(client.pool, Some(server.pool), "partners are of one pool");
        let (now, pool_id) = (self.now.mono, server.pool);
        let pool = &mut self.pools[pool_id];
        pool.used_at = now;
        let rests = pool.rest != Rest::Awake;
        let (before, after) = (server.state().place(), to_server.place());
        pool.client_list(from).remove(&mut self.clients, client_id);
        pool.client_list(into).push_back(&mut self.clients, client_id);
        if let Some(place) = before {
            pool.server_list(place).remove(&mut self.servers, server_id);
        }
        if let Some(place) = after {
            pool.server_list(place).push_back(&mut self.servers, server_id);
        }
        let client = &mut self.clients[client_id];
        client.set_state(to_client, &self.mover.0);
        client.since = now;
        let server = &mut self.servers[server_id];
        server.set_state(to_server, &self.mover.0);
        server.since = now;
        if rests {
            self.wake_pool(pool_id);
        }
    }

    /// Puts a server into the list of its state, or takes it out; sessions are counted.
    fn thread_server(&mut self, id: ServerId, into: bool) {
        let server = &self.servers[id];
        let (Some(place), pool_id) = (server.state().place(), server.pool) else { return };
        let pool = &mut self.pools[pool_id];
        pool.used_at = self.now.mono;
        let rests = pool.rest != Rest::Awake;
        let list = pool.server_list(place);
        if place == server::Place::Login {
            self.sites[server.site].count_login(into);
            self.has_place |= !into;
        }
        match (into, place) {
            (false, _) => list.remove(&mut self.servers, id),
            // The one that was used last is taken first: the others get old enough to be closed.
            (true, server::Place::Idle) => list.push_front(&mut self.servers, id),
            (true, _) => list.push_back(&mut self.servers, id),
        }
        if rests {
            self.wake_pool(pool_id);
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
        let id = self.servers.insert(server);
        self.thread_server(id, true);
        if self.servers[id].state().is_counted() {
            self.count_server(id, true);
        }
        id
    }
}

fn count(counter: &mut u32, add: bool) {
    *counter = if add { *counter + 1 } else { *counter - 1 };
}
