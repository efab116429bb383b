//! The origins of connections that have not logged in, for the choice of one to close when there
//! are too many.

use std::collections::HashMap;

use crate::log::PeerAddress;

/// An origin: an address, or with IPv6 the network of one customer.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum StrangerOrigin {
    /// A Unix socket.
    Local,
    V4(u32),
    /// The first 64 bits of the address.
    V6(u64),
}

impl StrangerOrigin {
    pub fn of(peer: PeerAddress) -> StrangerOrigin {
        match peer {
            PeerAddress::Tcp { ip: std::net::IpAddr::V4(ip), .. } => {
                StrangerOrigin::V4(ip.to_bits())
            }
            PeerAddress::Tcp { ip: std::net::IpAddr::V6(ip), .. } => {
                StrangerOrigin::V6((ip.to_bits() >> 64) as u64)
            }
            PeerAddress::Unix { .. } => StrangerOrigin::Local,
        }
    }
}

/// The number of connections without a login, by origin.
#[derive(Debug, Default)]
pub struct Strangers {
    of_origin: HashMap<StrangerOrigin, u32>,
    all: u32,
}

impl Strangers {
    pub fn count(&mut self, origin: StrangerOrigin, comes: bool) {
        let count = self.of_origin.entry(origin).or_default();
        if comes {
            *count += 1;
            self.all += 1;
            return;
        }
        *count -= 1;
        self.all -= 1;
        if *count == 0 {
            self.of_origin.remove(&origin);
        }
    }

    /// Whether an origin has at least its even share. Connections of an origin with few are not
    /// closed in favour of an origin with many.
    pub fn has_its_share(&self, origin: StrangerOrigin) -> bool {
        let count = self.of_origin.get(&origin).copied().unwrap_or_default() as usize;
        count * self.of_origin.len() >= self.all as usize
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(text: &str) -> StrangerOrigin {
        StrangerOrigin::of(PeerAddress::Tcp { ip: text.parse().expect("an address"), port: 1 })
    }

    #[test]
    fn neighbours_of_one_network_of_ipv6_are_one_origin() {
        assert_eq!(origin("2001:db8::1"), origin("2001:db8::ffff:1"));
        assert_ne!(origin("2001:db8:0:1::1"), origin("2001:db8::1"));
        assert_ne!(origin("10.0.0.1"), origin("10.0.0.2"));
    }

    #[test]
    fn some_origin_always_has_its_share_and_few_among_many_have_not() {
        let mut strangers = Strangers::default();
        let (many, few) = (origin("10.0.0.1"), origin("10.0.0.2"));
        strangers.count(few, true);
        assert!(strangers.has_its_share(few));
        (0..9).for_each(|_| strangers.count(many, true));
        assert!(strangers.has_its_share(many) && !strangers.has_its_share(few));
        (0..9).for_each(|_| strangers.count(many, false));
        assert!(strangers.has_its_share(few));
        strangers.count(few, false);
        assert!(strangers.of_origin.is_empty());
    }
}
