//! The login to a server: address, connection, authentication, reported parameters, connect_query.
//!
//! A server is trusted as little as a client: messages come in the legal order, or the pooler
//! closes the connection.

use crate::auth::failure::ServerFailure;
use crate::auth::server::{BindingData, Credential, ServerLogin, ServerStep};
use crate::config::{ChannelBinding, ServerAuth};
use crate::log::{Ends, Level, LogValue, PeerAddress};
use crate::pool::core::explain::refusal_hint;
use crate::pool::core::listening::ENCODING;
use crate::pool::core::{Action, Core};
use crate::pool::ids::{ClientId, Outbound, PoolId, ServerId};
use crate::pool::records::client::{Client, Replication, Standing};
use crate::pool::records::handshake::LoginStage;
use crate::pool::records::lookup::LOOKUP_PATH;
use crate::pool::records::pool::{Pool, Purpose, SecretSource, Welcome};
use crate::pool::records::secured::Secured;
use crate::pool::records::server::ServerState;
use crate::pool::records::site::Health;
use crate::pool::telling::reason::Reason;
use crate::wire::build::{self, Message};
use crate::wire::fields::{Fields, ReportFields};
use crate::wire::kind::{Back, Front};
use crate::wire::{sqlstate, startup};

impl Core {
    /// The connection is established, with TLS if required: a carrier sends its request, a server
    /// begins its login.
    pub fn connected(&mut self, id: Outbound, ends: Ends, tls: Option<Box<Secured>>) {
        if let Some(tls) = &tls {
            self.count_outbound_handshake(id, tls);
        }
        match id {
            Outbound::Carrier(id) => self.send_cancel(id, ends, tls),
            Outbound::Server(id) => self.begin_server_login(id, ends, tls),
        }
    }

    fn begin_server_login(&mut self, id: ServerId, (peer, local): Ends, tls: Option<Box<Secured>>) {
        let server = &mut self.servers[id];
        server.tls = tls;
        server.peer = peer;
        server.local = local;
        if self.settings().log_connections {
            let text = match local {
                PeerAddress::Tcp { .. } => format!("new connection to server (from {local})"),
                PeerAddress::Unix { .. } => "new connection to server".to_owned(),
            };
            self.log_server(Level::Log, id, format_args!("{text}"));
        }
        let bytes = self.startup_bytes(id);
        let credential = self.credential(self.servers[id].pool);
        let user = self.users[self.pools[self.servers[id].pool].user].name.clone();
        let tls = self.servers[id].tls.as_ref();
        let wish = self.databases[self.pools[self.servers[id].pool].database].line.channel_binding;
        let end_point = tls.and_then(|tls| tls.end_point.as_deref());
        let channel = BindingData::of(end_point, wish.unwrap_or(ChannelBinding::Prefer));
        let login = ServerLogin::new(user.as_bytes(), credential, channel);
        self.set_stage(id, LoginStage::Authenticating(login));
        self.act(Action::SendServer { server: id, bytes });
    }

    fn credential(&self, pool: PoolId) -> Credential {
        // The pool of the clients keeps what logins have learned.
        let Pool { database, user, purpose, .. } = self.pools[pool];
        let of_clients = match purpose {
            Purpose::Listening => self.directory.find_pool(database, user, Purpose::Clients),
            Purpose::Clients | Purpose::Lookups => None,
        };
        let pool = &self.pools[of_clients.unwrap_or(pool)];
        let database = &self.databases[pool.database];
        let user = &self.users[pool.user];
        let is_forced = database.forced_user == Some(pool.user);
        match (&database.forced_secret, &pool.found) {
            (Some(secret), _) if is_forced => Credential::of(Some(secret), user.keys.as_ref()),
            (_, Some(found)) if found.source == SecretSource::Judge || user.secret.is_none() => {
                Credential::of(Some(&found.secret), found.keys.as_ref())
            }
            _ => Credential::of(user.secret.as_ref(), user.keys.as_ref()),
        }
    }

