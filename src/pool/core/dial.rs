//! The way to a host, for servers and for carriers to peers: its address, then the connection. A
//! carrier to a server knows the address already (`carrier`). `login::secure` decides about TLS,
//! and [`Core::connected`] goes on when the connection stands.

use std::net::IpAddr;

use crate::config::Host;
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, Core, Target};
use crate::pool::ids::{CarrierId, Outbound, ServerId};
use crate::pool::records::carrier::CarrierStage;
use crate::pool::records::dns::AddressLookup;
use crate::pool::records::handshake::LoginStage;
use crate::pool::records::site::{Site, SiteId};
use crate::pool::telling::reason::Reason;

impl Core {
    /// Whether a connection is known, and not closed.
    pub fn is_there(&self, id: Outbound) -> bool {
        match id {
            Outbound::Carrier(id) => self.carriers.get(id).is_some_and(|one| !one.is_closing()),
            Outbound::Server(id) => self.servers.get(id).is_some_and(|one| !one.is_closing()),
        }
    }

    /// Where a connection goes to.
    pub(in crate::pool) fn site_of(&self, id: Outbound) -> SiteId {
        match id {
            Outbound::Carrier(id) => self.carriers[id].site,
            Outbound::Server(id) => self.servers[id].site,
        }
    }

    /// The address of the other end, as far as it is known.
    pub(in crate::pool) fn peer_of(&self, id: Outbound) -> PeerAddress {
        match id {
            Outbound::Carrier(id) => self.carriers[id].peer,
            Outbound::Server(id) => self.servers[id].peer,
        }
    }

    /// Starts a connection towards its host: at once, or when its name is resolved.
    pub(in crate::pool) fn approach(&mut self, id: Outbound) {
        let Site { host, port, .. } = &self.sites[self.site_of(id)];
        let port = *port;
        match host.clone() {
            Host::Unix(dir) => {
                let path = format!("{dir}/.s.PGSQL.{port}");
                self.connect(id, PeerAddress::Unix { pid: None, port }, Target::Unix(path));
            }
            Host::Tcp(name) => match name.parse() {
                Ok(ip) => self.connect_tcp(id, ip, port),
                Err(_) => self.approach_by_name(id, &name, port),
            },
        }
    }

    fn approach_by_name(&mut self, id: Outbound, name: &str, port: u16) {
        match self.dns.look_up(name, self.now.mono) {
            AddressLookup::Address(ip) => self.connect_tcp(id, ip, port),
            AddressLookup::Failed(_) => {
                let words = format!("server DNS lookup failed: no address for host {name}");
                self.outbound_failed(id, Reason::ServerDnsFailed, &words);
            }
            AddressLookup::Pending => self.note_resolving(id, name),
            AddressLookup::Ask => {
                self.note_resolving(id, name);
                self.act(Action::Resolve(name.to_owned()));
            }
        }
    }

    fn note_resolving(&mut self, id: Outbound, name: &str) {
        match id {
            Outbound::Carrier(id) => self.carriers[id].stage = CarrierStage::Resolving,
            Outbound::Server(id) => self.set_stage(id, LoginStage::Resolving(name.into())),
        }
    }

    fn connect_tcp(&mut self, id: Outbound, ip: IpAddr, port: u16) {
        self.connect(id, PeerAddress::Tcp { ip, port }, Target::Tcp((ip, port).into()));
    }

    fn connect(&mut self, id: Outbound, peer: PeerAddress, to: Target) {
        match id {
            Outbound::Carrier(id) => {
                let carrier = &mut self.carriers[id];
                (carrier.peer, carrier.stage) = (peer, CarrierStage::Connecting);
            }
            Outbound::Server(id) => {
                self.servers[id].peer = peer;
                self.set_stage(id, LoginStage::Connecting);
            }
        }
        self.act(Action::Connect { id, to });
    }

    pub(in crate::pool) fn set_stage(&mut self, id: ServerId, stage: LoginStage) {
        if let Some(login) = self.servers[id].login_mut() {
            login.stage = stage;
        }
    }

    /// Ends a connection that did not come about. `words` may say more than the reason does.
    pub(in crate::pool) fn outbound_failed(&mut self, id: Outbound, reason: Reason, words: &str) {
        match id {
            Outbound::Carrier(id) => self.close_carrier(id, reason),
            Outbound::Server(id) => self.server_failed_as(id, reason, words),
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
        for id in self.awaiting_address(name) {
            // When one of them fails, another may be closed with it.
            if self.is_there(id) {
                self.approach(id);
            }
        }
        if has_changed {
            self.retire_gone_addresses(name);
        }
    }

    /// The connections that wait for the address of a name.
    fn awaiting_address(&self, name: &str) -> Vec<Outbound> {
        let waits = |id: &CarrierId| {
            let carrier = &self.carriers[*id];
            let is_named =
                matches!(&self.sites[carrier.site].host, Host::Tcp(host) if host == name);
            is_named && carrier.stage == CarrierStage::Resolving
        };
        let resolving = |id: ServerId| self.servers[id].login().and_then(|login| login.resolving());
        let servers = self.servers.ids().into_iter().filter(|&id| resolving(id) == Some(name));
        let carriers = self.carriers.ids().into_iter().filter(waits);
        servers.map(Outbound::Server).chain(carriers.map(Outbound::Carrier)).collect()
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
