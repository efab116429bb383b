//! PAUSE and its kin: what the console (or a signal) asks for and the pools come to in time.

use std::time::Duration;

use crate::base::time::Moment;
use crate::log::Level;
use crate::pool::core::{Action, Core, ProcessAction};
use crate::pool::ids::{ClientId, DatabaseId};
use crate::pool::records::server::ServerState;
use crate::pool::records::wait::{Shutdown, Wait, WaitOutcome};
use crate::pool::telling::reason::Reason;

/// How often it is told whom the end of the process waits for.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// How long a connection may take to come about: three packets, one after the other. A silent one
/// that the kernel has kept back (tcp_defer_accept) comes when the kernel asks the client once
/// more, a second after it began.
const LAST_ARRIVALS: Duration = Duration::from_millis(1_500);

impl Core {
    /// Holds back all pools, or those of one database; busy servers are closed as they get free.
    pub fn pause(&mut self, database: Option<DatabaseId>) {
        match database {
            Some(id) => self.databases[id].is_paused = true,
            None => self.is_paused = true,
        }
        self.plainness_changed();
        self.note_event(&format!("PAUSE{}", self.named(database)));
        self.close_idle(database, &Reason::PauseMode);
    }

    /// Lets the pools work again. Returns false when they were not held back.
    pub fn resume(&mut self, database: Option<DatabaseId>) -> bool {
        let was_paused = match database {
            Some(id) => std::mem::take(&mut self.databases[id].is_paused),
            // Databases that were paused by name stay so.
            None => std::mem::take(&mut self.is_paused),
        };
        if !was_paused {
            return false;
        }
        self.plainness_changed();
        self.note_event(&format!("RESUME{}", self.named(database)));
        self.end_waits(|wait| match wait {
            Wait::Pause { database: paused, .. } => *paused == database,
            Wait::Close { .. } | Wait::Reload | Wait::Turn => false,
        });
        for pool in self.pools.ids() {
            self.launch_privates(pool);
            self.launch(pool);
        }
        true
    }

    /// Closes servers that are in use as they get free, and idle ones at once.
    pub fn retire_all(&mut self, database: Option<DatabaseId>, reason: &Reason) {
        for id in self.servers.ids() {
            let server = &self.servers[id];
            let concerned = database.is_none_or(|db| self.pools[server.pool].database == db);
            if concerned && !server.is_closing() {
                self.retire(id, reason.clone());
            }
        }
    }

    fn close_idle(&mut self, database: Option<DatabaseId>, reason: &Reason) {
        for id in self.servers.ids() {
            let server = &self.servers[id];
            let concerned = database.is_none_or(|db| self.pools[server.pool].database == db);
            let is_free = matches!(
                server.state(),
                ServerState::Idle | ServerState::Used | ServerState::Login(_)
            );
            if concerned && is_free {
                self.close_server(id, reason.clone());
            }
        }
    }

    /// Makes a console session wait. It is answered by [`Action::ConsoleDone`].
    pub fn wait_for(&mut self, client: ClientId, wait: Wait) {
        if let Some(console) = self.clients[client].console_mut() {
            console.wait = Some(wait);
        }
        self.check_waits();
    }

    /// Ends the waits that have come true, or run out of time.
    pub(in crate::pool) fn check_waits(&mut self) {
        for client in self.consoles.ids(&self.clients) {
            let Some(console) = self.clients[client].console() else { continue };
            let Some(wait) = &console.wait else { continue };
            if let Some(outcome) = self.outcome_of(wait) {
                self.end_wait(client, outcome);
            }
        }
    }

