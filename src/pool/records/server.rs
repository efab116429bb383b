//! A server: one connection of the pooler to PostgreSQL, with its state.

use super::handshake::ServerHandshake;
use super::lookup::Lookup;
pub use super::own::{Attempt, Doubt, OwnQuery, Rescue, Test};
use super::pass::Pass;
use super::secured::Secured;
use super::session::ServerSession;
use super::site::SiteId;
use crate::base::arena::Record;
use crate::base::list::{Linked, Links};
use crate::base::time::{Moment, NEVER};
use crate::config::PoolMode;
use crate::log::{ConnectionOwner, ConnectionSide, PeerAddress, Prefix, ptr};
use crate::pool::ids::{CarrierId, ClientId, PoolId, ServerKind};
use crate::pool::owed::kept::KeptQuery;
use crate::pool::owed::misnamed::Misnamed;
use crate::pool::owed::replies::Replies;
use crate::pool::owed::request::Request;
use crate::pool::owed::unnamed::UnnamedText;
use crate::pool::owed::wishes::ServerVars;
use crate::pool::statements::held::ServerStatements;
use crate::pool::telling::reason::Reason;
use crate::wire::head::Head;
use crate::wire::kind::Front;

/// The most that a server may send in a row that was not asked for and that no client gets, in
/// bytes: reading it takes time from other connections.
const MOST_UNHEARD_BYTES: u32 = 1024 * 1024;

/// What a notice, notification or parameter counts besides its body, in bytes.
const NEWS_COST_BYTES: u32 = 64;

/// The state of a server. Each state but `Between` and `Closing` is also the list of the pool that
/// holds the server.
#[derive(Debug)]
pub enum ServerState {
    /// From the decision to connect to the first ReadyForQuery, with connect_query.
    Login(Box<ServerHandshake>),
    /// Ready for the next client.
    Idle,
    /// Idle for longer than server_check_delay: it must be tested before a client gets it.
    Used,
    /// A query of the pooler's own is running.
    Tested(Test),
    /// A client has the server.
    Active { client: ClientId },
    /// The server runs auth_query.
    Lookup(Box<Lookup>),
    /// The client has released the server, but a cancel request for it is under way.
    BeingCanceled,
    /// In no list: the server has no client, and the turn has yet to decide its next state.
    Between,
    /// Closed; the shell has not given the record back yet.
    Closing,
}

/// The list of its pool that holds a server.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ServerPlace {
    Active,
    BeingCanceled,
    Idle,
    Login,
    Tested,
    Used,
}

impl ServerState {
    /// Whether it counts against the limits of its pool, database and user.
    pub fn is_counted(&self) -> bool {
        !matches!(self, ServerState::Closing)
    }

    #[inline(always)]
    pub fn place(&self) -> Option<ServerPlace> {
        Some(match self {
            ServerState::Between | ServerState::Closing => return None,
            ServerState::Active { .. } | ServerState::Lookup(_) => ServerPlace::Active,
            ServerState::BeingCanceled => ServerPlace::BeingCanceled,
            ServerState::Idle => ServerPlace::Idle,
            ServerState::Login(_) => ServerPlace::Login,
            ServerState::Tested(_) => ServerPlace::Tested,
            ServerState::Used => ServerPlace::Used,
        })
    }
}

