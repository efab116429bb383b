//! What time brings about: timeouts, pools to be filled or emptied, statistics.
//!
//! Nothing is armed per connection: what is overdue follows from state, moments and the present
//! settings, so that RELOAD and SET act on open connections by themselves. The sweep visits pools
//! in which something is under way or due, and connections on their way in; an idle pooler sleeps.

use std::net::IpAddr;
use std::time::Duration;

use super::listening;
use crate::base::time::{Moment, NEVER};
use crate::config::PoolMode;
use crate::log::Level;
use crate::pool::core::due::{self, IdleDue, LoginDue, WaitDue};
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::owed::verdict::Hold;
use crate::pool::records::calendar::STEP;
use crate::pool::records::client::Replication;
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::ServerState;
use crate::pool::records::site::Health;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, ErrorReport, Severity};
use crate::wire::sqlstate;

/// How soon the sweep goes on with databases that may be forgotten, where there are more than one
/// sweep looks at.
const REST_OF_TRANSIENTS: Duration = Duration::from_secs(1);

impl Core {
    /// Does what is due.
    #[inline]
    pub fn sweep(&mut self) {
        if self.must_look() {
            self.fill_places();
            self.check_waits();
        }
        if self.is_untuned() {
            listening::tune_all(self);
        }
        if self.mono() >= self.sweep_at {
            self.sweep_all();
        }
    }

    /// Whether shared connections may have to be told something.
    fn is_untuned(&self) -> bool {
        !self.untuned.is_empty() || !self.gone_listeners.is_empty()
    }

    fn sweep_all(&mut self) {
        self.sweep_at = self.mono() + STEP;
        self.sweep_logins();
        self.sweep_carriers();
        self.refresh_names();
        self.wake_due();
        for pool in self.live_pools.ids(&self.pools) {
            self.sweep_pool(pool);
        }
        self.sweep_databases();
        self.unpark();
        self.fill_places();
        self.check_waits();
        self.check_shutdown();
        self.tell_whom_the_end_waits_for();
        self.sweep_stats();
    }

    /// Whether the last sweep has looked at everything that is due at this moment.
    #[cfg(any(test, debug_assertions))]
    pub(in crate::pool) fn was_swept_now(&self) -> bool {
        self.sweep_at == self.mono() + STEP
    }

    /// Whether a turn has anything to do besides what its events have done. Most turns have not:
    /// all that may be noted is asked for at once.
    #[inline(always)]
    pub fn has_chores(&self) -> bool {
        let noted = self.derivations.len()
            | self.inquiries.waiting.len()
            | self.next_pools.len()
            | self.untuned.len()
            | self.gone_listeners.len();
        noted != 0 || self.has_place || self.has_actions() || self.mono() >= self.sweep_at
    }

    /// When the sweep must run next.
    pub fn next_sweep(&self) -> Moment {
        match self.must_look() || self.is_untuned() {
            true => self.mono(),
            false => self.next_sweep_by_time(),
        }
    }

    /// When the sweep must run next, if nothing is noted for it.
    #[inline(always)]
    pub fn next_sweep_by_time(&self) -> Moment {
        if self.is_under_way() { self.sweep_at } else { self.next_sweep_at_rest() }
    }

    /// Whether there is anything that the sweep visits.
    #[inline(always)]
    fn is_under_way(&self) -> bool {
        !self.live_pools.is_empty()
            || !self.logins.is_empty()
            || !self.cancel_clients.is_empty()
            || !self.carriers.is_empty()
            || !self.consoles.is_empty()
            || self.shutdown != Shutdown::No
    }

    /// Before `sweep_at` the sweep would not run, and the loop would not sleep.
    #[cold]
    fn next_sweep_at_rest(&self) -> Moment {
        let stats_due = self.due_times().stats_due(self.stats.period_start);
        let others_due = self.calendar.next().into_iter().chain(self.directory.transients.due);
        others_due.fold(stats_due, Moment::min).max(self.sweep_at)
    }

    /// Clients on their way in, oldest first.
    fn sweep_logins(&mut self) {
        while let Some(id) = self.logins.first() {
            if self.mono() < self.due_times().login_due(&self.clients[id]) {
                break;
            }
            self.log_late_lookup(id);
            self.close_client(id, Reason::ClientLoginTimeout);
        }
        for id in self.cancel_clients.ids(&self.clients) {
            if self.mono() >= self.due_times().cancel_client_due(&self.clients[id]) {
                self.close_client(id, Reason::CancelWaitTimeout);
            }
        }
    }

