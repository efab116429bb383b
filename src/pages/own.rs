//! Families that the exporter does not have: times as histograms, errors, logins, the process.

use std::collections::{BTreeMap, HashSet};

use super::exposition::{BOUNDS, FamilyId, FamilyKind, Labels, Part, Snapshot, Unit};
use super::families::{is_one_of_many, shown_name};
use super::walk::{Walk, take};
use super::{Facts, View};
use crate::console::{self, VisibleClient};
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, DatabaseId, PoolId};
use crate::pool::login::account::VERSION;
use crate::pool::records::database::Database;
use crate::pool::records::secured::Whose;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::events::Concern;
use crate::pool::telling::histogram::Histogram;
use crate::pool::telling::latency::{Latencies, LatencyPlace, OTHERS};

/// The most application names that have series of their own. Clients choose these names, so their
/// number needs a limit.
const MOST_APPLICATIONS: usize = 50;

/// Adds the families that are read at once, not row by row.
pub fn push_singles(snapshot: &mut Snapshot, view: View<'_>) {
    let View { core, facts, .. } = view;
    snapshot.single("up", FamilyKind::Gauge, "1: the pooler answers", 1);
    let version = snapshot.labels(&[("version", VERSION)]);
    let help = "1, labelled with the version";
    let family = snapshot.family("version_info", FamilyKind::Gauge, Unit::One, help);
    snapshot.sample(family, version, 1);
    push_state(snapshot, core, facts);
    push_process(snapshot, facts);
    push_errors(snapshot, core);
    push_tls(snapshot, core);
}

/// The families that are read row by row: those of databases, clients and pools.
pub fn walks() -> [Box<dyn Walk>; 3] {
    [Box::new(Times::Due), Box::new(Clients::default()), Box::new(Ages::Due)]
}

fn push_state(snapshot: &mut Snapshot, core: &Core, facts: &Facts) {
    let is_draining = core.shutdown != Shutdown::No;
    let gauges = [
        ("paused", "1 while all databases are paused", core.is_paused.into()),
        ("draining", "1 once the end of the process has been asked for", is_draining.into()),
        (
            "prepared_statements",
            "Texts of prepared statements that are kept",
            core.statements.len() as u64,
        ),
        ("prepared_statements_bytes", "Bytes of those texts", core.statements.text_bytes() as u64),
    ];
    for (name, help, value) in gauges {
        snapshot.single(name, FamilyKind::Gauge, help, value);
    }
    snapshot.single(
        "prepared_statement_evictions_total",
        FamilyKind::Counter,
        "Prepared statements that servers forgot for newer ones (max_prepared_statements)",
        core.statements.evictions,
    );
    let results = [("failed", facts.reloads.failed), ("ok", facts.reloads.done)];
    push_results(snapshot, "config_reloads_total", "RELOADs by result", results);
    let logins = core.all_stats().logins + core.console_stats.logins;
    let results = [("failed", core.failed_logins), ("ok", logins)];
    push_results(snapshot, "client_logins_total", "Logins of clients by result", results);
    let help = "How long turns of the loop took, the wait for events aside";
    let turns =
        snapshot.family("loop_turn_seconds", FamilyKind::Histogram, Unit::Microseconds, help);
    push_histogram(snapshot, turns, Snapshot::NONE, facts.turns.histogram());
}

fn push_results(
    snapshot: &mut Snapshot,
    name: &str,
    help: &'static str,
    results: [(&str, u64); 2],
) {
    let family = snapshot.family(name, FamilyKind::Counter, Unit::One, help);
    for (result, count) in results {
        let labels = snapshot.labels(&[("result", result)]);
        snapshot.sample(family, labels, count);
    }
}

/// Figures of the process, under the names that all client libraries of Prometheus use.
fn push_process(snapshot: &mut Snapshot, facts: &Facts) {
    let (name, help) = ("/process_cpu_seconds_total", "Processor time used");
    let family = snapshot.family(name, FamilyKind::Counter, Unit::Microseconds, help);
    snapshot.sample(family, Snapshot::NONE, facts.cpu_us);
    let help = "When the process was started, in seconds since 1970";
    let name = "/process_start_time_seconds";
    let family = snapshot.family(name, FamilyKind::Gauge, Unit::Microseconds, help);
    snapshot.sample(family, Snapshot::NONE, facts.started_us);
    let gauges = [
        ("/process_open_fds", "Open file descriptors", facts.open_fds),
        ("/process_max_fds", "Most file descriptors that may be open", facts.most_fds),
        ("/process_resident_memory_bytes", "Memory in use", facts.resident),
        ("/process_virtual_memory_bytes", "Address space in use", facts.address_space),
    ];
    for (name, help, value) in gauges.into_iter().filter(|gauge| gauge.2 > 0) {
        snapshot.single(name, FamilyKind::Gauge, help, value);
    }
}

