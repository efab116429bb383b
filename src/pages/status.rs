//! /status.json: what the page shows. Its size has a bound: of thousands of pools those come that
//! matter most.

use std::cmp::Reverse;

use super::answer::Answer;
use super::families::shown_name;
use super::health;
use super::history::{self, Point, STEP};
use super::own::oldest_transaction_us;
use super::request::Status;
use super::{Facts, View};
use crate::base::json::Json;
use crate::base::order;
use crate::console;
use crate::pool::core::Core;
use crate::pool::ids::PoolId;
use crate::pool::login::account::VERSION;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::events::Tally;

/// Pools that are shown.
const MOST_POOLS: usize = 100;

/// Events, and kinds of errors, that are shown: the latest.
const MOST_NOTES: usize = 20;

/// Changes of a RELOAD that are shown.
const MOST_CHANGES: usize = 50;

const KIND: &str = "application/json";

pub fn answer(view: View<'_>) -> Answer {
    let mut json = Json::default();
    json.open('{');
    push_process(&mut json, view);
    push_pools(&mut json, view.core);
    push_latency(&mut json, view.core);
    push_history(&mut json, view);
    push_events(&mut json, view.core);
    push_errors(&mut json, view.core);
    push_pending(&mut json, view.facts);
    json.close('}');
    Answer::new(Status::Ok, KIND, json.into_text().into_bytes())
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
    let pools = console::pools(core).map(|id| core.pools[id].database);
    let failing = pools.filter(|id| health::failure(core, *id).is_some()).count();
    let numbers = [
        ("clients", u64::from(core.client_count)),
        ("max_clients", core.settings().max_client_conn.into()),
        ("waiting", history::waiting(core).into()),
        ("servers", core.servers.len() as u64),
        ("failing_pools", failing as u64),
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
struct Shown {
    id: PoolId,
    waiting: usize,
    wait_us: u64,
    at_work: usize,
    clients: usize,
}

fn push_pools(json: &mut Json, core: &Core) {
    let mut pools: Vec<Shown> = console::pools(core).map(|id| shown(core, id)).collect();
    json.key("pool_count").number(pools.len() as u64);
    let rank = |pool: &Shown| {
        let Shown { waiting, at_work, clients, .. } = *pool;
        (Reverse(waiting), Reverse(at_work), Reverse(clients))
    };
    if pools.len() > MOST_POOLS {
        pools = order::sorted(&pools, |a, b| rank(a).cmp(&rank(b)));
        pools.truncate(MOST_POOLS);
    }
    json.key("pools").open('[');
    for pool in &pools {
        push_pool(json, core, pool);
    }
    json.close(']');
}

fn shown(core: &Core, id: PoolId) -> Shown {
    let pool = &core.pools[id];
    let since = core.waiting_since(id);
    Shown {
        id,
        waiting: pool.waiting_clients(),
        wait_us: since.map_or(0, |since| core.mono().micros_since(since)),
        at_work: pool.active.len(),
        clients: pool.client_count(),
    }
}

fn push_pool(json: &mut Json, core: &Core, shown: &Shown) {
    let pool = &core.pools[shown.id];
    let database = &core.databases[pool.database];
    json.open('{');
    json.key("database").text(&database.line.name);
    json.key("user").text(&core.users[pool.user].name);
    json.key("mode").text(core.pool_mode(shown.id).word());
    json.key("paused").flag(database.is_paused).key("disabled").flag(database.is_disabled);
    let free = pool.idle.len() + pool.used.len();
    let other = pool.server_count() - pool.active.len() - free - pool.logging_in.len();
    let numbers = [
        ("active", pool.active_clients.len() as u64),
        ("idle_clients", pool.idle_clients.len() as u64),
        ("waiting", shown.waiting as u64),
        ("wait_us", shown.wait_us),
        ("busy", pool.active.len() as u64),
        ("idle", free as u64),
        ("login", pool.logging_in.len() as u64),
        ("other", other as u64),
        ("size", core.pool_size(shown.id).into()),
        ("oldest_us", oldest_transaction_us(core, shown.id)),
    ];
    for (key, number) in numbers {
        json.key(key).number(number);
    }
    if let Some(failure) = health::failure(core, pool.database) {
        json.key("error").text(&failure);
    }
    json.close('}');
}

/// Percentiles of late, for each database that has them.
fn push_latency(json: &mut Json, core: &Core) {
    json.key("latency").open('[');
    for (name, place) in console::latency_places(core).into_iter().take(MOST_POOLS) {
        let latencies = core.latencies.of(place);
        json.open('{').key("database").text(&name);
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
    for event in core.events.events.iter().rev().take(MOST_NOTES) {
        json.open('{').key("time").number(event.wall_us / 1000);
        json.key("count").number(event.count).key("text").text(&event.text).close('}');
    }
    json.close(']');
}

fn push_errors(json: &mut Json, core: &Core) {
    json.key("errors").open('[');
    // What ends in the course of things is no error.
    let tallies = core.events.tallies.iter().filter(|tally| tally.is_trouble);
    let tallies: Vec<&Tally> = tallies.collect();
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
    json.key("reload").open('{').key("changes").open('[');
    for change in facts.pending.changes.iter().take(MOST_CHANGES) {
        json.text(change);
    }
    json.close(']').key("count").number(facts.pending.changes.len() as u64);
    if let Some(error) = &facts.pending.error {
        json.key("error").text(error);
    }
    json.close('}');
}
