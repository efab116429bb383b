//! Whose the unnamed statement of a server is.

use super::request::Request;

#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Owner {
    /// Another client than the one that has the server, as far as is known.
    #[default]
    Foreign,
    /// The client, if its Parse is not skipped.
    Expected,
    /// The client, or there is none.
    Own,
}

impl Owner {
    /// A request was sent.
    #[inline]
    pub fn sent(&mut self, request: &Request) {
        if replaces(request) && *self == Owner::Foreign {
            *self = Owner::Expected;
        }
    }

    /// Requests were skipped; the others are under way yet.
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

/// Whether a request takes another client's unnamed statement away.
#[inline]
fn replaces(request: &Request) -> bool {
    matches!(request, Request::OwnUnnamed | Request::Parse(None))
}
