//! Whether hosts answer and let users in: what is remembered of failed logins, and who is told.

use super::plan::Planner;
use crate::base::time::Moment;
use crate::pool::core::Core;
use crate::pool::ids::{PoolId, ServerId};
use crate::pool::records::pool::LoginRefusal;
use crate::pool::records::retry::Retry;
use crate::pool::records::site::{Health, SiteId};
use crate::pool::telling::reason::Reason;

impl Core {
    /// A login has shown a site to be well, slow or unreachable. Pools that count on logins at a
    /// host that is not well may try another now.
    pub(in crate::pool) fn change_health(&mut self, site: SiteId, health: Health) {
        let was_doubtful = self.sites[site].is_doubtful();
        self.sites[site].health = health;
        if self.sites[site].is_doubtful() == was_doubtful {
            return;
        }
        for id in self.servers.ids() {
            if self.servers[id].login().is_some() {
                self.look_later(self.servers[id].pool);
            }
        }
        self.has_place = true;
    }

    /// Remembers that the host is well but does not let this user in, or not as the line wants.
    pub(in crate::pool) fn note_refusal(&mut self, id: ServerId, text: &str) {
        let before = self.pools[self.servers[id].pool].refusal.as_ref().map(|r| r.retry);
        let retry = Retry::after(before, self.now.mono, &mut *self.rng);
        self.note_refusal_until(id, text, retry);
    }

    /// Remembers a refusal that will last: a wrong password does not get right by itself, and a
    /// server that counts failed logins would lock the user out.
    pub(in crate::pool) fn note_lasting_refusal(&mut self, id: ServerId, text: &str) {
        let retry = Retry::lasting(self.now.mono, &mut *self.rng);
        self.note_refusal_until(id, text, retry);
    }

    fn note_refusal_until(&mut self, id: ServerId, text: &str, retry: Retry) {
        let (site, pool) = (self.servers[id].site, self.servers[id].pool);
        self.change_health(site, Health::Well);
        // A replication client has been told, and says nothing of the others.
        if !self.servers[id].is_private {
            self.pools[pool].refusal = Some(LoginRefusal { message: text.into(), retry });
        }
    }

    /// Remembers that a host cannot be reached, and when it is tried again.
    pub(in crate::pool) fn note_unreachable(&mut self, id: ServerId, text: &str) {
        let site = self.servers[id].site;
        // Logins that were under way together fail together, which is one failure.
        if self.planner().is_left_alone(&self.sites[site]) {
            return;
        }
        let retry = Retry::after(self.sites[site].retry(), self.now.mono, &mut *self.rng);
        self.change_health(site, Health::Failing { retry, error: text.into() });
    }

    /// Why a pool can have no server, and when the next login is tried.
    pub fn failure(&self, id: PoolId) -> Option<(&str, Moment)> {
        self.planner().failure(id)
    }
}

impl<'a> Planner<'a> {
    /// Why a pool can have no server, and when the next login is tried: the server refuses its
    /// user, or no host can be reached.
    pub fn failure(&self, id: PoolId) -> Option<(&'a str, Moment)> {
        let (pool, longest) = (&self.pools[id], self.settings.server_login_retry);
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
    pub fn failure_to_tell(&self, id: PoolId) -> Option<Box<str>> {
        if !self.pools[id].logging_in.is_empty() {
            return None;
        }
        let (message, retry_at) = self.failure(id)?;
        let is_told = self.now < retry_at && !self.has_lasting_server(id);
        // Where a host is stands in the log, and in the DETAIL for who has logged in.
        let known = [Reason::ServerConnectFailed, Reason::ServerDnsFailed];
        let mut known = known.iter().map(Reason::words);
        let told = known.find(|words| message.starts_with(&**words));
        is_told.then(|| told.map_or(message.into(), |words| (*words).into()))
    }

    /// Whether a pool has servers at work that will serve those who wait. One that is to be closed
    /// as soon as it is free serves nobody.
    pub fn has_lasting_server(&self, id: PoolId) -> bool {
        let pool = &self.pools[id];
        let lists = [&pool.idle, &pool.used, &pool.tested, &pool.active, &pool.being_canceled];
        let mut servers = lists.into_iter().flat_map(|list| list.iter(self.servers));
        servers.any(|id| self.servers[id].closing.is_none())
    }
}
