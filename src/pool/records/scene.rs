//! Records and settings without a core, for tests of what is read from them.

use super::client::{Client, ClientState, Member, Standing};
use super::database::Database;
use super::limits::Limits;
use super::pool::{Pool, Purpose};
use super::server::{Server, ServerState};
use super::site::{SiteId, Sites};
use super::user::User;
use crate::base::arena::Arena;
use crate::base::interned::Interned;
use crate::base::time::Moment;
use crate::config::{DatabaseLine, Host, PoolMode, Settings};
use crate::log::PeerAddress;
use crate::pool::ids::{DatabaseId, PoolId, ServerId};

/// When all of them came.
pub const NOW: Moment = Moment(60_000_000);

#[derive(Default)]
pub struct Scene {
    pub settings: Settings,
    pub clients: Arena<Client>,
    pub servers: Arena<Server>,
    pub pools: Arena<Pool>,
    pub databases: Arena<Database>,
    pub users: Arena<User>,
    pub sites: Sites,
}

impl Scene {
    /// With one database, and the pool of a user there.
    pub fn new() -> (Scene, DatabaseId, PoolId) {
        let mut scene = Scene::default();
        let database = scene.database();
        let pool = scene.pool(database, "joe");
        (scene, database, pool)
    }

    pub fn limits(&self) -> Limits<'_> {
        let Scene { settings, databases, users, pools, .. } = self;
        Limits { settings, databases, users, pools }
    }

    pub fn site(&mut self) -> SiteId {
        self.sites.ensure(&Host::Tcp("a".into()), 5432)
    }

    fn database(&mut self) -> DatabaseId {
        let site = self.site();
        let line = DatabaseLine { name: "db".into(), ..DatabaseLine::default() };
        self.databases.insert(Database::new(line, vec![site], NOW))
    }

    /// The pool of a user that has no other.
    pub fn pool(&mut self, database: DatabaseId, user: &str) -> PoolId {
        let user = self.users.insert(User::new(user));
        let pool = Pool::new((database, user), Purpose::Clients, PoolMode::Transaction, NOW);
        let id = self.pools.insert(pool);
        self.databases[database].pools.push(id);
        id
    }

    /// A client on its way in, in no list.
    pub fn stranger(&self) -> Client {
        let peer = PeerAddress::Unix { pid: None, port: 0 };
        let local = Interned::<PeerAddress>::default().hold(&peer);
        Client::new(1, NOW, peer, local, None)
    }

    /// A client that has logged in as the user of this pool, in no list.
    pub fn member(&self, pool: PoolId, standing: Standing) -> Client {
        let Pool { database, user, .. } = self.pools[pool];
        let member = Member { database, user, pool };
        self.stranger().in_state(ClientState::Member(member, standing))
    }

    /// A server that waits for a client.
    pub fn idle(&mut self, pool: PoolId) -> ServerId {
        let site = self.site();
        let id = self.servers.insert(Server::new(2, NOW, pool, site, ServerState::Idle));
        self.pools[pool].idle.push_back(&mut self.servers, id);
        self.databases[self.pools[pool].database].servers += 1;
        id
    }
}
