//! TLS as the settings ask for it: set up before it is in force, so that what cannot be set up
//! changes nothing.

use std::collections::HashMap;

use crate::config::{Config, Place, Settings};
use crate::net::network::Network;
use crate::net::tls::{self, ClientSide, ServerSide, Tls, Wanted};
use crate::pool::core::Core;
use crate::pool::records::secured::{OwnTls, TlsModes};

/// Both sides as new settings ask for them.
pub fn set_up(config: &Config) -> Result<Tls, String> {
    let clients = ClientSide::new(for_clients(&config.settings));
    let clients = clients.map_err(|error| error.to_string())?;
    Ok(Tls { clients, servers: set_up_servers(config)? })
}

/// The side of the servers: what the settings ask for, and what lines of databases do.
fn set_up_servers(config: &Config) -> Result<ServerSide, String> {
    let servers = ServerSide::new(for_servers(&config.settings));
    let mut servers = servers.map_err(|error| error.to_string())?;
    if config.secured.is_empty() {
        return Ok(servers);
    }
    let places: HashMap<&str, &Place> =
        config.secured.iter().map(|(name, place)| (name.as_str(), place)).collect();
    for line in config.databases.iter().filter(|line| line.has_security()) {
        let mode = line.security(&config.settings).mode;
        let own = OwnTls::of(line, config.settings.server_tls_sslmode);
        servers.prepare(mode, &own).map_err(|error| {
            let place = places.get(line.name.as_str()).map(|place| format!("{place}: "));
            format!("{}{}: {error}", place.unwrap_or_default(), line.name)
        })?;
    }
    Ok(servers)
}

/// Puts both sides in force. New connections are met with them; servers that were opened under
/// other settings are closed once nobody uses them.
pub fn put_in_force(new: Tls, network: &mut Network, core: &mut Core) {
    let has_changed = new.servers.wanted() != network.tls.servers.wanted();
    network.tls = new;
    tell(network, core);
    if has_changed {
        core.server_tls_changed();
    }
}

/// Puts in force what SET has changed, one side at a time, and returns what could not be: an
/// operator who changes several settings by SET is not stopped half way, and what was in force
/// serves on meanwhile.
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
        match set_up_servers(&core.config) {
            Ok(side) => {
                network.tls.servers = side;
                core.server_tls_changed();
            }
            Err(error) => failures.push(error),
        }
    }
    tell(network, core);
    failures
}

fn tell(network: &Network, core: &mut Core) {
    core.set_tls_modes(TlsModes {
        clients: network.tls.clients.wanted().mode,
        servers: network.tls.servers.wanted().mode,
        is_built: tls::IS_BUILT,
    });
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
    }
}
