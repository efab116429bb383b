//! Queries of the pooler's own: those that give a server its client's parameters, and how any of
//! them is sent.

use crate::log::Level;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::owed::request::Request;
use crate::pool::records::server::OwnQuery;
use crate::wire::build;

/// Queries at most that give a server its client's parameters: one for each encoding of a value
/// that is not ASCII, one to come to it, and one for the others.
pub(in crate::pool) const MOST_STEPS: u8 = 16;

impl Core {
    /// Makes a server's parameters its client's. Returns whether they are; else they are being set.
    pub(in crate::pool) fn set_parameters(
        &mut self,
        client_id: ClientId,
        server_id: ServerId,
        steps: u8,
    ) -> bool {
        let (client, server) = (&mut self.clients[client_id], &mut self.servers[server_id]);
        if let Some(step) = self.vars.next_step(&client.vars, &server.vars) {
            server.own = match steps.checked_sub(1) {
                Some(more) => OwnQuery::Vars { change: Some(step.change), more },
                None => OwnQuery::VarsRefused,
            };
            self.run_own_query(server_id, &step.sql);
            return false;
        }
        let mut bytes = Vec::new();
        self.vars.agree(&mut client.vars, &server.vars, &mut bytes);
        if !bytes.is_empty() {
            self.act(Action::SendClient { client: client_id, bytes });
        }
        true
    }

    /// Sends a query of the pooler's own to a server.
    pub(in crate::pool) fn run_own_query(&mut self, id: ServerId, sql: impl AsRef<[u8]>) {
        let sql = sql.as_ref();
        if self.hears(Level::Debug) {
            let text = String::from_utf8_lossy(sql).into_owned();
            self.log_server(Level::Debug, id, format_args!("query of the pooler's own: {text}"));
        }
        let server = &mut self.servers[id];
        server.replies.push(Request::Query);
        // A simple query takes the unnamed statement away.
        server.last_client = None;
        server.unheard = 0;
        let mut bytes = Vec::new();
        build::query(&mut bytes, sql);
        self.act(Action::SendServer { server: id, bytes });
    }
}
