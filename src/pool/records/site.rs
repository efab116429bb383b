//! A site: one host and port where servers listen. All databases whose lines name it share it. So
//! an outage is noticed once for all pools, and a host that comes back is not flooded by every pool
//! at once.

use std::ops::{Index, IndexMut};

use super::retry::Retry;
use crate::config::Host;

/// The id of a site, valid as long as the process lives. Sites are never removed: there are only as
/// many as configurations have named.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SiteId(u32);

#[derive(Debug)]
pub struct Site {
    pub host: Host,
    pub port: u16,
    pub health: Health,
    /// Logins under way, of all pools.
    pub logins: u32,
    /// Server connections of all pools, including those in login.
    pub servers: u32,
}

/// What the last logins have shown of a site.
#[derive(Debug, Default)]
pub enum Health {
    #[default]
    Well,
    /// A login under way has had no answer for a while.
    Slow,
    /// The site could not be reached, or does not speak PostgreSQL's protocol.
    Failing {
        retry: Retry,
        /// The error of the last attempt.
        error: Box<str>,
    },
}

impl Site {
    /// Whether logins to the site are likely to fail.
    pub fn is_doubtful(&self) -> bool {
        match self.health {
            Health::Well => false,
            Health::Slow | Health::Failing { .. } => true,
        }
    }

    /// Counts a login that begins or ends. When none is left, no login is slow.
    pub fn count_login(&mut self, begins: bool) {
        match begins {
            true => self.logins += 1,
            false => self.logins -= 1,
        }
        if self.logins == 0 && matches!(self.health, Health::Slow) {
            self.health = Health::Well;
        }
    }

    /// The failures in a row.
    pub fn retry(&self) -> Option<Retry> {
        match self.health {
            Health::Failing { retry, .. } => Some(retry),
            Health::Slow | Health::Well => None,
        }
    }
}

/// All sites, in the order in which they were first named.
#[derive(Debug, Default)]
pub struct Sites(Vec<Site>);

impl Sites {
    /// The site of that host and port; a new one if there is none.
    pub fn ensure(&mut self, host: &Host, port: u16) -> SiteId {
        let found = self.0.iter().position(|site| site.host == *host && site.port == port);
        let place = found.unwrap_or_else(|| {
            let (host, health) = (host.clone(), Health::Well);
            self.0.push(Site { host, port, health, logins: 0, servers: 0 });
            self.0.len() - 1
        });
        SiteId(place as u32)
    }

    /// Names and addresses of hosts that have server connections at present.
    pub fn hosts_at_work(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|site| site.servers > 0).filter_map(|site| match &site.host {
            Host::Tcp(name) => Some(name.as_str()),
            Host::Unix(_) => None,
        })
    }
}

impl Index<SiteId> for Sites {
    type Output = Site;
    fn index(&self, id: SiteId) -> &Site {
        &self.0[id.0 as usize]
    }
}

impl IndexMut<SiteId> for Sites {
    fn index_mut(&mut self, id: SiteId) -> &mut Site {
        &mut self.0[id.0 as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_that_name_one_place_share_its_site() {
        let mut sites = Sites::default();
        let tcp = |name: &str| Host::Tcp(name.to_owned());
        let first = sites.ensure(&tcp("a"), 5432);
        assert_ne!(sites.ensure(&tcp("a"), 5433), first);
        assert_ne!(sites.ensure(&tcp("b"), 5432), first);
        assert_ne!(sites.ensure(&Host::Unix("a".to_owned()), 5432), first);
        assert_eq!(sites.ensure(&tcp("a"), 5432), first);
        sites[first].servers = 1;
        assert_eq!(sites.hosts_at_work().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn a_site_is_slow_no_longer_than_its_logins() {
        let mut sites = Sites::default();
        let id = sites.ensure(&Host::Tcp("a".to_owned()), 5432);
        sites[id].count_login(true);
        sites[id].health = Health::Slow;
        assert!(sites[id].is_doubtful());
        sites[id].count_login(false);
        assert!(!sites[id].is_doubtful());
    }
}
