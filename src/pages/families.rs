//! Families that are columns of SHOW tables: the names and labels are those of
//! prometheus-community/pgbouncer_exporter 0.12.1, so that dashboards and alerts made for it go on
//! working.
//!
//! Release 0.11 of the exporter renamed the traffic counters, and dashboards ask for either name,
//! so both are given.

use std::collections::{BTreeMap, HashMap};

use super::exposition::{FamilyId, FamilyKind, Snapshot, Unit};
use super::walk::{Walk, take};
use super::{NoBuffers, View};
use crate::console::{
    self, ColumnHead, Nature, Rowwise, Scene, Subject, TableReader, Value, rowwise,
};
use crate::pool::core::Core;
use crate::pool::telling::latency::{LatencyPlace, OTHERS};

/// A table, and the families made from its columns.
struct TableSource {
    table: &'static dyn Rowwise,
    /// Columns that become labels, and the labels' names.
    labels: &'static [(&'static str, &'static str)],
    /// Prefixes of the families' names. Each family is given under every prefix.
    prefixes: &'static [&'static str],
    /// Columns, and the names of the families made from them.
    families: &'static [(&'static str, &'static str)],
    /// Whether databases made from `*`, beyond the first ones, are summed up; else they are left
    /// out.
    sums_others: bool,
}

