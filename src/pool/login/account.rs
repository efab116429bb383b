//! A client's login, from its startup packet to its welcome: how the client proves who it is, what
//! it may use, and what the pooler tells it on behalf of the server.

use super::proof::Proof;
use crate::auth::client::{
    AccountSecret, Candidate, ClientLogin, ClientStep, Identity, ProofMethod, begin_judged,
};
use crate::auth::failure::Failure;
use crate::auth::inquiry::LDAP_REFUSAL;
use crate::auth::request::AuthRequest;
use crate::auth::secret::{Password, Secret};
use crate::log::{Level, LogFields, LogValue, PeerAddress};
use crate::pool::core::{CONSOLE, Core};
use crate::pool::ids::{ClientId, PoolId};
use crate::pool::records::client::{
    ClientState, Member, Progress, Replication, Standing, StartupNames,
};
use crate::pool::records::inquiries::Question;
use crate::pool::records::lookup::LookupErrand;
use crate::pool::records::pool::{Purpose, SecretSource, Welcome};
use crate::pool::records::user::User;
use crate::pool::records::wait::Shutdown;
use crate::pool::telling::events::ReachedLimit;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, ErrorReport, Message, Severity};
use crate::wire::kind::Back;
use crate::wire::sqlstate;

/// The PgBouncer version that the program reports: tools and drivers rely on it. The program's own
/// version is in Cargo.toml.
pub const VERSION: &str = "1.26.1";

impl Core {
    /// Begins the login of a client whose startup packet is read.
    pub(super) fn begin_login(&mut self, id: ClientId, is_console: bool) -> Result<(), Reason> {
        let names = self.login_names(id);
        let is_own = is_console && names.user == CONSOLE && self.is_own_user(id);
        if is_own {
            let text = format_args!("pgbouncer access from unix socket");
            self.log_as(Level::Log, id, (None, Some(CONSOLE)), text);
        } else {
            let is_nobody = self.is_nobody(id, &names);
            if is_nobody {
                let text = format_args!("no such user: {}", names.user);
                self.log_as(Level::Log, id, (None, None), text);
            }
            let is_stray = is_nobody || !self.has_database(&names.database);
            if let Some(login) = self.clients[id].login_mut() {
                login.is_stray = is_stray;
            }
        }
        if self.settings().log_connections {
            let StartupNames { database, user } = &names;
            let replication = self.clients[id].replication.word();
            let tls = self.clients[id].tls();
            let tls = tls.map_or("no".to_owned(), |tls| tls.description.to_string());
            let fields: LogFields<'_> =
                &[("tls", LogValue::Text(&tls)), ("replication", LogValue::Text(replication))];
            let text = format_args!(
                "login attempt: db={database} user={user} tls={tls} replication={replication}"
            );
            self.log_client_with(Level::Log, id, fields, text);
        }
        if !is_console {
            self.admit_one_more(id)?;
        }
        if is_own {
            return self.enter_console(id, names.user, true);
        }
        let is_plain_tcp = matches!(self.clients[id].peer, PeerAddress::Tcp { .. })
            && self.clients[id].tls().is_none();
        if is_plain_tcp && self.tls.clients.is_required() {
            return Err(Reason::SslRequired);
        }
        self.find_secret(id)
    }

    /// Looks up the client's user where that is needed, and asks the client to prove who it is.
    pub(super) fn find_secret(&mut self, id: ClientId) -> Result<(), Reason> {
        let names = self.login_names(id);
        let errand = match self.proof_for(id, &names) {
            // The answer does not depend on the user, or the refusal is known without a lookup.
            Proof::Ask(ProofMethod::Any)
            | Proof::NeedsForcedUser
            | Proof::NoCertificate(_)
            | Proof::Judge(_)
            | Proof::Refuse(_)
            | Proof::Unjudged => LookupErrand::None,
            Proof::Ask(_) | Proof::Certificate | Proof::Peer => self.errand(id, &names)?,
        };
        match errand {
            LookupErrand::Later => {
                self.park(id);
                Ok(())
            }
            LookupErrand::None => self.challenge(id, None),
            LookupErrand::Query { pool, sql } => self.look_up(id, &names.user, pool, &sql),
        }
    }

