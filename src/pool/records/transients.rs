//! Databases that may be forgotten: made from `*`, or removed from the configuration. Each sweep
//! looks at a few of them, so that thousands do not make it slow.
//!
//! There may be thousands: where there is a `*` line, each name that a client asks for makes one,
//! and a RELOAD may name or remove all of them at once. So none of them is searched for.

use super::database::Database;
use crate::base::arena::Arena;
use crate::base::list::List;
use crate::base::time::Moment;
use crate::pool::ids::DatabaseId;

/// The most databases that one sweep looks at.
const SWEPT_DATABASES_MAX: usize = 64;

#[derive(Default)]
pub struct Transients {
    /// The databases, those first that no sweep has looked at for longest.
    databases: List<Database>,
    /// When the sweep must look again: when the first unused database is to be forgotten, or when
    /// the other databases have their turn.
    pub due: Option<Moment>,
}

impl Transients {
    pub fn iter<'a>(
        &self,
        databases: &'a Arena<Database>,
    ) -> impl Iterator<Item = DatabaseId> + use<'a> {
        self.databases.iter(databases)
    }

    /// Whether there are more databases than one sweep looks at.
    pub fn need_several_sweeps(&self) -> bool {
        self.databases.len() > SWEPT_DATABASES_MAX
    }

    /// The databases that the next sweep looks at.
    pub fn take_some(&mut self, databases: &mut Arena<Database>) -> Vec<DatabaseId> {
        let some: Vec<_> = self.databases.iter(databases).take(SWEPT_DATABASES_MAX).collect();
        for &id in &some {
            self.databases.remove(databases, id);
            self.databases.push_back(databases, id);
        }
        some
    }

    pub(super) fn insert(&mut self, databases: &mut Arena<Database>, id: DatabaseId) {
        self.databases.push_back(databases, id);
    }

    /// Takes out a database that is among them.
    pub(super) fn remove(&mut self, databases: &mut Arena<Database>, id: DatabaseId) {
        self.databases.remove(databases, id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DatabaseLine;

    fn transients(count: usize) -> (Transients, Arena<Database>, Vec<DatabaseId>) {
        let (mut transients, mut databases) = (Transients::default(), Arena::new());
        let mut make = |_| {
            let database = Database::new(DatabaseLine::default(), Vec::new(), Moment::default());
            let id = databases.insert(database);
            transients.insert(&mut databases, id);
            id
        };
        let all = (0..count).map(&mut make).collect();
        (transients, databases, all)
    }

    #[test]
    fn a_few_are_all_looked_at_by_each_sweep_and_none_twice() {
        let (mut transients, mut databases, all) = transients(3);
        assert!(!transients.need_several_sweeps());
        for _ in 0..3 {
            let some = transients.take_some(&mut databases);
            assert_eq!(some.len(), 3);
            assert!(all.iter().all(|id| some.contains(id)));
        }
        assert_eq!(Transients::default().take_some(&mut databases), []);
    }

    #[test]
    fn many_are_looked_at_in_turn() {
        let (mut transients, mut databases, all) = transients(SWEPT_DATABASES_MAX + 10);
        assert!(transients.need_several_sweeps());
        let first = transients.take_some(&mut databases);
        assert_eq!(first.len(), SWEPT_DATABASES_MAX);
        let second = transients.take_some(&mut databases);
        assert!(all.iter().all(|id| first.contains(id) || second.contains(id)));
    }

    #[test]
    fn one_that_was_taken_out_is_not_met_again() {
        let (mut transients, mut databases, all) = transients(2);
        transients.remove(&mut databases, all[0]);
        assert_eq!(transients.take_some(&mut databases), [all[1]]);
    }

    /// A search for each would look at 45 billion places.
    #[test]
    fn many_are_taken_out_without_a_search() {
        const COUNT: usize = 300_000;
        let (mut transients, mut databases, all) = transients(COUNT);
        let since = std::time::Instant::now();
        for id in all.into_iter().rev() {
            transients.remove(&mut databases, id);
        }
        assert_eq!(transients.iter(&databases).count(), 0);
        let took = since.elapsed();
        assert!(took.as_secs() < 5, "{took:?}");
    }
}
