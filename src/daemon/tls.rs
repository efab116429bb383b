//! TLS as the settings ask for it: set up before it is in force, so that what cannot be set up
//! changes nothing.

use crate::config::Settings;
use crate::net::network::Network;
use crate::net::tls::{ClientSide, ServerSide, Tls, TlsError, Wanted};
use crate::pool::core::Core;
use crate::pool::records::secured::TlsModes;

/// Both sides as new settings ask for them.
pub fn set_up(settings: &Settings) -> Result<Tls, TlsError> {
    let clients = ClientSide::new(for_clients(settings))?;
    Ok(Tls { clients, servers: ServerSide::new(for_servers(settings))? })
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
pub fn follow(settings: &Settings, network: &mut Network, core: &mut Core) -> Vec<TlsError> {
    let mut failures = Vec::new();
    let clients = for_clients(settings);
    if clients != *network.tls.clients.wanted() {
        match ClientSide::new(clients) {
            Ok(side) => network.tls.clients = side,
            Err(error) => failures.push(error),
        }
    }
    let servers = for_servers(settings);
    if servers != *network.tls.servers.wanted() {
        match ServerSide::new(servers) {
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
    });
}

fn for_clients(settings: &Settings) -> Wanted {
    Wanted {
        mode: settings.client_tls_sslmode,
        key_file: settings.client_tls_key_file.clone(),
        cert_file: settings.client_tls_cert_file.clone(),
        ca_file: settings.client_tls_ca_file.clone(),
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
        protocols: settings.server_tls_protocols.clone(),
        ciphers: settings.server_tls_ciphers.clone(),
        ciphers13: settings.server_tls13_ciphers.clone().unwrap_or_default(),
        dheparams: String::new(),
        ecdhcurve: String::new(),
    }
}
