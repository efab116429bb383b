//! What a server still owes: one entry for each request that was sent to it and not yet answered.
//!
//! From this the pooler knows that a server is clean: every request has been answered up to
//! ReadyForQuery, the transaction is over, and no COPY is under way. The queue also holds the place
//! of replies that the pooler swallows (to its own requests) and of replies that it gives itself.
//!
//! Source: PostgreSQL manual, "Message Flow", sections "Extended Query", "COPY Operations" and
//! "Pipelining": after an error in an extended query the server skips everything up to Sync, and
//! while it takes in COPY data it skips Flush and Sync.

mod copying;
mod questions;
mod routine;

use super::bar::Bar;
use super::copy::Copy;
use super::owner::Owner;
pub use super::reply::{Reply, TransactionStatus, Unexpected};
use super::request::Request;
use crate::base::queue::Queue;
use crate::pool::ids::StatementId;
use crate::wire::kind::{Back, Front};

/// The most requests under way at one server; above that the pooler does not read its client. Tests
/// use a limit that common pipelines reach.
pub const MOST_REQUESTS_UNDER_WAY: usize = if cfg!(test) { 64 } else { 4096 };

/// The most requests that a server keeps memory for when it is handed on: 3 kB, enough for common
/// pipelines.
const ROOM_REQUESTS: usize = 256;

/// The requests under way at one server, and its state as the replies have told it.
#[derive(Default, Debug)]
pub struct Replies {
    queue: Queue<Request>,
    status: TransactionStatus,
    /// The server has reported an error and the Sync after it has not been sent: the server will
    /// not answer requests before that Sync.
    skipping: bool,
    /// An extended query was sent and its Sync was not: its transaction is open, whatever has been
    /// answered since.
    unsynced: bool,
    copy: Copy,
    /// Syncs that the COPY under way has probably eaten.
    eaten: u32,
    /// Syncs that a COPY has probably eaten which then failed. If it failed before it reached them,
    /// the server answers them.
    in_doubt: u32,
    /// The result of the simple query or function call at the head of the queue has come, its
    /// ReadyForQuery has not.
    has_result: bool,
    bar: Bar,
    unnamed: Owner,
    /// A request under way will be refused and its Sync was not sent: the server will skip requests
    /// before that Sync.
    refusing: bool,
    /// The outcome of some portal may decide what later messages mean.
    may_decide: bool,
    bound: Option<StatementId>,
    /// An extended query was sent, and after it nothing that makes the server answer.
    unflushed: bool,
    /// The number of Syncs sent so far, modulo 2^32.
    segment: u32,
    /// The requests that errors made the server skip, until the caller takes them.
    skipped: Vec<Request>,
}

impl Replies {
    /// Whether nothing is owed and no transaction is open, so that another client may get the
    /// server.
    #[inline(always)]
    pub fn is_clean(&self) -> bool {
        self.queue.is_empty() && self.is_outside_transaction()
    }

    #[inline(always)]
    fn is_outside_transaction(&self) -> bool {
        self.status == TransactionStatus::Idle
            && !self.skipping
            && !self.unsynced
            && self.copy == Copy::None
    }

    /// Whether nothing is owed; a transaction may be open.
    #[inline(always)]
    pub fn is_answered(&self) -> bool {
        self.queue.is_empty()
    }

    #[inline(always)]
    pub fn status(&self) -> TransactionStatus {
        self.status
    }

    #[inline(always)]
    pub fn is_full(&self) -> bool {
        !self.has_room_for(1)
    }

    /// Whether so many more requests may be sent before the server has answered.
    #[inline(always)]
    pub fn has_room_for(&self, count: usize) -> bool {
        self.queue.len().saturating_add(count) <= MOST_REQUESTS_UNDER_WAY
    }

    /// Ends a doubt: a reply to a later request has come, so the COPY did eat the Syncs in doubt.
    pub fn end_doubt(&mut self) {
        self.in_doubt = 0;
    }

