//! What a file held when it was read last, told by hashes: its lines hold secrets and are not
//! kept.
//!
//! A list of tens of thousands of users is read again with each RELOAD, and most of them change a
//! line of it, or none.

use std::hash::{BuildHasher, RandomState};

/// A file that was read. The hashes are under keys made at random, once for a process.
#[derive(Clone, Debug, Default)]
pub struct Known {
    keys: RandomState,
    /// Of the whole text; None where it must be read anew in any case.
    whole: Option<u64>,
    /// Of each entry, by its place.
    entries: Vec<u64>,
}

/// How far behind the place where an entry is expected it is looked for: so many lines may have
/// gone at once before what follows is taken for new.
const REACH: usize = 32;

/// Of an entry that is not to be known again.
const FORGOTTEN: u64 = 0;

impl Known {
    /// Begins to read a text, unless it is what was read before.
    pub fn reading(&self, text: &[u8]) -> Option<KnownReading<'_>> {
        let whole = self.keys.hash_one(text);
        (self.whole != Some(whole)).then(|| KnownReading {
            before: self,
            whole,
            next: 0,
            entries: Vec::with_capacity(self.entries.len()),
        })
    }

    /// The entry at this place is to be taken for a new one the next time.
    pub fn forget(&mut self, place: usize) {
        if let Some(hash) = self.entries.get_mut(place) {
            *hash = FORGOTTEN;
        }
    }
}

/// A file that is being read, beside what it was before.
pub struct KnownReading<'a> {
    before: &'a Known,
    whole: u64,
    /// The place of the list before at which the next entry is expected.
    next: usize,
    entries: Vec<u64>,
}

impl KnownReading<'_> {
    /// The place at which the entry stood before, or None if it is new.
    pub fn place(&mut self, entry: &[u8]) -> Option<usize> {
        let hash = self.before.keys.hash_one(entry).max(FORGOTTEN + 1);
        self.entries.push(hash);
        let rest = self.before.entries.get(self.next..)?;
        let place = self.next + rest.iter().take(REACH).position(|other| *other == hash)?;
        self.next = place + 1;
        Some(place)
    }

    /// The whole has been read; `is_good` when nothing of it need be told again.
    pub fn done(self, is_good: bool) -> Known {
        let whole = is_good.then_some(self.whole);
        Known { keys: self.before.keys.clone(), whole, entries: self.entries }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(before: &Known, lines: &[&str]) -> (Vec<Option<usize>>, Known) {
        let mut reading = before.reading(lines.concat().as_bytes()).expect("another text");
        let places = lines.iter().map(|line| reading.place(line.as_bytes())).collect();
        (places, reading.done(true))
    }

    #[test]
    fn what_stays_is_known_where_lines_come_go_and_change() {
        let (places, known) = read(&Known::default(), &["a", "b", "c", "d"]);
        assert_eq!(places, [None; 4]);
        assert!(known.reading(b"abcd").is_none() && known.reading(b"abc").is_some());
        let same = [Some(0), Some(1), Some(2), Some(3), None];
        assert_eq!(read(&known, &["a", "b", "c", "d", "e"]).0, same);
        assert_eq!(read(&known, &["a", "x", "c", "d"]).0, [Some(0), None, Some(2), Some(3)]);
        assert_eq!(read(&known, &["x", "a", "c"]).0, [None, Some(0), Some(2)]);
        assert_eq!(read(&known, &["d", "a"]).0, [Some(3), None], "it is behind");
        assert_eq!(read(&known, &["a", "a"]).0, [Some(0), None], "a place is taken once");
    }

    #[test]
    fn what_is_forgotten_is_new() {
        let (_, mut known) = read(&Known::default(), &["a", "b"]);
        known.forget(0);
        known.forget(9);
        assert_eq!(read(&known, &["a", "b", "c"]).0, [None, Some(1), None]);
    }
}
