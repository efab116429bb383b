//! Finds the record with a key, where the records themselves hold the keys.
//!
//! The table holds only the slots of an arena, four bytes each. A key is its own hash: it must be
//! drawn at random, and told to nobody but its owner.

/// The slots of records, each at the place that its key names, or at the next one that was free.
#[derive(Default)]
pub struct Slots {
    /// Their number is a power of two, or 0; at least a quarter of them is [`FREE`].
    places: Box<[u32]>,
    taken: usize,
}

/// Marks a free place. No arena has so many slots.
const FREE: u32 = u32::MAX;

/// The places of the smallest table.
const LEAST_PLACES: usize = 16;

impl Slots {
    /// The slot of the record with this key; `key_at` tells the key of the record in a slot.
    pub fn slot(&self, key: u64, key_at: impl Fn(usize) -> u64) -> Option<usize> {
        let place = self.find(key, key_at).ok()?;
        Some(self.places[place] as usize)
    }

    /// Enters the record in this slot under a key. False if another record has the key, or the key
    /// is 0.
    pub fn enter(&mut self, key: u64, slot: usize, key_at: impl Fn(usize) -> u64) -> bool {
        let Ok(slot) = u32::try_from(slot) else { return false };
        if key == 0 || slot == FREE {
            return false;
        }
        self.make_room(&key_at);
        let Err(place) = self.find(key, key_at) else { return false };
        self.places[place] = slot;
        self.taken += 1;
        true
    }

    /// Takes out a key that was entered; `key_at` still knows it.
    pub fn remove(&mut self, key: u64, key_at: impl Fn(usize) -> u64) {
        let Ok(mut hole) = self.find(key, &key_at) else { return };
        self.taken -= 1;
        self.places[hole] = FREE;
        // A slot that is behind the hole only because its own place was taken moves into the hole,
        // so that no search ends too early.
        let mut place = hole;
        loop {
            place = self.behind(place);
            let slot = self.places[place];
            if slot == FREE {
                return;
            }
            let home = self.home(key_at(slot as usize));
            if self.steps(home, place) >= self.steps(hole, place) {
                self.places[hole] = slot;
                self.places[place] = FREE;
                hole = place;
            }
        }
    }

    /// The place of the key; or, as the error, the free place that ends the search for the key, 0
    /// in an empty table.
    fn find(&self, key: u64, key_at: impl Fn(usize) -> u64) -> Result<usize, usize> {
        if self.places.is_empty() {
            return Err(0);
        }
        let mut place = self.home(key);
        loop {
            match self.places[place] {
                FREE => return Err(place),
                slot if key_at(slot as usize) == key => return Ok(place),
                _ => place = self.behind(place),
            }
        }
    }

    /// Grows the table, if less than a quarter of the places would be free when one more is taken.
    fn make_room(&mut self, key_at: impl Fn(usize) -> u64) {
        if (self.taken + 1) * 4 <= self.places.len() * 3 {
            return;
        }
        let room = (self.places.len() * 2).max(LEAST_PLACES);
        let old = std::mem::replace(&mut self.places, vec![FREE; room].into());
        for slot in old.into_iter().filter(|slot| *slot != FREE) {
            if let Err(place) = self.find(key_at(slot as usize), &key_at) {
                self.places[place] = slot;
            }
        }
    }

    fn home(&self, key: u64) -> usize {
        key as usize >> SHARED_BITS & (self.places.len() - 1)
    }

    fn behind(&self, place: usize) -> usize {
        (place + 1) & (self.places.len() - 1)
    }

    /// How many places `to` is after `from`, around the end.
    fn steps(&self, from: usize, to: usize) -> usize {
        to.wrapping_sub(from) & (self.places.len() - 1)
    }
}

/// How many of the lowest bits may be the same in all keys.
const SHARED_BITS: u32 = 2;

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    #[test]
    fn a_record_is_found_by_its_key_and_by_no_other() {
        let mut rng = SeededRng::new(7);
        let (mut keys, mut held) = (Slots::default(), Vec::new());
        let mut at: HashMap<usize, u64> = HashMap::new();
        for turn in 0..20_000_usize {
            // Few bits of these keys differ, so that many of them name the same places.
            let key = (rng.next_u64() % 4_096) << SHARED_BITS;
            if rng.next_u64() % 5 < 3 {
                let is_new = key != 0 && !held.contains(&key);
                assert_eq!(keys.enter(key, turn, |slot| at[&slot]), is_new);
                if is_new {
                    held.push(key);
                    at.insert(turn, key);
                }
            } else if !held.is_empty() {
                let gone = held.swap_remove(rng.next_u64() as usize % held.len());
                keys.remove(gone, |slot| at[&slot]);
                at.retain(|_, key| *key != gone);
            }
            if turn % 100 == 0 {
                for (slot, key) in &at {
                    assert_eq!(keys.slot(*key, |slot| at[&slot]), Some(*slot));
                }
                let others = (1..4_096).map(|n| n << SHARED_BITS).filter(|key| !held.contains(key));
                assert!(others.into_iter().all(|key| keys.slot(key, |s| at[&s]).is_none()));
                assert!(keys.taken == at.len() && keys.taken * 4 <= keys.places.len() * 3);
            }
        }
        assert!(at.len() > 1_000);
    }
}
