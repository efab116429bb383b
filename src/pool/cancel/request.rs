//! CancelRequests: from a client's cancel key to the server that runs its query, over a separate
//! connection, the carrier.
//!
//! A request cancels only queries of its own client. It is sent while the target server has that
//! client, and the target is not handed on before the carrier has ended. Each target has at most
//! one carrier, so a flood of requests opens no more connections than there are servers.
//!
//! Source: PostgreSQL manual, "Canceling Requests in Progress".

use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::records::client::{ClientState, QueryRefusal, Standing};
use crate::pool::records::keys::Brought;
use crate::pool::records::server::OwnQuery;
use crate::pool::telling::reason::Reason;

impl Core {
    /// A CancelRequest has come on a connection of its own.
    pub(in crate::pool) fn cancel_requested(&mut self, id: ClientId, key: &[u8]) {
        let Some(key) = Brought::read(key) else {
            return self.close_client(id, Reason::BadCancel);
        };
        let peer_id = self.settings().peer_id;
        let Some(owner) = self.keys.owner(&self.clients, key, peer_id) else {
            if let Err(reason) = self.pass_on(id, key) {
                self.close_client(id, reason);
            }
            return;
        };
        match *self.clients[owner].state() {
            ClientState::Member(_, Standing::Waiting) => {
                self.cancel_waiting(owner);
                self.close_client(id, Reason::CancelWaiting);
            }
            ClientState::Member(_, Standing::Active { server }) if self.is_being_set_up(server) => {
                self.clients[owner].refusal = QueryRefusal::Cancelled;
                self.close_client(id, Reason::CancelWaiting);
            }
            ClientState::Member(_, Standing::Active { server }) => self.cancel_running(id, server),
            _ => self.close_client(id, Reason::CancelNothing),
        }
    }

    /// Cancels the query of a client that waits for a server: the query never ran.
    fn cancel_waiting(&mut self, owner: ClientId) {
        self.clients[owner].refusal = QueryRefusal::Cancelled;
        self.move_member(owner, Standing::Idle);
    }

    /// Whether the server is still being set up for its client and has got nothing of the client's
    /// yet.
    fn is_being_set_up(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        server.is_untouched && matches!(server.own, OwnQuery::Reset(_) | OwnQuery::Vars { .. })
    }

    fn cancel_running(&mut self, id: ClientId, target: ServerId) {
        let server = &self.servers[target];
        if !server.runs_its_clients() || server.key.is_empty() {
            return self.close_client(id, Reason::CancelNothing);
        }
        // A second request adds nothing to the one under way.
        if server.canceled_by.is_some() {
            return self.close_client(id, Reason::CancelAgain);
        }
        let Some(carrier) = self.open_carrier(target, Some(id)) else {
            return self.close_client(id, Reason::CancelFailed);
        };
        self.move_client(id, ClientState::Cancel { carrier });
    }
}
