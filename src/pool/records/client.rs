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

/// Where a client stands. Each state is also the list that holds the client.
#[derive(Debug)]
pub enum ClientState {
    /// Its startup packet has not come, or its login is under way.
    Login(Box<ClientHandshake>),
    /// It has proved who it is, and belongs to a pool.
    Member(Member, Standing),
    /// It is logged in to the console.
    Console(Box<ConsoleState>),
    /// It came to cancel another client's query; the carrier takes the request there.
    Cancel { carrier: CarrierId },
    /// It has been told its reason; what is left is to send that and close. Lines about it still
    /// name where it belonged.
    Closing(Option<Member>),
}

/// What a client past its login belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Member {
    pub database: DatabaseId,
    /// The user who logged in.
    pub user: UserId,
    /// The pool whose servers are used.
    pub pool: PoolId,
}

/// Where a client stands in its pool.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Standing {
    /// The pool does not know yet what the server will report.
    AwaitWelcome,
    /// Logged in, without a server, and nothing asked.
    Idle,
    /// It has asked and waits in the pool's queue.
    Waiting,
    /// It has a server.
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

/// One of the lists of clients that a pool has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PoolPlace {
    Active,
    Idle,
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
            Standing::Active { .. } => PoolPlace::Active,
            Standing::AwaitWelcome => PoolPlace::Welcoming,
            Standing::Idle => PoolPlace::Idle,
            Standing::Waiting => PoolPlace::Waiting,
        }
    }
}

/// What is known of a client that is not logged in.
#[derive(Debug, Default)]
pub struct ClientHandshake {
    /// The user behind a Unix socket.
    pub uid: Option<u32>,
    /// Database and user, as the startup packet named them; `None` before that.
    pub names: Option<StartupNames>,
    pub progress: Progress,
    /// Which configuration said how it has to prove who it is (`Core::generation`).
    pub generation: u64,
    /// What auth_query has found for its user.
    pub found: Option<Secret>,
    /// There is no such user, or no such database: the log names none then.
    pub is_stray: bool,
    /// It has asked for TLS and got none.
    pub was_denied_tls: bool,
}

impl ClientHandshake {
    /// Whether it waits for something else than the client, whose messages are kept.
    pub fn is_held(&self) -> bool {
        match self.progress {
            Progress::Deriving(_)
            | Progress::Judged(_)
            | Progress::LookUp { .. }
            | Progress::Parked => true,
            Progress::Asked(_) | Progress::Begun => false,
        }
    }

    /// The longest message that it may send now.
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

    /// Whether it waits for a server to look up its user.
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
    /// The client's answer.
    Asked(ClientLogin),
    /// Keys to hold the client's answer against.
    Deriving(AwaitKeys),
    /// What somebody else says of its password.
    Judged(Box<Question>),
    /// Its user's secret: a lookup of this pool, whose query has been sent or not.
    LookUp { pool: PoolId, is_sent: bool },
    /// Its database is one that nobody knows, and as many of those are tried as may be: its turn
    /// comes later.
    Parked,
}

/// Names of a startup packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartupNames {
    pub database: String,
    pub user: String,
}

/// What kind of walsender session the client asked for (manual, "Streaming Replication Protocol").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Replication {
    #[default]
    No,
    Logical,
    Physical,
}

impl Replication {
    /// The word for it in the line on a login; SHOW CLIENTS has words of its own.
    pub fn word(self) -> &'static str {
        match self {
            Replication::No => "no",
            Replication::Logical => "database",
            Replication::Physical => "yes",
        }
    }
}

/// What a client is told in place of an answer to what it has asked while it waited.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum QueryRefusal {
    #[default]
    None,
    /// The next query is answered with 57014 and not run.
    Cancelled,
    /// An extended query was refused: all up to Sync is dropped.
    ToSync,
}

/// What few clients have.
#[derive(Default)]
pub struct Rare {
    /// Its connection is under TLS.
    pub tls: Option<Box<Secured>>,
    /// The startup parameter `options` of a replication client, which its server gets as it came.
    pub options: Option<Vec<u8>>,
    pub choice: Choice,
    /// What it listens to without a server of its own.
    pub(in crate::pool) listens: Option<Box<Listens>>,
    /// What the log was told that it leaves to others.
    pub(in crate::pool) warned_of: Traces,
}

