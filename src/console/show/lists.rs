//! SHOW LISTS and MEM: how many records of each kind there are, and how much memory they take.

use super::super::table::{Scene, Sheet, Value, int4, text};
use super::{databases, pools, users};
use crate::base::arena::{Arena, Record};
use crate::config::PeerLine;
use crate::pool::core::Core;
use crate::pool::owed::request::Request;
use crate::pool::records::client::Client;
use crate::pool::records::database::Database;
use crate::pool::records::peer::Peer;
use crate::pool::records::pool::Pool;
use crate::pool::records::server::Server;
use crate::pool::statements::table::Statement;

pub static LISTS: Sheet<(&str, usize)> = Sheet {
    columns: &[&[
        text("list", |_, row| Value::text(row.0)),
        int4("items", |_, row| Value::count(row.1)),
    ]],
    rows: lists,
};

fn lists(scene: Scene<'_>) -> Vec<(&'static str, usize)> {
    let core = scene.core;
    // Clients whose lookups are queued wait in a pool, and are counted there.
    let queued: usize = core.pools.iter().map(|(_, pool)| pool.queued_clients()).sum();
    vec![
        ("databases", databases::all(core).len()),
        ("users", users::shown(core).len()),
        ("peers", core.config.peers.len()),
        // The console's pool is one of them.
        ("pools", pools::all(core).len()),
        ("peer_pools", core.peers.len()),
        ("free_clients", core.clients.slots() - core.clients.len()),
        ("used_clients", core.clients.len()),
        ("login_clients", core.logins.len() - queued),
        ("free_servers", core.servers.slots() + core.carriers.slots() - core.outbound_count()),
        ("used_servers", core.outbound_count()),
        ("dns_names", core.dns.iter().len()),
        ("dns_zones", 0),
        ("dns_queries", 0),
        ("dns_pending", core.dns.pending()),
    ]
}

/// Records of one kind.
pub struct Cache {
    name: &'static str,
    /// Bytes of one record.
    size: usize,
    used: usize,
    free: usize,
}

pub static MEM: Sheet<Cache> = Sheet {
    columns: &[&[
        text("name", |_, row| Value::text(row.name)),
        int4("size", |_, row| Value::count(row.size)),
        int4("used", |_, row| Value::count(row.used)),
        int4("free", |_, row| Value::count(row.free)),
        int4("memtotal", |_, row| {
            // The value must fit an int4, as text too.
            Value::count(((row.used + row.free) * row.size).min(i32::MAX as usize))
        }),
    ]],
    rows: caches,
};

/// The names are PgBouncer's, which tools know; a record here may hold something else than there.
fn caches(scene: Scene<'_>) -> Vec<Cache> {
    let core = scene.core;
    let secrets = core.users.iter().filter(|(_, user)| user.secret.is_some()).count();
    let requests = core.servers.iter().map(|(_, server)| server.replies.len()).sum();
    vec![
        of_arena("user_cache", &core.users),
        plain::<crate::auth::secret::Secret>("credentials_cache", secrets),
        of_arena::<Database>("db_cache", &core.databases),
        plain::<PeerLine>("peer_cache", core.config.peers.len()),
        plain::<Peer>("peer_pool_cache", core.peers.len()),
        of_arena::<Pool>("pool_cache", &core.pools),
        plain::<Request>("outstanding_request_cache", requests),
        of_arena::<Server>("server_cache", &core.servers),
        of_arena::<Client>("client_cache", &core.clients),
        buffers(scene),
        parameters(core),
        texts(core),
        names(core),
    ]
}

/// Sets of tracked parameters, each stored once however many connections have it.
fn parameters(core: &Core) -> Cache {
    let usage = core.vars.usage();
    Cache {
        name: "var_list_cache",
        size: usage.bytes / usage.sets.max(1),
        used: usage.sets,
        free: 0,
    }
}

/// Texts of prepared statements, each stored once for all clients.
fn texts(core: &Core) -> Cache {
    let used = core.statements.len();
    let size = size_of::<Statement>() + core.statements.text_bytes() / used.max(1);
    Cache { name: "server_prepared_statement_cache", size, used, free: 0 }
}

/// The names that clients have for prepared statements.
fn names(core: &Core) -> Cache {
    let clients = core.clients.iter().filter_map(|(_, client)| client.statements.as_ref());
    let (used, bytes) = clients.fold((0, 0), |(n, all), c| (n + c.len(), all + c.bytes()));
    Cache { name: "client_prepared_statement_cache", size: bytes / used.max(1), used, free: 0 }
}

fn of_arena<T: Record>(name: &'static str, arena: &Arena<T>) -> Cache {
    let (used, slots) = (arena.len(), arena.slots());
    Cache { name, size: size_of::<T>(), used, free: slots - used }
}

fn plain<T>(name: &'static str, used: usize) -> Cache {
    Cache { name, size: size_of::<T>(), used, free: 0 }
}

/// Connections for which bytes are held, and the average number of bytes.
fn buffers(scene: Scene<'_>) -> Cache {
    let clients = scene.core.clients.ids().into_iter().map(|id| scene.buffers.client(id));
    let servers = scene.core.servers.ids().into_iter().map(|id| scene.buffers.server(id));
    let carriers = scene.core.carriers.ids().into_iter().map(|id| scene.buffers.carrier(id));
    let held = clients.chain(servers).chain(carriers).map(|held| held.received + held.unsent);
    let (used, bytes) =
        held.filter(|&bytes| bytes > 0).fold((0, 0), |(n, all), b| (n + 1, all + b));
    Cache { name: "iobuf_cache", size: bytes / used.max(1), used, free: 0 }
}
