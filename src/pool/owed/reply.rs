//! What a reply of a server's means, beyond that it belongs to the client.

use crate::pool::ids::StatementId;

/// What a reply means for the relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reply {
    /// It belongs to the client.
    Forward,
    /// ReadyForQuery: a query ended.
    Ready(TransactionStatus),
    /// A Parse of the client's for a statement that is tracked; it belongs to the client.
    Parsed(StatementId),
    /// The server has this statement now; the reply is swallowed.
    Prepared(StatementId),
    /// The server has dropped this statement; the reply is swallowed.
    Dropped(StatementId),
    /// It answers a request of the pooler's that changes nothing else.
    Swallowed,
}

/// A reply that no request under way explains: the two ends have lost each other.
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
