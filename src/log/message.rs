//! A log line as data: its text, and fields, which `log_format = json` writes as members of its
//! objects. The plain format has only the text.

use crate::base::json::Json;
use crate::log::{ConnectionOwner, ConnectionSide, PeerAddress, Prefix};

/// The value of a field.
#[derive(Clone, Copy, Debug)]
pub enum LogValue<'a> {
    Number(u64),
    Text(&'a str),
}

/// Names and values.
pub type LogFields<'a> = &'a [(&'static str, LogValue<'a>)];

/// The fields of a line, kept with its text.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Details {
    /// How many bytes at the start of the text name the connection that the line is about.
    prefix: usize,
    /// The members, as JSON writes them.
    members: String,
}

impl Details {
    /// The details of a line. `prefix` is what the text begins with, if it names a connection, and
    /// how many bytes that has.
    pub fn new(prefix: Option<(&Prefix<'_>, usize)>, fields: LogFields<'_>) -> Details {
        let mut json = Json::default();
        if let Some((prefix, _)) = prefix {
            push_prefix(&mut json, prefix);
        }
        for (name, value) in fields {
            match value {
                LogValue::Number(number) => json.key(name).number(*number),
                LogValue::Text(text) => json.key(name).text(text),
            };
        }
        Details { prefix: prefix.map_or(0, |(_, length)| length), members: json.into_text() }
    }
}

fn push_prefix(json: &mut Json, prefix: &Prefix<'_>) {
    json.key("connection").text(&prefix.connection());
    match prefix.who {
        ConnectionOwner::Login { database, user } => {
            for (name, value) in [("database", database), ("user", user)] {
                if let Some(value) = value {
                    json.key(name).text(value);
                }
            }
        }
        ConnectionOwner::Pooler { id } => {
            json.key("peer").number(id.into());
        }
    }
    let is_nowhere = prefix.side == ConnectionSide::Server && prefix.peer == PeerAddress::NOWHERE;
    if !is_nowhere {
        json.key("address").text(&prefix.peer.to_string());
    }
}

/// A line before it is formatted.
#[derive(Clone, Copy, Debug)]
pub struct LogMessage<'a> {
    pub text: &'a str,
    pub details: Option<&'a Details>,
}

impl<'a> LogMessage<'a> {
    /// The text without the words that name the connection.
    pub(super) fn bare(self) -> &'a str {
        let from = self.details.map_or(0, |details| details.prefix);
        self.text.get(from..).unwrap_or(self.text)
    }

    pub(super) fn members(self) -> &'a str {
        self.details.map_or("", |details| &details.members)
    }
}
