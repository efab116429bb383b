//! What clients that wait for a server are told when its login fails.

use crate::pool::core::Core;
use crate::pool::ids::ServerId;
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::ServerState;

impl Core {
    /// Refuses the clients that wait for this login with `text`, unless other servers can serve
    /// them.
    pub(super) fn refuse_waiting(&mut self, id: ServerId, text: &str, sqlstate: &str) {
        let for_client = match self.servers[id].state() {
            ServerState::Login(login) => login.for_client,
            _ => None,
        };
        if let Some(client) = for_client {
            if self.clients.contains(client) {
                self.close_client_as(client, text, sqlstate);
            }
            return;
        }
        if self.pools[self.servers[id].pool].purpose == Purpose::Listening {
            let pool = self.servers[id].pool;
            if let Some(all) = &mut self.pools[pool].listening {
                (all.is_told, all.failure) = (true, Some(text.into()));
            }
            return self.untuned.push(pool);
        }
        if self.planner().has_lasting_server(self.servers[id].pool) {
            return;
        }
        let pool = &self.pools[self.servers[id].pool];
        let mut told = pool.waiting.ids(&self.clients);
        told.extend(pool.welcoming.ids(&self.clients));
        told.extend(pool.clients_of_queued_lookups());
        for client in told {
            self.close_client_as(client, text, sqlstate);
        }
    }
}
