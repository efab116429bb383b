//! What helps those who read an error: the DETAIL of what clients are told, and the figures behind
//! SHOW ERRORS. The words of the error itself stay as they are known.

use std::time::Duration;

use crate::pool::core::plan::{Plan, Shortage};
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::telling::events::{Concern, MetReason, ReachedLimit};
use crate::pool::telling::reason::Reason;
use crate::wire::sqlstate;

impl Core {
    /// The DETAIL of a reason that a client is told. Nothing here may help somebody who has not
    /// logged in: at that point no more is told than a limit that the words name already.
    pub(super) fn explain(&self, id: ClientId, reason: &Reason) -> Option<String> {
        let client = &self.clients[id];
        let lasts = |name: &str, limit: Duration| Some(format!("{name} is {}.", seconds(limit)));
        match reason {
            Reason::MaxClientConn => Some(sentence(&self.limit_words(ReachedLimit::Clients))),
            Reason::DatabaseClientsExceeded => {
                let database =
                    self.directory.find_database(&client.login()?.names.as_ref()?.database)?;
                Some(sentence(&self.limit_words(ReachedLimit::DatabaseClients(database))))
            }
            Reason::UserClientsExceeded => {
                // The console's own limits are told by name only.
                let names = client.login()?.names.as_ref().filter(|n| n.database != CONSOLE)?;
                let user = self.directory.find_user(&names.user)?;
                Some(sentence(&self.limit_words(ReachedLimit::UserClients(user))))
            }
            Reason::CachedLoginError(_) => {
                let (_, retry_at) = self.failure(client.pool()?)?;
                let wait = retry_at.since(self.mono());
                Some(format!("The next attempt to log in follows in {}.", seconds(wait)))
            }
            Reason::ClientLoginTimeoutDown => client.pool().map(|pool| self.why_no_server(pool)),
            Reason::ClientIdleTimeout => {
                lasts("client_idle_timeout", self.limits().client_idle_timeout(client))
            }
            Reason::IdleTransactionTimeout => {
                lasts("idle_transaction_timeout", self.limits().idle_transaction_timeout(client))
            }
            Reason::QueryTimeout => lasts("query_timeout", self.limits().query_timeout(client)),
            Reason::TransactionTimeout => {
                lasts("transaction_timeout", self.limits().transaction_timeout(client))
            }
            _ => None,
        }
    }

    /// What the queue of a pool waits for, in words.
    pub fn why_no_server(&self, id: PoolId) -> String {
        let pool = &self.pools[id];
        let name = self.pool_name(id);
        if self.is_held_back(pool.database) {
            return format!("Pool {name} is paused.");
        }
        let failure = self.failure(id).map(|(message, _)| message);
        if let Some(message) = failure.filter(|_| pool.working_count() == 0) {
            return format!("Pool {name} has no server: last login error: {message}");
        }
        let size = match self.limits().pool_size(id) {
            0 => "unlimited".to_owned(),
            size => size.to_string(),
        };
        let busy = pool.active.len();
        let oldest = pool.active.iter(&self.servers).map(|id| self.servers[id].busy_since()).min();
        let oldest = oldest.map_or(String::new(), |start| {
            format!(", oldest transaction {}s", self.mono().since(start).as_secs())
        });
        let limit = match self.planner().plan(id) {
            Plan::Await(Shortage::Limit(limit)) => format!("; {}", self.limit_words(limit)),
            _ => String::new(),
        };
        let refused = failure.map_or(String::new(), |message| {
            format!("; no more could be opened: last login error: {message}")
        });
        format!("Pool {name} (pool_size {size}): {busy} servers busy{oldest}{limit}{refused}.")
    }

    /// DETAIL and HINT of words that a server has said to the pooler's own login.
    pub(super) fn explain_refusal(
        &self,
        id: ClientId,
        sqlstate: &str,
    ) -> (Option<String>, Option<&'static str>) {
        let client = &self.clients[id];
        let Some(pool) = client.pool() else { return (None, None) };
        let user = &self.users[self.pools[pool].user].name;
        let detail = format!("PostgreSQL said this to the pooler, which logged in as user {user}.");
        (Some(detail), refusal_hint(sqlstate))
    }

    /// Counts what a client is told.
    pub(super) fn tally_client(&mut self, id: ClientId, reason: &Reason, detail: Option<&str>) {
        let (database, user) = self.names_of(id);
        let (database, user) =
            (database.unwrap_or_default().to_owned(), user.unwrap_or_default().to_owned());
        let words = reason.words();
        let detail = detail.or(reason.text()).unwrap_or_default();
        let kind = reason.kind().unwrap_or(&words);
        if !self.clients[id].is_logged_in() {
            self.failed_logins += 1;
        }
        self.tally(MetReason {
            concern: Concern::Client,
            kind,
            sqlstate: reason.sqlstate(),
            hint: reason.hint(),
            is_trouble: true,
            database: &database,
            user: &user,
            detail,
        });
    }

    /// Counts why a server is closed.
    pub(super) fn tally_server(&mut self, id: ServerId, reason: &Reason) {
        let server = &self.servers[id];
        let pool = &self.pools[server.pool];
        let database = self.databases[pool.database].line.name.clone();
        let user = self.users[pool.user].name.clone();
        let words = reason.words();
        let detail = match reason.text() {
            Some(text) => format!("{}: {text}", server.peer),
            None => server.peer.to_string(),
        };
        let kind = reason.kind().unwrap_or(&words);
        self.tally(MetReason {
            concern: Concern::Server,
            kind,
            sqlstate: "",
            hint: None,
            is_trouble: !reason.is_routine(),
            database: &database,
            user: &user,
            detail: &detail,
        });
    }
}

/// What helps against a server's refusal of the pooler's own login.
pub fn refusal_hint(state: &str) -> Option<&'static str> {
    match state {
        sqlstate::INVALID_PASSWORD | sqlstate::INVALID_AUTHORIZATION => Some(
            "Compare the password in auth_file, or in the database's line, with the one that \
             PostgreSQL has, and its pg_hba.conf with where the pooler comes from.",
        ),
        sqlstate::TOO_MANY_CONNECTIONS => Some(
            "PostgreSQL's max_connections must leave room for the sum of all pools: lower \
             pool_size or set max_db_connections.",
        ),
        _ => None,
    }
}

fn sentence(text: &str) -> String {
    format!("{text}.")
}

/// A time for people: whole seconds, or one decimal below ten.
pub fn seconds(time: Duration) -> String {
    match time.as_secs() {
        whole if whole >= 10 || time.subsec_millis() < 50 => format!("{whole} s"),
        _ => {
            let tenths = (time.as_secs() * 1000 + u64::from(time.subsec_millis()) + 50) / 100;
            format!("{}.{} s", tenths / 10, tenths % 10)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_short() {
        for (millis, text) in [(0, "0 s"), (1500, "1.5 s"), (3000, "3 s"), (61_900, "61 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