    fn startup_bytes(&self, id: ServerId) -> Vec<u8> {
        let pool = &self.pools[self.servers[id].pool];
        let database = &self.databases[pool.database];
        let mut pairs: Vec<(&str, &[u8])> = vec![("database", database.remote_name().as_bytes())];
        let client = match self.servers[id].state() {
            ServerState::Login(login) => login.for_client.and_then(|id| self.clients.get(id)),
            _ => None,
        };
        match client {
            Some(client) => {
                let word = match client.replication {
                    Replication::Logical => "database",
                    Replication::Physical | Replication::No => "yes",
                };
                pairs.push(("replication", word.as_bytes()));
                pairs.extend(self.vars.iter(&client.vars.told));
                let options = client.rare.as_ref().and_then(|rare| rare.options.as_deref());
                pairs.extend(options.map(|options| ("options", options)));
            }
            None => {
                let line = &database.line;
                let of_line = [
                    ("client_encoding", &line.client_encoding),
                    ("datestyle", &line.datestyle),
                    ("timezone", &line.timezone),
                    ("application_name", &line.application_name),
                ];
                let is_listener = pool.purpose == Purpose::Listening;
                if is_listener {
                    pairs.push(("client_encoding", ENCODING.as_bytes()));
                }
                for (name, value) in of_line {
                    if is_listener && name == "client_encoding" {
                        continue;
                    }
                    pairs.extend(value.as_deref().map(|value| (name, value.as_bytes())));
                }
            }
        }
        if pool.purpose == Purpose::Lookups {
            pairs.push(("search_path", LOOKUP_PATH.as_bytes()));
        }
        pairs.push(("user", self.users[pool.user].name.as_bytes()));
        let mut bytes = Vec::new();
        startup::startup_message(&mut bytes, 0, &pairs);
        bytes
    }

    /// Judges a whole message of a server in login.
    pub(in crate::pool) fn server_login_message(&mut self, id: ServerId, kind: Back, body: &[u8]) {
        let Some(login) = self.servers[id].login_mut() else { return };
        match (&mut login.stage, kind) {
            (_, Back::NoticeResponse | Back::NotificationResponse) => {}
            (_, Back::ParameterStatus) => self.server_reported(id, body),
            (LoginStage::ConnectQuery, _) => self.connect_query_message(id, kind, body),
            (_, Back::ErrorResponse) => self.server_refused(id, body),
            (LoginStage::Authenticating(_), Back::Authentication) => self.server_asks(id, body),
            (LoginStage::Reporting, Back::BackendKeyData) => {
                self.servers[id].key = body.into();
            }
            (LoginStage::Reporting, Back::ReadyForQuery) => self.server_logged_in(id),
            _ => self.unknown_from_server(id, kind as u8),
        }
    }

    fn server_asks(&mut self, id: ServerId, body: &[u8]) {
        let mut fields = Fields::new(body);
        let code = fields.u32();
        let Some(login) = self.servers[id].login_mut() else { return };
        let LoginStage::Authenticating(machine) =
            std::mem::replace(&mut login.stage, LoginStage::Reporting)
        else {
            return;
        };
        let Some(code) = code else {
            return self.server_failed(id, Reason::ServerAuthUnanswered);
        };
        self.log_server(Level::Debug, id, format_args!("authentication request {code}"));
        let asked = machine.asked(code);
        if let Some(failure) = asked.and_then(|asked| self.judge_method(id, asked)) {
            return self.take_server_step(id, ServerStep::Fail(failure));
        }
        let step = machine.handle(code, fields.rest(), &mut self.scram, &mut *self.rng);
        let is_sent = matches!(step, ServerStep::Send { .. });
        if is_sent && asked == Some(ServerAuth::Password) && self.is_exposed(id) {
            let text = format_args!(
                "sends the password in clear, and nothing vouches for the server: see \
                 server_auth_methods"
            );
            self.log_server(Level::Warning, id, text);
        }
        self.take_server_step(id, step);
    }

    /// Why the server must not ask for this proof, if it must not.
    fn judge_method(&self, id: ServerId, asked: ServerAuth) -> Option<ServerFailure> {
        let pool = self.servers[id].pool;
        if !self.limits().server_auth_methods(pool).allow(asked) {
            return Some(ServerFailure::MethodNotAllowed { asked });
        }
        let is_downgrade =
            asked == ServerAuth::Password && self.pools[pool].has_done_scram && self.is_exposed(id);
        is_downgrade.then_some(ServerFailure::Downgrade)
    }