    fn outcome_of(&self, wait: &Wait) -> Option<WaitOutcome> {
        let (database, until, is_owner) = match wait {
            Wait::Pause { database, until, is_owner } => (*database, *until, *is_owner),
            Wait::Close { database } => (*database, None, false),
            Wait::Reload | Wait::Turn => return None,
        };
        if database.is_some_and(|id| !self.databases.contains(id)) {
            return Some(WaitOutcome::Gone);
        }
        if !self.has_servers(database, matches!(wait, Wait::Close { .. })) {
            return Some(WaitOutcome::Done);
        }
        let over = until.is_some_and(|until| self.mono() >= until);
        over.then(|| WaitOutcome::TimedOut {
            holders: self.holders(database),
            is_resumed: is_owner,
        })
    }

    /// Whether servers are left; for WAIT_CLOSE only those count that were to be closed.
    fn has_servers(&self, database: Option<DatabaseId>, marked_only: bool) -> bool {
        self.pools.iter().any(|(_, record)| {
            if database.is_some_and(|id| id != record.database) {
                return false;
            }
            match marked_only {
                false => record.server_count() > 0,
                true => record
                    .active
                    .iter(&self.servers)
                    .chain(record.tested.iter(&self.servers))
                    .chain(record.being_canceled.iter(&self.servers))
                    .any(|id| self.servers[id].closing.is_some()),
            }
        })
    }

    /// The clients whose servers a PAUSE waits for, in words.
    fn holders(&self, database: Option<DatabaseId>) -> Vec<String> {
        const MOST_NAMED: usize = 20;
        let concerned = |pool: crate::pool::ids::PoolId| {
            database.is_none_or(|id| self.pools[pool].database == id)
        };
        let active = self.servers.iter().filter_map(|(_, server)| {
            let client = server.served().filter(|_| concerned(server.pool))?;
            let (database, user) = self.names_of(client);
            let record = &self.clients[client];
            let seconds = self.mono().since(server.busy_since()).as_secs();
            let prefix = record.prefix(database, user).to_string();
            Some(format!("{} for {seconds}s", prefix.trim_end()))
        });
        active.take(MOST_NAMED).collect()
    }

    fn end_waits(&mut self, which: impl Fn(&Wait) -> bool) {
        for client in self.consoles.ids(&self.clients) {
            let Some(console) = self.clients[client].console() else { continue };
            if console.wait.as_ref().is_some_and(&which) {
                self.end_wait(client, WaitOutcome::Resumed);
            }
        }
    }

    fn end_wait(&mut self, client: ClientId, outcome: WaitOutcome) {
        let Some(console) = self.clients[client].console_mut() else { return };
        let wait = console.wait.take();
        let must_resume = matches!(outcome, WaitOutcome::TimedOut { is_resumed: true, .. });
        self.act(Action::ConsoleDone { client, outcome });
        self.wake(client);
        if let (Some(Wait::Pause { database, .. }), true) = (wait, must_resume) {
            self.resume(database);
        }
    }

    /// Lets others have their turn before a console session goes on.
    pub fn wait_for_turn(&mut self, client: ClientId) {
        self.wait_for(client, Wait::Turn);
        self.act(Action::NextTurn(client));
    }

    /// The next turn has come.
    pub fn turn_has_come(&mut self, client: ClientId) {
        if self.clients.contains(client) {
            self.end_wait(client, WaitOutcome::Done);
        }
    }

    /// The shell has put the files in force, or not.
    pub fn end_reload(&mut self, client: ClientId, result: Result<(), String>) {
        if !self.clients.contains(client) {
            return;
        }
        let outcome = match result {
            Ok(()) => WaitOutcome::Done,
            Err(first) => WaitOutcome::ReloadFailed(first),
        };
        self.end_wait(client, outcome);
    }

    /// Begins to end the process. A second request while one is under way ends it at once.
    pub fn shut_down(&mut self, mode: Shutdown) {
        let again = self.shutdown != Shutdown::No;
        self.change_shutdown(if again { Shutdown::Immediate } else { mode });
    }

