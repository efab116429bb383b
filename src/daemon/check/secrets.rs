//! Users that cannot log in to their servers, or not to the pooler, as far as the files tell.
//!
//! No such doubt is an error, since a server may ask for no password.

use super::lookups::{self, asks_no_password};
use super::names::names;
use crate::auth::hba::HbaMethod;
use crate::auth::secret::{Secret, SecretKind};
use crate::base::order;
use crate::base::places::Places;
use crate::config::{AuthType, Config, DatabaseLine};
use crate::pool::records::access::Access;

/// A sentence for each kind of doubt, with names.
pub fn doubts(config: &Config, access: &Access) -> Vec<String> {
    // Of two entries with one name the later counts.
    let last = Places::of(&mut access.users.new_ones().map(|(name, _)| name));
    let users = access.users.new_ones().enumerate();
    let users: Vec<(&str, &Secret)> = users
        .filter(|(place, (name, _))| last.get(name) == Some(*place))
        .map(|(_, user)| user)
        .collect();
    let users = order::sorted(&users, |(a, _), (b, _)| a.cmp(b));
    let mut doubts = of_users(config, access, &users);
    doubts.extend(lookups::doubts(config, &users));
    for line in &config.databases {
        doubts.extend(of_database(config, line, &users));
    }
    doubts
}

fn of_users(config: &Config, access: &Access, users: &[(&str, &Secret)]) -> Vec<String> {
    let auth_type = config.settings.auth_type;
    let named = |is_meant: &dyn Fn(&Secret) -> bool| {
        names(users.iter().filter(|(_, secret)| is_meant(secret)).map(|(name, _)| *name))
    };
    let mut doubts = Vec::new();
    let needs_secrets =
        !matches!(auth_type, AuthType::Any | AuthType::Hba | AuthType::Ldap | AuthType::Pam);
    if users.is_empty() && needs_secrets && lookups::readers(config).is_empty() {
        doubts.push("no users are known, nobody can log in: see auth_file".to_owned());
    }
    if let Some(names) = named(&is_empty) {
        doubts.push(format!("an empty secret lets nobody in, and is never sent: {names}"));
    }
    if let Some(names) = named(&|secret| secret.kind() == SecretKind::Md5) {
        doubts.push(match auth_type {
            AuthType::ScramSha256 => format!(
                "with auth_type scram-sha-256 the MD5 hash of a password lets nobody in: {names}"
            ),
            _ => format!(
                "the MD5 hash of a password opens only servers that ask for MD5, not SCRAM: {names}"
            ),
        });
    }
    if !clients_bring_keys(auth_type, access)
        && let Some(names) = named(&|secret| secret.kind() == SecretKind::Scram)
    {
        doubts.push(format!(
            "a SCRAM secret opens servers only for clients that come in by a password, and with \
             auth_type {} none do: {names}",
            auth_type.word()
        ));
    }
    doubts
}

/// Whether logins of clients yield what opens a server when only a SCRAM secret is stored.
fn clients_bring_keys(auth_type: AuthType, access: &Access) -> bool {
    match auth_type {
        AuthType::Ldap
        | AuthType::Md5
        | AuthType::Pam
        | AuthType::Plain
        | AuthType::ScramSha256 => true,
        AuthType::Any | AuthType::Cert | AuthType::Peer | AuthType::Trust => false,
        AuthType::Hba => access.hba.rules().iter().any(|rule| match rule.method {
            HbaMethod::Md5 | HbaMethod::Plain | HbaMethod::ScramSha256 => true,
            // LDAP and PAM yield the password itself, which opens more servers than stored keys.
            HbaMethod::Ldap | HbaMethod::Pam => true,
            HbaMethod::Cert | HbaMethod::Peer | HbaMethod::Reject | HbaMethod::Trust => false,
        }),
    }
}

/// A doubt about the user whose name opens all servers of a database.
fn of_database(config: &Config, line: &DatabaseLine, users: &[(&str, &Secret)]) -> Option<String> {
    let database = &line.name;
    let Some(user) = &line.user else {
        let is_any = config.settings.auth_type == AuthType::Any;
        return is_any.then(|| format!("database {database}: auth_type any needs a user= here"));
    };
    let own = line.password.as_ref().map(|password| Secret::parse(&password.expose()));
    let secret = own.as_ref().or_else(|| lookups::listed(user, users));
    let why = match secret.map(Secret::kind) {
        None if asks_no_password(line) => return None,
        None => "has no password: give it in this line or in auth_file",
        Some(SecretKind::Scram) => {
            "has a SCRAM secret, which opens no server for other clients: give the password in \
             plain text"
        }
        Some(SecretKind::Md5) if own.is_some() => {
            "has the MD5 hash of a password, which opens only servers that ask for MD5"
        }
        // The check of the user list reports these.
        Some(SecretKind::Md5 | SecretKind::Plain) => return None,
    };
    Some(format!("database {database}: user {user} {why}"))
}

