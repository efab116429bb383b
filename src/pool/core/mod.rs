//! The core as a value: its arenas, its names, its queue of actions. What must hold after every
//! move stands in `check`.

mod abandon;
mod carrier;
mod dial;
mod directory;
pub mod due;
mod end;
pub mod explain;
mod fault;
mod handover;
mod health;
pub mod hold;
mod lifetime;
mod lines;
mod link;
pub mod listening;
mod lookups;
pub mod note;
pub mod own_query;
pub mod period;
mod plain_handover;
pub mod plan;
mod rest;
mod sharing;
mod terms;

use std::collections::VecDeque;
use std::net::SocketAddr;

use crate::auth::cache::ScramCache;
use crate::auth::inquiry::Inquiry;
use crate::base::arena::Arena;
use crate::base::interned::Interned;
use crate::base::list::List;
use crate::base::rng::Rng;
use crate::base::time::{Moment, Now};
use crate::config::{Config, Settings};
use crate::log::PeerAddress;
use crate::pool::ids::{CarrierId, ClientId, DatabaseId, Outbound, PoolId, ServerId, UserId};
use crate::pool::owed::varcache::VarTable;
use crate::pool::records::access::{Access, SystemFacts};
use crate::pool::records::calendar::Calendar;
use crate::pool::records::carrier::Carrier;
use crate::pool::records::client::{self, Client};
use crate::pool::records::database::Database;
use crate::pool::records::derivations::Derivations;
use crate::pool::records::directory::PoolDirectory;
use crate::pool::records::dns::Dns;
use crate::pool::records::inquiries::Inquiries;
use crate::pool::records::keys::CancelKeys;
use crate::pool::records::limits::Limits;
use crate::pool::records::listening::Listens;
use crate::pool::records::pass::Pass;
use crate::pool::records::peer::Peer;
use crate::pool::records::pool::Pool;
use crate::pool::records::secured::{TlsContext, TlsModes};
use crate::pool::records::server::Server;
use crate::pool::records::site::Sites;
use crate::pool::records::strangers::Strangers;
use crate::pool::records::user::User;
use crate::pool::records::wait::{Shutdown, WaitOutcome};
use crate::pool::statements::table::StatementTable;
use crate::pool::telling::journal::Journal;
use crate::pool::telling::latency::LatencyTable;

/// The name of the database that is the console.
pub const CONSOLE: &str = "pgbouncer";

/// Memory for what a client is told in its login, in bytes: usually enough for the longest, its
/// welcome.
const SAID_BYTES: usize = 1000;

/// Where a server connection goes to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Target {
    Tcp(SocketAddr),
    /// The path of a socket; it begins with `@` for an abstract one.
    Unix(String),
}

/// What the relay must do besides passing bytes on, in this order.
#[derive(Debug)]
pub enum Action {
    Connect {
        id: Outbound,
        to: Target,
    },
    SendCarrier {
        carrier: CarrierId,
        bytes: Vec<u8>,
    },
    SendClient {
        client: ClientId,
        bytes: Vec<u8>,
    },
    SendServer {
        server: ServerId,
        bytes: Vec<u8>,
    },
    /// Send a notification, unless the client has too much before it that it does not take.
    Notify {
        client: ClientId,
        bytes: Vec<u8>,
    },
    /// Send what is to be sent, close, and give the record back by [`Core::free_client`].
    CloseClient {
        client: ClientId,
        /// Whether the last that was sent tells the client why, which it must not lose.
        is_told: bool,
    },
    /// Close, and give the record back by [`Core::free_carrier`].
    CloseCarrier(CarrierId),
    /// Close, and give the record back by [`Core::free_server`].
    CloseServer(ServerId),
    /// The client may be read again, beginning with what is held of it.
    RunClient(ClientId),
    /// The client may be read again, beginning with these bytes of it, as if they had not been
    /// judged yet.
    Repeat {
        client: ClientId,
        bytes: Vec<u8>,
    },
    /// What was sent to the client is the last in clear: TLS begins.
    SecureClient(ClientId),
    /// The server may be read again.
    RunServer(ServerId),
    /// The server may be fit for the next client, if both its directions are drained.
    PartIfDrained(ServerId),
    /// Ask a judge about a client; the answer is given to [`Core::judged`].
    Inquire {
        client: ClientId,
        inquiry: Box<Inquiry>,
    },
    Resolve(String),
    /// A console command that took time has ended.
    ConsoleDone {
        client: ClientId,
        outcome: WaitOutcome,
    },
    /// Call [`Core::turn_has_come`] for this console session in the next turn.
    NextTurn(ClientId),
}

