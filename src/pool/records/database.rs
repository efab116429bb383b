//! A database of the configuration, or one that the `*` line has made for a client.

use super::site::{SiteId, Sites};
use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::list::{Linked, Links};
use crate::base::time::Moment;
use crate::config::{DatabaseLine, LoadBalanceHosts};
use crate::pool::ids::{DatabaseKind, PoolId, UserId};
use crate::pool::telling::latency::LatencyPlace;

pub struct Database {
    pub line: DatabaseLine,
    /// Made from the `*` line; forgotten after autodb_idle_timeout.
    pub is_auto: bool,
    /// Whether one of its servers has accepted a login. Before that a client may have made up the
    /// name, and the database is not kept.
    pub is_reached: bool,
    /// Paused by PAUSE: clients wait.
    pub is_paused: bool,
    /// Disabled by DISABLE: clients are refused.
    pub is_disabled: bool,
    /// Removed from the configuration: the record goes with its last connection.
    pub is_removed: bool,
    /// The `user` of its line, whose pool all clients share.
    pub forced_user: Option<UserId>,
    /// The `password` of its line.
    pub forced_secret: Option<Secret>,
    /// The places of its servers: the hosts of its line, or the socket directory.
    pub sites: Vec<SiteId>,
    /// The pools of the database, in no order.
    pub pools: Vec<PoolId>,
    /// Server connections of all its pools, including those in login.
    pub servers: u32,
    /// Logged-in clients of all its pools.
    pub clients: u32,
    /// The next of `sites` to use.
    pub next_site: usize,
    /// When the number of its clients or servers last changed.
    pub idle_since: Moment,
    /// When it was last noted that a limit was reached.
    pub limit_noted: Option<Moment>,
    /// The place of its histograms; `None` before its first pool.
    pub(in crate::pool) latency: Option<LatencyPlace>,
    /// Its place among those that may be forgotten (`Transients`), if it may be.
    links: Links<DatabaseKind>,
}

/// The sites that a line names. Without a host they are in `socket_dir`.
pub fn sites_of(line: &DatabaseLine, socket_dir: &str, sites: &mut Sites) -> Vec<SiteId> {
    let targets = line.targets(socket_dir);
    targets.iter().map(|(host, port)| sites.ensure(host, *port)).collect()
}

impl Record for Database {
    type Kind = DatabaseKind;
}

impl Linked for Database {
    fn links(&self) -> &Links<DatabaseKind> {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links<DatabaseKind> {
        &mut self.links
    }
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
            links: Links::default(),
        }
    }

    /// Takes the site at `place` for the next connection, and moves on as load_balance_hosts says.
    pub fn take_site(&mut self, place: usize) -> SiteId {
        self.next_site = match self.line.load_balance_hosts {
            Some(LoadBalanceHosts::Disable) => place,
            Some(LoadBalanceHosts::RoundRobin) | None => place + 1,
        };
        self.sites[place]
    }

    /// The place of its histograms, if it has had a pool.
    pub fn latency(&self) -> Option<LatencyPlace> {
        self.latency
    }

    /// Whether it may be forgotten.
    pub fn is_transient(&self) -> bool {
        self.is_auto || self.is_removed
    }

    /// The name of the database on its servers.
    pub fn remote_name(&self) -> &str {
        self.line.dbname.as_deref().unwrap_or(&self.line.name)
    }
}
