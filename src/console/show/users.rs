//! SHOW USERS: users of the userlist, of `[users]` and of database lines (`user`, `auth_user`), and
//! those that are connected.

use std::collections::{HashMap, HashSet};

use super::super::table::{Scene, Sheet, Value, gauge, int4, text};
use crate::base::order;
use crate::config::UserLine;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::UserId;
use crate::pool::records::user::User;

/// One user, and how many sessions it has on the console.
pub struct UserRow {
    /// `None` is the console's own user, where no file names that user.
    user: Option<UserId>,
    sessions: usize,
}

pub static USERS: Sheet<UserRow> = Sheet {
    columns: &[&[
        text("name", |scene, row| Value::text(name(scene.core, row.user))),
        text("pool_size", |scene, row| size(line(scene, row).and_then(|line| line.pool_size))),
        text("reserve_pool_size", |scene, row| {
            size(line(scene, row).and_then(|line| line.reserve_pool_size))
        }),
        text("pool_mode", |scene, row| {
            let mode = line(scene, row).and_then(|line| line.pool_mode);
            Value::text_or_null(mode.map(|mode| mode.word()))
        }),
        gauge(
            "Most servers for the user; 0 is any number",
            int4("max_user_connections", |scene, row| {
                let most = scene.core.settings().max_user_connections;
                let most = row.user.map_or(most, |id| scene.core.limits().max_user_connections(id));
                Value::Number(most.into())
            }),
        ),
        gauge(
            "Servers of the user",
            int4("current_connections", |scene, row| Value::count(connections(scene.core, row))),
        ),
        gauge(
            "Most clients of the user; 0 is any number",
            int4("max_user_client_connections", |scene, row| {
                let most = scene.core.settings().max_user_client_connections;
                let most =
                    row.user.map_or(most, |id| scene.core.limits().max_user_client_connections(id));
                Value::Number(most.into())
            }),
        ),
        gauge(
            "Clients of the user",
            int4("current_client_connections", |scene, row| {
                let clients = record(scene, row).map_or(0, |user| user.clients as usize);
                Value::count(clients + row.sessions)
            }),
        ),
    ]],
    rows: |scene| sorted(scene.core),
};

/// The users that have a row, by name.
fn sorted(core: &Core) -> Vec<UserRow> {
    let sessions = sessions(core);
    let row = |user: Option<UserId>| {
        let sessions = sessions.get(name(core, user)).copied().unwrap_or_default();
        UserRow { user, sessions }
    };
    let ids = order::sorted(&shown(core), |a, b| name(core, *a).cmp(name(core, *b)));
    ids.into_iter().map(row).collect()
}

/// The users that have a row.
pub fn shown(core: &Core) -> Vec<Option<UserId>> {
    let forced = core.databases.iter().filter_map(|(_, database)| database.forced_user);
    let forced: HashSet<UserId> = forced.collect();
    let lookups =
        core.databases.iter().filter_map(|(_, database)| database.line.auth_user.as_deref());
    let lookups: HashSet<&str> = lookups.collect();
    let is_shown = |id: &UserId| {
        let user = &core.users[*id];
        let is_used = user.clients > 0 || user.servers > 0 || lookups.contains(&*user.name);
        user.is_listed() || forced.contains(id) || is_used
    };
    let mut users: Vec<_> = core.users.ids().into_iter().filter(is_shown).map(Some).collect();
    if !users.iter().any(|user| name(core, *user) == CONSOLE) {
        users.push(None);
    }
    users
}

fn name(core: &Core, user: Option<UserId>) -> &str {
    user.map_or(CONSOLE, |id| &core.users[id].name)
}

fn record<'a>(scene: Scene<'a>, row: &UserRow) -> Option<&'a User> {
    row.user.map(|id| &scene.core.users[id])
}

/// What the configuration file says of the user.
fn line<'a>(scene: Scene<'a>, row: &UserRow) -> Option<&'a UserLine> {
    record(scene, row)?.line.as_ref()
}

/// A size is shown right-aligned in nine places, as in PgBouncer; empty when not set.
fn size(size: Option<u32>) -> Value<'static> {
    match size {
        Some(size) => Value::owned(format_args!("{size:9}")),
        None => Value::text(""),
    }
}

/// Servers of all pools of the user, and connections that carry cancel requests.
fn connections(core: &Core, row: &UserRow) -> usize {
    let Some(id) = row.user else { return 0 };
    let user = &core.users[id];
    let cancels = user.pools.iter().map(|id| core.pools[*id].carriers.len());
    user.servers as usize + cancels.sum::<usize>()
}

/// Sessions on the console, by user.
fn sessions(core: &Core) -> HashMap<&str, usize> {
    let mut sessions = HashMap::new();
    for console in core.consoles.iter(&core.clients).filter_map(|id| core.console(id)) {
        *sessions.entry(console.user.as_str()).or_default() += 1;
    }
    sessions
}
