//! Which limit or mode holds for a client, a user or a database: its own line's, or everybody's.
//! The limits of pools stand in `records::limits`, so that a plan can be made without a core.

use std::time::Duration;

use crate::config::{AuthMethods, Choices, PoolMode, SessionState, UserLine};
use crate::pool::core::Core;
use crate::pool::ids::{DatabaseId, PoolId, ServerId, UserId};
use crate::pool::records::client::{Client, Member, Replication};

impl Core {
    /// Whether a server goes back to the pool before its client's session ends.
    pub(in crate::pool) fn shares_servers(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        server.mode != PoolMode::Session && !server.is_private
    }

    /// The pool mode of a pool's clients, but for those that have chosen one themselves.
    pub fn pool_mode(&self, pool: PoolId) -> PoolMode {
        self.pools[pool].mode
    }

    /// The pool mode of a client. While it has a server, that has the same (`Server::mode`).
    #[inline(always)]
    pub fn client_mode(&self, client: &Client) -> PoolMode {
        let of_pool = || client.pool().map_or(PoolMode::Session, |pool| self.pools[pool].mode);
        client.choice().mode.unwrap_or_else(of_pool)
    }

    /// What clients of a database may choose from.
    pub fn offered_modes(&self, database: DatabaseId) -> &Choices<PoolMode> {
        let line = &self.databases[database].line;
        line.pool_modes.as_ref().unwrap_or(&self.settings().pool_modes)
    }

    pub fn offered_states(&self, database: DatabaseId) -> &Choices<SessionState> {
        let line = &self.databases[database].line;
        line.session_states.as_ref().unwrap_or(&self.settings().session_states)
    }

    /// The mode that a pool has by the settings. The pool keeps it.
    pub(in crate::pool) fn mode_of(&self, database: DatabaseId, user: UserId) -> PoolMode {
        self.limits().mode_of(database, user)
    }

    /// What becomes of what this client leaves in the session of its server. Where the client keeps
    /// its server there is nobody to leave it to.
    #[inline(always)]
    pub(in crate::pool) fn session_state(&self, client: &Client, mode: PoolMode) -> SessionState {
        let keeps_server = client.replication != Replication::No || mode == PoolMode::Session;
        if keeps_server { SessionState::Allow } else { self.session_policy(client) }
    }

    /// What becomes of what a client leaves in servers that it does not keep: as configured, or as
    /// the client has chosen, whichever is stricter.
    #[inline(always)]
    pub fn session_policy(&self, client: &Client) -> SessionState {
        if self.watches_sessions { self.policy_of(client) } else { SessionState::Allow }
    }

    fn policy_of(&self, client: &Client) -> SessionState {
        let of_member = |of: &Member| self.configured_state(of.database, of.user);
        let configured = client.member().map_or(self.settings().session_state, of_member);
        client.choice().policy.map_or(configured, |chosen| chosen.max(configured))
    }

    pub(in crate::pool) fn configured_state(
        &self,
        database: DatabaseId,
        user: UserId,
    ) -> SessionState {
        let database = self.databases[database].line.session_state;
        let user = self.users[user].line.as_ref().and_then(|line| line.session_state);
        user.or(database).unwrap_or(self.settings().session_state)
    }

    /// Whether LISTEN of a client is taken over from the server that it has.
    pub(in crate::pool) fn shares_listen(&self, client: &Client) -> bool {
        let Some(member) = client.member() else { return false };
        let line = &self.databases[member.database].line;
        line.shared_listen.unwrap_or(self.settings().shared_listen) || self.listens(client)
    }

    /// Whether a client has channels of the shared connection.
    pub(in crate::pool) fn listens(&self, client: &Client) -> bool {
        client.listens().is_some_and(|listens| !listens.channels.is_empty())
    }

    /// Whether a session must be undone at its end though nobody has watched what it leaves:
    /// clients that share servers get its server next, and by this client's policy nothing is left
    /// to them.
    pub(in crate::pool) fn must_end_clean(&self, client: &Client) -> bool {
        let shares = client.member().is_some_and(|of| !self.offered_modes(of.database).is_empty());
        self.watches_sessions && shares && self.session_policy(client) >= SessionState::Reset
    }

    /// Whether anybody's policy is another than `allow`, or may be; kept in `watches_sessions`,
    /// since it is asked for in each transaction.
    pub(in crate::pool) fn has_session_policy(&self) -> bool {
        let databases = self.config.databases.iter();
        let users = self.config.users.iter().filter_map(|line| line.session_state);
        let all = [self.settings().session_state].into_iter();
        let all = all.chain(databases.clone().filter_map(|line| line.session_state)).chain(users);
        let lists = [&self.settings().session_states].into_iter();
        let mut lists = lists.chain(databases.filter_map(|line| line.session_states.as_ref()));
        all.into_iter().any(|policy| policy != SessionState::Allow)
            || lists.any(|list| !list.is_empty())
            // Who has chosen keeps what it chose, whatever RELOAD takes away.
            || self.clients.iter().any(|(_, client)| client.choice().policy.is_some())
    }