    /// Whether messages of the client must wait.
    #[inline(always)]
    pub fn is_barred(&self) -> bool {
        self.bar.holds() && !self.queue.is_empty() && !self.takes_copy_data()
    }

    /// Whether the server will skip everything up to a Sync, although it has not reported the error
    /// yet.
    #[inline(always)]
    pub fn is_refusing(&self) -> bool {
        self.refusing
    }

    /// Notes a request that the server will refuse.
    pub fn push_misnamed(&mut self) {
        self.push(Request::Misnamed);
        self.refusing = true;
    }

    /// Whether the outcome of an Execute may decide what later messages mean.
    #[inline(always)]
    pub fn may_decide(&self) -> bool {
        self.may_decide
    }

    /// Notes that the client prepares or binds a statement whose execution may decide what later
    /// messages mean: it drops all statements, or may be a COPY that takes data and eats Syncs.
    pub fn expect_decision(&mut self) {
        self.may_decide = true;
    }

    /// Holds back all messages until everything that was sent is answered. The server must answer
    /// the last request without a Sync after it.
    pub fn bar(&mut self) {
        self.bar = Bar::UntilAnswered;
    }

    /// Holds back all messages until the Syncs under way are answered: the meaning of the next
    /// message depends on them.
    pub fn bar_until_synced(&mut self) {
        let syncs = self.queue.iter().filter(|request| **request == Request::Sync);
        self.bar = Bar::UntilSynced(syncs.count());
    }

    /// Whether the server may hold the unnamed statement of a client other than its present one.
    #[inline(always)]
    pub fn has_foreign_unnamed(&self) -> bool {
        self.unnamed == Owner::Foreign
    }

    /// Whether it is open whose unnamed statement the server will hold when it comes to a request
    /// that is sent now.
    #[inline(always)]
    pub fn is_unnamed_undecided(&self) -> bool {
        self.unnamed.is_undecided(self.segment)
    }

    /// Whether the unnamed statement that such a request finds is the client's own, or none.
    #[inline(always)]
    pub fn has_own_unnamed(&self) -> bool {
        self.unnamed.is_own_in(self.segment)
    }

    /// Another client gets the server, or a query of the pooler's own has dropped the client's
    /// unnamed statement.
    pub fn disown_unnamed(&mut self) {
        self.unnamed = Owner::Foreign;
        self.may_decide = false;
    }

    /// Whether a Flush is needed so that the server answers the last request. Returns true at most
    /// once for each request.
    pub fn take_unflushed(&mut self) -> bool {
        std::mem::take(&mut self.unflushed)
    }

    /// Whether an extended query has failed and its Sync has not been sent.
    #[inline(always)]
    pub fn is_skipping(&self) -> bool {
        self.skipping
    }

    /// The requests that errors made the server skip since the last call.
    pub fn take_skipped(&mut self) -> Vec<Request> {
        std::mem::take(&mut self.skipped)
    }

    /// Whether the server takes COPY data and no requests. A COPY of one way skips Sync and Flush.
    /// In one of both ways every request ends the connection, unless an error has ended the stream
    /// before the request came.
    pub fn takes_copy_data(&self) -> bool {
        matches!(self.copy, Copy::In { ended: false } | Copy::Both { ended: false })
    }

    /// Notes a message of the client that goes to the server.
    #[inline]
    pub fn sent(&mut self, kind: Front) {
        match kind {
            Front::CopyDone | Front::CopyFail => {
                self.copy_ended();
                // The server does not send the outcome of an extended query before a Flush or Sync.
                self.unflushed |= self.queue.front() == Some(&Request::Execute);
            }
            _ => {
                if let Some(request) = Request::of(kind) {
                    self.push(request);
                }
            }
        }
    }