    /// Whether anybody could read a password in clear: the connection is TCP without TLS that
    /// verifies the server, and no setting allows it.
    fn is_exposed(&self, id: ServerId) -> bool {
        let server = &self.servers[id];
        let is_verified = server.tls.is_some()
            && self.outbound_tls(Outbound::Server(id)).is_some_and(|tls| tls.own.is_verified);
        let is_told =
            self.limits().server_auth_methods(server.pool).allow_by_name(ServerAuth::Password);
        matches!(server.peer, PeerAddress::Tcp { .. }) && !is_verified && !is_told
    }

    pub(super) fn take_server_step(&mut self, id: ServerId, step: ServerStep) {
        match step {
            ServerStep::Derive { work, next } => {
                self.set_stage(id, LoginStage::Deriving(next));
                self.servers[id].owes_service = true;
                self.derivations.servers.add(work, id);
            }
            ServerStep::Ok => {}
            // The server has proved that it knows the secret: it did not just accept the login.
            ServerStep::Wait(next) => {
                let pool = self.servers[id].pool;
                self.pools[pool].has_done_scram = true;
                self.set_stage(id, LoginStage::Authenticating(next));
            }
            ServerStep::Send { payload, next } => {
                self.set_stage(id, LoginStage::Authenticating(next));
                let mut bytes = Vec::new();
                Message::front(&mut bytes, Front::Password).bytes(&payload).end();
                self.act(Action::SendServer { server: id, bytes });
            }
            ServerStep::Fail(failure) => {
                self.log_server(Level::Error, id, format_args!("{failure}"));
                let text = failure.client_text().to_owned();
                self.refuse_waiting(id, &text, sqlstate::PROTOCOL_VIOLATION);
                self.note_refusal(id, &text);
                self.close_server(id, Reason::ServerAuthUnanswered);
            }
        }
    }

    /// An ErrorResponse in answer to the login.
    fn server_refused(&mut self, id: ServerId, body: &[u8]) {
        let report = ReportFields::parse(body);
        let text = match report.message.as_str() {
            "" => "server login failed".to_owned(),
            text => text.to_owned(),
        };
        let (severity, message) = (&report.severity, &report.message);
        let pool = &self.pools[self.servers[id].pool];
        let database = self.databases[pool.database].line.name.clone();
        let user = self.users[pool.user].name.clone();
        let fields = &[
            ("database", LogValue::Text(&database)),
            ("user", LogValue::Text(&user)),
            ("sqlstate", LogValue::Text(&report.sqlstate)),
        ];
        self.log_with(Level::Warning, fields, format!("server login failed: {severity} {message}"));
        if let Some(hint) = refusal_hint(&report.sqlstate) {
            self.log_server(Level::Warning, id, format_args!("login refused: {message}. {hint}"));
        }
        let name = self.pool_name(self.servers[id].pool);
        self.note_repeating(&format!("server login of {name} failed: {text}"));
        if report.sqlstate != sqlstate::CANNOT_CONNECT_NOW {
            let state = match report.sqlstate.as_str() {
                "" => sqlstate::PROTOCOL_VIOLATION,
                state => state,
            };
            self.refuse_waiting(id, &text, state);
        }
        match report.sqlstate.starts_with(sqlstate::INVALID_AUTHORIZATION_CLASS) {
            true => self.note_lasting_refusal(id, &text),
            false => self.note_refusal(id, &text),
        }
        self.close_server(id, Reason::ServerLoginFailed(text.into()));
    }

    fn server_logged_in(&mut self, id: ServerId) {
        let pool_id = self.servers[id].pool;
        let site = self.servers[id].site;
        self.change_health(site, Health::Well);
        self.vars.take_defaults(&mut self.servers[id].vars);
        let database = &mut self.databases[self.pools[pool_id].database];
        database.is_reached = true;
        let sql = database.line.connect_query.clone();
        match sql {
            Some(sql) if !sql.is_empty() && !self.is_physical(id) => {
                self.set_stage(id, LoginStage::ConnectQuery);
                self.run_own_query(id, &sql);
            }
            _ => self.server_ready(id),
        }
    }

