//! CancelRequests: from a client's key to the server that runs its query, on a connection that
//! carries nothing else.
//!
//! A request strikes only what its client runs: it is sent while the target has that client, and
//! the target is not handed on before the connection that carried the request has ended. One
//! carrier per target at a time, so that a flood of requests opens nothing more than the servers
//! that are there.
//!
//! Source: PostgreSQL manual, "Canceling Requests in Progress".

use super::client::{Refusal, State as ClientState};
use super::core::{Action, ClientId, Core, ServerId, Target};
use super::reason::Reason;
use super::server::{CancelCarrier, Server, State};
use crate::config::Host;
use crate::log::Peer;
use crate::wire::startup;

/// Bytes of the keys that we hand out.
const KEY: usize = 8;

impl Core {
    /// A CancelRequest has come on a connection of its own.
    pub(super) fn cancel_requested(&mut self, id: ClientId, key: &[u8]) {
        let owner = <[u8; KEY]>::try_from(key).map(u64::from_be_bytes).ok();
        let Some(key) = owner else {
            return self.close_client(id, Reason::BadCancel);
        };
        let Some(&owner) = self.keys.get(&key) else {
            return self.close_client(id, Reason::CancelFailed);
        };
        match self.clients[owner].state {
            ClientState::Waiting => {
                self.cancel_waiting(owner);
                self.close_client(id, Reason::CancelDone);
            }
            ClientState::Active { server } => self.cancel_running(id, server),
            _ => self.close_client(id, Reason::CancelNothing),
        }
    }

    /// The query of a client that waits for a server is answered here: it never ran.
    fn cancel_waiting(&mut self, owner: ClientId) {
        self.clients[owner].refusal = Refusal::Cancelled;
        self.move_client(owner, ClientState::Idle);
        self.act(Action::RunClient(owner));
    }

    fn cancel_running(&mut self, id: ClientId, target: ServerId) {
        let server = &self.servers[target];
        if server.replies.is_answered() || server.key.is_empty() {
            return self.close_client(id, Reason::CancelNothing);
        }
        // A second request adds nothing to one that is on its way.
        if server.cancels > 0 {
            return self.close_client(id, Reason::CancelDone);
        }
        let Some(carrier) = self.open_carrier(target, Some(id)) else {
            return self.close_client(id, Reason::CancelFailed);
        };
        self.move_client(id, ClientState::Cancel { server: carrier });
    }

    /// Connects to where `target` is, to cancel what it runs.
    pub(super) fn open_carrier(
        &mut self,
        target: ServerId,
        client: Option<ClientId>,
    ) -> Option<ServerId> {
        let to = match self.servers[target].peer {
            Peer::Tcp { ip, port } => Target::Tcp((ip, port).into()),
            Peer::Unix { port, .. } => match self.site_of(target)?.host {
                Host::Unix(dir) => Target::Unix(format!("{dir}/.s.PGSQL.{port}")),
                Host::Tcp(_) => return None,
            },
        };
        let pool = self.servers[target].pool;
        let number = self.next_number();
        let state = State::Cancel(CancelCarrier { target, client, is_sent: false });
        let mut carrier = Server::new(number, self.mono(), pool, state);
        carrier.peer = self.servers[target].peer;
        carrier.host = self.servers[target].host;
        let carrier = self.add_server(carrier);
        self.servers[target].cancels += 1;
        self.act(Action::Connect { server: carrier, to });
        Some(carrier)
    }

    /// The carrier is connected: the request goes out, if its query still runs.
    pub(super) fn send_cancel(&mut self, id: ServerId) {
        let State::Cancel(carrier) = &self.servers[id].state else { return };
        let target = carrier.target;
        let still_runs = self.servers.get(target).is_some_and(|server| {
            !server.is_closing() && !server.replies.is_answered()
        });
        if !still_runs {
            return self.close_server(id, Reason::CancelOvertaken);
        }
        let mut bytes = Vec::new();
        startup::cancel_request(&mut bytes, &self.servers[target].key);
        if let State::Cancel(carrier) = &mut self.servers[id].state {
            carrier.is_sent = true;
        }
        self.act(Action::SendServer { server: id, bytes });
    }

    /// A carrier has ended: its client is done, and its target may be handed on.
    pub(super) fn cancel_ended(&mut self, carrier: CancelCarrier) {
        if let Some(client) = carrier.client
            && self.clients.contains(client)
        {
            self.close_client(client, Reason::CancelDone);
        }
        let Some(server) = self.servers.get_mut(carrier.target) else { return };
        server.cancels -= 1;
        if server.cancels > 0 {
            return;
        }
        match server.state {
            State::BeingCanceled => self.part(carrier.target),
            State::Active { .. } | State::Tested(_) => {
                self.act(Action::SettleServer(carrier.target));
            }
            _ => {}
        }
    }

    /// Query over before its cancel request went out: nothing must strike the next client.
    pub(super) fn recall_unsent_cancels(&mut self, target: ServerId) {
        let pool = self.servers[target].pool;
        let carriers = self.pools[pool].cancels.ids(&self.servers);
        for id in carriers {
            let State::Cancel(carrier) = &self.servers[id].state else { continue };
            if carrier.target == target && !carrier.is_sent {
                self.close_server(id, Reason::CancelOvertaken);
            }
        }
    }
}

impl Server {
    /// Whoever asked for the cancel is gone; the request goes its way.
    pub(super) fn forget_cancel_client(&mut self) {
        if let State::Cancel(carrier) = &mut self.state {
            carrier.client = None;
        }
    }
}

/// Puts the number of this process among its peers into a key, so that a request that reaches
/// another one can be passed on. Without peers all 63 bits are random.
pub(super) fn mark_key(random: u64, peer_id: u16) -> u64 {
    if peer_id == 0 { random } else { random & !PEER_MASK | u64::from(peer_id) << PEER_SHIFT }
}

/// Where the 14 bits of a peer's number stand in a key.
const PEER_SHIFT: u32 = 16;
const PEER_MASK: u64 = 0x3fff << PEER_SHIFT;
