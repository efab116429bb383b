//! The way to a server, whatever the connection is for: the address of its host, and the
//! connection. What follows is told by [`Core::server_connected`](crate::pool::core::Core).

use std::net::IpAddr;

use crate::config::Host;
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, Core, Target};
use crate::pool::ids::ServerId;
use crate::pool::records::dns::AddressLookup;
use crate::pool::records::handshake::LoginStage;
use crate::pool::records::server::{Server, ServerState};
use crate::pool::records::site::Site;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Starts a server connection towards its host: at once, or when its name is resolved.
    pub(in crate::pool) fn approach(&mut self, id: ServerId) {
        let Site { host, port, .. } = &self.sites[self.servers[id].site];
        let port = *port;
        match host.clone() {
            Host::Unix(dir) => {
                let path = format!("{dir}/.s.PGSQL.{port}");
                self.servers[id].peer = PeerAddress::Unix { pid: None, port };
                self.connect(id, Target::Unix(path));
            }
            Host::Tcp(name) => match name.parse() {
                Ok(ip) => self.connect_tcp(id, ip, port),
                Err(_) => self.approach_by_name(id, &name, port),
            },
        }
    }

    fn approach_by_name(&mut self, id: ServerId, name: &str, port: u16) {
        match self.dns.look_up(name, self.now.mono) {
            AddressLookup::Address(ip) => self.connect_tcp(id, ip, port),
            AddressLookup::Failed(_) => {
                let words = format!("server DNS lookup failed: no address for host {name}");
                self.server_failed_as(id, Reason::ServerDnsFailed, &words);
            }
            AddressLookup::Pending => self.set_stage(id, LoginStage::Resolving(name.into())),
            AddressLookup::Ask => {
                self.set_stage(id, LoginStage::Resolving(name.into()));
                self.act(Action::Resolve(name.to_owned()));
            }
        }
    }

    fn connect_tcp(&mut self, id: ServerId, ip: IpAddr, port: u16) {
        self.servers[id].peer = PeerAddress::Tcp { ip, port };
        self.connect(id, Target::Tcp((ip, port).into()));
    }

    fn connect(&mut self, id: ServerId, to: Target) {
        self.set_stage(id, LoginStage::Connecting);
        self.act(Action::Connect { server: id, to });
    }

    pub(in crate::pool) fn set_stage(&mut self, id: ServerId, stage: LoginStage) {
        if let Some(login) = self.servers[id].login_mut() {
            login.stage = stage;
        }
    }

    /// An answer of the resolver.
    pub fn resolved(&mut self, name: &str, answer: Result<Vec<IpAddr>, String>) {
        let settings = self.settings();
        let ttl = if answer.is_ok() { settings.dns_max_ttl } else { settings.dns_nxdomain_ttl };
        if let Err(error) = &answer {
            let text = format!("DNS lookup failed: {name}: {error}");
            self.log(Level::Warning, text);
        }
        if let Ok(found) = &answer
            && self.hears(Level::Debug)
        {
            let text = format!("DNS lookup: {name} is at {found:?}");
            self.log(Level::Debug, text);
        }
        let has_changed = self.dns.answered(name, answer, self.now.mono, ttl);
        let waits = |server: &Server| match server.state() {
            ServerState::Login(login) => login.resolving() == Some(name),
            _ => self.awaits_peer_address(server, name),
        };
        let waiting: Vec<_> =
            self.servers.iter().filter(|(_, s)| waits(s)).map(|(id, _)| id).collect();
        for id in waiting {
            self.approach(id);
        }
        if has_changed {
            self.retire_gone_addresses(name);
        }
    }

    /// Whether a carrier waits for the address of this name.
    fn awaits_peer_address(&self, server: &Server, name: &str) -> bool {
        let ServerState::Cancel(carrier) = server.state() else { return false };
        let is_named = matches!(&self.sites[server.site].host, Host::Tcp(host) if host == name);
        let has_address = matches!(server.peer, PeerAddress::Tcp { .. });
        is_named && !has_address && !carrier.is_sent && !server.is_waiting
    }

    /// Servers at addresses that a name no longer stands for are closed once they are free.
    fn retire_gone_addresses(&mut self, name: &str) {
        for id in self.servers.ids() {
            let PeerAddress::Tcp { ip, .. } = self.servers[id].peer else { continue };
            let is_of_name = matches!(&self.sites[self.servers[id].site].host,
                Host::Tcp(host) if host == name);
            if is_of_name && !self.dns.has(name, ip) && self.servers[id].is_session() {
                self.retire(id, Reason::ObsoleteConnection);
            }
        }
    }
}
