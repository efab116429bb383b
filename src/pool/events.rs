//! The notable things of late, for the console: what happened ([`Event`]), and what went wrong how
//! often ([`Tally`]). Memory is bounded: old events make room for new ones, and reasons are few.

use std::collections::VecDeque;

use super::core::Core;

/// Events kept.
const MOST_EVENTS: usize = 200;

/// Distinct reasons counted; further ones are not.
const MOST_REASONS: usize = 300;

/// Something that an operator may want to know later.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Microseconds since 1970.
    pub wall_us: u64,
    pub text: String,
}

/// How often a reason ended a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tally {
    pub reason: String,
    pub count: u64,
    /// Microseconds since 1970.
    pub last_us: u64,
    /// Whom it met last.
    pub database: String,
    pub user: String,
    pub detail: String,
}

#[derive(Debug, Default)]
pub struct Events {
    pub events: VecDeque<Event>,
    pub tallies: Vec<Tally>,
}

impl Core {
    /// Notes something notable.
    pub fn note_event(&mut self, text: &str) {
        let wall_us = self.now.wall_us;
        let events = &mut self.events.events;
        if events.len() == MOST_EVENTS {
            events.pop_front();
        }
        events.push_back(Event { wall_us, text: text.to_owned() });
    }

    /// Notes that a limit was hit; once in a row of the same.
    pub(super) fn note_limit(&mut self, name: &str) {
        let text = format!("limit reached: {name}");
        let is_same = self.events.events.back().is_some_and(|event| event.text == text);
        if !is_same {
            self.note_event(&text);
        }
    }

    /// Counts a reason. `kind` is what is counted as one, `detail` is what it was this time.
    pub(super) fn tally(&mut self, kind: &str, database: &str, user: &str, detail: &str) {
        let last_us = self.now.wall_us;
        let tallies = &mut self.events.tallies;
        let at = match tallies.iter().position(|tally| tally.reason == kind) {
            Some(at) => at,
            None if tallies.len() >= MOST_REASONS => return,
            None => {
                tallies.push(Tally {
                    reason: kind.to_owned(),
                    count: 0,
                    last_us,
                    database: String::new(),
                    user: String::new(),
                    detail: String::new(),
                });
                tallies.len() - 1
            }
        };
        let tally = &mut tallies[at];
        tally.count += 1;
        tally.last_us = last_us;
        database.clone_into(&mut tally.database);
        user.clone_into(&mut tally.user);
        detail.clone_into(&mut tally.detail);
    }
}
