//! The auth_query lookups of one pool: those that wait for a server, and those that servers run.
//! Clients that ask for the same user by the same query share a lookup.

use std::time::Duration;

use super::lookup::Lookup;
use super::pool::Pool;
use super::server::Server;
use crate::base::arena::Arena;
use crate::base::time::Moment;
use crate::pool::ids::ClientId;

/// How long after its start a running lookup still takes in clients for the one that follows it. If
/// the query takes longer, its server may hang, and later clients start a lookup of their own.
pub const SHARED_FOR: Duration = Duration::from_secs(1);

/// See the module.
pub struct Lookups<'a> {
    pub pool: &'a mut Pool,
    pub servers: &'a mut Arena<Server>,
}

/// Which lookup a client waits for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Joined {
    /// A new lookup for this client alone, which waits for a server.
    New,
    Queued,
    /// The lookup that follows a running one.
    Running,
}

impl Lookups<'_> {
    /// Makes a client wait for what this query returns for this user.
    pub fn wait_for(&mut self, client: ClientId, of: (&str, &str), now: Moment) -> Joined {
        let (user, sql) = of;
        let mut queued = self.pool.lookups.iter_mut();
        if let Some(queued) = queued.find(|lookup| lookup.is_same(user, sql)) {
            queued.clients.push(client);
            return Joined::Queued;
        }
        if let Some(running) = self.running(of, now) {
            running.next.push(client);
            return Joined::Running;
        }
        self.pool.lookups.push_back(Lookup::new(user, sql, client, now));
        Joined::New
    }

    /// A running lookup of the same user and query, unless it has run for too long.
    fn running(&mut self, (user, sql): (&str, &str), now: Moment) -> Option<&mut Lookup> {
        let is_it = |server: &Server| {
            server.lookup().is_some_and(|lookup| lookup.is_same(user, sql))
                && now.since(server.since) < SHARED_FOR
        };
        let id = self.pool.active.iter(self.servers).find(|&id| is_it(&self.servers[id]))?;
        self.servers[id].lookup_mut()
    }

    /// Takes a client out of the lookup that it waits for. A lookup that was not sent and has no
    /// clients left is dropped.
    pub fn leave(&mut self, client: ClientId) {
        let queue = &mut self.pool.lookups;
        if let Some(place) = queue.iter_mut().position(|lookup| lookup.remove(client)) {
            if queue[place].clients.is_empty() {
                queue.remove(place);
            }
            return;
        }
        for server in self.pool.active.ids(self.servers) {
            if self.servers[server].lookup_mut().is_some_and(|lookup| lookup.remove(client)) {
                return;
            }
        }
    }
}

impl Pool {
    /// Clients whose lookup has not been sent.
    pub fn clients_of_queued_lookups(&self) -> impl Iterator<Item = ClientId> {
        self.lookups.iter().flat_map(|lookup| lookup.clients.iter().copied())
    }

    /// All clients that wait for lookups of the pool.
    pub fn lookup_clients(&self, servers: &Arena<Server>) -> Vec<ClientId> {
        let running = self.active.iter(servers).filter_map(|id| servers[id].lookup());
        let running = running.flat_map(|lookup| lookup.clients.iter().chain(&lookup.next)).copied();
        running.chain(self.clients_of_queued_lookups()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::arena::Id;
    use crate::config::{Host, PoolMode};
    use crate::pool::records::pool::Purpose;
    use crate::pool::records::server::ServerState;
    use crate::pool::records::site::Sites;

    const OF: (&str, &str) = ("joe", "select 1");

    struct Scene {
        pool: Pool,
        servers: Arena<Server>,
    }

    impl Scene {
        fn new() -> Scene {
            let nobody = (Id::from_bits(0), Id::from_bits(0));
            let pool = Pool::new(nobody, Purpose::Lookups, PoolMode::Session, Moment(0));
            Scene { pool, servers: Arena::new() }
        }

        fn lookups(&mut self) -> Lookups<'_> {
            Lookups { pool: &mut self.pool, servers: &mut self.servers }
        }

        /// Sends the lookup that has waited longest.
        fn send(&mut self) {
            let lookup = self.pool.lookups.pop_front().expect("a lookup that waits");
            let site = Sites::default().ensure(&Host::Tcp("a".into()), 5432);
            let state = ServerState::Lookup(Box::new(lookup));
            let server = Server::new(1, Moment(0), Id::from_bits(0), site, state);
            let id = self.servers.insert(server);
            self.pool.active.push_back(&mut self.servers, id);
        }
    }

    fn clients() -> [ClientId; 3] {
        [1, 2, 3].map(ClientId::from_bits)
    }

    #[test]
    fn who_wants_the_same_shares_a_lookup_and_who_comes_late_the_next() {
        let (mut scene, [a, b, c]) = (Scene::new(), clients());
        assert_eq!(scene.lookups().wait_for(a, OF, Moment(0)), Joined::New);
        assert_eq!(scene.lookups().wait_for(b, OF, Moment(0)), Joined::Queued);
        scene.send();
        assert_eq!(scene.lookups().wait_for(c, OF, Moment(1)), Joined::Running);
        assert_eq!(scene.pool.lookup_clients(&scene.servers), [a, b, c]);
        assert_eq!(scene.pool.clients_of_queued_lookups().count(), 0);
    }

    #[test]
    fn a_lookup_that_takes_long_is_not_shared_nor_one_of_another_user() {
        let (mut scene, [a, b, c]) = (Scene::new(), clients());
        scene.lookups().wait_for(a, OF, Moment(0));
        scene.send();
        let other = ("ann", OF.1);
        assert_eq!(scene.lookups().wait_for(b, other, Moment(0)), Joined::New);
        let late = Moment(0) + SHARED_FOR;
        assert_eq!(scene.lookups().wait_for(c, OF, late), Joined::New);
    }

    #[test]
    fn a_lookup_is_dropped_with_its_last_client_unless_it_was_sent() {
        let (mut scene, [a, b, _]) = (Scene::new(), clients());
        scene.lookups().wait_for(a, OF, Moment(0));
        scene.lookups().wait_for(b, OF, Moment(0));
        scene.lookups().leave(a);
        assert_eq!(scene.pool.lookups.len(), 1);
        scene.lookups().leave(b);
        assert_eq!(scene.pool.lookups.len(), 0);
        scene.lookups().wait_for(a, OF, Moment(0));
        scene.send();
        scene.lookups().leave(a);
        assert!(scene.pool.lookup_clients(&scene.servers).is_empty());
        assert_eq!(scene.pool.active.len(), 1, "its server takes it to its end");
    }
}
