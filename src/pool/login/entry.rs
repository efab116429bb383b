//! The first step of a client's login: its first packet, its startup parameters, and the limits
//! that it may meet.
//!
//! Nothing here helps a stranger: the pooler tells whether a database exists only after login.

use std::borrow::Cow;

use crate::config::DATABASE_NAME_BYTES_MAX;
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, CONSOLE, Core};
use crate::pool::ids::{ClientId, DatabaseId, ServerId};
use crate::pool::records::client::{Client, ClientState, Replication, StartupNames};
use crate::pool::records::strangers::StrangerOrigin;
use crate::pool::telling::events::ReachedLimit;
use crate::pool::telling::reason::Reason;
use crate::wire::build::Message;
use crate::wire::kind::Back;
use crate::wire::startup::{self, BadStartup, Packet, ParsedStartup};

/// The newest minor version of protocol 3 that the pooler speaks. All it adds is longer cancel
/// keys.
const NEWEST_MINOR: u16 = 2;

/// User names of this many bytes or more are refused.
const USER_NAME_BYTES_LIMIT: usize = 128;

/// Connections that may log in at a time, however small max_client_conn is.
const STRANGERS_MIN: usize = 100;

/// Connections without a login leave an eighth of all descriptors free, within these bounds.
const KEPT_DESCRIPTORS_MIN: usize = 32;
const KEPT_DESCRIPTORS_MAX: usize = 1024;

/// Who it is whose bytes come next, as far as the relay must know.
#[derive(Clone, Copy, Default)]
pub struct Speaker {
    /// The server that the client has.
    pub server: Option<ServerId>,
    /// Whether the next bytes are a startup packet rather than a message.
    pub awaits_startup: bool,
}

/// What the relay does with the bytes of a connection that has sent no StartupMessage yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// This many bytes were taken; more may follow.
    Taken(usize),
    /// The packet is not complete yet.
    Short,
    /// The client is being closed.
    Closed,
    /// The bytes are the beginning of a TLS handshake.
    Secure,
}

/// A new connection, as the listener reports it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub peer: PeerAddress,
    pub local: PeerAddress,
    /// The user at the other end of a Unix socket.
    pub uid: Option<u32>,
}

impl Core {
    /// Takes in a new connection. If too many connections have not logged in, the pooler closes the
    /// oldest one of the origin that has the most.
    pub fn client_arrived(&mut self, arrival: Arrival) -> ClientId {
        while self.logins.len() >= self.most_strangers() {
            let Some(oldest) = self.stranger_to_go() else { break };
            self.close_client(oldest, Reason::StrangerGaveWay);
            self.note_repeating("limit reached: connections that have not logged in");
        }
        let number = self.next_number();
        let Arrival { peer, local, uid } = arrival;
        let local = self.addresses.hold(&local);
        let client = Client::new(number, self.mono(), peer, local, uid);
        self.add_client(client)
    }

    /// How many connections without a login there may be: as many as may log in at a time, and few
    /// enough to leave descriptors for the console, servers and files.
    fn most_strangers(&self) -> usize {
        let limit = usize::try_from(self.host.descriptors).unwrap_or(usize::MAX);
        let kept = (limit / 8).clamp(KEPT_DESCRIPTORS_MIN, KEPT_DESCRIPTORS_MAX);
        let taken = self.clients.len().saturating_sub(self.logins.len()) + self.outbound_count();
        let free = limit.saturating_sub(kept).saturating_sub(taken);
        let at_a_time = (self.settings().max_client_conn as usize).max(STRANGERS_MIN);
        at_a_time.min(free).max(1)
    }

    fn stranger_to_go(&self) -> Option<ClientId> {
        let has_its_share = |id: &ClientId| {
            self.strangers.has_its_share(StrangerOrigin::of(self.clients[*id].peer))
        };
        self.logins.iter(&self.clients).find(has_its_share)
    }

    /// Who it is whose bytes come next.
    #[inline(always)]
    pub fn speaker(&self, id: ClientId) -> Speaker {
        let Some(client) = self.clients.get(id) else { return Speaker::default() };
        let awaits_startup = client.login().is_some_and(|login| login.names.is_none());
        Speaker { server: client.server(), awaits_startup }
    }

    /// Judges the first bytes of a client. `bytes` is all that has been read.
    pub fn client_opening(&mut self, id: ClientId, bytes: &[u8]) -> Opening {
        if self.begins_tls(id, bytes) {
            return Opening::Secure;
        }
        match startup::parse(bytes) {
            ParsedStartup::Short => Opening::Short,
            ParsedStartup::Bad(bad) => {
                self.refuse_opening(id, bad, bytes);
                Opening::Closed
            }
            ParsedStartup::Packet(packet, taken) => {
                self.client_packet(id, packet, bytes.len() > taken);
                let closed = self.clients[id].is_closing();
                if closed { Opening::Closed } else { Opening::Taken(taken) }
            }
        }
    }

