//! Queries of the pooler's own: on a server that nobody has ([`Test`]), or beside its client
//! ([`OwnQuery`]).

use crate::pool::owed::wishes::VarsChange;
use crate::pool::telling::reason::Reason;

/// Which query of the pooler's own runs on a server that no client has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Test {
    /// server_check_query.
    Check,
    /// An empty query that shows whether all replies have been seen, where that is in doubt.
    Doubt,
    /// server_reset_query.
    Reset,
    /// What its clients have left in its session is undone.
    Undo,
    /// connect_query once more, since what it has set may have been undone.
    Setup,
    /// The shared connection is told of channels.
    Listen,
    /// What is left of a client that went away in the middle is brought to an end.
    Abandoned(Rescue),
}

/// How far the rescue of an abandoned server has come.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rescue {
    /// What was under way is being cancelled. `owed` is how many answers were owed when the last
    /// cancel request went out.
    Ending {
        owed: usize,
    },
    RollingBack,
    Resetting,
}

impl Test {
    /// The reason to close a server that does not come clean out of the test.
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

    /// Whether an error concerns the pooler's query: not while a client's own work is ended.
    pub(in crate::pool) fn is_heeded(self) -> bool {
        self.failure() != Reason::ServerAbandoned
    }
}

/// Which query of the pooler's own runs on a server that a client has.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum OwnQuery {
    #[default]
    Nothing,
    /// A COPY has failed, or must have, and it is in doubt whether it has eaten Syncs. The client's
    /// messages wait for the answer to what the pooler has sent after them.
    Doubt(Doubt),
    /// The client's parameters are being set; its messages wait. `more` steps may follow.
    Vars { change: VarsChange, more: u8 },
    /// They were refused, and the client is told at the end of the answer.
    VarsRefused,
    /// A query of the client's has failed and is sent once more, when the server is done with the
    /// first time; the client's messages wait, and it does not hear of the failure.
    Repeat,
    /// What others have left is reset or undone, before the client finds it; its messages wait. The
    /// test says which of the queries for that is under way.
    Reset(Test),
    /// Whether the session has advisory locks is asked; the client's messages wait, and the
    /// ReadyForQuery of its last one does.
    Probe { is_locked: bool },
    /// The session is asked for its channels, and the client waits as for `Probe`, unless it has
    /// heard of the end of its transaction before (`is_end_told`).
    Channels { is_end_told: bool },
    /// The session gets the client's channels back; `is_inside` tells that a transaction is open.
    Recall { is_inside: bool },
    /// What the client has left and must not leave is undone. It waits as for `Probe`.
    Undo,
}

impl OwnQuery {
    /// Asked for every message: by its kind alone, without a look at what the others hold.
    #[inline(always)]
    pub fn is_nothing(&self) -> bool {
        matches!(self, OwnQuery::Nothing)
    }
}

/// How a doubt about eaten Syncs is resolved: by a Close of a statement that is never there, and a
/// Sync. What is answered before the Close is the client's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Doubt {
    /// A Sync went before the Close, since the server may be passing over all up to one, or take in
    /// data: one ReadyForQuery before the answer is that one's.
    pub is_synced: bool,
    /// The requests are noted as owed: not before the COPY has ended.
    pub is_noted: bool,
    /// The COPY was one of the extended protocol: without a Sync of its client's that the server
    /// has answered, it would still pass over what comes.
    pub is_extended: bool,
    /// ReadyForQuery has come so often.
    pub readies: u32,
    /// The Close is answered.
    pub is_over: bool,
}
