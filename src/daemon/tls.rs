//! TLS as the settings say. It is set up completely before it is put in force, so that a failure
//! changes nothing.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use crate::base::time::{self, Moment, Now};
use crate::config::{Config, DatabaseLine, FilePlace, Settings, TlsMode};
use crate::log::Level;
use crate::net::network::Network;
use crate::net::tls::{self, ClientSide, Renewed, ServerSide, Tls, TlsError, Wanted};
use crate::pool::core::Core;
use crate::pool::records::secured::{OwnTls, ServerTls, TlsContext, TlsModes, TlsTally, Whose};

/// Both sides, as new settings ask for them.
pub struct SetUp {
    pub tls: Tls,
    /// What does not work, though it prevents nothing.
    pub faults: Vec<String>,
}

/// Sets up both sides: at the start, and at a RELOAD, when other TLS is in force.
///
/// Files of the settings `server_tls_*` end no start, as in PgBouncer: servers that do without TLS
/// are reached all the same, and the files are read again for each connection. A RELOAD may leave
/// such a fault, and not bring one. Files that only root may read were read at the start, if that
/// was done by root; a RELOAD keeps what is in force of them.
pub fn set_up(config: &Config, in_force: Option<&Tls>) -> Result<SetUp, TlsError> {
    let mut faults = Vec::new();
    let mut keep = |error: TlsError| {
        let kept = "what was read before serves on";
        faults.push(format!("{error}; {kept}"));
    };
    let wanted = for_clients(&config.settings);
    let before = in_force.map(|tls| &tls.clients).filter(|side| *side.wanted() == wanted);
    let clients = match (ClientSide::new(wanted), before) {
        (Err(error), Some(before)) if error.is_denied => {
            keep(error);
            before.clone()
        }
        (made, _) => made?,
    };
    let wanted = for_servers(&config.settings);
    let before = in_force.map(|tls| &tls.servers).filter(|side| *side.wanted() == wanted);
    let may_have_fault = in_force.is_none() || before.is_some_and(|side| !side.has_read_files());
    let servers = match (set_up_servers(config, wanted), before) {
        (Ok((side, Some(fault))), _) if may_have_fault => {
            faults.push(fault.to_string());
            side
        }
        (Ok((_, Some(error))) | Err(error), Some(before)) if error.is_denied => {
            keep(error);
            before.clone()
        }
        (Ok((_, Some(error))) | Err(error), _) => return Err(error),
        (Ok((side, None)), _) => side,
    };
    Ok(SetUp { tls: Tls { clients, servers }, faults })
}

/// A failure as the log has it: PgBouncer's words, then the error of the file or the library.
pub fn told(failure: &str) -> String {
    let is_named = !failure.starts_with("failed to ");
    if is_named { failure.to_owned() } else { format!("TLS setup failed: {failure}") }
}

/// The side of the servers: the settings, whose files may have a fault, and the options of database
/// lines.
fn set_up_servers(
    config: &Config,
    wanted: Wanted,
) -> Result<(ServerSide, Option<TlsError>), TlsError> {
    let mut servers = ServerSide::new(wanted)?;
    let fault = servers.read_files().err();
    if config.secured.is_empty() {
        return Ok((servers, fault));
    }
    let places: HashMap<&str, &FilePlace> =
        config.secured.iter().map(|(name, place)| (name.as_str(), place)).collect();
    for line in config.databases.iter().filter(|line| line.has_security()) {
        let mode = line.security(&config.settings).mode;
        let own = OwnTls::of(line, config.settings.server_tls_sslmode);
        servers.prepare(mode, &own).map_err(|error| {
            let place = places.get(line.name.as_str()).map(|place| format!("{place}: "));
            error.at(&format!("{}{}", place.unwrap_or_default(), line.name))
        })?;
    }
    Ok((servers, fault))
}

/// Puts both sides in force, for connections that are opened from now on.
pub fn put_in_force(new: Tls, network: &mut Network, core: &mut Core) {
    let has_changed = new.servers.wanted() != network.tls.servers.wanted();
    network.tls = new;
    tell(network, core);
    if has_changed {
        core.server_tls_changed();
    }
}

/// Puts in force what SET has changed, one side at a time. Returns the failures: an operator may
/// change several settings by SET one after the other, and meanwhile the TLS in force stays.
pub fn follow(network: &mut Network, core: &mut Core) -> Vec<String> {
    let mut failures = Vec::new();
    let clients = for_clients(core.settings());
    if clients != *network.tls.clients.wanted() {
        match ClientSide::new(clients) {
            Ok(side) => network.tls.clients = side,
            Err(error) => failures.push(error.to_string()),
        }
    }
    if for_servers(core.settings()) != *network.tls.servers.wanted() {
        match set_up_servers(&core.config, for_servers(core.settings())) {
            Ok((side, None)) => {
                network.tls.servers = side;
                core.server_tls_changed();
            }
            Ok((_, Some(error))) | Err(error) => failures.push(error.to_string()),
        }
    }
    tell(network, core);
    failures
}

/// Tells the core which TLS is in force.
pub fn tell(network: &Network, core: &mut Core) {
    let modes = TlsModes {
        clients: network.tls.clients.wanted().mode,
        servers: network.tls.servers.wanted().mode,
        is_built: tls::IS_BUILT,
    };
    core.set_tls(modes, contexts(&network.tls, &modes, &core.config));
}

