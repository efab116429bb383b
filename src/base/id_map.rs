//! A table keyed by ids of an arena, which may be looked into for each message.
//!
//! The arena gives the ids, and peers cannot name one, so a hash of a few instructions is enough. A
//! peer that has records made and dropped may still bring about ids that collide, so such a table
//! is for a bounded number of ids.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use super::arena::Id;

pub type IdMap<K, V> = HashMap<Id<K>, V, BuildHasherDefault<IdHasher>>;

/// Spreads the bits of an id over a word.
#[derive(Default)]
pub struct IdHasher(u64);

/// The fractional part of the golden ratio, in 64 bits.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

impl Hasher for IdHasher {
    /// An id comes by [`Hasher::write_u64`]; for other keys this is right, but slow.
    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|&byte| self.write_u64(byte.into()));
    }

    #[inline(always)]
    fn write_u64(&mut self, bits: u64) {
        // Both halves of the product: a table takes the place from the low bits, and compares the
        // high ones first.
        let wide = u128::from(self.0 ^ bits) * u128::from(SPREAD);
        self.0 = (wide >> 64) as u64 ^ wide as u64;
    }

    #[inline(always)]
    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Indexes that follow one another, and generations of one slot, as an arena gives them.
    #[test]
    fn ids_of_one_arena_are_spread_over_the_places_of_a_table() {
        let hash = |bits: u64| {
            let mut hasher = IdHasher::default();
            hasher.write_u64(bits);
            hasher.finish()
        };
        for shift in [0, 32] {
            let hashes: Vec<u64> = (1..=1024).map(|n: u64| hash(n << shift | 1 << 20)).collect();
            let places: HashSet<u64> = hashes.iter().map(|hash| hash % 2048).collect();
            let tags: HashSet<u64> = hashes.iter().map(|hash| hash >> 57).collect();
            assert!(places.len() > 600, "{} places", places.len());
            assert_eq!(tags.len(), 128);
        }
    }

    #[test]
    fn it_is_a_map() {
        let ids: Vec<Id<()>> = (1..500).map(|n| Id::from_bits(n << 32 | 1)).collect();
        let map: IdMap<(), u32> = ids.iter().map(|id| (*id, id.index() as u32)).collect();
        assert!(ids.iter().all(|id| map[id] == id.index() as u32));
        assert_eq!(map.get(&Id::from_bits(7 << 32 | 2)), None);
    }
}
