//! The limits of one configuration as plain numbers, and the text that says the same to the pooler.

use std::time::Duration;

use crate::base::rng::{Rng, SeededRng};
use crate::config::{self, Config};

pub const DATABASES: usize = 4;
pub const USERS: usize = 4;
pub const HOSTS: usize = 3;

#[derive(Clone, Debug, Default)]
pub struct DatabaseRule {
    pub pool_size: Option<u32>,
    pub min_pool_size: Option<u32>,
    pub reserve_pool_size: Option<u32>,
    pub max_db_connections: Option<u32>,
    pub max_db_client_connections: Option<u32>,
    /// The user of the line.
    pub forced: Option<usize>,
    pub hosts: Vec<usize>,
    pub is_sticky: bool,
    /// The line is not there at all.
    pub is_missing: bool,
}

#[derive(Clone, Debug, Default)]
pub struct UserRule {
    pub pool_size: Option<u32>,
    pub reserve_pool_size: Option<u32>,
    pub max_user_connections: Option<u32>,
    pub max_user_client_connections: Option<u32>,
}

#[derive(Clone, Debug, Default)]
pub struct Rules {
    pub databases: Vec<DatabaseRule>,
    pub users: Vec<UserRule>,
    pub default_pool_size: u32,
    pub min_pool_size: u32,
    pub reserve_pool_size: u32,
    pub reserve_pool_timeout: Duration,
    pub max_client_conn: u32,
    pub max_db_connections: u32,
    pub max_user_connections: u32,
    pub max_db_client_connections: u32,
    pub max_user_client_connections: u32,
    pub login_concurrency: u32,
    pub login_retry: Duration,
    connect_timeout: Duration,
    idle_timeout: Duration,
    lifetime: Duration,
    round_robin: bool,
}

/// A limit that is set once in `often` times.
fn some(rng: &mut SeededRng, often: u64, from: u32, span: u64) -> Option<u32> {
    rng.one_in(often).then(|| from + rng.below(span) as u32)
}

fn pick(rng: &mut SeededRng, millis: &[u64]) -> Duration {
    Duration::from_millis(millis[rng.below(millis.len() as u64) as usize])
}

impl Rules {
    pub fn random(rng: &mut SeededRng) -> Rules {
        Rules {
            databases: (0..DATABASES).map(|_| DatabaseRule::random(rng)).collect(),
            users: (0..USERS).map(|_| UserRule::random(rng)).collect(),
            default_pool_size: some(rng, 6, 0, 1).unwrap_or(1 + rng.below(5) as u32),
            min_pool_size: some(rng, 4, 1, 3).unwrap_or(0),
            reserve_pool_size: some(rng, 3, 1, 3).unwrap_or(0),
            reserve_pool_timeout: pick(rng, &[0, 100, 500, 5000]),
            max_client_conn: 5 + rng.below(60) as u32,
            max_db_connections: some(rng, 3, 1, 8).unwrap_or(0),
            max_user_connections: some(rng, 3, 1, 8).unwrap_or(0),
            max_db_client_connections: some(rng, 5, 3, 20).unwrap_or(0),
            max_user_client_connections: some(rng, 5, 3, 20).unwrap_or(0),
            login_concurrency: [0, 1, 2, 10][rng.below(4) as usize],
            login_retry: pick(rng, &[50, 300, 2000]),
            connect_timeout: pick(rng, &[300, 3000, 15_000]),
            idle_timeout: pick(rng, &[500, 600_000]),
            lifetime: pick(rng, &[0, 2000, 3_600_000]),
            round_robin: rng.one_in(2),
        }
    }

    /// Another configuration, the same in most respects.
    pub fn changed(&self, rng: &mut SeededRng) -> Rules {
        let other = Rules::random(rng);
        let mut rules = if rng.one_in(2) { self.clone() } else { other.clone() };
        for (rule, new) in rules.databases.iter_mut().zip(other.databases) {
            if rng.one_in(4) {
                *rule = new;
            }
        }
        for (rule, new) in rules.users.iter_mut().zip(other.users) {
            if rng.one_in(4) {
                *rule = new;
            }
        }
        rules
    }

    pub fn pool_size(&self, database: usize, user: usize) -> u32 {
        let (database, user) = (&self.databases[database], &self.users[user]);
        user.pool_size.or(database.pool_size).unwrap_or(self.default_pool_size)
    }

    pub fn reserve(&self, database: usize, user: usize) -> u32 {
        let (database, user) = (&self.databases[database], &self.users[user]);
        user.reserve_pool_size.or(database.reserve_pool_size).unwrap_or(self.reserve_pool_size)
    }

    pub fn minimum(&self, database: usize) -> u32 {
        self.databases[database].min_pool_size.unwrap_or(self.min_pool_size)
    }

    pub fn db_servers(&self, database: usize) -> u32 {
        or_set(self.databases[database].max_db_connections, self.max_db_connections)
    }

