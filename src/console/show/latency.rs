//! SHOW LATENCY: percentiles of how long queries, transactions, waiting and logins to servers took,
//! for each database, lately and since the start. "Lately" means what the averages of SHOW STATS
//! cover: the last full period and the running one.

use super::super::table::{Column, Scene, Sheet, Value, int8, text};
use super::databases;
use crate::pool::core::Core;
use crate::pool::telling::histogram::Spread;
use crate::pool::telling::latency::{LatencyPlace, Measure, OTHERS};

/// One measured time of one database.
pub struct LatencyRow {
    database: String,
    measure: &'static str,
    lately: Figures,
    since_start: Figures,
}

/// The figures shown of a spread, which itself is thirty times as large.
struct Figures {
    count: u64,
    p50: u64,
    p90: u64,
    p95: u64,
    p99: u64,
    max: u64,
}

impl Figures {
    fn new(spread: &Spread) -> Figures {
        Figures {
            count: spread.count,
            p50: spread.percentile_us(50),
            p90: spread.percentile_us(90),
            p95: spread.percentile_us(95),
            p99: spread.percentile_us(99),
            max: spread.max_us,
        }
    }
}

pub static LATENCY: Sheet<LatencyRow> = Sheet {
    columns: &[
        &[
            text("database", |_, row| Value::owned(&row.database)),
            text("measure", |_, row| Value::text(row.measure)),
        ],
        LATELY,
        SINCE_START,
    ],
    rows: |scene| rows(scene),
};

/// Declares a column of one period.
macro_rules! spread {
    ($name:literal, $period:ident.$field:ident) => {
        int8($name, |_, row: &LatencyRow| Value::Number(row.$period.$field))
    };
}

const LATELY: &[Column<LatencyRow>] = &[
    spread!("count", lately.count),
    spread!("p50", lately.p50),
    spread!("p90", lately.p90),
    spread!("p95", lately.p95),
    spread!("p99", lately.p99),
    spread!("max", lately.max),
];

const SINCE_START: &[Column<LatencyRow>] = &[
    spread!("total_count", since_start.count),
    spread!("total_p50", since_start.p50),
    spread!("total_p90", since_start.p90),
    spread!("total_p95", since_start.p95),
    spread!("total_p99", since_start.p99),
    spread!("total_max", since_start.max),
];

/// The times that are measured, and how to get them for a database.
pub const MEASURES: [(&str, Measure); 4] = [
    ("query", |latencies| &latencies.query),
    ("transaction", |latencies| &latencies.xact),
    ("wait", |latencies| &latencies.wait),
    ("login", |latencies| &latencies.login),
];

fn rows(scene: Scene<'_>) -> Vec<LatencyRow> {
    let of_one = |(database, place): (String, LatencyPlace)| {
        let latencies = scene.core.latencies.of(place);
        MEASURES.map(|(measure, of)| LatencyRow {
            database: database.clone(),
            measure,
            lately: Figures::new(&of(latencies).lately()),
            since_start: Figures::new(&of(latencies).since_start()),
        })
    };
    places(scene.core).into_iter().flat_map(of_one).collect()
}

/// The databases that have had a pool, by name, and the place that further databases share.
fn places(core: &Core) -> Vec<(String, LatencyPlace)> {
    let mut places = Vec::new();
    let mut is_shared = false;
    for row in databases::sorted(core) {
        let place = row.and_then(|id| core.databases[id].latency());
        is_shared |= place == Some(LatencyPlace::SHARED);
        if let Some(place) = place.filter(|place| *place != LatencyPlace::SHARED) {
            places.push((databases::name(core, &row).to_owned(), place));
        }
    }
    if is_shared {
        places.push((OTHERS.to_owned(), LatencyPlace::SHARED));
    }
    places
}
