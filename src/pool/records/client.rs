//! A client: one connection to the pooler, from its first packet to its end.

pub use super::console::{ConsolePortal, ConsoleSession, ConsoleState, PendingCommand, Script};
use super::inquiries::Question;
use super::listening::Listens;
use super::pass::Pass;
use super::secured::Secured;
use crate::auth::client::{AwaitKeys, ClientLogin};
use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::interned::InternedKey;
use crate::base::list::{Linked, Links};
use crate::base::time::Moment;
use crate::config::{PoolMode, SessionState};
use crate::log::{ConnectionOwner, ConnectionSide, PeerAddress, Prefix, ptr};
use crate::pool::ids::{CarrierId, ClientKind, DatabaseId, PoolId, ServerId, UserId};
use crate::pool::owed::verdict::Hold;
use crate::pool::owed::wishes::ClientVars;
use crate::pool::statements::table::ClientStatements;
use crate::pool::statements::traces::Traces;

/// The state of a client. Each state is also the list that holds the client.
#[derive(Debug)]
pub enum ClientState {
    /// The startup packet has not come, or the login is under way.
    Login(Box<ClientHandshake>),
    /// The client has proved who it is and belongs to a pool.
    Member(Member, Standing),
    /// The client is logged in to the console.
    Console(Box<ConsoleState>),
    /// The connection asks to cancel another client's query; the carrier takes the request there.
    Cancel { carrier: CarrierId },
    /// The client has been told the reason; that is still to be sent before the connection is
    /// closed. Log lines still name the pool that the client belonged to.
    Closing(Option<Member>),
}

/// The database, user and pool of a client past its login.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub database: DatabaseId,
    /// The user who logged in.
    pub user: UserId,
    /// The pool whose servers the client uses.
    pub pool: PoolId,
}

/// The standing of a client in its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The client waits for the parameters that the pool's first server will report.
    AwaitWelcome,
    /// Logged in, without a server and without a request.
    Idle,
    /// The client has a request and waits in the queue of the pool.
    Waiting,
    /// The client has a server.
    Active { server: ServerId },
}

/// The list that holds a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientPlace {
    Cancel,
    Console,
    Login,
    Nowhere,
    Pool(PoolId, PoolPlace),
}

/// One of the lists of clients in a pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolPlace {
    /// Clients that have a server, and clients that have asked for none: a transaction begins and
    /// ends without a move between lists.
    Settled,
    Waiting,
    Welcoming,
}

impl ClientState {
    #[inline(always)]
    pub fn place(&self) -> ClientPlace {
        match self {
            ClientState::Cancel { .. } => ClientPlace::Cancel,
            ClientState::Closing(_) => ClientPlace::Nowhere,
            ClientState::Console(_) => ClientPlace::Console,
            ClientState::Login(_) => ClientPlace::Login,
            ClientState::Member(member, standing) => {
                ClientPlace::Pool(member.pool, standing.place())
            }
        }
    }
}

impl Standing {
    #[inline(always)]
    pub fn place(self) -> PoolPlace {
        match self {
            Standing::Active { .. } | Standing::Idle => PoolPlace::Settled,
            Standing::AwaitWelcome => PoolPlace::Welcoming,
            Standing::Waiting => PoolPlace::Waiting,
        }
    }
}

/// The login of a client.
#[derive(Debug, Default)]
pub struct ClientHandshake {
    /// The system user at the other end of a Unix socket.
    pub uid: Option<u32>,
    /// Database and user of the startup packet; `None` before it has come.
    pub names: Option<StartupNames>,
    pub progress: Progress,
    /// The configuration that decided which proof to ask for (`Core::generation`).
    pub generation: u64,
    /// The secret that auth_query has returned.
    pub found: Option<Secret>,
    /// Whether user or database does not exist: log lines then name neither.
    pub is_stray: bool,
    /// Whether the client asked for TLS and was denied it.
    pub was_denied_tls: bool,
}

impl ClientHandshake {
    /// Whether the login waits for something other than the client, whose messages are kept
    /// meanwhile.
    pub fn is_held(&self) -> bool {
        match self.progress {
            Progress::Deriving(_)
            | Progress::Judged(_)
            | Progress::LookUp { .. }
            | Progress::Parked => true,
            Progress::Asked(_) | Progress::Begun => false,
        }
    }

    /// The longest payload that the client may send now, in bytes.
    pub fn longest_answer(&self) -> Option<usize> {
        match &self.progress {
            Progress::Asked(login) => Some(login.longest()),
            Progress::Begun
            | Progress::Deriving(_)
            | Progress::Judged(_)
            | Progress::LookUp { .. }
            | Progress::Parked => None,
        }
    }

    pub fn awaits_keys(&self) -> bool {
        matches!(self.progress, Progress::Deriving(_))
    }

    /// Whether the client waits for a server that looks up its user.
    pub fn is_queued(&self) -> bool {
        matches!(self.progress, Progress::LookUp { is_sent: false, .. })
    }
}