    /// The session_state of a pool's clients, but for those that have chosen a stricter one.
    pub fn pool_session_state(&self, pool: PoolId) -> SessionState {
        let pool = &self.pools[pool];
        self.configured_state(pool.database, pool.user)
    }

    /// Servers of a pool that are kept for their clients.
    pub fn pinned_count(&self, pool: PoolId) -> usize {
        let active = self.pools[pool].active.iter(&self.servers);
        active.filter(|id| self.servers[*id].session.is_pinned()).count()
    }

    /// Servers of a pool that may be pinned at a time.
    pub fn pin_limit(&self, pool: PoolId) -> usize {
        match self.pool_size(pool) {
            0 => usize::MAX,
            size => (size as usize * self.settings().pin_limit as usize / 100).max(1),
        }
    }

    /// Sessions that the pool may have; 0 is no limit.
    pub fn pool_size(&self, pool: PoolId) -> u32 {
        self.limits().pool_size(pool)
    }

    pub fn min_pool_size(&self, pool: PoolId) -> u32 {
        self.limits().min_pool_size(pool)
    }

    /// Sessions that all pools of the database may have; 0 is no limit.
    pub fn max_db_connections(&self, database: DatabaseId) -> u32 {
        self.limits().max_db_connections(database)
    }

    /// Sessions that all pools of the user may have; 0 is no limit.
    pub fn max_user_connections(&self, user: UserId) -> u32 {
        self.limits().max_user_connections(user)
    }

    pub fn max_db_client_connections(&self, database: DatabaseId) -> u32 {
        let line = &self.databases[database].line;
        line.max_db_client_connections.unwrap_or(self.settings().max_db_client_connections)
    }

    pub fn max_user_client_connections(&self, user: UserId) -> u32 {
        let line = self.users[user].line.as_ref();
        line.and_then(|l| l.max_user_client_connections)
            .unwrap_or(self.settings().max_user_client_connections)
    }

    /// How a pool's servers may ask for a proof.
    pub fn server_auth_methods(&self, pool: PoolId) -> &AuthMethods {
        let line = &self.databases[self.pools[pool].database].line;
        line.server_auth_methods.as_ref().unwrap_or(&self.settings().server_auth_methods)
    }

    pub fn server_lifetime(&self, pool: PoolId) -> Duration {
        let line = &self.databases[self.pools[pool].database].line;
        line.server_lifetime.unwrap_or(self.settings().server_lifetime)
    }

    /// How long this client may wait for a server; zero is for ever.
    pub fn query_wait_timeout(&self, client: &Client) -> Duration {
        let database = client.member().map(|of| &self.databases[of.database].line);
        self.user_line(client)
            .and_then(|line| line.query_wait_timeout)
            .or(database.and_then(|line| line.query_wait_timeout))
            .unwrap_or(self.settings().query_wait_timeout)
    }

    pub fn query_timeout(&self, client: &Client) -> Duration {
        self.user_line(client)
            .and_then(|line| line.query_timeout)
            .unwrap_or(self.settings().query_timeout)
    }

    pub fn idle_transaction_timeout(&self, client: &Client) -> Duration {
        self.user_line(client)
            .and_then(|line| line.idle_transaction_timeout)
            .unwrap_or(self.settings().idle_transaction_timeout)
    }

    pub fn transaction_timeout(&self, client: &Client) -> Duration {
        self.user_line(client)
            .and_then(|line| line.transaction_timeout)
            .unwrap_or(self.settings().transaction_timeout)
    }

    pub fn client_idle_timeout(&self, client: &Client) -> Duration {
        self.user_line(client)
            .and_then(|line| line.client_idle_timeout)
            .unwrap_or(self.settings().client_idle_timeout)
    }

    /// The [users] line of the user as whom a client has logged in.
    fn user_line(&self, client: &Client) -> Option<&UserLine> {
        self.users[client.member()?.user].line.as_ref()
    }

    /// Whether an idle client may time out at all: if not, thousands of them need no look.
    pub(in crate::pool) fn may_time_out_idle_clients(&self) -> bool {
        let lines = &self.config.users;
        !self.settings().client_idle_timeout.is_zero()
            || lines.iter().any(|line| line.client_idle_timeout.is_some_and(|t| !t.is_zero()))
    }
}
