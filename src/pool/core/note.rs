//! Notes what happened and what went wrong (see `events`), where it happens.

use std::time::Duration;

use crate::pool::core::Core;
use crate::pool::ids::{DatabaseId, UserId};
use crate::pool::telling::events::{MetReason, ReachedLimit};

/// A limit is noted no more often than this: at a limit, every query meets it.
const LIMIT_PAUSE: Duration = Duration::from_secs(1);

/// What changes of one RELOAD are named; the log has them all.
const MOST_CHANGES: usize = 10;

impl Core {
    /// Notes something notable.
    pub fn note_event(&mut self, text: &str) {
        self.journal.note(self.now.wall_us, text);
    }

    /// Notes something that may come many times in a row: the same is noted once, with a count.
    pub fn note_repeating(&mut self, text: &str) {
        self.journal.note_repeating(self.now.wall_us, text);
    }

    /// Notes that a limit was met, unless it was noted just before.
    pub(in crate::pool) fn note_limit(&mut self, limit: ReachedLimit) {
        let now = self.mono();
        let noted = match limit {
            ReachedLimit::Clients => &mut self.journal.events.limit_noted,
            ReachedLimit::DatabaseClients(id) | ReachedLimit::DatabaseServers(id) => {
                &mut self.databases[id].limit_noted
            }
            ReachedLimit::UserClients(id) | ReachedLimit::UserServers(id) => {
                &mut self.users[id].limit_noted
            }
        };
        if noted.is_some_and(|noted| now.since(noted) < LIMIT_PAUSE) {
            return;
        }
        *noted = Some(now);
        let text = format!("limit reached: {}", self.limit_words(limit));
        self.note_repeating(&text);
    }

    /// A limit by the name of its setting, its value, and whom it concerns.
    pub(in crate::pool) fn limit_words(&self, limit: ReachedLimit) -> String {
        let database = |id: DatabaseId| &self.databases[id].line.name;
        let user = |id: UserId| &self.users[id].name;
        match limit {
            ReachedLimit::Clients => {
                format!("max_client_conn is {}", self.settings().max_client_conn)
            }
            ReachedLimit::DatabaseClients(id) => {
                let most = self.limits().max_db_client_connections(id);
                format!("max_db_client_connections of database {} is {most}", database(id))
            }
            ReachedLimit::DatabaseServers(id) => {
                let most = self.limits().max_db_connections(id);
                format!("max_db_connections of database {} is {most}", database(id))
            }
            ReachedLimit::UserClients(id) => {
                let most = self.limits().max_user_client_connections(id);
                format!("max_user_client_connections of user {} is {most}", user(id))
            }
            ReachedLimit::UserServers(id) => {
                let most = self.limits().max_user_connections(id);
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
    pub fn tally(&mut self, met: MetReason<'_>) {
        self.journal.tally(self.now.wall_us, met);
    }
}