pub struct Server {
    links: Links<ServerKind>,
    /// Only `core::link` writes it.
    state: ServerState,
    /// Drawn from one counter with clients, and never used again.
    pub number: u64,
    pub pool: PoolId,
    pub peer: PeerAddress,
    pub local: PeerAddress,
    /// The host and port that it connects to.
    pub site: SiteId,
    pub connected: Moment,
    /// When it was last given to a client or released.
    pub requested: Moment,
    /// When the present state was entered.
    pub since: Moment,
    /// When the client's transaction began; 0 before the first client.
    pub xact_start: Moment,
    /// How long the client waited for it, in microseconds; taken when that is logged.
    pub(in crate::pool) waited_us: u64,
    /// The beginning of the query under way, with `log_query_text`.
    pub(in crate::pool) query_text: Option<Box<[u8]>>,
    /// Process id and secret of BackendKeyData, joined as in a CancelRequest.
    pub key: Box<[u8]>,
    pub vars: ServerVars,
    pub replies: Replies,
    pub own: OwnQuery,
    /// The server's error for a query of the pooler's own.
    pub own_error: Option<Box<str>>,
    /// Whether it has sent a FATAL error, which explains why the connection ends.
    pub has_said_farewell: bool,
    /// Why it must be closed as soon as it is free, if so.
    pub closing: Option<Reason>,
    /// The carrier of a cancel request to it.
    pub canceled_by: Option<CarrierId>,
    /// The TLS of the connection, if it has any.
    pub tls: Option<Box<Secured>>,
    pub statements: Option<Box<ServerStatements>>,
    pub(in crate::pool) kept: KeptQuery,
    pub(in crate::pool) unnamed: UnnamedText,
    /// The request under way that it will refuse, if there is one.
    pub(in crate::pool) misnamed: Option<Box<Misnamed>>,
    /// Whether its transaction has changed tables, types or functions.
    pub(in crate::pool) has_changed_tables: bool,
    /// The pool mode of its present or last client.
    pub mode: PoolMode,
    /// Whether clients that share servers have used it since it was opened or reset. It is reset
    /// before a client gets it for a whole session.
    pub(in crate::pool) is_worn: bool,
    /// What clients have left in its session.
    pub session: ServerSession,
    /// The client that last sent notifications through it.
    pub(in crate::pool) notifier: Option<ClientId>,
    /// Its present or last client.
    pub(in crate::pool) last_client: Option<ClientId>,
    /// How much shorter its lifetime is than the setting, so that servers do not all end together.
    pub lifetime_cut_us: u64,
    /// When its lifetime is over (`core::lifetime`).
    pub(in crate::pool) end_of_life: Moment,
    /// Whether its client has not sent anything yet. Only that client may send the next message
    /// then, whatever the state of the server.
    pub is_untouched: bool,
    /// Bytes still to be sent of a client's message that is half sent.
    pub half_sent: u32,
    /// The kind of the client's message that was judged last; if one is half sent, then of that.
    pub last_sent: Front,
    /// Whether one of its messages is half read.
    pub is_mid_reply: bool,
    /// Whether it is a replication connection, for its one client only.
    pub is_private: bool,
    /// Whether its client left in the middle of something: it is reset before the next client gets
    /// it.
    pub is_abandoned: bool,
    /// Bytes it has sent since its last client or query that were not asked for and that no client
    /// gets.
    pub unheard: u32,
    /// Whether its login has derived SCRAM keys, and no client has had an answer from it since.
    pub owes_service: bool,
}

impl Record for Server {
    type Kind = ServerKind;
}

impl Linked for Server {
    fn links(&self) -> &Links<ServerKind> {
        &self.links
    }
    fn links_mut(&mut self) -> &mut Links<ServerKind> {
        &mut self.links
    }
}

impl Server {
    /// Notes the messages that resolve a doubt as owed, once the COPY has ended. Before that the
    /// server takes them for a protocol violation.
    pub fn note_doubt(&mut self) {
        let OwnQuery::Doubt(doubt) = &mut self.own else { return };
        if doubt.is_noted || self.replies.takes_copy_data() {
            return;
        }
        doubt.is_noted = true;
        if doubt.is_synced {
            self.replies.push(Request::Sync);
        }
        self.replies.push(Request::Probe);
        self.replies.push(Request::Sync);
    }

    pub fn new(number: u64, now: Moment, pool: PoolId, site: SiteId, state: ServerState) -> Server {
        let nowhere = PeerAddress::Unix { pid: None, port: 0 };
        Server {
            links: Links::default(),
            state,
            number,
            pool,
            peer: nowhere,
            local: nowhere,
            site,
            connected: now,
            requested: now,
            waited_us: 0,
            query_text: None,
            since: now,
            xact_start: Moment(0),
            key: Box::default(),
            vars: ServerVars::default(),
            replies: Replies::default(),
            own: OwnQuery::Nothing,
            own_error: None,
            has_said_farewell: false,
            closing: None,
            canceled_by: None,
            tls: None,
            statements: None,
            kept: KeptQuery::default(),
            unnamed: UnnamedText::default(),
            misnamed: None,
            has_changed_tables: false,
            mode: PoolMode::Session,
            is_worn: false,
            session: ServerSession::default(),
            notifier: None,
            last_client: None,
            lifetime_cut_us: 0,
            end_of_life: NEVER,
            is_untouched: false,
            half_sent: 0,
            last_sent: Front::Sync,
            is_mid_reply: false,
            is_private: false,
            is_abandoned: false,
            unheard: 0,
            owes_service: false,
        }
    }

    #[inline(always)]
    pub fn state(&self) -> &ServerState {
        &self.state
    }

