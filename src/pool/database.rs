//! A database of the configuration, or one that the `*` line has made for a name that came.

use super::ids::{DatabaseKind, UserId};
use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::time::Moment;
use crate::config::{DatabaseLine, Host};

pub struct Database {
    pub line: DatabaseLine,
    /// Made from the `*` line; forgotten after autodb_idle_timeout.
    pub is_auto: bool,
    /// It stands for another process, to which cancel requests are passed on.
    pub peer: Option<u16>,
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
    pub sites: Vec<Site>,
    /// Sessions at servers, of all its pools.
    pub servers: u32,
    /// Logged-in clients, of all its pools.
    pub clients: u32,
    /// One for each of `sites`.
    pub hosts: Vec<HostState>,
    /// Where round-robin over the hosts stands.
    pub next_host: usize,
    pub idle_since: Moment,
    /// When one of its limits was met and noted last.
    pub limit_noted: Option<Moment>,
}

/// Where a server listens.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Site {
    pub host: Host,
    pub port: u16,
}

/// The places that a line names.
pub fn sites(line: &DatabaseLine, socket_dir: &str) -> Vec<Site> {
    let hosts = line.host.or_socket_in(socket_dir).into_iter().enumerate();
    hosts.map(|(at, host)| Site { host, port: line.port.of(at) }).collect()
}

/// What is known of the reachability of one host.
#[derive(Debug, Default, Clone)]
pub struct HostState {
    /// Failures in a row.
    pub failures: u32,
    /// Not before then is it tried again.
    pub retry_at: Moment,
}

impl Record for Database {
    type Kind = DatabaseKind;
}

impl Database {
    /// `socket_dir` is where servers are looked for when the line names no host.
    pub fn new(line: DatabaseLine, socket_dir: &str, now: Moment) -> Database {
        let sites = sites(&line, socket_dir);
        let hosts = vec![HostState::default(); sites.len()];
        Database {
            line,
            is_auto: false,
            peer: None,
            is_paused: false,
            is_disabled: false,
            is_removed: false,
            forced_user: None,
            forced_secret: None,
            sites,
            servers: 0,
            clients: 0,
            hosts,
            next_host: 0,
            idle_since: now,
            limit_noted: None,
        }
    }

    /// The name on the server.
    pub fn remote_name(&self) -> &str {
        self.line.dbname.as_deref().unwrap_or(&self.line.name)
    }
}
