//! Generational slots with typed ids.
//!
//! An arena owns its records; everything else holds ids. An id is index and generation, so that an
//! id of a record that is gone answers `None` instead of meeting the slot's next tenant. That is
//! what lets clients, servers and sockets name each other without shared ownership.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::num::NonZeroU32;
use std::ops::{Index, IndexMut};

/// What an arena holds. The kind is an empty type that stands for it in ids, so that records can
/// name each other without knowing what the others look like.
pub trait Record {
    type Kind;
}

/// Names one record of an [`Arena`], for as long as that record lives.
pub struct Id<T> {
    index: u32,
    /// Never 0, so that an id that may be absent takes no more room than one that is there.
    generation: NonZeroU32,
    kind: PhantomData<fn() -> T>,
}

impl<T> Id<T> {
    /// The slot's index, for tables that stand beside the arena.
    #[inline(always)]
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// Tells the tenants of one slot from each other.
    #[inline(always)]
    pub fn generation(self) -> NonZeroU32 {
        self.generation
    }

    /// Index in the upper, generation in the lower half: for tokens that travel through the kernel.
    pub fn to_bits(self) -> u64 {
        u64::from(self.index) << 32 | u64::from(self.generation.get())
    }

    /// The inverse of [`Id::to_bits`]; bits from elsewhere give an id that answers `None`.
    #[inline(always)]
    pub fn from_bits(bits: u64) -> Id<T> {
        let generation = NonZeroU32::new(bits as u32).unwrap_or(NonZeroU32::MAX);
        Id { index: (bits >> 32) as u32, generation, kind: PhantomData }
    }
}

impl<T> Clone for Id<T> {
    fn clone(&self) -> Self {
        *self
    }
}
impl<T> Copy for Id<T> {}
impl<T> PartialEq for Id<T> {
    fn eq(&self, other: &Self) -> bool {
        self.index == other.index && self.generation == other.generation
    }
}
impl<T> Eq for Id<T> {}
impl<T> Hash for Id<T> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.to_bits().hash(state);
    }
}
impl<T> fmt::Debug for Id<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}v{}", self.index, self.generation)
    }
}

/// The most records for which room is made in advance, in an arena or beside it. The system may
/// give more than 2 MB as huge pages, and the whole of a huge page counts as used with the first
/// record.
pub const MOST_ROOM_RECORDS: usize = 1 << 13;

enum Slot<T> {
    Free { next: Option<u32> },
    Full(T),
}

/// In this order, so that one look at the memory tells whether an id is right: the compiler would
/// put the generation at the end of the record.
#[repr(C)]
struct Entry<T> {
    /// Raised when the slot is freed, so that ids of the old tenant answer `None`.
    generation: NonZeroU32,
    slot: Slot<T>,
}

/// A growing table of records, addressed by [`Id`].
pub struct Arena<T: Record> {
    entries: Vec<Entry<T>>,
    free: Option<u32>,
    len: usize,
}

impl<T: Record> Default for Arena<T> {
    fn default() -> Self {
        Arena { entries: Vec::new(), free: None, len: 0 }
    }
}

impl<T: Record> Arena<T> {
    pub fn new() -> Self {
        Self::default()
    }

    /// An arena with room for `count` records, within reason, so that they need not move when their
    /// number grows. The system gives the memory page by page, when it is used.
    pub fn with_room(count: usize) -> Self {
        Arena { entries: Vec::with_capacity(count.min(MOST_ROOM_RECORDS)), ..Self::default() }
    }