    /// The last three bytes of its number, which fit into the record of a client. They tell apart
    /// the servers that one client has had.
    pub fn mark(&self) -> [u8; 3] {
        let [.., a, b, c] = self.number.to_be_bytes();
        [a, b, c]
    }

    /// Whether it works for its client, and not on a query of the pooler's own.
    pub fn runs_its_clients(&self) -> bool {
        let is_own = match self.own {
            OwnQuery::Nothing | OwnQuery::Doubt(_) | OwnQuery::Repeat => false,
            OwnQuery::Channels { .. }
            | OwnQuery::Probe { .. }
            | OwnQuery::Recall { .. }
            | OwnQuery::Reset(_)
            | OwnQuery::Undo { .. }
            | OwnQuery::Vars { .. }
            | OwnQuery::VarsRefused => true,
        };
        !is_own && !self.replies.is_answered()
    }

    /// The client that has it.
    #[inline(always)]
    pub fn client(&self) -> Option<ClientId> {
        match self.state {
            ServerState::Active { client } => Some(client),
            _ => None,
        }
    }

    /// The client for which it works at present.
    pub fn served(&self) -> Option<ClientId> {
        self.client().or_else(|| self.lookup()?.clients.first().copied())
    }

    /// The lookup that it runs.
    pub fn lookup(&self) -> Option<&Lookup> {
        match &self.state {
            ServerState::Lookup(lookup) => Some(lookup),
            _ => None,
        }
    }

    pub(in crate::pool) fn lookup_mut(&mut self) -> Option<&mut Lookup> {
        match &mut self.state {
            ServerState::Lookup(lookup) => Some(lookup),
            _ => None,
        }
    }

    /// Its login, while it lasts.
    pub(in crate::pool) fn login(&self) -> Option<&ServerHandshake> {
        match &self.state {
            ServerState::Login(login) => Some(login),
            _ => None,
        }
    }

    pub(in crate::pool) fn login_mut(&mut self) -> Option<&mut ServerHandshake> {
        match &mut self.state {
            ServerState::Login(login) => Some(login),
            _ => None,
        }
    }

    /// The progress of its rescue, if its client left in the middle of something.
    pub(in crate::pool) fn rescue_mut(&mut self) -> Option<&mut Rescue> {
        match &mut self.state {
            ServerState::Tested(Test::Abandoned(rescue)) => Some(rescue),
            _ => None,
        }
    }

    pub(in crate::pool) fn set_state(&mut self, to: ServerState, _: &Pass) -> ServerState {
        std::mem::replace(&mut self.state, to)
    }

    /// Whether it is past its login.
    pub fn is_session(&self) -> bool {
        !matches!(self.state, ServerState::Login(_) | ServerState::Closing)
    }

    /// Whether a client has had it.
    pub fn was_used(&self) -> bool {
        self.xact_start > Moment(0)
    }

    /// Since when its transaction runs; the server of a replication client has none, and is busy
    /// from the beginning.
    pub fn busy_since(&self) -> Moment {
        if self.was_used() { self.xact_start } else { self.since }
    }

    /// Whether it would understand a Terminate: past its login, with no message half sent.
    pub fn may_say_goodbye(&self) -> bool {
        self.half_sent == 0 && !self.has_said_farewell && !self.key.is_empty()
    }

    #[inline(always)]
    pub fn is_closing(&self) -> bool {
        matches!(self.state, ServerState::Closing)
    }

    /// Whether another client may get it: everything is answered, no transaction is open, no query
    /// of the pooler's own is running, and no cancel request is under way that could cancel the
    /// next client's query.
    pub fn is_clean(&self) -> bool {
        self.replies.is_clean() && self.own.is_nothing() && self.canceled_by.is_none()
    }

    /// The name of the connection at the start of its log lines.
    pub fn prefix<'a>(&self, who: ConnectionOwner<'a>) -> Prefix<'a> {
        Prefix {
            side: ConnectionSide::Server,
            ptr: ptr(self.number, ConnectionSide::Server),
            who,
            peer: self.peer,
        }
    }
}

impl Server {
    /// Counts a message that was not asked for and that no client gets. Returns false above the
    /// limit.
    pub(in crate::pool) fn bears(&mut self, head: Head) -> bool {
        if self.client().is_some() && self.own.is_nothing() {
            return true;
        }
        let bytes = u32::try_from(head.body).unwrap_or(u32::MAX);
        self.unheard = self.unheard.saturating_add(bytes).saturating_add(NEWS_COST_BYTES);
        self.unheard <= MOST_UNHEARD_BYTES
    }
}
