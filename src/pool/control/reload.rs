//! A configuration becomes the one in force: at start, by RELOAD, and one setting by SET.
//!
//! The new configuration is compared with the records. Databases that it no longer names are
//! removed: their clients are closed, and their servers as soon as they are free.

use crate::base::places::Places;
use crate::config::{Config, DatabaseLine, Settings};
use crate::pool::core::{Core, ProcessAction};
use crate::pool::ids::{ClientId, DatabaseId};
use crate::pool::records::access::Access;
use crate::pool::records::database::sites_of;
use crate::pool::records::pool::{Pool, Purpose};
use crate::pool::records::site::Health;
use crate::pool::telling::reason::Reason;

impl Core {
    /// Puts a configuration and what belongs to it in force.
    pub fn adopt(&mut self, config: Config, mut access: Access) {
        let had_other_tls = has_other_tls(self.settings(), &config.settings);
        self.config = config;
        self.generation += 1;
        self.adopt_users(&mut access);
        self.access = access;
        self.adopt_databases();
        for peer in self.peers.ids() {
            self.forget_peer_if_gone(peer);
        }
        self.renew_policies();
        self.renew_servers(had_other_tls);
        self.look_at_all();
    }

    /// One setting, by SET on the console. The value has been checked.
    pub fn set_settings(&mut self, settings: Settings) {
        let had_other_tls = has_other_tls(self.settings(), &settings);
        self.config.settings = settings;
        self.generation += 1;
        self.renew_policies();
        self.renew_servers(had_other_tls);
        self.look_at_all();
    }

    /// Renews the pool modes that pools and servers keep, when servers are too old, and whether
    /// sessions are watched: they are asked for in each transaction.
    fn renew_policies(&mut self) {
        self.watches_sessions = self.has_session_policy();
        self.plainness_changed();
        for id in self.pools.ids() {
            let Pool { database, user, .. } = self.pools[id];
            self.pools[id].mode = self.limits().mode_of(database, user);
        }
        for id in self.servers.ids() {
            self.set_end_of_life(id);
            let server = &self.servers[id];
            self.servers[id].mode = match (server.client(), server.lookup()) {
                (Some(client), _) => self.client_mode(&self.clients[client]),
                (None, Some(_)) => self.pools[server.pool].mode,
                (None, None) => continue,
            };
        }
    }

    /// Servers that were opened under other TLS settings must not go on as they are.
    fn renew_servers(&mut self, is_needed: bool) {
        if is_needed {
            self.tls_generation = self.generation;
            self.forget_logins(None);
            self.retire_all(None, &Reason::DatabaseChanged);
        }
    }

    /// Other limits may hold from now on: wakes every pool, opens what it needs, and has the sweep
    /// run in this turn.
    pub(super) fn look_at_all(&mut self) {
        for id in self.databases.ids() {
            self.ensure_forced_pool(id);
        }
        for id in self.pools.ids() {
            self.wake_pool(id);
            self.launch(id);
        }
        self.sweep_at = Default::default();
    }

    fn adopt_databases(&mut self) {
        let lines = self.config.databases.iter().filter(|line| !line.is_fallback());
        let named = Places::of(&mut lines.clone().map(|line| line.name.as_str()));
        // Of thousands of lines a RELOAD changes a few.
        let is_new = |line: &&DatabaseLine| match self.directory.find_database(&line.name) {
            Some(id) => self.databases[id].is_auto || self.databases[id].line != **line,
            None => true,
        };
        let changed: Vec<DatabaseLine> = lines.filter(is_new).cloned().collect();
        for id in self.databases.ids() {
            let database = &self.databases[id];
            if named.get(&database.line.name).is_none() {
                self.drop_or_renew(id);
            }
        }
        for line in changed {
            self.adopt_database(line);
        }
    }

    /// A database that no line names: made from `*`, it follows that line; else it goes.
    fn drop_or_renew(&mut self, id: DatabaseId) {
        let name = self.databases[id].line.name.clone();
        let is_auto = self.databases[id].is_auto;
        match self.fallback_line(&name) {
            Some(line) if is_auto => self.change_database(id, line),
            _ => self.remove_database(id),
        }
    }