    /// How many records live.
    pub fn len(&self) -> usize {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many slots are reserved, full or free.
    pub fn slots(&self) -> usize {
        self.entries.len()
    }

    pub fn insert(&mut self, value: T) -> Id<T::Kind> {
        self.len += 1;
        let Some(index) = self.free else {
            let index = u32::try_from(self.entries.len()).expect("fewer than 2^32 records");
            let generation = NonZeroU32::MIN;
            self.entries.push(Entry { generation, slot: Slot::Full(value) });
            return Id { index, generation, kind: PhantomData };
        };
        let entry = &mut self.entries[index as usize];
        let Slot::Free { next } = entry.slot else {
            unreachable!("the free list names a full slot")
        };
        self.free = next;
        entry.slot = Slot::Full(value);
        Id { index, generation: entry.generation, kind: PhantomData }
    }

    pub fn remove(&mut self, id: Id<T::Kind>) -> Option<T> {
        let entry = self.entries.get_mut(id.index())?;
        if entry.generation != id.generation || matches!(entry.slot, Slot::Free { .. }) {
            return None;
        }
        entry.generation = entry.generation.checked_add(1).unwrap_or(NonZeroU32::MIN);
        let old = std::mem::replace(&mut entry.slot, Slot::Free { next: self.free });
        self.free = Some(id.index);
        self.len -= 1;
        match old {
            Slot::Full(value) => Some(value),
            Slot::Free { .. } => None,
        }
    }

    #[inline(always)]
    pub fn get(&self, id: Id<T::Kind>) -> Option<&T> {
        match self.entries.get(id.index()) {
            Some(Entry { generation, slot: Slot::Full(value) }) if *generation == id.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    #[inline(always)]
    pub fn get_mut(&mut self, id: Id<T::Kind>) -> Option<&mut T> {
        match self.entries.get_mut(id.index()) {
            Some(Entry { generation, slot: Slot::Full(value) }) if *generation == id.generation => {
                Some(value)
            }
            _ => None,
        }
    }

    pub fn contains(&self, id: Id<T::Kind>) -> bool {
        self.get(id).is_some()
    }

    /// The id of the record that is in a slot now.
    pub fn id_at(&self, index: usize) -> Option<Id<T::Kind>> {
        let entry = self.entries.get(index)?;
        matches!(entry.slot, Slot::Full(_)).then(|| Id {
            index: index as u32,
            generation: entry.generation,
            kind: PhantomData,
        })
    }

    /// All records, in the order of their slots.
    pub fn iter(&self) -> impl Iterator<Item = (Id<T::Kind>, &T)> {
        self.entries.iter().enumerate().filter_map(|(index, entry)| match &entry.slot {
            Slot::Full(value) => {
                let id =
                    Id { index: index as u32, generation: entry.generation, kind: PhantomData };
                Some((id, value))
            }
            Slot::Free { .. } => None,
        })
    }

    pub fn ids(&self) -> Vec<Id<T::Kind>> {
        self.iter().map(|(id, _)| id).collect()
    }
}

/// For inner functions: the id was looked up before, and its record is known to live.
impl<T: Record> Index<Id<T::Kind>> for Arena<T> {
    type Output = T;
    #[inline(always)]
    fn index(&self, id: Id<T::Kind>) -> &T {
        self.get(id).unwrap_or_else(|| stale())
    }
}

impl<T: Record> IndexMut<Id<T::Kind>> for Arena<T> {
    #[inline(always)]
    fn index_mut(&mut self, id: Id<T::Kind>) -> &mut T {
        self.get_mut(id).unwrap_or_else(|| stale())
    }
}

/// All indexing panics here, so that the code that is inlined everywhere is short.
#[cold]
#[inline(never)]
fn stale() -> ! {
    panic!("the id names no living record")
}

#[cfg(test)]
mod tests {
    use super::*;

    impl Record for &str {
        type Kind = &'static str;
    }
    impl Record for i32 {
        type Kind = i32;
    }

    #[test]
    fn a_reused_slot_does_not_answer_to_the_old_id() {
        let mut arena = Arena::new();
        let first = arena.insert("first");
        assert_eq!(arena.remove(first), Some("first"));
        let second = arena.insert("second");
        assert_eq!(second.index(), first.index());
        assert_eq!(arena.get(first), None);
        assert_eq!(arena.remove(first), None);
        assert_eq!(arena[second], "second");
        assert_eq!(arena.len(), 1);
        assert_eq!((arena.id_at(0), arena.id_at(1)), (Some(second), None));
        arena.remove(second);
        assert_eq!(arena.id_at(0), None);
    }

    #[test]
    fn an_id_survives_its_way_through_bits() {
        let mut arena = Arena::new();
        arena.insert(0);
        let id = arena.insert(7);
        assert_eq!(arena.get(Id::from_bits(id.to_bits())), Some(&7));
        assert_eq!(arena.get(Id::from_bits(u64::MAX)), None);
        assert_eq!(arena.get(Id::from_bits(0)), None);
    }

    #[test]
    fn an_id_takes_eight_bytes_whether_it_is_there_or_not() {
        assert_eq!(size_of::<Id<String>>(), 8);
        assert_eq!(size_of::<Option<Id<String>>>(), 8);
    }
}
