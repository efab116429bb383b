//! Databases that may be forgotten: made from `*`, or removed from the configuration. Each sweep
//! looks at a few of them, so that thousands do not make it slow.

use crate::base::time::Moment;
use crate::pool::ids::DatabaseId;

/// The most databases that one sweep looks at.
const SWEPT_DATABASES_MAX: usize = 64;

#[derive(Debug, Default)]
pub struct Transients {
    /// The databases, each once.
    databases: Vec<DatabaseId>,
    /// The next place in the list for the sweep, counted on beyond its end.
    next: usize,
    /// When the sweep must look again: when the first unused database is to be forgotten, or when
    /// the other databases have their turn.
    pub due: Option<Moment>,
}

impl Transients {
    pub fn iter(&self) -> impl Iterator<Item = DatabaseId> {
        self.databases.iter().copied()
    }

    /// Whether there are more databases than one sweep looks at.
    pub fn need_several_sweeps(&self) -> bool {
        self.databases.len() > SWEPT_DATABASES_MAX
    }

    /// The databases that the next sweep looks at.
    pub fn take_some(&mut self) -> Vec<DatabaseId> {
        let all = &self.databases;
        let places =
            (0..all.len().min(SWEPT_DATABASES_MAX)).map(|step| self.next.wrapping_add(step));
        let some = places.map(|place| all[place % all.len()]).collect();
        self.next = self.next.wrapping_add(SWEPT_DATABASES_MAX);
        some
    }

    pub(super) fn insert(&mut self, id: DatabaseId) {
        self.databases.push(id);
    }

    pub(super) fn remove(&mut self, id: DatabaseId) {
        self.databases.retain(|other| *other != id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transients(count: u64) -> Transients {
        let mut transients = Transients::default();
        (1..=count).for_each(|bits| transients.insert(DatabaseId::from_bits(bits)));
        transients
    }

    #[test]
    fn a_few_are_all_looked_at_by_each_sweep_and_none_twice() {
        let mut transients = transients(3);
        assert!(!transients.need_several_sweeps());
        for _ in 0..3 {
            let some = transients.take_some();
            assert_eq!(some.len(), 3);
            assert!(transients.iter().all(|id| some.contains(&id)));
        }
        assert_eq!(Transients::default().take_some(), []);
    }

    #[test]
    fn many_are_looked_at_in_turn() {
        let mut transients = transients(SWEPT_DATABASES_MAX as u64 + 10);
        assert!(transients.need_several_sweeps());
        let first = transients.take_some();
        assert_eq!(first.len(), SWEPT_DATABASES_MAX);
        let second = transients.take_some();
        assert!(transients.iter().all(|id| first.contains(&id) || second.contains(&id)));
    }

    #[test]
    fn one_that_was_taken_out_is_not_met_again() {
        let mut transients = transients(2);
        transients.remove(DatabaseId::from_bits(1));
        assert_eq!(transients.take_some(), [DatabaseId::from_bits(2)]);
    }
}
