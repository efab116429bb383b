//! Which databases, users and pools there are, by name and by each other.

use crate::config::{DATABASE_NAME_MAX, DatabaseLine};
use crate::pool::core::Core;
use crate::pool::ids::{DatabaseId, PoolId, UserId};
use crate::pool::records::pool::{Pool, Purpose};
use crate::pool::records::user::User;

impl Core {
    pub fn find_database(&self, name: &str) -> Option<DatabaseId> {
        self.database_names.id(name)
    }

    /// The line of a database that `*` stands for, which is none of a name that no line could have:
    /// PostgreSQL would take a part of it for another's.
    pub(in crate::pool) fn fallback_line(&self, name: &str) -> Option<DatabaseLine> {
        if name.len() > DATABASE_NAME_MAX {
            return None;
        }
        let line = self.config.databases.iter().find(|line| line.is_fallback())?;
        Some(DatabaseLine { name: name.to_owned(), ..line.clone() })
    }

    pub fn find_user(&self, name: &str) -> Option<UserId> {
        self.user_names.id(name)
    }

    /// The user of that name, made where there is none.
    pub(in crate::pool) fn ensure_user(&mut self, name: &str) -> UserId {
        if let Some(id) = self.find_user(name) {
            return id;
        }
        let id = self.users.insert(User::new(name));
        self.user_names.insert_id(name, id);
        id
    }

    /// The pool of a database and a user, made where there is none.
    pub(in crate::pool) fn ensure_pool(
        &mut self,
        database: DatabaseId,
        user: UserId,
        purpose: Purpose,
    ) -> PoolId {
        let key = (database, user, purpose);
        if let Some(&id) = self.pool_index.get(&key) {
            self.wake_pool(id);
            return id;
        }
        let mode = self.mode_of(database, user);
        let mut pool = Pool::new((database, user), purpose, mode, self.now.mono);
        let record = &mut self.databases[database];
        pool.latency = *record.latency.get_or_insert_with(|| self.latencies.take(record.is_auto));
        let id = self.pools.insert(pool);
        self.pool_index.insert(key, id);
        self.databases[database].pools.push(id);
        self.users[user].pools.push(id);
        self.live_pools.push_back(&mut self.pools, id);
        id
    }

    /// The other pools of the same database and user; that of clients comes first.
    pub fn twins(&self, id: PoolId) -> impl Iterator<Item = PoolId> + use<> {
        let pool = &self.pools[id];
        let twin = |purpose| self.pool_index.get(&(pool.database, pool.user, purpose)).copied();
        let all = [Purpose::Clients, Purpose::Lookups, Purpose::Listening].map(twin);
        all.into_iter().flatten().filter(move |other| *other != id)
    }

    /// `database/user` of a pool, for people.
    pub fn pool_name(&self, id: PoolId) -> String {
        let pool = &self.pools[id];
        format!("{}/{}", self.databases[pool.database].line.name, self.users[pool.user].name)
    }
}