/// The facts about each TLS context that connections may have.
pub fn contexts(tls: &Tls, modes: &TlsModes, config: &Config) -> Vec<TlsContext> {
    let mut contexts = Vec::new();
    let mut add = |whose, (certificate, authorities)| {
        contexts.push(TlsContext { whose, certificate, authorities, tally: TlsTally::default() });
    };
    if modes.clients != TlsMode::Disable {
        add(Whose::Clients, tls.of_clients());
    }
    let default = DatabaseLine::default();
    let lines = config.databases.iter().filter(|line| line.has_security());
    let mut seen = HashSet::new();
    for line in [&default].into_iter().chain(lines) {
        let Some(ServerTls { own, .. }) = ServerTls::of(line, "", modes) else { continue };
        if seen.insert(own.clone()) {
            let files = tls.of_servers(&own);
            add(Whose::Servers(own), files);
        }
    }
    contexts
}

/// Checks the files of keys and certificates from time to time.
#[derive(Default)]
pub struct Watch {
    next: Moment,
    /// Whether the last check found any files.
    has_files: bool,
    /// When the last warning of certificates that expire soon was given.
    warned: Option<Moment>,
}

impl Watch {
    /// When the next check is due.
    pub fn next(&self) -> Moment {
        self.next
    }

    /// Makes the next check due at once: there may be other files.
    pub fn look_again(&mut self) {
        self.next = Moment::default();
    }

    /// Makes check and warnings due at once: other files may be in force.
    pub fn restart(&mut self) {
        *self = Watch::default();
    }

    /// Whether a check is due.
    pub fn is_due(&self, now: Moment) -> bool {
        now >= self.next
    }

    /// Puts changed files in force. Returns lines for the log.
    pub fn look(&mut self, network: &mut Network, core: &mut Core) -> Vec<(Level, String)> {
        let now = core.now;
        self.next = now.mono + core.settings().stats_period.max(SHORTEST_PERIOD);
        let had_files = std::mem::replace(&mut self.has_files, network.tls.has_files());
        if !self.has_files {
            return Vec::new();
        }
        if !had_files {
            // A connection may have been the first to find them.
            tell(network, core);
        }
        let Renewed { taken, failures } = network.tls.renew();
        let mut lines = Vec::new();
        for file in &taken {
            let text = format!("\"{file}\" has changed, and is in force for new connections");
            lines.push((Level::Log, text));
        }
        for error in failures {
            let kept = "what was read before serves on";
            lines.push((Level::Warning, format!("TLS files have changed, {kept}: {error}")));
        }
        if !taken.is_empty() {
            tell(network, core);
            self.warned = None;
        }
        if self.warned.is_none_or(|warned| now.mono.since(warned) >= A_DAY) {
            self.warned = Some(now.mono);
            let ends = ends_soon(&core.tls_contexts, now);
            lines.extend(ends.into_iter().map(|text| (Level::Warning, text)));
        }
        lines
    }
}

const A_DAY: Duration = Duration::from_secs(86_400);

/// The shortest time between two checks.
const SHORTEST_PERIOD: Duration = Duration::from_secs(1);

/// How long before its expiry the pooler warns of a certificate.
const EXPIRES_SOON_SECONDS: u64 = 14 * 86_400;

/// A warning for each file whose certificates expire soon or have expired.
pub fn ends_soon(contexts: &[TlsContext], now: Now) -> Vec<String> {
    let now = now.wall_us / 1_000_000;
    let files = contexts.iter().flat_map(|context| [&context.certificate, &context.authorities]);
    let mut warnings = Vec::new();
    for file in files.flatten().filter(|file| file.not_after < now + EXPIRES_SOON_SECONDS) {
        let (path, subject, end) = (&file.path, &file.subject, time::utc(file.not_after));
        let days = file.not_after.saturating_sub(now) / 86_400;
        let text = match file.not_after <= now {
            true => format!("the certificate \"{path}\" ({subject}) has ended: {end}"),
            false => format!("the certificate \"{path}\" ({subject}) ends in {days} days: {end}"),
        };
        if !warnings.contains(&text) {
            warnings.push(text);
        }
    }
    warnings
}

fn for_clients(settings: &Settings) -> Wanted {
    Wanted {
        mode: settings.client_tls_sslmode,
        key_file: settings.client_tls_key_file.clone(),
        cert_file: settings.client_tls_cert_file.clone(),
        ca_file: settings.client_tls_ca_file.clone(),
        trusts_system: false,
        protocols: settings.client_tls_protocols.clone(),
        ciphers: settings.client_tls_ciphers.clone(),
        ciphers13: settings.client_tls13_ciphers.clone().unwrap_or_default(),
        dheparams: settings.client_tls_dheparams.clone(),
        ecdhcurve: settings.client_tls_ecdhcurve.clone(),
        web: settings.metrics_tls,
    }
}

fn for_servers(settings: &Settings) -> Wanted {
    Wanted {
        mode: settings.server_tls_sslmode,
        key_file: settings.server_tls_key_file.clone(),
        cert_file: settings.server_tls_cert_file.clone(),
        ca_file: settings.server_tls_ca_file.clone(),
        trusts_system: false,
        protocols: settings.server_tls_protocols.clone(),
        ciphers: settings.server_tls_ciphers.clone(),
        ciphers13: settings.server_tls13_ciphers.clone().unwrap_or_default(),
        dheparams: String::new(),
        ecdhcurve: String::new(),
        web: false,
    }
}
