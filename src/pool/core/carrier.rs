//! Connections that carry a cancel request: to where a server is, whose query it strikes, or to
//! the process of another pooler.
//!
//! A request strikes only what its client runs: it is sent while the target has that client, and
//! the target is not handed on before the connection that carried the request has ended. One
//! carrier per target at a time, so that a flood of requests opens nothing more than the servers
//! that are there.

use crate::config::Host;
use crate::log::{Ends, Level, PeerAddress};
use crate::pool::core::{Action, Core, Target};
use crate::pool::ids::{CarrierId, ClientId, Outbound, PeerId, ServerId};
use crate::pool::records::carrier::{Carrier, CarrierStage, Errand};
use crate::pool::records::secured::Secured;
use crate::pool::records::server::{Server, ServerState};
use crate::pool::telling::reason::Reason;
use crate::wire::startup;

impl Core {
    /// Connects to where `target` is, to cancel what it runs.
    pub(in crate::pool) fn open_carrier(
        &mut self,
        target: ServerId,
        client: Option<ClientId>,
    ) -> Option<CarrierId> {
        let &Server { peer, site, pool, .. } = &self.servers[target];
        let to = match peer {
            PeerAddress::Tcp { ip, port } => Target::Tcp((ip, port).into()),
            PeerAddress::Unix { port, .. } => match &self.sites[site].host {
                Host::Unix(dir) => Target::Unix(format!("{dir}/.s.PGSQL.{port}")),
                Host::Tcp(_) => return None,
            },
        };
        let errand = Errand::Server { target, pool };
        let mut carrier = Carrier::new(self.next_number(), self.mono(), errand, site);
        (carrier.client, carrier.peer) = (client, peer);
        let carrier = self.add_carrier(carrier);
        self.servers[target].canceled_by = Some(carrier);
        self.act(Action::Connect { id: Outbound::Carrier(carrier), to });
        Some(carrier)
    }

    /// The carrier is connected: the request goes out, if its query still runs.
    pub(in crate::pool) fn send_cancel(
        &mut self,
        id: CarrierId,
        (peer, local): Ends,
        tls: Option<Box<Secured>>,
    ) {
        let carrier = &mut self.carriers[id];
        (carrier.peer, carrier.local, carrier.tls) = (peer, local, tls);
        let key = match &carrier.errand {
            Errand::Peer { key, .. } => key,
            &Errand::Server { target, .. } => {
                // A server that is let go of recalls the request (`recall_unsent_cancel`). One that
                // stays with its client may have come to the end of the query all the same: then
                // the request would strike the client's next query, or one of the pooler's own.
                let runs = |server: &&Server| !server.is_closing() && server.runs_its_clients();
                let Some(server) = self.servers.get(target).filter(runs) else {
                    return self.close_carrier(id, Reason::CancelOvertaken);
                };
                &server.key
            }
        };
        let mut bytes = Vec::new();
        startup::cancel_request(&mut bytes, key);
        carrier.stage = CarrierStage::Sent;
        self.act(Action::SendCarrier { carrier: id, bytes });
    }

    /// The connection of a carrier has ended or broken.
    pub(in crate::pool) fn carrier_gone(&mut self, id: CarrierId, error: Option<String>) {
        if let Some(error) = &error {
            self.log_outbound(Level::Debug, Outbound::Carrier(id), format_args!("{error}"));
        }
        let is_sent = self.carriers[id].is_sent();
        self.close_carrier(id, if is_sent { Reason::CancelDone } else { Reason::CancelFailed });
    }

    /// Ends a carrier: its client is done, and its target may be handed on.
    pub(in crate::pool) fn close_carrier(&mut self, id: CarrierId, end: Reason) {
        if self.carriers[id].is_closing() {
            return;
        }
        self.log_outbound_end(Outbound::Carrier(id), &end);
        let is_sent = self.carriers[id].is_sent();
        self.end_carrier(id);
        self.act(Action::CloseCarrier(id));
        let Carrier { client, errand, .. } = &self.carriers[id];
        let (client, target, peer) = match *errand {
            Errand::Peer { peer, .. } => (*client, None, Some(peer)),
            Errand::Server { target, .. } => (*client, Some(target), None),
        };
        if let Some(client) = client.filter(|client| self.clients.contains(*client)) {
            let reason = match (is_sent, end) {
                (true, _) => Reason::CancelDone,
                (false, Reason::CancelOvertaken) => Reason::CancelOvertaken,
                (false, _) => Reason::CancelFailed,
            };
            self.close_client(client, reason);
        }
        if let Some(target) = target {
            self.spare_target(target);
        }
        if let Some(peer) = peer {
            self.next_to_peer(peer);
            self.forget_peer_if_gone(peer);
        }
    }

    /// No cancel request is on its way to this server any more.
    fn spare_target(&mut self, target: ServerId) {
        let Some(server) = self.servers.get_mut(target) else { return };
        server.canceled_by = None;
        match server.state() {
            ServerState::BeingCanceled => self.part(target),
            ServerState::Active { .. } | ServerState::Tested(_) => {
                self.cancel_abandoned(target);
                self.act(Action::PartIfDrained(target));
            }
            ServerState::Between
            | ServerState::Closing
            | ServerState::Idle
            | ServerState::Login(_)
            | ServerState::Lookup(_)
            | ServerState::Used => {}
        }
    }

    /// The query of this server is over. A cancel request that has not gone out is dropped: it
    /// would strike the next client.
    pub(in crate::pool) fn recall_unsent_cancel(&mut self, target: ServerId) {
        let Some(id) = self.servers[target].canceled_by else { return };
        if !self.carriers[id].is_sent() {
            self.close_carrier(id, Reason::CancelOvertaken);
        }
    }

    /// Requests that may be under way to a peer at a time.
    pub(in crate::pool) fn peer_pool_size(&self, peer: PeerId) -> u32 {
        self.peers[peer].pool_size.unwrap_or(self.settings().default_pool_size)
    }

    /// Whether as many requests are on their way to a peer as its pool_size allows.
    pub(in crate::pool) fn is_peer_busy(&self, peer: PeerId) -> bool {
        let size = match self.peer_pool_size(peer) {
            0 => u32::MAX,
            size => size,
        };
        let carriers = self.peers[peer].carriers.iter(&self.carriers);
        let under_way = carriers.filter(|&id| !self.carriers[id].is_queued()).count();
        under_way >= size as usize
    }

    /// Forgets a peer that the configuration names no more, once nothing is under way to it.
    pub(in crate::pool) fn forget_peer_if_gone(&mut self, id: PeerId) {
        let Some(peer) = self.peers.get(id) else { return };
        let is_named = self.config.peers.iter().any(|line| line.id == peer.number);
        if !is_named && peer.carriers.is_empty() {
            self.peers.remove(id);
        }
    }

    /// A carrier to a peer has ended: the next may go.
    fn next_to_peer(&mut self, peer: PeerId) {
        if !self.peers.contains(peer) || self.is_peer_busy(peer) {
            return;
        }
        let mut carriers = self.peers[peer].carriers.iter(&self.carriers);
        let next = carriers.find(|&id| self.carriers[id].is_queued());
        drop(carriers);
        if let Some(next) = next {
            self.approach(Outbound::Carrier(next));
        }
    }
}
