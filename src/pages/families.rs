//! Families that are columns of SHOW tables: the names and labels are those of
//! prometheus-community/pgbouncer_exporter 0.12.1, so that its boards and alerts go on.
//!
//! Release 0.11 of the exporter renamed the traffic counters, and boards ask for either name: both
//! are given.

use std::collections::HashMap;

use super::NoBuffers;
use super::exposition::{Kind, Labels, Snapshot, Unit};
use crate::console::{self, Head, Nature, Reader, Scene, Value};
use crate::pool::core::Core;
use crate::pool::telling::latency::{OTHERS, Place};

/// A table, and the families that its columns give.
struct Source {
    table: &'static str,
    /// Columns that become labels, and the labels' names.
    labels: &'static [(&'static str, &'static str)],
    /// What the names begin with; each is given under every one.
    prefixes: &'static [&'static str],
    /// Columns, and the families that they give.
    families: &'static [(&'static str, &'static str)],
    /// Whether the databases of `*` beyond the first ones are summed up, or left out.
    sums_others: bool,
}

const SOURCES: &[Source] = &[
    Source {
        table: "DATABASES",
        labels: &[
            ("name", "name"),
            ("host", "host"),
            ("port", "port"),
            ("database", "database"),
            ("force_user", "force_user"),
            ("pool_mode", "pool_mode"),
        ],
        prefixes: &["databases_"],
        families: &[
            ("pool_size", "pool_size"),
            ("reserve_pool_size", "reserve_pool"),
            ("max_connections", "max_connections"),
            ("current_connections", "current_connections"),
            ("max_client_connections", "max_client_connections"),
            ("current_client_connections", "current_client_connections"),
            ("paused", "paused"),
            ("disabled", "disabled"),
        ],
        sums_others: false,
    },
    Source {
        table: "STATS_TOTALS",
        labels: &[("database", "database")],
        prefixes: &["stats_", "stats_totals_"],
        families: &[
            ("query_count", "queries_pooled_total"),
            ("query_time", "queries_duration_seconds_total"),
            ("bytes_received", "received_bytes_total"),
            ("bytes_sent", "sent_bytes_total"),
            ("wait_time", "client_wait_seconds_total"),
            ("xact_count", "sql_transactions_pooled_total"),
            ("xact_time", "server_in_transaction_seconds_total"),
            ("client_parse_count", "client_parses_total"),
            ("server_parse_count", "server_parses_total"),
            ("bind_count", "binds_total"),
            ("server_assignment_count", "server_assignments_total"),
        ],
        sums_others: true,
    },
    Source {
        table: "POOLS",
        labels: &[("database", "database"), ("user", "user")],
        prefixes: &["pools_"],
        families: &[
            ("cl_active", "client_active_connections"),
            ("cl_active_cancel_req", "client_active_cancel_connections"),
            ("cl_waiting", "client_waiting_connections"),
            ("cl_waiting_cancel_req", "client_waiting_cancel_connections"),
            ("sv_active", "server_active_connections"),
            ("sv_active_cancel", "server_active_cancel_connections"),
            ("sv_being_canceled", "server_being_canceled_connections"),
            ("sv_idle", "server_idle_connections"),
            ("sv_used", "server_used_connections"),
            ("sv_tested", "server_testing_connections"),
            ("sv_login", "server_login_connections"),
            ("maxwait", "client_maxwait_seconds"),
        ],
        sums_others: true,
    },
];

/// Rows of SHOW LISTS, and their families.
const LISTS: &[(&str, &str, &str)] = &[
    ("databases", "databases", "Databases"),
    ("users", "users", "Users"),
    ("pools", "pools", "Pools"),
    ("free_clients", "free_clients", "Records of clients that nobody uses"),
    ("used_clients", "used_clients", "Records of clients in use"),
    ("login_clients", "login_clients", "Clients on their way in"),
    ("free_servers", "free_servers", "Records of servers that nobody uses"),
    ("used_servers", "used_servers", "Records of servers in use"),
    ("dns_names", "cached_dns_names", "Host names whose addresses are known"),
    ("dns_zones", "cached_dns_zones", "Zones of host names that are watched"),
    ("dns_queries", "in_flight_dns_queries", "Host names that are being looked up"),
];

/// Adds all of them.
pub fn push_all(snapshot: &mut Snapshot, core: &Core) {
    push_lists(snapshot, core);
    let settings = core.settings();
    let limits = [
        ("config_max_client_connections", "max_client_conn", settings.max_client_conn),
        ("config_max_user_connections", "max_user_connections", settings.max_user_connections),
    ];
    for (name, help, most) in limits {
        snapshot.single(name, Kind::Gauge, help, most.into());
    }
    SOURCES.iter().for_each(|source| push_source(snapshot, core, source));
}

fn push_lists(snapshot: &mut Snapshot, core: &Core) {
    let mut items = Items::default();
    read("LISTS", core, &mut items);
    for (list, family, help) in LISTS {
        let value = items.0.get(*list).copied().unwrap_or_default();
        snapshot.single(family, Kind::Gauge, help, value);
    }
}

fn read(table: &str, core: &Core, reader: &mut dyn Reader) {
    if let Some(table) = console::table(table) {
        table.visit(Scene { core, buffers: &NoBuffers }, reader);
    }
}

