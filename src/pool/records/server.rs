//! A server: one connection of the pooler's to a PostgreSQL, for as long as it lives.

use super::handshake::ServerHandshake;
use super::lookup::Lookup;
pub use super::own::{Doubt, OwnQuery, Rescue, Test};
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

/// What a server may say in a row that nobody has asked for and no client hears, in bytes: it costs
/// the others time.
const MOST_UNHEARD_BYTES: u32 = 1024 * 1024;

/// A notice, notification or parameter counts for so many bytes besides its body.
const NEWS_COST_BYTES: u32 = 64;

/// Where a server stands. Each state but `Between` and `Closing` is also the list of its pool that
/// holds the server.
#[derive(Debug)]
pub enum ServerState {
    /// From the decision to connect up to its first ReadyForQuery, connect_query included.
    Login(Box<ServerHandshake>),
    /// Fit for the next client.
    Idle,
    /// Idle for longer than server_check_delay: it must be tested before it is used.
    Used,
    /// A query of the pooler's runs.
    Tested(Test),
    /// A client has it.
    Active { client: ClientId },
    /// It runs auth_query.
    Lookup(Box<Lookup>),
    /// Its client is done with it, but a cancel request for it is on its way.
    BeingCanceled,
    /// Nobody has it, and what becomes of it is being decided: within a turn only, in no list.
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
    /// Where it connects to.
    pub site: SiteId,
    pub connected: Moment,
    /// When it was last handed to a client or last came back.
    pub requested: Moment,
    /// When the present state was entered.
    pub since: Moment,
    /// When the client's transaction began; 0 before the first client.
    pub xact_start: Moment,
    /// How long its client waited for it, in microseconds, until that was told.
    pub(in crate::pool) waited_us: u64,
    /// The beginning of the query under way, where `log_query_text` is on.
    pub(in crate::pool) query_text: Option<Box<[u8]>>,
    /// Process id and secret of BackendKeyData, joined as a CancelRequest carries them.
    pub key: Box<[u8]>,
    pub vars: ServerVars,
    pub replies: Replies,
    pub own: OwnQuery,
    /// What the server said of a query of the pooler's own that failed.
    pub own_error: Option<Box<str>>,
    /// It has sent a FATAL error: its end is near, and needs no further explanation.
    pub has_said_farewell: bool,
    /// It must not be handed on: it is closed as soon as it is free.
    pub closing: Option<Reason>,
    /// The connection that carries a cancel request to it.
    pub canceled_by: Option<CarrierId>,
    /// Its connection is under TLS.
    pub tls: Option<Box<Secured>>,
    pub statements: Option<Box<ServerStatements>>,
    pub(in crate::pool) kept: KeptQuery,
    pub(in crate::pool) unnamed: UnnamedText,
    /// The request under way that it will refuse, if there is one.
    pub(in crate::pool) misnamed: Option<Box<Misnamed>>,
    /// Its transaction has changed tables, types or functions.
    pub(in crate::pool) has_changed_tables: bool,
    /// How the client that has it, or had it last, uses the servers of the pool.
    pub mode: PoolMode,
    /// Clients that share servers have used it since it was opened or reset: it is reset before one
    /// gets it for a session.
    pub(in crate::pool) is_worn: bool,
    /// What clients have left in its session.
    pub session: ServerSession,
    /// The client that has sent notifications by it last.
    pub(in crate::pool) notifier: Option<ClientId>,
    /// The client that had it last, or has it.
    pub(in crate::pool) last_client: Option<ClientId>,
    /// Its lifetime is this much shorter than the setting, so that servers do not go together.
    pub lifetime_cut_us: u64,
    /// When its lifetime is over (`core::lifetime`).
    pub(in crate::pool) end_of_life: Moment,
    /// A client has got it and has not sent anything yet: it has the next word, whatever else the
    /// server's state would allow.
    pub is_untouched: bool,
    /// Bytes of a message of its client's that is half sent to it.
    pub half_sent: u32,
    /// The kind of its client's last message that was judged: the half sent one, if there is one.
    pub last_sent: Front,
    /// A message of its own is half read.
    pub is_mid_reply: bool,
    /// A replication connection, for its one client only.
    pub is_private: bool,
    /// Its client went away in the middle of something: it is reset before another one gets it.
    pub is_abandoned: bool,
    /// What it has said since its last client or query of the pooler's that nobody hears, in bytes.
    pub unheard: u32,
    /// Its login has cost SCRAM keys, and nobody has had an answer of it since.
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
    /// Notes what was sent to resolve a doubt as owed, once the COPY has ended: before that the
    /// server takes it for a breach of the protocol.
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

    /// The end of its number, in three bytes, which fit where a client has room: servers that one
    /// client has had are told apart by it.
    pub fn mark(&self) -> [u8; 3] {
        let [.., a, b, c] = self.number.to_be_bytes();
        [a, b, c]
    }

    /// Whether it is at work for its client, rather than on a query of the pooler's own.
    pub fn runs_its_clients(&self) -> bool {
        let is_own = match self.own {
            OwnQuery::Nothing | OwnQuery::Doubt(_) | OwnQuery::Repeat => false,
            OwnQuery::Channels { .. }
            | OwnQuery::Probe { .. }
            | OwnQuery::Recall { .. }
            | OwnQuery::Reset(_)
            | OwnQuery::Undo
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

    /// The client for whom it works at present.
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

    /// Its login, as far as it has come.
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

    /// How far its rescue has come, if its client has left it in the middle.
    pub(in crate::pool) fn rescue_mut(&mut self) -> Option<&mut Rescue> {
        match &mut self.state {
            ServerState::Tested(Test::Abandoned(rescue)) => Some(rescue),
            _ => None,
        }
    }

    pub(in crate::pool) fn set_state(&mut self, to: ServerState, _: &Pass) -> ServerState {
        std::mem::replace(&mut self.state, to)
    }

    /// Whether it has come through its login, and is a session.
    pub fn is_session(&self) -> bool {
        !matches!(self.state, ServerState::Login(_) | ServerState::Closing)
    }

    /// Whether a client has had it.
    pub fn was_used(&self) -> bool {
        self.xact_start > Moment(0)
    }

    /// Whether a Terminate would be understood: past the login, and no message half sent.
    pub fn may_say_goodbye(&self) -> bool {
        self.half_sent == 0 && !self.has_said_farewell && !self.key.is_empty()
    }

    #[inline(always)]
    pub fn is_closing(&self) -> bool {
        matches!(self.state, ServerState::Closing)
    }

    /// Fit for another client: everything answered, no transaction, nothing of ours under way, and
    /// no cancel on its way that could strike the next one.
    pub fn is_clean(&self) -> bool {
        self.replies.is_clean() && self.own.is_nothing() && self.canceled_by.is_none()
    }

    /// The connection's name at the start of its log lines.
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
    /// Counts what nobody has asked for and no client hears. Returns whether it is within bounds.
    pub(in crate::pool) fn bears(&mut self, head: Head) -> bool {
        if self.client().is_some() && self.own.is_nothing() {
            return true;
        }
        let bytes = u32::try_from(head.body).unwrap_or(u32::MAX);
        self.unheard = self.unheard.saturating_add(bytes).saturating_add(NEWS_COST_BYTES);
        self.unheard <= MOST_UNHEARD_BYTES
    }
}
