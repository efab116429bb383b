//! Families that the exporter does not have: times as histograms, errors, logins, the process.

use std::collections::HashMap;

use super::exposition::{BOUNDS, Kind, Labels, Part, Snapshot, Unit};
use super::families::{is_one_of_many, shown_name};
use super::{Facts, View};
use crate::console;
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::login::account::VERSION;
use crate::pool::records::secured::Whose;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::events::Concern;
use crate::pool::telling::histogram::Histogram;
use crate::pool::telling::latency::OTHERS;

/// Names of applications that have series of their own: clients choose them.
const MOST_APPLICATIONS: usize = 50;

/// Adds all of them.
pub fn push_all(snapshot: &mut Snapshot, view: View<'_>) {
    let View { core, facts, .. } = view;
    snapshot.single("up", Kind::Gauge, "1: the pooler answers", 1);
    let version = snapshot.labels(&[("version", VERSION)]);
    snapshot.family("version_info", Kind::Gauge, Unit::One, "1, labelled with the version");
    snapshot.sample(version, 1);
    push_state(snapshot, core, facts);
    push_process(snapshot, facts);
    push_latencies(snapshot, core);
    push_errors(snapshot, core);
    push_clients(snapshot, core);
    push_transactions(snapshot, core);
    push_tls(snapshot, core);
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
        snapshot.single(name, Kind::Gauge, help, value);
    }
    let results = [("failed", facts.reloads.failed), ("ok", facts.reloads.done)];
    push_results(snapshot, "config_reloads_total", "RELOADs by result", results);
    let logins = core.all_stats().logins + core.console_stats.logins;
    let results = [("failed", core.failed_logins), ("ok", logins)];
    push_results(snapshot, "client_logins_total", "Logins of clients by result", results);
    snapshot.family(
        "loop_turn_seconds",
        Kind::Histogram,
        Unit::Microseconds,
        "How long turns of the loop took, the wait for events aside",
    );
    push_histogram(snapshot, Snapshot::NONE, &facts.turns);
}

fn push_results(
    snapshot: &mut Snapshot,
    name: &str,
    help: &'static str,
    results: [(&str, u64); 2],
) {
    snapshot.family(name, Kind::Counter, Unit::One, help);
    for (result, count) in results {
        let labels = snapshot.labels(&[("result", result)]);
        snapshot.sample(labels, count);
    }
}

/// Under the names that every client library of Prometheus gives them.
fn push_process(snapshot: &mut Snapshot, facts: &Facts) {
    snapshot.family(
        "/process_cpu_seconds_total",
        Kind::Counter,
        Unit::Microseconds,
        "Processor time used",
    );
    snapshot.sample(Snapshot::NONE, facts.cpu_us);
    snapshot.family(
        "/process_start_time_seconds",
        Kind::Gauge,
        Unit::Microseconds,
        "When the process was started, in seconds since 1970",
    );
    snapshot.sample(Snapshot::NONE, facts.started_us);
    let gauges = [
        ("/process_open_fds", "Open file descriptors", facts.open_fds),
        ("/process_max_fds", "Most file descriptors that may be open", facts.most_fds),
        ("/process_resident_memory_bytes", "Memory in use", facts.resident),
        ("/process_virtual_memory_bytes", "Address space in use", facts.address_space),
    ];
    for (name, help, value) in gauges.into_iter().filter(|gauge| gauge.2 > 0) {
        snapshot.single(name, Kind::Gauge, help, value);
    }
}

/// Names and helps of the families of [`console::MEASURES`], in their order.
const TIMES: [(&str, &str); 4] = [
    ("query_duration_seconds", "How long queries took"),
    ("transaction_duration_seconds", "How long transactions took"),
    ("client_wait_duration_seconds", "How long clients waited for a server"),
    ("server_login_duration_seconds", "How long servers took to log in"),
];

fn push_latencies(snapshot: &mut Snapshot, core: &Core) {
    let places = console::latency_places(core);
    let label = |(name, place): (String, _)| (snapshot.labels(&[("database", &name)]), place);
    let places: Vec<_> = places.into_iter().map(label).collect();
    for ((_, measure), (name, help)) in console::MEASURES.iter().zip(TIMES) {
        snapshot.family(name, Kind::Histogram, Unit::Microseconds, help);
        for (labels, place) in &places {
            push_histogram(snapshot, *labels, measure(core.latencies.of(*place)));
        }
    }
}

fn push_histogram(snapshot: &mut Snapshot, labels: Labels, histogram: &Histogram) {
    let spread = histogram.since_start();
    let counts = spread.up_to(&BOUNDS.map(|(_, us)| us));
    for (at, count) in counts.into_iter().chain([spread.count]).enumerate() {
        snapshot.part(labels, Part::Bucket(at as u8), count);
    }
    snapshot.part(labels, Part::Sum, histogram.sum_us());
    snapshot.part(labels, Part::Count, spread.count);
}

