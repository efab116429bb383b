//! A queue that is empty from time to time, and may be used for each message.
//!
//! The entries are in one piece, so that they can be read as a slice. Entries that are gone leave
//! room in front, which is used again when the queue is empty, or would have to grow.

use std::fmt;
use std::ops::Deref;

pub struct Queue<T> {
    entries: Vec<T>,
    /// How many of the first entries are gone: fewer than all, or 0.
    gone: usize,
}

impl<T> Default for Queue<T> {
    fn default() -> Queue<T> {
        Queue { entries: Vec::new(), gone: 0 }
    }
}

impl<T: Copy> Queue<T> {
    #[inline(always)]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    #[inline(always)]
    pub fn len(&self) -> usize {
        self.entries.len() - self.gone
    }

    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    #[inline(always)]
    pub fn front(&self) -> Option<&T> {
        self.entries.get(self.gone)
    }

    #[inline(always)]
    pub fn push_back(&mut self, entry: T) {
        if self.entries.len() == self.entries.capacity() {
            self.close_up();
        }
        self.entries.push(entry);
    }

    #[inline(always)]
    pub fn pop_front(&mut self) -> Option<T> {
        let first = self.entries.get(self.gone).copied()?;
        self.drop_front(1);
        Some(first)
    }

    /// Drops the first `count` entries.
    #[inline(always)]
    pub fn drop_front(&mut self, count: usize) {
        self.gone += count;
        if self.gone >= self.entries.len() {
            self.entries.clear();
            self.gone = 0;
        }
    }

    /// Takes out the entry at this place, if there is one.
    pub fn remove(&mut self, at: usize) {
        if at < self.len() {
            self.entries.remove(self.gone + at);
            self.drop_front(0);
        }
    }

    /// Called before the queue grows. If at least half of the entries are gone, their room is used
    /// again, so that each entry is moved once on average.
    #[cold]
    fn close_up(&mut self) {
        if self.gone * 2 >= self.entries.len() {
            self.entries.drain(..self.gone);
            self.gone = 0;
        }
    }
}

impl<T> Deref for Queue<T> {
    type Target = [T];
    #[inline(always)]
    fn deref(&self) -> &[T] {
        &self.entries[self.gone..]
    }
}

impl<T: fmt::Debug> fmt::Debug for Queue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self[..].fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};
    use std::collections::VecDeque;

    #[test]
    fn it_does_what_a_ring_does_and_takes_no_more_room() {
        for seed in 0..100 {
            let mut rng = SeededRng::new(seed);
            let (mut queue, mut ring) = (Queue::default(), VecDeque::new());
            let mut longest = 0;
            for number in 0..2_000 {
                match rng.below(8) {
                    0..4 => {
                        queue.push_back(number);
                        ring.push_back(number);
                    }
                    4..7 => assert_eq!(queue.pop_front(), ring.pop_front(), "seed {seed}"),
                    _ if rng.one_in(8) => {
                        let count = rng.below(ring.len() as u64 + 1) as usize;
                        queue.drop_front(count);
                        ring.drain(..count);
                    }
                    _ => {
                        let at = rng.below(ring.len() as u64 + 2) as usize;
                        queue.remove(at);
                        ring.remove(at);
                    }
                }
                longest = longest.max(ring.len());
                assert!(queue.iter().eq(&ring), "seed {seed}: {queue:?}, {ring:?}");
                assert_eq!((queue.len(), queue.front()), (ring.len(), ring.front()));
                assert_eq!(queue.is_empty(), ring.is_empty());
            }
            assert!(queue.capacity() <= 4 * longest.max(4), "seed {seed}: {}", queue.capacity());
        }
    }

    #[test]
    fn who_is_never_empty_does_not_grow() {
        let mut queue = Queue::default();
        queue.push_back(0);
        for number in 1..10_000 {
            queue.push_back(number);
            assert_eq!(queue.pop_front(), Some(number - 1));
        }
        assert!(queue.capacity() <= 8, "{}", queue.capacity());
    }
}
