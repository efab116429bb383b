//! Keys that are being derived, and the logins that wait for them.
//!
//! Logins that need the same keys share the work. A later login does not wait for earlier ones:
//! each piece of work gets a slice in turn, so a very large number of iterations delays no other
//! login.

use std::collections::VecDeque;

use crate::auth::cache::{KeyName, Work};
use crate::crypto::scram::ScramKeys;
use crate::pool::ids::{ClientId, ServerId};

/// The work for logins of clients, and the work for logins to servers. They have separate queues,
/// so that strangers' guesses cannot keep servers from being opened.
#[derive(Debug, Default)]
pub struct Derivations {
    pub clients: DerivationQueue<ClientId>,
    pub servers: DerivationQueue<ServerId>,
}

impl Derivations {
    /// How many pieces of work there are.
    #[inline(always)]
    pub fn len(&self) -> usize {
        self.clients.0.len() + self.servers.0.len()
    }
}

/// Pieces of work in the order of their next slices, no more than there are logins.
#[derive(Debug)]
pub struct DerivationQueue<Id>(VecDeque<Piece<Id>>);

#[derive(Debug)]
struct Piece<Id> {
    work: Work,
    waiting: Vec<Id>,
}

/// Derived keys, and the logins that wait for them.
pub struct DerivedKeys<Id> {
    pub name: KeyName,
    pub keys: ScramKeys,
    pub waiting: Vec<Id>,
}

impl<Id> Default for DerivationQueue<Id> {
    fn default() -> DerivationQueue<Id> {
        DerivationQueue(VecDeque::new())
    }
}

impl<Id: Copy> DerivationQueue<Id> {
    /// Adds work, or a login that waits for work of the same name.
    pub fn add(&mut self, work: Work, id: Id) {
        match self.0.iter_mut().find(|piece| piece.work.name == work.name) {
            Some(piece) => piece.waiting.push(id),
            None => self.0.push_back(Piece { work, waiting: vec![id] }),
        }
    }

    /// Does a slice of the first piece of work, unless no login waits for that work any more.
    pub fn advance(
        &mut self,
        iterations: u32,
        waits: impl Fn(Id) -> bool,
    ) -> Option<DerivedKeys<Id>> {
        let mut piece = self.0.pop_front()?;
        if !piece.waiting.iter().any(|id| waits(*id)) {
            return None;
        }
        let derivation = &mut piece.work.derivation;
        derivation.advance(iterations);
        match derivation.keys() {
            Some(keys) => Some(DerivedKeys { name: piece.work.name, keys, waiting: piece.waiting }),
            None => {
                self.0.push_back(piece);
                None
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::cache::{CachedKeys, ScramCache};
    use crate::base::rng::SeededRng;

    fn work(cache: &mut ScramCache, password: &[u8], iterations: u32) -> Work {
        match cache.keys(password, b"salt", iterations) {
            CachedKeys::Wanted(work) => work,
            CachedKeys::Known(_) => panic!("nothing is kept"),
        }
    }

    #[test]
    fn long_work_holds_up_no_short_one_and_equal_work_is_done_once() {
        let mut cache = ScramCache::new(&mut SeededRng::new(1));
        let mut queue = DerivationQueue::default();
        for number in 0..10 {
            queue.add(work(&mut cache, b"long", 1_000_000 + number), number);
        }
        queue.add(work(&mut cache, b"short", 20), 98);
        queue.add(work(&mut cache, b"short", 20), 99);
        let done = (0..22).find_map(|_| queue.advance(10, |_| true)).expect("two rounds");
        assert_eq!(done.waiting, [98, 99]);
        assert_eq!(done.keys, ScramKeys::derive(b"short", b"salt", 20));
    }

    #[test]
    fn work_that_nobody_waits_for_is_dropped() {
        let mut cache = ScramCache::new(&mut SeededRng::new(1));
        let mut queue = DerivationQueue::default();
        queue.add(work(&mut cache, b"a", 1_000_000), 1);
        queue.add(work(&mut cache, b"b", 1_000_000), 2);
        assert!(queue.advance(1, |id| id == 2).is_none());
        assert_eq!(queue.0.len(), 1);
        assert!(queue.advance(1, |_| false).is_none());
        assert!(queue.0.is_empty());
    }
}