    /// Notes a request, unless the server will skip it unanswered.
    #[inline]
    pub fn push(&mut self, request: Request) {
        let is_sync = matches!(request, Request::Sync);
        if self.skipping {
            if !is_sync {
                return;
            }
            self.skipping = false;
        }
        if self.copy == (Copy::In { ended: false }) {
            self.eaten = self.eaten.saturating_add(u32::from(is_sync));
            return;
        }
        if self.queue.is_empty() {
            self.bar = Bar::Open;
        }
        if is_sync {
            self.segment = self.segment.wrapping_add(1);
        }
        match request {
            // A simple query ends the transaction of an extended one before it.
            Request::FunctionCall | Request::Query | Request::Sync => {
                (self.unsynced, self.unflushed) = (false, false);
            }
            // The pooler answers these itself, or the server ignores them.
            Request::AnswerClose | Request::AnswerParse | Request::CopyEnd => {}
            Request::Bind(_)
            | Request::Close
            | Request::Describe(_)
            | Request::Execute
            | Request::OwnClose(_)
            | Request::OwnParse(_)
            | Request::Misnamed
            | Request::OwnUnnamed
            | Request::Parse(_)
            | Request::ParseNamed
            | Request::Probe => (self.unsynced, self.unflushed) = (true, true),
        }
        self.unnamed.sent(&request, self.segment);
        self.queue.push_back(request);
        if is_sync && std::mem::take(&mut self.refusing) {
            self.bar();
        }
    }

    /// Whether the pooler gives the next reply itself.
    #[inline(always)]
    pub fn is_own_turn(&self) -> bool {
        matches!(self.queue.front(), Some(Request::AnswerClose | Request::AnswerParse))
    }

    /// Takes the next reply, if the pooler gives it itself.
    #[inline(always)]
    pub fn answer_due(&mut self) -> Option<Back> {
        let reply = match self.queue.front()? {
            Request::AnswerParse => Back::ParseComplete,
            Request::AnswerClose => Back::CloseComplete,
            _ => return None,
        };
        self.pop();
        Some(reply)
    }

    /// Judges a reply of the server. `status` is the byte that ReadyForQuery carries.
    pub fn received(&mut self, kind: Back, status: u8) -> Result<Reply, Unexpected> {
        let front = self.queue.front().copied();
        match kind {
            Back::ReadyForQuery => return self.ready(front, status).map(Reply::Ready),
            Back::ErrorResponse => self.failed(front),
            Back::ParseComplete => match front {
                Some(Request::Parse(None)) => {
                    self.pop();
                    self.unnamed = Owner::Own;
                }
                Some(Request::ParseNamed) => self.pop(),
                Some(Request::OwnUnnamed) => return Ok(self.swallow_unnamed()),
                Some(Request::Parse(Some(statement))) => {
                    self.pop();
                    return Ok(Reply::Parsed(statement));
                }
                Some(Request::OwnParse(statement)) => {
                    self.pop();
                    return Ok(Reply::Prepared(statement));
                }
                _ => return Err(Unexpected),
            },
            Back::CloseComplete => match front {
                Some(Request::Close) => self.pop(),
                Some(Request::OwnUnnamed) => return Ok(self.swallow_unnamed()),
                Some(Request::Probe) => {
                    self.pop();
                    self.end_doubt();
                    return Ok(Reply::Swallowed);
                }
                Some(Request::OwnClose(statement)) => {
                    self.pop();
                    return Ok(Reply::Dropped(statement));
                }
                _ => return Err(Unexpected),
            },
            Back::BindComplete => match front {
                Some(Request::Bind(statement)) => {
                    self.pop();
                    self.bound = statement;
                }
                _ => return Err(Unexpected),
            },
            Back::NoData => match front {
                Some(Request::Describe(_)) => self.pop(),
                _ => return Err(Unexpected),
            },
            Back::PortalSuspended => match front {
                Some(Request::Execute) => self.pop(),
                _ => return Err(Unexpected),
            },
            Back::RowDescription => match front {
                Some(Request::Describe(_)) => self.pop(),
                Some(Request::Query) => {}
                _ => return Err(Unexpected),
            },
            Back::ParameterDescription if matches!(front, Some(Request::Describe(_))) => {}
            Back::CommandComplete | Back::EmptyQuery => match front {
                Some(Request::Execute) => {
                    self.copy = Copy::None;
                    self.pop();
                }
                Some(Request::Query) => self.query_has_result(),
                _ => return Err(Unexpected),
            },
            Back::DataRow if matches!(front, Some(Request::Query | Request::Execute)) => {}
            Back::CopyIn => self.begin_copy(front, Copy::In { ended: false })?,
            Back::CopyOut => self.begin_copy(front, Copy::Out)?,
            Back::CopyBoth => self.begin_copy(front, Copy::Both { ended: false })?,
            Back::CopyData | Back::CopyDone if self.copy != Copy::None => {}
            Back::FunctionCallResponse if front == Some(Request::FunctionCall) => {
                self.has_result = true;
            }
            Back::NoticeResponse | Back::NotificationResponse | Back::ParameterStatus => {}
            Back::Authentication
            | Back::BackendKeyData
            | Back::CopyData
            | Back::CopyDone
            | Back::DataRow
            | Back::FunctionCallResponse
            | Back::NegotiateProtocolVersion
            | Back::ParameterDescription => return Err(Unexpected),
        }
        Ok(Reply::Forward)
    }

