//! Which databases, users and pools there are, by name and by each other.

use crate::auth::secret::Secret;
use crate::config::{DATABASE_NAME_BYTES_MAX, DatabaseLine};
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, DatabaseId, PoolId, UserId};
use crate::pool::records::database::{Database, sites_of};
use crate::pool::records::pool::{Pool, Purpose};
use crate::pool::records::user::User;

impl Core {
    pub fn find_database(&self, name: &str) -> Option<DatabaseId> {
        self.database_names.id(name)
    }

    /// The line of a database that `*` stands for, which is none of a name that no line could have:
    /// PostgreSQL would take a part of it for another's.
    pub(in crate::pool) fn fallback_line(&self, name: &str) -> Option<DatabaseLine> {
        if name.len() > DATABASE_NAME_BYTES_MAX {
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
    pub fn sibling_pools(&self, id: PoolId) -> impl Iterator<Item = PoolId> + use<> {
        let pool = &self.pools[id];
        let sibling = |purpose| self.pool_index.get(&(pool.database, pool.user, purpose)).copied();
        let all = [Purpose::Clients, Purpose::Lookups, Purpose::Listening].map(sibling);
        all.into_iter().flatten().filter(move |other| *other != id)
    }

    /// `database/user` of a pool, for people.
    pub fn pool_name(&self, id: PoolId) -> String {
        let pool = &self.pools[id];
        format!("{}/{}", self.databases[pool.database].line.name, self.users[pool.user].name)
    }

    pub(in crate::pool) fn insert_database(&mut self, line: DatabaseLine) -> DatabaseId {
        let name = line.name.clone();
        let sites = sites_of(&line, &self.config.settings.unix_socket_dir, &mut self.sites);
        let database = Database::new(line, sites, self.now.mono);
        let id = self.databases.insert(database);
        self.database_names.insert_id(&name, id);
        self.adopt_forced_user(id);
        id
    }

    /// A database for a name that only the `*` line covers.
    pub(in crate::pool) fn auto_database(
        &mut self,
        client: ClientId,
        name: &str,
    ) -> Option<DatabaseId> {
        let line = self.fallback_line(name)?;
        let target = line.host.first().map_or(String::new(), |host| format!(" host={host}"));
        self.log_client(
            Level::Log,
            client,
            format_args!("registered new auto-database: db={name}{target}"),
        );
        let id = self.insert_database(line);
        self.databases[id].is_auto = true;
        self.transients.push(id);
        Some(id)
    }

    /// The user of a database line, under whom its clients share a pool, and the one who looks
    /// others up, whom the console lists from the start.
    pub(in crate::pool) fn adopt_forced_user(&mut self, id: DatabaseId) {
        if let Some(name) = self.databases[id].line.auth_user.clone() {
            self.ensure_user(&name);
        }
        let line = &self.databases[id].line;
        let (user, password) = (line.user.clone(), line.password.clone());
        let user = user.map(|name| self.ensure_user(&name));
        self.databases[id].forced_user = user;
        self.databases[id].forced_secret =
            password.map(|password| Secret::parse(&password.expose()));
    }

    pub(in crate::pool) fn pools_of(&self, id: DatabaseId) -> Vec<PoolId> {
        self.databases[id].pools.clone()
    }

    pub(in crate::pool) fn log_dropped(&mut self, id: DatabaseId) {
        let database = &self.databases[id];
        let name = &database.line.name;
        let why = "as it does not exist anymore or inactive auto-database";
        let text = format!("dropping database '{name}' {why}");
        // A name that anybody may have made up, and that no server knows, is no loss.
        let is_loss = database.is_reached || !database.is_auto;
        self.log(if is_loss { Level::Warning } else { Level::Debug }, text);
    }

    pub(in crate::pool) fn forget_database(&mut self, id: DatabaseId) {
        for pool in self.pools_of(id) {
            self.forget_pool(pool);
        }
        if let Some(database) = self.databases.remove(id) {
            if let Some(place) = database.latency {
                self.latencies.give_back(place);
            }
            if self.database_names.id(&database.line.name) == Some(id) {
                self.database_names.remove(&database.line.name);
            }
            self.transients.retain(|other| *other != id);
        }
    }

    /// Forgets a pool without anybody in it.
    pub(in crate::pool) fn forget_pool(&mut self, id: PoolId) {
        if !self.pools[id].is_deserted() {
            return;
        }
        self.forget_welcome(id);
        self.wake_pool(id);
        self.live_pools.remove(&mut self.pools, id);
        if let Some(pool) = self.pools.remove(id) {
            self.pool_index.remove(&(pool.database, pool.user, pool.purpose));
            self.databases[pool.database].pools.retain(|other| *other != id);
            self.users[pool.user].pools.retain(|other| *other != id);
        }
    }

    /// What logins of servers have told counts no more, good or bad: clients wait for the next one.
    pub(in crate::pool) fn forget_logins(&mut self, database: Option<DatabaseId>) {
        for id in self.pools.ids() {
            if database.is_none_or(|database| self.pools[id].database == database) {
                self.forget_welcome(id);
                self.pools[id].refusal = None;
                self.pools[id].has_done_scram = false;
            }
        }
    }

    pub(in crate::pool) fn forget_welcome(&mut self, pool: PoolId) {
        if let Some(mut welcome) = self.pools[pool].welcome.take() {
            self.vars.clear(&mut welcome.vars);
        }
    }
}
