//! Invariants after every step, and at the end.

use std::time::Duration;

use super::client::SimClient;
use super::world::{Seen, World, outbound_stream};
use crate::config::{PoolMode, SessionState};
use crate::pool::ids::{Outbound, PoolId, ServerId};
use crate::pool::records::carrier::Carrier;
use crate::pool::records::client::Client;
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::{Server, ServerState, Test};
use crate::pool::records::wait::Shutdown;

/// The size of the relay's read block, in bytes.
const BLOCK_BYTES: usize = 64 * 1024;

impl World {
    pub(super) fn check(&mut self) -> Result<(), String> {
        self.engine.core.check();
        self.count_rescues();
        self.check_free_servers()?;
        self.check_cancels()?;
        self.check_private()?;
        self.check_places()?;
        self.check_outlived()?;
        self.check_memory()?;
        self.check_runs()?;
        self.check_tables()
    }

    /// All that is known of a client that is stuck.
    pub(super) fn describe_client(&self, client: &SimClient) -> String {
        let core = &self.engine.core;
        let mut text = client.describe();
        if let Some(record) = core.clients.get(client.id) {
            text += &format!("\n    core: {:?}", record.state());
            if let Some(pool) = record.pool().filter(|_| record.server().is_none()) {
                text += &self.describe_pools(pool);
            }
            let server = record.server().and_then(|id| core.servers.get(id));
            if let Some(server) = server {
                let (own, untouched) = (server.own, server.is_untouched);
                text += &format!(", {own:?}, untouched {untouched}, {:?}", server.replies);
            }
        }
        if let Some(conn) = self.engine.clients.get(client.id) {
            let (carry, unsent) = (conn.carry().len(), conn.unsent());
            let held = self.engine.core.clients.get(client.id).and_then(Client::hold);
            let (readable, want, inbound) = (conn.is_readable, conn.want, conn.inbound);
            text += &format!(", stream {}", conn.stream.describe());
            text += &format!(
                "\n    relay: held {held:?}, carry {carry}, unsent {unsent}, readable {readable}, \
                 want {want}, {inbound:?}"
            );
        }
        text
    }

    fn describe_pools(&self, id: PoolId) -> String {
        let core = &self.engine.core;
        let (database, user) = (core.pools[id].database, core.pools[id].user);
        let limits = [
            core.limits().pool_size(id),
            core.limits().min_pool_size(id),
            core.limits().max_db_connections(database),
            core.limits().max_user_connections(user),
        ];
        let mut text = format!(", size, min, db, user {limits:?}, {}", core.why_no_server(id));
        for (other, pool) in core.pools.iter() {
            if pool.database == database || pool.user == user {
                let (idle, used, tested) = (pool.idle.len(), pool.used.len(), pool.tested.len());
                let (active, logging_in) = (pool.active.len(), pool.logging_in.len());
                let (waiting, welcome) = (pool.waiting.len(), pool.welcome.is_some());
                let (canceled, failing) = (pool.being_canceled.len(), core.failure(other));
                let rest = pool.rest;
                text += &format!(
                    "\n    pool {other:?}: {idle} idle, {used} used, {tested} tested, \
                     {active} active, {logging_in} logging in, {canceled} being cancelled, \
                     {waiting} wait, welcome {welcome}, {rest:?}, {failing:?}"
                );
            }
        }
        text
    }