    /// Whether a server in login is a walsender for physical replication, which knows no SQL.
    fn is_physical(&self, id: ServerId) -> bool {
        let ServerState::Login(login) = self.servers[id].state() else { return false };
        let client = login.for_client.and_then(|client| self.clients.get(client));
        client.is_some_and(|client| client.replication == Replication::Physical)
    }

    /// An error of connect_query is logged, and the server is used all the same. Its session must
    /// be clean, though: an open transaction would go to the first client.
    fn connect_query_message(&mut self, id: ServerId, kind: Back, body: &[u8]) {
        if self.take_reply(id, kind, body).is_none() {
            return;
        }
        if kind == Back::ErrorResponse {
            let ReportFields { severity, message, .. } = ReportFields::parse(body);
            let words = "error while executing exec_on_query";
            self.log_server(Level::Error, id, format_args!("{words}: {severity}: {message}"));
        } else if kind == Back::ReadyForQuery {
            match self.servers[id].replies.is_clean() {
                true => self.server_ready(id),
                false => self.server_failed(id, Reason::ConnectQueryFailed),
            }
        }
    }

    /// The login is over: the pool learns the reported parameters, and the first client gets the
    /// server.
    fn server_ready(&mut self, id: ServerId) {
        let now = self.mono();
        let server = &mut self.servers[id];
        server.requested = now;
        let pool_id = server.pool;
        let Some(login) = server.login_mut() else { return };
        let (reported, for_client) = (std::mem::take(&mut login.reported), login.for_client);
        let login_us = now.micros_since(server.connected);
        self.latencies.of_mut(self.pools[pool_id].latency).login.add(login_us);
        self.vars.take_query_defaults(&mut self.servers[id].vars);
        let vars = self.vars.copy_defaults(&self.servers[id].vars);
        let welcome = Welcome::new(&reported, vars);
        if let Some(client) = for_client {
            return self.give_to_replication_client(id, client, welcome);
        }
        self.set_lifetime_cut(id);
        let pool = &mut self.pools[pool_id];
        pool.forget_welcome(&mut self.vars);
        pool.refusal = None;
        pool.welcome = Some(welcome);
        for client in self.pools[pool_id].welcoming.ids(&self.clients) {
            if self.clients[client].replication == Replication::No {
                self.welcome(client, pool_id);
            }
        }
        // Leaves the list of logins first: `launch` counts that list.
        self.move_server(id, ServerState::Between);
        self.make_available(id);
        self.launch(pool_id);
    }

    /// Spreads the ends of servers that were opened together over the last tenth of their lifetime.
    fn set_lifetime_cut(&mut self, id: ServerId) {
        let lifetime = self.limits().server_lifetime(self.servers[id].pool).as_micros() as u64;
        self.servers[id].lifetime_cut_us = self.rng.below(lifetime / 10 + 1);
        self.set_end_of_life(id);
    }

    fn give_to_replication_client(&mut self, id: ServerId, client: ClientId, welcome: Welcome) {
        let standing = self.clients.get(client).and_then(Client::standing);
        let is_awaited = standing == Some(Standing::AwaitWelcome);
        let bytes = is_awaited.then(|| {
            let mut bytes = Vec::new();
            self.push_welcome(client, &welcome, &mut bytes);
            bytes
        });
        let mut vars = welcome.vars;
        self.vars.clear(&mut vars);
        let Some(bytes) = bytes else {
            return self.close_server(id, Reason::ReplicationClientClosed);
        };
        let pool = self.servers[id].pool;
        self.act(Action::SendClient { client, bytes });
        self.pools[pool].stats.logins += 1;
        self.link(client, id);
    }
}

/// The Terminate message to a server.
pub fn terminate() -> Vec<u8> {
    let mut bytes = Vec::new();
    build::empty_front(&mut bytes, Front::Terminate);
    bytes
}