/// What a login waits for.
#[derive(Debug, Default)]
pub enum Progress {
    /// The startup packet, or nothing that lasts longer than a turn.
    #[default]
    Begun,
    /// The answer of the client.
    Asked(ClientLogin),
    /// Keys with which to check the client's answer.
    Deriving(AwaitKeys),
    /// The verdict of LDAP or PAM on the password.
    Judged(Box<Question>),
    /// The secret of the user: a lookup in this pool, whose query has or has not been sent.
    LookUp { pool: PoolId, is_sent: bool },
    /// A place among the unknown databases that lookups may try at a time.
    Parked,
}

/// The names in a startup packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupNames {
    pub database: String,
    pub user: String,
}

/// Which kind of walsender session the client asked for (manual, "Streaming Replication Protocol").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replication {
    #[default]
    No,
    Logical,
    Physical,
}

impl Replication {
    /// The word in the log line on a login; SHOW CLIENTS uses other words.
    pub fn word(self) -> &'static str {
        match self {
            Replication::No => "no",
            Replication::Logical => "database",
            Replication::Physical => "yes",
        }
    }
}

/// The error that a client gets instead of an answer to a request that waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueryRefusal {
    #[default]
    None,
    /// The next query is not run but answered with 57014.
    Cancelled,
    /// An extended query was refused: everything up to Sync is dropped.
    ToSync,
}

/// The parts of a record that few clients need.
#[derive(Default)]
pub struct Rare {
    /// The TLS of the connection, if it has any.
    pub tls: Option<Box<Secured>>,
    /// The startup parameter `options` of a replication client, passed unchanged to its server.
    pub options: Option<Vec<u8>>,
    pub choice: Choice,
    /// The channels to which it listens through the shared connection.
    pub(in crate::pool) listens: Option<Box<Listens>>,
    /// The kinds of session state that the log has already warned of.
    pub(in crate::pool) warned_of: Traces,
}

/// The choices of a client at its login.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// The client's own pool mode, instead of the pool's.
    pub mode: Option<PoolMode>,
    /// What happens to the session state that the client leaves, unless the settings ask for more.
    pub policy: Option<SessionState>,
}

pub struct Client {
    links: Links<ClientKind>,
    /// Only `core::link` writes it.
    state: ClientState,
    /// Drawn from one counter with servers, and never used again.
    pub number: u64,
    pub peer: PeerAddress,
    /// The local address of the connection, as a key of `Core::addresses`.
    pub(in crate::pool) local: InternedKey,
    pub connected: Moment,
    /// When the last request came.
    pub requested: Moment,
    /// When the present state was entered.
    pub since: Moment,
    /// When the query under way was sent to the server, or when the last one was answered.
    pub query_start: Moment,
    pub vars: ClientVars,
    /// The first eight bytes of the cancel key that the client was given.
    pub key: u64,
    pub replication: Replication,
    /// The parts that few clients need.
    pub rare: Option<Box<Rare>>,
    /// The mark of the server that the client had last. That server knows its last client, whose
    /// unnamed statement it holds; the mark proves that this client has since made none elsewhere.
    pub last_server: [u8; 3],
    pub statements: Option<Box<ClientStatements>>,
    pub refusal: QueryRefusal,
    /// Why the client's messages are not judged at present.
    pub(in crate::pool) hold: Option<Hold>,
    /// Whether `Core::client_count` counts the client: past its startup packet, and not of the
    /// console.
    pub is_counted: bool,
    /// Whether the cancel key is longer than eight bytes: the client speaks protocol 3.2.
    pub has_long_key: bool,
}

impl Record for Client {
    type Kind = ClientKind;
}

impl Linked for Client {
    fn links(&self) -> &Links<ClientKind> {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links<ClientKind> {
        &mut self.links
    }
}

impl Client {
    pub fn new(
        number: u64,
        now: Moment,
        peer: PeerAddress,
        local: InternedKey,
        uid: Option<u32>,
    ) -> Client {
        Client {
            links: Links::default(),
            state: ClientState::Login(Box::new(ClientHandshake {
                uid,
                ..ClientHandshake::default()
            })),
            number,
            peer,
            local,
            connected: now,
            requested: now,
            since: now,
            query_start: Moment(0),
            vars: ClientVars::default(),
            key: 0,
            replication: Replication::No,
            rare: None,
            last_server: [0; 3],
            statements: None,
            refusal: QueryRefusal::None,
            hold: None,
            is_counted: false,
            has_long_key: false,
        }
    }

    /// The same client in another state, while no list holds it.
    #[cfg(test)]
    pub(in crate::pool) fn in_state(self, state: ClientState) -> Client {
        Client { state, ..self }
    }

    #[inline(always)]
    pub fn state(&self) -> &ClientState {
        &self.state
    }

    /// The TLS of the connection, if it has any.
    pub fn tls(&self) -> Option<&Secured> {
        self.rare.as_ref()?.tls.as_deref()
    }

