//! A pool: the clients and servers of one database and one user.

use std::collections::VecDeque;

use super::carrier::Carrier;
use super::client::{self, Client};
use super::listening::Listening;
use super::lookup::Lookup;
use super::retry::Retry;
use super::server::{self, Server};
use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::list::{Linked, Links, List};
use crate::base::time::Moment;
use crate::config::PoolMode;
use crate::crypto::scram::ScramKeys;
use crate::pool::ids::{DatabaseId, PoolKind, UserId};
use crate::pool::owed::varcache::{VarTable, Vars};
use crate::pool::telling::latency::{LatencyPlace, LatencyTable};
use crate::pool::telling::stats::Stats;

pub struct Pool {
    links: Links<PoolKind>,
    pub database: DatabaseId,
    /// The user by whose name and secret its servers log in.
    pub user: UserId,
    pub purpose: Purpose,
    /// The pool mode of the settings: renewed whenever they change.
    pub mode: PoolMode,

    pub welcoming: List<Client>,
    pub idle_clients: List<Client>,
    /// In order of arrival.
    pub waiting: List<Client>,
    pub active_clients: List<Client>,

    pub logging_in: List<Server>,
    /// The one used last stands first.
    pub idle: List<Server>,
    pub used: List<Server>,
    pub tested: List<Server>,
    pub active: List<Server>,
    pub being_canceled: List<Server>,
    /// Carriers of cancel requests to servers of the pool.
    pub carriers: List<Carrier>,
    /// Lookups that no server has got yet, in order of arrival.
    pub lookups: VecDeque<Lookup>,

    /// What a server reports at login, for the welcome of clients; `None` before the first.
    pub welcome: Option<Welcome>,
    /// The secret by which servers are opened, where a login of the user has brought it.
    pub found: Option<FoundSecret>,
    /// A server has let it in by SCRAM: no other need ask for the password in clear.
    pub has_done_scram: bool,
    /// The server refused the last login, and none has worked since.
    pub refusal: Option<LoginRefusal>,
    /// Servers whose login has cost keys, and that ended before anybody had an answer of them, one
    /// after the other: a login that works is not enough for the next to be made at once.
    pub unserved: Option<Retry>,
    /// Last time it had a client or a server.
    pub used_at: Moment,
    pub stats: Stats,
    /// Where the times of its database are counted.
    pub(in crate::pool) latency: LatencyPlace,
    pub undone: Undone,
    /// The channels, where that is what it is for.
    pub listening: Option<Box<Listening>>,
    pub rest: Rest,
    /// It is among the pools that are looked at when a place gets free.
    pub awaits_place: bool,
    /// It is among those that are looked at before the turn ends.
    pub is_next: bool,
}

/// What has become of what clients left in the sessions of servers, counted.
#[derive(Debug, Default)]
pub struct Undone {
    /// Clients and kinds that the log was told of.
    pub warnings: u64,
    pub resets: u64,
    /// The time that the resets took.
    pub reset_us: u64,
    /// Servers that were closed since it could not be undone.
    pub failures: u64,
    /// Times that a server was kept for its client.
    pub pins: u64,
    /// Statements that were refused, before or after they were run.
    pub refusals: u64,
}

/// What the servers of a pool are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    Clients,
    /// To listen for the clients of the pool beside it (`shared_listen`): there is one at most.
    Listening,
    /// To run auth_query. No client ever gets one of them.
    Lookups,
}

/// A user's secret, as a login has brought it.
#[derive(Debug)]
pub struct FoundSecret {
    pub secret: Secret,
    pub source: SecretSource,
    /// From a client that proved the stored SCRAM secret.
    pub keys: Option<ScramKeys>,
}

/// Where a secret is from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// From a database. What the user list says comes first.
    AuthQuery,
    /// A judge has vouched for the password: it comes before the user list, which may be older.
    Judge,
}

/// What clients are told at login on behalf of the server.
#[derive(Debug, Default)]
pub struct Welcome {
    /// Reported and not tracked, in the server's order.
    pub fixed: Vec<(Box<str>, Box<[u8]>)>,
    /// Reported and tracked: what a client has that sets nothing.
    pub vars: Vars,
}

/// The state of a pool whose servers can be reached and refuse the login.
#[derive(Debug)]
pub struct LoginRefusal {
    /// What the server said.
    pub message: Box<str>,
    pub retry: Retry,
}

/// Whether the sweep visits a pool; else, the list of the calendar that holds it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    Awake,
    /// Nothing will be due there of itself.
    Never,
    Slot(u16),
}

impl Record for Pool {
    type Kind = PoolKind;
}

