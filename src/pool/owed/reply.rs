//! What a reply of a server means to the relay.

use crate::pool::ids::StatementId;

/// What the relay does with a reply.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// The reply belongs to the client.
    Forward,
    /// ReadyForQuery: a query has ended.
    Ready(TransactionStatus),
    /// The reply to a client's Parse of a tracked statement; it belongs to the client.
    Parsed(StatementId),
    /// The server has now prepared this statement; the reply is swallowed.
    Prepared(StatementId),
    /// The server has now dropped this statement; the reply is swallowed.
    Dropped(StatementId),
    /// The reply to a request of the pooler's own that changes nothing else.
    Swallowed,
}

/// A reply to no request under way: pooler and server disagree on what was asked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Unexpected;

/// The transaction status of ReadyForQuery.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(u8)]
pub enum TransactionStatus {
    #[default]
    Idle = b'I',
    InTransaction = b'T',
    Failed = b'E',
}
