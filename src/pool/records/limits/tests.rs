//! Which of setting, database's line and user's line wins, for each limit; and what holds for a
//! client that belongs nowhere.

use super::*;
use crate::config::value::{Kind, SettingType};
use crate::config::{SettingRow, load_text};
use crate::pool::records::client::{Choice, ClientState, Standing};
use crate::pool::records::scene::Scene;

/// The lines that may have a limit of their own.
#[derive(Clone, Copy, PartialEq)]
enum Own {
    Database,
    User,
    Both,
}

/// A limit as the configuration has it, and as it is read.
struct Row {
    key: &'static str,
    own: Own,
    /// Everybody's, the database's, and the user's.
    values: [&'static str; 3],
    read: Read,
}

type Read = fn(Limits<'_>, &Client, &Member) -> String;

const fn row(key: &'static str, own: Own, values: [&'static str; 3], read: Read) -> Row {
    Row { key, own, values, read }
}

const NUMBERS: [&str; 3] = ["11", "12", "13"];
const MODES: [&str; 3] = ["session", "transaction", "statement"];
const STATES: [&str; 3] = ["warn", "reset", "pin"];

const OF_POOLS: &[Row] = &[
    row("pool_mode", Own::Both, MODES, |limits, _, of| {
        limits.mode_of(of.database, of.user).word().to_owned()
    }),
    row("pool_modes", Own::Database, MODES, |limits, _, of| {
        limits.offered_modes(of.database).words()
    }),
    row("session_state", Own::Both, STATES, |limits, _, of| {
        limits.configured_state(of.database, of.user).word().to_owned()
    }),
    row("session_states", Own::Database, STATES, |limits, _, of| {
        limits.offered_states(of.database).words()
    }),
    row("shared_listen", Own::Database, ["0", "1", ""], |limits, _, of| {
        u8::from(limits.shares_listen(of.database)).to_string()
    }),
    row("server_auth_methods", Own::Database, ["md5", "password", ""], |limits, _, of| {
        limits.server_auth_methods(of.pool).show(&Kind::Methods).expect("a list")
    }),
    row("pool_size", Own::Both, NUMBERS, |limits, _, of| limits.pool_size(of.pool).to_string()),
    row("min_pool_size", Own::Database, NUMBERS, |limits, _, of| {
        limits.min_pool_size(of.pool).to_string()
    }),
    row("reserve_pool_size", Own::Both, NUMBERS, |limits, _, of| {
        limits.reserve_pool_size(of.pool).to_string()
    }),
    row("max_db_connections", Own::Database, NUMBERS, |limits, _, of| {
        limits.max_db_connections(of.database).to_string()
    }),
    row("max_user_connections", Own::User, NUMBERS, |limits, _, of| {
        limits.max_user_connections(of.user).to_string()
    }),
    row("max_db_client_connections", Own::Database, NUMBERS, |limits, _, of| {
        limits.max_db_client_connections(of.database).to_string()
    }),
    row("max_user_client_connections", Own::User, NUMBERS, |limits, _, of| {
        limits.max_user_client_connections(of.user).to_string()
    }),
    row("server_lifetime", Own::Database, NUMBERS, |limits, _, of| {
        limits.server_lifetime(of.pool).as_secs().to_string()
    }),
    row("query_wait_timeout", Own::Database, NUMBERS, |limits, _, of| {
        limits.lookup_wait_timeout(of.database).as_secs().to_string()
    }),
];

const OF_CLIENTS: &[Row] = &[
    row("session_state", Own::Both, STATES, |limits, client, _| {
        limits.policy_of(client).word().to_owned()
    }),
    row("query_wait_timeout", Own::Both, NUMBERS, |limits, client, _| {
        limits.query_wait_timeout(client).as_secs().to_string()
    }),
    row("query_timeout", Own::User, NUMBERS, |limits, client, _| {
        limits.query_timeout(client).as_secs().to_string()
    }),
    row("idle_transaction_timeout", Own::User, NUMBERS, |limits, client, _| {
        limits.idle_transaction_timeout(client).as_secs().to_string()
    }),
    row("transaction_timeout", Own::User, NUMBERS, |limits, client, _| {
        limits.transaction_timeout(client).as_secs().to_string()
    }),
    row("client_idle_timeout", Own::User, NUMBERS, |limits, client, _| {
        limits.client_idle_timeout(client).as_secs().to_string()
    }),
];

/// A database, a user and a pool of theirs, by the text of a configuration: the setting, and the
/// lines that are asked for and may have the key.
fn configured(row: &Row, has_database: bool, has_user: bool) -> (Scene, PoolId) {
    let Row { key, own, values: [everybodys, databases, users], .. } = row;
    let setting = if *key == "pool_size" { "default_pool_size" } else { key };
    let line = |is_there: bool, value: &str| match is_there {
        true => format!("{key}={value}"),
        false => String::new(),
    };
    let of_database = line(has_database && *own != Own::User, databases);
    let of_user = line(has_user && *own != Own::Database, users);
    let text = format!(
        "[pgbouncer]\n{setting} = {everybodys}\n[databases]\ndb = {of_database}\n[users]\n\
         joe = {of_user}\n"
    );
    let config = load_text("t.ini", &text).unwrap_or_else(|error| panic!("{text}: {error:?}"));
    let (mut scene, database, pool) = Scene::new();
    scene.settings = config.settings;
    scene.databases[database].line = config.databases[0].clone();
    let user = scene.pools[pool].user;
    scene.users[user].line = Some(config.users[0].clone());
    (scene, pool)
}

fn read(row: &Row, scene: &Scene, pool: PoolId, client: &Client) -> String {
    let Pool { database, user, .. } = scene.pools[pool];
    (row.read)(scene.limits(), client, &Member { database, user, pool })
}

/// No limits: by the first three a user is looked up, and `user` means another one in each place.
const NO_LIMITS: [&str; 4] = ["auth_user", "auth_query", "auth_dbname", "user"];

#[test]
fn each_key_by_which_a_line_may_override_a_setting_is_tried() {
    let names = |rows: &'static [SettingRow]| rows.iter().map(SettingRow::name);
    let is_setting = |key: &str| key == "pool_size" || names(Settings::rows()).any(|s| s == key);
    let is_of = |rows: &'static [SettingRow], key: &str| names(rows).any(|name| name == key);
    let keys = names(DatabaseLine::rows()).chain(names(UserLine::rows()));
    for key in keys.filter(|key| is_setting(key) && !NO_LIMITS.contains(key)) {
        let own = match (is_of(DatabaseLine::rows(), key), is_of(UserLine::rows(), key)) {
            (true, true) => Own::Both,
            (true, false) => Own::Database,
            (false, _) => Own::User,
        };
        let mut rows = OF_POOLS.iter().chain(OF_CLIENTS);
        assert!(rows.any(|row| row.key == key && row.own == own), "{key} is not tried");
    }
}

#[test]
fn a_users_line_comes_before_the_databases_and_that_before_the_setting() {
    for row in OF_POOLS.iter().chain(OF_CLIENTS) {
        let [everybodys, databases, users] = row.values;
        let is = |has_database, has_user| {
            let (scene, pool) = configured(row, has_database, has_user);
            read(row, &scene, pool, &scene.member(pool, Standing::Idle))
        };
        assert_eq!(is(false, false), everybodys, "{}", row.key);
        if row.own != Own::User {
            assert_eq!(is(true, false), databases, "{}", row.key);
        }
        if row.own != Own::Database {
            assert_eq!(is(false, true), users, "{}", row.key);
        }
        if row.own == Own::Both {
            assert_eq!(is(true, true), users, "{}", row.key);
        }
    }
}

#[test]
fn a_client_that_belongs_nowhere_is_held_to_the_settings() {
    for row in OF_CLIENTS {
        let (scene, pool) = configured(row, true, true);
        let member = scene.member(pool, Standing::Idle);
        let of = member.member().copied();
        let closing = |of| member_in(&scene, ClientState::Closing(of));
        assert_eq!(
            read(row, &scene, pool, &scene.stranger()),
            row.values[0],
            "{} in login",
            row.key
        );
        assert_eq!(read(row, &scene, pool, &closing(None)), row.values[0], "{} refused", row.key);
        assert_eq!(read(row, &scene, pool, &closing(of)), row.values[2], "{} at its end", row.key);
    }
}

fn member_in(scene: &Scene, state: ClientState) -> Client {
    scene.stranger().in_state(state)
}

/// Where a database's line forces a user upon its servers, the two are not the same.
#[test]
fn a_clients_limits_are_those_of_the_user_who_logged_in() {
    for row in OF_CLIENTS.iter().filter(|row| row.own == Own::User) {
        let (mut scene, pool) = configured(row, false, true);
        let database = scene.pools[pool].database;
        let user = scene.pools[pool].user;
        let forced = scene.pool(database, "forced");
        let of = Member { database, user, pool: forced };
        let client = member_in(&scene, ClientState::Member(of, Standing::Idle));
        assert_eq!(read(row, &scene, pool, &client), row.values[2], "{}", row.key);
        let other = scene.member(forced, Standing::Idle);
        assert_eq!(read(row, &scene, pool, &other), row.values[0], "{}", row.key);
    }
}

#[test]
fn a_limit_of_none_of_a_lines_own_comes_before_everybodys() {
    let (mut scene, database, pool) = Scene::new();
    let user = scene.pools[pool].user;
    scene.settings.query_wait_timeout = Duration::from_secs(9);
    scene.databases[database].line.query_wait_timeout = Some(Duration::ZERO);
    scene.databases[database].line.pool_size = Some(5);
    let own = scene.users[user].line.get_or_insert_default();
    (own.pool_size, own.query_timeout) = (Some(0), Some(Duration::ZERO));
    scene.settings.query_timeout = Duration::from_secs(9);
    let client = scene.member(pool, Standing::Idle);
    assert_eq!(scene.limits().pool_size(pool), 0);
    assert_eq!(scene.limits().query_wait_timeout(&client), Duration::ZERO);
    assert_eq!(scene.limits().query_timeout(&client), Duration::ZERO);
}

#[test]
fn what_a_client_has_chosen_counts_where_it_is_stricter() {
    let (mut scene, _, pool) = Scene::new();
    scene.settings.session_state = SessionState::Reset;
    let mut client = scene.member(pool, Standing::Idle);
    for (chosen, holds) in [
        (SessionState::Warn, SessionState::Reset),
        (SessionState::Reset, SessionState::Reset),
        (SessionState::Error, SessionState::Error),
    ] {
        client.rare.get_or_insert_default().choice = Choice { mode: None, policy: Some(chosen) };
        assert_eq!(scene.limits().policy_of(&client), holds, "{chosen:?}");
    }
}

#[test]
fn a_part_of_a_pool_may_be_pinned_and_never_nothing_of_it() {
    let (mut scene, _, pool) = Scene::new();
    for (size, percent, most) in
        [(20, 50, 10), (3, 50, 1), (1, 50, 1), (20, 0, 1), (0, 50, usize::MAX)]
    {
        (scene.settings.default_pool_size, scene.settings.pin_limit) = (size, percent);
        assert_eq!(scene.limits().pin_limit(pool), most, "{percent} % of {size}");
    }
}

#[test]
fn the_minimum_holds_for_a_pool_with_a_user_of_its_own_and_never_beyond_its_size() {
    let (mut scene, database, pool) = Scene::new();
    scene.settings.min_pool_size = 3;
    assert!(!scene.limits().is_below_minimum(pool), "nobody uses it");
    scene.databases[database].forced_user = Some(scene.pools[pool].user);
    assert!(scene.limits().is_below_minimum(pool));
    scene.settings.default_pool_size = 0;
    assert!(scene.limits().is_below_minimum(pool), "a size of 0 is no limit");
    scene.settings.default_pool_size = 1;
    scene.idle(pool);
    assert!(!scene.limits().is_below_minimum(pool), "it has as many as it may");
}

#[test]
fn more_servers_than_a_limit_allows_are_noticed() {
    let (mut scene, database, pool) = Scene::new();
    let user = scene.pools[pool].user;
    scene.databases[database].servers = 4;
    scene.users[user].servers = 4;
    assert!(scene.limits().is_respected(pool));
    scene.databases[database].line.max_db_connections = Some(3);
    assert!(!scene.limits().is_respected(pool));
    scene.databases[database].line.max_db_connections = Some(0);
    scene.settings.max_user_connections = 3;
    assert!(!scene.limits().is_respected(pool));
}