    pub fn db_clients(&self, database: usize) -> u32 {
        or_set(self.databases[database].max_db_client_connections, self.max_db_client_connections)
    }

    pub fn user_servers(&self, user: usize) -> u32 {
        or_set(self.users[user].max_user_connections, self.max_user_connections)
    }

    pub fn user_clients(&self, user: usize) -> u32 {
        or_set(self.users[user].max_user_client_connections, self.max_user_client_connections)
    }

    pub fn config(&self) -> Config {
        let text = self.text();
        config::load_text("model.ini", &text)
            .unwrap_or_else(|errors| panic!("a bad configuration: {errors:?}\n{text}"))
    }

    fn text(&self) -> String {
        let mut text = String::from("[databases]\n");
        for (at, rule) in self.databases.iter().enumerate().filter(|(_, rule)| !rule.is_missing) {
            text += &format!("d{at} = {}\n", rule.text());
        }
        text += "[users]\n";
        for (at, rule) in self.users.iter().enumerate() {
            text += &format!("u{at} = {}\n", rule.text());
        }
        text += "[pgbouncer]\nlisten_addr = 127.0.0.1\nauth_type = trust\nadmin_users = admin\n";
        text += "pool_mode = transaction\nserver_check_query =\nquery_wait_timeout = 0\n";
        text += "client_login_timeout = 0\n";
        let seconds = |time: Duration| time.as_secs_f64().to_string();
        for (name, value) in [
            ("default_pool_size", self.default_pool_size.to_string()),
            ("min_pool_size", self.min_pool_size.to_string()),
            ("reserve_pool_size", self.reserve_pool_size.to_string()),
            ("reserve_pool_timeout", seconds(self.reserve_pool_timeout)),
            ("max_client_conn", self.max_client_conn.to_string()),
            ("max_db_connections", self.max_db_connections.to_string()),
            ("max_user_connections", self.max_user_connections.to_string()),
            ("max_db_client_connections", self.max_db_client_connections.to_string()),
            ("max_user_client_connections", self.max_user_client_connections.to_string()),
            ("server_login_concurrency", self.login_concurrency.to_string()),
            ("server_login_retry", seconds(self.login_retry)),
            ("server_connect_timeout", seconds(self.connect_timeout)),
            ("server_idle_timeout", seconds(self.idle_timeout)),
            ("server_lifetime", seconds(self.lifetime)),
            ("server_round_robin", u8::from(self.round_robin).to_string()),
        ] {
            text += &format!("{name} = {value}\n");
        }
        text
    }
}

impl DatabaseRule {
    fn random(rng: &mut SeededRng) -> DatabaseRule {
        let first = rng.below(HOSTS as u64) as usize;
        let count = 1 + rng.below(HOSTS as u64) as usize;
        DatabaseRule {
            pool_size: some(rng, 3, 0, 5),
            min_pool_size: some(rng, 5, 0, 4),
            reserve_pool_size: some(rng, 5, 0, 3),
            max_db_connections: some(rng, 4, 0, 7),
            max_db_client_connections: some(rng, 6, 0, 15),
            forced: some(rng, 4, 0, USERS as u64).map(|user| user as usize),
            hosts: (0..count).map(|step| (first + step) % HOSTS).collect(),
            is_sticky: rng.one_in(3),
            is_missing: rng.one_in(12),
        }
    }

    fn text(&self) -> String {
        let hosts: Vec<String> = self.hosts.iter().map(|host| format!("10.0.0.{host}")).collect();
        let mut text = format!("host={} port=5432", hosts.join(","));
        if self.is_sticky {
            text += " load_balance_hosts=disable";
        }
        if let Some(user) = self.forced {
            text += &format!(" user=u{user}");
        }
        text + &keys(&[
            ("pool_size", self.pool_size),
            ("min_pool_size", self.min_pool_size),
            ("reserve_pool_size", self.reserve_pool_size),
            ("max_db_connections", self.max_db_connections),
            ("max_db_client_connections", self.max_db_client_connections),
        ])
    }
}

impl UserRule {
    fn random(rng: &mut SeededRng) -> UserRule {
        UserRule {
            pool_size: some(rng, 5, 0, 5),
            reserve_pool_size: some(rng, 6, 0, 3),
            max_user_connections: some(rng, 4, 0, 7),
            max_user_client_connections: some(rng, 6, 0, 15),
        }
    }

    fn text(&self) -> String {
        keys(&[
            ("pool_size", self.pool_size),
            ("reserve_pool_size", self.reserve_pool_size),
            ("max_user_connections", self.max_user_connections),
            ("max_user_client_connections", self.max_user_client_connections),
        ])
    }
}

/// 0 in a line leaves the setting in force.
fn or_set(line: Option<u32>, setting: u32) -> u32 {
    line.filter(|limit| *limit > 0).unwrap_or(setting)
}

fn keys(pairs: &[(&str, Option<u32>)]) -> String {
    let set = pairs.iter().filter_map(|(key, value)| Some(format!(" {key}={}", (*value)?)));
    set.collect()
}
