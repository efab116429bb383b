//! Statements whose text may mean something else by now: tables, types and functions change, and a
//! prepared statement depends on those that existed when it was prepared.
//!
//! A client that prepares the same text again gets what PostgreSQL makes of it now: a statement in
//! doubt is not shared any more. Names that clients have given to such a statement stay with it, as
//! in a session.

use crate::pool::core::Core;
use crate::pool::ids::ServerId;
use crate::pool::owed::request::Request;
use crate::wire::fields::{Fields, ReportFields};

/// Errors whose cause may be that the statement was prepared for other tables, types or functions.
const DOUBTFUL: [&str; 10] =
    ["0A000", "22003", "22007", "22008", "22P02", "22P03", "42804", "42883", "42P18", "XX000"];

impl Core {
    /// A request has failed with this error, and the requests after it were skipped.
    pub(in crate::pool) fn doubt_failed(
        &mut self,
        server: ServerId,
        skipped: &[Request],
        error: &[u8],
    ) {
        let failed = match skipped.first() {
            Some(Request::Execute) => self.servers[server].replies.bound(),
            Some(request) => request.used(),
            None => None,
        };
        if let Some(statement) = failed
            && DOUBTFUL.contains(&ReportFields::parse(error).sqlstate.as_str())
        {
            self.statements.put_aside(statement);
        }
    }

    /// The server describes the parameters of a statement.
    pub(in crate::pool) fn note_types(&mut self, server: ServerId, body: &[u8]) {
        let mut fields = Fields::new(body);
        let count = fields.u16().map(usize::from);
        let is_whole = count.is_some_and(|count| fields.rest().len() == count * 4);
        if let Some(statement) = self.servers[server].replies.described()
            && is_whole
        {
            self.statements.compare_types(statement, body);
        }
    }
}
