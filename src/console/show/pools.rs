//! SHOW POOLS: how many clients and servers of each pool are in each state.

use super::super::table::{Scene, Sheet, Value, gauge, int4, text};
use super::databases;
use crate::base::order;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::PoolId;
use crate::pool::records::carrier::Carrier;
use crate::pool::records::pool::{Pool, Purpose};

/// One pool; `None` is the console's.
pub type PoolRow = Option<PoolId>;

pub static POOLS: Sheet<PoolRow> = Sheet {
    columns: &[&[
        text("database", |scene, row| Value::text(names(scene.core, row).0)),
        text("user", |scene, row| Value::text(names(scene.core, row).1)),
        gauge(
            "Clients that have a server, or have nothing asked",
            int4("cl_active", |scene, row| match row {
                Some(_) => count(scene, row, |pool| pool.settled.len()),
                None => Value::count(scene.core.consoles.len()),
            }),
        ),
        gauge(
            "Clients that wait for a server",
            int4("cl_waiting", |scene, row| count(scene, row, Pool::waiting_clients)),
        ),
        gauge(
            "Clients whose cancel request was sent and is not yet answered",
            int4("cl_active_cancel_req", |scene, row| cancels(scene, row, true)),
        ),
        gauge(
            "Clients whose cancel request is not yet sent",
            int4("cl_waiting_cancel_req", |scene, row| cancels(scene, row, false)),
        ),
        gauge(
            "Servers that a client has",
            int4("sv_active", |scene, row| count(scene, row, |pool| pool.active.len())),
        ),
        gauge(
            "Connections that carry a cancel request",
            int4("sv_active_cancel", |scene, row| count(scene, row, |pool| pool.carriers.len())),
        ),
        gauge(
            "Servers that wait for the end of a cancel request",
            int4("sv_being_canceled", |scene, row| count(scene, row, |p| p.being_canceled.len())),
        ),
        gauge(
            "Servers that are free for the next client",
            int4("sv_idle", |scene, row| count(scene, row, |pool| pool.idle.len())),
        ),
        gauge(
            "Servers that are free, once they have been checked",
            int4("sv_used", |scene, row| count(scene, row, |pool| pool.used.len())),
        ),
        gauge(
            "Servers that are being reset or checked",
            int4("sv_tested", |scene, row| count(scene, row, |pool| pool.tested.len())),
        ),
        gauge(
            "Servers on their way in",
            int4("sv_login", |scene, row| count(scene, row, |pool| pool.logging_in.len())),
        ),
        gauge(
            "How long the client that waits longest has waited, whole seconds",
            int4("maxwait", |scene, row| Value::Number(longest_wait_us(scene, row) / 1_000_000)),
        ),
        gauge(
            "The microseconds of that wait beyond its whole seconds",
            int4("maxwait_us", |scene, row| Value::Number(longest_wait_us(scene, row) % 1_000_000)),
        ),
        text("pool_mode", |scene, row| match *row {
            Some(id) => Value::text(scene.core.pools[id].mode.word()),
            None => Value::text("statement"),
        }),
        text("load_balance_hosts", |scene, row| {
            let database = row.map(|id| scene.core.pools[id].database);
            Value::text_or_null(database.and_then(|id| databases::load_balance(scene.core, id)))
        }),
    ]],
    rows: |scene| shown(scene.core),
};

/// The pools that have a row, by database and user.
pub fn shown(core: &Core) -> Vec<PoolRow> {
    sorted(core, all(core))
}

/// The pools that have a row, in no order.
pub fn all(core: &Core) -> Vec<PoolRow> {
    let ids = core.pools.ids().into_iter().filter(|id| is_shown(core, *id));
    ids.map(Some).chain([None]).collect()
}

/// Whether a pool has a row. A pool for auth_query or for LISTEN is counted in the row of the
/// clients' pool with the same database and user, if there is one.
pub fn is_shown(core: &Core, id: PoolId) -> bool {
    let pool = &core.pools[id];
    let of_clients = core.directory.find_pool(pool.database, pool.user, Purpose::Clients);
    of_clients.is_none_or(|of_clients| of_clients == id)
}

/// All pools, those for auth_query too, by database and user.
pub fn with_lookups(core: &Core) -> Vec<PoolRow> {
    sorted(core, core.pools.ids().into_iter().map(Some).chain([None]).collect())
}

fn sorted(core: &Core, rows: Vec<PoolRow>) -> Vec<PoolRow> {
    order::sorted(&rows, |a, b| names(core, a).cmp(&names(core, b)))
}

/// Database and user.
pub fn names<'a>(core: &'a Core, row: &PoolRow) -> (&'a str, &'a str) {
    let Some(id) = *row else { return (CONSOLE, CONSOLE) };
    let pool = &core.pools[id];
    (&core.databases[pool.database].line.name, &core.users[pool.user].name)
}

/// The pools that are counted in a row.
fn ids(core: &Core, row: &PoolRow) -> impl Iterator<Item = PoolId> + use<> {
    let pool = row.map(|id| &core.pools[id]);
    let all = pool.map(|pool| core.directory.pools_of(pool.database, pool.user));
    all.into_iter().flatten()
}

fn count(scene: Scene<'_>, row: &PoolRow, of: fn(&Pool) -> usize) -> Value<'static> {
    Value::count(ids(scene.core, row).map(|id| of(&scene.core.pools[id])).sum())
}

/// Clients with a cancel request: those whose request has been sent, or those whose request has
/// not.
fn cancels(scene: Scene<'_>, row: &PoolRow, is_sent: bool) -> Value<'static> {
    let pools = ids(scene.core, row).map(|id| &scene.core.pools[id]);
    let carriers = pools.flat_map(|pool| pool.carriers.iter(&scene.core.carriers));
    let is_it = |carrier: &Carrier| carrier.client.is_some() && carrier.is_sent() == is_sent;
    Value::count(carriers.filter(|&id| is_it(&scene.core.carriers[id])).count())
}

/// How long the client that has waited longest for a server has waited.
fn longest_wait_us(scene: Scene<'_>, row: &PoolRow) -> u64 {
    let since = ids(scene.core, row).filter_map(|id| scene.core.waiting_since(id)).min();
    since.map_or(0, |since| scene.core.mono().micros_since(since))
}