/// Names and help texts of the families of [`console::MEASURES`], in their order.
const TIMES: [(&str, &str); 4] = [
    ("query_duration_seconds", "How long queries took"),
    ("transaction_duration_seconds", "How long transactions took"),
    ("client_wait_duration_seconds", "How long clients waited for a server"),
    ("server_login_duration_seconds", "How long servers took to log in"),
];

/// Times of the databases that have had a pool.
enum Times {
    Due,
    Begun([FamilyId; 4], Vec<DatabaseId>),
}

impl Walk for Times {
    fn go_on(&mut self, snapshot: &mut Snapshot, view: View<'_>, most: &mut usize) -> bool {
        let core = view.core;
        if let Times::Due = self {
            let families = TIMES.map(|(name, help)| {
                snapshot.family(name, FamilyKind::Histogram, Unit::Microseconds, help)
            });
            let is_shared = |(_, database): (DatabaseId, &Database)| {
                database.latency() == Some(LatencyPlace::SHARED)
            };
            if core.databases.iter().any(is_shared) {
                push_times(snapshot, &families, OTHERS, core.latencies.of(LatencyPlace::SHARED));
            }
            *self = Times::Begun(families, core.databases.ids());
        }
        let Times::Begun(families, ids) = self else { return true };
        for id in take(ids, most) {
            let database = core.databases.get(id).filter(|_| core.is_shown(id));
            let place =
                database.and_then(Database::latency).filter(|one| *one != LatencyPlace::SHARED);
            if let (Some(database), Some(place)) = (database, place) {
                push_times(snapshot, families, &database.line.name, core.latencies.of(place));
            }
        }
        ids.is_empty()
    }
}

fn push_times(
    snapshot: &mut Snapshot,
    families: &[FamilyId; 4],
    database: &str,
    latencies: &Latencies,
) {
    let labels = snapshot.labels(&[("database", database)]);
    for ((_, measure), family) in console::MEASURES.iter().zip(families) {
        push_histogram(snapshot, *family, labels, measure(latencies));
    }
}

fn push_histogram(
    snapshot: &mut Snapshot,
    family: FamilyId,
    labels: Labels,
    histogram: &Histogram,
) {
    let (counts, count) = histogram.up_to(&BOUNDS.map(|(_, us)| us));
    for (at, count) in counts.into_iter().chain([count]).enumerate() {
        snapshot.part(family, labels, Part::Bucket(at as u8), count);
    }
    snapshot.part(family, labels, Part::Sum, histogram.sum_us());
    snapshot.part(family, labels, Part::Count, count);
}

fn push_errors(snapshot: &mut Snapshot, core: &Core) {
    let tallies = &core.journal.events.tallies;
    let help = "What clients were told";
    let family = snapshot.family("errors_total", FamilyKind::Counter, Unit::One, help);
    for tally in tallies.iter().filter(|tally| tally.concern == Concern::Client) {
        let labels = [("sqlstate", tally.sqlstate), ("reason", &tally.reason)];
        let labels = snapshot.labels(&labels);
        snapshot.sample(family, labels, tally.count);
    }
    let (name, help) = ("server_connections_closed_total", "Why servers were closed");
    let family = snapshot.family(name, FamilyKind::Counter, Unit::One, help);
    for tally in tallies.iter().filter(|tally| tally.concern == Concern::Server) {
        let labels = snapshot.labels(&[("reason", &tally.reason)]);
        snapshot.sample(family, labels, tally.count);
    }
}

/// Clients by database, user, application and state: counted first, and then added to the snapshot.
#[derive(Default)]
struct Clients {
    /// The clients that are not counted yet; `None` before the count begins.
    due: Option<Vec<ClientId>>,
    /// Application names that have series of their own.
    applications: HashSet<String>,
    counts: BTreeMap<[String; 4], u64>,
    family: Option<FamilyId>,
}

impl Walk for Clients {
    fn go_on(&mut self, snapshot: &mut Snapshot, view: View<'_>, most: &mut usize) -> bool {
        let core = view.core;
        let due = self.due.get_or_insert_with(|| core.clients.ids());
        let ids = take(due, most);
        let is_counted = due.is_empty();
        let clients = ids.into_iter().filter_map(|id| console::visible_client(core, id));
        clients.for_each(|client| self.count(core, &client));
        is_counted && self.tell(snapshot, most)
    }
}

impl Clients {
    fn count(&mut self, core: &Core, client: &VisibleClient<'_>) {
        let names = &mut self.applications;
        let is_known = names.contains(&*client.application)
            || names.len() < MOST_APPLICATIONS && names.insert(client.application.to_string());
        let application = if is_known { &*client.application } else { OTHERS };
        let database = shown_name(core, client.database);
        let key = [database, client.user, application, client.state].map(str::to_owned);
        *self.counts.entry(key).or_default() += 1;
    }

