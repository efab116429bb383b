//! What auth_query needs to work: a user that can log in to run it, and a database.

use super::names::names;
use crate::auth::secret::{Secret, SecretKind};
use crate::config::{Config, DatabaseLine, Host};
use crate::pool::core::CONSOLE;

/// A sentence for each doubt. `users` is the user list, sorted by name.
pub fn doubts(config: &Config, users: &[(&str, &Secret)]) -> Vec<String> {
    let mut doubts = of_readers(config, users);
    if !readers(config).is_empty() {
        doubts.extend(of_places(config));
        doubts.extend(of_owners(config));
    }
    doubts
}

/// The users that look up other users' secrets.
pub fn readers(config: &Config) -> Vec<&str> {
    all(config, |line| &line.auth_user, &config.settings.auth_user)
}

/// The values of a setting that databases may override, each once.
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

/// The secret of a user in the user list.
pub fn listed<'a>(user: &str, users: &[(&str, &'a Secret)]) -> Option<&'a Secret> {
    let place = users.binary_search_by(|(name, _)| (*name).cmp(user)).ok()?;
    Some(users[place].1)
}

/// Doubts about the users that run auth_query: only the user list has secrets for them.
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
            // The check of the user list reports hashes of passwords.
            Some(SecretKind::Md5 | SecretKind::Plain) => return None,
        };
        Some(format!("auth_user {user} {why}"))
    };
    readers(config).into_iter().filter_map(doubt).collect()
}

/// Doubts about the databases in which auth_query runs.
fn of_places(config: &Config) -> Vec<String> {
    let is_known = |name: &str| {
        let mut lines = config.databases.iter();
        name != CONSOLE && lines.any(|line| line.name == name || line.is_fallback())
    };
    let places = all(config, |line| &line.auth_dbname, &config.settings.auth_dbname);
    let doubt = |name: &&str| format!("auth_dbname {name} is no database: nobody is found there");
    places.iter().filter(|name| !is_known(name)).map(doubt).collect()
}

/// Doubts about databases of clients in which auth_user, who may read secrets, meets functions of
/// their owners. The default query is safe there, but auth_user should have no sessions there.
fn of_owners(config: &Config) -> Option<String> {
    let is_set = |value: &Option<String>| value.as_ref().is_some_and(|text| !text.is_empty());
    let is_client_own = |line: &&DatabaseLine| {
        let has_reader = match &line.auth_user {
            Some(user) if !user.is_empty() => true,
            _ => is_set(&config.settings.auth_user),
        };
        has_reader && !is_set(&line.auth_dbname) && !is_set(&config.settings.auth_dbname)
    };
    let lines = config.databases.iter().filter(is_client_own);
    let names = names(lines.map(|line| line.name.as_str()))?;
    Some(format!(
        "auth_query runs in the client's own database, where its owner can put functions in the \
         way of auth_user: set auth_dbname to a database of yours: {names}"
    ))
}

/// Whether all servers of a line are behind Unix sockets: they usually ask for no password.
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
        let elsewhere = "\nauth_dbname = d";
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
            let doubts = doubts_of(line, &format!("{settings}{elsewhere}")).join("\n");
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
            let mut doubts = doubts_of(line, &format!("{reader}{settings}"));
            doubts.retain(|doubt| !doubt.starts_with(OWN));
            let expected: Vec<String> = expected.into_iter().map(doubt).collect();
            assert_eq!(doubts, expected, "{line} {settings}");
        }
        assert_eq!(doubts_of("d = host=x", "auth_dbname = other"), [""; 0], "nothing is run");
    }

    const OWN: &str = "auth_query runs in the client's own database";

    #[test]
    fn the_query_is_not_for_databases_that_others_own() {
        let cases = [
            ("d = host=x", "auth_user = p", Some("d")),
            ("* = host=x", "auth_user = p", Some("*")),
            ("d = host=x auth_user=p\ne = host=x", "", Some("d")),
            ("d = host=x auth_dbname=e\ne = host=x", "auth_user = p", Some("e")),
            ("d = host=x", "auth_user = p\nauth_dbname = d", None),
            ("d = host=x", "auth_user =", None),
            ("d = host=x", "", None),
        ];
        for (line, settings, named) in cases {
            let doubts = doubts_of(line, settings);
            let told = doubts.iter().find(|doubt| doubt.starts_with(OWN));
            let names = told.and_then(|doubt| doubt.rsplit(": ").next());
            assert_eq!(names, named, "{line} {settings}: {doubts:?}");
        }
    }
}
