//! A carrier: a connection that carries one cancel request, to where a server is whose query it
//! strikes, or to the process of another pooler. It is no session, and no limit counts it.

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
    /// The client that asked, and waits for the end; `None` when it has gone.
    pub client: Option<ClientId>,
    /// Where it connects to.
    pub site: SiteId,
    pub peer: PeerAddress,
    pub local: PeerAddress,
    pub connected: Moment,
    /// Its connection is under TLS.
    pub tls: Option<Box<Secured>>,
}

/// What a cancel request is for.
#[derive(Debug)]
pub enum Errand {
    /// A client of another process, by its key.
    Peer { peer: PeerId, key: Box<[u8]> },
    /// The query that this server of the pool runs.
    Server { target: ServerId, pool: PoolId },
}

/// How far a carrier has come.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CarrierStage {
    /// As many as may be under way to its peer are. Its turn has not come.
    Queued,
    /// The address of its host's name is looked up.
    Resolving,
    /// On the way to its host, TLS included.
    Connecting,
    /// The request is on its way: from now on it may strike.
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

    /// The server that may be struck.
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

    /// The connection's name at the start of its log lines.
    pub fn prefix<'a>(&self, who: ConnectionOwner<'a>) -> Prefix<'a> {
        let ptr = ptr(self.number, ConnectionSide::Server);
        Prefix { side: ConnectionSide::Server, ptr, who, peer: self.peer }
    }
}
