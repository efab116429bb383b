//! Logins that must derive keys from a password. The work is done in slices, so that only
//! connections that are logging in wait for it.

use crate::auth::cache::KeyName;
use crate::crypto::scram::ScramKeys;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::records::client::{ClientState, Progress};
use crate::pool::records::handshake::LoginStage;
use crate::pool::records::server::ServerState;

/// PBKDF2 iterations in one turn of the loop, for clients and for servers each: some 0.15 ms where
/// the processor has SHA-256 instructions, 0.5 ms elsewhere.
const SLICE_ITERATIONS: u32 = 1024;

impl Core {
    /// Whether keys are still to be derived, so that the loop must not sleep.
    #[inline]
    pub fn has_derivations(&self) -> bool {
        self.derivations.len() > 0
    }

    /// Does a slice of the derivations. Logins whose keys are complete go on.
    pub fn derive_keys(&mut self) {
        let clients = &self.clients;
        let waits = |id: ClientId| {
            let login = clients.get(id).map(|client| client.state());
            matches!(login, Some(ClientState::Login(login)) if login.awaits_keys())
        };
        if let Some(done) = self.derivations.clients.advance(SLICE_ITERATIONS, waits) {
            for id in done.waiting {
                self.client_has_keys(id, done.name, &done.keys);
            }
        }
        let servers = &self.servers;
        let waits = |id: ServerId| {
            let login = servers.get(id).map(|server| server.state());
            matches!(login, Some(ServerState::Login(login)) if login.awaits_keys())
        };
        if let Some(done) = self.derivations.servers.advance(SLICE_ITERATIONS, waits) {
            for id in done.waiting {
                self.server_has_keys(id, done.name, &done.keys);
            }
        }
    }

    fn client_has_keys(&mut self, id: ClientId, name: KeyName, keys: &ScramKeys) {
        let Some(login) = self.login_mut(id).filter(|login| login.awaits_keys()) else { return };
        let Progress::Deriving(next) = std::mem::take(&mut login.progress) else { return };
        let step = next.handle(name, keys.clone(), &mut self.scram);
        match self.take_step(id, step) {
            Ok(()) => self.wake(id),
            Err(reason) => self.close_client(id, reason),
        }
    }

    fn server_has_keys(&mut self, id: ServerId, name: KeyName, keys: &ScramKeys) {
        let Some(server) = self.servers.get_mut(id) else { return };
        let Some(login) = server.login_mut() else { return };
        if !login.awaits_keys() {
            return;
        }
        let LoginStage::Deriving(next) = std::mem::replace(&mut login.stage, LoginStage::Reporting)
        else {
            return;
        };
        let step = next.handle(name, keys.clone(), &mut self.scram);
        self.take_server_step(id, step);
    }
}