    /// Asks a client to prove who it is. `found` is what auth_query returned for its user.
    pub(super) fn challenge(
        &mut self,
        id: ClientId,
        found: Option<AccountSecret<'_>>,
    ) -> Result<(), Reason> {
        let names = self.login_names(id);
        let generation = self.generation;
        if let Some(login) = self.login_mut(id) {
            login.generation = generation;
        }
        match self.proof_for(id, &names) {
            Proof::Ask(method) => self.ask(id, method, &names.user, found),
            Proof::NeedsForcedUser => {
                let text = "auth_type=any requires forced user";
                self.log_client(Level::Error, id, format_args!("{text}"));
                Err(Reason::ConfigError)
            }
            Proof::Certificate => self.admit_vouched(id, &names, found, Reason::certificate()),
            Proof::NoCertificate(what) => {
                self.log_client(Level::Error, id, format_args!("{what}"));
                Err(Reason::certificate())
            }
            Proof::Peer => self.admit_vouched(id, &names, found, Reason::UnixLoginRejected),
            Proof::Judge(judge) => self.take_step(id, begin_judged(judge)),
            Proof::Refuse(reason) => Err(reason),
            Proof::Unjudged => {
                let text = "the LDAP options make no sense: see the log of the start or RELOAD";
                self.log_client(Level::Error, id, format_args!("{text}"));
                Err(Reason::AuthRefused(LDAP_REFUSAL.into()))
            }
        }
    }

    /// Admits a client that its certificate or the system vouches for, if its user exists.
    fn admit_vouched(
        &mut self,
        id: ClientId,
        names: &StartupNames,
        found: Option<AccountSecret<'_>>,
        refusal: Reason,
    ) -> Result<(), Reason> {
        let user = self.directory.find_user(&names.user).map(|id| &self.users[id]);
        // No file names the console's own user.
        if names.user != CONSOLE && account_of(user, found).is_missing() {
            return Err(refusal);
        }
        self.admit(id, Identity::default())
    }

    /// Counts one more login, or says why there must be none. The console does not call this.
    fn admit_one_more(&mut self, id: ClientId) -> Result<(), Reason> {
        if self.is_too_late(id) {
            return Err(Reason::ShuttingDown);
        }
        self.check_max_client_conn()?;
        self.client_count += 1;
        self.clients[id].is_counted = true;
        Ok(())
    }

    /// max_client_conn limits the clients that have proved who they are: strangers cannot use it
    /// up. Once it is reached, a new client is refused at once, and a client whose login is under
    /// way is refused at its end.
    fn check_max_client_conn(&mut self) -> Result<(), Reason> {
        if self.admitted >= self.settings().max_client_conn {
            self.note_limit(ReachedLimit::Clients);
            return Err(Reason::MaxClientConn);
        }
        Ok(())
    }

    /// Whether a login comes too late in a shutdown. While the process waits for its clients, every
    /// client that it accepted before the shutdown may still log in: no other process will serve
    /// it.
    fn is_too_late(&self, id: ClientId) -> bool {
        match self.shutdown {
            Shutdown::No => false,
            // Listeners for TCP are closed by then, so only a Unix socket accepts later clients.
            Shutdown::WaitForClients => {
                let client = &self.clients[id];
                client.connected > self.shutdown_since
                    && matches!(client.peer, PeerAddress::Unix { .. })
            }
            Shutdown::WaitForServers | Shutdown::Immediate => true,
        }
    }

    fn login_names(&self, id: ClientId) -> StartupNames {
        match self.clients[id].state() {
            ClientState::Login(login) => login.names.clone().expect("the startup packet was read"),
            _ => unreachable!("only a client in login begins one"),
        }
    }

    /// Whether the process at the other end of the client's Unix socket runs as the pooler's own
    /// user.
    pub(super) fn is_own_user(&self, id: ClientId) -> bool {
        self.peer_uid(id) == Some(self.host.uid)
    }

    fn ask(
        &mut self,
        id: ClientId,
        method: ProofMethod,
        user: &str,
        found: Option<AccountSecret<'_>>,
    ) -> Result<(), Reason> {
        if self.hears(Level::Debug) {
            let text = format!("is asked for {method:?}");
            self.log_client(Level::Debug, id, format_args!("{text}"));
        }
        let record = self.directory.find_user(user).map(|id| &self.users[id]);
        let account = account_of(record, found);
        let tls = self.clients[id].tls();
        let end_point = tls.and_then(|tls| tls.end_point.as_deref());
        let candidate = Candidate { user: user.as_bytes(), account, end_point };
        let iterations = self.config.settings.scram_iterations;
        let step = crate::auth::client::begin(method, &candidate, iterations, &mut *self.rng);
        self.take_step(id, step)
    }

