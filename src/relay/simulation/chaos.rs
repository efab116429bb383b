//! Faults, and the commands of an operator.

use std::time::Duration;

use super::backend::Backend;
use super::client::{Character, Wish};
use super::program::{Profile, Program};
use super::setup::PEER;
use super::setup::{DATABASES, Weather};
use super::world::{World, client_stream, outbound_stream};
use crate::base::rng::Rng;
use crate::pool::ids::DatabaseId;
use crate::pool::records::secured::TlsModes;

impl World {
    /// Lets the faults happen that the weather contains.
    pub(super) fn go_wrong(&mut self) {
        let weather = self.setup.weather;
        if self.strikes(weather.vanishing) {
            self.let_one_vanish();
        }
        if self.strikes(weather.cancels) {
            self.cancel_one();
        }
        if self.strikes(weather.chatter)
            && let Some(number) = self.some_backend()
        {
            self.backends.entry(number).and_modify(Backend::chatter);
        }
        if self.strikes(weather.crashes) {
            self.crash_one();
        }
        if self.strikes(weather.refusals) {
            self.is_refusing = !self.is_refusing;
            self.engine.io.failing = if self.is_refusing { 3 } else { 0 };
            let is_refusing = self.is_refusing;
            self.note(|| format!("servers refuse: {is_refusing}"));
        }
        if self.strikes(weather.changes) {
            self.change_table();
        }
        if self.strikes(weather.leaps) {
            let most = if self.rng.one_in(8) { 100_000_000 } else { 2_000_000 };
            self.now.mono = self.now.mono + Duration::from_micros(self.rng.below(most));
            self.note(|| "the clock leaps".into());
        }
        self.command(&weather);
    }

    /// The table gets other columns, unless a transaction holds it.
    fn change_table(&mut self) {
        if self.backends.values().any(Backend::holds_table) {
            return;
        }
        self.all.changes += 1;
        let changes = self.all.changes;
        self.backends.values_mut().for_each(|backend| backend.see_table(changes));
        self.note(|| format!("the table changes: {changes}"));
    }

    /// Runs a command of an operator.
    fn command(&mut self, weather: &Weather) {
        self.engine.core.now = self.now;
        if self.strikes(weather.pauses) {
            let database = self.some_database();
            let is_pause = self.rng.one_in(2);
            self.note(|| format!("PAUSE {is_pause}, {database:?}"));
            match is_pause {
                true => self.engine.core.pause(database),
                false => drop(self.engine.core.resume(database)),
            }
        }
        if self.strikes(weather.reloads) {
            let config = self.setup.changed(&mut self.rng);
            self.note(|| format!("RELOAD: {:?}", config.databases));
            self.engine.core.adopt(config, self.setup.access());
            self.change_tls();
        }
        if self.strikes(weather.reconnects) {
            let database = self.some_database();
            if database.is_none() {
                self.all.defaults += 1;
            }
            self.note(|| format!("RECONNECT {database:?}"));
            self.engine.core.reconnect(database);
        }
        if self.strikes(weather.kills) {
            self.kill();
        }
    }

    /// Changes the TLS of servers.
    fn change_tls(&mut self) {
        if self.setup.shakes && self.rng.one_in(3) {
            let servers = self.some_tls_mode();
            let core = &mut self.engine.core;
            core.set_tls(TlsModes { servers, ..core.tls }, Vec::new());
            core.server_tls_changed();
            self.note(|| format!("server_tls_sslmode = {servers:?}"));
        }
    }

    fn kill(&mut self) {
        match self.rng.below(4) {
            0 => {
                let database = self.some_database();
                self.note(|| format!("KILL {database:?}"));
                self.engine.core.kill(database);
            }
            _ => {
                let Some(at) = self.some_client() else { return };
                let id = self.clients[at].id;
                self.note(|| format!("KILL_CLIENT {id:?}"));
                if self.engine.core.clients.contains(id) {
                    self.engine.core.kill_client(id);
                }
            }
        }
    }

    fn some_database(&mut self) -> Option<DatabaseId> {
        let name = DATABASES[self.rng.below(DATABASES.len() as u64) as usize].0;
        self.engine.core.directory.find_database(name).filter(|_| !self.rng.one_in(3))
    }

    fn some_backend(&mut self) -> Option<u64> {
        let at = self.rng.below(self.backends.len() as u64) as usize;
        self.backends.keys().nth(at).copied()
    }

    /// A server ends: by itself, because the connection breaks, or with a FATAL error.
    fn crash_one(&mut self) {
        let Some(number) = self.some_backend() else { return };
        let how = self.rng.below(3);
        let Some(backend) = self.backends.get_mut(&number) else { return };
        let server = backend.outbound;
        let Some(stream) = outbound_stream(&mut self.engine, server, number) else { return };
        if backend.session().is_none() || stream.is_closed {
            return;
        }
        match how {
            0 => backend.hang_up(stream),
            1 => {
                backend.hang_up(stream);
                stream.far_reset();
            }
            _ => backend.say_goodbye(stream),
        }
        self.crashes += 1;
        self.note(|| format!("server {server:?} crashes: {how}"));
    }

    fn strikes(&mut self, often: u64) -> bool {
        often > 0 && self.rng.one_in(often)
    }

    fn some_client(&mut self) -> Option<usize> {
        let here = self.clients.len() as u64;
        let at = self.rng.below(here) as usize;
        self.clients.get(at).is_some_and(|client| !client.is_over()).then_some(at)
    }

    fn let_one_vanish(&mut self) {
        let Some(at) = self.some_client() else { return };
        let (half, early) = (self.rng.one_in(4), self.rng.one_in(4));
        let client = &mut self.clients[at];
        let (index, id) = (client.index, client.id);
        let stream = client_stream(&mut self.engine, client.id, client.number);
        match stream {
            Some(stream) if half => client.half_close(stream),
            Some(_) if early => client.leave_early(),
            stream => {
                client.vanish(stream);
                self.figures.vanished += 1;
            }
        }
        self.note(|| format!("client {index} {id:?} goes away, half {half}, early {early}"));
    }

    /// Sends a cancel request: for some client, or with a wrong key.
    fn cancel_one(&mut self) {
        let Some(at) = self.some_client() else { return };
        let target = &mut self.clients[at];
        if !target.is_working() {
            return;
        }
        let mut key = target.key.clone();
        let is_wrong = self.rng.one_in(8);
        let is_peers = self.setup.has_peer && self.rng.one_in(3);
        match is_wrong {
            _ if is_peers => {
                // The place of the peer_id in a key.
                key[1..3].copy_from_slice(&PEER.to_le_bytes());
                self.figures.passed_on += 1;
            }
            // With a peer, the lowest two bits count hops, so another bit is changed.
            true => *key.last_mut().expect("who is at work has a key") ^= 4,
            false => target.shadow.cancels += 1,
        }
        let index = target.index;
        self.figures.cancels += 1;
        self.note(|| format!("a cancel request comes for client {index}, wrong {is_wrong}"));
        let character = Character {
            tls: Wish::Plain,
            fault: None,
            startup: Vec::new(),
            replication: None,
            ..self.clients[at].character.clone()
        };
        let profile = Profile {
            names: false,
            blocks: false,
            resets: false,
            rogue: false,
            big: false,
            leaves: false,
            publishes: false,
            skips: false,
            replicates: None,
        };
        let program = Program::new(self.made, profile, self.fork());
        let index = self.made;
        self.made += 1;
        self.connect_client(index, character, program, Some(&key));
    }
}
