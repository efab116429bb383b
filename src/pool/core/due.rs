//! When something falls due for a record, and what.
//!
//! The sweep asks what is past ([`past`]), the calendar of resting pools which moment comes first
//! ([`first`]). Nothing is armed: a due time follows from the record's own moments and the present
//! settings, so that RELOAD and SET act at once. [`DueTimes`] reads records and settings, without a
//! core. Where a user or a database may have a limit of its own, `records::limits` finds it;
//! `lifetime` has the end of a server's lifetime.

use std::time::Duration;

use crate::base::arena::Arena;
use crate::base::time::{Moment, NEVER};
use crate::config::{Settings, UserLine};
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::owed::verdict::Hold;
use crate::pool::records::carrier::{Carrier, Errand};
use crate::pool::records::client::Client;
use crate::pool::records::database::Database;
use crate::pool::records::limits::Limits;
use crate::pool::records::pool::Pool;
use crate::pool::records::server::{Server, ServerState, Test};
use crate::pool::records::site::Sites;
use crate::pool::telling::reason::Reason;

/// A login to a server that takes longer is not waited for where another host may be tried.
const SLOW_LOGIN: Duration = Duration::from_secs(1);

/// Something that falls due at a moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pool) struct Due<What> {
    pub at: Moment,
    pub what: What,
}

/// The first of these, in the order given, whose moment has come.
pub(in crate::pool) fn past<What>(
    dues: impl IntoIterator<Item = Due<What>>,
    now: Moment,
) -> Option<What> {
    dues.into_iter().find(|due| due.at <= now).map(|due| due.what)
}

/// The earliest of their moments.
pub(in crate::pool) fn first<What>(dues: impl IntoIterator<Item = Due<What>>) -> Moment {
    dues.into_iter().map(|due| due.at).min().unwrap_or(NEVER)
}

/// What falls due for a client in the queue of its pool.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pool) enum WaitDue {
    Close(Reason),
    /// The client is told that it waits.
    Notify,
}

/// What falls due for a server in login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pool) enum LoginDue {
    Fail(Reason),
    /// The host of the server counts as slow.
    Slow,
}

/// What falls due for a server that nobody uses.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(in crate::pool) enum IdleDue {
    Close(Reason),
    /// The server must be tested before its next use.
    Test,
}

impl<What> Due<What> {
    fn new(at: Moment, what: What) -> Due<What> {
        Due { at, what }
    }

    /// Due so long after a moment; a limit of zero is none.
    fn after(since: Moment, limit: Duration, what: What) -> Due<What> {
        Due { at: after(since, limit), what }
    }

    /// Never due unless the condition holds.
    fn only_if(self, condition: bool) -> Due<What> {
        if condition { self } else { Due { at: NEVER, ..self } }
    }
}

/// The end of a time limit; a limit of zero is none.
pub(in crate::pool) fn after(since: Moment, limit: Duration) -> Moment {
    if limit.is_zero() { NEVER } else { since + limit }
}

/// What due times are read from.
#[derive(Clone, Copy)]
pub(in crate::pool) struct DueTimes<'a> {
    pub settings: &'a Settings,
    pub limits: Limits<'a>,
    /// The [users] lines, of users that have come and of others.
    pub user_lines: &'a [UserLine],
    pub clients: &'a Arena<Client>,
    pub servers: &'a Arena<Server>,
    pub pools: &'a Arena<Pool>,
    pub sites: &'a Sites,
}

impl Core {
    /// When something falls due, for whichever record.
    #[inline(always)]
    pub(in crate::pool) fn due_times(&self) -> DueTimes<'_> {
        let Core { config, clients, servers, pools, sites, .. } = self;
        let (settings, user_lines, limits) = (&config.settings, &config.users, self.limits());
        DueTimes { settings, limits, user_lines, clients, servers, pools, sites }
    }
}

