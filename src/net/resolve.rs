//! Resolves names to addresses by the system's own resolver, on helper threads: `getaddrinfo` may
//! take many seconds, and the loop must not wait for it.
//!
//! Few threads run at a time, and further names wait here. A name is never looked up twice at the
//! same time. The caller decides how long an answer is valid.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, ToSocketAddrs};

use super::jobs::{Jobs, Wake};
use crate::log::plain;

/// Lookups that run at once. More than one, so that a name server that is silent about one name
/// holds up no other.
const RUNNING_MAX: usize = 4;

/// Names that may wait for a thread.
const WAITING_MAX: usize = 1024;

/// The stack of a helper thread: room for the C library's resolver and its modules.
pub(super) const STACK_BYTES: usize = 512 * 1024;

/// Addresses in the resolver's order, or the resolver's words for why there are none.
type Addresses = Result<Vec<IpAddr>, String>;

/// A name, and what was found for it.
pub type ResolvedName = (String, Addresses);

/// Looks names up without blocking.
pub struct Resolver {
    jobs: Jobs<String, Vec<IpAddr>>,
    /// Names that no thread has taken, oldest first.
    waiting: VecDeque<String>,
}

impl Resolver {
    /// `wake` is called on a helper thread whenever an answer is there to be fetched.
    pub fn new(wake: Wake) -> Resolver {
        Resolver { jobs: Jobs::new("resolver", STACK_BYTES, wake), waiting: VecDeque::new() }
    }

    /// Asks for a name, unless it is asked for already. The answer comes by [`Self::answers`];
    /// false when too many names wait: then there will be no answer.
    pub fn lookup(&mut self, name: String) -> bool {
        if self.jobs.keys().any(|asked| *asked == name) || self.waiting.contains(&name) {
            return true;
        }
        if self.waiting.len() == WAITING_MAX {
            return false;
        }
        self.waiting.push_back(name);
        self.hand_out();
        true
    }

    /// The answers that came since the last call.
    pub fn answers(&mut self) -> impl Iterator<Item = ResolvedName> + '_ {
        std::iter::from_fn(|| {
            let answer = self.jobs.next_done()?;
            self.hand_out();
            Some(answer)
        })
    }

    /// Gives waiting names to new threads, as far as their number allows.
    fn hand_out(&mut self) {
        while self.jobs.running() < RUNNING_MAX {
            let Some(name) = self.waiting.pop_front() else { return };
            let asked = name.clone();
            self.jobs.start(name, move || addresses(&asked));
        }
    }
}

/// The system's words for a name that was not found, without the prefix that std puts before them.
pub(super) fn words(error: &io::Error) -> String {
    let words = plain(error);
    match words.strip_prefix("failed to lookup address information: ") {
        Some(rest) => rest.to_owned(),
        None => words,
    }
}

/// Asks the system; blocks.
fn addresses(name: &str) -> Addresses {
    match (name, 0).to_socket_addrs() {
        Ok(found) => Ok(found.map(|address| address.ip()).collect()),
        Err(error) => own_addresses(name).map(Vec::from).ok_or_else(|| words(&error)),
    }
}

/// The addresses of `localhost` and names below it (RFC 6761, section 6.3): known also where no
/// file and no name server tells them, as in small containers.
pub(super) fn own_addresses(name: &str) -> Option<[IpAddr; 2]> {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let is_own = name == "localhost" || name.ends_with(".localhost");
    is_own.then_some([IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)])
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{self, Receiver};
    use std::time::{Duration, Instant};

    use super::*;

    /// Collects answers until `count` are there or too much time has passed.
    fn wait_for(resolver: &mut Resolver, wakes: &Receiver<()>, count: usize) -> Vec<ResolvedName> {
        let deadline = Instant::now() + Duration::from_secs(60);
        let mut found = Vec::new();
        while found.len() < count && Instant::now() < deadline {
            let _ = wakes.recv_timeout(Duration::from_secs(1));
            found.extend(resolver.answers());
        }
        found
    }

    fn resolver() -> (Resolver, Receiver<()>) {
        let (sender, wakes) = mpsc::channel();
        (Resolver::new(Wake::new(move || sender.send(()).unwrap_or(()))), wakes)
    }

    #[test]
    fn the_machine_itself_is_known_without_anybody_saying_so() {
        for name in ["localhost", "LocalHost.", "db.localhost"] {
            assert_eq!(own_addresses(name).map(|found| found.len()), Some(2), "{name}");
        }
        for name in ["localhost.example", "notlocalhost", ""] {
            assert_eq!(own_addresses(name), None, "{name}");
        }
    }

    #[test]
    fn a_name_gives_its_addresses_and_a_wake() {
        let (mut resolver, wakes) = resolver();
        assert!(resolver.lookup("localhost".to_owned()));
        let found = wait_for(&mut resolver, &wakes, 1);
        let (name, addresses) = &found[0];
        assert_eq!(name, "localhost");
        assert!(addresses.as_ref().expect("addresses").iter().all(IpAddr::is_loopback));
    }

    #[test]
    fn a_name_that_cannot_be_is_answered_in_the_resolvers_words() {
        let (mut resolver, wakes) = resolver();
        assert!(resolver.lookup("no such host".to_owned()));
        let found = wait_for(&mut resolver, &wakes, 1);
        let words = found[0].1.as_ref().expect_err("no addresses");
        assert!(!words.is_empty() && !words.contains("os error"), "{words}");
        assert!(!words.starts_with("failed to lookup"), "{words}");
    }

    #[test]
    fn a_name_asked_twice_is_answered_once_and_may_be_asked_again_later() {
        let (mut resolver, wakes) = resolver();
        for _ in 0..10 {
            assert!(resolver.lookup("127.0.0.1".to_owned()));
        }
        assert_eq!(wait_for(&mut resolver, &wakes, 1).len(), 1);
        assert_eq!(resolver.answers().count(), 0);
        resolver.lookup("127.0.0.1".to_owned());
        assert_eq!(wait_for(&mut resolver, &wakes, 1).len(), 1);
    }

    #[test]
    fn many_names_wait_their_turn_and_too_many_are_refused() {
        let (mut resolver, wakes) = resolver();
        let most = RUNNING_MAX + WAITING_MAX;
        let mut taken = 0;
        while taken < most && resolver.lookup(format!("127.1.{}.{}", taken / 256, taken % 256)) {
            taken += 1;
            assert!(resolver.jobs.running() <= RUNNING_MAX);
        }
        assert_eq!(taken, most, "answers not fetched leave their threads' places taken");
        assert!(!resolver.lookup("one.too.many".to_owned()));
        assert_eq!(wait_for(&mut resolver, &wakes, most).len(), most);
        assert!(resolver.jobs.running() == 0 && resolver.waiting.is_empty());
    }
}
