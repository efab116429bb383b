//! Lines for the log, which the shell writes.

use std::fmt;

use crate::config::LogFormat;
use crate::log::{ConnectionOwner, Level, LogFields};
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, Outbound, PoolId, ServerId};
use crate::pool::records::carrier::Errand;
use crate::pool::records::client;
use crate::pool::telling::journal::JournalLine;

impl Core {
    /// Lines that the log has not got yet, in order.
    pub fn take_lines(&mut self) -> Vec<JournalLine> {
        self.journal.take_lines()
    }

    pub fn has_lines(&self) -> bool {
        self.journal.has_lines()
    }

    /// Whether a line of this level is written: to be asked before words are made for one that
    /// comes often.
    #[inline]
    pub fn hears(&self, level: Level) -> bool {
        self.journal.hears(level)
    }

    pub fn log(&mut self, level: Level, text: impl Into<String>) {
        self.log_with(level, &[], text);
    }

    /// A line of which programs may want some fields apart.
    pub fn log_with(&mut self, level: Level, fields: LogFields<'_>, text: impl Into<String>) {
        if self.hears(level) {
            let line = JournalLine::of_pooler(level, text.into(), fields, self.wants_details());
            self.journal.write(line);
        }
    }

    /// A line about a client.
    pub fn log_client(&mut self, level: Level, id: ClientId, text: fmt::Arguments<'_>) {
        self.log_client_with(level, id, &[], text);
    }

    /// A line about a client, of which programs may want some fields apart.
    pub fn log_client_with(
        &mut self,
        level: Level,
        id: ClientId,
        fields: LogFields<'_>,
        text: fmt::Arguments<'_>,
    ) {
        if !self.hears(level) {
            return;
        }
        let (database, user) = self.names_of(id);
        let is_stray = |state: &client::ClientState| match state {
            client::ClientState::Login(login) => login.is_stray,
            _ => false,
        };
        let database = database.filter(|_| !is_stray(self.clients[id].state()));
        let prefix = self.clients[id].prefix(database, user);
        let line = JournalLine::about(&prefix, level, text, fields, self.wants_details());
        self.journal.write(line);
    }

    /// A line about a client under these names of database and user.
    pub fn log_as(
        &mut self,
        level: Level,
        id: ClientId,
        (database, user): (Option<&str>, Option<&str>),
        text: fmt::Arguments<'_>,
    ) {
        if !self.hears(level) {
            return;
        }
        let prefix = self.clients[id].prefix(database, user);
        let line = JournalLine::about(&prefix, level, text, &[], self.wants_details());
        self.journal.write(line);
    }

    /// A line about a server.
    pub fn log_server(&mut self, level: Level, id: ServerId, text: fmt::Arguments<'_>) {
        self.log_server_with(level, id, &[], text);
    }

    /// A line about a server, of which programs may want some fields apart.
    pub fn log_server_with(
        &mut self,
        level: Level,
        id: ServerId,
        fields: LogFields<'_>,
        text: fmt::Arguments<'_>,
    ) {
        if !self.hears(level) {
            return;
        }
        let server = &self.servers[id];
        let who = self.owner_of(server.pool);
        let line =
            JournalLine::about(&server.prefix(who), level, text, fields, self.wants_details());
        self.journal.write(line);
    }

    /// A line about a connection that the pooler has opened.
    pub fn log_outbound(&mut self, level: Level, id: Outbound, text: fmt::Arguments<'_>) {
        self.log_outbound_with(level, id, &[], text);
    }

    /// A line about a connection that the pooler has opened, with fields for programs.
    pub fn log_outbound_with(
        &mut self,
        level: Level,
        id: Outbound,
        fields: LogFields<'_>,
        text: fmt::Arguments<'_>,
    ) {
        let id = match id {
            Outbound::Carrier(id) => id,
            Outbound::Server(id) => return self.log_server_with(level, id, fields, text),
        };
        if !self.hears(level) {
            return;
        }
        let carrier = &self.carriers[id];
        let who = match carrier.errand {
            Errand::Peer { peer, .. } => {
                ConnectionOwner::Pooler { id: self.peers[peer].number.into() }
            }
            Errand::Server { pool, .. } => self.owner_of(pool),
        };
        let prefix = carrier.prefix(who);
        let line = JournalLine::about(&prefix, level, text, fields, self.wants_details());
        self.journal.write(line);
    }

    fn owner_of(&self, pool: PoolId) -> ConnectionOwner<'_> {
        let pool = &self.pools[pool];
        ConnectionOwner::Login {
            database: Some(&self.databases[pool.database].line.name),
            user: Some(&self.users[pool.user].name),
        }
    }

    fn wants_details(&self) -> bool {
        self.settings().log_format == LogFormat::Json
    }
}
