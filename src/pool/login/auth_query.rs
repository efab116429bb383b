//! auth_query: looks up in a database the users that the user list does not have.
//!
//! A lookup waits in the queue of its own pool, that of auth_user in the database that is asked. So
//! limits, pauses, failing servers and RELOAD apply to lookups as they do to clients. No client
//! ever gets a server of such a pool: the query never meets state that a client has left. The
//! client that waits for a lookup stays in login under the name it came with, whatever the lookup
//! finds.

use super::account::account_of;
use super::proof::Proof;
use crate::config::{AuthType, DatabaseLine};
use crate::log::Level;
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::{ClientId, DatabaseId, PoolId, ServerId};
use crate::pool::owed::verdict::ServerVerdict;
use crate::pool::records::client::{ClientState, Progress, StartupNames};
use crate::pool::records::lookup::{Finding, Lookup, LookupErrand, LookupFault};
use crate::pool::records::lookups::{Joined, SHARED_FOR};
use crate::pool::records::pool::Purpose;
use crate::pool::records::server::ServerState;
use crate::pool::telling::reason::Reason;
use crate::wire::head::Head;
use crate::wire::kind::Back;

/// Unknown databases made from `*` that lookups may try at a time. A client may have made up the
/// name of a database until one of its servers has let somebody log in.
const MOST_UNKNOWN_DATABASES: usize = 32;

impl Core {
    /// Where to look up the secret of a user. Nowhere if a file has the secret, or if no auth_user
    /// is set.
    pub(super) fn errand(
        &mut self,
        id: ClientId,
        names: &StartupNames,
    ) -> Result<LookupErrand, Reason> {
        let user = self.directory.find_user(&names.user);
        if user.is_some_and(|id| self.users[id].secret.is_some()) {
            return Ok(LookupErrand::None);
        }
        let Some(auth_user) = self.auth_user_for(&names.database) else {
            return Ok(LookupErrand::None);
        };
        let line = self.line_of(&names.database);
        let of_line = |get: fn(&DatabaseLine) -> &Option<String>| {
            line.as_ref().and_then(|line| get(line).as_deref())
        };
        let settings = self.settings();
        let sql = set(of_line(|line| &line.auth_query), Some(&settings.auth_query));
        let sql = sql.unwrap_or_default().to_owned();
        let place = set(of_line(|line| &line.auth_dbname), settings.auth_dbname.as_deref());
        let place = place.unwrap_or(&names.database).to_owned();
        if self.directory.find_database(&place).is_none()
            && self.unknown_count() >= MOST_UNKNOWN_DATABASES
        {
            return Ok(LookupErrand::Later);
        }
        let pool = self.lookup_pool(id, &place, &auth_user)?;
        Ok(LookupErrand::Query { pool, sql })
    }

    /// Counts databases made from `*` that no server has accepted a login to, and that no client
    /// which has logged in uses.
    fn unknown_count(&self) -> usize {
        let is_unknown = |id: &DatabaseId| {
            let database = &self.databases[*id];
            database.is_auto && !database.is_reached && database.clients == 0
        };
        let transients = self.directory.transients.iter(&self.databases);
        transients.filter(is_unknown).take(MOST_UNKNOWN_DATABASES).count()
    }

    pub(super) fn park(&mut self, id: ClientId) {
        self.set_progress(id, Progress::Parked);
        self.parked.push_back(id);
    }

    /// Resumes parked clients while further unknown databases may be tried.
    pub(in crate::pool) fn unpark(&mut self) {
        while !self.parked.is_empty() && self.unknown_count() < MOST_UNKNOWN_DATABASES {
            let Some(id) = self.parked.pop_front() else { return };
            let Some(login) = self.login_mut(id) else { continue };
            if !matches!(login.progress, Progress::Parked) {
                continue;
            }
            login.progress = Progress::Begun;
            match self.find_secret(id) {
                Ok(()) => self.wake(id),
                Err(reason) => self.close_client(id, reason),
            }
        }
    }

