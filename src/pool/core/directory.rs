//! Databases, users and pools as the core makes them: besides their records it wakes, and tells.

use crate::config::{DATABASE_NAME_BYTES_MAX, DatabaseLine};
use crate::log::Level;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, DatabaseId, PoolId, UserId};
use crate::pool::records::directory::Registrar;
use crate::pool::records::pool::Purpose;

impl Core {
    /// What makes databases, users and pools, and forgets them.
    pub(in crate::pool) fn registrar(&mut self) -> Registrar<'_> {
        Registrar {
            now: self.now.mono,
            settings: &self.config.settings,
            directory: &mut self.directory,
            databases: &mut self.databases,
            users: &mut self.users,
            pools: &mut self.pools,
            live_pools: &mut self.live_pools,
            calendar: &mut self.calendar,
            sites: &mut self.sites,
            latencies: &mut self.latencies,
            vars: &mut self.vars,
        }
    }

    /// The pool of a database and a user, for somebody who comes: it is made where there is none,
    /// and rests no more.
    pub(in crate::pool) fn ensure_pool(
        &mut self,
        database: DatabaseId,
        user: UserId,
        purpose: Purpose,
    ) -> PoolId {
        let id = self.registrar().ensure_pool(database, user, purpose);
        self.wake_pool(id);
        id
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

    /// A database for a name that only the `*` line covers.
    pub fn auto_database(&mut self, client: ClientId, name: &str) -> Option<DatabaseId> {
        let line = self.fallback_line(name)?;
        let target = line.host.first().map_or(String::new(), |host| format!(" host={host}"));
        self.log_client(
            Level::Log,
            client,
            format_args!("registered new auto-database: db={name}{target}"),
        );
        Some(self.registrar().insert_auto_database(line))
    }

    /// `database/user` of a pool, for people.
    pub fn pool_name(&self, id: PoolId) -> String {
        let pool = &self.pools[id];
        format!("{}/{}", self.databases[pool.database].line.name, self.users[pool.user].name)
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

    /// What logins of servers have told counts no more, for one database or for all.
    pub(in crate::pool) fn forget_logins(&mut self, database: Option<DatabaseId>) {
        let pools = database.map_or_else(|| self.pools.ids(), |id| self.pools_of(id));
        for id in pools {
            self.pools[id].forget_logins(&mut self.vars);
        }
    }
}