    fn refuse_opening(&mut self, id: ClientId, bad: BadStartup, bytes: &[u8]) {
        let reason = match bad {
            BadStartup::Message => Reason::MessageFirst,
            BadStartup::Password => Reason::PasswordFirst,
            BadStartup::Length | BadStartup::Version => {
                let head: String = bytes.iter().take(8).map(|b| format!("{b:02x}")).collect();
                Reason::BadHeader(head.into())
            }
            BadStartup::Parameters => Reason::BadStartupLayout,
        };
        self.close_client(id, reason);
    }

    /// `more` tells that bytes follow the packet. After a request for encryption such bytes are
    /// refused: they were sent in clear and would be read as if they had been encrypted.
    fn client_packet(&mut self, id: ClientId, packet: Packet<'_>, more: bool) {
        match packet {
            Packet::Ssl if more => self.close_client(id, Reason::StuffedSsl),
            Packet::GssEnc if more => self.close_client(id, Reason::StuffedGss),
            Packet::Ssl => self.tls_requested(id),
            Packet::GssEnc => {
                self.act(Action::SendClient { client: id, bytes: b"N".to_vec() });
            }
            Packet::Cancel { key } => self.cancel_requested(id, key),
            Packet::V2 => self.close_client(id, Reason::OldProtocol),
            Packet::Startup { minor, parameters } => {
                if let Err(reason) = self.client_startup(id, minor, &parameters) {
                    self.close_client(id, reason);
                }
            }
        }
    }

