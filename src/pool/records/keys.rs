//! Which client a cancel key belongs to.
//!
//! A client is found by half of its key, and its record tells whether the other half is right: that
//! takes half the room, and clients that are idle are counted in bytes.

use std::collections::HashMap;

use crate::base::rng::Rng;
use crate::crypto::key::{KEY_LEN, Key};
use crate::crypto::scram;

/// What a long key has behind its first eight bytes: with the four of them that are secret, as many
/// as PostgreSQL's secrets have.
pub const TAIL: usize = 28;

/// The slots of clients by the lower half of their keys.
#[derive(Default)]
pub struct Keys {
    slots: HashMap<u32, u32>,
    /// What the tails of long keys are made with. It is drawn for the first one.
    secret: Option<Key>,
}

impl Keys {
    /// Long keys may be made from now on.
    pub fn draw_secret(&mut self, rng: &mut dyn Rng) {
        self.secret.get_or_insert_with(|| {
            let mut bytes = [0; KEY_LEN];
            rng.fill(&mut bytes);
            Key::new(bytes)
        });
    }

    /// What follows these eight bytes in the long key of the connection with this number.
    pub fn tail(&self, key: u64, number: u64) -> Option<[u8; TAIL]> {
        let parts = [&key.to_be_bytes()[..], &number.to_be_bytes()];
        let digest = scram::hmac(self.secret.as_ref()?.as_bytes(), &parts);
        digest.as_bytes().first_chunk().copied()
    }

    /// The slot of the client that a key may belong to.
    pub fn slot(&self, key: u64) -> Option<usize> {
        self.slots.get(&half(key)).map(|&slot| slot as usize)
    }

    /// Enters a key, unless a client has one like it.
    pub fn enter(&mut self, key: u64, slot: usize) -> bool {
        let is_free = key != 0 && self.slot(key).is_none();
        if is_free {
            self.slots.insert(half(key), slot as u32);
        }
        is_free
    }

    /// Takes out a key that was entered.
    pub fn remove(&mut self, key: u64) {
        self.slots.remove(&half(key));
    }
}

fn half(key: u64) -> u32 {
    key as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_clients_have_keys_with_one_lower_half() {
        let mut keys = Keys::default();
        assert!(keys.enter(0x0000_0001_0000_0005, 3));
        assert!(!keys.enter(0x0000_0002_0000_0005, 4) && !keys.enter(0, 4));
        assert_eq!(
            keys.slot(0x0000_0002_0000_0005),
            Some(3),
            "the record tells that it is not its"
        );
        keys.remove(0x0000_0001_0000_0005);
        assert_eq!(keys.slot(0x0000_0001_0000_0005), None);
    }
}