    /// Begins to end the process, or goes over to another way to end it.
    pub fn change_shutdown(&mut self, mode: Shutdown) {
        if self.shutdown == Shutdown::No {
            self.shutdown_since = self.now.mono;
            self.end_told = self.now.mono;
        }
        self.shutdown = mode;
        self.plainness_changed();
        self.note_event(&format!("SHUTDOWN{}", mode.words()));
        match mode {
            Shutdown::No => {}
            Shutdown::Immediate => self.act_on_process(ProcessAction::Exit),
            Shutdown::WaitForClients => self.act_on_process(ProcessAction::StopListening),
            Shutdown::WaitForServers => {
                self.act_on_process(ProcessAction::StopListening);
                self.close_idle(None, &Reason::PauseMode);
                self.retire_all(None, &Reason::ServerShuttingDown);
                self.refuse_all_waiting();
            }
        }
        self.check_shutdown_soon();
    }

    /// When the doors for TCP are shut. Where another process listens on the same port, those who
    /// are on the way to this one are still awaited.
    pub fn last_arrival(&self) -> Moment {
        let is_shared = self.settings().so_reuseport && self.shutdown == Shutdown::WaitForClients;
        self.shutdown_since + if is_shared { LAST_ARRIVALS } else { Duration::ZERO }
    }

    fn refuse_all_waiting(&mut self) {
        for pool in self.live_pools.ids(&self.pools) {
            let mut told = self.pools[pool].waiting.ids(&self.clients);
            told.extend(self.pools[pool].welcoming.ids(&self.clients));
            told.extend(self.pools[pool].clients_of_queued_lookups());
            for client in told {
                self.close_client(client, Reason::ServerShuttingDown);
            }
        }
    }

    /// Ends the process when what it waits for has come.
    pub(in crate::pool) fn check_shutdown(&mut self) {
        let (is_over, whose) = match self.shutdown {
            Shutdown::No | Shutdown::Immediate => return,
            Shutdown::WaitForClients => {
                let is_over = self.mono() >= self.last_arrival()
                    && self.client_count == 0
                    && self.consoles.is_empty()
                    // Who is about to log in was accepted by us, and nobody else will serve it.
                    && self.logins.is_empty();
                (is_over, "client")
            }
            Shutdown::WaitForServers => {
                (!self.servers.iter().any(|(_, server)| server.is_session()), "server")
            }
        };
        if !is_over {
            return;
        }
        self.log(Level::Log, format!("{whose} connections dropped, exiting"));
        self.shutdown = Shutdown::Immediate;
        self.plainness_changed();
        for client in self.clients.ids() {
            if self.clients[client].is_logged_in() {
                self.close_client(client, Reason::PoolerEnds);
            }
        }
        self.act_on_process(ProcessAction::Exit);
    }

    /// Says every few seconds whom the end waits for.
    pub(in crate::pool) fn tell_whom_the_end_waits_for(&mut self) {
        let is_due = self.mono() >= self.end_told + TELL_EVERY;
        if !matches!(self.shutdown, Shutdown::WaitForClients | Shutdown::WaitForServers) || !is_due
        {
            return;
        }
        self.end_told = self.mono();
        let holders = self.holders(None);
        let clients = self.clients.len();
        let open = self.servers.iter().filter(|(_, server)| server.is_session()).count();
        let whom = match self.shutdown {
            Shutdown::WaitForClients => format!("{clients} clients"),
            _ => format!("{open} servers"),
        };
        let since = self.mono().since(self.shutdown_since).as_secs();
        let held = match holders.as_slice() {
            [] => "none has a transaction open".to_owned(),
            holders => format!("transactions: {}", holders.join("; ")),
        };
        let text = format!("shutting down for {since}s, still waiting for {whom}; {held}");
        self.log(Level::Log, text);
    }

    /// ` NAME` of a database, or nothing for all of them.
    pub(in crate::pool) fn named(&self, database: Option<DatabaseId>) -> String {
        database.map_or(String::new(), |id| format!(" {}", self.databases[id].line.name))
    }
}