    /// The request at the head of the queue is answered.
    #[inline]
    fn pop(&mut self) {
        self.has_result = false;
        self.queue.drop_front(1);
        while let Some(Request::CopyEnd) = self.queue.front() {
            self.queue.pop_front();
        }
    }

    /// A statement of a simple query has been carried out, so the query has dropped the unnamed
    /// statement. One that fails at once may not have: PostgreSQL checks the encoding of its text
    /// first.
    #[inline(always)]
    fn query_has_result(&mut self) {
        self.copy = Copy::None;
        self.has_result = true;
        self.unnamed = Owner::Own;
    }

    fn swallow_unnamed(&mut self) -> Reply {
        self.pop();
        self.unnamed = Owner::Own;
        Reply::Swallowed
    }

    #[inline(always)]
    fn ready(
        &mut self,
        front: Option<Request>,
        status: u8,
    ) -> Result<TransactionStatus, Unexpected> {
        let is_owed = match front {
            // A ReadyForQuery before the result answers a Sync in doubt.
            Some(Request::FunctionCall | Request::Query) => self.has_result || self.in_doubt == 0,
            front => matches!(front, Some(Request::Sync)),
        };
        if !is_owed && self.in_doubt == 0 {
            return Err(Unexpected);
        }
        self.status = match status {
            b'I' => TransactionStatus::Idle,
            b'T' => TransactionStatus::InTransaction,
            b'E' => TransactionStatus::Failed,
            _ => return Err(Unexpected),
        };
        self.copy = Copy::None;
        if is_owed {
            if matches!(front, Some(Request::Sync)) {
                self.bar.sync_is_gone();
            }
            self.pop();
        } else {
            // The COPY has not eaten this Sync, and the server skips no further.
            self.in_doubt -= 1;
            self.skipping = false;
        }
        Ok(self.status)
    }

    /// Notes an ErrorResponse. It ends a COPY, and skips the rest of an extended query up to its
    /// Sync. If no request is under way, the server is about to close the connection.
    fn failed(&mut self, front: Option<Request>) {
        if let Copy::In { .. } = self.copy {
            self.in_doubt = self.in_doubt.saturating_add(self.eaten);
        }
        self.copy = Copy::None;
        match front {
            None | Some(Request::Sync) => {}
            Some(Request::FunctionCall | Request::Query) => self.has_result = true,
            Some(_) => {
                let before_sync = self.queue.iter().take_while(|r| **r != Request::Sync).count();
                self.skipped.extend_from_slice(&self.queue[..before_sync]);
                self.queue.drop_front(before_sync);
                self.unnamed.skipped(self.skipped.iter(), self.queue.iter());
                self.skipping = self.queue.is_empty();
                self.refusing &= !self.skipping;
            }
        }
    }

    /// Notes that the server skips everything up to the next Sync, which the client has yet to
    /// send.
    pub fn refuse_to_sync(&mut self) {
        (self.refusing, self.unsynced) = (true, true);
    }