impl Linked for Pool {
    fn links(&self) -> &Links<PoolKind> {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links<PoolKind> {
        &mut self.links
    }
}

impl Pool {
    pub fn new(
        (database, user): (DatabaseId, UserId),
        purpose: Purpose,
        mode: PoolMode,
        now: Moment,
    ) -> Pool {
        Pool {
            links: Links::default(),
            database,
            user,
            purpose,
            mode,
            welcoming: List::default(),
            idle_clients: List::default(),
            waiting: List::default(),
            active_clients: List::default(),
            logging_in: List::default(),
            idle: List::default(),
            used: List::default(),
            tested: List::default(),
            active: List::default(),
            being_canceled: List::default(),
            carriers: List::default(),
            lookups: VecDeque::new(),
            welcome: None,
            found: None,
            has_done_scram: false,
            refusal: None,
            unserved: None,
            used_at: now,
            stats: Stats::default(),
            latency: LatencyPlace::SHARED,
            undone: Undone::default(),
            listening: None,
            rest: Rest::Awake,
            awaits_place: false,
            is_next: false,
        }
    }

    /// Keeps a secret that its user has proved. The keys of the same secret stay where the user
    /// came in this time by a way that gives none.
    pub fn keep_found(&mut self, secret: Secret, source: SecretSource, keys: Option<ScramKeys>) {
        let before = self.found.take().filter(|before| before.secret == secret);
        if before.is_none() {
            // What the server refused was another secret.
            self.refusal = None;
        }
        let keys = keys.or(before.and_then(|before| before.keys));
        self.found = Some(FoundSecret { secret, source, keys });
    }

    /// What logins of servers have told counts no more, good or bad: clients wait for the next one.
    pub(in crate::pool) fn forget_logins(&mut self, vars: &mut VarTable) {
        self.forget_welcome(vars);
        self.refusal = None;
        self.has_done_scram = false;
    }

    pub(in crate::pool) fn forget_welcome(&mut self, vars: &mut VarTable) {
        if let Some(mut welcome) = self.welcome.take() {
            vars.clear(&mut welcome.vars);
        }
    }

    /// Counts that a client was given a server, for which it had waited so long.
    #[inline]
    pub(in crate::pool) fn count_assignment(&mut self, wait_us: u64, latencies: &mut LatencyTable) {
        self.stats.assignments += 1;
        self.stats.wait_us += wait_us;
        latencies.of_mut(self.latency).wait.add(wait_us);
    }

    /// Sessions, those that are logging in included.
    pub fn server_count(&self) -> usize {
        self.logging_in.len() + self.working_count()
    }

    /// Sessions past their login.
    pub fn working_count(&self) -> usize {
        self.idle.len()
            + self.used.len()
            + self.tested.len()
            + self.active.len()
            + self.being_canceled.len()
    }

    /// Logged-in clients, and those that wait for their welcome.
    pub fn client_count(&self) -> usize {
        self.welcoming.len()
            + self.idle_clients.len()
            + self.waiting.len()
            + self.active_clients.len()
    }

    /// Clients, lookups and channels that wait for a server.
    pub fn demand(&self) -> usize {
        let lacks_listener = self.listens() && self.working_count() == 0;
        self.waiting.len() + self.lookups.len() + usize::from(lacks_listener)
    }

    /// Whether clients listen by its connection.
    pub fn listens(&self) -> bool {
        self.listening.as_deref().is_some_and(Listening::is_wanted)
    }

    /// Whether clients wait for the channels of its connection.
    fn is_awaited(&self) -> bool {
        self.listening.as_ref().is_some_and(|all| !all.awaiting.is_empty())
    }

    /// Clients that wait for a server: with a query, for their welcome, or for their lookup.
    pub fn waiting_clients(&self) -> usize {
        self.waiting.len() + self.welcoming.len() + self.queued_clients()
    }

    /// Clients whose lookup waits for a server.
    pub fn queued_clients(&self) -> usize {
        self.lookups.iter().map(|lookup| lookup.clients.len()).sum()
    }

    /// Somebody waits, runs something, or is on the way in or out.
    pub fn is_at_work(&self) -> bool {
        self.client_count() > self.idle_clients.len()
            || self.server_count() > self.idle.len() + self.used.len()
            || !self.carriers.is_empty()
            || self.demand() > 0
            || self.is_awaited()
    }

    /// Whether nobody is there: the pool costs nothing until somebody comes.
    pub fn is_deserted(&self) -> bool {
        self.client_count() == 0
            && self.server_count() == 0
            && self.carriers.is_empty()
            && self.demand() == 0
            && !self.is_awaited()
    }

    #[inline(always)]
    pub(in crate::pool) fn client_list(&mut self, place: client::PoolPlace) -> &mut List<Client> {
        match place {
            client::PoolPlace::Active => &mut self.active_clients,
            client::PoolPlace::Idle => &mut self.idle_clients,
            client::PoolPlace::Waiting => &mut self.waiting,
            client::PoolPlace::Welcoming => &mut self.welcoming,
        }
    }

    #[inline(always)]
    pub(in crate::pool) fn server_list(&mut self, place: server::ServerPlace) -> &mut List<Server> {
        match place {
            server::ServerPlace::Active => &mut self.active,
            server::ServerPlace::BeingCanceled => &mut self.being_canceled,
            server::ServerPlace::Idle => &mut self.idle,
            server::ServerPlace::Login => &mut self.logging_in,
            server::ServerPlace::Tested => &mut self.tested,
            server::ServerPlace::Used => &mut self.used,
        }
    }
}