    fn sweep_pool(&mut self, id: PoolId) {
        self.sweep_welcoming(id);
        self.sweep_waiting(id);
        if self.pools[id].purpose == Purpose::Lookups {
            self.sweep_lookups(id);
        }
        listening::sweep(self, id);
        self.sweep_active(id);
        self.sweep_idle_clients(id);
        self.sweep_server_logins(id);
        self.sweep_tests(id);
        self.sweep_idle_servers(id);
        self.sweep_size(id);
        self.launch(id);
        self.replace_before_end(id);
        self.sweep_deserted(id);
        if self.pools.contains(id) {
            self.rest_pool(id);
        }
    }

    /// Clients that wait for what the first server of their pool reports.
    fn sweep_welcoming(&mut self, pool: PoolId) {
        for id in self.pools[pool].welcoming.ids(&self.clients) {
            let client = &self.clients[id];
            match due::past(self.due_times().welcoming_dues(client), self.mono()) {
                Some(Reason::ClientLoginTimeoutDown) => {
                    self.close_client(id, Reason::ClientLoginTimeoutDown);
                }
                Some(reason) => self.close_waiting(id, reason),
                None if client.replication != Replication::No && !self.is_served(pool, id) => {
                    self.launch_private(pool, id);
                }
                None => {}
            }
        }
    }

    /// Clients in the queue.
    fn sweep_waiting(&mut self, pool: PoolId) {
        for id in self.pools[pool].waiting.ids(&self.clients) {
            match due::past(self.due_times().waiting_dues(&self.clients[id]), self.mono()) {
                Some(WaitDue::Close(reason)) => self.close_waiting(id, reason),
                Some(WaitDue::Notify) => self.notify_waiting(id),
                None => {}
            }
        }
    }

    fn close_waiting(&mut self, id: ClientId, reason: Reason) {
        let detail = self.clients[id].pool().map(|pool| self.why_no_server(pool));
        self.close_client_with(id, reason, detail.as_deref());
    }

    fn notify_waiting(&mut self, id: ClientId) {
        self.clients[id].hold = Some(Hold::Server { is_told: true });
        let mut bytes = Vec::new();
        build::report(
            &mut bytes,
            &ErrorReport {
                severity: Severity::Notice,
                sqlstate: sqlstate::SUCCESSFUL,
                message: "No server connection available in postgres backend, client being queued",
                detail: None,
                hint: None,
            },
        );
        self.act(Action::SendClient { client: id, bytes });
    }

    /// Clients that have a server: queries, transactions, and sitting idle in one.
    fn sweep_active(&mut self, pool: PoolId) {
        for server_id in self.pools[pool].active.ids(&self.servers) {
            let Some(reason) = self.overdue(server_id) else { continue };
            if reason == Reason::ClientIdleTimeout {
                if let Some(client) = self.servers[server_id].client() {
                    self.close_client(client, reason);
                }
                continue;
            }
            self.close_server(server_id, reason);
        }
    }

    fn overdue(&self, id: ServerId) -> Option<Reason> {
        let server = &self.servers[id];
        let client = &self.clients[server.client()?];
        due::past(self.due_times().active_dues(server, client), self.mono())
    }

    fn sweep_idle_clients(&mut self, pool: PoolId) {
        if !self.due_times().may_time_out_idle_clients() {
            return;
        }
        for id in self.pools[pool].settled.ids(&self.clients) {
            let client = &self.clients[id];
            let is_idle = client.server().is_none();
            if is_idle && self.mono() >= self.due_times().idle_client_due(client) {
                self.close_client(id, Reason::ClientIdleTimeout);
            }
        }
    }

    fn sweep_server_logins(&mut self, pool: PoolId) {
        for id in self.pools[pool].logging_in.ids(&self.servers) {
            match due::past(self.due_times().server_login_dues(&self.servers[id]), self.mono()) {
                Some(LoginDue::Fail(reason)) => self.server_failed(id, reason),
                Some(LoginDue::Slow) => self.change_health(self.servers[id].site, Health::Slow),
                None => {}
            }
        }
    }

    /// Carriers of cancel requests that the other end does not close.
    fn sweep_carriers(&mut self) {
        for id in self.carriers.ids() {
            let Some(carrier) = self.carriers.get(id).filter(|carrier| !carrier.is_closing())
            else {
                continue;
            };
            if self.mono() < self.due_times().carrier_due(carrier) {
                continue;
            }
            // It may still strike, any time: its target must not meet another client.
            let target = carrier.target().filter(|_| carrier.is_sent());
            if let Some(server) = target.and_then(|id| self.servers.get_mut(id)) {
                server.closing = Some(Reason::CloseNeeded);
            }
            self.close_carrier(id, Reason::CancelFailed);
        }
    }

    /// Abandoned work must come to its end within a time of its own.
    fn sweep_tests(&mut self, pool: PoolId) {
        for id in self.pools[pool].tested.ids(&self.servers) {
            if self.mono() >= self.due_times().abandoned_due(&self.servers[id]) {
                self.close_server(id, Reason::ServerAbandoned);
            } else {
                self.cancel_abandoned_again(id);
            }
        }
    }

