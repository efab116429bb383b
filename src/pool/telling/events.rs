//! Recent notable events ([`Event`]) and how often each reason was met ([`ReasonTally`]), for the
//! console. Memory is bounded: old events make room for new ones, reasons are few, and texts from
//! outside are cut.

use std::collections::VecDeque;

use crate::base::time::Moment;
use crate::pool::ids::{DatabaseId, UserId};

/// Events that are kept.
const MOST_EVENTS: usize = 200;

/// The longest text that is kept, in bytes.
const LONGEST_TEXT_BYTES: usize = 500;

/// Something that an operator may want to know later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// When the event last happened, in microseconds since 1970.
    pub wall_us: u64,
    /// How often the event happened, where repetitions are noted as one event.
    pub count: u64,
    pub text: String,
}

/// A limit that a client or a pool has reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(in crate::pool) enum ReachedLimit {
    Clients,
    DatabaseClients(DatabaseId),
    DatabaseServers(DatabaseId),
    UserClients(UserId),
    UserServers(UserId),
}

/// On which side of the pooler something went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Concern {
    /// A client was told the reason.
    Client,
    /// A server was closed for the reason.
    Server,
}

/// How often a reason was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReasonTally {
    pub concern: Concern,
    pub reason: String,
    /// The SQLSTATE that clients were sent; empty for servers.
    pub sqlstate: &'static str,
    /// Advice on what would help, where there is any.
    pub hint: Option<&'static str>,
    /// The reason is a fault: it does not end connections in normal operation.
    pub is_trouble: bool,
    pub count: u64,
    /// Microseconds since 1970.
    pub last_us: u64,
    /// The database, user and detail of the last time.
    pub database: String,
    pub user: String,
    pub detail: String,
}

/// One occurrence of a reason, and the connection that met it.
#[derive(Clone, Copy)]
pub struct MetReason<'a> {
    pub concern: Concern,
    /// The name under which the reason is counted.
    pub kind: &'a str,
    pub sqlstate: &'static str,
    pub hint: Option<&'static str>,
    pub is_trouble: bool,
    pub database: &'a str,
    pub user: &'a str,
    /// The words of this occurrence.
    pub detail: &'a str,
}

#[derive(Debug, Default)]
pub struct Events {
    pub events: VecDeque<Event>,
    pub tallies: Vec<ReasonTally>,
    /// When the limit of the whole process was last noted.
    pub(in crate::pool) limit_noted: Option<Moment>,
}

impl ReasonTally {
    pub(in crate::pool) fn new(met: MetReason<'_>) -> ReasonTally {
        ReasonTally {
            concern: met.concern,
            reason: met.kind.to_owned(),
            sqlstate: met.sqlstate,
            hint: met.hint,
            is_trouble: met.is_trouble,
            count: 0,
            last_us: 0,
            database: String::new(),
            user: String::new(),
            detail: String::new(),
        }
    }
}

impl Concern {
    pub fn word(self) -> &'static str {
        match self {
            Concern::Client => "client",
            Concern::Server => "server",
        }
    }
}

impl Events {
    pub(in crate::pool) fn push(&mut self, wall_us: u64, count: u64, text: &str) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { wall_us, count, text: text.to_owned() });
    }
}

pub(in crate::pool) fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST_TEXT_BYTES)).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}