    /// After the last client: no peer has left anything over.
    pub(super) fn close_down(&mut self) -> Result<(), String> {
        self.check_shutdown()?;
        if self.has_ended() {
            return Ok(());
        }
        let config = super::setup::load("[pgbouncer]\nlisten_addr = 127.0.0.1\n");
        self.engine.core.now = self.now;
        self.engine.core.adopt(config, self.setup.access());
        for _ in 0..3000 {
            self.now.mono = self.now.mono + Duration::from_millis(10);
            let core = &self.engine.core;
            let is_deserted = core.clients.is_empty() && core.outbound_count() == 0;
            if is_deserted && core.pools.is_empty() && core.databases.is_empty() {
                break;
            }
            self.step()?;
        }
        let core = &self.engine.core;
        let left = [
            ("clients", core.clients.len()),
            ("servers", core.servers.len()),
            ("carriers", core.carriers.len()),
            ("peers", core.peers.len()),
            ("pools", core.pools.len()),
            ("databases", core.databases.len()),
            ("statements", core.statements.len()),
            ("values", core.vars.usage().texts),
            ("sets of values", core.vars.usage().sets),
        ];
        match left.iter().find(|(_, count)| *count > 0) {
            Some((name, count)) => {
                let servers: Vec<_> = core.servers.iter().map(|(id, s)| (id, s.state())).collect();
                Err(format!("{count} {name} are left; servers {servers:?}"))
            }
            None => Ok(()),
        }
    }

    /// The process ends once the event it was told to wait for has come, and not before.
    fn check_shutdown(&mut self) -> Result<(), String> {
        let core = &self.engine.core;
        let sessions = core.servers.iter().filter(|(_, server)| server.is_session()).count();
        let (clients, has_ended) = (core.client_count, self.has_ended());
        let is_over = match self.setup.weather.shutdown {
            None => return if has_ended { Err("it ends of itself".into()) } else { Ok(()) },
            Some(Shutdown::WaitForServers) => sessions == 0,
            Some(_) => clients == 0,
        };
        if has_ended != is_over {
            return Err(format!("{clients} clients, {sessions} sessions, over: {has_ended}"));
        }
        Ok(())
    }

    /// Counts servers that survive their rescue. Their state is checked as that of every free
    /// server.
    fn count_rescues(&mut self) {
        let servers = &self.engine.core.servers;
        let is_abandoned = |id: ServerId| match servers.get(id).map(|server| server.state()) {
            Some(ServerState::Tested(Test::Abandoned(_))) => Some(true),
            Some(ServerState::Closing) | None => None,
            Some(_) => Some(false),
        };
        let over = self.abandoned.iter().filter(|id| is_abandoned(**id) == Some(false));
        self.figures.rescued += over.count();
        let ids = servers.ids().into_iter();
        self.abandoned = ids.filter(|id| is_abandoned(*id) == Some(true)).collect();
    }

    /// A cancel request goes out while its target runs what the client has asked for, and not after
    /// that: the next query of the client is not what it asked to cancel, and nor is a query of the
    /// pooler's own. A server answers only between two turns, so that one which runs nothing at the
    /// end of both ran nothing between them either.
    fn check_cancels(&mut self) -> Result<(), String> {
        let core = &self.engine.core;
        let is_at_rest = |server: &Server| server.is_closing() || !server.runs_its_clients();
        for &(id, target) in &self.seen.unsent {
            let is_sent = core.carriers.get(id).is_some_and(Carrier::is_sent);
            let rests = core.servers.get(target).is_some_and(is_at_rest);
            if is_sent && rests && self.seen.at_rest.contains(&target) {
                let own = core.servers.get(target).map(|server| server.own);
                return Err(format!("{id:?} was sent to cancel nothing on {target:?}: {own:?}"));
            }
        }
        let carriers = core.carriers.iter().filter(|(_, carrier)| !carrier.is_sent());
        let servers = core.servers.iter().filter(|(_, server)| is_at_rest(server));
        self.seen = Seen {
            unsent: carriers.filter_map(|(id, carrier)| Some((id, carrier.target()?))).collect(),
            at_rest: servers.map(|(id, _)| id).collect(),
        };
        Ok(())
    }

