//! SHOW USERS: users of the userlist and of `[users]`, and those that are connected.

use super::super::table::{Scene, Sheet, Value, int4, text};
use crate::base::order;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::UserId;
use crate::pool::records::user::User;

/// One user; `None` is the console's own, where no file names it.
type Row = Option<UserId>;

pub static USERS: Sheet<Row> = Sheet {
    columns: &[&[
        text("name", |scene, row| Value::text(name(scene.core, row))),
        text("pool_size", |scene, row| {
            size(record(scene, row).and_then(|user| user.line.as_ref()?.pool_size))
        }),
        text("reserve_pool_size", |scene, row| {
            size(record(scene, row).and_then(|user| user.line.as_ref()?.reserve_pool_size))
        }),
        text("pool_mode", |scene, row| {
            let mode = record(scene, row).and_then(|user| user.line.as_ref()?.pool_mode);
            Value::text_or_null(mode.map(|mode| mode.word()))
        }),
        int4("max_user_connections", |scene, row| {
            let most = scene.core.settings().max_user_connections;
            Value::Number(row.map_or(most, |id| scene.core.max_user_connections(id)).into())
        }),
        int4("current_connections", |scene, row| Value::count(connections(scene.core, row))),
        int4("max_user_client_connections", |scene, row| {
            let most = scene.core.settings().max_user_client_connections;
            let most = row.map_or(most, |id| scene.core.max_user_client_connections(id));
            Value::Number(most.into())
        }),
        int4("current_client_connections", |scene, row| {
            let clients = record(scene, row).map_or(0, |user| user.clients as usize);
            Value::count(clients + sessions(scene.core, name(scene.core, row)))
        }),
    ]],
    rows: |scene| sorted(scene.core),
};

/// All users that are worth a row, by name.
pub fn sorted(core: &Core) -> Vec<Row> {
    let is_shown = |id: &UserId| {
        let user = &core.users[*id];
        // Requests to peers are nobody's.
        !user.name.is_empty() && (user.is_listed || user.clients > 0 || user.servers > 0)
    };
    let mut rows: Vec<Row> = core.users.ids().into_iter().filter(is_shown).map(Some).collect();
    if !rows.iter().any(|row| name(core, row) == CONSOLE) {
        rows.push(None);
    }
    order::sorted(&rows, |a, b| name(core, a).cmp(name(core, b)))
}

fn name<'a>(core: &'a Core, row: &Row) -> &'a str {
    row.map_or(CONSOLE, |id| &core.users[id].name)
}

fn record<'a>(scene: Scene<'a>, row: &Row) -> Option<&'a User> {
    row.map(|id| &scene.core.users[id])
}

/// A size is shown right-aligned in nine places, as the reference has it; empty when not set.
fn size(size: Option<u32>) -> Value<'static> {
    match size {
        Some(size) => Value::owned(format_args!("{size:9}")),
        None => Value::text(""),
    }
}

/// Servers of all pools of the user, those that carry cancel requests too.
fn connections(core: &Core, row: &Row) -> usize {
    let Some(id) = *row else { return 0 };
    let pools = core.pools.iter().filter(|(_, pool)| pool.user == id);
    core.users[id].servers as usize + pools.map(|(_, pool)| pool.cancels.len()).sum::<usize>()
}

/// Sessions on the console.
fn sessions(core: &Core, user: &str) -> usize {
    let consoles = core.consoles.iter(&core.clients);
    consoles.filter(|&id| core.console(id).is_some_and(|console| console.user == user)).count()
}
