//! Queries of the pooler's own: on a server without a client ([`Test`]), or on a client's server
//! ([`OwnQuery`]).

use crate::pool::owed::wishes::VarsChange;
use crate::pool::telling::reason::Reason;

/// Which query of the pooler's own runs on a server without a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    /// server_check_query.
    Check,
    /// An empty query, which resolves a doubt: it shows whether all replies have come.
    Doubt,
    /// server_reset_query.
    Reset,
    /// Undoes what clients have left in the session.
    Undo,
    /// connect_query again, since a reset may have undone its settings.
    Setup,
    /// LISTEN and UNLISTEN on the shared connection.
    Listen,
    /// Ends what a client has left unfinished.
    Abandoned(Rescue),
}

/// The progress in rescuing an abandoned server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescue {
    /// Cancels what was under way. `owed` is the number of requests under way when the last cancel
    /// request was sent.
    Ending {
        owed: usize,
    },
    RollingBack,
    Resetting,
}

impl Test {
    /// Why a server is closed if it is not clean after this query.
    pub fn failure(self) -> Reason {
        match self {
            Test::Reset | Test::Abandoned(Rescue::Resetting) => Reason::ResetFailed,
            Test::Abandoned(Rescue::Ending { .. } | Rescue::RollingBack) => Reason::ServerAbandoned,
            Test::Check | Test::Doubt => Reason::TestFailed,
            Test::Listen => Reason::ListenFailed,
            Test::Setup => Reason::ConnectQueryFailed,
            Test::Undo => Reason::SessionStateKept,
        }
    }

    /// Whether an error concerns the pooler's query. While the client's own work is ended, it does
    /// not.
    pub(in crate::pool) fn is_heeded(self) -> bool {
        self.failure() != Reason::ServerAbandoned
    }
}

/// Which query of the pooler's own runs on a server that a client has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnQuery {
    #[default]
    Nothing,
    /// Resolves a doubt: whether a COPY that has failed, or must have, has eaten Syncs. The
    /// client's messages wait for the reply.
    Doubt(Doubt),
    /// Sets the client's parameters; its messages wait. `more` steps may follow, the next one in
    /// place of this where a late cancel request has struck it: then there is no change.
    Vars { change: Option<VarsChange>, more: u8 },
    /// The parameters were refused; the client gets the error at the end of the reply.
    VarsRefused,
    /// A query of the client has failed and will be sent again once the server has finished with
    /// the failed one. The client's messages wait, and the client is not told of the failure.
    Repeat,
    /// Resets or undoes what other clients have left, before the client gets the server; its
    /// messages wait. The test names the query that is running.
    Reset(Test),
    /// Asks whether the session holds advisory locks. The client's messages wait, and so does the
    /// ReadyForQuery of its last one.
    Probe { is_locked: bool },
    /// Asks the session for its channels. The client waits as for `Probe`, unless it was told
    /// before that its transaction has ended (`is_end_told`).
    Channels { is_end_told: bool, attempt: Attempt },
    /// Gives the session the client's channels back; `is_inside` if a transaction is open.
    Recall { is_inside: bool, attempt: Attempt },
    /// Undoes what the client has left against the policy. The client waits as for `Probe`.
    Undo { attempt: Attempt },
}

/// A cancel request for a client's query may come late, and strike what the pooler asks of the
/// session at the end of the transaction, or before the client's next query. That is no fault of
/// the client's, and is asked once more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Attempt {
    First,
    /// The first was struck.
    Struck,
    /// It is not asked again.
    Last,
}

impl OwnQuery {
    /// Called for every message: it looks at the variant only.
    #[inline(always)]
    pub fn is_nothing(&self) -> bool {
        matches!(self, OwnQuery::Nothing)
    }
}

/// How to resolve a doubt about eaten Syncs: send a Close of a statement that never exists, and a
/// Sync. Replies before the one to the Close belong to the client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// Whether a Sync was sent before the Close, since the server may skip everything up to a Sync,
    /// or take data. One ReadyForQuery before the reply to the Close belongs to that Sync.
    pub is_synced: bool,
    /// Whether the two requests are noted as owed, which happens once the COPY has ended.
    pub is_noted: bool,
    /// Whether the COPY was part of an extended query. Without an answered Sync of the client the
    /// server would still skip what follows.
    pub is_extended: bool,
    /// How many ReadyForQuery have come.
    pub readies: u32,
    /// Whether the Close is answered.
    pub is_over: bool,
}
