//! One run of auth_query: the user that it asks for, the clients that wait, and the answer so far.
//!
//! `owed::replies` checks the order of the server's messages; this module checks their content. The
//! server is trusted as little as a client: only one row of two columns and bounded size is
//! accepted, and only if it names the user asked for. So no answer turns a client into another
//! user.

use std::fmt;

use crate::auth::client::AccountSecret;
use crate::auth::secret::Secret;
use crate::base::time::Moment;
use crate::pool::ids::{ClientId, PoolId};
use crate::wire::build::Message;
use crate::wire::fields::{Fields, ReportFields};
use crate::wire::head::{self, HEAD_BYTES, Head, ParsedHead};
use crate::wire::kind::{Back, Front};
use crate::wire::sqlstate::{UNDEFINED_FUNCTION, UNDEFINED_TABLE};

/// The search_path of servers that run auth_query, set in their startup packet. It overrides what
/// the owner of a database has set with ALTER DATABASE: otherwise the owner would decide what a
/// name in the query means, and so what auth_user executes. `"$user"` and `public` are PostgreSQL's
/// default, for queries that call a function without its schema.
pub const LOOKUP_PATH: &str = "pg_catalog, \"$user\", public";

/// The longest row that is read, in bytes: more than any name and secret need.
const LONGEST_ROW_BYTES: usize = 8192;

/// The columns of a row: name and secret.
const COLUMNS: u16 = 2;

/// The lookup that a client needs before it is asked for a proof.
pub enum LookupErrand {
    /// A lookup that must wait: the most unknown databases are being tried.
    Later,
    None,
    Query {
        pool: PoolId,
        sql: String,
    },
}

#[derive(Debug, Default)]
pub struct Lookup {
    /// The user whose secret is looked up.
    pub user: Box<str>,
    pub sql: Box<str>,
    /// Since when the first client waits.
    pub since: Moment,
    /// The clients that get the answer of this run.
    pub clients: Vec<ClientId>,
    /// Clients that came after the query was sent. An answer may be older than their question, so
    /// the query runs again for all of them.
    pub next: Vec<ClientId>,
    row: Option<Finding>,
    fault: Option<LookupFault>,
}

/// The result of a lookup.
#[derive(Debug, PartialEq, Eq)]
pub enum Finding {
    NoPassword,
    NoSuchUser,
    Secret(Secret),
}

/// What is wrong with an answer.
#[derive(Debug, PartialEq, Eq)]
pub enum LookupFault {
    BrokenRow,
    Columns(u16),
    /// The server has sent an ErrorResponse.
    Error {
        severity: String,
        sqlstate: String,
        message: String,
    },
    LongRow(usize),
    /// The row names another user.
    OtherUser,
    SecondRow,
}

impl Lookup {
    pub fn new(user: &str, sql: &str, client: ClientId, since: Moment) -> Lookup {
        let clients = vec![client];
        Lookup { user: user.into(), sql: sql.into(), since, clients, ..Lookup::default() }
    }

    pub fn is_same(&self, user: &str, sql: &str) -> bool {
        *self.user == *user && *self.sql == *sql
    }

    /// The lookup for the clients that came after the query was sent.
    pub fn split_next(&mut self, now: Moment) -> Option<Lookup> {
        let clients = std::mem::take(&mut self.next);
        let (user, sql) = (self.user.clone(), self.sql.clone());
        (!clients.is_empty()).then(|| Lookup {
            user,
            sql,
            since: now,
            clients,
            ..Lookup::default()
        })
    }

    /// Removes a client that no longer waits. Returns whether the client was there.
    pub fn remove(&mut self, client: ClientId) -> bool {
        let list = match self.clients.contains(&client) {
            true => &mut self.clients,
            false => &mut self.next,
        };
        let place = list.iter().position(|&id| id == client);
        place.map(|place| list.swap_remove(place)).is_some()
    }

    /// The messages of the query, with the user's name as its parameter.
    pub fn messages(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (statement, portal) = ("", "");
        Message::front(&mut bytes, Front::Parse).cstr(statement).cstr(&*self.sql).u16(0).end();
        // The one parameter and all result columns are text.
        Message::front(&mut bytes, Front::Bind)
            .cstr(portal)
            .cstr(statement)
            .u16(0)
            .u16(1)
            .u32(self.user.len() as u32)
            .bytes(self.user.as_bytes())
            .u16(0)
            .end();
        Message::front(&mut bytes, Front::Describe).u8(b'P').cstr(portal).end();
        Message::front(&mut bytes, Front::Execute).cstr(portal).u32(0).end();
        Message::front(&mut bytes, Front::Sync).end();
        bytes
    }

    /// How many bytes of a reply's body [`Lookup::heed`] needs.
    pub fn must_see(kind: Back, head: Head) -> usize {
        match kind {
            Back::DataRow if head.body <= LONGEST_ROW_BYTES => head.body,
            Back::RowDescription => head.body.min(2),
            _ => 0,
        }
    }