/// What a client has chosen at its login.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Choice {
    /// How it uses the servers of its pool, instead of as the pool does.
    pub mode: Option<PoolMode>,
    /// What becomes of what it leaves in their sessions, unless more is asked of it.
    pub policy: Option<SessionState>,
}

pub struct Client {
    links: Links<ClientKind>,
    /// Only `core::link` writes it.
    state: ClientState,
    /// Drawn from one counter with servers, and never used again.
    pub number: u64,
    pub peer: PeerAddress,
    /// Which of our addresses it has connected to, of `Core::addresses`.
    pub(in crate::pool) local: InternedKey,
    pub connected: Moment,
    /// The last request.
    pub requested: Moment,
    /// When the present state was entered.
    pub since: Moment,
    /// When the query under way was sent to the server, or when the last one was answered.
    pub query_start: Moment,
    pub vars: ClientVars,
    /// The first eight bytes of what a CancelRequest must bring to cancel this client's query.
    pub key: u64,
    pub replication: Replication,
    /// What few clients have.
    pub rare: Option<Box<Rare>>,
    /// The mark of the server that it had last. A server knows the client that it had last, whose
    /// unnamed statement it has; this tells that the client has not made a newer one elsewhere.
    pub last_server: [u8; 3],
    pub statements: Option<Box<ClientStatements>>,
    pub refusal: QueryRefusal,
    /// Why nothing that it sends is judged at present.
    pub(in crate::pool) hold: Option<Hold>,
    /// It is past its startup packet, and not of the console.
    pub is_counted: bool,
    /// More than those eight bytes must be brought: it has agreed on protocol 3.2.
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

    #[inline(always)]
    pub fn state(&self) -> &ClientState {
        &self.state
    }

    /// What is known of its connection's TLS.
    pub fn tls(&self) -> Option<&Secured> {
        self.rare.as_ref()?.tls.as_deref()
    }

    /// What it listens to without a server of its own.
    pub(in crate::pool) fn listens(&self) -> Option<&Listens> {
        self.rare.as_ref()?.listens.as_deref()
    }

    /// Whether the end of its transaction is kept from it until its channels are heard.
    #[inline]
    pub(in crate::pool) fn awaits_channels(&self) -> bool {
        self.rare.is_some() && self.listens().is_some_and(|listens| listens.awaits.is_some())
    }

    /// What it has chosen at its login.
    #[inline(always)]
    pub fn choice(&self) -> Choice {
        self.rare.as_ref().map_or(Choice::default(), |rare| rare.choice)
    }

    pub(in crate::pool) fn set_state(&mut self, to: ClientState, _: &Pass) {
        self.state = to;
    }

    /// Another standing in the pool that it belongs to already.
    #[inline(always)]
    pub(in crate::pool) fn set_standing(&mut self, to: Standing, _: &Pass) {
        if let ClientState::Member(_, standing) = &mut self.state {
            *standing = to;
        }
    }

    /// What it belongs to, or belonged to before it was closed.
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

    /// Where it stands in its pool.
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

    /// Its login, as far as it has come.
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

    /// Its session with the console.
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

    /// What carries its cancel request.
    pub fn cancel_carrier(&self) -> Option<CarrierId> {
        match self.state {
            ClientState::Cancel { carrier } => Some(carrier),
            _ => None,
        }
    }

    /// The server that it has.
    #[inline(always)]
    pub fn server(&self) -> Option<ServerId> {
        match self.state {
            ClientState::Member(_, Standing::Active { server }) => Some(server),
            _ => None,
        }
    }

    /// Why nothing that it sends is judged at present.
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

    /// Whether it has come through its login, to a pool or to the console.
    pub fn is_logged_in(&self) -> bool {
        match self.state {
            ClientState::Member(_, standing) => standing != Standing::AwaitWelcome,
            ClientState::Console(_) => true,
            ClientState::Login(_) | ClientState::Cancel { .. } | ClientState::Closing(_) => false,
        }
    }

    /// The process id that it was told, as messages carry it.
    pub fn process_id(&self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.key.to_be_bytes();
        [a, b, c, d]
    }

    /// The connection's name at the start of its log lines.
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
