//! /status.json: what the page shows. Its size has a bound: of thousands of pools, it has those
//! that matter most.

use std::cmp::Reverse;

use super::answer::HttpResponse;
use super::families::shown_name;
use super::health;
use super::history::{self, Point, STEP};
use super::own::oldest_transaction_us;
use super::request::HttpStatus;
use super::{Facts, View};
use crate::base::json::Json;
use crate::base::order;
use crate::console;
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::login::account::VERSION;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::events::ReasonTally;
use crate::pool::telling::latency::{LatencyPlace, OTHERS};

/// The most pools that are shown.
const MOST_POOLS: usize = 100;

/// The most events, and the most kinds of errors, that are shown: the latest ones.
const MOST_NOTES: usize = 20;

/// The most changes of a RELOAD that are shown.
const MOST_CHANGES: usize = 50;

const KIND: &str = "application/json";

pub fn answer(view: View<'_>) -> HttpResponse {
    let mut json = Json::default();
    json.open('{');
    push_process(&mut json, view);
    let pools = shown_pools(view.core);
    push_pools(&mut json, view.core, &pools);
    push_latency(&mut json, view.core, &pools);
    push_history(&mut json, view);
    push_events(&mut json, view.core);
    push_errors(&mut json, view.core);
    push_pending(&mut json, view.facts);
    json.close('}');
    HttpResponse::new(HttpStatus::Ok, KIND, json.into_text().into_bytes())
}

fn push_process(json: &mut Json, view: View<'_>) {
    let (core, facts) = (view.core, view.facts);
    let state = match core.shutdown {
        Shutdown::No if core.is_paused => "paused",
        Shutdown::No => "active",
        Shutdown::WaitForClients | Shutdown::WaitForServers | Shutdown::Immediate => "draining",
    };
    json.key("version").text(VERSION).key("state").text(state);
    json.key("listening").flag(facts.is_listening);
    json.key("started").number(facts.started_us / 1000);
    json.key("now").number(core.now.wall_us / 1000);
    let is_failing = |id: &PoolId| health::pool_failure(core, *id).is_some();
    let pools: Vec<PoolId> = console::pools(core).into_iter().flatten().collect();
    let failing = pools.iter().filter(|id| is_failing(id)).count();
    let numbers = [
        ("clients", u64::from(core.client_count)),
        ("max_clients", core.settings().max_client_conn.into()),
        ("waiting", history::waiting(core).into()),
        ("servers", core.outbound_count() as u64),
        ("failing_pools", failing as u64),
        ("pool_count", pools.len() as u64),
        ("open_fds", facts.open_fds),
        ("max_fds", facts.most_fds),
        ("memory", facts.resident),
        ("reloads_failed", facts.reloads.failed),
    ];
    for (key, number) in numbers {
        json.key(key).number(number);
    }
}

/// A pool of clients, and what decides how much it matters.
#[derive(Clone)]
struct ShownPool {
    id: PoolId,
    waiting: usize,
    wait_us: u64,
    at_work: usize,
    clients: usize,
}

fn push_pools(json: &mut Json, core: &Core, pools: &[ShownPool]) {
    json.key("pools").open('[');
    for pool in pools {
        push_pool(json, core, pool);
    }
    json.close(']');
}

/// The pools, by name; if there are too many, the most important ones, by importance.
fn shown_pools(core: &Core) -> Vec<ShownPool> {
    let ids = console::pools(core).into_iter().flatten();
    let pools: Vec<ShownPool> = ids.map(|id| shown(core, id)).collect();
    if pools.len() > MOST_POOLS {
        return most_important(&pools);
    }
    let name = |pool: &ShownPool| console::pool_names(core, &Some(pool.id));
    order::sorted(&pools, |a, b| name(a).cmp(&name(b)))
}

/// The pools in which most clients wait, then those with most active servers. Only as many as are
/// shown are kept in order, since there may be thousands.
fn most_important(pools: &[ShownPool]) -> Vec<ShownPool> {
    let rank = |pool: &ShownPool| {
        let ShownPool { waiting, at_work, clients, .. } = *pool;
        (Reverse(waiting), Reverse(at_work), Reverse(clients))
    };
    let mut best: Vec<ShownPool> = Vec::with_capacity(MOST_POOLS + 1);
    for pool in pools {
        let at = best.partition_point(|known| rank(known) <= rank(pool));
        if at < MOST_POOLS {
            best.insert(at, pool.clone());
            best.truncate(MOST_POOLS);
        }
    }
    best
}

fn shown(core: &Core, id: PoolId) -> ShownPool {
    let pool = &core.pools[id];
    let since = core.waiting_since(id);
    ShownPool {
        id,
        waiting: pool.waiting_clients(),
        wait_us: since.map_or(0, |since| core.mono().micros_since(since)),
        at_work: pool.active.len(),
        clients: pool.client_count(),
    }
}

