//! Three tables that PgBouncer does not have. SESSION_STATE: what was done about state that clients
//! left in sessions. PINS: servers that are kept for their clients. CHOICES: what clients have
//! chosen for themselves.

use super::super::table::{Sheet, Value, counter, gauge, int4, int8, text};
use super::pools;
use crate::log::{ConnectionSide, ptr};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::records::client::Choice;
use crate::pool::records::pool::Purpose;

/// Declares a counter of what was done about session state in a pool.
macro_rules! count {
    ($name:literal, $field:ident, $help:literal) => {
        counter($help, int8($name, |scene, &id| Value::Number(scene.core.pools[id].undone.$field)))
    };
}

/// A row for each pool of clients.
pub static SESSION_STATE: Sheet<PoolId> = Sheet {
    columns: &[&[
        text("database", |scene, &id| Value::text(pools::names(scene.core, &Some(id)).0)),
        text("user", |scene, &id| Value::text(pools::names(scene.core, &Some(id)).1)),
        text("session_state", |scene, &id| {
            let pool = &scene.core.pools[id];
            let state = scene.core.limits().configured_state(pool.database, pool.user);
            Value::text(state.word())
        }),
        gauge(
            "Servers that are kept for what their clients have left in the session",
            int4("pinned", |scene, &id| Value::count(scene.core.pinned_count(id))),
        ),
        int4("pin_limit", |scene, &id| match scene.core.limits().pin_limit(id) {
            usize::MAX => Value::Null,
            most => Value::count(most),
        }),
        count!("resets", resets, "Times that session state was undone"),
        count!("reset_time", reset_us, "Time that undoing session state took"),
        count!("reset_failures", failures, "Servers closed with session state that stayed"),
        count!("pins", pins, "Times that a server was kept for its client"),
        count!("refusals", refusals, "Statements refused for their session state"),
        count!("warnings", warnings, "Warnings of session state"),
    ]],
    rows: |scene| {
        let rows = pools::shown(scene.core).into_iter().flatten();
        rows.filter(|id| scene.core.pools[*id].purpose == Purpose::Clients).collect()
    },
};

/// A row for each server that is kept for its client.
pub static PINS: Sheet<ServerId> = Sheet {
    columns: &[&[
        text("database", |scene, &id| {
            Value::text(pools::names(scene.core, &Some(scene.core.servers[id].pool)).0)
        }),
        text("user", |scene, &id| {
            Value::text(pools::names(scene.core, &Some(scene.core.servers[id].pool)).1)
        }),
        text("ptr", |scene, &id| {
            Value::owned(ptr(scene.core.servers[id].number, ConnectionSide::Server))
        }),
        text("link", |scene, &id| {
            let client = scene.core.servers[id].client().and_then(|id| scene.core.clients.get(id));
            client.map_or(Value::Null, |client| {
                Value::owned(ptr(client.number, ConnectionSide::Client))
            })
        }),
        int8("seconds", |scene, &id| {
            let pinned = scene.core.servers[id].session.pinned_since();
            Value::Number(pinned.map_or(0, |since| scene.core.mono().since(since).as_secs()))
        }),
        text("left", |scene, &id| Value::owned(scene.core.servers[id].session.left_behind())),
    ]],
    rows: |scene| {
        let servers = scene.core.servers.iter();
        let pinned =
            servers.filter(|(_, server)| server.client().is_some() && server.session.is_pinned());
        pinned.map(|(id, _)| id).collect()
    },
};

/// A row for each client that has chosen its own `pool_mode` or `session_state`.
pub static CHOICES: Sheet<ClientId> = Sheet {
    columns: &[&[
        text("database", |scene, &id| {
            Value::text(pools::names(scene.core, &scene.core.clients[id].pool()).0)
        }),
        text("user", |scene, &id| {
            let member = scene.core.clients[id].member();
            member.map_or(Value::Null, |of| Value::text(&scene.core.users[of.user].name))
        }),
        text("ptr", |scene, &id| {
            Value::owned(ptr(scene.core.clients[id].number, ConnectionSide::Client))
        }),
        text("pool_mode", |scene, &id| {
            Value::text(scene.core.client_mode(&scene.core.clients[id]).word())
        }),
        text("session_state", |scene, &id| {
            Value::text(scene.core.session_policy(&scene.core.clients[id]).word())
        }),
    ]],
    rows: |scene| {
        let clients = scene.core.clients.iter();
        let have_chosen = clients
            .filter(|(_, client)| client.is_logged_in() && client.choice() != Choice::default());
        have_chosen.map(|(id, _)| id).collect()
    },
};