/// What concerns the process rather than its connections.
#[derive(Debug)]
pub enum ProcessAction {
    Exit,
    /// Read the configuration anew; whoever asked for it is told.
    Reload {
        client: Option<ClientId>,
    },
    /// What was taken from the settings must be taken again: SET has changed one.
    SettingsChanged,
    /// A line for the service manager.
    Status(String),
    /// Stop listening for clients by TCP (and, where the console must be reached no more, by Unix
    /// sockets).
    StopListening,
}

/// Everything the pooler knows.
pub struct Core {
    /// Sampled by the shell at the start of each turn.
    pub now: Now,
    pub config: Config,
    /// The users of the user list, in its order.
    pub(in crate::pool) listed: Vec<UserId>,
    /// Counts the configurations, and settings changed by SET, that have been in force.
    pub(in crate::pool) generation: u64,
    /// The last of them that had other settings for TLS to servers.
    pub(in crate::pool) tls_generation: u64,
    /// See [`Core::has_session_policy`].
    pub(in crate::pool) watches_sessions: bool,
    /// What is told to the log and to the console.
    pub journal: Journal,

    pub clients: Arena<Client>,
    pub servers: Arena<Server>,
    pub carriers: Arena<Carrier>,
    /// Peers that requests were passed on to.
    pub peers: Arena<Peer>,
    pub pools: Arena<Pool>,
    pub databases: Arena<Database>,
    pub users: Arena<User>,
    pub sites: Sites,
    /// Finds databases, users and pools.
    pub directory: PoolDirectory,
    /// Clients by the secret of their BackendKeyData.
    pub(in crate::pool) keys: CancelKeys,
    /// Addresses of ours that clients have connected to.
    pub(in crate::pool) addresses: Interned<PeerAddress>,

    /// No connection to a server is begun before then, for want of descriptors.
    pub(in crate::pool) connects_after: Moment,

    /// Clients on their way in, oldest first.
    pub logins: List<Client>,
    /// Where those come from.
    pub(in crate::pool) strangers: Strangers,
    /// Clients whose user is looked up when fewer unknown databases are tried, oldest first.
    pub(in crate::pool) parked: VecDeque<ClientId>,
    pub consoles: List<Client>,
    pub cancel_clients: List<Client>,
    /// Pools that have somebody in them: those that the sweep visits.
    pub live_pools: List<Pool>,
    /// The others, by when they must be looked at.
    pub(in crate::pool) calendar: Calendar,

    /// Pools that may need a server now, and are looked at before the turn ends.
    pub(in crate::pool) next_pools: Vec<PoolId>,
    /// Pools that need a server and wait for a place that others hold.
    pub(in crate::pool) awaiting_place: Vec<PoolId>,
    /// A place may have got free for one of them.
    pub(in crate::pool) has_place: bool,
    /// Pools whose shared connections may have to be told something.
    pub(in crate::pool) untuned: Vec<PoolId>,
    /// Clients that have ended, and what they have listened to by those.
    pub(in crate::pool) gone_listeners: Vec<(ClientId, PoolId, Box<Listens>)>,

    pub vars: VarTable,
    pub statements: StatementTable,
    pub scram: ScramCache,
    pub(in crate::pool) derivations: Derivations,
    pub(in crate::pool) inquiries: Inquiries,
    pub dns: Dns,
    pub rng: Box<dyn Rng>,

    /// TLS as it is set up at present.
    pub tls: TlsModes,
    /// One context for clients, and one for all servers that are met with the same files.
    pub tls_contexts: Vec<TlsContext>,