fn push_pool(json: &mut Json, core: &Core, shown: &ShownPool) {
    let pool = &core.pools[shown.id];
    let database = &core.databases[pool.database];
    json.open('{');
    json.key("database").text(&database.line.name);
    json.key("user").text(&core.users[pool.user].name);
    json.key("mode").text(core.pools[shown.id].mode.word());
    json.key("paused").flag(database.is_paused).key("disabled").flag(database.is_disabled);
    let free = pool.idle.len() + pool.used.len();
    let other = pool.server_count() - pool.active.len() - free - pool.logging_in.len();
    let numbers = [
        ("active", pool.active_clients() as u64),
        ("idle_clients", (pool.settled.len() - pool.active_clients()) as u64),
        ("waiting", shown.waiting as u64),
        ("wait_us", shown.wait_us),
        ("busy", pool.active.len() as u64),
        ("idle", free as u64),
        ("login", pool.logging_in.len() as u64),
        ("other", other as u64),
        ("size", core.limits().pool_size(shown.id).into()),
        ("oldest_us", oldest_transaction_us(core, shown.id)),
    ];
    for (key, number) in numbers {
        json.key(key).number(number);
    }
    if let Some(failure) = health::pool_failure(core, shown.id) {
        json.key("error").text(&failure);
    }
    json.close('}');
}

/// Recent percentiles, for the databases of the pools that are shown.
fn push_latency(json: &mut Json, core: &Core, pools: &[ShownPool]) {
    let mut places: Vec<(&str, LatencyPlace)> = Vec::new();
    for pool in pools {
        let database = &core.databases[core.pools[pool.id].database];
        let Some(place) = database.latency() else { continue };
        if places.iter().all(|(_, known)| *known != place) {
            let name = if place == LatencyPlace::SHARED { OTHERS } else { &database.line.name };
            places.push((name, place));
        }
    }
    json.key("latency").open('[');
    for (name, place) in places {
        let latencies = core.latencies.of(place);
        json.open('{').key("database").text(name);
        for (key, measure) in &console::MEASURES[..3] {
            let spread = measure(latencies).lately();
            json.key(key).open('[').number(spread.count);
            for percent in [50, 95, 99] {
                json.number(spread.percentile_us(percent));
            }
            json.number(spread.max_us).close(']');
        }
        json.close('}');
    }
    json.close(']');
}

fn push_history(json: &mut Json, view: View<'_>) {
    let history = view.history;
    json.key("step").number(STEP.as_secs());
    json.key("history_age").number(history.age_ms(view.core.mono()));
    json.key("history").open('[');
    for point in history.points() {
        let Point { queries_ds, query_us, wait_us, waiting, servers, clients } = *point;
        json.open('[').number(queries_ds.into());
        for number in query_us.into_iter().chain(wait_us).chain([waiting, servers, clients]) {
            json.number(number.into());
        }
        json.close(']');
    }
    json.close(']');
}

fn push_events(json: &mut Json, core: &Core) {
    json.key("events").open('[');
    for event in core.journal.events.events.iter().rev().take(MOST_NOTES) {
        json.open('{').key("time").number(event.wall_us / 1000);
        json.key("count").number(event.count).key("text").text(&event.text).close('}');
    }
    json.close(']');
}

fn push_errors(json: &mut Json, core: &Core) {
    json.key("errors").open('[');
    // A connection that ends in the usual way is no error.
    let tallies = core.journal.events.tallies.iter().filter(|tally| tally.is_trouble);
    let tallies: Vec<&ReasonTally> = tallies.collect();
    for tally in order::sorted(&tallies, |a, b| b.last_us.cmp(&a.last_us)).iter().take(MOST_NOTES) {
        json.open('{').key("side").text(tally.concern.word()).key("reason").text(&tally.reason);
        json.key("sqlstate").text(tally.sqlstate);
        json.key("count").number(tally.count).key("last").number(tally.last_us / 1000);
        json.key("database").text(shown_name(core, &tally.database)).key("user").text(&tally.user);
        json.key("detail").text(&tally.detail).key("hint").text(tally.hint.unwrap_or_default());
        json.close('}');
    }
    json.close(']');
}

fn push_pending(json: &mut Json, facts: &Facts) {
    json.key("reload").open('{').key("known").flag(facts.pending.is_known);
    json.key("changes").open('[');
    for change in facts.pending.changes.iter().take(MOST_CHANGES) {
        json.text(change);
    }
    json.close(']').key("count").number(facts.pending.changes.len() as u64);
    if let Some(error) = &facts.pending.error {
        json.key("error").text(error);
    }
    json.close('}');
}
