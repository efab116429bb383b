//! Which limit or mode holds for a client, a pool, a user or a database: a line's own, or
//! everybody's. Where a user's and a database's lines both may have one, the user's comes first.

use std::time::Duration;

use crate::base::arena::Arena;
use crate::config::{
    AuthMethods, Choices, DatabaseLine, PoolMode, SessionState, Settings, UserLine,
};
use crate::pool::ids::{DatabaseId, PoolId, UserId};

use super::client::{Client, Member};
use super::database::Database;
use super::pool::{Pool, Purpose};
use super::user::User;

/// What limits are read from.
#[derive(Clone, Copy)]
pub struct Limits<'a> {
    pub settings: &'a Settings,
    pub databases: &'a Arena<Database>,
    pub users: &'a Arena<User>,
    pub pools: &'a Arena<Pool>,
}

impl<'a> Limits<'a> {
    fn database_line(self, id: DatabaseId) -> &'a DatabaseLine {
        &self.databases[id].line
    }

    /// The [users] line of a user.
    fn user_line(self, id: UserId) -> Option<&'a UserLine> {
        self.users[id].line.as_ref()
    }

    /// The [users] line of the user as whom a client has logged in.
    fn line_of(self, client: &Client) -> Option<&'a UserLine> {
        self.user_line(client.member()?.user)
    }
}

/// How clients use servers.
impl<'a> Limits<'a> {
    /// How clients of a database use the servers of this user. The pool keeps it (`Pool::mode`).
    pub fn mode_of(self, database: DatabaseId, user: UserId) -> PoolMode {
        let user = self.user_line(user).and_then(|line| line.pool_mode);
        user.or(self.database_line(database).pool_mode).unwrap_or(self.settings.pool_mode)
    }

    /// What clients of a database may choose from.
    pub fn offered_modes(self, database: DatabaseId) -> &'a Choices<PoolMode> {
        self.database_line(database).pool_modes.as_ref().unwrap_or(&self.settings.pool_modes)
    }

    pub fn offered_states(self, database: DatabaseId) -> &'a Choices<SessionState> {
        let line = self.database_line(database);
        line.session_states.as_ref().unwrap_or(&self.settings.session_states)
    }

    /// What becomes of what clients of a database leave in servers of this user.
    pub fn configured_state(self, database: DatabaseId, user: UserId) -> SessionState {
        let user = self.user_line(user).and_then(|line| line.session_state);
        let database = self.database_line(database).session_state;
        user.or(database).unwrap_or(self.settings.session_state)
    }

    /// The same for one client: as configured, or as it has chosen, whichever is stricter.
    pub fn policy_of(self, client: &Client) -> SessionState {
        let of_member = |of: &Member| self.configured_state(of.database, of.user);
        let configured = client.member().map_or(self.settings.session_state, of_member);
        client.choice().policy.map_or(configured, |chosen| chosen.max(configured))
    }

    /// Whether LISTEN of clients of a database is taken over from the servers that they have.
    pub fn shares_listen(self, database: DatabaseId) -> bool {
        self.database_line(database).shared_listen.unwrap_or(self.settings.shared_listen)
    }

    /// How a pool's servers may ask for a proof.
    pub fn server_auth_methods(self, pool: PoolId) -> &'a AuthMethods {
        let line = self.database_line(self.pools[pool].database);
        line.server_auth_methods.as_ref().unwrap_or(&self.settings.server_auth_methods)
    }
}

/// How many there may be.
impl Limits<'_> {
    /// Sessions that the pool may have; 0 is no limit.
    pub fn pool_size(self, pool: PoolId) -> u32 {
        let pool = &self.pools[pool];
        let user = self.user_line(pool.user).and_then(|line| line.pool_size);
        let database = self.database_line(pool.database).pool_size;
        user.or(database).unwrap_or(self.settings.default_pool_size)
    }

    pub fn min_pool_size(self, pool: PoolId) -> u32 {
        let line = self.database_line(self.pools[pool].database);
        line.min_pool_size.unwrap_or(self.settings.min_pool_size)
    }

    pub fn reserve_pool_size(self, pool: PoolId) -> u32 {
        let pool = &self.pools[pool];
        let user = self.user_line(pool.user).and_then(|line| line.reserve_pool_size);
        let database = self.database_line(pool.database).reserve_pool_size;
        user.or(database).unwrap_or(self.settings.reserve_pool_size)
    }

    /// Sessions that all pools of the database may have; 0 is no limit.
    pub fn max_db_connections(self, database: DatabaseId) -> u32 {
        let line = self.database_line(database);
        line.max_db_connections.unwrap_or(self.settings.max_db_connections)
    }

    /// Sessions that all pools of the user may have; 0 is no limit.
    pub fn max_user_connections(self, user: UserId) -> u32 {
        let own = self.user_line(user).and_then(|line| line.max_user_connections);
        own.unwrap_or(self.settings.max_user_connections)
    }

    /// Clients that the database may have; 0 is no limit.
    pub fn max_db_client_connections(self, database: DatabaseId) -> u32 {
        let own = self.database_line(database).max_db_client_connections;
        own.unwrap_or(self.settings.max_db_client_connections)
    }

    /// Clients that the user may have; 0 is no limit.
    pub fn max_user_client_connections(self, user: UserId) -> u32 {
        let own = self.user_line(user).and_then(|line| line.max_user_client_connections);
        own.unwrap_or(self.settings.max_user_client_connections)
    }

    /// Servers of a pool that may be pinned at a time.
    pub fn pin_limit(self, pool: PoolId) -> usize {
        match self.pool_size(pool) {
            0 => usize::MAX,
            size => (size as usize * self.settings.pin_limit as usize / 100).max(1),
        }
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

/// How long something may last. But for a lifetime, zero is for ever.
impl Limits<'_> {
    /// How long the servers of a pool are used. At zero, each goes after its first use.
    pub fn server_lifetime(self, pool: PoolId) -> Duration {
        let line = self.database_line(self.pools[pool].database);
        line.server_lifetime.unwrap_or(self.settings.server_lifetime)
    }

    /// How long clients of a database may wait for a server, whoever they are.
    pub fn lookup_wait_timeout(self, database: DatabaseId) -> Duration {
        let line = self.database_line(database);
        line.query_wait_timeout.unwrap_or(self.settings.query_wait_timeout)
    }

    /// How long this client may wait for a server.
    pub fn query_wait_timeout(self, client: &Client) -> Duration {
        let database = client.member().map(|of| self.database_line(of.database));
        let user = self.line_of(client).and_then(|line| line.query_wait_timeout);
        user.or(database.and_then(|line| line.query_wait_timeout))
            .unwrap_or(self.settings.query_wait_timeout)
    }

    pub fn query_timeout(self, client: &Client) -> Duration {
        let own = self.line_of(client).and_then(|line| line.query_timeout);
        own.unwrap_or(self.settings.query_timeout)
    }

    pub fn idle_transaction_timeout(self, client: &Client) -> Duration {
        let own = self.line_of(client).and_then(|line| line.idle_transaction_timeout);
        own.unwrap_or(self.settings.idle_transaction_timeout)
    }

    pub fn transaction_timeout(self, client: &Client) -> Duration {
        let own = self.line_of(client).and_then(|line| line.transaction_timeout);
        own.unwrap_or(self.settings.transaction_timeout)
    }

    pub fn client_idle_timeout(self, client: &Client) -> Duration {
        let own = self.line_of(client).and_then(|line| line.client_idle_timeout);
        own.unwrap_or(self.settings.client_idle_timeout)
    }
}

#[cfg(test)]
mod tests;