    pub is_paused: bool,
    pub shutdown: Shutdown,
    /// When the end of the process began.
    pub shutdown_since: Moment,
    /// When it was said last whom the end waits for.
    pub end_told: Moment,
    /// Clients past their startup packet; the console's are not among them.
    pub client_count: u32,
    /// Clients that have proved who they are, of all pools: those that max_client_conn limits.
    pub admitted: u32,
    /// Counters of clients and servers of one sequence.
    last_number: u64,
    pub stats: crate::pool::telling::stats::Totals,
    pub latencies: LatencyTable,
    /// Clients that were refused on their way in.
    pub failed_logins: u64,
    /// When the sweep must run next.
    pub(in crate::pool) sweep_at: Moment,
    pub(in crate::pool) access: Access,
    pub(in crate::pool) host: SystemFacts,
    /// Writes a second since 1970 for people, in the zone of the process.
    pub local_time: fn(u64) -> String,
    /// Counters of the console's own logins and queries.
    pub console_stats: crate::pool::telling::stats::Stats,

    /// Counts the changes of what decides whether hand-overs are plain (`plain_handover`).
    pub(in crate::pool) plainness: u64,
    /// Whether every hand-over takes the long way, for tests that compare.
    #[cfg(test)]
    pub is_thorough: bool,
    /// The hand-overs that took the short way.
    #[cfg(test)]
    pub plain_hand_overs: u64,

    mover: link::Mover,
    actions: VecDeque<Action>,
    process_actions: VecDeque<ProcessAction>,
}

impl Core {
    pub fn new(
        config: Config,
        access: Access,
        host: SystemFacts,
        mut rng: Box<dyn Rng>,
        now: Now,
    ) -> Core {
        let extra = config.settings.track_extra_parameters.to_vec();
        let room = config.settings.max_client_conn as usize;
        let mut core = Core {
            now,
            clients: Arena::with_room(room),
            servers: Arena::new(),
            carriers: Arena::new(),
            peers: Arena::new(),
            pools: Arena::new(),
            databases: Arena::new(),
            users: Arena::new(),
            sites: Sites::default(),
            directory: PoolDirectory::default(),
            keys: CancelKeys::default(),
            addresses: Interned::default(),
            logins: List::default(),
            strangers: Strangers::default(),
            parked: VecDeque::new(),
            consoles: List::default(),
            cancel_clients: List::default(),
            live_pools: List::default(),
            calendar: Calendar::new(now.mono),
            next_pools: Vec::new(),
            awaiting_place: Vec::new(),
            has_place: false,
            untuned: Vec::new(),
            gone_listeners: Vec::new(),
            vars: VarTable::new(extra.iter().map(String::as_str)),
            statements: StatementTable::default(),
            scram: ScramCache::new(&mut *rng),
            derivations: Derivations::default(),
            inquiries: Inquiries::default(),
            dns: Dns::default(),
            rng,
            tls: TlsModes::default(),
            tls_contexts: Vec::new(),
            is_paused: false,
            shutdown: Shutdown::No,
            shutdown_since: Moment(0),
            end_told: Moment(0),
            client_count: 0,
            admitted: 0,
            last_number: 0,
            stats: crate::pool::telling::stats::Totals::new(now.mono),
            latencies: LatencyTable::default(),
            failed_logins: 0,
            connects_after: Moment(0),
            sweep_at: Moment(0),
            access: Access::default(),
            host,
            local_time: crate::base::time::utc,
            console_stats: crate::pool::telling::stats::Stats::default(),
            plainness: 1,
            #[cfg(test)]
            is_thorough: false,
            #[cfg(test)]
            plain_hand_overs: 0,
            mover: link::Mover::new(Pass::issue()),
            actions: VecDeque::new(),
            process_actions: VecDeque::new(),
            config: config.clone(),
            generation: 0,
            tls_generation: 0,
            listed: Vec::new(),
            watches_sessions: false,
            journal: Journal::default(),
        };
        core.adopt(config, access);
        core.note_event("start");
        core
    }

    #[inline(always)]
    pub fn settings(&self) -> &Settings {
        &self.config.settings
    }

