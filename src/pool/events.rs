//! The notable things of late, for the console: what happened ([`Event`]), and what went wrong how
//! often ([`Tally`]). Memory is bounded: old events make room for new ones, reasons are few, and
//! texts that came from outside are cut.

use std::collections::VecDeque;
use std::time::Duration;

use super::core::{Core, DatabaseId, UserId};
use crate::base::time::Moment;

/// Events kept.
const MOST_EVENTS: usize = 200;

/// Distinct reasons counted; further ones are not.
const MOST_REASONS: usize = 300;

/// Bytes kept of a text.
const LONGEST_TEXT: usize = 500;

/// What changes of one RELOAD are named; the log has them all.
const MOST_CHANGES: usize = 10;

/// A limit is noted no more often than this: at a limit, every query meets it.
const LIMIT_PAUSE: Duration = Duration::from_secs(1);

/// Something that an operator may want to know later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The last time, in microseconds since 1970.
    pub wall_us: u64,
    /// How often, for what is noted once for many times.
    pub count: u64,
    pub text: String,
}

/// A limit that somebody met.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Limit {
    Clients,
    DatabaseClients(DatabaseId),
    DatabaseServers(DatabaseId),
    UserClients(UserId),
    UserServers(UserId),
}

/// On which side of the pooler something went wrong.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Concern {
    /// A client was told.
    Client,
    /// A server was closed.
    Server,
}

/// How often a reason was met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub concern: Concern,
    pub reason: String,
    pub count: u64,
    /// Microseconds since 1970.
    pub last_us: u64,
    /// Whom it met last.
    pub database: String,
    pub user: String,
    pub detail: String,
}

/// What is met, and by whom.
#[derive(Clone, Copy)]
pub struct Met<'a> {
    pub concern: Concern,
    /// What is counted as one.
    pub kind: &'a str,
    pub database: &'a str,
    pub user: &'a str,
    /// What it was this time.
    pub detail: &'a str,
}

#[derive(Debug, Default)]
pub struct Events {
    pub events: VecDeque<Event>,
    pub tallies: Vec<Tally>,
    /// When the limit of the whole process was noted last.
    limit_noted: Option<Moment>,
}

impl Core {
    /// Notes something notable.
    pub fn note_event(&mut self, text: &str) {
        self.events.push(self.now.wall_us, 1, cut(text));
    }

    /// Notes something that may come many times in a row: the same is noted once, with a count.
    pub fn note_repeating(&mut self, text: &str) {
        let text = cut(text);
        let events = &mut self.events.events;
        let before = events.iter().position(|event| event.text == text);
        let count = before.and_then(|at| events.remove(at)).map_or(0, |event| event.count);
        self.events.push(self.now.wall_us, count + 1, text);
    }

    /// Notes that a limit was met, unless it was noted just before.
    pub(super) fn note_limit(&mut self, limit: Limit) {
        let now = self.mono();
        let noted = match limit {
            Limit::Clients => &mut self.events.limit_noted,
            Limit::DatabaseClients(id) | Limit::DatabaseServers(id) => {
                &mut self.databases[id].limit_noted
            }
            Limit::UserClients(id) | Limit::UserServers(id) => &mut self.users[id].limit_noted,
        };
        if noted.is_some_and(|noted| now.since(noted) < LIMIT_PAUSE) {
            return;
        }
        *noted = Some(now);
        let text = format!("limit reached: {}", self.limit_words(limit));
        self.note_repeating(&text);
    }

    /// A limit by the name of its setting, its value, and whom it concerns.
    pub(super) fn limit_words(&self, limit: Limit) -> String {
        let database = |id: DatabaseId| &self.databases[id].line.name;
        let user = |id: UserId| &self.users[id].name;
        match limit {
            Limit::Clients => format!("max_client_conn is {}", self.settings().max_client_conn),
            Limit::DatabaseClients(id) => {
                let most = self.max_db_client_connections(id);
                format!("max_db_client_connections of database {} is {most}", database(id))
            }
            Limit::DatabaseServers(id) => {
                let most = self.max_db_connections(id);
                format!("max_db_connections of database {} is {most}", database(id))
            }
            Limit::UserClients(id) => {
                let most = self.max_user_client_connections(id);
                format!("max_user_client_connections of user {} is {most}", user(id))
            }
            Limit::UserServers(id) => {
                let most = self.max_user_connections(id);
                format!("max_user_connections of user {} is {most}", user(id))
            }
        }
    }

    /// Notes what a RELOAD has changed.
    pub fn note_reload(&mut self, changes: &[String]) {
        let text = match changes.len() {
            0 => "RELOAD: nothing changed".to_owned(),
            count if count <= MOST_CHANGES => format!("RELOAD: {}", changes.join("; ")),
            count => {
                let first = changes[..MOST_CHANGES].join("; ");
                format!("RELOAD: {first}; and {} more", count - MOST_CHANGES)
            }
        };
        self.note_event(&text);
    }

    /// Counts what was met.
    pub fn tally(&mut self, met: Met<'_>) {
        let last_us = self.now.wall_us;
        let tallies = &mut self.events.tallies;
        let is_same = |tally: &Tally| tally.concern == met.concern && tally.reason == met.kind;
        let at = match tallies.iter().position(is_same) {
            Some(at) => at,
            None if tallies.len() >= MOST_REASONS => return,
            None => {
                tallies.push(Tally::new(met));
                tallies.len() - 1
            }
        };
        let tally = &mut tallies[at];
        tally.count += 1;
        tally.last_us = last_us;
        cut(met.database).clone_into(&mut tally.database);
        cut(met.user).clone_into(&mut tally.user);
        cut(met.detail).clone_into(&mut tally.detail);
    }
}

impl Tally {
    fn new(met: Met<'_>) -> Tally {
        Tally {
            concern: met.concern,
            reason: met.kind.to_owned(),
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
    fn push(&mut self, wall_us: u64, count: u64, text: &str) {
        if self.events.len() == MOST_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(Event { wall_us, count, text: text.to_owned() });
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(LONGEST_TEXT)).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}
