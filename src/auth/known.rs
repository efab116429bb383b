//! What a file held when it was last read, kept as hashes, because its lines hold secrets.
//!
//! Each RELOAD reads a list of tens of thousands of users again. Mostly one line has changed since,
//! or none.

use std::hash::{BuildHasher, RandomState};

/// A file that was read. The hashes are under keys made at random, once for a process.
#[derive(Clone, Debug, Default)]
pub struct Known {
    keys: RandomState,
    /// The hash of the whole text; None if the file must be parsed again even when unchanged.
    whole: Option<u64>,
    /// The hash of each entry, by its place.
    entries: Vec<u64>,
}

/// An entry is searched for at the expected place and up to so many places later. If more entries
/// than that were removed at once, the entries after them are taken for new.
const REACH_ENTRIES: usize = 32;

/// Stands for the hash of an entry that is to be taken for new the next time.
const FORGOTTEN: u64 = 0;

impl Known {
    /// Begins to read a text; None if the text is the one that was read before.
    pub fn reading(&self, text: &[u8]) -> Option<KnownReading<'_>> {
        let whole = self.keys.hash_one(text);
        (self.whole != Some(whole)).then(|| KnownReading {
            before: self,
            whole,
            next: 0,
            entries: Vec::with_capacity(self.entries.len()),
        })
    }

    /// Has the entry at this place taken for new the next time.
    pub fn forget(&mut self, place: usize) {
        if let Some(hash) = self.entries.get_mut(place) {
            *hash = FORGOTTEN;
        }
    }
}

/// A file that is being read, and compared with what it held before.
pub struct KnownReading<'a> {
    before: &'a Known,
    whole: u64,
    /// The place in the list as it was before, at which the next entry is expected.
    next: usize,
    entries: Vec<u64>,
}

impl KnownReading<'_> {
    /// The place at which the entry stood before, or None if it is new.
    pub fn place(&mut self, entry: &[u8]) -> Option<usize> {
        let hash = self.before.keys.hash_one(entry).max(FORGOTTEN + 1);
        self.entries.push(hash);
        let rest = self.before.entries.get(self.next..)?;
        let place = self.next + rest.iter().take(REACH_ENTRIES).position(|other| *other == hash)?;
        self.next = place + 1;
        Some(place)
    }

    /// The whole file has been read. Unless `is_good`, it is parsed again even when unchanged, so
    /// that its problems are reported again.
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
