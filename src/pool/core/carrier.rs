//! Connections that carry a cancel request: to where a server is, whose query it strikes, or to
//! the process of another pooler.
//!
//! A request strikes only what its client runs: it is sent while the target has that client, and
//! the target is not handed on before the connection that carried the request has ended. One
//! carrier per target at a time, so that a flood of requests opens nothing more than the servers
//! that are there.

use crate::config::Host;
use crate::log::PeerAddress;
use crate::pool::core::{Action, Core, Target};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::records::server::{CancelCarrier, CancelErrand, Server, ServerState};
use crate::pool::telling::reason::Reason;
use crate::wire::startup;

impl Core {
    /// Connects to where `target` is, to cancel what it runs.
    pub(in crate::pool) fn open_carrier(
        &mut self,
        target: ServerId,
        client: Option<ClientId>,
    ) -> Option<ServerId> {
        let to = match self.servers[target].peer {
            PeerAddress::Tcp { ip, port } => Target::Tcp((ip, port).into()),
            PeerAddress::Unix { port, .. } => match &self.sites[self.servers[target].site].host {
                Host::Unix(dir) => Target::Unix(format!("{dir}/.s.PGSQL.{port}")),
                Host::Tcp(_) => return None,
            },
        };
        let pool = self.servers[target].pool;
        let number = self.next_number();
        let errand = CancelErrand::Target(target);
        let state = ServerState::Cancel(CancelCarrier { errand, client, is_sent: false });
        let site = self.servers[target].site;
        let mut carrier = Server::new(number, self.mono(), pool, site, state);
        carrier.peer = self.servers[target].peer;
        let carrier = self.add_server(carrier);
        self.servers[target].canceled_by = Some(carrier);
        self.act(Action::Connect { server: carrier, to });
        Some(carrier)
    }

    /// The carrier is connected: the request goes out, if its query still runs.
    pub(in crate::pool) fn send_cancel(&mut self, id: ServerId) {
        let ServerState::Cancel(carrier) = self.servers[id].state() else { return };
        let key = match &carrier.errand {
            CancelErrand::Peer { key } => key.clone(),
            &CancelErrand::Target(target) => {
                let runs = |server: &&Server| !server.is_closing() && server.runs_its_clients();
                let Some(server) = self.servers.get(target).filter(runs) else {
                    return self.close_server(id, Reason::CancelOvertaken);
                };
                server.key.clone()
            }
        };
        let mut bytes = Vec::new();
        startup::cancel_request(&mut bytes, &key);
        if let Some(carrier) = self.servers[id].carrier_mut() {
            carrier.is_sent = true;
        }
        self.act(Action::SendServer { server: id, bytes });
    }

    /// A carrier has ended: its client is done, and its target may be handed on.
    pub(in crate::pool) fn cancel_ended(&mut self, carrier: CancelCarrier, end: Reason) {
        if let Some(client) = carrier.client
            && self.clients.contains(client)
        {
            let reason = match (carrier.is_sent, end) {
                (true, _) => Reason::CancelDone,
                (false, Reason::CancelOvertaken) => Reason::CancelOvertaken,
                (false, _) => Reason::CancelFailed,
            };
            self.close_client(client, reason);
        }
        let Some(target) = carrier.target() else { return };
        let Some(server) = self.servers.get_mut(target) else { return };
        server.canceled_by = None;
        match server.state() {
            ServerState::BeingCanceled => self.part(target),
            ServerState::Active { .. } | ServerState::Tested(_) => {
                self.cancel_abandoned(target);
                self.act(Action::PartIfDrained(target));
            }
            ServerState::Between
            | ServerState::Cancel(_)
            | ServerState::Closing
            | ServerState::Idle
            | ServerState::Login(_)
            | ServerState::Lookup(_)
            | ServerState::Used => {}
        }
    }

    /// Query over before its cancel request went out: nothing must strike the next client.
    pub(in crate::pool) fn recall_unsent_cancel(&mut self, target: ServerId) {
        let Some(id) = self.servers[target].canceled_by else { return };
        if self.servers[id].carrier().is_some_and(|carrier| !carrier.is_sent) {
            self.close_server(id, Reason::CancelOvertaken);
        }
    }

    /// Whether as many requests are on their way to a peer as its pool_size allows.
    pub(in crate::pool) fn is_peer_busy(&self, pool: PoolId) -> bool {
        let size = match self.pool_size(pool) {
            0 => u32::MAX,
            size => size,
        };
        let carriers = self.pools[pool].cancels.iter(&self.servers);
        let under_way = carriers.filter(|&id| !self.servers[id].is_waiting).count();
        under_way >= size as usize
    }

    /// A carrier to a peer has ended: the next may go.
    pub(in crate::pool) fn next_to_peer(&mut self, pool: PoolId) {
        if self.databases[self.pools[pool].database].peer.is_none() || self.is_peer_busy(pool) {
            return;
        }
        let carriers = self.pools[pool].cancels.iter(&self.servers);
        let next = carriers.into_iter().find(|&id| self.servers[id].is_waiting);
        if let Some(next) = next {
            self.servers[next].is_waiting = false;
            self.approach(next);
        }
    }
}

impl Server {
    /// Whoever asked for the cancel is gone; the request goes its way.
    pub(in crate::pool) fn forget_cancel_client(&mut self) {
        if let Some(carrier) = self.carrier_mut() {
            carrier.client = None;
        }
    }
}
