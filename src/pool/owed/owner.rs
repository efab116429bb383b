//! Which client owns the unnamed statement of a server.

use super::request::Request;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    /// A client other than the server's present one may own it.
    #[default]
    Foreign,
    /// The present client owns it, if the server does not skip its Parse.
    Expected,
    /// The present client owns it, or there is no unnamed statement.
    Own,
}

impl Owner {
    /// Notes a request that was sent.
    #[inline]
    pub fn sent(&mut self, request: &Request) {
        if replaces(request) && *self == Owner::Foreign {
            *self = Owner::Expected;
        }
    }

    /// Notes requests that were skipped; `others` are still under way.
    pub fn skipped<'a>(
        &mut self,
        mut skipped: impl Iterator<Item = &'a Request>,
        mut others: impl Iterator<Item = &'a Request>,
    ) {
        if *self == Owner::Expected && skipped.any(replaces) && !others.any(replaces) {
            *self = Owner::Foreign;
        }
    }
}

/// Whether a request replaces or drops another client's unnamed statement.
#[inline]
fn replaces(request: &Request) -> bool {
    matches!(request, Request::OwnUnnamed | Request::Parse(None))
}