    /// Adds counts to the snapshot. Returns whether all have been added.
    fn tell(&mut self, snapshot: &mut Snapshot, most: &mut usize) -> bool {
        let help = "Clients by database, user, application and state";
        let family = *self.family.get_or_insert_with(|| {
            snapshot.family("client_connections", FamilyKind::Gauge, Unit::One, help)
        });
        while *most > 0 {
            let Some((key, count)) = self.counts.pop_first() else { return true };
            let names = ["database", "user", "application_name", "state"].into_iter();
            let pairs: Vec<(&str, &str)> = names.zip(key.iter().map(String::as_str)).collect();
            let labels = snapshot.labels(&pairs);
            snapshot.sample(family, labels, count);
            *most -= 1;
        }
        self.counts.is_empty()
    }
}

/// The figures of SHOW TLS: when certificates expire, and how many handshakes succeeded or failed.
fn push_tls(snapshot: &mut Snapshot, core: &Core) {
    let contexts = &core.tls_contexts;
    let help = "When the first of a file's certificates ends, in seconds since 1970";
    let name = "tls_certificate_expiry_seconds";
    let family = snapshot.family(name, FamilyKind::Gauge, Unit::One, help);
    let mut told: Vec<&str> = Vec::new();
    let files = contexts.iter().flat_map(|one| [&one.certificate, &one.authorities]);
    for file in files.flatten() {
        // Several contexts may have been made of one file.
        if !told.contains(&&*file.path) {
            told.push(&file.path);
            let labels = snapshot.labels(&[("file", &file.path)]);
            snapshot.sample(family, labels, file.not_after);
        }
    }
    let help = "TLS handshakes by side and result";
    let family = snapshot.family("tls_handshakes_total", FamilyKind::Counter, Unit::One, help);
    for (side, is_client) in [("client", true), ("server", false)] {
        let mine = contexts.iter().filter(|one| (one.whose == Whose::Clients) == is_client);
        let (done, failed) = mine.fold((0, 0), |(done, failed), one| {
            (done + one.tally.handshakes, failed + one.tally.failures)
        });
        for (result, count) in [("failed", failed), ("ok", done)] {
            let labels = snapshot.labels(&[("side", side), ("result", result)]);
            snapshot.sample(family, labels, count);
        }
    }
}

/// How old the oldest transaction and the oldest pin of each pool are.
enum Ages {
    Due,
    Begun([FamilyId; 2], Vec<PoolId>),
}

impl Walk for Ages {
    fn go_on(&mut self, snapshot: &mut Snapshot, view: View<'_>, most: &mut usize) -> bool {
        let core = view.core;
        if let Ages::Due = self {
            let families = [
                ("pools_oldest_transaction_seconds", "Age of the oldest transaction under way"),
                ("pools_oldest_pin_seconds", "For how long a server has been kept for its client"),
            ];
            let families = families.map(|(name, help)| {
                snapshot.family(name, FamilyKind::Gauge, Unit::Microseconds, help)
            });
            *self = Ages::Begun(families, core.pools.ids());
        }
        let Ages::Begun(families, ids) = self else { return true };
        for id in take(ids, most) {
            // Of the pools of one database and user only one has a row, and so these labels.
            let Some(pool) = core.pools.get(id).filter(|_| console::has_row(core, id)) else {
                continue;
            };
            let database = &core.databases[pool.database];
            if !is_one_of_many(core, &database.line.name) {
                let user = &core.users[pool.user].name;
                let labels = [("database", database.line.name.as_str()), ("user", user)];
                let labels = snapshot.labels(&labels);
                snapshot.sample(families[0], labels, oldest_transaction_us(core, id));
                snapshot.sample(families[1], labels, oldest_pin_us(core, id));
            }
        }
        ids.is_empty()
    }
}

fn oldest_pin_us(core: &Core, pool: PoolId) -> u64 {
    let servers = core.pools[pool].active.iter(&core.servers).map(|id| &core.servers[id]);
    let pinned = servers.filter_map(|server| server.session.pinned_since());
    pinned.min().map_or(0, |since| core.mono().micros_since(since))
}

/// How long the oldest of the pool's transactions has taken so far.
pub fn oldest_transaction_us(core: &Core, pool: PoolId) -> u64 {
    let servers = core.pools[pool].active.iter(&core.servers).map(|id| &core.servers[id]);
    let begun = servers.filter(|server| !server.is_clean()).map(|server| server.xact_start);
    begun.min().map_or(0, |start| core.mono().micros_since(start))
}
