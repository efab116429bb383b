//! Requests and replies that are taken by the stretch: [`Replies::push`] and [`Replies::received`]
//! for the common case.

use super::{Bar, Copy, Owner, Replies, Request};
use crate::wire::kind::Back;

impl Replies {
    /// Whether messages may pass by the stretch: requests are under way, and no further message
    /// will be skipped, refused or held back.
    #[inline]
    pub fn takes_routine(&self) -> bool {
        !self.skipping && !self.refusing && !self.queue.is_empty() && !self.is_barred()
    }

    /// Whether a COPY is under way.
    #[inline]
    pub fn is_copying(&self) -> bool {
        self.copy != Copy::None
    }

    /// The server has nothing to do, and the first request comes by the stretch.
    #[inline(always)]
    pub fn begin(&mut self) {
        debug_assert!(self.is_clean() && !self.refusing);
        self.bar = Bar::Open;
        self.unflushed = false;
    }

    /// As [`Replies::push`] of a simple query, after [`Replies::begin`].
    #[inline(always)]
    pub fn push_first_query(&mut self) {
        self.queue.push_back(Request::Query);
    }

    /// As [`Replies::push`], if [`Replies::takes_routine`] and no COPY is under way.
    #[inline(always)]
    pub fn push_routine(&mut self, request: Request) {
        let is_sync = matches!(request, Request::Sync);
        if is_sync {
            self.segment = self.segment.wrapping_add(1);
        }
        (self.unsynced, self.unflushed) = (!is_sync, !is_sync);
        self.unnamed.sent(&request, self.segment);
        self.queue.push_back(request);
    }

    /// Takes a reply that belongs to the client and means nothing else to the pooler. All others
    /// are left to [`Replies::received`].
    #[inline]
    pub fn take_routine(&mut self, kind: Back) -> bool {
        let Some(&front) = self.queue.front() else { return false };
        match (kind, front) {
            (Back::ParseComplete, Request::Parse(None)) => self.unnamed = Owner::Own,
            (Back::ParseComplete, Request::ParseNamed) => {}
            (Back::BindComplete, Request::Bind(statement)) => self.bound = statement,
            (Back::NoData | Back::RowDescription, Request::Describe(_)) => {}
            (Back::PortalSuspended, Request::Execute) => {}
            (Back::CommandComplete | Back::EmptyQuery, Request::Execute) => self.copy = Copy::None,
            (Back::CommandComplete | Back::EmptyQuery, Request::Query) => {
                self.query_has_result();
                return true;
            }
            (Back::RowDescription, Request::Query) => return true,
            (Back::DataRow, Request::Execute | Request::Query) => return true,
            (Back::CopyData, _) => return self.copy != Copy::None,
            _ => return false,
        }
        // None of these is a Sync, so the bar stays.
        self.has_result = false;
        self.queue.pop_front();
        while let Some(Request::CopyEnd) = self.queue.front() {
            self.queue.pop_front();
        }
        true
    }
}