    /// Takes in a reply. `seen` has at least as many bytes as [`Lookup::must_see`] asks for.
    pub fn heed(&mut self, kind: Back, head: Head, seen: &[u8]) {
        let heeded = match kind {
            Back::DataRow => self.heed_row(head, seen),
            Back::ErrorResponse => {
                let ReportFields { severity, sqlstate, message, .. } = ReportFields::parse(seen);
                Err(LookupFault::Error { severity, sqlstate, message })
            }
            Back::NoData => Err(LookupFault::Columns(0)),
            Back::RowDescription => check_columns(&mut Fields::new(seen)),
            _ => Ok(()),
        };
        if let Err(fault) = heeded {
            // The first fault tells most.
            self.fault.get_or_insert(fault);
        }
    }

    fn heed_row(&mut self, head: Head, seen: &[u8]) -> Result<(), LookupFault> {
        if self.row.is_some() {
            return Err(LookupFault::SecondRow);
        }
        if head.body > LONGEST_ROW_BYTES {
            return Err(LookupFault::LongRow(head.body));
        }
        let mut fields = Fields::new(seen);
        check_columns(&mut fields)?;
        let values = (value(&mut fields), value(&mut fields));
        let (Some(name), Some(secret), true) = (values.0, values.1, fields.is_empty()) else {
            return Err(LookupFault::BrokenRow);
        };
        self.row = Some(match (name, secret) {
            (None, _) => Finding::NoSuchUser,
            (Some(name), _) if name != self.user.as_bytes() => return Err(LookupFault::OtherUser),
            (Some(_), None) => Finding::NoPassword,
            (Some(_), Some(secret)) => Finding::Secret(Secret::parse(secret)),
        });
        Ok(())
    }

    /// The result of the complete answer.
    pub fn finding(&mut self) -> Result<Finding, LookupFault> {
        match self.fault.take() {
            Some(fault) => Err(fault),
            None => Ok(self.row.take().unwrap_or(Finding::NoSuchUser)),
        }
    }
}

impl Finding {
    pub fn account(&self) -> AccountSecret<'_> {
        match self {
            Finding::NoPassword => AccountSecret::NoPassword,
            Finding::NoSuchUser => AccountSecret::Missing,
            Finding::Secret(secret) => AccountSecret::Known(secret),
        }
    }
}

impl fmt::Display for LookupFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LookupFault::BrokenRow => f.write_str("malformed row"),
            LookupFault::Columns(count) => {
                write!(f, "expected {COLUMNS} columns from auth_query, not {count}")
            }
            LookupFault::Error { severity, sqlstate, message } => {
                write!(f, "{severity}: {message}")?;
                if [UNDEFINED_FUNCTION, UNDEFINED_TABLE].contains(&sqlstate.as_str()) {
                    write!(f, " (it runs with search_path = {LOOKUP_PATH}: name other schemas)")?;
                }
                Ok(())
            }
            LookupFault::LongRow(size) => {
                write!(f, "row of {size} bytes, at most {LONGEST_ROW_BYTES} are taken")
            }
            LookupFault::OtherUser => {
                f.write_str("the row is about another user than the one asked for")
            }
            LookupFault::SecondRow => f.write_str("more than one row"),
        }
    }
}

fn check_columns(fields: &mut Fields<'_>) -> Result<(), LookupFault> {
    match fields.u16() {
        Some(COLUMNS) => Ok(()),
        count => Err(LookupFault::Columns(count.unwrap_or_default())),
    }
}

/// One value of a row: `Some(None)` for NULL, `None` if the row has no further value.
fn value<'a>(fields: &mut Fields<'a>) -> Option<Option<&'a [u8]>> {
    match fields.u32()? as i32 {
        -1 => Some(None),
        length => Some(Some(fields.bytes(usize::try_from(length).ok()?)?)),
    }
}

