//! Names of the core's records. Their kinds are empty types: a record can name another without
//! knowing it, which keeps the modules of this folder free of circles.

use crate::base::arena::Id;

pub enum CarrierKind {}
pub enum ClientKind {}
pub enum DatabaseKind {}
pub enum PeerKind {}
pub enum PoolKind {}
pub enum ServerKind {}
pub enum StatementKind {}
pub enum UserKind {}

/// A connection that carries a cancel request.
pub type CarrierId = Id<CarrierKind>;
pub type ClientId = Id<ClientKind>;
pub type DatabaseId = Id<DatabaseKind>;
/// Another process of this pooler.
pub type PeerId = Id<PeerKind>;
pub type PoolId = Id<PoolKind>;
pub type ServerId = Id<ServerKind>;
/// A text of a prepared statement with its parameter types.
pub type StatementId = Id<StatementKind>;
pub type UserId = Id<UserKind>;

/// A connection that the pooler itself opens. All of them come about in one way: the host's name is
/// resolved, the connection is made, and put under TLS where that is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outbound {
    Carrier(CarrierId),
    Server(ServerId),
}
