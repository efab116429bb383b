//! TLS as far as files tell: whether keys and certificates can be read and match, when they expire,
//! who can read the keys, and which hosts cannot be verified.

use std::os::unix::fs::MetadataExt;

use super::super::tls::{self, SetUp};
use super::{Findings, Weight};
use crate::base::time::Now;
use crate::config::{Config, DatabaseLine, Host, TlsMode};
use crate::net::tls::stranger_to;
use crate::pool::records::secured::TlsModes;

/// Reads all files of TLS that a start would read.
pub fn check(config: &Config, now: Now, findings: &mut Findings) {
    let SetUp { tls: set_up, faults } = match tls::set_up(config, None) {
        Ok(set_up) => set_up,
        Err(error) => return findings.add(Weight::Refusal, &error.to_string()),
    };
    faults.iter().for_each(|fault| findings.add(Weight::Mistake, fault));
    let modes = TlsModes {
        clients: config.settings.client_tls_sslmode,
        servers: config.settings.server_tls_sslmode,
        is_built: crate::net::tls::IS_BUILT,
    };
    let contexts = tls::contexts(&set_up, &modes, config);
    tls::ends_soon(&contexts, now).iter().for_each(|text| findings.warn(text));
    for (setting, file) in keys(config) {
        if let Some(text) = leaks(file) {
            findings.warn(&format!("{setting}: {text}"));
        }
    }
    doubts(config).iter().for_each(|text| findings.warn(text));
}

/// The private keys in use, each once.
fn keys(config: &Config) -> Vec<(String, &str)> {
    let settings = &config.settings;
    let mut keys: Vec<(String, &str)> = Vec::new();
    let mut add = |name: String, file| {
        let is_new = !keys.iter().any(|(_, known)| *known == file);
        if is_new {
            keys.push((name, file));
        }
    };
    if settings.client_tls_sslmode != TlsMode::Disable {
        add("client_tls_key_file".into(), settings.client_tls_key_file.as_str());
    }
    if settings.server_tls_sslmode != TlsMode::Disable {
        add("server_tls_key_file".into(), settings.server_tls_key_file.as_str());
    }
    for line in config.databases.iter().filter(|line| line.has_security()) {
        let security = line.security(settings);
        if security.mode != TlsMode::Disable {
            add(format!("database {}: sslkey", line.name), security.key);
        }
    }
    keys.retain(|(_, file)| !file.is_empty());
    keys
}

/// A private key that too many users can read. As in PostgreSQL only its owner may, and also its
/// group if root owns it.
fn leaks(file: &str) -> Option<String> {
    let found = std::fs::metadata(file).ok()?;
    let (mode, forbidden) = (found.mode() & 0o777, if found.uid() == 0 { 0o037 } else { 0o077 });
    (mode & forbidden != 0).then(|| {
        format!(
            "others than its owner can reach the key \"{file}\" (mode {mode:#06o}): 0600 will do, \
             or 0640 for a file of root"
        )
    })
}

/// Doubts about hosts that verify-full cannot match with their certificates, as far as the
/// configuration shows them, and about lines that ask for TLS where there is none.
fn doubts(config: &Config) -> Vec<String> {
    config.databases.iter().flat_map(|line| of_line(config, line)).collect()
}

fn of_line(config: &Config, line: &DatabaseLine) -> Vec<String> {
    let settings = &config.settings;
    let (name, security) = (&line.name, line.security(settings));
    let mut doubts = Vec::new();
    for (host, _) in line.targets(&settings.unix_socket_dir) {
        match host {
            Host::Unix(_) if line.sslmode.is_some_and(TlsMode::is_required) => doubts.push(format!(
                "database {name}: sslmode has no effect on a Unix socket, whose servers are never \
                 under TLS"
            )),
            Host::Tcp(host) if security.mode == TlsMode::VerifyFull && !security.is_system => {
                doubts.extend(stranger_to(security.authorities, &host).map(|subject| {
                    format!(
                        "database {name}: verify-full does not find host {host} in the one \
                         certificate of \"{}\" ({subject})",
                        security.authorities
                    )
                }));
            }
            Host::Unix(_) | Host::Tcp(_) => {}
        }
    }
    doubts
}
