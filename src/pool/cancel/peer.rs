//! Other processes of this pooler, on the same port or behind the same load balancer: a
//! CancelRequest that reaches the wrong one is passed on to the one whose client it means.

use crate::config::{DatabaseLine, PeerLine};
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, PoolId};
use crate::pool::records::client::ClientState;
use crate::pool::records::database::{Database, sites_of};
use crate::pool::records::keys::Brought;
use crate::pool::records::server::{CancelCarrier, CancelErrand, Server, ServerState};
use crate::pool::telling::reason::Reason;

/// Requests that may wait for their turn at one peer. Who asks and hangs up at once is not there to
/// time out.
const MOST_WAITING: usize = 1_000;

impl Core {
    /// Passes a request on to the peer that its key names. Returns the reason when it cannot be.
    pub(super) fn pass_on(&mut self, id: ClientId, key: Brought<'_>) -> Result<(), Reason> {
        if self.settings().peer_id == 0 {
            return Err(Reason::CancelFailed);
        }
        let peer = key.peer();
        let is_other = peer != self.settings().peer_id;
        let line = self.config.peers.iter().find(|line| line.id == peer && is_other).cloned();
        let Some(line) = line else { return Err(Reason::NoSuchPeer) };
        let key = key.passed_on().ok_or(Reason::CancelHops)?;
        let pool = self.ensure_peer_pool(&line);
        if self.pools[pool].cancels.len() >= MOST_WAITING + self.pool_size(pool) as usize {
            return Err(Reason::CancelFailed);
        }
        let errand = CancelErrand::Peer { key };
        let state = ServerState::Cancel(CancelCarrier { errand, client: Some(id), is_sent: false });
        let site = self.databases[self.pools[pool].database].sites[0];
        let mut carrier = Server::new(self.next_number(), self.mono(), pool, site, state);
        carrier.is_waiting = self.is_peer_busy(pool);
        let must_wait = carrier.is_waiting;
        let carrier = self.add_server(carrier);
        self.move_client(id, ClientState::Cancel { server: carrier });
        if !must_wait {
            self.approach(carrier);
        }
        Ok(())
    }

    /// The pool of carriers to one peer. It stands under a database of its own that no client can
    /// ask for.
    fn ensure_peer_pool(&mut self, line: &PeerLine) -> PoolId {
        let found = self.databases.iter().find(|(_, d)| d.peer == Some(line.id)).map(|(id, _)| id);
        let database = match found {
            Some(id) => id,
            None => {
                let name = format!("peer-{}", line.id);
                let blank = DatabaseLine { name, ..DatabaseLine::default() };
                let record = Database::new(blank, Vec::new(), self.now.mono);
                self.databases.insert(record)
            }
        };
        let record = &mut self.databases[database];
        record.peer = Some(line.id);
        record.line.pool_size = line.pool_size;
        record.line.port = line.port.clone();
        record.line.host = line.host.clone();
        record.sites = sites_of(&record.line, "", &mut self.sites);
        let user = self.ensure_user("");
        self.ensure_pool(database, user, crate::pool::records::pool::Purpose::Clients)
    }
}
