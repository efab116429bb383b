//! The core's output for people: lines for the log, which the shell writes, and for the console
//! recent events and how often each reason was met. The journal knows no record: its callers hand
//! in names.

use std::fmt;

use super::events::{Events, MetReason, ReasonTally, cut};
use crate::log::{Details, Level, LogFields, Prefix};

/// Distinct reasons that are counted; further ones are not.
const MOST_REASONS: usize = 300;

/// A line for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalLine {
    pub level: Level,
    pub text: String,
    /// The fields of the line, with `log_format = json` only.
    pub details: Option<Box<Details>>,
}

impl JournalLine {
    /// A line about the pooler itself. With `has_details` the line also carries `fields`.
    pub fn of_pooler(
        level: Level,
        text: String,
        fields: LogFields<'_>,
        has_details: bool,
    ) -> JournalLine {
        let details = has_details.then(|| Details::new(None, fields).into());
        JournalLine { level, text, details }
    }

    /// A line about a connection, which `prefix` names.
    pub fn about(
        prefix: &Prefix<'_>,
        level: Level,
        text: fmt::Arguments<'_>,
        fields: LogFields<'_>,
        has_details: bool,
    ) -> JournalLine {
        let mut whole = prefix.to_string();
        let named = Some((prefix, whole.len()));
        let details = has_details.then(|| Details::new(named, fields).into());
        // Writing to memory cannot fail.
        let _ = fmt::Write::write_fmt(&mut whole, text);
        JournalLine { level, text: whole, details }
    }
}

#[derive(Debug)]
pub struct Journal {
    /// The least important level of the lines that the shell writes.
    pub threshold: Level,
    pub events: Events,
    /// Lines that the shell has not yet taken for the log.
    lines: Vec<JournalLine>,
}

impl Default for Journal {
    fn default() -> Journal {
        Journal { threshold: Level::Log, events: Events::default(), lines: Vec::new() }
    }
}

impl Journal {
    /// Whether lines of this level are written.
    #[inline]
    pub fn hears(&self, level: Level) -> bool {
        level <= self.threshold
    }

    pub fn has_lines(&self) -> bool {
        !self.lines.is_empty()
    }

    pub fn take_lines(&mut self) -> Vec<JournalLine> {
        std::mem::take(&mut self.lines)
    }

    /// Keeps a line if its level is written.
    pub fn write(&mut self, line: JournalLine) {
        if self.hears(line.level) {
            self.lines.push(line);
        }
    }

    /// Notes an event; `wall_us` is in microseconds since 1970.
    pub fn note(&mut self, wall_us: u64, text: &str) {
        self.events.push(wall_us, 1, cut(text));
    }

    /// Notes an event that may repeat: repetitions of one text are one event with a count.
    pub fn note_repeating(&mut self, wall_us: u64, text: &str) {
        let text = cut(text);
        let events = &mut self.events.events;
        let before = events.iter().position(|event| event.text == text);
        let count = before.and_then(|at| events.remove(at)).map_or(0, |event| event.count);
        self.events.push(wall_us, count + 1, text);
    }

    /// Counts one occurrence of a reason.
    pub fn tally(&mut self, wall_us: u64, met: MetReason<'_>) {
        let tallies = &mut self.events.tallies;
        let is_same =
            |tally: &ReasonTally| tally.concern == met.concern && tally.reason == met.kind;
        let at = match tallies.iter().position(is_same) {
            Some(at) => at,
            None if tallies.len() >= MOST_REASONS => return,
            None => {
                tallies.push(ReasonTally::new(met));
                tallies.len() - 1
            }
        };
        let tally = &mut tallies[at];
        tally.count += 1;
        tally.last_us = wall_us;
        cut(met.database).clone_into(&mut tally.database);
        cut(met.user).clone_into(&mut tally.user);
        cut(met.detail).clone_into(&mut tally.detail);
    }
}

#[cfg(test)]
mod tests {
    use super::super::events::Concern;
    use super::*;
    use crate::log::{ConnectionOwner, ConnectionSide, LogValue, PeerAddress, ptr};

    #[test]
    fn a_line_of_a_level_that_is_not_written_is_not_kept() {
        let mut journal = Journal::default();
        let line = |level| JournalLine::of_pooler(level, "a line".into(), &[], false);
        journal.write(line(Level::Debug));
        assert!(!journal.has_lines());
        journal.write(line(Level::Warning));
        assert_eq!(journal.take_lines(), [line(Level::Warning)]);
        assert!(!journal.has_lines());
    }

    #[test]
    fn a_line_about_a_connection_begins_with_its_name_and_has_details_where_they_are_wanted() {
        let prefix = Prefix {
            side: ConnectionSide::Client,
            ptr: ptr(7, ConnectionSide::Client),
            who: ConnectionOwner::Login { database: Some("db"), user: Some("joe") },
            peer: PeerAddress::Unix { pid: None, port: 5432 },
        };
        let fields = &[("age", LogValue::Number(1))];
        let [plain, detailed] = [false, true].map(|has_details| {
            JournalLine::about(&prefix, Level::Log, format_args!("hello"), fields, has_details)
        });
        assert_eq!(plain.text, format!("{prefix}hello"));
        assert_eq!([plain.details.is_some(), detailed.details.is_some()], [false, true]);
    }

    #[test]
    fn the_same_event_is_noted_once_with_a_count() {
        let mut journal = Journal::default();
        for at in 1..=3 {
            journal.note_repeating(at, "limit reached");
        }
        journal.note(4, "RELOAD");
        let told: Vec<_> =
            journal.events.events.iter().map(|e| (e.wall_us, e.count, &*e.text)).collect();
        assert_eq!(told, [(3, 3, "limit reached"), (4, 1, "RELOAD")]);
    }

    #[test]
    fn reasons_are_counted_each_and_no_more_than_there_is_room_for() {
        let mut journal = Journal::default();
        let kinds: Vec<String> = (0..MOST_REASONS + 10).map(|at| format!("reason {at}")).collect();
        let met = |kind| MetReason {
            concern: Concern::Client,
            kind,
            sqlstate: "08P01",
            hint: None,
            is_trouble: true,
            database: "db",
            user: "joe",
            detail: "",
        };
        kinds.iter().chain(&kinds[..1]).for_each(|kind| journal.tally(5, met(kind)));
        assert_eq!(journal.events.tallies.len(), MOST_REASONS);
        assert_eq!((journal.events.tallies[0].count, journal.events.tallies[1].count), (2, 1));
    }
}
