//! What a failed login of a server means for those who wait for it, and for those who come later.

use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::{PoolId, ServerId};
use crate::pool::records::pool::{Purpose, Refusal};
use crate::pool::records::retry::Retry;
use crate::pool::records::server::State;
use crate::pool::records::site::Health;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Ends the clients that wait for this login with the server's own words.
    pub(super) fn refuse_waiting(&mut self, id: ServerId, text: &str, sqlstate: &str) {
        let for_client = match self.servers[id].state() {
            State::Login(login) => login.for_client,
            _ => None,
        };
        if let Some(client) = for_client {
            if self.clients.contains(client) {
                self.close_client_as(client, text, sqlstate);
            }
            return;
        }
        if self.pools[self.servers[id].pool].purpose == Purpose::Listening {
            let pool = self.servers[id].pool;
            if let Some(all) = &mut self.pools[pool].listening {
                (all.is_told, all.failure) = (true, Some(text.into()));
            }
            return self.untuned.push(pool);
        }
        if self.has_lasting_server(self.servers[id].pool) {
            return;
        }
        let pool = &self.pools[self.servers[id].pool];
        let mut told = pool.waiting.ids(&self.clients);
        told.extend(pool.welcoming.ids(&self.clients));
        told.extend(self.queued_clients(self.servers[id].pool));
        for client in told {
            self.close_client_as(client, text, sqlstate);
        }
    }

    /// Remembers that the host is well but does not let this user in, or not as the line wants.
    pub(super) fn note_refusal(&mut self, id: ServerId, text: &str) {
        let before = self.pools[self.servers[id].pool].refusal.as_ref().map(|r| r.retry);
        let retry = Retry::after(before, self.now.mono, &mut *self.rng);
        self.note_refusal_until(id, text, retry);
    }

    /// The same, where it is of no use to ask again soon: a wrong password does not get right by
    /// itself, and who counts failed logins would lock the user out.
    pub(super) fn note_lasting_refusal(&mut self, id: ServerId, text: &str) {
        let retry = Retry::lasting(self.now.mono, &mut *self.rng);
        self.note_refusal_until(id, text, retry);
    }

    fn note_refusal_until(&mut self, id: ServerId, text: &str, retry: Retry) {
        let (site, pool) = (self.servers[id].site, self.servers[id].pool);
        self.change_health(site, Health::Well);
        // A replication client has been told, and says nothing of the others.
        if !self.servers[id].is_private {
            self.pools[pool].refusal = Some(Refusal { message: text.into(), retry });
        }
    }

    /// Remembers that a host cannot be reached, and when it is tried again.
    pub(super) fn note_unreachable(&mut self, id: ServerId, text: &str) {
        let site = self.servers[id].site;
        // Logins that were under way together fail together, which is one failure.
        if self.is_left_alone(&self.sites[site]) {
            return;
        }
        let retry = Retry::after(self.sites[site].retry(), self.now.mono, &mut *self.rng);
        self.change_health(site, Health::Failing { retry, error: text.into() });
    }

    /// Why a pool can have no server, and when the next login is tried: the server refuses its
    /// user, or no host can be reached.
    pub fn failure(&self, id: PoolId) -> Option<(&str, Moment)> {
        let (pool, longest) = (&self.pools[id], self.settings().server_login_retry);
        if let Some(refusal) = &pool.refusal {
            return Some((&refusal.message, refusal.retry.at(longest)));
        }
        let mut first: Option<(&str, Moment)> = None;
        for site in &self.databases[pool.database].sites {
            match &self.sites[*site].health {
                Health::Failing { retry, error } => {
                    let retry_at = retry.at(longest);
                    if first.is_none_or(|(_, earliest)| retry_at < earliest) {
                        first = Some((error, retry_at));
                    }
                }
                Health::Slow | Health::Well => return None,
            }
        }
        first
    }

    /// Why clients need not wait: no server of the pool works, and none is tried at present.
    pub(in crate::pool) fn failure_to_tell(&self, id: PoolId) -> Option<Box<str>> {
        if !self.pools[id].logging_in.is_empty() {
            return None;
        }
        let (message, retry_at) = self.failure(id)?;
        let is_told = self.mono() < retry_at && !self.has_lasting_server(id);
        // Where a host is stands in the log, and in the DETAIL for who has logged in.
        let known = [Reason::ServerConnectFailed, Reason::ServerDnsFailed];
        let mut known = known.iter().map(Reason::words);
        let told = known.find(|words| message.starts_with(&**words));
        is_told.then(|| told.map_or(message.into(), |words| (*words).into()))
    }

    /// Whether a pool has servers at work that will serve those who wait. One that is to be closed
    /// as soon as it is free serves nobody.
    fn has_lasting_server(&self, id: PoolId) -> bool {
        let pool = &self.pools[id];
        let lists = [&pool.idle, &pool.used, &pool.tested, &pool.active, &pool.being_canceled];
        let mut servers = lists.into_iter().flat_map(|list| list.iter(&self.servers));
        servers.any(|id| self.servers[id].closing.is_none())
    }
}