    /// The auth_user that looks up users of this database, if one is set.
    pub(super) fn auth_user_for(&self, database: &str) -> Option<String> {
        let line = self.line_of(database);
        if line.is_none() && database != CONSOLE {
            return None;
        }
        let own = line.as_ref().and_then(|line| line.auth_user.as_deref());
        set(own, self.settings().auth_user.as_deref()).map(str::to_owned)
    }

    /// Whether no file names the user, and no auth_query can look it up.
    pub(super) fn is_nobody(&self, id: ClientId, names: &StartupNames) -> bool {
        let ClientState::Login(login) = self.clients[id].state() else { return false };
        let user = self.directory.find_user(&names.user).map(|id| &self.users[id]);
        self.settings().auth_type != AuthType::Any
            && !matches!(self.proof_for(id, names), Proof::Judge(_) | Proof::Unjudged)
            && account_of(user, None).is_missing()
            && login.found.is_none()
            && self.auth_user_for(&names.database).is_none()
    }

    /// Whether the database exists, or `*` would make it.
    pub(super) fn has_database(&self, name: &str) -> bool {
        name == CONSOLE
            || self.directory.find_database(name).is_some()
            || self.config.databases.iter().any(DatabaseLine::is_fallback)
    }

    /// The line of a database, or the line that `*` would give it.
    fn line_of(&self, name: &str) -> Option<DatabaseLine> {
        match self.directory.find_database(name) {
            Some(id) => Some(self.databases[id].line.clone()),
            None => self.fallback_line(name).filter(|_| name != CONSOLE),
        }
    }

    fn lookup_pool(&mut self, id: ClientId, name: &str, user: &str) -> Result<PoolId, Reason> {
        let complain = |core: &mut Core, text: &str| {
            core.log_client(Level::Error, id, format_args!("{text}"));
            Reason::ConfigError
        };
        if self.is_winding_down() {
            return Err(Reason::ServerShuttingDown);
        }
        if name == CONSOLE {
            let text = "cannot use the reserved \"pgbouncer\" database as an auth_dbname";
            return Err(complain(self, text));
        }
        let Some(database) =
            self.directory.find_database(name).or_else(|| self.auto_database(id, name))
        else {
            let text = format!("authentication database \"{name}\" is not configured.");
            return Err(complain(self, &text));
        };
        if self.databases[database].is_disabled {
            return Err(Reason::AuthDatabaseDisabled(name.into()));
        }
        let user = self.registrar().ensure_user(user);
        Ok(self.ensure_pool(database, user, Purpose::Lookups))
    }

    /// Makes a client wait for the secret of its user.
    pub(super) fn look_up(
        &mut self,
        id: ClientId,
        user: &str,
        pool: PoolId,
        sql: &str,
    ) -> Result<(), Reason> {
        // A server that is down may be back in time. A server that refused the login will do so
        // again.
        let is_refused = self.pools[pool].refusal.is_some();
        if let Some(message) = self.planner().failure_to_tell(pool).filter(|_| is_refused) {
            return Err(Reason::CachedLoginError(message));
        }
        self.set_progress(id, Progress::LookUp { pool, is_sent: false });
        let now = self.mono();
        if self.lookups_of(pool).wait_for(id, (user, sql), now) == Joined::New {
            self.run_lookups(pool);
        }
        Ok(())
    }

    /// Gives queued lookups to idle servers, and opens servers for the others.
    fn run_lookups(&mut self, pool: PoolId) {
        self.serve_lookups(pool);
        self.launch(pool);
    }

    /// Judges a reply to auth_query.
    pub(in crate::pool) fn judge_lookup_reply(
        &mut self,
        id: ServerId,
        kind: Back,
        head: Head,
        seen: &[u8],
    ) -> ServerVerdict {
        let need = Lookup::must_see(kind, head);
        if seen.len() < need {
            return ServerVerdict::Need(need);
        }
        if self.take_reply(id, kind, seen).is_none() {
            return ServerVerdict::Closed;
        }
        match kind {
            Back::ParameterStatus => self.server_reported(id, seen),
            // The query is a COPY: it waits for data, or sends data that is no row.
            Back::CopyBoth | Back::CopyIn | Back::CopyOut => {
                self.close_server(id, Reason::AuthQueryFailed);
            }
            Back::ReadyForQuery => self.lookup_ended(id),
            _ => {
                if let Some(lookup) = self.servers[id].lookup_mut() {
                    lookup.heed(kind, head, seen);
                }
            }
        }
        self.server_dropped_or_closed(id)
    }

