//! Which client owns the unnamed statement of a server.

use super::request::Request;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    /// A client other than the server's present one may own it.
    #[default]
    Foreign,
    /// The present client owns it, unless the server refuses or skips the requests under way that
    /// replace it. The last of them was sent in this segment.
    Expected { segment: u32 },
    /// The present client owns it, or there is no unnamed statement.
    Own,
}

impl Owner {
    /// Notes a request that was sent in a segment.
    #[inline]
    pub fn sent(&mut self, request: &Request, segment: u32) {
        if replaces(request) && *self != Owner::Own {
            *self = Owner::Expected { segment };
        }
    }

    /// Whether a request that uses the statement must wait until it is known whose that is. In the
    /// segment of the Parse it need not: where the server refuses or skips the Parse, it skips the
    /// rest of the segment too. The next segment it carries out.
    #[inline(always)]
    pub fn is_undecided(self, segment: u32) -> bool {
        matches!(self, Owner::Expected { segment: of } if of != segment)
    }

    /// Whether a request of this segment finds the client's own statement, or none.
    #[inline(always)]
    pub fn is_own_in(self, segment: u32) -> bool {
        match self {
            Owner::Own => true,
            Owner::Expected { segment: of } => of == segment,
            Owner::Foreign => false,
        }
    }

    /// Notes requests that were skipped; `others` are still under way.
    pub fn skipped<'a>(
        &mut self,
        mut skipped: impl Iterator<Item = &'a Request>,
        mut others: impl Iterator<Item = &'a Request>,
    ) {
        let is_expected = matches!(self, Owner::Expected { .. });
        if is_expected && skipped.any(replaces) && !others.any(replaces) {
            *self = Owner::Foreign;
        }
    }
}

/// Whether a request replaces or drops another client's unnamed statement.
#[inline]
fn replaces(request: &Request) -> bool {
    matches!(request, Request::OwnUnnamed | Request::Parse(None))
}
