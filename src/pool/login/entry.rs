//! A client's way in: its first packet, the parameters it brings, and what it may open.
//!
//! Nothing is told here that helps a stranger: whether a database exists is told after login only.

use std::borrow::Cow;

use crate::config::DATABASE_NAME_BYTES_MAX;
use crate::log::{Level, PeerAddress};
use crate::pool::core::{Action, CONSOLE, Core};
use crate::pool::ids::{ClientId, DatabaseId};
use crate::pool::records::client::{Client, ClientState, Replication, StartupNames};
use crate::pool::records::strangers::StrangerOrigin;
use crate::pool::telling::events::ReachedLimit;
use crate::pool::telling::reason::Reason;
use crate::wire::build::Message;
use crate::wire::kind::Back;
use crate::wire::startup::{self, BadStartup, Packet, ParsedStartup};

/// The newest minor version of protocol 3 that is spoken here, and all that is new in it: cancel
/// keys may be long.
const NEWEST_MINOR: u16 = 2;

/// User names from this length on are refused, in bytes.
const USER_NAME_BYTES_LIMIT: usize = 128;

/// Connections that may log in at a time, whatever max_client_conn is.
const STRANGERS_MIN: usize = 100;

/// Connections without a login leave an eighth of all descriptors to others, but no fewer than this
/// and no more than the next.
const KEPT_DESCRIPTORS_MIN: usize = 32;
const KEPT_DESCRIPTORS_MAX: usize = 1024;

/// What the shell does with the bytes of a connection that has sent no StartupMessage yet.
#[derive(Debug, PartialEq, Eq)]
pub enum Opening {
    /// So many bytes were taken; there may be more to read.
    Taken(usize),
    /// The packet is not whole yet.
    Short,
    /// The client is being closed.
    Closed,
    /// The bytes are the beginning of a TLS handshake.
    Secure,
}

/// A new connection, as the listener tells it.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    pub peer: PeerAddress,
    pub local: PeerAddress,
    /// The user behind a Unix socket.
    pub uid: Option<u32>,
}

impl Core {
    /// Takes in a new connection. Where too many have not proved anything yet, the oldest of those
    /// from where most come gives way.
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

    /// How many connections may be there that have not logged in: as many as may do so at a time,
    /// and no more than leave descriptors for the console, servers and files.
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

    /// Whether the next bytes of this client are a startup packet rather than a message.
    pub fn awaits_startup(&self, id: ClientId) -> bool {
        match self.clients[id].state() {
            ClientState::Login(login) => login.names.is_none(),
            _ => false,
        }
    }

    /// Judges what a client has sent first. `bytes` is all that has come.
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

    /// `more` tells that bytes came after the packet: after a request for encryption they would
    /// be taken for what was sent under it.
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
            let StartupNames { database, user } = &names;
            self.log_client(
                Level::Log,
                id,
                format_args!("login failed: db={database} user={user}"),
            );
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

    /// Tells a client which version it gets instead of a newer one, and which options are unknown.
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

    /// The console drops what it does not know: it has no server that a parameter could concern,
    /// and takes what drivers send.
    fn take_parameter(
        &mut self,
        id: ClientId,
        name: &str,
        value: &[u8],
        drops_unknown: bool,
    ) -> Result<(), Reason> {
        match name {
            "user" | "database" | "replication" => return Ok(()),
            // PostgreSQL judges them: it has this one client only.
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

    /// Returns false for a parameter that is neither tracked nor to be ignored.
    fn set_startup_parameter(&mut self, id: ClientId, name: &str, value: &[u8]) -> bool {
        let is_application_name = name.eq_ignore_ascii_case("application_name");
        if self.is_ignored(name) && !is_application_name {
            return true;
        }
        self.vars.ask(&mut self.clients[id].vars, name, value)
    }

    /// Adds where the client is to its application_name (application_name_add_host).
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
        let limit = self.max_db_client_connections(database);
        if limit > 0 && self.databases[database].clients >= limit {
            self.note_limit(ReachedLimit::DatabaseClients(database));
            return Err(Reason::DatabaseClientsExceeded);
        }
        self.check_user_client_limit(user)
    }

    /// A user's sessions on the console count with the others. A user whom no file names may have
    /// no record, and is held to the setting.
    pub(super) fn check_user_client_limit(&mut self, name: &str) -> Result<(), Reason> {
        let user = self.directory.find_user(name);
        let limit = match user {
            Some(user) => self.max_user_client_connections(user),
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

/// Where a client is, for those who read pg_stat_activity: a process of this machine by the
/// machine's name, too.
fn place_of(peer: PeerAddress, name: fn() -> Option<String>) -> String {
    match (peer, name()) {
        (PeerAddress::Unix { pid: Some(pid), port }, Some(name)) => {
            format!("unix({pid}@{name}):{port}")
        }
        (PeerAddress::Tcp { .. } | PeerAddress::Unix { .. }, _) => peer.to_string(),
    }
}

/// Names of databases are told back to a stranger no longer than PostgreSQL's names are.
fn cut(name: &str) -> &str {
    let end = (0..=name.len().min(DATABASE_NAME_BYTES_MAX))
        .rev()
        .find(|&at| name.is_char_boundary(at))
        .unwrap_or(0);
    &name[..end]
}

/// Database and user; the last one of a name counts, and the database is the user's by default.
fn names_of(parameters: &[(Cow<'_, str>, &[u8])]) -> Result<StartupNames, Reason> {
    let last = |name: &str| {
        let found = parameters.iter().rev().find(|(n, _)| n == name);
        found.map(|(_, value)| String::from_utf8_lossy(value)).filter(|value| !value.is_empty())
    };
    let user = last("user").ok_or(Reason::NoUserName)?;
    let database = last("database").unwrap_or(user.clone());
    Ok(StartupNames { database: database.into(), user: user.into() })
}

/// What a client wants to replicate, by the last word that it says about it.
fn replication_of(parameters: &[(Cow<'_, str>, &[u8])]) -> Replication {
    let mut words = parameters.iter().rev().filter(|(name, _)| name == "replication");
    words.next().map_or(Replication::No, |(_, word)| replication(word))
}

/// As PostgreSQL reads it: `database`, or a boolean in any case, whose beginning is enough. What
/// PostgreSQL would refuse asks for no replication, as in PgBouncer.
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

/// Splits `-c name=value`, `-cname=value` and `--name=value`; `None` stands for what is none of
/// them. A backslash takes the next character as it is.
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