    /// Which limit or mode holds for a client, a pool, a user or a database.
    #[inline(always)]
    pub fn limits(&self) -> Limits<'_> {
        let Core { config, databases, users, pools, .. } = self;
        Limits { settings: &config.settings, databases, users, pools }
    }

    /// What the files beside the configuration held when they were read last.
    pub fn access(&self) -> &Access {
        &self.access
    }

    #[inline(always)]
    pub fn mono(&self) -> Moment {
        self.now.mono
    }

    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Takes the first bytes for a client that wait to be sent.
    pub fn take_words(&mut self, to: ClientId) -> Option<Vec<u8>> {
        let is_it =
            |action: &Action| matches!(action, Action::SendClient { client, .. } if *client == to);
        let place = self.actions.iter().position(is_it)?;
        match self.actions.remove(place) {
            Some(Action::SendClient { bytes, .. }) => Some(bytes),
            _ => None,
        }
    }

    #[inline(always)]
    pub fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }

    #[inline(always)]
    pub fn has_process_actions(&self) -> bool {
        !self.process_actions.is_empty()
    }

    pub fn poll_process_action(&mut self) -> Option<ProcessAction> {
        self.process_actions.pop_front()
    }

    pub(in crate::pool) fn act(&mut self, action: Action) {
        self.actions.push_back(action);
    }

    /// Takes back what was to be sent to a client just before, for more to be appended and said.
    pub(in crate::pool) fn take_said(&mut self, id: ClientId) -> Vec<u8> {
        if let Some(Action::SendClient { client, bytes }) = self.actions.back_mut()
            && *client == id
        {
            let bytes = std::mem::take(bytes);
            self.actions.pop_back();
            return bytes;
        }
        Vec::with_capacity(SAID_BYTES)
    }

    /// Sends to a client, in one piece with what was to be sent to it just before: the last word of
    /// a login and the welcome are one write.
    pub(in crate::pool) fn say(&mut self, id: ClientId, bytes: Vec<u8>) {
        match self.actions.back_mut() {
            Some(Action::SendClient { client, bytes: before }) if *client == id => {
                before.extend_from_slice(&bytes);
            }
            _ => self.act(Action::SendClient { client: id, bytes }),
        }
    }

    pub(in crate::pool) fn act_on_process(&mut self, action: ProcessAction) {
        self.process_actions.push_back(action);
    }

    pub(in crate::pool) fn next_number(&mut self) -> u64 {
        self.last_number += 1;
        self.last_number
    }

    /// Database and user of a client, in any state, as far as they are known.
    pub fn names_of(&self, id: ClientId) -> (Option<&str>, Option<&str>) {
        let client = &self.clients[id];
        match client.state() {
            client::ClientState::Login(login) => match &login.names {
                Some(names) => (Some(&names.database), Some(&names.user)),
                None => (None, None),
            },
            client::ClientState::Console(console) => (Some(CONSOLE), Some(&console.user)),
            client::ClientState::Member(member, _) | client::ClientState::Closing(Some(member)) => {
                (
                    self.databases.get(member.database).map(|database| &*database.line.name),
                    self.users.get(member.user).map(|user| &*user.name),
                )
            }
            client::ClientState::Cancel { .. } | client::ClientState::Closing(None) => (None, None),
        }
    }

    /// Which of our addresses a client has connected to.
    pub fn local_address(&self, id: ClientId) -> PeerAddress {
        *self.addresses.get(self.clients[id].local)
    }

    /// Gives back the record of a closed client.
    pub fn free_client(&mut self, id: ClientId) {
        if let Some(mut client) = self.clients.remove(id) {
            self.vars.clear_client(&mut client.vars);
            self.addresses.release(client.local);
            if let Some(statements) = client.statements.take() {
                self.statements.forget_client(*statements);
            }
        }
    }

    /// Gives back the record of a closed carrier.
    pub fn free_carrier(&mut self, id: CarrierId) {
        self.carriers.remove(id);
    }

    /// Connections that the pooler has opened, or is about to.
    pub fn outbound_count(&self) -> usize {
        self.servers.len() + self.carriers.len()
    }

    /// Gives back the record of a closed server.
    pub fn free_server(&mut self, id: ServerId) {
        if let Some(mut server) = self.servers.remove(id) {
            self.vars.clear_server(&mut server.vars);
            if let Some(statements) = server.statements.take() {
                self.statements.forget_server(*statements);
            }
            for id in server.replies.unanswered_closes() {
                self.statements.server_releases(id);
            }
        }
    }

    /// Servers are being let go: none is opened, and nobody may wait for one.
    pub(in crate::pool) fn is_winding_down(&self) -> bool {
        self.shutdown >= Shutdown::WaitForServers
    }

    /// No server is handed out for this database at present: PAUSE.
    #[inline(always)]
    pub fn is_held_back(&self, database: DatabaseId) -> bool {
        self.is_paused || self.databases[database].is_paused
    }
}
