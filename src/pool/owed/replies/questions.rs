//! Questions about the requests under way, which change nothing.

use super::{Copy, Replies, TransactionStatus};
use crate::pool::ids::StatementId;
use crate::pool::owed::request::Request;
use crate::wire::kind::Front;

impl Replies {
    /// Whether the server has nothing to do: the pooler answers all requests under way itself.
    #[inline]
    pub fn is_at_rest(&self) -> bool {
        let is_own = |r: &Request| matches!(r, Request::AnswerClose | Request::AnswerParse);
        self.queue.iter().all(is_own) && self.is_outside_transaction()
    }

    /// Whether nothing is under way and no extended query lacks its Sync.
    pub fn is_unburdened(&self) -> bool {
        self.queue.is_empty() && !self.unsynced
    }

    /// Whether an extended query was sent without its Sync.
    pub fn awaits_sync(&self) -> bool {
        self.unsynced
    }

    /// Whether the server gives the next reply, and without a further Flush or Sync.
    #[cfg(any(test, debug_assertions))]
    pub fn is_server_to_speak(&self) -> bool {
        let has_end = self.queue.iter().any(|request| request.ends_in_ready());
        !self.queue.is_empty() && !self.is_own_turn() && (has_end || !self.unflushed)
    }

    /// Statements whose Close is under way or was skipped, for a server that will answer no more.
    pub fn unanswered_closes(&self) -> impl Iterator<Item = StatementId> {
        self.queue.iter().chain(&self.skipped).filter_map(|request| match request {
            Request::OwnClose(id) => Some(*id),
            _ => None,
        })
    }

    /// The tracked statement that the next reply describes.
    pub fn described(&self) -> Option<StatementId> {
        self.queue.front().and_then(Request::used)
    }

    /// Tracked statements whose Parse is under way.
    pub fn parses_under_way(&self) -> impl Iterator<Item = StatementId> {
        self.queue.iter().filter_map(|request| match request {
            Request::OwnParse(id) | Request::Parse(Some(id)) => Some(*id),
            _ => None,
        })
    }

    /// Whether a Close of this statement is under way that precedes a Sync which is not answered
    /// yet.
    pub fn is_close_undecided(&self, id: StatementId) -> bool {
        let mut is_earlier = false;
        self.queue.iter().rev().any(|request| {
            is_earlier |= *request == Request::Sync;
            is_earlier && *request == Request::OwnClose(id)
        })
    }

    /// Whether a Parse of the client's unnamed statement is under way.
    pub fn prepares_unnamed(&self) -> bool {
        self.queue.contains(&Request::Parse(None))
    }

    /// If all that is under way is one extended query that uses a statement prepared before:
    /// whether the query asks for the columns of its result. Its Sync may not be sent yet.
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

    /// Whether one Sync is the only request under way.
    pub fn is_last_sync(&self) -> bool {
        self.queue.len() == 1 && self.queue[0] == Request::Sync
    }

    /// Whether the meaning of a request that is sent now depends on a COPY under way: the COPY
    /// takes no such request, so it must have failed, and may or may not have eaten a Sync.
    #[inline]
    pub fn hinges_on_copy(&self, kind: Front) -> bool {
        let is_undecided =
            self.copy == Copy::In { ended: false } || self.skipping && self.in_doubt > 0;
        is_undecided && asks_for_more(kind)
    }

    /// Whether a request was sent after the COPY under way that a server taking data refuses, so
    /// that the COPY must have failed.
    pub fn is_copy_overtaken(&self) -> bool {
        self.copy != Copy::None && self.queue.iter().skip(1).any(|request| request.upsets_copy())
    }

    /// Whether the meaning of such a request depends on the outcome of a COPY whose data has ended:
    /// if the COPY has failed, it may not have eaten the Syncs in its data.
    #[inline]
    pub fn hinges_on_outcome(&self, kind: Front) -> bool {
        self.copy == Copy::In { ended: true }
            && self.eaten > 0
            && asks_for_more(kind)
            && self.queue.iter().all(|request| *request == Request::Execute)
    }

    /// Whether an Execute that is sent now may decide what later messages mean, since the server
    /// does not skip it.
    pub fn may_decide_yet(&self) -> bool {
        self.may_decide && !self.skipping
    }

    /// Whether the next reply is the one that ends a doubt.
    pub fn is_probe_due(&self) -> bool {
        self.queue.front() == Some(&Request::Probe)
    }

    /// Whether the reply under way answers a simple query.
    pub fn answers_query(&self) -> bool {
        self.queue.front() == Some(&Request::Query)
    }

    /// Whether a transaction block has failed, or may fail while the requests under way are
    /// answered.
    pub fn may_fail_block(&self) -> bool {
        let may_begin = |r: &Request| matches!(r, Request::Execute | Request::Query);
        match (self.status, self.queue.is_empty()) {
            (TransactionStatus::Failed, _) => true,
            (TransactionStatus::Idle | TransactionStatus::InTransaction, true) => false,
            (TransactionStatus::InTransaction, false) => true,
            (TransactionStatus::Idle, false) => self.queue.iter().any(may_begin),
        }
    }

    /// Whether CopyFail, Sync and ROLLBACK suffice to make the server clean.
    pub fn can_be_brought_to_an_end(&self) -> bool {
        !matches!(self.copy, Copy::Both { .. })
    }

    /// The tracked statement that was bound last.
    pub fn bound(&self) -> Option<StatementId> {
        self.bound
    }

    /// The number of requests under way.
    pub fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether an extended query was sent without a Sync: the server may hold back its replies.
    pub fn is_unsynced(&self) -> bool {
        self.unsynced
    }

    /// The number of the running segment: the server skips requests of one segment together.
    pub fn segment(&self) -> u32 {
        self.segment
    }

    /// The segment of a Parse that is sent now, if it ends with the next Sync for sure: a COPY that
    /// takes data may eat that.
    #[inline]
    pub fn segment_of_parse(&self) -> Option<u32> {
        (!self.takes_copy_data()).then_some(self.segment)
    }

    /// Whether the server may send one more ReadyForQuery than the queue says.
    pub fn is_doubtful(&self) -> bool {
        self.in_doubt > 0
    }
}

/// Whether a message is a request: no part of a COPY, and not a Sync, which ends the skipping after
/// an error.
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