    /// The body of a PasswordMessage or SASL response.
    pub(in crate::pool) fn client_answered(&mut self, id: ClientId, payload: &[u8]) {
        let Some(login) = self.clients[id].login_mut() else { return };
        let Progress::Asked(step) = std::mem::take(&mut login.progress) else {
            return self.close_client(id, Reason::UnknownClientPacket);
        };
        let step = ClientLogin::handle(step, payload, &mut self.scram, &mut *self.rng);
        if let Err(reason) = self.take_step(id, step) {
            self.close_client(id, reason);
        }
    }

    pub(super) fn take_step(&mut self, id: ClientId, step: ClientStep) -> Result<(), Reason> {
        match step {
            ClientStep::Derive { work, next } => {
                self.set_progress(id, Progress::Deriving(next));
                self.derivations.clients.add(work, id);
                Ok(())
            }
            ClientStep::Ask { request, next } => {
                self.send_auth(id, &request);
                self.set_progress(id, Progress::Asked(next));
                Ok(())
            }
            ClientStep::Inquire { judge, password } => {
                let question = Box::new(Question { judge, password, is_sent: false });
                self.set_progress(id, Progress::Judged(question));
                let clients = &self.clients;
                self.inquiries.add(id, self.logins.len(), |id| clients.contains(id));
                Ok(())
            }
            ClientStep::Done { last, identity } => {
                if let Some(request) = last {
                    self.send_auth(id, &request);
                }
                self.admit(id, identity)
            }
            ClientStep::Fail(failure) => {
                if matches!(failure, Failure::Sasl(_)) {
                    let text = format_args!("password authentication failed");
                    self.log_client(Level::Error, id, text);
                }
                self.log_client(Level::Log, id, format_args!("login refused: {failure}"));
                Err(Reason::AuthRefused(failure.client_text().into()))
            }
        }
    }

    fn send_auth(&mut self, id: ClientId, request: &AuthRequest) {
        let (code, data) = request.code_and_data();
        let mut bytes = self.take_said(id);
        build::authentication(&mut bytes, code, data);
        self.say(id, bytes);
    }

    /// The client has proved who it is: checks what the client may use and gives it a pool.
    pub(super) fn admit(&mut self, id: ClientId, identity: Identity) -> Result<(), Reason> {
        let names = self.login_names(id);
        if self.is_overtaken(id, &names) {
            let text = format_args!("login refused: the rules have changed since it began");
            self.log_client(Level::Log, id, text);
            return Err(Reason::AuthRefused("login rejected".into()));
        }
        let StartupNames { database, user } = names;
        if database == CONSOLE {
            return self.admit_to_console(id, user);
        }
        self.check_max_client_conn()?;
        let user_id = self.registrar().ensure_user(&user);
        let found = self.take_found(id, identity.password);
        let keys = identity.scram_keys;
        if found.is_none() && keys.is_some() {
            self.users[user_id].keys = keys.clone();
        }
        let database_id = match self.database_for(id, &database) {
            Ok(found) => found,
            Err(reason) => {
                if matches!(reason, Reason::NoSuchDatabase(_)) {
                    self.log_login_failed(id, &database, &user);
                }
                return Err(reason);
            }
        };
        self.check_client_limits(database_id, &user)?;
        let pool_user = self.databases[database_id].forced_user.unwrap_or(user_id);
        self.check_choice(id, (database_id, user_id), pool_user)?;
        let pool = self.ensure_pool(database_id, pool_user, Purpose::Clients);
        if let Some((secret, source)) = found.filter(|_| pool_user == user_id) {
            self.pools[pool].keep_found(secret, source, keys);
        }
        let member = Member { database: database_id, user: user_id, pool };
        self.move_client(id, ClientState::Member(member, Standing::AwaitWelcome));
        if self.clients[id].replication != Replication::No {
            self.launch_private(pool, id);
        } else if self.pools[pool].welcome.is_some() {
            self.welcome(id, pool);
        }
        // The client may need the pool's first server, and the pool further ones (min_pool_size).
        self.launch(pool);
        Ok(())
    }

