//! What auth_query needs to find anybody: someone who can log in to run it, and a database.

use crate::auth::secret::{Secret, SecretKind};
use crate::config::{Config, DatabaseLine, Host};
use crate::pool::core::CONSOLE;

/// A sentence for each doubt. `users` are those of the user list, by name.
pub fn doubts(config: &Config, users: &[(&str, &Secret)]) -> Vec<String> {
    let mut doubts = of_readers(config, users);
    if !readers(config).is_empty() {
        doubts.extend(of_places(config));
    }
    doubts
}

/// Those who look up other users' secrets.
pub fn readers(config: &Config) -> Vec<&str> {
    all(config, |line| &line.auth_user, &config.settings.auth_user)
}

/// The values of a setting that databases may have for themselves, each once.
fn all<'a>(
    config: &'a Config,
    of_line: fn(&DatabaseLine) -> &Option<String>,
    of_all: &'a Option<String>,
) -> Vec<&'a str> {
    let mut values: Vec<&str> = Vec::new();
    for value in config.databases.iter().map(of_line).chain([of_all]).flatten() {
        if !value.is_empty() && !values.contains(&value.as_str()) {
            values.push(value);
        }
    }
    values
}

/// The secret that the user list has.
pub fn listed<'a>(user: &str, users: &[(&str, &'a Secret)]) -> Option<&'a Secret> {
    let place = users.binary_search_by(|(name, _)| (*name).cmp(user)).ok()?;
    Some(users[place].1)
}

/// They log in to servers with what the user list has of them, and nothing else.
fn of_readers(config: &Config, users: &[(&str, &Secret)]) -> Vec<String> {
    if config.databases.iter().all(asks_no_password) {
        return Vec::new();
    }
    let doubt = |user: &str| {
        let why = match listed(user, users).map(Secret::kind) {
            None => "has no secret in auth_file: only a server that asks for none lets it in",
            Some(SecretKind::Scram) => {
                "has a SCRAM secret, which opens no server: give the password in plain text"
            }
            // Those with the hash of a password have been told of.
            Some(SecretKind::Md5 | SecretKind::Plain) => return None,
        };
        Some(format!("auth_user {user} {why}"))
    };
    readers(config).into_iter().filter_map(doubt).collect()
}

/// The databases in which the query is to run.
fn of_places(config: &Config) -> Vec<String> {
    let is_known = |name: &str| {
        let mut lines = config.databases.iter();
        name != CONSOLE && lines.any(|line| line.name == name || line.is_fallback())
    };
    let places = all(config, |line| &line.auth_dbname, &config.settings.auth_dbname);
    let doubt = |name: &&str| format!("auth_dbname {name} is no database: nobody is found there");
    places.iter().filter(|name| !is_known(name)).map(doubt).collect()
}

/// A server behind a Unix socket knows by itself who comes, as a rule.
pub fn asks_no_password(line: &DatabaseLine) -> bool {
    line.host.iter().all(|host| matches!(host, Host::Unix(_)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config;

    const SCRAM: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn doubts_of(line: &str, settings: &str) -> Vec<String> {
        let text = format!("[databases]\n{line}\n[pgbouncer]\n{settings}\n");
        let config = config::load_text("test.ini", &text).expect("a good configuration");
        let (plain, scram) = (Secret::parse(b"secret"), Secret::parse(SCRAM.as_bytes()));
        doubts(&config, &[("p", &plain), ("s", &scram)])
    }

    #[test]
    fn who_runs_the_query_needs_a_password_in_plain_text() {
        let cases = [
            ("d = host=x", "", ""),
            ("d = host=x", "auth_user = p", ""),
            ("d = host=x", "auth_user =", ""),
            ("d = host=x", "auth_user = s", "auth_user s has a SCRAM secret"),
            ("d = host=x", "auth_user = n", "auth_user n has no secret in auth_file"),
            ("d = host=x auth_user=n", "auth_user = p", "auth_user n has no secret"),
            ("d = host=/run/postgresql", "auth_user = n", ""),
        ];
        for (line, settings, expected) in cases {
            let doubts = doubts_of(line, settings).join("\n");
            assert!(doubts.starts_with(expected), "{line} {settings}: {doubts}");
            assert_eq!(doubts.is_empty(), expected.is_empty(), "{line} {settings}: {doubts}");
        }
    }

    #[test]
    fn the_query_needs_a_database() {
        let doubt =
            |name: &str| format!("auth_dbname {name} is no database: nobody is found there");
        let reader = "auth_user = p\n";
        let cases = [
            ("d = host=x", "auth_dbname = d", None),
            ("d = host=x", "auth_dbname = other", Some("other")),
            ("d = host=x auth_dbname=other", "", Some("other")),
            ("d = host=x auth_dbname=pgbouncer\n* = host=x", "", Some("pgbouncer")),
            ("* = host=x", "auth_dbname = other", None),
        ];
        for (line, settings, expected) in cases {
            let doubts = doubts_of(line, &format!("{reader}{settings}"));
            let expected: Vec<String> = expected.into_iter().map(doubt).collect();
            assert_eq!(doubts, expected, "{line} {settings}");
        }
        assert_eq!(doubts_of("d = host=x", "auth_dbname = other"), [""; 0], "nothing is run");
    }
}
