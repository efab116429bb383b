//! The terms of a client's statements.

use super::Core;
use crate::pool::ids::ClientId;
use crate::pool::statements::table::Terms;

impl Core {
    /// What decides on the meaning of a text that the client prepares now.
    pub(in crate::pool) fn terms(&self, id: ClientId) -> Option<Terms> {
        let client = &self.clients[id];
        let database = self.pools[client.pool()?].database;
        let settings = self.vars.readings(&client.vars.told);
        Some(self.statements.terms(settings, self.databases[database].remote_name()))
    }
}