const SOURCES: &[TableSource] = &[
    TableSource {
        table: &rowwise::DATABASES,
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
    TableSource {
        table: &rowwise::STATS_TOTALS,
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
    TableSource {
        table: &rowwise::POOLS,
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
    TableSource {
        table: &rowwise::SESSION_STATE,
        labels: &[("database", "database"), ("user", "user")],
        prefixes: &["pools_"],
        families: &[
            ("pinned", "pinned_servers"),
            ("pins", "pins_total"),
            ("resets", "state_resets_total"),
            ("reset_time", "state_reset_seconds_total"),
            ("reset_failures", "state_reset_failures_total"),
            ("refusals", "state_refusals_total"),
            ("warnings", "state_warnings_total"),
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

/// Adds the families that are read at once, not row by row.
pub fn push_singles(snapshot: &mut Snapshot, core: &Core) {
    push_lists(snapshot, core);
    let settings = core.settings();
    let limits = [
        ("config_max_client_connections", "max_client_conn", settings.max_client_conn),
        ("config_max_user_connections", "max_user_connections", settings.max_user_connections),
    ];
    for (name, help, most) in limits {
        snapshot.single(name, FamilyKind::Gauge, help, most.into());
    }
}

/// The families that are read row by row: those of databases and pools.
pub fn walks() -> impl Iterator<Item = Box<dyn Walk>> {
    SOURCES.iter().map(|source| -> Box<dyn Walk> { Box::new(TableProgress::Due(source)) })
}

fn push_lists(snapshot: &mut Snapshot, core: &Core) {
    let mut items = Items::default();
    read("LISTS", core, &mut items);
    for (list, family, help) in LISTS {
        let value = items.0.get(*list).copied().unwrap_or_default();
        snapshot.single(family, FamilyKind::Gauge, help, value);
    }
}

fn read(table: &str, core: &Core, reader: &mut dyn TableReader) {
    if let Some(table) = console::table(table) {
        table.visit(Scene { core, buffers: &NoBuffers }, reader);
    }
}

/// How far a table has been read.
enum TableProgress {
    Due(&'static TableSource),
    Begun(TablePlan, Vec<Subject>),
}

impl Walk for TableProgress {
    fn go_on(&mut self, snapshot: &mut Snapshot, view: View<'_>, most: &mut usize) -> bool {
        let core = view.core;
        if let TableProgress::Due(source) = self {
            *self =
                TableProgress::Begun(TablePlan::new(source, snapshot), source.table.subjects(core));
        }
        let TableProgress::Begun(plan, subjects) = self else { return true };
        let scene = Scene { core, buffers: &NoBuffers };
        for subject in take(subjects, most) {
            plan.source.table.read(scene, subject, &mut RowReader { snapshot, core, plan });
        }
        if subjects.is_empty() {
            plan.push_others(snapshot);
        }
        subjects.is_empty()
    }
}

/// What a column is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum ColumnRole {
    Label(usize),
    Value(usize),
    /// Whole seconds of a value, and the microseconds beyond them.
    Seconds(usize),
    Microseconds(usize),
    Nothing,
}

/// Which families and labels the columns of a table belong to.
struct TablePlan {
    source: &'static TableSource,
    roles: Vec<ColumnRole>,
    /// For each prefix, the families of the source, in its order.
    families: Vec<FamilyId>,
    /// The labels of the current row.
    labels: Vec<String>,
    values: Vec<u64>,
    /// The rows that each sum up many databases, by all their labels.
    others: BTreeMap<Vec<String>, Vec<u64>>,
}

impl TablePlan {
    fn new(source: &'static TableSource, snapshot: &mut Snapshot) -> TablePlan {
        let heads = source.table.heads();
        let role = |head: &ColumnHead| {
            let label = source.labels.iter().position(|(column, _)| *column == head.name);
            let value = |name: &str| source.families.iter().position(|(column, _)| *column == name);
            match (label, head.name) {
                (Some(at), _) => ColumnRole::Label(at),
                (None, "maxwait") => {
                    value("maxwait").map_or(ColumnRole::Nothing, ColumnRole::Seconds)
                }
                (None, "maxwait_us") => {
                    value("maxwait").map_or(ColumnRole::Nothing, ColumnRole::Microseconds)
                }
                (None, name) => value(name).map_or(ColumnRole::Nothing, ColumnRole::Value),
            }
        };
        TablePlan {
            source,
            roles: heads.iter().map(role).collect(),
            families: families(source, &heads, snapshot),
            labels: vec![String::new(); source.labels.len()],
            values: vec![0; source.families.len()],
            others: BTreeMap::new(),
        }
    }

    /// Adds the current row to the one that sums it up with others.
    fn fold(&mut self) {
        OTHERS.clone_into(&mut self.labels[0]);
        let Some(sums) = self.others.get_mut(&self.labels) else {
            self.others.insert(self.labels.clone(), self.values.clone());
            return;
        };
        for ((sum, value), (column, _)) in
            sums.iter_mut().zip(&self.values).zip(self.source.families)
        {
            *sum = if *column == "maxwait" { *value.max(sum) } else { *sum + value };
        }
    }

    fn push(&self, snapshot: &mut Snapshot, labels: &[String], values: &[u64]) {
        let names = self.source.labels.iter().zip(labels);
        let pairs: Vec<(&str, &str)> =
            names.map(|((_, name), value)| (*name, value.as_str())).collect();
        let labels = snapshot.labels(&pairs);
        for families in self.families.chunks(values.len()) {
            for (family, value) in families.iter().zip(values) {
                snapshot.sample(*family, labels, *value);
            }
        }
    }

    fn push_others(&self, snapshot: &mut Snapshot) {
        self.others.iter().for_each(|(labels, values)| self.push(snapshot, labels, values));
    }
}

/// Adds the families of a table.
fn families(source: &TableSource, heads: &[ColumnHead], snapshot: &mut Snapshot) -> Vec<FamilyId> {
    let mut all = Vec::new();
    for prefix in source.prefixes {
        for (column, family) in source.families {
            let head = heads.iter().find(|head| head.name == *column);
            let (nature, help) = head.map_or((Nature::Gauge, ""), |head| (head.nature, head.help));
            let kind =
                if nature == Nature::Counter { FamilyKind::Counter } else { FamilyKind::Gauge };
            let unit = match family.contains("_seconds") {
                true => Unit::Microseconds,
                false => Unit::One,
            };
            all.push(snapshot.family(&format!("{prefix}{family}"), kind, unit, help));
        }
    }
    all
}

/// Reads one row.
struct RowReader<'a> {
    snapshot: &'a mut Snapshot,
    core: &'a Core,
    plan: &'a mut TablePlan,
}

impl TableReader for RowReader<'_> {
    fn begin_row(&mut self) {
        self.plan.values.fill(0);
    }

    fn wants(&self, column: usize) -> bool {
        self.plan.roles[column] != ColumnRole::Nothing
    }

    fn value(&mut self, column: usize, value: &Value<'_>) {
        let TablePlan { roles, labels, values, .. } = self.plan;
        match roles[column] {
            ColumnRole::Label(at) => {
                labels[at].clear();
                match value {
                    Value::Text(text) => labels[at].push_str(text),
                    Value::Number(number) => labels[at].push_str(&number.to_string()),
                    Value::Null | Value::Ptr(_) | Value::Time(_) => {}
                }
            }
            ColumnRole::Value(at) => values[at] += number(value),
            ColumnRole::Seconds(at) => values[at] += number(value) * 1_000_000,
            ColumnRole::Microseconds(at) => values[at] += number(value),
            ColumnRole::Nothing => {}
        }
    }

    fn end_row(&mut self) {
        match is_one_of_many(self.core, &self.plan.labels[0]) {
            false => self.plan.push(self.snapshot, &self.plan.labels, &self.plan.values),
            true if self.plan.source.sums_others => self.plan.fold(),
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

/// Whether a database is one of those that have no series of their own: clients can make `*` create
/// as many databases as they like.
pub fn is_one_of_many(core: &Core, database: &str) -> bool {
    let found = core.directory.find_database(database).map(|id| &core.databases[id]);
    found.is_some_and(|found| found.is_auto && found.latency() == Some(LatencyPlace::SHARED))
}

/// The rows of SHOW LISTS.
#[derive(Default)]
struct Items(HashMap<String, u64>, String);

impl TableReader for Items {
    fn value(&mut self, _: usize, value: &Value<'_>) {
        match value {
            Value::Text(text) => self.1 = text.to_string(),
            value => drop(self.0.insert(std::mem::take(&mut self.1), number(value))),
        }
    }
}
