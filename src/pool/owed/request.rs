//! One request that was sent to a server, or that the pooler answers itself when its turn comes.

use crate::pool::ids::StatementId;
use crate::wire::kind::Front;

/// One request under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Request {
    /// The Bind of a tracked statement, or of another.
    Bind(Option<StatementId>),
    Close,
    /// The Describe of a tracked statement, or of another statement or a portal.
    Describe(Option<StatementId>),
    Execute,
    FunctionCall,
    /// The Parse of a tracked statement, or of the unnamed one.
    Parse(Option<StatementId>),
    /// The Parse of a named statement that the pooler does not track.
    ParseNamed,
    Query,
    Sync,
    /// CopyDone or CopyFail that was sent before the server was known to ask for data. No reply is
    /// owed; the entry tells which Syncs a COPY eats.
    CopyEnd,
    /// A Parse of the pooler's own: the reply is swallowed, and the server then has the statement.
    OwnParse(StatementId),
    /// A Close of the pooler's own, to make room for another statement.
    OwnClose(StatementId),
    /// A Parse or Close of the pooler's own, of the unnamed statement: the reply is swallowed.
    OwnUnnamed,
    /// A Close of the pooler's own, of a statement that never exists. Its reply proves that
    /// requests before it have been answered.
    Probe,
    /// The substitute for a message that misuses the name of a statement or portal: the server
    /// answers with an error.
    Misnamed,
    /// A Parse of the client that the pooler answers itself.
    AnswerParse,
    /// A Close of the client that the pooler answers itself.
    AnswerClose,
}

impl Request {
    /// The request that a message of the client makes, if the server answers that message.
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

    /// Whether the server gets this request and would refuse it while it takes COPY data.
    pub fn upsets_copy(self) -> bool {
        !matches!(
            self,
            Request::AnswerClose | Request::AnswerParse | Request::CopyEnd | Request::Sync
        )
    }

    /// The tracked statement that an error in answer to this request may name.
    pub fn concerned(&self) -> Option<StatementId> {
        match *self {
            Request::OwnParse(id) | Request::OwnClose(id) => Some(id),
            Request::Parse(statement) => statement,
            _ => self.used(),
        }
    }

    /// The tracked statement that this request uses.
    pub fn used(&self) -> Option<StatementId> {
        match *self {
            Request::Bind(statement) | Request::Describe(statement) => statement,
            _ => None,
        }
    }
}