    fn remove_database(&mut self, id: DatabaseId) {
        if !self.registrar().remove_database(id) {
            return;
        }
        for pool in self.pools_of(id) {
            self.wake_pool(pool);
        }
        self.log_dropped(id);
        self.note_event(&format!("database {} removed", self.databases[id].line.name));
        self.mark_active(id, &Reason::DatabaseRemoved);
        // Clients first: while one waits, a closed server would be replaced.
        self.close_clients_of(id, &Reason::DatabaseRemoved);
        self.retire_all(Some(id), &Reason::DatabaseRemoved);
    }

    /// Ends all clients of a database.
    pub(super) fn close_clients_of(&mut self, id: DatabaseId, reason: &Reason) {
        for pool in self.pools_of(id) {
            let record = &self.pools[pool];
            let has_server = |id: &ClientId| self.clients[*id].server().is_some();
            let settled = record.settled.iter(&self.clients);
            let (active, mut told) = settled.partition::<Vec<_>, _>(has_server);
            told.extend(record.waiting.ids(&self.clients));
            told.extend(record.welcoming.ids(&self.clients));
            told.extend(active);
            told.extend(self.pools[pool].lookup_clients(&self.servers));
            for client in told {
                self.close_client(client, reason.clone());
            }
        }
    }

    fn adopt_database(&mut self, line: DatabaseLine) {
        match self.directory.find_database(&line.name) {
            Some(id) => {
                self.registrar().keep_database(id);
                self.change_database(id, line);
            }
            None => {
                self.registrar().insert_database(line);
            }
        }
    }

    /// The pool of a database that names its user may have to be filled before any client comes.
    fn ensure_forced_pool(&mut self, id: DatabaseId) {
        let database = &self.databases[id];
        let minimum = database.line.min_pool_size.unwrap_or(self.settings().min_pool_size);
        let is_wanted = minimum > 0 && !database.is_removed;
        if let Some(user) = database.forced_user.filter(|_| is_wanted) {
            self.ensure_pool(id, user, Purpose::Clients);
        }
    }

    /// A line that differs in where it leads to, or as whom, makes the open servers obsolete.
    fn change_database(&mut self, id: DatabaseId, line: DatabaseLine) {
        let old = std::mem::replace(&mut self.databases[id].line, line);
        let is_rerouted = leads_elsewhere(&old, &self.databases[id].line);
        let clients_change = old.user != self.databases[id].line.user;
        if !is_rerouted {
            return;
        }
        let database = &mut self.databases[id];
        let socket_dir = &self.config.settings.unix_socket_dir;
        database.sites = sites_of(&database.line, socket_dir, &mut self.sites);
        database.next_site = 0;
        for site in &database.sites {
            self.sites[*site].health = Health::Well;
        }
        let name = database.line.name.clone();
        self.note_event(&format!("database {name} changed"));
        self.forget_logins(Some(id));
        self.retire_all(Some(id), &Reason::DatabaseChanged);
        if clients_change {
            self.close_clients_of(id, &Reason::DatabaseChanged);
        }
        self.registrar().adopt_forced_user(id);
    }

    /// Asks the shell to read the files anew. The console session that wants to know is told by
    /// [`Action::ConsoleDone`](crate::pool::core::Action::ConsoleDone).
    pub fn ask_for_reload(&mut self, client: Option<ClientId>) {
        self.act_on_process(ProcessAction::Reload { client });
    }
}

/// Whether the settings for TLS to servers differ.
fn has_other_tls(old: &Settings, new: &Settings) -> bool {
    old.changes(new).iter().any(|change| change.row.name.starts_with("server_tls"))
}

/// The keys of a line by which servers are opened. Where one has changed, open servers are of no
/// use.
const OF_SERVERS: [&str; 17] = [
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "client_encoding",
    "datestyle",
    "timezone",
    "application_name",
    "connect_query",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "sslnegotiation",
    "channel_binding",
    "server_auth_methods",
];

/// Whether servers of the one line are of no use under the other.
fn leads_elsewhere(old: &DatabaseLine, new: &DatabaseLine) -> bool {
    old.changes(new).iter().any(|change| OF_SERVERS.contains(&change.row.name))
}
