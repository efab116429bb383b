//! SHOW DATABASES: the lines of the configuration, those made from `*`, and the console itself.

use super::super::table::{Scene, Sheet, Value, gauge, int4, label, text};
use crate::base::order;
use crate::config::LoadBalanceHosts;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::DatabaseId;
use crate::pool::records::database::Database;

/// One database; `None` is the console.
pub type DatabaseRow = Option<DatabaseId>;

pub static DATABASES: Sheet<DatabaseRow> = Sheet {
    columns: &[&[
        text("name", |scene, row| Value::text(name(scene.core, row))),
        text("host", |scene, row| match record(scene, row).map(|database| &database.line.host) {
            Some(hosts) if !hosts.is_empty() => {
                let hosts = hosts.iter().map(ToString::to_string);
                Value::owned(hosts.collect::<Vec<_>>().join(","))
            }
            _ => Value::Null,
        }),
        label(int4("port", |scene, row| {
            let listen_port = scene.core.settings().listen_port;
            let port = record(scene, row).map_or(listen_port, |d| d.line.port.of(0));
            Value::Number(port.into())
        })),
        text("database", |scene, row| {
            Value::text(record(scene, row).map_or(CONSOLE, Database::remote_name))
        }),
        text("force_user", |scene, row| match record(scene, row) {
            Some(database) => Value::text_or_null(database.line.user.as_deref()),
            None => Value::text(CONSOLE),
        }),
        gauge(
            "Most servers for each user of the database",
            int4("pool_size", |scene, row| {
                let size = scene.core.settings().default_pool_size;
                let size = record(scene, row).map(|d| d.line.pool_size.unwrap_or(size));
                Value::Number(size.unwrap_or(CONSOLE_POOL_SIZE).into())
            }),
        ),
        gauge(
            "Servers that are kept for each user",
            int4("min_pool_size", |scene, row| {
                let size = scene.core.settings().min_pool_size;
                let size = record(scene, row).map(|d| d.line.min_pool_size.unwrap_or(size));
                Value::Number(size.unwrap_or_default().into())
            }),
        ),
        gauge(
            "Servers beyond pool_size for clients that wait long",
            int4("reserve_pool_size", |scene, row| {
                let size = scene.core.settings().reserve_pool_size;
                let size = record(scene, row).map(|d| d.line.reserve_pool_size.unwrap_or(size));
                Value::Number(size.unwrap_or_default().into())
            }),
        ),
        gauge(
            "How old a server may get, in seconds",
            int4("server_lifetime", |scene, row| {
                let lifetime = scene.core.settings().server_lifetime;
                let own = record(scene, row).and_then(|database| database.line.server_lifetime);
                Value::Number(own.unwrap_or(lifetime).as_secs())
            }),
        ),
        text("pool_mode", |scene, row| match record(scene, row) {
            Some(database) => Value::text_or_null(database.line.pool_mode.map(|mode| mode.word())),
            None => Value::text("statement"),
        }),
        text("load_balance_hosts", |scene, row| {
            Value::text_or_null(row.and_then(|id| load_balance(scene.core, id)))
        }),
        gauge(
            "Most servers for the database; 0 is any number",
            int4("max_connections", |scene, row| {
                let most = scene.core.settings().max_db_connections;
                Value::Number(
                    row.map_or(most, |id| scene.core.limits().max_db_connections(id)).into(),
                )
            }),
        ),
        gauge(
            "Servers of the database",
            int4("current_connections", |scene, row| {
                let Some(id) = *row else { return Value::Number(0) };
                let database = &scene.core.databases[id];
                let pools = database.pools.iter().map(|id| &scene.core.pools[*id]);
                let cancels: usize = pools.map(|pool| pool.carriers.len()).sum();
                Value::count(database.servers as usize + cancels)
            }),
        ),
        gauge(
            "Most clients of the database; 0 is any number",
            int4("max_client_connections", |scene, row| {
                let most = scene.core.settings().max_db_client_connections;
                Value::Number(
                    row.map_or(most, |id| scene.core.limits().max_db_client_connections(id)).into(),
                )
            }),
        ),
        gauge(
            "Clients of the database",
            int4("current_client_connections", |scene, row| match record(scene, row) {
                Some(database) => Value::Number(database.clients.into()),
                None => Value::count(scene.core.consoles.len()),
            }),
        ),
        gauge(
            "1 while the database is paused",
            int4("paused", |scene, row| {
                Value::flag(record(scene, row).is_some_and(|database| database.is_paused))
            }),
        ),
        gauge(
            "1 while the database is disabled",
            int4("disabled", |scene, row| {
                Value::flag(record(scene, row).is_some_and(|database| database.is_disabled))
            }),
        ),
    ]],
    rows: |scene| sorted(scene.core),
};

/// The pool size that PgBouncer shows for its console.
const CONSOLE_POOL_SIZE: u32 = 2;

/// All databases, in no order.
pub fn all(core: &Core) -> Vec<DatabaseRow> {
    let mut rows: Vec<DatabaseRow> = vec![None];
    rows.extend(core.databases.ids().into_iter().filter(|&id| core.is_shown(id)).map(Some));
    rows
}

/// All databases by name; those made from `*` stand at the end.
pub fn sorted(core: &Core) -> Vec<DatabaseRow> {
    let rows = all(core);
    let is_auto = |row: &DatabaseRow| row.is_some_and(|id| core.databases[id].is_auto);
    order::sorted(&rows, |a, b| (is_auto(a), name(core, a)).cmp(&(is_auto(b), name(core, b))))
}

pub fn name<'a>(core: &'a Core, row: &DatabaseRow) -> &'a str {
    row.map_or(CONSOLE, |id| &core.databases[id].line.name)
}

/// load_balance_hosts, where there is more than one host.
pub fn load_balance(core: &Core, id: DatabaseId) -> Option<&'static str> {
    let line = &core.databases[id].line;
    let choice = line.load_balance_hosts.unwrap_or(LoadBalanceHosts::RoundRobin);
    (line.host.len() > 1).then(|| choice.word())
}

fn record<'a>(scene: Scene<'a>, row: &DatabaseRow) -> Option<&'a Database> {
    row.map(|id| &scene.core.databases[id])
}