    fn client_startup(
        &mut self,
        id: ClientId,
        minor: u16,
        parameters: &[(Cow<'_, str>, &[u8])],
    ) -> Result<(), Reason> {
        let mut names = names_of(parameters)?;
        if names.user.len() >= USER_NAME_BYTES_LIMIT {
            self.log_login_failed(id, &names.database, &names.user);
            return Err(Reason::UserNameTooLong);
        }
        let is_console = names.database == CONSOLE;
        self.negotiate(id, minor, parameters);
        let settings = self.settings();
        let may_be_long = settings.peer_id == 0 || settings.peers_take_long_keys;
        self.clients[id].has_long_key = minor >= NEWEST_MINOR && may_be_long;
        self.clients[id].replication = replication_of(parameters);
        for (name, value) in parameters {
            self.take_parameter(id, name, value, is_console)?;
        }
        if let Some((database, mode)) = self.mode_in_name(&names.database) {
            let rare = self.clients[id].rare.get_or_insert_default();
            rare.choice.mode = Some(mode);
            names.database = database.to_owned();
        }
        let client = &mut self.clients[id];
        let Some(login) = client.login_mut() else { return Ok(()) };
        login.names = Some(names);
        self.complete_application_name(id, is_console);
        self.begin_login(id, is_console)
    }

    /// Sends NegotiateProtocolVersion where the client asks for a newer version or for unknown
    /// options.
    fn negotiate(&mut self, id: ClientId, minor: u16, parameters: &[(Cow<'_, str>, &[u8])]) {
        let unknown: Vec<&str> =
            parameters.iter().map(|(n, _)| &**n).filter(|n| n.starts_with("_pq_.")).collect();
        if minor <= NEWEST_MINOR && unknown.is_empty() {
            return;
        }
        let spoken = u32::from(minor.min(NEWEST_MINOR));
        let mut bytes = Vec::new();
        let mut message = Message::back(&mut bytes, Back::NegotiateProtocolVersion)
            .u32(3 << 16 | spoken)
            .u32(unknown.len() as u32);
        for name in unknown {
            message = message.cstr(name);
        }
        message.end();
        self.act(Action::SendClient { client: id, bytes });
    }

    /// Takes one startup parameter. The console ignores unknown ones (`drops_unknown`): it has no
    /// server that they could concern, and must accept what drivers send.
    fn take_parameter(
        &mut self,
        id: ClientId,
        name: &str,
        value: &[u8],
        drops_unknown: bool,
    ) -> Result<(), Reason> {
        match name {
            "user" | "database" | "replication" => return Ok(()),
            // PostgreSQL judges these options: the server has this one client only.
            "options" if self.clients[id].replication != Replication::No => {
                self.clients[id].rare.get_or_insert_default().options = Some(value.to_vec());
                return Ok(());
            }
            "options" => return self.take_options(id, value, drops_unknown),
            _ => {
                if name.starts_with("_pq_.") {
                    return Ok(());
                }
            }
        }
        if !drops_unknown && !self.is_ignored(name) && self.take_choice(id, name, value)? {
            return Ok(());
        }
        if !self.set_startup_parameter(id, name, value) && !drops_unknown {
            let value = String::from_utf8_lossy(value);
            let text = format!("unsupported startup parameter: {name}={value}");
            self.log_client(Level::Warning, id, format_args!("{text}"));
            return Err(Reason::UnsupportedParameter(name.into()));
        }
        Ok(())
    }

    /// The command-line switches of the parameter `options` (PostgreSQL manual, "libpq,
    /// Connection Parameters").
    fn take_options(
        &mut self,
        id: ClientId,
        text: &[u8],
        drops_unknown: bool,
    ) -> Result<(), Reason> {
        let all_ignored = drops_unknown || self.is_ignored("options");
        for switch in switches(text) {
            let Some((name, value)) = switch.as_deref().and_then(assignment) else {
                if all_ignored {
                    continue;
                }
                return Err(Reason::OptionsForm);
            };
            let name = &*String::from_utf8_lossy(name);
            if !drops_unknown && !self.is_ignored(name) && self.take_choice(id, name, value)? {
                continue;
            }
            if !self.set_startup_parameter(id, name, value) && !all_ignored {
                let value = String::from_utf8_lossy(value);
                let text = format!("unsupported startup parameter in options: {name}={value}");
                self.log_client(Level::Warning, id, format_args!("{text}"));
                return Err(Reason::UnsupportedOption(name.into()));
            }
        }
        Ok(())
    }

    fn is_ignored(&self, name: &str) -> bool {
        let ignored = &self.settings().ignore_startup_parameters;
        ignored.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Sets a tracked parameter. Returns false if it is neither tracked nor ignored.
    fn set_startup_parameter(&mut self, id: ClientId, name: &str, value: &[u8]) -> bool {
        let is_application_name = name.eq_ignore_ascii_case("application_name");
        if self.is_ignored(name) && !is_application_name {
            return true;
        }
        self.vars.ask(&mut self.clients[id].vars, name, value)
    }

    /// Appends the client's address to its application_name (application_name_add_host).
    fn complete_application_name(&mut self, id: ClientId, is_console: bool) {
        if !self.settings().application_name_add_host || is_console {
            return;
        }
        let client = &mut self.clients[id];
        let place = self.vars.find("application_name");
        let name = place.and_then(|place| self.vars.value(&client.vars.told, place));
        let name = name.map_or(&b"app"[..], |name| name.bytes);
        let full = [name, b" - ", place_of(client.peer, self.host.name).as_bytes()].concat();
        self.vars.ask(&mut client.vars, "application_name", &full);
    }

    /// The caller knows that the names are what is wrong: of no other login is this said.
    pub(super) fn log_login_failed(&mut self, id: ClientId, database: &str, user: &str) {
        if self.settings().log_connections {
            let text = format_args!("login failed: db={database} user={user}");
            self.log_client(Level::Log, id, text);
        }
    }

    pub(super) fn database_for(&mut self, id: ClientId, name: &str) -> Result<DatabaseId, Reason> {
        let found = match self.directory.find_database(name) {
            Some(found) => found,
            None => self.auto_database(id, name).ok_or(Reason::NoSuchDatabase(cut(name).into()))?,
        };
        if self.databases[found].is_disabled {
            return Err(Reason::DatabaseDisabled(cut(name).into()));
        }
        Ok(found)
    }

    pub(super) fn check_client_limits(
        &mut self,
        database: DatabaseId,
        user: &str,
    ) -> Result<(), Reason> {
        let limit = self.limits().max_db_client_connections(database);
        if limit > 0 && self.databases[database].clients >= limit {
            self.note_limit(ReachedLimit::DatabaseClients(database));
            return Err(Reason::DatabaseClientsExceeded);
        }
        self.check_user_client_limit(user)
    }

    /// Counts a user's console sessions with its other clients. A user whom no file names may have
    /// no record; the setting is its limit then.
    pub(super) fn check_user_client_limit(&mut self, name: &str) -> Result<(), Reason> {
        let user = self.directory.find_user(name);
        let limit = match user {
            Some(user) => self.limits().max_user_client_connections(user),
            None => self.settings().max_user_client_connections,
        };
        let clients = user.map_or(0, |user| self.users[user].clients as usize);
        if limit == 0 || clients + self.consoles_of(name) < limit as usize {
            return Ok(());
        }
        if let Some(user) = user {
            self.note_limit(ReachedLimit::UserClients(user));
        }
        Err(Reason::UserClientsExceeded)
    }

    fn consoles_of(&self, user: &str) -> usize {
        let is_theirs = |id: &ClientId| match self.clients[*id].state() {
            ClientState::Console(console) => console.user == user,
            _ => false,
        };
        self.consoles.iter(&self.clients).filter(is_theirs).count()
    }
}

/// The address of a client as pg_stat_activity shows it. A process of this machine is named with
/// the machine's name.
fn place_of(peer: PeerAddress, name: fn() -> Option<String>) -> String {
    match (peer, name()) {
        (PeerAddress::Unix { pid: Some(pid), port }, Some(name)) => {
            format!("unix({pid}@{name}):{port}")
        }
        (PeerAddress::Tcp { .. } | PeerAddress::Unix { .. }, _) => peer.to_string(),
    }
}

/// Cuts a database name to the length of PostgreSQL's names before a stranger is told it.
fn cut(name: &str) -> &str {
    let end = (0..=name.len().min(DATABASE_NAME_BYTES_MAX))
        .rev()
        .find(|&at| name.is_char_boundary(at))
        .unwrap_or(0);
    &name[..end]
}

/// Database and user. Of a repeated parameter the last one counts; the database defaults to the
/// user.
fn names_of(parameters: &[(Cow<'_, str>, &[u8])]) -> Result<StartupNames, Reason> {
    let last = |name: &str| {
        let found = parameters.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| String::from_utf8_lossy(value)).filter(|value| !value.is_empty())
    };
    let user = last("user").ok_or(Reason::NoUserName)?;
    let database = last("database").unwrap_or(user.clone());
    Ok(StartupNames { database: database.into(), user: user.into() })
}

/// What kind of replication a client asks for. The last `replication` parameter counts.
fn replication_of(parameters: &[(Cow<'_, str>, &[u8])]) -> Replication {
    let mut words = parameters.iter().rev().filter(|(name, _)| name == "replication");
    words.next().map_or(Replication::No, |(_, word)| replication(word))
}

/// Reads the value as PostgreSQL does: `database`, or a boolean in any case, of which a prefix is
/// enough. A value that PostgreSQL would refuse asks for no replication, as in PgBouncer.
fn replication(value: &[u8]) -> Replication {
    let begins = |word: &str| {
        !value.is_empty() && word.len() >= value.len() && {
            value.eq_ignore_ascii_case(&word.as_bytes()[..value.len()])
        }
    };
    match value {
        b"database" => Replication::Logical,
        b"1" => Replication::Physical,
        _ if begins("true") || begins("yes") => Replication::Physical,
        _ if value.eq_ignore_ascii_case(b"on") => Replication::Physical,
        _ => Replication::No,
    }
}

/// Splits `-c name=value`, `-cname=value` and `--name=value`; any other switch yields `None`. A
/// backslash takes the next character literally.
fn switches(text: &[u8]) -> Vec<Option<Vec<u8>>> {
    let mut words = words(text).into_iter().peekable();
    let mut found = Vec::new();
    while let Some(word) = words.next() {
        let switch = if word == b"-c" {
            words.next()
        } else {
            let value = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-c"));
            value.map(<[u8]>::to_vec)
        };
        found.push(switch);
    }
    found
}

/// Name and value of a switch.
fn assignment(switch: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = switch.iter().position(|&byte| byte == b'=')?;
    Some((&switch[..end], &switch[end + 1..]))
}

fn words(text: &[u8]) -> Vec<Vec<u8>> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    let mut started = false;
    let mut bytes = text.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => {
                word.extend(bytes.next());
                started = true;
            }
            b' ' if !started => {}
            b' ' => {
                words.push(std::mem::take(&mut word));
                started = false;
            }
            _ => {
                word.push(byte);
                started = true;
            }
        }
    }
    if started {
        words.push(word);
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(text: &str) -> Vec<Option<Vec<u8>>> {
        switches(text.as_bytes())
    }

    #[test]
    fn options_are_split_as_postgresql_splits_them() {
        let some = |s: &str| Some(s.as_bytes().to_vec());
        assert_eq!(split("-c a=b  -cc=d --e=f"), [some("a=b"), some("c=d"), some("e=f")]);
        assert_eq!(split(r"-c a=x\ y"), [some("a=x y")]);
        assert_eq!(split("-d 5"), [None, None]);
        assert_eq!(split("-c"), [None]);
        assert_eq!(split(" "), []);
        assert_eq!(split("\\"), [some("").filter(|_| false)]);
    }

    #[test]
    fn the_database_is_the_users_by_default_and_the_last_name_counts() {
        let pairs = |list: &[(&'static str, &'static str)]| -> Vec<_> {
            list.iter().map(|&(n, v)| (Cow::from(n), v.as_bytes())).collect()
        };
        let names = names_of(&pairs(&[("user", "a"), ("user", "b")])).unwrap();
        assert_eq!((&*names.user, &*names.database), ("b", "b"));
        assert_eq!(names_of(&pairs(&[("user", "")])), Err(Reason::NoUserName));
        assert_eq!(names_of(&pairs(&[])), Err(Reason::NoUserName));
    }
}
