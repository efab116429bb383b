//! Histograms for each database. If `*` has made many databases, the later ones share their
//! histograms: clients can make any number of such databases.

use super::histogram::{Bucket, Histogram};

/// Databases made from `*` that have histograms of their own.
const MOST_AUTO_DATABASES: usize = 50;

/// The histograms of a database. Durations are in microseconds.
#[derive(Clone, Default)]
pub struct Latencies {
    pub query: Histogram,
    pub xact: Histogram,
    /// How long clients waited for a server, each time they got one.
    pub wait: Histogram,
    /// From the decision to connect to a server up to its first ReadyForQuery.
    pub login: Histogram,
}

/// Selects one of the histograms.
pub type Measure = fn(&Latencies) -> &Histogram;

impl Latencies {
    /// Counts a query, and the transaction that it has ended: the same duration, if it was the only
    /// one.
    #[inline(always)]
    pub(in crate::pool) fn count_query(&mut self, query_us: u64, xact_us: Option<u64>) {
        let bucket = Bucket::of(query_us);
        self.query.add_in(bucket, query_us);
        if let Some(xact_us) = xact_us {
            let bucket = if xact_us == query_us { bucket } else { Bucket::of(xact_us) };
            self.xact.add_in(bucket, xact_us);
        }
    }

    fn all_mut(&mut self) -> [&mut Histogram; 4] {
        [&mut self.query, &mut self.xact, &mut self.wait, &mut self.login]
    }
}

/// The place of a database in the table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LatencyPlace {
    at: u32,
    /// Whether `*` has made the database.
    is_auto: bool,
}

/// The name under which databases without histograms of their own are shown.
pub const OTHERS: &str = "other";

impl LatencyPlace {
    /// The place that all databases without histograms of their own share.
    pub const SHARED: LatencyPlace = LatencyPlace { at: 0, is_auto: false };
}

/// The histograms of all databases.
pub struct LatencyTable {
    all: Vec<Latencies>,
    free: Vec<u32>,
    autos: usize,
}

impl Default for LatencyTable {
    fn default() -> LatencyTable {
        LatencyTable { all: vec![Latencies::default()], free: Vec::new(), autos: 0 }
    }
}

impl LatencyTable {
    /// Allocates the place of a database.
    pub(in crate::pool) fn take(&mut self, is_auto: bool) -> LatencyPlace {
        if is_auto && self.autos == MOST_AUTO_DATABASES {
            return LatencyPlace::SHARED;
        }
        self.autos += usize::from(is_auto);
        let at = self.free.pop().unwrap_or_else(|| {
            self.all.push(Latencies::default());
            (self.all.len() - 1) as u32
        });
        LatencyPlace { at, is_auto }
    }

    /// Frees the place of a database that is gone.
    pub(in crate::pool) fn give_back(&mut self, place: LatencyPlace) {
        if place != LatencyPlace::SHARED {
            self.autos -= usize::from(place.is_auto);
            *self.of_mut(place) = Latencies::default();
            self.free.push(place.at);
        }
    }

    pub fn of(&self, place: LatencyPlace) -> &Latencies {
        &self.all[place.at as usize]
    }

    #[inline]
    pub(in crate::pool) fn of_mut(&mut self, place: LatencyPlace) -> &mut Latencies {
        &mut self.all[place.at as usize]
    }

    /// The histograms at all places.
    pub fn iter(&self) -> impl Iterator<Item = &Latencies> {
        self.all.iter()
    }

    /// Begins a new period.
    pub(in crate::pool) fn turn(&mut self) {
        for latencies in &mut self.all {
            latencies.all_mut().into_iter().for_each(Histogram::turn);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_databases_of_one_star_share_one_place() {
        let mut table = LatencyTable::default();
        let places: Vec<LatencyPlace> =
            (0..MOST_AUTO_DATABASES + 20).map(|_| table.take(true)).collect();
        let shared = places.iter().filter(|&&place| place == LatencyPlace::SHARED).count();
        assert_eq!(shared, 20);
        assert_ne!(table.take(false), LatencyPlace::SHARED, "one of the configuration has its own");
        table.give_back(LatencyPlace::SHARED);
        assert_eq!(table.take(true), LatencyPlace::SHARED);
    }

    #[test]
    fn a_place_that_was_given_back_is_empty_for_the_next() {
        let mut table = LatencyTable::default();
        let place = table.take(true);
        table.of_mut(place).query.add(5);
        table.give_back(place);
        let next = table.take(false);
        assert_eq!(next.at, place.at);
        assert_eq!(table.of(next).query.since_start().count, 0);
    }
}
