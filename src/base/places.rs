//! Finds the place of a name in a list or an arena, for lookups that are not frequent.
//!
//! There is one type for all of them, whatever the lists hold, since a hash table is compiled anew
//! for every type that it holds.

use std::collections::HashMap;

use super::arena::Id;

/// Places by name.
#[derive(Default)]
pub struct Places(HashMap<Box<str>, u64>);

impl Places {
    /// The places of names that stand in a list; of two equal ones, the later.
    pub fn of(names: &mut dyn Iterator<Item = &str>) -> Places {
        let mut places = Places::default();
        for (place, name) in names.enumerate() {
            places.insert(name, place);
        }
        places
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn get(&self, name: &str) -> Option<usize> {
        self.bits(name).map(|bits| bits as usize)
    }

    pub fn insert(&mut self, name: &str, place: usize) {
        self.insert_bits(name, place as u64);
    }

    /// The record of this name.
    pub fn id<T>(&self, name: &str) -> Option<Id<T>> {
        self.bits(name).map(Id::from_bits)
    }

    pub fn insert_id<T>(&mut self, name: &str, id: Id<T>) {
        self.insert_bits(name, id.to_bits());
    }

    /// Takes a name out, and says where it stood.
    #[inline(never)]
    pub fn remove(&mut self, name: &str) -> Option<usize> {
        self.0.remove(name).map(|bits| bits as usize)
    }

    #[inline(never)]
    fn bits(&self, name: &str) -> Option<u64> {
        self.0.get(name).copied()
    }

    #[inline(never)]
    fn insert_bits(&mut self, name: &str, bits: u64) {
        self.0.insert(name.into(), bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_equal_names_the_later_counts_until_it_is_taken_out() {
        let mut places = Places::of(&mut ["a", "b", "a"].into_iter());
        assert_eq!(places.len(), 2);
        assert_eq!((places.get("a"), places.get("b"), places.get("c")), (Some(2), Some(1), None));
        assert_eq!((places.remove("a"), places.remove("a")), (Some(2), None));
    }
}
