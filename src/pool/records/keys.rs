//! Which client a cancel key belongs to.
//!
//! A client is found by half of its key, and its record tells whether the other half is right: that
//! takes half the room, and clients that are idle are counted in bytes.

use std::collections::HashMap;

/// The slots of clients by the lower half of their keys.
#[derive(Default)]
pub struct Keys(HashMap<u32, u32>);

impl Keys {
    /// The slot of the client that a key may belong to.
    pub fn slot(&self, key: u64) -> Option<usize> {
        self.0.get(&half(key)).map(|&slot| slot as usize)
    }

    /// Enters a key, unless a client has one like it.
    pub fn enter(&mut self, key: u64, slot: usize) -> bool {
        let is_free = key != 0 && self.slot(key).is_none();
        if is_free {
            self.0.insert(half(key), slot as u32);
        }
        is_free
    }

    /// Takes out a key that was entered.
    pub fn remove(&mut self, key: u64) {
        self.0.remove(&half(key));
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
