//! Where names stand in a list, for lists that are looked up by name now and then.
//!
//! One type for all of them, whatever the lists hold: a hash table is written out anew for every
//! type that it holds.

use std::collections::HashMap;

/// Places by name.
#[derive(Default)]
pub struct Places(HashMap<Box<str>, usize>);

impl Places {
    /// The places of names that stand in a list; of two equal ones, the later.
    pub fn of<'a>(names: &mut dyn Iterator<Item = &'a str>) -> Places {
        let mut places = Places::default();
        for (place, name) in names.enumerate() {
            places.insert(name, place);
        }
        places
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    #[inline(never)]
    pub fn get(&self, name: &str) -> Option<usize> {
        self.0.get(name).copied()
    }

    #[inline(never)]
    pub fn insert(&mut self, name: &str, place: usize) {
        self.0.insert(name.into(), place);
    }

    /// Takes a name out, and says where it stood.
    #[inline(never)]
    pub fn remove(&mut self, name: &str) -> Option<usize> {
        self.0.remove(name)
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
