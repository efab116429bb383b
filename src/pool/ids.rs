//! Names of the core's records. Their kinds are empty types: a record can name another without
//! knowing it, which keeps the modules of this folder free of circles.

use crate::base::arena::Id;

pub enum ClientKind {}
pub enum DatabaseKind {}
pub enum PoolKind {}
pub enum ServerKind {}
pub enum StatementKind {}
pub enum UserKind {}

pub type ClientId = Id<ClientKind>;
pub type DatabaseId = Id<DatabaseKind>;
pub type PoolId = Id<PoolKind>;
pub type ServerId = Id<ServerKind>;
/// A text of a prepared statement with its parameter types.
pub type StatementId = Id<StatementKind>;
pub type UserId = Id<UserKind>;
