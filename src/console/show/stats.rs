//! SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS: totals since the start, and averages of the
//! last period, for each database that has a pool.

use super::super::table::{Column, Scene, Sheet, Value, counter, numeric, text};
use super::databases;
use crate::pool::core::Core;
use crate::pool::telling::stats::{Averages, Counters, Stats, average};

/// What was counted for one database, or for all of them.
pub struct StatsRow {
    /// `None` is the console.
    database: databases::DatabaseRow,
    totals: Counters,
    averages: Averages,
}

const DATABASE: &[Column<StatsRow>] =
    &[text("database", |scene, row| Value::text(databases::name(scene.core, &row.database)))];

/// Declares twelve columns, named for what they count.
macro_rules! twelve {
    ($row:ident: $($name:literal => $value:expr,)+) => {
        &[$(numeric($name, |_, $row| Value::Number($value)),)+]
    };
}

/// Declares counters, with what they count.
macro_rules! totals {
    ($row:ident: $($name:literal => $value:expr, $help:literal,)+) => {
        &[$(counter($help, numeric($name, |_, $row| Value::Number($value))),)+]
    };
}

pub static STATS: Sheet<StatsRow> = Sheet {
    columns: &[
        DATABASE,
        twelve! { row:
            "total_server_assignment_count" => row.totals.assignments,
            "total_xact_count" => row.totals.xacts,
            "total_query_count" => row.totals.queries,
            "total_received" => row.totals.received,
            "total_sent" => row.totals.sent,
            "total_xact_time" => row.totals.xact_us,
            "total_query_time" => row.totals.query_us,
            "total_wait_time" => row.totals.wait_us,
            "total_client_parse_count" => row.totals.client_parses,
            "total_server_parse_count" => row.totals.server_parses,
            "total_bind_count" => row.totals.binds,
            "total_client_login_count" => row.totals.logins,
        },
        twelve! { row:
            "avg_server_assignment_count" => row.averages.per_second.assignments,
            "avg_xact_count" => row.averages.per_second.xacts,
            "avg_query_count" => row.averages.per_second.queries,
            "avg_recv" => row.averages.per_second.received,
            "avg_sent" => row.averages.per_second.sent,
            "avg_xact_time" => row.averages.xact_us,
            "avg_query_time" => row.averages.query_us,
            "avg_wait_time" => row.averages.wait_us,
            "avg_client_parse_count" => row.averages.per_second.client_parses,
            "avg_server_parse_count" => row.averages.per_second.server_parses,
            "avg_bind_count" => row.averages.per_second.binds,
            "avg_client_login_count" => row.averages.per_second.logins,
        },
    ],
    rows: |scene| by_database(scene.core),
};

pub static STATS_TOTALS: Sheet<StatsRow> = Sheet {
    columns: &[
        DATABASE,
        totals! { row:
            "server_assignment_count" => row.totals.assignments,
                "Times that a client was given a server",
            "xact_count" => row.totals.xacts, "Transactions",
            "query_count" => row.totals.queries, "Queries",
            "bytes_received" => row.totals.received, "Bytes from clients",
            "bytes_sent" => row.totals.sent, "Bytes to clients",
            "xact_time" => row.totals.xact_us, "Time in transactions",
            "query_time" => row.totals.query_us, "Time in queries",
            "wait_time" => row.totals.wait_us,
                "Time that clients waited for a server",
            "client_parse_count" => row.totals.client_parses,
                "Prepared statements that clients made",
            "server_parse_count" => row.totals.server_parses,
                "Prepared statements that were made on servers",
            "bind_count" => row.totals.binds, "Prepared statements that were bound",
            "client_login_count" => row.totals.logins, "Clients that have logged in",
        },
    ],
    rows: |scene| by_database(scene.core),
};

pub static STATS_AVERAGES: Sheet<StatsRow> = Sheet {
    columns: &[
        DATABASE,
        twelve! { row:
            "server_assignment_count" => row.averages.per_second.assignments,
            "xact_count" => row.averages.per_second.xacts,
            "query_count" => row.averages.per_second.queries,
            "bytes_received" => row.averages.per_second.received,
            "bytes_sent" => row.averages.per_second.sent,
            "xact_time" => row.averages.xact_us,
            "query_time" => row.averages.query_us,
            "wait_time" => row.averages.wait_us,
            "avg_client_parse_count" => row.averages.per_second.client_parses,
            "avg_server_parse_count" => row.averages.per_second.server_parses,
            "avg_bind_count" => row.averages.per_second.binds,
            "avg_client_login_count" => row.averages.per_second.logins,
        },
    ],
    rows: |scene| by_database(scene.core),
};

pub static TOTALS: Sheet<(&str, u64)> = Sheet {
    columns: &[&[
        text("name", |_, row| Value::text(row.0)),
        numeric("value", |_, row| Value::Number(row.1)),
    ]],
    rows: totals,
};

fn totals(scene: Scene<'_>) -> Vec<(&'static str, u64)> {
    let mut stats = scene.core.all_stats();
    stats += &scene.core.console_stats;
    let StatsRow { totals, averages, .. } = StatsRow::new(scene.core, None, &stats);
    let rates = &averages.per_second;
    vec![
        ("total_server_assignment_count", totals.assignments),
        ("total_xact_count", totals.xacts),
        ("total_query_count", totals.queries),
        ("total_client_bytes", totals.received),
        ("total_server_bytes", totals.sent),
        ("total_xact_time", totals.xact_us),
        ("total_query_time", totals.query_us),
        ("total_wait_time", totals.wait_us),
        ("total_ps_client_parse_count", totals.client_parses),
        ("total_ps_server_parse_count", totals.server_parses),
        ("total_ps_bind_count", totals.binds),
        ("total_client_login_count", totals.logins),
        ("avg_server_assignment_count", rates.assignments),
        ("avg_xact_count", rates.xacts),
        ("avg_query_count", rates.queries),
        ("avg_client_bytes", rates.received),
        ("avg_server_bytes", rates.sent),
        ("avg_xact_time", averages.xact_us),
        ("avg_query_time", averages.query_us),
        ("avg_wait_time", averages.wait_us),
        ("avg_ps_client_parse_count", rates.client_parses),
        ("avg_ps_server_parse_count", rates.server_parses),
        ("avg_ps_bind_count", rates.binds),
        ("avg_client_login_count", rates.logins),
    ]
}

/// The databases that have a pool, and the console.
fn by_database(core: &Core) -> Vec<StatsRow> {
    databases::sorted(core)
        .into_iter()
        .filter_map(|database| StatsRow::of(core, database))
        .collect()
}

impl StatsRow {
    /// The row of a database, if it has had a pool.
    pub fn of(core: &Core, database: databases::DatabaseRow) -> Option<StatsRow> {
        let Some(id) = database else {
            return Some(StatsRow::new(core, None, &core.console_stats));
        };
        let pools = &core.databases[id].pools;
        pools.first()?;
        let mut sum = Stats::default();
        pools.iter().for_each(|pool| sum += &core.pools[*pool].stats);
        Some(StatsRow::new(core, database, &sum))
    }

    fn new(core: &Core, database: databases::DatabaseRow, stats: &Stats) -> StatsRow {
        let span_us = core.stats.lately_us(core.mono());
        StatsRow { database, totals: stats.now, averages: average(&stats.lately(), span_us) }
    }
}