    /// The answer is complete: frees the server for the next lookup, and resumes the clients.
    fn lookup_ended(&mut self, id: ServerId) {
        let Some(lookup) = self.servers[id].lookup_mut() else { return };
        let mut lookup = std::mem::take(lookup);
        let finding = lookup.finding();
        if let Err(fault) = &finding {
            self.log_fault(id, fault);
        }
        let (now, pool) = (self.mono(), self.servers[id].pool);
        if let Some(next) = lookup.split_next(now) {
            self.pools[pool].lookups.push_back(next);
        }
        self.note_served(id);
        self.servers[id].replies.take_skipped();
        self.move_server(id, ServerState::Between);
        match self.servers[id].replies.is_clean() {
            true => self.make_available(id),
            false => self.close_server(id, Reason::AuthQueryFailed),
        }
        for client in lookup.clients {
            self.looked_up(client, &finding);
        }
        // The server may be at the end of its life. Then another idle server takes the next lookup.
        self.run_lookups(pool);
    }

    /// Resumes the login of a client that has waited for the secret of its user.
    fn looked_up(&mut self, id: ClientId, finding: &Result<Finding, LookupFault>) {
        let Some(login) = self.login_mut(id) else { return };
        login.progress = Progress::Begun;
        let result = match finding {
            Ok(finding) => self.go_on(id, finding),
            Err(_) => Err(Reason::ConfigError),
        };
        match result {
            Ok(()) => self.wake(id),
            Err(reason) => self.close_client(id, reason),
        }
    }

    fn go_on(&mut self, id: ClientId, finding: &Finding) -> Result<(), Reason> {
        if let (Finding::Secret(secret), Some(login)) = (finding, self.login_mut(id)) {
            login.found = Some(secret.clone());
        }
        self.challenge(id, Some(finding.account()))
    }

    /// Closes clients whose lookup has waited too long for a server, and servers that take too long
    /// over a lookup.
    pub(in crate::pool) fn sweep_lookups(&mut self, pool: PoolId) {
        for id in self.pools[pool].clients_of_queued_lookups().collect::<Vec<_>>() {
            if self.mono() >= self.due_times().lookup_due(&self.clients[id], &self.pools[pool]) {
                self.close_client(id, Reason::QueryWaitTimeout);
            }
        }
        for id in self.pools[pool].active.ids(&self.servers) {
            self.sweep_running_lookup(id);
        }
        self.run_lookups(pool);
    }

    fn sweep_running_lookup(&mut self, id: ServerId) {
        let (now, limit) = (self.mono(), self.settings().server_abandon_timeout);
        let server = &mut self.servers[id];
        let (pool, age) = (server.pool, now.since(server.since));
        let Some(lookup) = server.lookup_mut() else { return };
        if age >= SHARED_FOR
            && let Some(next) = lookup.split_next(now)
        {
            return self.pools[pool].lookups.push_back(next);
        }
        if lookup.clients.is_empty() && lookup.next.is_empty() && age >= limit {
            self.close_server(id, Reason::ClientLeftUnanswered);
        }
    }

    /// Logs what the lookup of a client that has run out of time was waiting for.
    pub(in crate::pool) fn log_late_lookup(&mut self, id: ClientId) {
        let ClientState::Login(login) = self.clients[id].state() else { return };
        let Progress::LookUp { pool, is_sent } = login.progress else { return };
        let why = match is_sent {
            true => format!("{} has not answered.", self.pool_name(pool)),
            false => self.why_no_server(pool),
        };
        self.log_client(Level::Warning, id, format_args!("auth_query: {why}"));
    }
}

/// The value of the database, or else the value for all. An empty text counts as not set.
fn set<'a>(of_line: Option<&'a str>, of_all: Option<&'a str>) -> Option<&'a str> {
    of_line.filter(|text| !text.is_empty()).or(of_all).filter(|text| !text.is_empty())
}
