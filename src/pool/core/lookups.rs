//! Lookups of auth_query on their servers: they are sent, left, and lost with their server.

use crate::log::Level;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, PoolId, ServerId};
use crate::pool::records::client::{ClientHandshake, Progress};
use crate::pool::records::lookup::{Lookup, LookupFault};
use crate::pool::records::lookups::Lookups;
use crate::pool::records::server::ServerState;
use crate::pool::telling::reason::Reason;
use crate::wire::kind::Front;

impl Core {
    /// The lookups of a pool, those under way included.
    pub(in crate::pool) fn lookups_of(&mut self, pool: PoolId) -> Lookups<'_> {
        Lookups { pool: &mut self.pools[pool], servers: &mut self.servers }
    }

    /// Runs lookups that wait on servers of their pool that are idle.
    pub(in crate::pool) fn serve_lookups(&mut self, pool: PoolId) {
        while !self.pools[pool].lookups.is_empty() && !self.is_held_back(self.pools[pool].database)
        {
            let Some(server) = self.take_idle(pool) else { return };
            self.run_lookup(server);
        }
    }

    /// Sends the query of the lookup that waits longest to a clean server.
    pub(in crate::pool) fn run_lookup(&mut self, id: ServerId) {
        let pool = self.servers[id].pool;
        let Some(lookup) = self.pools[pool].lookups.pop_front() else { return };
        for &client in &lookup.clients {
            self.set_progress(client, Progress::LookUp { pool, is_sent: true });
        }
        let bytes = lookup.messages();
        let (now, mode) = (self.mono(), self.pools[pool].mode);
        let stats = &mut self.pools[pool].stats;
        stats.assignments += 1;
        stats.wait_us += now.micros_since(lookup.since);
        self.move_server(id, ServerState::Lookup(Box::new(lookup)));
        let server = &mut self.servers[id];
        server.mode = mode;
        server.requested = now;
        server.xact_start = now;
        for kind in [Front::Parse, Front::Bind, Front::Describe, Front::Execute, Front::Sync] {
            server.replies.sent(kind);
        }
        self.act(Action::SendServer { server: id, bytes });
    }

    /// The server of a lookup has ended before its answer was complete.
    pub(in crate::pool) fn lookup_lost(
        &mut self,
        id: ServerId,
        mut lookup: Lookup,
        reason: &Reason,
    ) {
        let told = match lookup.finding() {
            Err(fault) => {
                self.log_fault(id, &fault);
                Reason::ConfigError
            }
            Ok(_) if *reason == Reason::AuthQueryFailed => Reason::ConfigError,
            Ok(_) if reason.is_told() => reason.clone(),
            Ok(_) => Reason::ServerCrashed,
        };
        let (now, pool) = (self.mono(), self.servers[id].pool);
        if let Some(next) = lookup.split_next(now) {
            self.pools[pool].lookups.push_back(next);
        }
        for client in lookup.clients {
            self.close_client(client, told.clone());
        }
        self.serve_lookups(pool);
    }

    pub(in crate::pool) fn log_fault(&mut self, id: ServerId, fault: &LookupFault) {
        self.log_server(Level::Error, id, format_args!("error in auth_query: {fault}"));
        let name = self.pool_name(self.servers[id].pool);
        self.note_repeating(&format!("auth_query of {name} failed: {fault}"));
    }

    /// A client ends. If it was the last that waited for a lookup, the query is not sent; if it is
    /// under way already, its server takes it to its end.
    pub(super) fn leave_lookup(&mut self, id: ClientId) {
        let Some(login) = self.clients[id].login() else { return };
        if let Progress::LookUp { pool, .. } = login.progress {
            self.lookups_of(pool).leave(id);
        }
    }

    pub(in crate::pool) fn set_progress(&mut self, id: ClientId, progress: Progress) {
        if let Some(login) = self.login_mut(id) {
            login.progress = progress;
        }
    }

    pub(in crate::pool) fn login_mut(&mut self, id: ClientId) -> Option<&mut ClientHandshake> {
        self.clients.get_mut(id)?.login_mut()
    }
}
