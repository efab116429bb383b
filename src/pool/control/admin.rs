//! What the console asks of the core besides PAUSE and its kin: sessions to end, databases to close
//! and to open again, a changed setting. Every record is moved by `link`.

use crate::config::Settings;
use crate::log::{ConnectionSide, ptr};
use crate::pool::core::{Action, Core, ProcessAction};
use crate::pool::ids::{ClientId, DatabaseId};
use crate::pool::records::client::{ClientState, ConsoleState};
use crate::pool::telling::reason::Reason;

impl Core {
    /// Bytes for a client, after all that it was sent before.
    pub fn send_client(&mut self, id: ClientId, bytes: Vec<u8>) {
        self.act(Action::SendClient { client: id, bytes });
    }

    /// The console session of a client that has one.
    pub fn console(&self, id: ClientId) -> Option<&ConsoleState> {
        match self.clients.get(id)?.state() {
            ClientState::Console(console) => Some(console),
            _ => None,
        }
    }

    /// The console session of a client that has one.
    pub fn console_mut(&mut self, id: ClientId) -> Option<&mut ConsoleState> {
        self.clients.get_mut(id)?.console_mut()
    }

    /// A command has come from a console session.
    pub fn count_command(&mut self, id: ClientId) {
        self.console_stats.queries += 1;
        self.console_stats.xacts += 1;
        let now = self.mono();
        if let Some(client) = self.clients.get_mut(id) {
            client.requested = now;
        }
    }

    /// The client of that number, or of that name in the `ptr` column.
    pub fn client_named(&self, name: &str) -> Option<Result<ClientId, ()>> {
        let found = |is_it: &dyn Fn(u64) -> bool| {
            let mut clients = self.clients.iter().filter(|(_, client)| !client.is_closing());
            clients.find(|(_, client)| is_it(client.number)).map(|(id, _)| id).ok_or(())
        };
        if let Some(hex) = name.strip_prefix("0x") {
            let wanted = u64::from_str_radix(hex, 16).ok()?;
            return Some(found(&|number| ptr(number, ConnectionSide::Client).0 == wanted));
        }
        let wanted = name.parse::<u64>().ok()?;
        Some(found(&|number| number == wanted))
    }

    /// KILL_CLIENT.
    pub fn kill_client(&mut self, id: ClientId) {
        self.close_client(id, Reason::AdminForcedDisconnect);
    }

    /// KILL: ends all clients and servers, of one database or of all. One database is held back
    /// from then on, until RESUME.
    pub fn kill(&mut self, database: Option<DatabaseId>) {
        self.note_event(&format!("KILL{}", self.named(database)));
        let concerned = match database {
            Some(id) => vec![id],
            None => self.databases.ids(),
        };
        if let Some(id) = database {
            self.databases[id].is_paused = true;
            self.plainness_changed();
        }
        for id in concerned {
            self.mark_active(id, &Reason::DatabaseRemoved);
            // Clients first: while one waits, a closed server would be replaced.
            self.close_clients_of(id, &Reason::DatabaseRemoved);
            self.retire_all(Some(id), &Reason::DatabaseRemoved);
        }
        self.check_waits();
    }

    /// Marks the servers that clients have: they are closed on release.
    pub(super) fn mark_active(&mut self, database: DatabaseId, reason: &Reason) {
        for id in self.servers.ids() {
            let server = &self.servers[id];
            let is_of_it = self.pools[server.pool].database == database;
            if is_of_it && server.client().is_some() {
                self.servers[id].closing = Some(reason.clone());
            }
        }
    }

    /// DISABLE: nobody logs in any more; who is there may stay.
    pub fn disable(&mut self, id: DatabaseId) {
        self.databases[id].is_disabled = true;
        self.note_event(&format!("DISABLE{}", self.named(Some(id))));
    }

    /// ENABLE.
    pub fn enable(&mut self, id: DatabaseId) {
        self.databases[id].is_disabled = false;
        self.note_event(&format!("ENABLE{}", self.named(Some(id))));
    }

    /// RECONNECT: servers close as they get free, and new ones take their places. What those
    /// report counts from now on: the defaults of a role, or of a database, may have changed.
    pub fn reconnect(&mut self, database: Option<DatabaseId>) {
        self.note_event(&format!("RECONNECT{}", self.named(database)));
        self.forget_logins(database);
        self.retire_all(database, &Reason::DatabaseChanged);
        self.look_at_all();
    }

    /// SET: one setting has another value, which has been checked.
    pub fn change_setting(&mut self, settings: Settings) {
        for change in self.settings().changes(&settings) {
            self.note_event(&format!("SET {change}"));
        }
        self.set_settings(settings);
        self.act_on_process(ProcessAction::SettingsChanged);
    }

    /// Whether a database is one that clients may ask for: not on its way out.
    pub fn is_shown(&self, id: DatabaseId) -> bool {
        !self.databases[id].is_removed
    }

    /// Whether a server was told to close as soon as it is free.
    pub fn is_close_needed(&self, id: crate::pool::ids::ServerId) -> bool {
        let server = &self.servers[id];
        server.closing.is_some() && !server.is_closing()
    }
}
