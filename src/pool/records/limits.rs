//! Which limit holds for a pool: its user's, its database's, or everybody's.

use crate::base::arena::Arena;
use crate::config::{PoolMode, Settings};
use crate::pool::ids::{DatabaseId, PoolId, UserId};

use super::database::Database;
use super::pool::{Pool, Purpose};
use super::user::User;

/// What the limits of pools are read from.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    pub settings: &'a Settings,
    pub databases: &'a Arena<Database>,
    pub users: &'a Arena<User>,
    pub pools: &'a Arena<Pool>,
}

impl Limits<'_> {
    /// How clients of a database use the servers of this user.
    pub fn mode_of(self, database: DatabaseId, user: UserId) -> PoolMode {
        let user = self.users[user].line.as_ref().and_then(|line| line.pool_mode);
        user.or(self.databases[database].line.pool_mode).unwrap_or(self.settings.pool_mode)
    }

    /// Sessions that the pool may have; 0 is no limit.
    pub fn pool_size(self, pool: PoolId) -> u32 {
        let pool = &self.pools[pool];
        let user = self.users[pool.user].line.as_ref().and_then(|line| line.pool_size);
        let database = self.databases[pool.database].line.pool_size;
        user.or(database).unwrap_or(self.settings.default_pool_size)
    }

    pub fn min_pool_size(self, pool: PoolId) -> u32 {
        let database = &self.databases[self.pools[pool].database];
        database.line.min_pool_size.unwrap_or(self.settings.min_pool_size)
    }

    pub fn reserve_pool_size(self, pool: PoolId) -> u32 {
        let pool = &self.pools[pool];
        let user = self.users[pool.user].line.as_ref().and_then(|line| line.reserve_pool_size);
        let database = self.databases[pool.database].line.reserve_pool_size;
        user.or(database).unwrap_or(self.settings.reserve_pool_size)
    }

    /// Sessions that all pools of the database may have; 0 is no limit.
    pub fn max_db_connections(self, database: DatabaseId) -> u32 {
        let line = &self.databases[database].line;
        line.max_db_connections.unwrap_or(self.settings.max_db_connections)
    }

    /// Sessions that all pools of the user may have; 0 is no limit.
    pub fn max_user_connections(self, user: UserId) -> u32 {
        let line = self.users[user].line.as_ref();
        line.and_then(|l| l.max_user_connections).unwrap_or(self.settings.max_user_connections)
    }

    /// min_pool_size holds for pools that somebody uses, or that have a user of their own.
    pub fn is_below_minimum(self, id: PoolId) -> bool {
        let pool = &self.pools[id];
        let minimum = self.min_pool_size(id) as usize;
        let size = self.pool_size(id) as usize;
        let minimum = if size == 0 { minimum } else { minimum.min(size) };
        let database = &self.databases[pool.database];
        let is_used = database.forced_user == Some(pool.user) || pool.client_count() > 0;
        is_used && pool.purpose == Purpose::Clients && pool.server_count() < minimum
    }

    /// Whether pool, database and user have no more servers than they may. A limit that was lowered
    /// may be exceeded for a while, but no server is opened then.
    pub fn is_respected(self, id: PoolId) -> bool {
        let pool = &self.pools[id];
        let within = |count: usize, limit: u32| limit == 0 || count <= limit as usize;
        let size = self.pool_size(id);
        let whole_size = if size == 0 { 0 } else { size + self.reserve_pool_size(id) };
        let of_database = self.databases[pool.database].servers as usize;
        let of_user = self.users[pool.user].servers as usize;
        within(pool.server_count(), whole_size)
            && within(of_database, self.max_db_connections(pool.database))
            && within(of_user, self.max_user_connections(pool.user))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::time::Moment;
    use crate::config::{DatabaseLine, UserLine};

    struct Records {
        settings: Settings,
        databases: Arena<Database>,
        users: Arena<User>,
        pools: Arena<Pool>,
    }

    impl Records {
        fn new() -> (Records, PoolId) {
            let (mut databases, mut users) = (Arena::new(), Arena::new());
            let mut pools = Arena::new();
            let line = DatabaseLine { name: "db".into(), ..DatabaseLine::default() };
            let database = databases.insert(Database::new(line, vec![], Moment(0)));
            let user = users.insert(User::new("joe"));
            let pool = Pool::new((database, user), Purpose::Clients, PoolMode::Session, Moment(0));
            let pool = pools.insert(pool);
            (Records { settings: Settings::default(), databases, users, pools }, pool)
        }

        fn limits(&self) -> Limits<'_> {
            let Records { settings, databases, users, pools } = self;
            Limits { settings, databases, users, pools }
        }
    }

    #[test]
    fn a_users_size_comes_before_the_databases_and_that_before_everybodys() {
        let (mut records, pool) = Records::new();
        records.settings.default_pool_size = 20;
        assert_eq!(records.limits().pool_size(pool), 20);
        let (database, user) = (records.pools[pool].database, records.pools[pool].user);
        records.databases[database].line.pool_size = Some(5);
        assert_eq!(records.limits().pool_size(pool), 5);
        records.users[user].line =
            Some(UserLine { name: "joe".into(), pool_size: Some(0), ..UserLine::default() });
        assert_eq!(records.limits().pool_size(pool), 0, "which is no limit");
    }

    #[test]
    fn the_minimum_holds_for_a_pool_with_a_user_of_its_own_and_never_beyond_its_size() {
        let (mut records, pool) = Records::new();
        records.settings.min_pool_size = 3;
        assert!(!records.limits().is_below_minimum(pool), "nobody uses it");
        let (database, user) = (records.pools[pool].database, records.pools[pool].user);
        records.databases[database].forced_user = Some(user);
        assert!(records.limits().is_below_minimum(pool));
        records.settings.default_pool_size = 0;
        assert!(records.limits().is_below_minimum(pool));
    }

    #[test]
    fn more_servers_than_a_limit_allows_are_noticed() {
        let (mut records, pool) = Records::new();
        let (database, user) = (records.pools[pool].database, records.pools[pool].user);
        records.databases[database].servers = 4;
        records.users[user].servers = 4;
        assert!(records.limits().is_respected(pool));
        records.databases[database].line.max_db_connections = Some(3);
        assert!(!records.limits().is_respected(pool));
        records.databases[database].line.max_db_connections = Some(0);
        records.settings.max_user_connections = 3;
        assert!(!records.limits().is_respected(pool));
    }
}
