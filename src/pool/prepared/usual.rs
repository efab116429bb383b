//! The usual Bind: of a tracked statement that the server has. Most Binds are of that kind, and no
//! other message must be sent before them.

use crate::pool::ids::StatementId;
use crate::pool::statements::held::ServerStatements;
use crate::pool::statements::table::{ClientStatements, Statement, StatementTable};
use crate::wire::fields::Fields;
use crate::wire::head::HEAD_BYTES;
use crate::wire::kind::Front;

/// The names in a client's Bind.
#[derive(Clone, Copy)]
pub(in crate::pool) struct BindNames<'a> {
    pub portal: &'a [u8],
    pub statement: &'a [u8],
}

impl<'a> BindNames<'a> {
    /// `None` if the names are incomplete.
    #[inline]
    pub fn read(body: &'a [u8]) -> Option<BindNames<'a>> {
        // Most portals have no name.
        if let [0, behind @ ..] = body {
            return Some(BindNames { portal: b"", statement: Fields::new(behind).cstr()? });
        }
        let mut fields = Fields::new(body);
        Some(BindNames { portal: fields.cstr()?, statement: fields.cstr()? })
    }

    /// Appends the beginning of the Bind, with the statement's name on servers. Returns how many
    /// bytes of the client's message it replaces; the rest is sent unchanged. `body` is the length
    /// of the whole body, in bytes.
    #[inline]
    pub fn say(self, body: usize, statement: &Statement, words: &mut Vec<u8>) -> usize {
        // With the zero byte that ends it.
        let name = &statement.body()[..=statement.name().len()];
        let length = body - (self.statement.len() + 1) + name.len();
        let [a, b, c, d] = (length as u32 + 4).to_be_bytes();
        let kind = Front::Bind as u8;
        // Most portals have no name.
        if self.portal.is_empty() {
            words.extend_from_slice(&[kind, a, b, c, d, 0]);
        } else {
            words.extend_from_slice(&[kind, a, b, c, d]);
            words.extend_from_slice(self.portal);
            words.push(0);
        }
        words.extend_from_slice(name);
        HEAD_BYTES + self.portal.len() + self.statement.len() + 2
    }
}

/// The statement of this name, if its server is sure to have it and its execution does not decide
/// what later messages mean. `segment` is the server's running segment.
#[inline]
pub(in crate::pool) fn usual_statement(
    client: Option<&ClientStatements>,
    server: Option<&mut ServerStatements>,
    table: &StatementTable,
    (name, segment): (&[u8], u32),
) -> Option<StatementId> {
    let client = client?;
    if client.is_undecided(table, name, segment) {
        return None;
    }
    let id = client.names.get(name)?;
    let is_there = server?.use_held(id)?.pending.is_none_or(|pending| pending == segment);
    (is_there && !table.is_decisive(id)).then_some(id)
}