fn push_source(snapshot: &mut Snapshot, core: &Core, source: &Source) {
    let Some(table) = console::table(source.table) else { return };
    let heads = table.heads();
    let mut rows = Rows::new(snapshot, core, source, &heads);
    table.visit(Scene { core, buffers: &NoBuffers }, &mut rows);
    let done = rows.done;
    for prefix in source.prefixes {
        for (at, (column, family)) in source.families.iter().enumerate() {
            let Some(head) = heads.iter().find(|head| head.name == *column) else { continue };
            let kind = if head.nature == Nature::Counter { Kind::Counter } else { Kind::Gauge };
            let unit = match family.contains("_seconds") {
                true => Unit::Microseconds,
                false => Unit::One,
            };
            snapshot.family(&format!("{prefix}{family}"), kind, unit, head.help);
            for (labels, values) in &done {
                snapshot.sample(*labels, values[at]);
            }
        }
    }
}

/// What a column is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    Label(usize),
    Value(usize),
    /// Whole seconds of a value, and the microseconds beyond them.
    Seconds(usize),
    Microseconds(usize),
    Nothing,
}

/// Takes in the rows of one table.
struct Rows<'a> {
    snapshot: &'a mut Snapshot,
    core: &'a Core,
    source: &'a Source,
    roles: Vec<Role>,
    labels: Vec<String>,
    values: Vec<u64>,
    done: Vec<(Labels, Vec<u64>)>,
    /// Where the rows stand that stand for many, by all their labels.
    others: HashMap<Vec<String>, usize>,
}

impl<'a> Rows<'a> {
    fn new(
        snapshot: &'a mut Snapshot,
        core: &'a Core,
        source: &'a Source,
        heads: &[Head],
    ) -> Rows<'a> {
        let role = |head: &Head| {
            let label = source.labels.iter().position(|(column, _)| *column == head.name);
            let value = |name: &str| source.families.iter().position(|(column, _)| *column == name);
            match (label, head.name) {
                (Some(at), _) => Role::Label(at),
                (None, "maxwait") => value("maxwait").map_or(Role::Nothing, Role::Seconds),
                (None, "maxwait_us") => value("maxwait").map_or(Role::Nothing, Role::Microseconds),
                (None, name) => value(name).map_or(Role::Nothing, Role::Value),
            }
        };
        Rows {
            snapshot,
            core,
            source,
            roles: heads.iter().map(role).collect(),
            labels: vec![String::new(); source.labels.len()],
            values: vec![0; source.families.len()],
            done: Vec::new(),
            others: HashMap::new(),
        }
    }

    /// Adds a row to the one that stands for it and others.
    fn fold(&mut self) {
        self.labels[0] = OTHERS.to_owned();
        if let Some(at) = self.others.get(&self.labels) {
            let sums = self.done[*at].1.iter_mut().zip(&self.values);
            for ((sum, value), (column, _)) in sums.zip(self.source.families) {
                *sum = if *column == "maxwait" { *value.max(sum) } else { *sum + value };
            }
            return;
        }
        self.others.insert(self.labels.clone(), self.done.len());
        self.push();
    }

    fn push(&mut self) {
        let names = self.source.labels.iter().zip(&self.labels);
        let pairs: Vec<(&str, &str)> =
            names.map(|((_, name), value)| (*name, value.as_str())).collect();
        self.done.push((self.snapshot.labels(&pairs), self.values.clone()));
    }
}

impl Reader for Rows<'_> {
    fn begin_row(&mut self) {
        self.values.fill(0);
    }

    fn wants(&self, column: usize) -> bool {
        self.roles[column] != Role::Nothing
    }

    fn value(&mut self, column: usize, value: &Value<'_>) {
        match self.roles[column] {
            Role::Label(at) => {
                self.labels[at].clear();
                match value {
                    Value::Text(text) => self.labels[at].push_str(text),
                    Value::Number(number) => self.labels[at].push_str(&number.to_string()),
                    Value::Null | Value::Ptr(_) | Value::Time(_) => {}
                }
            }
            Role::Value(at) => self.values[at] += number(value),
            Role::Seconds(at) => self.values[at] += number(value) * 1_000_000,
            Role::Microseconds(at) => self.values[at] += number(value),
            Role::Nothing => {}
        }
    }

    fn end_row(&mut self) {
        match is_one_of_many(self.core, &self.labels[0]) {
            false => self.push(),
            true if self.source.sums_others => self.fold(),
            true => {}
        }
    }
}

fn number(value: &Value<'_>) -> u64 {
    match value {
        Value::Number(number) => *number,
        Value::Null | Value::Ptr(_) | Value::Text(_) | Value::Time(_) => 0,
    }
}

/// The name that a database is shown by.
pub fn shown_name<'a>(core: &Core, database: &'a str) -> &'a str {
    if is_one_of_many(core, database) { OTHERS } else { database }
}

/// Whether a database is one of those that have no series of their own: clients can have `*` make
/// as many as they like.
pub fn is_one_of_many(core: &Core, database: &str) -> bool {
    let found = core.find_database(database).map(|id| &core.databases[id]);
    found.is_some_and(|found| found.is_auto && found.latency() == Some(Place::SHARED))
}

/// The rows of SHOW LISTS.
#[derive(Default)]
struct Items(HashMap<String, u64>, String);

impl Reader for Items {
    fn value(&mut self, _: usize, value: &Value<'_>) {
        match value {
            Value::Text(text) => self.1 = text.to_string(),
            value => drop(self.0.insert(std::mem::take(&mut self.1), number(value))),
        }
    }
}