    /// A server that waits for the next client owes nothing to the last one.
    fn check_free_servers(&mut self) -> Result<(), String> {
        for (&number, backend) in &self.backends {
            let Outbound::Server(id) = backend.outbound else { continue };
            let Some(server) = self.engine.core.servers.get(id) else { continue };
            if !matches!(server.state(), ServerState::Idle | ServerState::Used) || backend.is_over()
            {
                continue;
            }
            let is_listener = self.engine.core.pools[server.pool].purpose == Purpose::Listening;
            let is_shared = self.setup.shares && server.mode != PoolMode::Session && !is_listener;
            let traces = backend.session().map(|session| &session.parameters.traces);
            if is_shared && traces.is_some_and(|traces| traces.channels().next().is_some()) {
                return Err(format!("server {:?} is free, and listens", backend.outbound));
            }
            let on_its_way = outbound_stream(&mut self.engine, backend.outbound, number)
                .map_or(Vec::new(), |stream| stream.outbound());
            let is_clean = backend.session().is_none_or(|s| s.parameters.traces.is_empty());
            let is_clean = is_clean || is_listener;
            if self.setup.policy >= SessionState::Reset && !is_clean {
                let left = backend.session().map(|session| session.parameters.traces.show());
                return Err(format!("server {:?} is free, and has {left:?}", backend.outbound));
            }
            if !backend.is_at_rest(&on_its_way) {
                let server = backend.outbound;
                let what = backend.describe();
                return Err(format!(
                    "server {server:?} is free and not at rest: {what}, \
                     on its way {on_its_way:?}"
                ));
            }
        }
        Ok(())
    }

    /// A client whose statements follow it is told of each change of a table at most once per
    /// statement.
    fn check_outlived(&self) -> Result<(), String> {
        for client in &self.clients {
            let counts = client.shadow.outlived.values().map(|outlived| outlived.count);
            let most = counts.max().unwrap_or_default();
            if client.character.is_tracked() && most > self.all.changes {
                let (changes, client) = (self.all.changes, client.describe());
                return Err(format!("{client} was told {most} times of {changes} changes"));
            }
        }
        Ok(())
    }

    /// The bytes held of a client are bounded: by pkt_buf without a server, by the block with one,
    /// and by a Parse that is kept until it is complete. Some more are for the pooler's own
    /// messages and spare room.
    fn check_memory(&self) -> Result<(), String> {
        let pkt_buf = self.engine.core.settings().pkt_buf as usize;
        for client in &self.clients {
            let held = self.engine.held_bytes(client.id);
            let most = pkt_buf + 2 * BLOCK_BYTES + BLOCK_BYTES / 4 + 3 * client.largest_parse;
            if held > most {
                return Err(format!("{held} bytes are held of {}", client.describe()));
            }
        }
        Ok(())
    }

    /// The end of a client is noticed in the turn in which the poll reports it, unless bytes before
    /// it are still to be read. Bytes that could be judged do not wait for nothing.
    fn check_runs(&self) -> Result<(), String> {
        for client in &self.clients {
            let Some(conn) = self.engine.clients.get(client.id) else { continue };
            if conn.is_queued || conn.is_securing {
                continue;
            }
            if conn.stream.is_end_told {
                return Err(format!("an end is not noticed: {}", self.describe_client(client)));
            }
            let carry = conn.carry().len();
            let is_startup = self.engine.core.speaker(client.id).awaits_startup;
            let is_judgeable = carry > 0 && !is_startup && !conn.awaits_more(carry);
            if (conn.is_readable || is_judgeable) && self.engine.may_take(client.id) {
                return Err(format!("nobody judges: {}", self.describe_client(client)));
            }
        }
        Ok(())
    }

    /// Every record of the core has its connection, and every connection its record.
    fn check_tables(&self) -> Result<(), String> {
        for (id, _) in self.engine.core.clients.iter() {
            if self.engine.clients.get(id).is_none() {
                return Err(format!("client {id:?} has no connection"));
            }
        }
        let (clients, outbound) = self.engine.connection_counts();
        if clients != self.engine.core.clients.len() {
            return Err(format!(
                "{clients} connections of {} clients",
                self.engine.core.clients.len()
            ));
        }
        if outbound > self.engine.core.outbound_count() {
            return Err(format!("{outbound} connections of fewer servers and carriers"));
        }
        Ok(())
    }
}
