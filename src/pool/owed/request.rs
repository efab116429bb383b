//! One request that a server was sent, or that is answered in its place when its turn comes.

use crate::pool::ids::StatementId;
use crate::wire::kind::Front;

/// One request under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// Of a statement that the pooler tracks, or of another.
    Bind(Option<StatementId>),
    Close,
    /// Of a statement that the pooler tracks, or of something else.
    Describe(Option<StatementId>),
    Execute,
    FunctionCall,
    /// Of a statement that the pooler tracks, or of the unnamed one.
    Parse(Option<StatementId>),
    /// Of a statement with a name that the pooler does not track.
    ParseNamed,
    Query,
    Sync,
    /// CopyDone or CopyFail, sent before it was known whether the server would ask for data. No
    /// reply is owed: it tells which Syncs a COPY eats.
    CopyEnd,
    /// A Parse of the pooler's: the reply is swallowed, the server has the statement from then on.
    OwnParse(StatementId),
    /// A Close of the pooler's, of a statement that makes room for another.
    OwnClose(StatementId),
    /// A Parse or Close of the pooler's, of the unnamed statement: the reply is swallowed.
    OwnUnnamed,
    /// A Close of the pooler's, of a statement that is never there: what is answered before it was
    /// sent before it.
    Probe,
    /// What is sent in the place of a message that names a statement or portal as it must not: an
    /// error is the answer.
    Misnamed,
    /// A Parse of the client's that the pooler answers, when its turn comes.
    AnswerParse,
    /// A Close of the client's that the pooler answers, when its turn comes.
    AnswerClose,
}

impl Request {
    /// What a message of the client's asks for, if it is answered.
    #[inline]
    pub fn of(kind: Front) -> Option<Request> {
        Some(match kind {
            Front::Bind => Request::Bind(None),
            Front::Close => Request::Close,
            Front::CopyDone | Front::CopyFail => Request::CopyEnd,
            Front::CopyData | Front::Flush | Front::Password | Front::Terminate => return None,
            Front::Describe => Request::Describe(None),
            Front::Execute => Request::Execute,
            Front::FunctionCall => Request::FunctionCall,
            Front::Parse => Request::Parse(None),
            Front::Query => Request::Query,
            Front::Sync => Request::Sync,
        })
    }

    pub fn ends_in_ready(self) -> bool {
        matches!(self, Request::FunctionCall | Request::Query | Request::Sync)
    }

    /// Whether the server hears of it, and does not pass over it while it takes in COPY data.
    pub fn upsets_copy(self) -> bool {
        !matches!(
            self,
            Request::AnswerClose | Request::AnswerParse | Request::CopyEnd | Request::Sync
        )
    }

    /// The tracked statement that an error in answer to it may name.
    pub fn concerned(&self) -> Option<StatementId> {
        match *self {
            Request::OwnParse(id) | Request::OwnClose(id) => Some(id),
            Request::Parse(statement) => statement,
            _ => self.used(),
        }
    }

    /// The tracked statement that it uses.
    pub fn used(&self) -> Option<StatementId> {
        match *self {
            Request::Bind(statement) | Request::Describe(statement) => statement,
            _ => None,
        }
    }
}