/// The entry point for fuzzing: a server's messages in answer to auth_query. Whatever they are,
/// only a secret that comes with its user's name is accepted.
pub fn fuzz(data: &[u8]) {
    let mut lookup = Lookup { user: "joe".into(), ..Lookup::default() };
    let mut rest = data;
    while let ParsedHead::Head(head) = head::parse(rest) {
        let Some(kind) = Back::from_byte(head.kind) else { break };
        let body = &rest[HEAD_BYTES..];
        let need = Lookup::must_see(kind, head).max(kind.must_see(head));
        assert!(need <= head.body);
        let Some(left) = body.get(head.body.max(need)..) else { break };
        lookup.heed(kind, head, &body[..head.body]);
        rest = left;
    }
    if let Ok(Finding::Secret(_) | Finding::NoPassword) = lookup.finding() {
        assert!(data.windows(3).any(|part| part == b"joe"), "found without having been asked for");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lookup() -> Lookup {
        Lookup { user: "joe".into(), ..Lookup::default() }
    }

    fn body(values: &[Option<&[u8]>]) -> Vec<u8> {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            let length = value.map_or(-1, |value| value.len() as i32);
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(value.unwrap_or_default());
        }
        body
    }

    fn heed(lookup: &mut Lookup, kind: Back, body: &[u8]) {
        let head = Head { kind: kind as u8, body: body.len() };
        lookup.heed(kind, head, body);
    }

    /// The result for these rows.
    fn rows(rows: &[&[u8]]) -> Result<Finding, LookupFault> {
        let mut lookup = lookup();
        for row in rows {
            heed(&mut lookup, Back::DataRow, row);
        }
        lookup.finding()
    }

    #[test]
    fn a_row_of_name_and_secret_is_taken() {
        let secret = Finding::Secret(Secret::parse(b"secret"));
        assert_eq!(rows(&[&body(&[Some(b"joe"), Some(b"secret")])]), Ok(secret));
        assert_eq!(rows(&[&body(&[Some(b"joe"), None])]), Ok(Finding::NoPassword));
        assert_eq!(rows(&[&body(&[None, None])]), Ok(Finding::NoSuchUser));
        assert_eq!(rows(&[]), Ok(Finding::NoSuchUser));
    }

    #[test]
    fn nobody_becomes_another_user() {
        for name in [&b"joey"[..], b"jo", b"JOE", b"", b"joe\0"] {
            assert_eq!(rows(&[&body(&[Some(name), Some(b"x")])]), Err(LookupFault::OtherUser));
        }
    }

    #[test]
    fn what_is_no_row_of_name_and_secret_is_a_fault() {
        let good = body(&[Some(b"joe"), Some(b"secret")]);
        assert_eq!(rows(&[&good, &good]), Err(LookupFault::SecondRow));
        assert_eq!(rows(&[&body(&[Some(b"joe")])]), Err(LookupFault::Columns(1)));
        assert_eq!(rows(&[&body(&[None, None, None])]), Err(LookupFault::Columns(3)));
        assert_eq!(rows(&[b""]), Err(LookupFault::Columns(0)));
        for end in 2..good.len() {
            assert_eq!(rows(&[&good[..end]]), Err(LookupFault::BrokenRow), "{end} bytes");
        }
        assert_eq!(rows(&[&[&good[..], b"x"].concat()]), Err(LookupFault::BrokenRow));
        let length_below_null = [&[0, 2][..], &(-2i32).to_be_bytes(), &(-1i32).to_be_bytes()];
        assert_eq!(rows(&[&length_below_null.concat()]), Err(LookupFault::BrokenRow));
        let length_too_large = [&[0, 2][..], &i32::MAX.to_be_bytes(), b"joe"];
        assert_eq!(rows(&[&length_too_large.concat()]), Err(LookupFault::BrokenRow));
    }

    #[test]
    fn a_row_that_is_too_long_is_not_waited_for() {
        let head = Head { kind: Back::DataRow as u8, body: LONGEST_ROW_BYTES + 1 };
        assert_eq!(Lookup::must_see(Back::DataRow, head), 0);
        let mut lookup = lookup();
        lookup.heed(Back::DataRow, head, b"");
        assert_eq!(lookup.finding(), Err(LookupFault::LongRow(LONGEST_ROW_BYTES + 1)));
    }

    #[test]
    fn the_first_fault_is_told() {
        let mut lookup = lookup();
        heed(&mut lookup, Back::RowDescription, &[0, 1]);
        heed(&mut lookup, Back::DataRow, &body(&[Some(b"joe"), Some(b"x")]));
        heed(&mut lookup, Back::ErrorResponse, b"SERROR\0Mlate\0\0");
        assert_eq!(lookup.finding(), Err(LookupFault::Columns(1)));
        heed(&mut lookup, Back::ErrorResponse, b"SERROR\0Mno\0\0");
        assert_eq!(lookup.finding().unwrap_err().to_string(), "ERROR: no");
        heed(&mut lookup, Back::ErrorResponse, b"SERROR\0C42883\0Mno such\0\0");
        let told = lookup.finding().unwrap_err().to_string();
        assert!(told.starts_with("ERROR: no such (it runs with search_path = pg_cat"), "{told}");
        heed(&mut lookup, Back::NoData, b"");
        assert_eq!(lookup.finding(), Err(LookupFault::Columns(0)));
    }

    #[test]
    fn the_name_is_a_parameter_and_no_part_of_the_query() {
        let mut lookup = lookup();
        (lookup.user, lookup.sql) = ("'; drop".into(), "select $1".into());
        let bytes = lookup.messages();
        let parse = b"P\0\0\0\x11\0select $1\0\0\0B";
        assert_eq!(bytes[..parse.len()], *parse);
        let text = bytes.windows(11).find(|part| part.ends_with(b"'; drop"));
        assert_eq!(text.expect("the name"), b"\0\0\0\x07'; drop");
    }

    #[test]
    fn who_leaves_is_taken_out_and_who_came_late_is_asked_for_again() {
        let [one, other] = [1, 2].map(ClientId::from_bits);
        let mut lookup = Lookup::new("joe", "select", one, Moment(0));
        lookup.next.push(other);
        assert!(lookup.remove(one) && !lookup.remove(one));
        let next = lookup.split_next(Moment(7)).expect("one who came late");
        assert!(next.is_same("joe", "select") && next.clients == [other]);
        assert!(lookup.split_next(Moment(7)).is_none());
    }
}