impl DueTimes<'_> {
    /// A client that has not proved who it is.
    pub(in crate::pool) fn login_due(self, client: &Client) -> Moment {
        after(client.connected, self.settings.client_login_timeout)
    }

    /// A client that came to cancel another's query.
    pub(in crate::pool) fn cancel_client_due(self, client: &Client) -> Moment {
        after(client.since, self.settings.cancel_wait_timeout)
    }

    /// A client whose lookup waits for a server of this pool.
    pub(in crate::pool) fn lookup_due(self, client: &Client, pool: &Pool) -> Moment {
        after(client.connected, self.limits.lookup_wait_timeout(pool.database))
    }

    /// A client that waits for what the first server of its pool reports.
    pub(in crate::pool) fn welcoming_dues(self, client: &Client) -> [Due<Reason>; 3] {
        // The query_timeout of everybody: a user's own limit is for what it asks.
        let of_all = self.settings.query_timeout;
        let wait = self.limits.query_wait_timeout(client);
        [
            Due::after(client.since, wait, Reason::QueryWaitTimeout),
            Due::after(client.since, of_all, Reason::QueryTimeoutWaiting),
            Due::new(self.login_due(client), Reason::ClientLoginTimeoutDown),
        ]
    }

    /// A client in the queue of its pool.
    pub(in crate::pool) fn waiting_dues(self, client: &Client) -> [Due<WaitDue>; 3] {
        let wait = self.limits.query_wait_timeout(client);
        let query = self.limits.query_timeout(client);
        let (since, notify) = (client.requested, self.settings.query_wait_notify);
        let is_untold = client.hold == Some(Hold::Server { is_told: false });
        [
            Due::after(since, wait, WaitDue::Close(Reason::QueryWaitTimeout)),
            Due::after(since, query, WaitDue::Close(Reason::QueryTimeoutWaiting)),
            Due::after(since, notify, WaitDue::Notify).only_if(is_untold),
        ]
    }

    /// A client that waits for its channels to be heard by the shared connection: as long as a
    /// connection may take, since servers may be kept meanwhile whose place that one needs.
    pub(in crate::pool) fn channels_due(self, client: &Client) -> Moment {
        let awaits = client.listens().and_then(|listens| listens.awaits.as_ref());
        let Some(since) = awaits.map(|awaits| awaits.since) else { return NEVER };
        // Either may be 0, which is no limit.
        let wait = self.limits.query_wait_timeout(client);
        after(since, wait).min(after(since, self.settings.server_connect_timeout))
    }

    /// A client that has a server: its query, its transaction, and how long it sits idle.
    pub(in crate::pool) fn active_dues(self, server: &Server, client: &Client) -> [Due<Reason>; 4] {
        let in_transaction = server.replies.status() != TransactionStatus::Idle;
        let is_answered = server.replies.is_answered();
        let (is_busy, start) = (in_transaction || !is_answered, client.query_start);
        let query = self.limits.query_timeout(client);
        let idle_inside = self.limits.idle_transaction_timeout(client);
        let transaction = self.limits.transaction_timeout(client);
        let idle = self.limits.client_idle_timeout(client);
        [
            Due::after(start, query, Reason::QueryTimeout).only_if(!is_answered),
            Due::after(start, idle_inside, Reason::IdleTransactionTimeout)
                .only_if(in_transaction && is_answered),
            Due::after(server.xact_start, transaction, Reason::TransactionTimeout).only_if(is_busy),
            Due::after(start, idle, Reason::ClientIdleTimeout).only_if(!is_busy),
        ]
    }

    /// A client without a server that asks for nothing.
    pub(in crate::pool) fn idle_client_due(self, client: &Client) -> Moment {
        after(client.since, self.limits.client_idle_timeout(client))
    }

    /// A server in login.
    pub(in crate::pool) fn server_login_dues(self, server: &Server) -> [Due<LoginDue>; 2] {
        let (since, limit) = (server.connected, self.settings.server_connect_timeout);
        let is_doubtful = self.sites[server.site].is_doubtful();
        [
            Due::after(since, limit, LoginDue::Fail(Reason::ConnectTimeout)),
            Due::after(since, SLOW_LOGIN, LoginDue::Slow).only_if(!is_doubtful),
        ]
    }

    /// A connection that carries a cancel request, and that the server does not end. A peer that
    /// does not answer holds nothing up for longer than the client that asks would wait.
    pub(in crate::pool) fn carrier_due(self, carrier: &Carrier) -> Moment {
        let settings = self.settings;
        let (wait, connect) = (settings.cancel_wait_timeout, settings.server_connect_timeout);
        let is_to_peer = matches!(carrier.errand, Errand::Peer { .. });
        let limit = if is_to_peer && !wait.is_zero() { wait } else { wait.max(connect) };
        after(carrier.connected, limit)
    }

    /// A server whose client went away in the middle of something.
    pub(in crate::pool) fn abandoned_due(self, server: &Server) -> Moment {
        match server.state() {
            ServerState::Tested(Test::Abandoned(_)) => {
                after(server.since, self.settings.server_abandon_timeout)
            }
            ServerState::Active { .. }
            | ServerState::BeingCanceled
            | ServerState::Between
            | ServerState::Closing
            | ServerState::Idle
            | ServerState::Login(_)
            | ServerState::Lookup(_)
            | ServerState::Tested(_)
            | ServerState::Used => NEVER,
        }
    }

    /// A server that nobody uses. `is_spare` tells that its pool has more than min_pool_size.
    pub(in crate::pool) fn idle_server_dues(
        self,
        server: &Server,
        is_spare: bool,
    ) -> [Due<IdleDue>; 3] {
        let idle_limit = self.settings.server_idle_timeout;
        let is_idle = matches!(server.state(), ServerState::Idle);
        let end = server.foreseen_end().unwrap_or(NEVER);
        let idle_too_long = IdleDue::Close(Reason::ServerIdleTimeout);
        [
            Due::new(end, IdleDue::Close(Reason::ServerLifetime)),
            Due::after(server.requested, idle_limit, idle_too_long).only_if(is_spare),
            Due::new(self.test_due(server), IdleDue::Test).only_if(is_idle),
        ]
    }

    /// From when on an idle server is tested before it is used.
    #[inline(always)]
    pub(in crate::pool) fn test_due(self, server: &Server) -> Moment {
        let settings = self.settings;
        let has_test = !settings.server_check_query.is_empty();
        if has_test { server.requested + settings.server_check_delay } else { NEVER }
    }

    /// A pool in which nobody is.
    pub(in crate::pool) fn deserted_due(self, pool: &Pool) -> Moment {
        after(pool.used_at, self.settings.pool_idle_timeout)
    }

    /// A database made from `*` in which nobody is.
    pub(in crate::pool) fn auto_database_due(self, database: &Database) -> Moment {
        after(database.idle_since, self.settings.autodb_idle_timeout)
    }

    /// The end of a period of statistics that began then. A period of nothing would keep the loop
    /// from ever sleeping.
    pub(in crate::pool) fn stats_due(self, period_start: Moment) -> Moment {
        period_start + self.settings.stats_period.max(Duration::from_secs(1))
    }

    /// The first moment at which something falls due for the servers and clients of a pool in
    /// which nothing is under way, or for the pool itself.
    pub(in crate::pool) fn first_due_at_rest(self, id: PoolId) -> Moment {
        let pool = &self.pools[id];
        let first_of_both = self.idle_servers_due(id).min(self.idle_clients_due(pool));
        match pool.is_deserted() {
            true => first_of_both.min(self.deserted_due(pool)),
            false => first_of_both,
        }
    }

    fn idle_servers_due(self, id: PoolId) -> Moment {
        let pool = &self.pools[id];
        if pool.listens() {
            return NEVER;
        }
        let is_spare = pool.server_count() > self.limits.min_pool_size(id) as usize;
        let idle = pool.idle.iter(self.servers).chain(pool.used.iter(self.servers));
        let dues = idle.map(|id| first(self.idle_server_dues(&self.servers[id], is_spare)));
        dues.min().unwrap_or(NEVER)
    }

    fn idle_clients_due(self, pool: &Pool) -> Moment {
        if !self.may_time_out_idle_clients() {
            return NEVER;
        }
        // In a pool at rest nobody has a server.
        let clients = pool.settled.iter(self.clients);
        clients.map(|id| self.idle_client_due(&self.clients[id])).min().unwrap_or(NEVER)
    }

    /// Whether an idle client may time out at all: if not, thousands of them need no look.
    pub(in crate::pool) fn may_time_out_idle_clients(self) -> bool {
        let mut own = self.user_lines.iter().filter_map(|line| line.client_idle_timeout);
        !self.settings.client_idle_timeout.is_zero() || own.any(|limit| !limit.is_zero())
    }
}

#[cfg(test)]
mod tests;