    /// Frees the memory that a long pipeline has left.
    #[inline(always)]
    pub fn shrink(&mut self) {
        if self.queue.capacity() > ROOM_REQUESTS && self.queue.is_empty() {
            self.queue = Queue::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(sent: &[Front], received: &[(Back, u8)]) -> Replies {
        let mut replies = Replies::default();
        for &kind in sent {
            replies.sent(kind);
        }
        for &(kind, status) in received {
            replies.received(kind, status).unwrap_or_else(|_| panic!("{kind:?} is unexpected"));
        }
        replies
    }

    #[test]
    fn a_pipeline_is_clean_only_after_its_last_ready() {
        let sent = [Front::Query, Front::Parse, Front::Bind, Front::Execute, Front::Sync];
        let mut got = vec![
            (Back::CommandComplete, 0),
            (Back::ReadyForQuery, b'I'),
            (Back::ParseComplete, 0),
            (Back::BindComplete, 0),
            (Back::DataRow, 0),
            (Back::CommandComplete, 0),
        ];
        assert!(!after(&sent, &got).is_clean());
        got.push((Back::ReadyForQuery, b'I'));
        assert!(after(&sent, &got).is_clean());
    }

    #[test]
    fn an_error_skips_to_the_next_sync_and_no_further() {
        let mut replies = after(
            &[Front::Parse, Front::Bind, Front::Execute, Front::Sync, Front::Parse, Front::Sync],
            &[(Back::ErrorResponse, 0), (Back::ReadyForQuery, b'I'), (Back::ParseComplete, 0)],
        );
        assert!(!replies.is_clean());
        assert_eq!(
            replies.received(Back::ReadyForQuery, b'I'),
            Ok(Reply::Ready(TransactionStatus::Idle))
        );
        assert!(replies.is_clean());
    }

    #[test]
    fn what_is_sent_between_an_error_and_its_sync_is_not_owed() {
        let mut replies = after(&[Front::Parse], &[(Back::ErrorResponse, 0)]);
        replies.sent(Front::Query);
        replies.sent(Front::Bind);
        assert!(!replies.is_clean());
        replies.sent(Front::Sync);
        assert_eq!(
            replies.received(Back::ReadyForQuery, b'I'),
            Ok(Reply::Ready(TransactionStatus::Idle))
        );
        assert!(replies.is_clean());
    }

    #[test]
    fn a_sync_sent_ahead_of_copy_data_is_eaten_by_the_copy() {
        let mut replies = after(
            &[Front::Parse, Front::Bind, Front::Execute, Front::Sync],
            &[(Back::ParseComplete, 0), (Back::BindComplete, 0), (Back::CopyIn, 0)],
        );
        replies.sent(Front::CopyData);
        replies.sent(Front::Sync);
        replies.sent(Front::CopyDone);
        replies.sent(Front::Sync);
        assert_eq!(replies.received(Back::CommandComplete, 0), Ok(Reply::Forward));
        assert!(!replies.is_clean());
        assert_eq!(
            replies.received(Back::ReadyForQuery, b'I'),
            Ok(Reply::Ready(TransactionStatus::Idle))
        );
        assert!(replies.is_clean());
    }

    #[test]
    fn copy_data_may_be_sent_before_the_server_asks_for_it() {
        let extended = [Front::Parse, Front::Bind, Front::Execute];
        let data = [Front::CopyData, Front::CopyDone, Front::Sync];
        let complete = [(Back::ParseComplete, 0), (Back::BindComplete, 0), (Back::CopyIn, 0)];
        let end = [(Back::CommandComplete, 0), (Back::ReadyForQuery, b'I')];
        assert!(
            after(&[&extended[..], &data].concat(), &[&complete[..], &end].concat()).is_clean()
        );
        // The first of two Syncs comes before the end of the data, so the COPY eats it.
        let early = [&extended[..], &[Front::Sync], &data].concat();
        assert!(after(&early, &[&complete[..], &end].concat()).is_clean());
        // If the statement fails, both Syncs are answered.
        let failed = [(Back::ErrorResponse, 0), (Back::ReadyForQuery, b'I')];
        let mut replies = after(&early, &failed);
        assert!(!replies.is_clean());
        assert_eq!(
            replies.received(Back::ReadyForQuery, b'I'),
            Ok(Reply::Ready(TransactionStatus::Idle))
        );
        assert!(replies.is_clean());
        // The data of the next COPY may come before the first is complete.
        let two = [&early[..], &early].concat();
        let mut twice = after(&extended, &complete);
        for kind in [&data[..], &early, &early].concat() {
            twice.sent(kind);
        }
        for (kind, status) in [&end[..], &complete, &end, &complete, &end].concat() {
            twice.received(kind, status).unwrap();
        }
        assert!(twice.is_clean());
        assert!(after(&two, &[&complete[..], &end, &complete, &end].concat()).is_clean());
        let simple = [Front::Query, Front::CopyData, Front::CopyDone, Front::Query];
        let replies = after(&simple, &[&[(Back::CopyIn, 0)], &end[..], &end].concat());
        assert!(replies.is_clean());
    }

    #[test]
    fn a_failed_copy_leaves_doubt_whether_it_has_eaten_a_sync() {
        let sent = [Front::Parse, Front::Bind, Front::Execute, Front::Sync, Front::CopyData];
        let received = [(Back::ParseComplete, 0), (Back::BindComplete, 0), (Back::CopyIn, 0)];
        let mut replies = after(&sent, &received);
        replies.received(Back::ErrorResponse, 0).unwrap();
        assert!(replies.is_doubtful());
        replies.sent(Front::CopyDone);
        replies.sent(Front::Sync);
        replies.received(Back::ReadyForQuery, b'I').unwrap();
        assert!(replies.is_clean() && replies.is_doubtful());
        // In the other case the server still answers the Sync.
        let mut other = after(&sent, &received);
        other.received(Back::ErrorResponse, 0).unwrap();
        assert_eq!(
            other.received(Back::ReadyForQuery, b'I'),
            Ok(Reply::Ready(TransactionStatus::Idle))
        );
        assert!(!other.is_doubtful());
        // The pooler's empty query is answered: no other ReadyForQuery was on its way.
        replies.sent(Front::Query);
        replies.received(Back::EmptyQuery, 0).unwrap();
        replies.end_doubt();
        assert!(!replies.is_doubtful());
    }

    #[test]
    fn what_is_sent_behind_the_end_of_a_stream_of_both_is_owed() {
        let mut replies = after(&[Front::Query], &[(Back::CopyBoth, 0), (Back::CopyData, 0)]);
        replies.sent(Front::CopyData);
        replies.sent(Front::CopyDone);
        replies.sent(Front::Query);
        for kind in [Back::CopyData, Back::CopyDone, Back::CommandComplete] {
            replies.received(kind, 0).unwrap();
        }
        replies.received(Back::ReadyForQuery, b'I').unwrap();
        assert!(!replies.is_answered());
        replies.received(Back::RowDescription, 0).unwrap();
        replies.received(Back::CommandComplete, 0).unwrap();
        replies.received(Back::ReadyForQuery, b'I').unwrap();
        assert!(replies.is_clean());
    }

    #[test]
    fn a_sync_that_comes_when_an_error_has_ended_a_stream_of_both_is_owed() {
        let ready = (Back::ReadyForQuery, b'I');
        let received = [(Back::CopyBoth, 0), (Back::ErrorResponse, 0), ready];
        let mut sent_within = after(&[Front::Query], &received[..1]);
        sent_within.sent(Front::Sync);
        let sent_before = after(&[Front::Query, Front::Sync], &received[..1]);
        for mut replies in [sent_within, sent_before] {
            for (kind, status) in [received[1], received[2]] {
                replies.received(kind, status).unwrap();
            }
            assert!(!replies.is_clean());
            replies.received(ready.0, ready.1).unwrap();
            assert!(replies.is_clean() && !replies.is_doubtful());
        }
    }

    #[test]
    fn a_sync_in_doubt_is_not_taken_for_the_end_of_what_follows() {
        let sent = [Front::Parse, Front::Bind, Front::Execute];
        let received = [(Back::ParseComplete, 0), (Back::BindComplete, 0), (Back::CopyIn, 0)];
        for (next, result) in [
            (Front::FunctionCall, Back::FunctionCallResponse),
            (Front::Query, Back::CommandComplete),
            (Front::Query, Back::ErrorResponse),
        ] {
            let mut replies = after(&sent, &received);
            for kind in [Front::CopyData, Front::Sync, Front::CopyDone, Front::Sync, next] {
                replies.sent(kind);
            }
            // The COPY has failed before it reached the first Sync.
            let ready = (Back::ReadyForQuery, b'I');
            for (kind, status) in [(Back::ErrorResponse, 0), ready, ready, (result, 0), ready] {
                let reply = replies.received(kind, status);
                assert!(reply.is_ok(), "{kind:?} before {result:?}");
            }
            assert!(replies.is_clean() && !replies.is_doubtful());
        }
    }

    #[test]
    fn what_was_flushed_and_answered_is_not_over_before_its_sync() {
        let mut replies = after(
            &[Front::Parse, Front::Bind, Front::Execute, Front::Flush],
            &[(Back::ParseComplete, 0), (Back::BindComplete, 0), (Back::CommandComplete, 0)],
        );
        assert!(replies.is_answered());
        assert!(!replies.is_clean() && replies.is_unsynced());
        replies.sent(Front::Sync);
        assert_eq!(
            replies.received(Back::ReadyForQuery, b'I'),
            Ok(Reply::Ready(TransactionStatus::Idle))
        );
        assert!(replies.is_clean());
    }

    #[test]
    fn a_reply_that_nobody_asked_for_is_unexpected() {
        let mut replies = Replies::default();
        for kind in [Back::ReadyForQuery, Back::ParseComplete, Back::DataRow, Back::CopyData] {
            assert_eq!(replies.received(kind, b'I'), Err(Unexpected), "{kind:?}");
        }
        assert_eq!(replies.received(Back::NoticeResponse, 0), Ok(Reply::Forward));
    }

    #[test]
    fn replies_of_the_pooler_keep_their_place() {
        let mut replies = after(&[Front::Bind], &[]);
        replies.push(Request::AnswerParse);
        replies.sent(Front::Sync);
        assert_eq!(replies.answer_due(), None);
        replies.received(Back::BindComplete, 0).unwrap();
        assert_eq!(replies.answer_due(), Some(Back::ParseComplete));
        assert_eq!(replies.answer_due(), None);
        assert_eq!(replies.received(Back::ReadyForQuery, b'T'), {
            Ok(Reply::Ready(TransactionStatus::InTransaction))
        });
        assert!(!replies.is_clean());
    }

    #[test]
    fn a_bar_is_lifted_by_the_syncs_that_were_under_way() {
        let (parse, sync) = (Request::Parse(None), Request::Sync);
        let mut replies = Replies::default();
        for request in [parse, sync, parse, sync, parse] {
            replies.push(request);
        }
        replies.bar_until_synced();
        for _ in 0..2 {
            assert!(replies.is_barred());
            replies.received(Back::ParseComplete, 0).unwrap();
            assert!(replies.is_barred());
            replies.received(Back::ReadyForQuery, b'I').unwrap();
        }
        assert!(!replies.is_barred(), "the last Parse has no Sync yet");
        replies.push(sync);
        assert!(!replies.is_barred());
    }

    #[test]
    fn a_failed_transaction_is_not_clean() {
        let replies =
            after(&[Front::Query], &[(Back::ErrorResponse, 0), (Back::ReadyForQuery, b'E')]);
        assert!(!replies.is_clean());
        assert!(replies.is_answered());
    }
}
