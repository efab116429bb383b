//! Addresses of host names: what the resolver has found, with its time to live.
//!
//! Several addresses of one name are used in turn. The shell makes the lookups.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use crate::base::order;
use crate::base::time::Moment;

/// The most names that are kept; a configuration has few.
const MOST_NAMES: usize = 10_000;

/// What the resolver has found for one name.
#[derive(Debug, Default)]
pub struct KnownName {
    /// The last good answer; it stays in use while a newer one is fetched.
    pub addresses: Vec<IpAddr>,
    /// Why the last lookup failed, if it has.
    failure: Option<Box<str>>,
    /// When the name may be looked up again.
    pub expires: Moment,
    is_pending: bool,
    /// Which of the addresses to use next, counted on beyond the end of the list.
    next: usize,
}

/// The answer of the cache.
#[derive(Debug, PartialEq, Eq)]
pub enum AddressLookup {
    Address(IpAddr),
    Failed(Box<str>),
    /// The name is being looked up.
    Pending,
    /// The shell must ask the resolver.
    Ask,
}

/// All names that were looked up.
#[derive(Debug, Default)]
pub struct Dns {
    entries: HashMap<Box<str>, KnownName>,
}

impl Dns {
    /// The next address of `name`. After [`AddressLookup::Ask`] the name counts as being looked up.
    pub fn look_up(&mut self, name: &str, now: Moment) -> AddressLookup {
        if !self.entries.contains_key(name) && self.entries.len() >= MOST_NAMES {
            self.entries.retain(|_, entry| entry.is_pending || entry.expires > now);
        }
        let entry = self.entries.entry(name.into()).or_default();
        if entry.is_pending {
            return AddressLookup::Pending;
        }
        if now >= entry.expires {
            entry.is_pending = true;
            return AddressLookup::Ask;
        }
        if let Some(failure) = &entry.failure {
            return AddressLookup::Failed(failure.clone());
        }
        entry.next = entry.next.wrapping_add(1);
        match entry.addresses.get(entry.next % entry.addresses.len().max(1)) {
            Some(&address) => AddressLookup::Address(address),
            None => AddressLookup::Failed("no address".into()),
        }
    }

    /// Keeps an answer for `ttl`. Returns whether addresses that were in use are gone.
    pub fn answered(
        &mut self,
        name: &str,
        answer: Result<Vec<IpAddr>, String>,
        now: Moment,
        ttl: Duration,
    ) -> bool {
        let entry = self.entries.entry(name.into()).or_default();
        entry.is_pending = false;
        // The connections that wait for an answer must still find it.
        entry.expires = now + ttl.max(Duration::from_millis(100));
        match answer {
            Ok(addresses) if !addresses.is_empty() => {
                let gone = entry.addresses.iter().any(|old| !addresses.contains(old));
                entry.addresses = addresses;
                entry.failure = None;
                gone
            }
            Ok(_) => {
                entry.failure = Some("no address".into());
                false
            }
            Err(error) => {
                entry.failure = Some(error.into());
                false
            }
        }
    }

    /// Whether `address` belongs to `name`; true while the addresses are unknown.
    pub fn has(&self, name: &str, address: IpAddr) -> bool {
        self.entries
            .get(name)
            .is_none_or(|entry| entry.addresses.is_empty() || entry.addresses.contains(&address))
    }

    /// Names, in alphabetical order, for SHOW DNS_HOSTS.
    pub fn iter(&self) -> Vec<(&str, &KnownName)> {
        let list: Vec<_> = self.entries.iter().map(|(name, e)| (&**name, e)).collect();
        order::sorted(&list, |(a, _), (b, _)| a.cmp(b))
    }

    /// The number of names that are being looked up.
    pub fn pending(&self) -> usize {
        self.entries.values().filter(|entry| entry.is_pending).count()
    }

    /// Whether the caller must look up the name again, since its answer has expired. It is called
    /// for names that pools at work use, so that a changed address is noticed while connections
    /// last.
    pub fn refresh(&mut self, name: &str, now: Moment) -> bool {
        match self.entries.get_mut(name) {
            Some(entry) if !entry.is_pending && now >= entry.expires => {
                entry.is_pending = true;
                true
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn addresses_are_used_in_turn_until_they_expire() {
        let mut dns = Dns::default();
        let (start, ttl) = (Moment(1_000_000), Duration::from_secs(15));
        assert_eq!(dns.look_up("db", start), AddressLookup::Ask);
        assert_eq!(dns.look_up("db", start), AddressLookup::Pending);
        assert!(!dns.answered("db", Ok(vec![ip(1), ip(2)]), start, ttl));
        let AddressLookup::Address(first) = dns.look_up("db", start) else { panic!() };
        let AddressLookup::Address(second) = dns.look_up("db", start) else { panic!() };
        assert_ne!(first, second);
        assert_eq!(dns.look_up("db", start + ttl), AddressLookup::Ask);
        assert!(dns.answered("db", Ok(vec![ip(2), ip(3)]), start + ttl, ttl));
        assert!(!dns.has("db", ip(1)));
        assert!(dns.has("db", ip(3)));
    }

    #[test]
    fn a_failure_is_kept_and_the_last_good_answer_too() {
        let mut dns = Dns::default();
        let (start, ttl) = (Moment(1_000_000), Duration::from_secs(1));
        dns.look_up("db", start);
        dns.answered("db", Ok(vec![ip(1)]), start, ttl);
        dns.look_up("db", start + ttl);
        dns.answered("db", Err("down".into()), start + ttl, ttl);
        assert_eq!(dns.look_up("db", start + ttl), AddressLookup::Failed("down".into()));
        assert!(dns.has("db", ip(1)));
    }
}
