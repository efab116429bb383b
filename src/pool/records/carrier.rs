//! A carrier: a connection that carries one cancel request, to the server whose query is to be
//! cancelled, or to another process of the pooler. A carrier is no session, and no limit counts it.

use super::secured::Secured;
use super::site::SiteId;
use crate::base::arena::Record;
use crate::base::list::{Linked, Links};
use crate::base::time::Moment;
use crate::log::{ConnectionOwner, ConnectionSide, PeerAddress, Prefix, ptr};
use crate::pool::ids::{CarrierKind, ClientId, PeerId, PoolId, ServerId};

pub struct Carrier {
    links: Links<CarrierKind>,
    /// Drawn from one counter with clients and servers, and never used again.
    pub number: u64,
    pub errand: Errand,
    pub stage: CarrierStage,
    /// The client that asked and waits until the carrier ends; `None` once the client is gone.
    pub client: Option<ClientId>,
    /// The host and port that it connects to.
    pub site: SiteId,
    pub peer: PeerAddress,
    pub local: PeerAddress,
    pub connected: Moment,
    /// The TLS of the connection, if it has any.
    pub tls: Option<Box<Secured>>,
}

/// The target of a cancel request.
#[derive(Debug)]
pub enum Errand {
    /// A client of another process, by its cancel key.
    Peer { peer: PeerId, key: Box<[u8]> },
    /// The query that this server of the pool runs.
    Server { target: ServerId, pool: PoolId },
}

/// The progress of a carrier.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CarrierStage {
    /// Waits for its turn: as many carriers as allowed are under way to its peer.
    Queued,
    /// The address of its host is being looked up.
    Resolving,
    /// Connecting to its host, TLS included.
    Connecting,
    /// The request was sent: from now on it may cancel a query.
    Sent,
    /// Closed; the shell has not given the record back yet.
    Closing,
}

impl Record for Carrier {
    type Kind = CarrierKind;
}

impl Linked for Carrier {
    fn links(&self) -> &Links<CarrierKind> {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links<CarrierKind> {
        &mut self.links
    }
}

impl Carrier {
    pub fn new(number: u64, now: Moment, errand: Errand, site: SiteId) -> Carrier {
        let nowhere = PeerAddress::Unix { pid: None, port: 0 };
        Carrier {
            links: Links::default(),
            number,
            errand,
            stage: CarrierStage::Connecting,
            client: None,
            site,
            peer: nowhere,
            local: nowhere,
            connected: now,
            tls: None,
        }
    }

    pub fn is_sent(&self) -> bool {
        self.stage == CarrierStage::Sent
    }

    pub fn is_queued(&self) -> bool {
        self.stage == CarrierStage::Queued
    }

    pub fn is_closing(&self) -> bool {
        self.stage == CarrierStage::Closing
    }

    /// The server whose query may be cancelled.
    pub fn target(&self) -> Option<ServerId> {
        match self.errand {
            Errand::Server { target, .. } => Some(target),
            Errand::Peer { .. } => None,
        }
    }

    /// The pool of that server.
    pub fn pool(&self) -> Option<PoolId> {
        match self.errand {
            Errand::Server { pool, .. } => Some(pool),
            Errand::Peer { .. } => None,
        }
    }

    /// The name of the connection at the start of its log lines.
    pub fn prefix<'a>(&self, who: ConnectionOwner<'a>) -> Prefix<'a> {
        let ptr = ptr(self.number, ConnectionSide::Server);
        Prefix { side: ConnectionSide::Server, ptr, who, peer: self.peer }
    }
}
