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
use crate::wire::build;
use crate::wire::head::{self, HEAD_BYTES, ParsedHead};

pub struct Pool {
    links: Links<PoolKind>,
    pub database: DatabaseId,
    /// The user as whom its servers log in.
    pub user: UserId,
    pub purpose: Purpose,
    /// The configured pool mode; it is renewed whenever the settings change.
    pub mode: PoolMode,

    pub welcoming: List<Client>,
    /// Clients that have a server, and clients that have asked for none.
    pub settled: List<Client>,
    /// Clients that wait for a server, in order of arrival.
    pub waiting: List<Client>,

    pub logging_in: List<Server>,
    /// Idle servers; the one used last is the first.
    pub idle: List<Server>,
    pub used: List<Server>,
    pub tested: List<Server>,
    pub active: List<Server>,
    pub being_canceled: List<Server>,
    /// Carriers of cancel requests to servers of the pool.
    pub carriers: List<Carrier>,
    /// Lookups that wait for a server, in order of arrival.
    pub lookups: VecDeque<Lookup>,

    /// The parameters that clients are told in their welcome; `None` before the first server's
    /// login.
    pub welcome: Option<Welcome>,
    /// The secret for server logins, if it came from auth_query or a judge.
    pub found: Option<FoundSecret>,
    /// Whether a server has authenticated by SCRAM: later servers must not ask for the password in
    /// clear.
    pub has_done_scram: bool,
    /// The refusal of the last server login, until a login succeeds.
    pub refusal: Option<LoginRefusal>,
    /// Servers in a row that ended after a login which derived keys, before any client had an
    /// answer. While this is set, a successful login is not enough to open the next server at once.
    pub unserved: Option<Retry>,
    /// When the pool last had a client or a server.
    pub used_at: Moment,
    pub stats: Stats,
    /// The place of its database's histograms.
    pub(in crate::pool) latency: LatencyPlace,
    /// The count of changes (`Core::plainness`) at which hand-overs were found to be plain.
    pub(in crate::pool) plain_under: u64,
    pub undone: Undone,
    /// The channels, in a pool of purpose `Listening`.
    pub listening: Option<Box<Listening>>,
    pub rest: Rest,
    /// Whether the pool awaits a place and is looked at when one becomes free.
    pub awaits_place: bool,
    /// Whether it is looked at then, or at RESUME, for a replication client, which needs a server
    /// of its own.
    pub lacks_private: bool,
    /// Whether the pool is looked at before the turn ends.
    pub is_next: bool,
}

/// Counts of what happened to session state that clients left in servers.
#[derive(Debug, Default)]
pub struct Undone {
    /// Warnings in the log, one for each client and kind of state.
    pub warnings: u64,
    pub resets: u64,
    /// The duration of all resets.
    pub reset_us: u64,
    /// Servers that were closed because their state could not be undone.
    pub failures: u64,
    /// How often a server was pinned to its client.
    pub pins: u64,
    /// Statements that were refused, before or after they ran.
    pub refusals: u64,
}

/// What the servers of a pool are for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Purpose {
    Clients,
    /// LISTEN for the clients of the pool beside it (`shared_listen`), with one server at most.
    Listening,
    /// Running auth_query. No client ever gets such a server.
    Lookups,
}

/// A user's secret that a login of the user has brought.
#[derive(Debug)]
pub struct FoundSecret {
    pub secret: Secret,
    pub source: SecretSource,
    /// The keys of a client that proved a stored SCRAM secret.
    pub keys: Option<ScramKeys>,
}

/// The source of a secret.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SecretSource {
    /// auth_query has returned it. A secret of the user list goes first.
    AuthQuery,
    /// LDAP or PAM has accepted the password. It goes before the user list, which may be older.
    Judge,
}

/// The parameters that clients are told at login on behalf of the server.
#[derive(Debug, Default)]
pub struct Welcome {
    /// Reported untracked parameters, in the server's order, as the messages that tell them.
    pub fixed: Box<[u8]>,
    /// Reported tracked parameters: the values for a client that asks for none.
    pub vars: Vars,
}

impl Welcome {
    pub fn new(reported: &[(Box<str>, Box<[u8]>)], vars: Vars) -> Welcome {
        let mut fixed = Vec::new();
        for (name, value) in reported {
            build::parameter_status(&mut fixed, name, value);
        }
        Welcome { fixed: fixed.into(), vars }
    }

    /// The server has reported another value of a parameter. Others are not added.
    pub fn renew(&mut self, name: &str, value: &[u8]) {
        let mut renewed = Vec::new();
        let mut rest = &self.fixed[..];
        while let ParsedHead::Head(head) = head::parse(rest) {
            let (message, after) = rest.split_at(HEAD_BYTES + head.body);
            let behind_name = message[HEAD_BYTES..].strip_prefix(name.as_bytes());
            match behind_name.is_some_and(|rest| rest.starts_with(b"\0")) {
                true => build::parameter_status(&mut renewed, name, value),
                false => renewed.extend_from_slice(message),
            }
            rest = after;
        }
        self.fixed = renewed.into();
    }
}