    /// Whether the proof of this client counts no longer: since the question was asked, a reload
    /// removed the user, changed its secret, or made the rules refuse it. The client is told only
    /// at the end of its login: a refusal at the RELOAD would tell it that the user existed.
    fn is_overtaken(&self, id: ClientId, names: &StartupNames) -> bool {
        let ClientState::Login(login) = self.clients[id].state() else { return false };
        if login.generation == self.generation {
            return false;
        }
        match self.proof_for(id, names) {
            Proof::Ask(_) | Proof::Certificate | Proof::Peer => {
                let user = self.directory.find_user(&names.user);
                let changed_in = user.map(|user| self.users[user].changed_in);
                // A secret from auth_query does not depend on the files.
                login.found.is_none() && changed_in.is_none_or(|at| at > login.generation)
            }
            // The verdict of LDAP or PAM does not depend on the files either.
            Proof::Judge(_) => false,
            Proof::NeedsForcedUser
            | Proof::NoCertificate(_)
            | Proof::Refuse(_)
            | Proof::Unjudged => true,
        }
    }

    /// The secret that opens servers for a client and is in no file: the password that LDAP or PAM
    /// accepted, or the secret that auth_query returned.
    fn take_found(
        &mut self,
        id: ClientId,
        password: Option<Password>,
    ) -> Option<(Secret, SecretSource)> {
        if let Some(password) = password {
            return Some((Secret::Plain(password), SecretSource::Judge));
        }
        let secret = self.clients[id].login_mut()?.found.take();
        secret.map(|secret| (secret, SecretSource::AuthQuery))
    }

    /// Tells a client, on behalf of the server, that it is logged in.
    pub(in crate::pool) fn welcome(&mut self, id: ClientId, pool: PoolId) {
        let Some(welcome) = self.pools[pool].welcome.take() else { return };
        let mut bytes = self.take_said(id);
        self.push_welcome(id, &welcome, &mut bytes);
        self.pools[pool].welcome = Some(welcome);
        self.say(id, bytes);
        let now = self.mono();
        let stats = &mut self.pools[pool].stats;
        stats.logins += 1;
        // If the client has waited, then for the pool's first server.
        stats.wait_us += now.micros_since(self.clients[id].since);
        self.clients[id].requested = now;
        self.move_member(id, Standing::Idle);
    }

    /// The messages from AuthenticationOk to ReadyForQuery, in PgBouncer's order.
    pub(super) fn push_welcome(&mut self, id: ClientId, welcome: &Welcome, bytes: &mut Vec<u8>) {
        let key = self.give_key(id);
        let mode = self.client_mode(&self.clients[id]).word();
        self.vars.greet(&mut self.clients[id].vars, &welcome.vars);
        let settings = self.settings();
        build::authentication(bytes, 0, b"");
        build::parameter_status(bytes, "pgbouncer.version", VERSION);
        bytes.extend_from_slice(&welcome.fixed);
        let prepared = settings.max_prepared_statements.to_string();
        build::parameter_status(bytes, "pgbouncer.max_prepared_statements", &prepared);
        build::parameter_status(bytes, "pgbouncer.pool_mode", mode);
        for (name, value) in self.vars.iter(&self.clients[id].vars.told) {
            build::parameter_status(bytes, name, value);
        }
        push_key(bytes, &key);
        self.push_notify_message(bytes);
        build::ready_for_query(bytes, b'I');
    }

    /// Gives a client its cancel key, which a CancelRequest for it must carry.
    pub(super) fn give_key(&mut self, id: ClientId) -> Vec<u8> {
        let peer_id = self.config.settings.peer_id;
        self.keys.give(&mut self.clients, id, &mut *self.rng, peer_id)
    }

    /// Appends login_notify_message, if it is set.
    pub(super) fn push_notify_message(&self, bytes: &mut Vec<u8>) {
        let message = &self.settings().login_notify_message;
        if message.is_empty() {
            return;
        }
        let (severity, sqlstate) = (Severity::Notice, sqlstate::SUCCESSFUL);
        build::report(
            bytes,
            &ErrorReport { severity, sqlstate, message, detail: None, hint: None },
        );
    }
}

/// The secret of a user: the one that auth_query returned, or else the one in the files.
pub(super) fn account_of<'a>(
    user: Option<&'a User>,
    found: Option<AccountSecret<'a>>,
) -> AccountSecret<'a> {
    match (user.filter(|user| user.is_listed()), found) {
        (_, Some(account)) => account,
        (None, None) => AccountSecret::Missing,
        // A line of `[users]` sets limits of a user; it does not prove that the user exists.
        (Some(user), None) => {
            user.secret.as_ref().map_or(AccountSecret::Missing, AccountSecret::Known)
        }
    }
}

pub(super) fn push_key(bytes: &mut Vec<u8>, key: &[u8]) {
    Message::back(bytes, Back::BackendKeyData).bytes(key).end();
}
