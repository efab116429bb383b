//! One run of auth_query: whose secret it asks for, who waits for it, and what has come of the
//! answer so far.
//!
//! The order of the server's messages is watched by `owed::replies`; here is what they may hold.
//! The server is as little trusted as a client: one row of two columns is taken, of bounded size,
//! and only if it is about the user who was asked for. Nobody becomes another user by its answer.

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

/// The search_path of servers that run auth_query, in their startup packet: it overrides what the
/// owner of a database has set for those who log in there, who would otherwise decide what a name
/// of the query means, and so what auth_user does. `"$user"` and `public` are PostgreSQL's default,
/// for queries that call a function without naming its schema.
pub const LOOKUP_PATH: &str = "pg_catalog, \"$user\", public";

/// The longest row that is looked at, in bytes: a name and a secret, with room to spare.
const LONGEST_ROW_BYTES: usize = 8192;

/// Name and secret.
const COLUMNS: u16 = 2;

/// What is to be looked up before a client is asked to prove anything.
pub enum LookupErrand {
    /// Something, but not now: as many databases are tried that nobody knows as may be.
    Later,
    None,
    Query {
        pool: PoolId,
        sql: String,
    },
}

#[derive(Debug, Default)]
pub struct Lookup {
    /// The user whose secret is asked for.
    pub user: Box<str>,
    pub sql: Box<str>,
    /// Since when its first client waits.
    pub since: Moment,
    /// The clients that the answer is for.
    pub clients: Vec<ClientId>,
    /// Clients that came when the query had been sent. They are not given an answer that may be
    /// older than their question: the query runs again for all of them.
    pub next: Vec<ClientId>,
    row: Option<Finding>,
    fault: Option<LookupFault>,
}

/// What is known of a user.
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
    /// What the server said.
    Error {
        severity: String,
        sqlstate: String,
        message: String,
    },
    LongRow(usize),
    /// The row is about somebody else.
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

    /// The lookup that those who came too late for this one need.
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

    /// Takes out a client that waits no more. Returns whether it was there.
    pub fn remove(&mut self, client: ClientId) -> bool {
        let list = match self.clients.contains(&client) {
            true => &mut self.clients,
            false => &mut self.next,
        };
        let place = list.iter().position(|&id| id == client);
        place.map(|place| list.swap_remove(place)).is_some()
    }

    /// The query, with the name as its parameter, all in one go.
    pub fn messages(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let (statement, portal) = ("", "");
        Message::front(&mut bytes, Front::Parse).cstr(statement).cstr(&*self.sql).u16(0).end();
        // One parameter, and it is text, as all that comes back is.
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

    /// How much of a reply's body [`Lookup::heed`] has to see.
    pub fn must_see(kind: Back, head: Head) -> usize {
        match kind {
            Back::DataRow if head.body <= LONGEST_ROW_BYTES => head.body,
            Back::RowDescription => head.body.min(2),
            _ => 0,
        }
    }

    /// Takes in what a reply says. `seen` is as much of its body as [`Lookup::must_see`] asks for.
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
            // The first tells most.
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

    /// What the answer, which is complete, comes to.
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

/// A value of a row: `Some(None)` is NULL, `None` is no value at all.
fn value<'a>(fields: &mut Fields<'a>) -> Option<Option<&'a [u8]>> {
    match fields.u32()? as i32 {
        -1 => Some(None),
        length => Some(Some(fields.bytes(usize::try_from(length).ok()?)?)),
    }
}

/// The entry point for fuzzing: messages of a server in answer to auth_query. Whatever they say, a
/// secret counts only if they name its user.
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

    /// What comes of these rows.
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