fn push_errors(snapshot: &mut Snapshot, core: &Core) {
    let tallies = &core.events.tallies;
    snapshot.family("errors_total", Kind::Counter, Unit::One, "What clients were told");
    for tally in tallies.iter().filter(|tally| tally.concern == Concern::Client) {
        let labels = [("sqlstate", tally.sqlstate), ("reason", &tally.reason)];
        let labels = snapshot.labels(&labels);
        snapshot.sample(labels, tally.count);
    }
    snapshot.family(
        "server_connections_closed_total",
        Kind::Counter,
        Unit::One,
        "Why servers were closed",
    );
    for tally in tallies.iter().filter(|tally| tally.concern == Concern::Server) {
        let labels = snapshot.labels(&[("reason", &tally.reason)]);
        snapshot.sample(labels, tally.count);
    }
}

/// Clients by database, user, application and state.
fn push_clients(snapshot: &mut Snapshot, core: &Core) {
    type Key<'a> = (&'a str, &'a str, usize, &'static str);
    let mut applications: Vec<String> = vec![OTHERS.to_owned()];
    let mut counts: Vec<(Key<'_>, u64)> = Vec::new();
    let mut places: HashMap<Key<'_>, usize> = HashMap::new();
    for client in console::clients(core) {
        let application = match applications.iter().position(|name| *name == *client.application) {
            Some(at) => at,
            None if applications.len() > MOST_APPLICATIONS => 0,
            None => {
                applications.push(client.application.into_owned());
                applications.len() - 1
            }
        };
        let database = shown_name(core, client.database);
        let key = (database, client.user, application, client.state);
        let at = *places.entry(key).or_insert(counts.len());
        match counts.get_mut(at) {
            Some((_, count)) => *count += 1,
            None => counts.push((key, 1)),
        }
    }
    let help = "Clients by database, user, application and state";
    snapshot.family("client_connections", Kind::Gauge, Unit::One, help);
    for ((database, user, application, state), count) in counts {
        let labels = snapshot.labels(&[
            ("database", database),
            ("user", user),
            ("application_name", &applications[application]),
            ("state", state),
        ]);
        snapshot.sample(labels, count);
    }
}

/// What SHOW TLS tells: when certificates end, and how handshakes came out.
fn push_tls(snapshot: &mut Snapshot, core: &Core) {
    let contexts = &core.tls_contexts;
    let help = "When the first of a file's certificates ends, in seconds since 1970";
    snapshot.family("tls_certificate_expiry_seconds", Kind::Gauge, Unit::One, help);
    let mut told: Vec<&str> = Vec::new();
    let files = contexts.iter().flat_map(|one| [&one.certificate, &one.authorities]);
    for file in files.flatten() {
        // Several contexts may have been made of one file.
        if !told.contains(&&*file.path) {
            told.push(&file.path);
            let labels = snapshot.labels(&[("file", &file.path)]);
            snapshot.sample(labels, file.not_after);
        }
    }
    let help = "TLS handshakes by side and result";
    snapshot.family("tls_handshakes_total", Kind::Counter, Unit::One, help);
    for (side, is_client) in [("client", true), ("server", false)] {
        let mine = contexts.iter().filter(|one| (one.whose == Whose::Clients) == is_client);
        let (done, failed) = mine.fold((0, 0), |(done, failed), one| {
            (done + one.tally.handshakes, failed + one.tally.failures)
        });
        for (result, count) in [("failed", failed), ("ok", done)] {
            let labels = snapshot.labels(&[("side", side), ("result", result)]);
            snapshot.sample(labels, count);
        }
    }
}

fn push_transactions(snapshot: &mut Snapshot, core: &Core) {
    let help = "How long the oldest transaction under way has taken";
    snapshot.family("pools_oldest_transaction_seconds", Kind::Gauge, Unit::Microseconds, help);
    for (id, pool) in core.pools.iter() {
        let database = &core.databases[pool.database];
        if database.peer.is_none() && !is_one_of_many(core, &database.line.name) {
            let user = &core.users[pool.user].name;
            let labels = [("database", database.line.name.as_str()), ("user", user)];
            let labels = snapshot.labels(&labels);
            snapshot.sample(labels, oldest_transaction_us(core, id));
        }
    }
}

/// How long the oldest of the pool's transactions has taken so far.
pub fn oldest_transaction_us(core: &Core, pool: PoolId) -> u64 {
    let servers = core.pools[pool].active.iter(&core.servers).map(|id| &core.servers[id]);
    let begun = servers.filter(|server| !server.is_clean()).map(|server| server.xact_start);
    begun.min().map_or(0, |start| core.mono().micros_since(start))
}
