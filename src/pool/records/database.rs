//! A database of the configuration, or one that the `*` line has made for a name that came.

use super::site::{SiteId, Sites};
use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::time::Moment;
use crate::config::{DatabaseLine, LoadBalanceHosts};
use crate::pool::ids::{DatabaseKind, PoolId, UserId};
use crate::pool::telling::latency::LatencyPlace;

pub struct Database {
    pub line: DatabaseLine,
    /// Made from the `*` line; forgotten after autodb_idle_timeout.
    pub is_auto: bool,
    /// One of its servers has let somebody in. Until then a name that anybody may have made up is
    /// not worth to be kept.
    pub is_reached: bool,
    /// By PAUSE; clients wait.
    pub is_paused: bool,
    /// By DISABLE; clients are refused.
    pub is_disabled: bool,
    /// The configuration names it no more; it goes with its last connection.
    pub is_removed: bool,
    /// The user of its line, under whom all clients share a pool.
    pub forced_user: Option<UserId>,
    /// The password of its line.
    pub forced_secret: Option<Secret>,
    /// Where its servers are: the hosts of its line, or the socket directory.
    pub sites: Vec<SiteId>,
    /// In no order.
    pub pools: Vec<PoolId>,
    /// Sessions at servers, of all its pools.
    pub servers: u32,
    /// Logged-in clients, of all its pools.
    pub clients: u32,
    /// Where using `sites` in turn stands.
    pub next_site: usize,
    /// When the number of its clients or servers changed last.
    pub idle_since: Moment,
    /// When one of its limits was met and noted last.
    pub limit_noted: Option<Moment>,
    /// Where its times are counted; `None` before its first pool.
    pub(in crate::pool) latency: Option<LatencyPlace>,
}

/// The places that a line names; `socket_dir` is where servers are looked for when it names none.
pub fn sites_of(line: &DatabaseLine, socket_dir: &str, sites: &mut Sites) -> Vec<SiteId> {
    let targets = line.targets(socket_dir);
    targets.iter().map(|(host, port)| sites.ensure(host, *port)).collect()
}

impl Record for Database {
    type Kind = DatabaseKind;
}

impl Database {
    pub fn new(line: DatabaseLine, sites: Vec<SiteId>, now: Moment) -> Database {
        Database {
            line,
            is_auto: false,
            is_reached: false,
            is_paused: false,
            is_disabled: false,
            is_removed: false,
            forced_user: None,
            forced_secret: None,
            sites,
            pools: Vec::new(),
            servers: 0,
            clients: 0,
            next_site: 0,
            idle_since: now,
            limit_noted: None,
            latency: None,
        }
    }

    /// Takes the site at `place` for the next connection, and moves on by load_balance_hosts.
    pub fn take_site(&mut self, place: usize) -> SiteId {
        self.next_site = match self.line.load_balance_hosts {
            Some(LoadBalanceHosts::Disable) => place,
            Some(LoadBalanceHosts::RoundRobin) | None => place + 1,
        };
        self.sites[place]
    }

    /// Where its times are counted, if it has had a pool.
    pub fn latency(&self) -> Option<LatencyPlace> {
        self.latency
    }

    /// The name on the server.
    pub fn remote_name(&self) -> &str {
        self.line.dbname.as_deref().unwrap_or(&self.line.name)
    }
}