/// The state of a pool whose servers can be reached but refuse the login.
#[derive(Debug)]
pub struct LoginRefusal {
    /// The message of the server.
    pub message: Box<str>,
    pub retry: Retry,
}

/// Whether the sweep visits a pool; otherwise the list of the calendar that holds the pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rest {
    Awake,
    /// The pool has no timeout.
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
            settled: List::default(),
            waiting: List::default(),
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
            plain_under: 0,
            undone: Undone::default(),
            listening: None,
            rest: Rest::Awake,
            awaits_place: false,
            lacks_private: false,
            is_next: false,
        }
    }

    /// Keeps a secret that its user has proved. If the secret is the same and this login yields no
    /// keys, the keys kept before stay.
    pub fn keep_found(&mut self, secret: Secret, source: SecretSource, keys: Option<ScramKeys>) {
        let before = self.found.take().filter(|before| before.secret == secret);
        if before.is_none() {
            // The server refused another secret.
            self.refusal = None;
        }
        let keys = keys.or(before.and_then(|before| before.keys));
        self.found = Some(FoundSecret { secret, source, keys });
    }

    /// Forgets what server logins have shown, good or bad: clients wait for the next login.
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

    /// Counts that a client was given a server, after a wait of this duration.
    #[inline]
    pub(in crate::pool) fn count_assignment(&mut self, wait_us: u64, latencies: &mut LatencyTable) {
        self.stats.assignments += 1;
        self.stats.wait_us += wait_us;
        latencies.of_mut(self.latency).wait.add(wait_us);
    }

    /// Server connections, including those in login.
    pub fn server_count(&self) -> usize {
        self.logging_in.len() + self.working_count()
    }

    /// Server connections past their login.
    pub fn working_count(&self) -> usize {
        self.idle.len()
            + self.used.len()
            + self.tested.len()
            + self.active.len()
            + self.being_canceled.len()
    }

    /// Clients that have logged in, including those that wait for their welcome.
    pub fn client_count(&self) -> usize {
        self.welcoming.len() + self.settled.len() + self.waiting.len()
    }

    /// The number of clients that have a server.
    pub fn active_clients(&self) -> usize {
        // A server that looks up users is active without a client.
        if self.purpose == Purpose::Clients { self.active.len() } else { 0 }
    }

    /// The number of clients, lookups and channels that wait for a server.
    pub fn demand(&self) -> usize {
        let lacks_listener = self.listens() && self.working_count() == 0;
        self.waiting.len() + self.lookups.len() + usize::from(lacks_listener)
    }

    /// Whether clients listen through the server of this pool.
    pub fn listens(&self) -> bool {
        self.listening.as_deref().is_some_and(Listening::is_wanted)
    }

    /// Whether clients wait until the server of this pool listens to their channels.
    fn is_awaited(&self) -> bool {
        self.listening.as_ref().is_some_and(|all| !all.awaiting.is_empty())
    }

    /// The number of clients that wait for a server: with a query, for a welcome or for a lookup.
    pub fn waiting_clients(&self) -> usize {
        self.waiting.len() + self.welcoming.len() + self.queued_clients()
    }

    /// The number of clients whose lookup waits for a server.
    pub fn queued_clients(&self) -> usize {
        self.lookups.iter().map(|lookup| lookup.clients.len()).sum()
    }

    /// Whether anything waits, runs, logs in or ends in the pool.
    pub fn is_at_work(&self) -> bool {
        self.client_count() > self.settled.len()
            || self.server_count() > self.idle.len() + self.used.len()
            || !self.carriers.is_empty()
            || self.demand() > 0
            || self.is_awaited()
    }

    /// Whether the pool has no connection at all. Such a pool costs nothing until a client comes.
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
            client::PoolPlace::Settled => &mut self.settled,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_welcome_tells_the_last_value_of_each_parameter_in_the_order_of_the_first() {
        let reported = [("a", "1"), ("ab", "2"), ("b", "3")];
        let reported = reported.map(|(name, value)| (name.into(), value.as_bytes().into()));
        let mut welcome = Welcome::new(&reported, Vars::default());
        welcome.renew("a", b"one");
        welcome.renew("b", b"");
        welcome.renew("c", b"4");
        let expected = b"S\0\0\0\x0aa\0one\0S\0\0\0\x09ab\x002\0S\0\0\0\x07b\0\0";
        assert_eq!(welcome.fixed[..], expected[..]);
    }
}
