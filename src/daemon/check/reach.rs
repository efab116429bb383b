//! Whether clients can reach a database and admins the console, and who may write the files of
//! rules.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::lookups;
use crate::auth::hba::{HbaMethod, Rule};
use crate::config::{AuthType, Config, TlsMode};
use crate::pool::core::CONSOLE;
use crate::pool::records::access::Access;

/// The bit of a file's mode that lets every user write.
const OTHERS_WRITE: u32 = 0o002;

/// A sentence for each doubt.
pub fn doubts(config: &Config, access: &Access) -> Vec<String> {
    let settings = &config.settings;
    let mut doubts = Vec::new();
    let has_socket = !settings.unix_socket_dir.is_empty();
    let nowhere = match (settings.listen_addr.is_empty(), has_socket) {
        (true, true) => "listen_addr is not set: only the Unix socket is served",
        (true, false) => {
            "listen_addr and unix_socket_dir are empty: it starts only where the service manager \
             passes sockets"
        }
        (false, _) => "",
    };
    doubts.extend((!nowhere.is_empty()).then(|| nowhere.to_owned()));
    if config.databases.is_empty() {
        doubts.push("[databases] is empty: clients reach nothing but the console".to_owned());
    }
    doubts.extend(of_admins(config, access));
    doubts.extend(of_certificates(config, access));
    let files = [
        ("auth_file", settings.auth_file.as_deref()),
        ("auth_hba_file", Some(settings.auth_hba_file.as_str())),
        ("auth_ident_file", settings.auth_ident_file.as_deref()),
        ("conffile", settings.conffile.as_deref()),
    ];
    doubts.extend(files.into_iter().filter_map(|(setting, path)| of_file(setting, path?)));
    doubts
}

/// Users of the console that no file knows, if logins need that.
fn of_admins(config: &Config, access: &Access) -> Vec<String> {
    let settings = &config.settings;
    if settings.auth_type == AuthType::Any || !lookups::readers(config).is_empty() {
        return Vec::new();
    }
    let is_known =
        |name: &str| name == CONSOLE || access.users.new_ones().any(|(user, _)| user == name);
    let lists = [("admin_users", &settings.admin_users), ("stats_users", &settings.stats_users)];
    let unknown = lists.into_iter().flat_map(|(setting, names)| {
        let unknown = names.iter().filter(|name| !is_known(name));
        unknown.map(move |name| format!("{setting}: auth_file has no user {name}"))
    });
    unknown.collect()
}

/// An HBA rule that asks for a certificate while clients cannot show one.
fn of_certificates(config: &Config, access: &Access) -> Option<String> {
    if config.settings.client_tls_sslmode != TlsMode::Disable {
        return None;
    }
    let rule = access.hba.rules().iter().find(|rule| rule.method == HbaMethod::Cert)?;
    let Rule { line, .. } = rule;
    Some(format!(
        "auth_hba_file: line {line} asks for a certificate, and client_tls_sslmode is disable: \
         whom it matches is refused"
    ))
}

/// A file that decides who may log in, but that every user may write.
fn of_file(setting: &str, path: &str) -> Option<String> {
    let mode = Path::new(path).metadata().ok()?.mode();
    let is_open = !path.is_empty() && mode & OTHERS_WRITE != 0;
    is_open
        .then(|| format!("{setting}: everybody may write to {path} (mode {:04o})", mode & 0o7777))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::hba_file;
    use crate::auth::ident::IdentMaps;
    use crate::auth::secret::Secret;
    use crate::config;

    fn doubts_of(databases: &str, settings: &str) -> Vec<String> {
        let text = format!("[databases]\n{databases}\n[pgbouncer]\n{settings}\n");
        let config = config::load_text("test.ini", &text).expect("a good configuration");
        let users = vec![("known".to_owned(), Secret::parse(b"x"))];
        doubts(&config, &Access { users: users.into_iter().collect(), ..Access::default() })
    }

    #[test]
    fn what_nobody_reaches_is_told() {
        let good = "listen_addr = *\nadmin_users = known, pgbouncer\n";
        assert_eq!(doubts_of("a = host=x", good), [""; 0]);
        for (databases, settings, expected) in [
            ("a = host=x", "admin_users = known", "listen_addr is not set"),
            ("", good, "[databases] is empty"),
            ("a = host=x", "admin_users = known\nunix_socket_dir =", "the service manager"),
            (
                "a = host=x",
                "listen_addr = *\nadmin_users = x",
                "admin_users: auth_file has no user x",
            ),
            (
                "a = host=x",
                "listen_addr = *\nstats_users = x",
                "stats_users: auth_file has no user x",
            ),
        ] {
            let doubts = doubts_of(databases, settings);
            assert_eq!(doubts.len(), 1, "{doubts:?}");
            assert!(doubts[0].contains(expected), "{doubts:?}");
        }
        let found = "listen_addr = *\nadmin_users = x\nauth_user = y";
        assert_eq!(doubts_of("a = host=x", found), [""; 0]);
    }

    #[test]
    fn a_certificate_that_nobody_can_show_is_told() {
        let lines = b"host all all 127.0.0.1/32 md5\nhostssl all all all cert\n";
        let hba = hba_file::parse(lines, &IdentMaps::default(), &mut |_| None).0;
        let access = Access { hba, ..Access::default() };
        let told = |mode: &str| {
            let text = format!("[pgbouncer]\nclient_tls_sslmode = {mode}\n");
            let config = config::load_text("test.ini", &text).expect("a good configuration");
            of_certificates(&config, &access)
        };
        assert!(told("disable").is_some_and(|doubt| doubt.starts_with("auth_hba_file: line 2 ")));
        assert_eq!(told("verify-full"), None);
    }
}
