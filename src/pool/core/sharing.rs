//! How a client uses the servers of its pool, and what becomes of what it leaves there. What the
//! settings and lines say of it stands in `records::limits`; here a client's own choice counts too,
//! and what it does.

use crate::config::{PoolMode, SessionState};
use crate::pool::core::Core;
use crate::pool::ids::{PoolId, ServerId};
use crate::pool::records::client::{Client, Replication};

impl Core {
    /// Whether a server goes back to the pool before its client's session ends.
    pub(in crate::pool) fn shares_servers(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        server.mode != PoolMode::Session && !server.is_private
    }

    /// The pool mode of a client. While it has a server, that has the same (`Server::mode`).
    #[inline(always)]
    pub fn client_mode(&self, client: &Client) -> PoolMode {
        let of_pool = || client.pool().map_or(PoolMode::Session, |pool| self.pools[pool].mode);
        client.choice().mode.unwrap_or_else(of_pool)
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
        if self.watches_sessions { self.limits().policy_of(client) } else { SessionState::Allow }
    }

    /// Whether LISTEN of a client is taken over from the server that it has.
    pub(in crate::pool) fn shares_listen(&self, client: &Client) -> bool {
        let Some(member) = client.member() else { return false };
        self.limits().shares_listen(member.database) || client.has_channels()
    }

    /// Whether a session must be undone at its end though nobody has watched what it leaves:
    /// clients that share servers get its server next, and by this client's policy nothing is left
    /// to them.
    pub(in crate::pool) fn must_end_clean(&self, client: &Client) -> bool {
        let offered = |database| !self.limits().offered_modes(database).is_empty();
        let shares = client.member().is_some_and(|of| offered(of.database));
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

    /// Servers of a pool that are kept for their clients.
    pub fn pinned_count(&self, pool: PoolId) -> usize {
        let active = self.pools[pool].active.iter(&self.servers);
        active.filter(|id| self.servers[*id].session.is_pinned()).count()
    }
}