    /// The channels to which the client listens through the shared connection.
    pub(in crate::pool) fn listens(&self) -> Option<&Listens> {
        self.rare.as_ref()?.listens.as_deref()
    }

    /// Whether the client has channels that the shared connection listens to.
    pub(in crate::pool) fn has_channels(&self) -> bool {
        self.listens().is_some_and(|listens| !listens.channels.is_empty())
    }

    /// Whether the end of the transaction is withheld from the client until its channels are
    /// listened to.
    #[inline]
    pub(in crate::pool) fn awaits_channels(&self) -> bool {
        self.rare.is_some() && self.listens().is_some_and(|listens| listens.awaits.is_some())
    }

    /// The choices of the client at its login.
    #[inline(always)]
    pub fn choice(&self) -> Choice {
        self.rare.as_ref().map_or(Choice::default(), |rare| rare.choice)
    }

    pub(in crate::pool) fn set_state(&mut self, to: ClientState, _: &Pass) {
        self.state = to;
    }

    /// Changes the standing of a client within its pool.
    #[inline(always)]
    pub(in crate::pool) fn set_standing(&mut self, to: Standing, _: &Pass) {
        if let ClientState::Member(_, standing) = &mut self.state {
            *standing = to;
        }
    }

    /// The database, user and pool of the client, even while it is closing.
    #[inline(always)]
    pub fn member(&self) -> Option<&Member> {
        match &self.state {
            ClientState::Member(member, _) | ClientState::Closing(Some(member)) => Some(member),
            ClientState::Cancel { .. }
            | ClientState::Closing(None)
            | ClientState::Console(_)
            | ClientState::Login(_) => None,
        }
    }

    /// The standing of the client in its pool.
    #[inline(always)]
    pub fn standing(&self) -> Option<Standing> {
        match self.state {
            ClientState::Member(_, standing) => Some(standing),
            _ => None,
        }
    }

    #[inline(always)]
    pub fn pool(&self) -> Option<PoolId> {
        self.member().map(|member| member.pool)
    }

    /// The client's login, while it lasts.
    pub(in crate::pool) fn login(&self) -> Option<&ClientHandshake> {
        match &self.state {
            ClientState::Login(login) => Some(login),
            _ => None,
        }
    }

    pub(in crate::pool) fn login_mut(&mut self) -> Option<&mut ClientHandshake> {
        match &mut self.state {
            ClientState::Login(login) => Some(login),
            _ => None,
        }
    }

    /// The client's console session.
    pub(in crate::pool) fn console(&self) -> Option<&ConsoleState> {
        match &self.state {
            ClientState::Console(console) => Some(console),
            _ => None,
        }
    }

    pub(in crate::pool) fn console_mut(&mut self) -> Option<&mut ConsoleState> {
        match &mut self.state {
            ClientState::Console(console) => Some(console),
            _ => None,
        }
    }

    /// The carrier of the client's cancel request.
    pub fn cancel_carrier(&self) -> Option<CarrierId> {
        match self.state {
            ClientState::Cancel { carrier } => Some(carrier),
            _ => None,
        }
    }

    /// The server that the client has.
    #[inline(always)]
    pub fn server(&self) -> Option<ServerId> {
        match self.state {
            ClientState::Member(_, Standing::Active { server }) => Some(server),
            _ => None,
        }
    }

    /// Whether the client has names that a DEALLOCATE could drop. Most clients have none, and no
    /// DEALLOCATE is looked for in their queries.
    #[inline(always)]
    pub(in crate::pool) fn has_named(&self) -> bool {
        self.statements.as_ref().is_some_and(|statements| !statements.names.is_empty())
    }

    /// Why the client's messages are not judged at present.
    #[inline(always)]
    pub fn hold(&self) -> Option<Hold> {
        self.hold
    }

    pub fn is_closing(&self) -> bool {
        matches!(self.state, ClientState::Closing(_))
    }

    pub fn is_waiting(&self) -> bool {
        matches!(self.state, ClientState::Member(_, Standing::Waiting))
    }

    /// Whether the client has logged in, to a pool or to the console.
    pub fn is_logged_in(&self) -> bool {
        match self.state {
            ClientState::Member(_, standing) => standing != Standing::AwaitWelcome,
            ClientState::Console(_) => true,
            ClientState::Login(_) | ClientState::Cancel { .. } | ClientState::Closing(_) => false,
        }
    }

    /// The process id in the client's cancel key, as NotificationResponse carries it.
    pub fn process_id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.key.to_be_bytes();
        [a, b, c, d]
    }

    /// The name of the connection at the start of its log lines.
    pub fn prefix<'a>(&self, database: Option<&'a str>, user: Option<&'a str>) -> Prefix<'a> {
        Prefix {
            side: ConnectionSide::Client,
            ptr: ptr(self.number, ConnectionSide::Client),
            who: ConnectionOwner::Login { database, user },
            peer: self.peer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_that_is_idle_takes_little_room() {
        assert!(size_of::<Client>() <= 168, "{} bytes", size_of::<Client>());
    }
}