fn is_empty(secret: &Secret) -> bool {
    matches!(secret, Secret::Plain(password) if password.as_bytes().is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::{hba_file, ident};
    use crate::config;

    const MD5: &str = "md5d1d2c3cc1a4cd2a0a9bf20d5d8f9e1f3";
    const SCRAM: &str = "SCRAM-SHA-256$4096:c2FsdHNhbHRzYWx0c2FsdA==$\
         AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";

    fn doubts_of(
        databases: &str,
        settings: &str,
        users: &[(&str, &str)],
        hba: &str,
    ) -> Vec<String> {
        let text = format!("[databases]\n{databases}\n[pgbouncer]\n{settings}\n");
        let config = config::load_text("test.ini", &text).expect("a good configuration");
        let (hba, problems) =
            hba_file::parse(hba.as_bytes(), &ident::IdentMaps::default(), &mut |_| None);
        assert_eq!(problems, []);
        let users = users.iter().map(|(n, s)| ((*n).to_owned(), Secret::parse(s.as_bytes())));
        doubts(&config, &Access { users: users.collect(), hba, ..Access::default() })
    }

    #[test]
    fn plain_passwords_leave_no_doubt() {
        for auth_type in ["md5", "scram-sha-256", "plain", "trust"] {
            let settings = format!("auth_type = {auth_type}");
            let users = [("a", "secret"), ("b", "other")];
            assert_eq!(
                doubts_of("d = host=x user=b", &settings, &users, ""),
                [""; 0],
                "{auth_type}"
            );
        }
    }

    #[test]
    fn a_secret_that_cannot_be_shown_to_servers_is_told_of() {
        let users = [("s", SCRAM), ("m", MD5), ("p", "x")];
        let doubt = |settings: &str, hba: &str| doubts_of("", settings, &users, hba).join("\n");
        assert!(!doubt("auth_type = scram-sha-256", "").contains("SCRAM secret"));
        assert!(doubt("auth_type = scram-sha-256", "").contains("lets nobody in: m"));
        assert!(doubt("auth_type = md5", "").ends_with("not SCRAM: m"));
        assert!(doubt("auth_type = trust", "").ends_with("auth_type trust none do: s"));
        let hba = "auth_type = hba\nauth_hba_file = x";
        assert!(doubt(hba, "local all all peer").contains("none do: s"));
        assert!(!doubt(hba, "host all all all md5").contains("none do"));
    }

    #[test]
    fn the_user_of_a_database_line_needs_a_password_in_plain_text() {
        let users = [("s", SCRAM), ("m", MD5)];
        let cases = [
            ("d = host=x user=s", Some("user s has a SCRAM secret")),
            ("d = host=x user=s password=plain", None),
            ("d = host=x user=nobody", Some("user nobody has no password")),
            ("d = host=/run/postgresql user=nobody", None),
            ("d = user=nobody", None),
            ("d = host=/run/postgresql,x user=nobody", Some("user nobody has no password")),
            ("d = host=x", None),
        ];
        for (line, expected) in cases {
            let doubts = doubts_of(line, "auth_type = md5", &users, "");
            let about = doubts.iter().find(|doubt| doubt.starts_with("database d: "));
            match expected {
                Some(words) => {
                    assert!(about.is_some_and(|d| d.contains(words)), "{line}: {doubts:?}")
                }
                None => assert_eq!(about, None, "{line}"),
            }
        }
        let line = format!("d = host=x user=m password={MD5}");
        assert!(doubts_of(&line, "auth_type = plain", &users, "").join("").contains("MD5 hash"));
        let any = doubts_of("d = host=x", "auth_type = any", &[], "");
        assert_eq!(any, ["database d: auth_type any needs a user= here"]);
    }

    #[test]
    fn nobody_and_nothing_are_told_of() {
        assert_eq!(doubts_of("", "auth_type = md5", &[], "").len(), 1);
        assert_eq!(doubts_of("", "auth_type = any", &[], ""), [""; 0]);
        // auth_query may find any user.
        assert_eq!(doubts_of("", "auth_type = md5\nauth_user = n", &[], ""), [""; 0]);
        let empty = doubts_of("", "auth_type = md5", &[("a", "")], "");
        assert_eq!(empty, ["an empty secret lets nobody in, and is never sent: a"]);
        let many: Vec<String> = (0..9).map(|n| format!("u{n}")).collect();
        let many: Vec<(&str, &str)> = many.iter().map(|name| (name.as_str(), "")).collect();
        let told = doubts_of("", "auth_type = md5", &many, "").join("");
        assert!(told.ends_with(": u0, u1, u2, u3, u4 and 4 more"), "{told}");
    }
}
