//! The terms of a client's statements, and what it takes along of its unnamed statement when it
//! lets go of its server.

use super::Core;
use crate::config::PoolMode;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::statements::table::Terms;

impl Core {
    /// Whether a server goes back to the pool before its client's session ends.
    pub(in crate::pool) fn shares_servers(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        self.pool_mode(server.pool) != PoolMode::Session && !server.is_private
    }

    /// What decides on the meaning of a text that the client prepares now.
    pub(in crate::pool) fn terms(&self, id: ClientId) -> Option<Terms> {
        let client = &self.clients[id];
        let database = self.pools[client.pool?].database;
        let settings = self.vars.readings(&client.vars);
        Some(self.statements.terms(settings, self.databases[database].remote_name()))
    }

    /// The client lets go of its server: what it may bind later goes with it.
    #[inline]
    pub(in crate::pool) fn take_unnamed_along(&mut self, id: ClientId, server: ServerId) {
        let Some(after) = self.servers[server].unnamed.result() else { return };
        let keeps_one = self.clients[id].statements.as_ref().is_some_and(|s| s.unnamed.is_some());
        if after.is_some() || keeps_one {
            self.replace_kept_unnamed(id, server);
        }
    }

    #[cold]
    fn replace_kept_unnamed(&mut self, id: ClientId, server: ServerId) {
        let Some(after) = self.servers[server].unnamed.result() else { return };
        let after = match (after, self.terms(id)) {
            (Some(text), Some(terms)) => Some(self.statements.hold(text, terms)),
            (None, _) | (_, None) => None,
        };
        let statements = self.clients[id].statements.get_or_insert_default();
        statements.keep_unnamed(&mut self.statements, after);
    }
}