    /// Idle servers: too old, idle too long, to be tested before their next use.
    fn sweep_idle_servers(&mut self, pool: PoolId) {
        if self.pools[pool].listens() {
            return;
        }
        let mut servers = self.pools[pool].idle.ids(&self.servers);
        servers.extend(self.pools[pool].used.ids(&self.servers));
        let mut left = self.pools[pool].server_count();
        let minimum = self.limits().min_pool_size(pool) as usize;
        for id in servers.into_iter().rev() {
            if let Some(reason) = self.reason_to_retire(id) {
                left -= 1;
                self.close_server(id, reason);
                continue;
            }
            let dues = self.due_times().idle_server_dues(&self.servers[id], left > minimum);
            match due::past(dues, self.mono()) {
                Some(IdleDue::Close(reason)) => {
                    left -= 1;
                    self.close_server(id, reason);
                }
                Some(IdleDue::Test) => self.move_server(id, ServerState::Used),
                None => {}
            }
        }
    }

    /// A pool whose size was reduced gives up idle servers; those of the reserve go the same way
    /// when nobody waits.
    fn sweep_size(&mut self, pool: PoolId) {
        let size = self.limits().pool_size(pool) as usize;
        if size == 0 || self.pools[pool].demand() > 0 {
            return;
        }
        while self.pools[pool].server_count() > size {
            let record = &self.pools[pool];
            let Some(id) = record.idle.last().or(record.used.last()) else { return };
            self.close_server(id, Reason::TooManyServers);
        }
    }

    /// Opens the successor of a server before a busy pool loses it to server_lifetime. A session
    /// keeps its server however old it is, and nobody waits for a successor.
    fn replace_before_end(&mut self, pool: PoolId) {
        let record = &self.pools[pool];
        let is_busy = record.idle.is_empty() && !record.active.is_empty();
        if !is_busy || !record.logging_in.is_empty() {
            return;
        }
        let is_near = |id: ServerId| {
            let server = &self.servers[id];
            // A stream of replication goes on as long as its client does.
            let will_end =
                server.closing.is_none() && !server.is_private && server.mode != PoolMode::Session;
            let is_close = |end| self.mono() + STEP * 3 >= end;
            will_end && server.foreseen_end().is_some_and(is_close)
        };
        if record.active.iter(&self.servers).any(is_near) {
            self.launch_successor(pool);
        }
    }

    /// Asks anew for names whose answer has run out, so that a changed address is noticed while
    /// connections last.
    fn refresh_names(&mut self) {
        let names = self.sites.hosts_at_work().filter(|name| name.parse::<IpAddr>().is_err());
        let stale = names.filter(|name| self.dns.refresh(name, self.now.mono)).map(str::to_owned);
        for name in stale.collect::<Vec<_>>() {
            self.act(Action::Resolve(name));
        }
    }

    fn sweep_deserted(&mut self, id: PoolId) {
        if !self.pools[id].is_deserted() {
            return;
        }
        let database = self.pools[id].database;
        let since = self.pools[id].used_at;
        if self.databases[database].is_removed {
            self.registrar().forget_pool(id);
        } else if self.mono() >= self.due_times().deserted_due(&self.pools[id]) {
            let (database, user) = (&self.databases[database], &self.users[self.pools[id].user]);
            let (name, user, age) = (&database.line.name, &user.name, self.mono().since(since));
            let text = format!(
                "cleaning up idle pool for user {user} on db {name} because: pool idle timeout \
                 (age= {}s)",
                age.as_secs()
            );
            self.log(Level::Log, text);
            self.registrar().forget_pool(id);
        }
    }

    fn sweep_databases(&mut self) {
        let are_more = self.directory.transients.need_several_sweeps();
        let mut next = are_more.then(|| self.mono() + REST_OF_TRANSIENTS);
        for id in self.directory.transients.take_some(&mut self.databases) {
            let database = &self.databases[id];
            // A pool with cancel requests on their way has neither servers nor clients, perhaps.
            let is_used = database.servers > 0
                || database.clients > 0
                || database.pools.iter().any(|pool| !self.pools[*pool].is_deserted());
            // What an admin has said of it holds until it is taken back.
            let is_kept = !database.is_removed && (database.is_paused || database.is_disabled);
            if is_used || is_kept {
                continue;
            }
            let due = self.due_times().auto_database_due(database);
            if database.is_removed || !database.is_reached || self.mono() >= due {
                if database.is_auto && !database.is_removed {
                    self.log_dropped(id);
                }
                self.registrar().forget_database(id);
            } else if due != NEVER {
                next = next.into_iter().chain([due]).min();
            }
        }
        self.directory.transients.due = next;
    }
}
