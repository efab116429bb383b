//! Distinct values, each kept once for all its holders, for as long as it has a holder.
//!
//! A holder of a value has its [`InternedKey`], of four bytes; two values are equal when their keys
//! are. Holders are counted, so each key must be given back.

use std::collections::HashMap;
use std::hash::{BuildHasher, Hash, RandomState};
use std::num::NonZeroU32;

/// Stands for a value in the table that gave it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct InternedKey(NonZeroU32);

impl InternedKey {
    fn place(self) -> usize {
        self.0.get() as usize - 1
    }
}

struct InternedSlot<T: ?Sized> {
    /// `None` while the slot is free.
    value: Option<Box<T>>,
    hash: u64,
    holders: u32,
    /// Another value with the same hash; of a free slot, the next one that is free.
    next: Option<InternedKey>,
}

/// The values.
pub struct Interned<T: ?Sized, H = RandomState> {
    slots: Vec<InternedSlot<T>>,
    free: Option<InternedKey>,
    /// The first value of each hash.
    by_hash: HashMap<u64, InternedKey>,
    hasher: H,
}

impl<T: ?Sized, H: Default> Default for Interned<T, H> {
    fn default() -> Self {
        let (by_hash, hasher) = (HashMap::new(), H::default());
        Interned { slots: Vec::new(), free: None, by_hash, hasher }
    }
}

impl<T: ?Sized + Hash + Eq, H: BuildHasher> Interned<T, H>
where
    for<'a> Box<T>: From<&'a T>,
{
    /// Adds a holder to a value, and gives its key.
    pub fn hold(&mut self, value: &T) -> InternedKey {
        let hash = self.hasher.hash_one(value);
        let first = self.by_hash.get(&hash).copied();
        let mut same = first;
        while let Some(key) = same {
            let slot = &mut self.slots[key.place()];
            if slot.value.as_deref() == Some(value) {
                slot.holders += 1;
                return key;
            }
            same = slot.next;
        }
        let key =
            self.put(InternedSlot { value: Some(value.into()), hash, holders: 1, next: first });
        self.by_hash.insert(hash, key);
        key
    }

    /// Adds a holder to a value that has one.
    pub fn hold_again(&mut self, key: InternedKey) {
        self.slots[key.place()].holders += 1;
    }

    /// Takes a holder away. The last holder gets the value.
    pub fn release(&mut self, key: InternedKey) -> Option<Box<T>> {
        let slot = &mut self.slots[key.place()];
        slot.holders -= 1;
        if slot.holders > 0 {
            return None;
        }
        let (hash, value) = (slot.hash, slot.value.take());
        let next = std::mem::replace(&mut slot.next, self.free);
        self.free = Some(key);
        self.unchain(hash, key, next);
        value
    }

    pub fn get(&self, key: InternedKey) -> &T {
        self.slots[key.place()].value.as_deref().expect("who has the key holds the value")
    }

    /// How many holders a value has.
    pub fn holders(&self, key: InternedKey) -> u32 {
        self.slots[key.place()].holders
    }

    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.slots.iter().filter_map(|slot| slot.value.as_deref())
    }

    fn put(&mut self, slot: InternedSlot<T>) -> InternedKey {
        match self.free {
            Some(key) => {
                self.free = std::mem::replace(&mut self.slots[key.place()], slot).next;
                key
            }
            None => {
                self.slots.push(slot);
                let count = u32::try_from(self.slots.len()).ok().and_then(NonZeroU32::new);
                InternedKey(count.expect("fewer than 2^32 values"))
            }
        }
    }

    /// Takes a value that is gone out of the chain of its hash, in which `next` followed it.
    fn unchain(&mut self, hash: u64, gone: InternedKey, next: Option<InternedKey>) {
        let mut at = self.by_hash.get(&hash).copied();
        if at == Some(gone) {
            match next {
                Some(next) => self.by_hash.insert(hash, next),
                None => self.by_hash.remove(&hash),
            };
            return;
        }
        while let Some(before) = at {
            let slot = &mut self.slots[before.place()];
            if slot.next == Some(gone) {
                slot.next = next;
                return;
            }
            at = slot.next;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::hash::{BuildHasherDefault, Hasher};

    use super::*;

    /// A hasher with three hashes only, so that values collide.
    #[derive(Default)]
    struct Coarse(u64);

    impl Hasher for Coarse {
        fn write(&mut self, bytes: &[u8]) {
            self.0 += bytes.iter().map(|&byte| u64::from(byte)).sum::<u64>();
        }
        fn finish(&self) -> u64 {
            self.0 % 3
        }
    }

    #[test]
    fn a_value_is_kept_once_and_goes_with_its_last_holder() {
        let mut table: Interned<str> = Interned::default();
        let one = table.hold("a");
        let other = table.hold("b");
        assert_ne!(one, other);
        assert_eq!(table.hold("a"), one);
        table.hold_again(one);
        assert_eq!((table.get(one), table.holders(one), table.iter().count()), ("a", 3, 2));
        assert_eq!((table.release(one), table.release(one)), (None, None));
        assert_eq!(table.release(one).as_deref(), Some("a"));
        assert_eq!(table.iter().collect::<Vec<_>>(), ["b"]);
        let again = table.hold("c");
        assert_eq!((table.get(again), table.get(other)), ("c", "b"));
        assert_eq!(size_of::<Option<InternedKey>>(), 4);
    }

    #[test]
    fn values_of_one_hash_stay_apart_in_whatever_order_they_go() {
        for shift in 0..12 {
            let mut table: Interned<str, BuildHasherDefault<Coarse>> = Interned::default();
            let texts: Vec<String> = (0..12).map(|number| format!("value {number}")).collect();
            let keys: Vec<InternedKey> = texts.iter().map(|text| table.hold(text)).collect();
            for step in 0..12 {
                let gone = (shift + step * 5) % 12;
                assert_eq!(table.release(keys[gone]).as_deref(), Some(&*texts[gone]));
                for later in step + 1..12 {
                    let kept = (shift + later * 5) % 12;
                    assert_eq!(table.hold(&texts[kept]), keys[kept]);
                    assert_eq!(table.release(keys[kept]), None);
                }
            }
            assert!(table.by_hash.is_empty() && table.iter().count() == 0);
        }
    }
}
