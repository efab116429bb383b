//! What is asked of the requests under way, and changes nothing.

use super::{Copy, Replies, TransactionStatus};
use crate::pool::ids::StatementId;
use crate::pool::owed::request::Request;
use crate::wire::kind::Front;

impl Replies {
    /// The server has nothing to do: what is under way is answered by the pooler.
    #[inline]
    pub fn is_at_rest(&self) -> bool {
        let is_own = |r: &Request| matches!(r, Request::AnswerClose | Request::AnswerParse);
        self.queue.iter().all(is_own) && self.is_outside_transaction()
    }

    /// Nothing is under way, nor has an extended query been left without its Sync.
    pub fn is_unburdened(&self) -> bool {
        self.queue.is_empty() && !self.unsynced
    }

    /// An extended query is under way whose Sync has not been sent.
    pub fn awaits_sync(&self) -> bool {
        self.unsynced
    }

    /// The next reply is the server's, and it does not keep it to itself.
    #[cfg(any(test, debug_assertions))]
    pub fn is_server_to_speak(&self) -> bool {
        let has_end = self.queue.iter().any(|request| request.ends_in_ready());
        !self.queue.is_empty() && !self.is_own_turn() && (has_end || !self.unflushed)
    }

    /// Statements whose Close is under way, for a server that will not answer any more.
    pub fn unanswered_closes(&self) -> impl Iterator<Item = StatementId> {
        self.queue.iter().chain(&self.skipped).filter_map(|request| match request {
            Request::OwnClose(id) => Some(*id),
            _ => None,
        })
    }

    /// The tracked statement whose description is due.
    pub fn described(&self) -> Option<StatementId> {
        self.queue.front().and_then(Request::used)
    }

    /// Statements that are being prepared.
    pub fn parses_under_way(&self) -> impl Iterator<Item = StatementId> {
        self.queue.iter().filter_map(|request| match request {
            Request::OwnParse(id) | Request::Parse(Some(id)) => Some(*id),
            _ => None,
        })
    }

    /// Whether a Close of this statement is under way whose fate an earlier Sync decides.
    pub fn is_close_undecided(&self, id: StatementId) -> bool {
        let mut is_earlier = false;
        self.queue.iter().rev().any(|request| {
            is_earlier |= *request == Request::Sync;
            is_earlier && *request == Request::OwnClose(id)
        })
    }

    /// A Parse of the client's unnamed statement is under way.
    pub fn prepares_unnamed(&self) -> bool {
        self.queue.contains(&Request::Parse(None))
    }

    /// One extended query is under way, and nothing else, that uses statements which were prepared
    /// before; whether it asks for the columns of a result. Its Sync may be yet to come.
    #[inline]
    pub fn lone_use(&self) -> Option<bool> {
        let mut uses_tracked = false;
        let mut asks_columns = false;
        for (at, request) in self.queue.iter().enumerate() {
            match request {
                Request::Bind(Some(_)) => uses_tracked = true,
                Request::Describe(statement) => {
                    asks_columns = true;
                    uses_tracked |= statement.is_some();
                }
                Request::Execute => {}
                Request::Sync if at + 1 == self.queue.len() => {}
                _ => return None,
            }
        }
        uses_tracked.then_some(asks_columns)
    }

    /// Whether one Sync is all that is to be answered.
    pub fn is_last_sync(&self) -> bool {
        self.queue.len() == 1 && self.queue[0] == Request::Sync
    }

    /// Whether the fate of a COPY decides what a request means that is sent now: the COPY takes
    /// none, so that it must have failed; and then, whether it has eaten a Sync.
    #[inline]
    pub fn hinges_on_copy(&self, kind: Front) -> bool {
        let is_undecided =
            self.copy == Copy::In { ended: false } || self.skipping && self.in_doubt > 0;
        is_undecided && asks_for_more(kind)
    }

    /// Whether requests were sent after the COPY under way that a server which takes in data
    /// stumbles over, so that it must have failed.
    pub fn is_copy_overtaken(&self) -> bool {
        self.copy != Copy::None && self.queue.iter().skip(1).any(|request| request.upsets_copy())
    }

    /// Whether the outcome of a COPY whose data has ended decides so: if it has failed, it may not
    /// have eaten the Syncs in its data.
    #[inline]
    pub fn hinges_on_outcome(&self, kind: Front) -> bool {
        self.copy == Copy::In { ended: true }
            && self.eaten > 0
            && asks_for_more(kind)
            && self.queue.iter().all(|request| *request == Request::Execute)
    }

    /// Whether an Execute that is sent now may decide what the messages after it mean: the server
    /// does not pass over it.
    pub fn may_decide_yet(&self) -> bool {
        self.may_decide && !self.skipping
    }

    /// Whether the next reply is the one by which a doubt ends.
    pub fn is_probe_due(&self) -> bool {
        self.queue.front() == Some(&Request::Probe)
    }

    /// The request whose answer is under way is a simple query.
    pub fn answers_query(&self) -> bool {
        self.queue.front() == Some(&Request::Query)
    }

    /// Whether a transaction block has failed, or may have when what is under way is answered.
    pub fn may_fail_block(&self) -> bool {
        let may_begin = |r: &Request| matches!(r, Request::Execute | Request::Query);
        match (self.status, self.queue.is_empty()) {
            (TransactionStatus::Failed, _) => true,
            (TransactionStatus::Idle | TransactionStatus::InTransaction, true) => false,
            (TransactionStatus::InTransaction, false) => true,
            (TransactionStatus::Idle, false) => self.queue.iter().any(may_begin),
        }
    }

    /// Whether CopyFail, Sync and ROLLBACK are enough to make the server clean.
    pub fn can_be_brought_to_an_end(&self) -> bool {
        !matches!(self.copy, Copy::Both { .. })
    }

    /// The tracked statement that was bound last.
    pub fn bound(&self) -> Option<StatementId> {
        self.bound
    }

    /// Requests under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// An extended query was sent, and no Sync: its replies may stay in the server.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// The number of Syncs sent so far: requests of one number are skipped together.
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// There may be one more ReadyForQuery on its way than is known of.
    pub fn is_doubtful(&self) -> bool {
        self.in_doubt > 0
    }
}

/// Whether a message is a request that neither belongs to a COPY nor ends what an error makes the
/// server skip.
fn asks_for_more(kind: Front) -> bool {
    match kind {
        Front::Bind
        | Front::Close
        | Front::Describe
        | Front::Execute
        | Front::FunctionCall
        | Front::Parse
        | Front::Query => true,
        Front::CopyData
        | Front::CopyDone
        | Front::CopyFail
        | Front::Flush
        | Front::Password
        | Front::Sync
        | Front::Terminate => false,
    }
}
