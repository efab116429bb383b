//! Other processes of this pooler, on the same port or behind the same load balancer. A
//! CancelRequest that reaches the wrong process is passed on to the one that has the client.

use crate::config::PeerLine;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, Outbound, PeerId};
use crate::pool::records::carrier::{Carrier, CarrierStage, Errand};
use crate::pool::records::client::ClientState;
use crate::pool::records::keys::Brought;
use crate::pool::records::peer::Peer;
use crate::pool::telling::reason::Reason;

/// Requests that may wait for one peer. No timeout ends the request of a client that has hung up,
/// so the number is bounded.
const MOST_WAITING_REQUESTS: usize = 1_000;

impl Core {
    /// Passes a request on to the peer that its key names. Returns a reason if that is impossible.
    pub(super) fn pass_on(&mut self, id: ClientId, key: Brought<'_>) -> Result<(), Reason> {
        if self.settings().peer_id == 0 {
            return Err(Reason::CancelFailed);
        }
        let number = key.peer();
        let is_other = number != self.settings().peer_id;
        let line = self.config.peers.iter().find(|line| line.id == number && is_other).cloned();
        let Some(line) = line else { return Err(Reason::NoSuchPeer) };
        let key = key.passed_on().ok_or(Reason::CancelHops)?;
        let peer = self.ensure_peer(&line).ok_or(Reason::NoSuchPeer)?;
        let size = self.peer_pool_size(peer) as usize;
        if self.peers[peer].carriers.len() >= MOST_WAITING_REQUESTS + size {
            return Err(Reason::CancelFailed);
        }
        let (errand, site) = (Errand::Peer { peer, key }, self.peers[peer].site);
        let mut carrier = Carrier::new(self.next_number(), self.mono(), errand, site);
        carrier.client = Some(id);
        carrier.stage = CarrierStage::Queued;
        let must_wait = self.is_peer_busy(peer);
        let carrier = self.add_carrier(carrier);
        self.move_client(id, ClientState::Cancel { carrier });
        if !must_wait {
            self.approach(Outbound::Carrier(carrier));
        }
        Ok(())
    }

    /// The record of a peer, as now configured; `None` for a peer without a host.
    fn ensure_peer(&mut self, line: &PeerLine) -> Option<PeerId> {
        let site = self.sites.ensure(line.host.first()?, line.port.of(0));
        let found = self.peers.iter().find(|(_, peer)| peer.number == line.id).map(|(id, _)| id);
        let carriers = Default::default();
        let id = found.unwrap_or_else(|| {
            self.peers.insert(Peer { number: line.id, pool_size: None, site, carriers })
        });
        let peer = &mut self.peers[id];
        (peer.pool_size, peer.site) = (line.pool_size, site);
        Some(id)
    }
}
