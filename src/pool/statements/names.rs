//! The names that one client has for its statements: a sorted table.
//!
//! Most clients have a handful of names, which are found here as fast as in a hashed table. A
//! client that has thousands takes no more than 64 bytes for each name beside its text: its place
//! in the table, the room that is kept for more, and what the allocator adds to a small block.

use crate::pool::ids::StatementId;

#[derive(Debug, Default)]
pub struct StatementNames {
    /// By name.
    entries: Vec<NameEntry>,
}

#[derive(Debug)]
struct NameEntry {
    name: Box<[u8]>,
    id: StatementId,
}

impl StatementNames {
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Bytes of the table and of the names in it.
    pub fn bytes(&self) -> usize {
        self.entries.capacity() * size_of::<NameEntry>() + self.text_bytes()
    }

    /// Bytes of the names alone.
    pub fn text_bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.name.len()).sum()
    }

    #[inline(always)]
    pub fn get(&self, name: &[u8]) -> Option<StatementId> {
        self.find(name).ok().map(|at| self.entries[at].id)
    }

    pub fn name_of(&self, id: StatementId) -> Option<&[u8]> {
        self.entries.iter().find(|entry| entry.id == id).map(|entry| &*entry.name)
    }

    /// Returns what the name stood for before.
    pub fn insert(&mut self, name: &[u8], id: StatementId) -> Option<StatementId> {
        match self.find(name) {
            Ok(at) => Some(std::mem::replace(&mut self.entries[at].id, id)),
            Err(at) => {
                self.make_room();
                self.entries.insert(at, NameEntry { name: name.into(), id });
                None
            }
        }
    }

    pub fn remove(&mut self, name: &[u8]) -> Option<StatementId> {
        let at = self.find(name).ok()?;
        let id = self.entries.remove(at).id;
        self.give_back();
        Some(id)
    }

    /// Keeps the names for which `stays` holds, and gives the others to `dropped`.
    pub fn retain(
        &mut self,
        stays: impl Fn(&[u8]) -> bool,
        mut dropped: impl FnMut(Box<[u8]>, StatementId),
    ) {
        self.entries.retain_mut(|entry| {
            let stays = stays(&entry.name);
            if !stays {
                dropped(std::mem::take(&mut entry.name), entry.id);
            }
            stays
        });
        self.give_back();
    }

    /// Lets all names of one statement stand for another. Returns how many they are.
    pub fn rename(&mut self, before: StatementId, after: StatementId) -> usize {
        let found = self.entries.iter_mut().filter(|entry| entry.id == before);
        found.map(|entry| entry.id = after).count()
    }

    pub fn into_ids(self) -> impl Iterator<Item = StatementId> {
        self.entries.into_iter().map(|entry| entry.id)
    }

    fn find(&self, name: &[u8]) -> Result<usize, usize> {
        self.entries.binary_search_by(|entry| (*entry.name).cmp(name))
    }

    /// Grows the table by a quarter, not by half: the room kept for more names counts as memory of
    /// those that are there.
    fn make_room(&mut self) {
        let len = self.entries.len();
        if len == self.entries.capacity() {
            self.entries.reserve_exact(len / 4 + 1);
        }
    }

    fn give_back(&mut self) {
        let len = self.entries.len();
        if self.entries.capacity() > len + len / 3 + 4 {
            self.entries.shrink_to(len + len / 8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};
    use std::collections::BTreeMap;

    /// The most that a name costs beside its text, in bytes.
    const COST: usize = 64;

    fn id(number: u64) -> StatementId {
        StatementId::from_bits(number)
    }

    /// What the system's allocator takes for a block: a head of 8 bytes, in steps of 16, 32 at
    /// least.
    fn block(bytes: usize) -> usize {
        if bytes == 0 { 0 } else { (bytes + 8).next_multiple_of(16).max(32) }
    }

    fn cost(names: &StatementNames) -> usize {
        let texts = names.entries.iter().map(|entry| block(entry.name.len()));
        block(names.entries.capacity() * size_of::<NameEntry>()) + texts.sum::<usize>()
    }

    /// `kept` is for the few places that a table keeps when its names have gone.
    fn assert_is_cheap(names: &StatementNames, kept: usize) {
        let text: usize = names.entries.iter().map(|entry| entry.name.len()).sum();
        let (cost, len) = (cost(names), names.len());
        assert!(cost <= text + COST * len + kept, "{len} names cost {cost}, their texts {text}");
    }

    #[test]
    fn a_name_costs_no_more_than_64_bytes_beside_its_text() {
        let mut names = StatementNames::default();
        let is_looked_at = |number| number < 200 || number % 97 == 0;
        for number in 0..10_000 {
            names.insert(format!("{number}").as_bytes(), id(number));
            if is_looked_at(number) {
                assert_is_cheap(&names, 0);
            }
        }
        for number in 0..10_000 {
            names.remove(format!("{number}").as_bytes());
            if is_looked_at(10_000 - number) {
                assert_is_cheap(&names, 5 * size_of::<NameEntry>());
            }
        }
        assert!(names.is_empty());
    }

    #[test]
    fn it_does_what_a_map_does() {
        for seed in 0..50 {
            let mut rng = SeededRng::new(seed);
            let (mut names, mut map) = (StatementNames::default(), BTreeMap::new());
            for number in 0..400 {
                let name = format!("s{}", rng.below(60));
                let name = name.as_bytes();
                if rng.one_in(3) {
                    assert_eq!(names.remove(name), map.remove(name), "seed {seed}");
                } else {
                    let before = map.insert(name.to_vec(), id(number));
                    assert_eq!(names.insert(name, id(number)), before, "seed {seed}");
                }
                assert_eq!(names.get(name), map.get(name).copied(), "seed {seed}");
                assert_eq!(names.len(), map.len(), "seed {seed}");
            }
            let ids: Vec<StatementId> = names.into_ids().collect();
            assert_eq!(ids, map.into_values().collect::<Vec<_>>(), "seed {seed}");
        }
    }
}
