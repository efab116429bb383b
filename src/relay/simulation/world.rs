//! The pooler, its simulated peers, and the clock. One step moves some bytes, lets some peers act,
//! lets something go wrong, and runs one turn of the loop.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use super::backend::{Backend, Effect, Installation, Security, Welcome};
use super::client::{Character, Happened, SimClient, Wish, shadow_rules};
use super::cost::Costs;
use super::hostile::Hostile;
use super::program::{Profile, Program};
use super::session::{Pooled, Rules};
use super::setup::{DATABASES, Kind, PASSWORD, Setup, USERS};
use super::shake::Fault;
use super::stream::{Contact, SimStream};
use super::system::{System, Tls};
use crate::auth::cache::ScramCache;
use crate::auth::secret::Password;
use crate::auth::server::Credential;
use crate::base::rng::{Rng, SeededRng};
use crate::base::time::{Moment, Now};
use crate::config::{SessionState, TlsMode};
use crate::log::PeerAddress;
use crate::pool::core::{Core, ProcessAction};
use crate::pool::ids::{CarrierId, ClientId, Outbound, ServerId};
use crate::pool::login::entry::Arrival;
use crate::pool::records::access::SystemFacts;
use crate::pool::records::inquiries;
use crate::pool::records::secured::TlsModes;
use crate::relay::Readiness;
use crate::relay::engine::Engine;

pub struct World {
    pub engine: Engine<System>,
    pub clients: Vec<SimClient>,
    pub backends: BTreeMap<u64, Backend>,
    pub setup: Setup,
    pub all: Installation,
    pub now: Now,
    pub rng: SeededRng,
    cache: ScramCache,
    /// Hostile peers, if the seed has any.
    pub hostile: Option<Hostile>,
    pub costs: Costs,
    /// Draws the choices of clients at login, where choices are offered.
    pub chooser: Option<SeededRng>,
    /// Draws the replication clients, if the seed has any.
    pub replicator: Option<SeededRng>,
    /// The number of clients made so far.
    pub made: usize,
    /// Whether the end has begun: no peer begins anything new, and nothing goes wrong any more.
    pub is_ending: bool,
    /// The number of servers that have ended by themselves.
    pub crashes: u32,
    /// Whether new connections to servers fail.
    pub is_refusing: bool,
    /// Clients whose server has ended by itself.
    pub lost_servers: BTreeSet<usize>,
    /// Why each client was closed, by the log.
    pub reasons: BTreeMap<usize, String>,
    /// What happened so far, if a trace is wanted.
    pub trace: Option<Vec<String>>,
    pub actions: Vec<ProcessAction>,
    /// Servers that a client has abandoned and the pooler is rescuing.
    pub abandoned: Vec<ServerId>,
    /// Counts of what clients have seen.
    pub figures: Figures,
    pub seen: Seen,
}

/// What there was at the end of the last turn.
#[derive(Default)]
pub struct Seen {
    /// Cancel requests that had not gone out, and their targets.
    pub unsent: Vec<(CarrierId, ServerId)>,
    /// Servers that ran nothing of a client's.
    pub at_rest: Vec<ServerId>,
}

/// Counts of what happened, to prove that the simulation tests anything.
#[derive(Default, Debug, Clone, Copy)]
pub struct Figures {
    pub finished: usize,
    pub told: usize,
    pub vanished: usize,
    pub cancels: usize,
    pub struck: usize,
    /// Cancel requests that were passed on to another process.
    pub passed_on: usize,
    /// Servers that were rescued after their client had abandoned them.
    pub rescued: usize,
    /// Logins that LDAP or PAM has judged.
    pub judged: usize,
    pub tolerated: u32,
    /// Statements that servers refused because a table had changed, and how many of these refusals
    /// clients were told.
    pub refused: usize,
    pub outlived: u32,
    /// Handshakes that were completed, and those that failed.
    pub secured: usize,
    pub unsecured: usize,
    /// Connections whose reports of room were switched off, and on again.
    pub quieted: usize,
    pub roused: usize,
    /// Notifications that clients got from other clients.
    pub notified: usize,
    /// Messages that replication clients got in streams, and streams in the middle of which a
    /// client was gone, or its server.
    pub streamed: usize,
    pub torn: usize,
    /// Hostile clients, and the transactions that they were given.
    pub foes: usize,
    pub served: usize,
}

impl std::ops::AddAssign for Figures {
    fn add_assign(&mut self, other: Figures) {
        self.finished += other.finished;
        self.told += other.told;
        self.vanished += other.vanished;
        self.cancels += other.cancels;
        self.struck += other.struck;
        self.passed_on += other.passed_on;
        self.rescued += other.rescued;
        self.judged += other.judged;
        self.tolerated += other.tolerated;
        self.refused += other.refused;
        self.outlived += other.outlived;
        self.secured += other.secured;
        self.unsecured += other.unsecured;
        self.quieted += other.quieted;
        self.roused += other.roused;
        self.notified += other.notified;
        self.streamed += other.streamed;
        self.torn += other.torn;
        self.foes += other.foes;
        self.served += other.served;
    }
}

/// The first moment of every simulation.
const START: Now = Now { mono: Moment(1_000_000_000), wall_us: 1_700_000_000_000_000 };

/// The encodings that clients ask for.
const ENCODINGS: [&str; 3] = ["UTF8", "LATIN1", "SJIS"];

/// The choices of a client at its login.
struct Chosen {
    mode: &'static str,
    policy: SessionState,
    /// How the client states them: in `options`, after the name of its database, or by a parameter.
    way: u64,
    is_default: [bool; 2],
}

impl Chosen {
    fn new(rng: &mut SeededRng, mode: &'static str, configured: SessionState) -> Chosen {
        let modes = ["session", "transaction", "transaction", "statement", mode];
        let policies = [SessionState::Reset, SessionState::Pin, SessionState::Error, configured];
        let chosen = modes[rng.below(5) as usize];
        let policy = policies[rng.below(4) as usize].max(configured);
        let way = rng.below(3);
        Chosen { mode: chosen, policy, way, is_default: [chosen == mode, policy == configured] }
    }

    /// Adds the parameters. Returns the suffix of the name of the database.
    fn tell(&self, startup: &mut Vec<(String, String)>) -> String {
        let mut suffix = String::new();
        let mut options = Vec::new();
        let (mode, policy) = (self.mode.to_owned(), self.policy.word().to_owned());
        match self.way {
            _ if self.is_default[0] => {}
            0 => options.push(format!("-c pool_mode={mode}")),
            1 => suffix = format!(".{mode}"),
            _ => startup.push(("pool_mode".to_owned(), mode)),
        }
        match self.way {
            _ if self.is_default[1] => {}
            0 => options.push(format!("--session_state={policy}")),
            _ => startup.push(("session_state".to_owned(), policy)),
        }
        if !options.is_empty() {
            startup.push(("options".to_owned(), options.join(" ")));
        }
        suffix
    }
}

impl World {
    pub fn new(seed: u64, kind: Kind) -> World {
        let mut rng = SeededRng::new(seed);
        let chooser = kind.offers.then(|| SeededRng::new(seed));
        let mut setup = Setup::new(&mut rng, kind);
        let host =
            SystemFacts { uid: 1000, uid_name: |_| None, name: || None, descriptors: 100_000 };
        let config = setup.config.clone();
        let core_rng = Box::new(SeededRng::new(rng.next_u64()));
        let core = Core::new(config, setup.access(), host, core_rng, START);
        let rules = Rules { late_reports: setup.late_reports, pooled: None };
        let mut other = SeededRng::new(rng.next_u64());
        let all = Installation {
            rules,
            method: setup.method,
            secret: setup.stored_secret(),
            cache: ScramCache::new(&mut other),
            last_session: 0,
            changes: 0,
            defaults: 0,
            rng: other.clone(),
        };
        setup.steps = setup.steps.max(100);
        if kind.replicates {
            // Leaves places for walsenders.
            setup.clients = setup.clients.div_ceil(3);
        }
        let mut system = System::new(rng.next_u64());
        system.tls = kind.tls;
        system.keeps_back = kind.keeps_back;
        let mut world = World {
            engine: Engine::new(core, system),
            clients: Vec::new(),
            backends: BTreeMap::new(),
            all,
            setup,
            now: START,
            cache: ScramCache::new(&mut other),
            rng,
            hostile: kind.is_hostile.then(|| Hostile::new(seed, kind.remodes)),
            costs: Costs::default(),
            chooser,
            replicator: kind.replicates.then(|| SeededRng::new(seed)),
            made: 0,
            is_ending: false,
            crashes: 0,
            is_refusing: false,
            lost_servers: BTreeSet::new(),
            reasons: BTreeMap::new(),
            trace: None,
            actions: Vec::new(),
            abandoned: Vec::new(),
            figures: Figures::default(),
            seen: Seen::default(),
        };
        if kind.tls == Tls::ByHandshake {
            let clients = if seed % 16 < 8 { TlsMode::Allow } else { TlsMode::Require };
            let servers = world.some_tls_mode();
            let modes = TlsModes { clients, servers, is_built: true };
            world.engine.core.set_tls(modes, Vec::new());
        }
        world
    }

    /// A TLS mode for servers.
    pub(super) fn some_tls_mode(&mut self) -> TlsMode {
        [TlsMode::Disable, TlsMode::Prefer, TlsMode::Require][self.rng.below(3) as usize]
    }

    /// The counts so far.
    pub fn figures(&self) -> Figures {
        let System { secured, unsecured, quieted, roused, .. } = self.engine.io;
        let (foes, served) = self.hostile.as_ref().map_or((0, 0), |h| (h.foes, h.served));
        Figures { secured, unsecured, quieted, roused, foes, served, ..self.figures }
    }

    pub fn note(&mut self, text: impl FnOnce() -> String) {
        let at = self.now.mono.micros_since(START.mono);
        if let Some(trace) = &mut self.trace {
            trace.push(format!("{at:>10} {}", text()));
        }
    }

    fn note_all(&mut self, texts: Vec<String>) {
        texts.into_iter().for_each(|text| self.note(|| text));
    }

    pub fn step(&mut self) -> Result<(), String> {
        self.now.mono = self.now.mono + Duration::from_micros(self.rng.below(2000));
        self.now.wall_us = START.wall_us + self.now.mono.micros_since(START.mono);
        if !self.is_ending {
            self.invite();
            self.invite_replica();
            self.invite_hostile();
            self.go_wrong();
        }
        self.receive_connections();
        self.move_bytes();
        self.act_clients()?;
        self.act_backends();
        self.act_hostile();
        self.turn();
        self.check()
    }

    /// Lets everything end, with nothing new and without delay.
    pub fn end(&mut self) {
        self.is_ending = true;
        self.is_refusing = false;
        self.engine.io.failing = 0;
        self.engine.io.is_wide = true;
        self.engine.core.now = self.now;
        let databases = self.engine.core.databases.ids().into_iter().map(Some);
        for database in databases.chain([None]) {
            self.engine.core.resume(database);
        }
        if let Some(mode) = self.setup.weather.shutdown {
            self.note(|| format!("SHUTDOWN {mode:?}"));
            self.engine.core.shut_down(mode);
        }
        for client in &mut self.clients {
            client.finish();
            let stream = client_stream(&mut self.engine, client.id, client.number);
            stream.into_iter().for_each(SimStream::widen);
        }
        for backend in self.backends.values() {
            let stream = outbound_stream(&mut self.engine, backend.outbound, backend.number);
            stream.into_iter().for_each(SimStream::widen);
        }
    }

    /// Runs a turn of the pooler's loop.
    fn turn(&mut self) {
        self.engine.core.now = self.now;
        let mut events = self.events();
        let begun = self.costs.begin(&self.engine);
        while !events.is_empty() {
            let at = self.rng.below(events.len() as u64) as usize;
            match events.swap_remove(at) {
                Event::Client(id, readiness) => self.engine.client_event(id, &readiness),
                Event::Outbound(id, readiness) => self.engine.outbound_event(id, readiness),
            }
        }
        self.answer_lookups();
        self.answer_inquiries();
        self.engine.turn();
        self.costs.end(begun, &self.engine);
        self.actions.extend(std::iter::from_fn(|| self.engine.core.poll_process_action()));
        self.read_log();
    }

    /// Notes why clients were closed, and which clients have lost their servers.
    fn read_log(&mut self) {
        self.engine.write_lines();
        let lines = std::mem::take(&mut self.engine.io.lines);
        let has_crashed = self.crashes > 0;
        // The second reason occurs if a cancel request was not completed in time, the third where a
        // session is made ready for its client.
        let of_crash = [
            "closing because: server conn crashed?",
            "closing because: reset query failed",
            "closing because: session state could not be undone",
        ];
        let ends_client = |text: &str| {
            text.starts_with("S-")
                && (has_crashed && of_crash.iter().any(|words| text.contains(words))
                    || text.contains("closing because: close_needed"))
        };
        let is_lost = lines.iter().any(|line| ends_client(&line.text));
        for line in lines {
            if let Some((index, words)) = reason_of(&line.text) {
                if is_lost && words == "server conn crashed?" {
                    self.lost_servers.insert(index);
                }
                self.reasons.insert(index, words);
            }
            self.note(|| format!("log {:?} {}", line.level, line.text));
        }
    }

    /// Answers lookups of host names, late and in any order.
    fn answer_lookups(&mut self) {
        let names = std::mem::take(&mut self.engine.io.lookups);
        for name in names {
            if self.rng.one_in(3) {
                self.engine.io.lookups.push(name);
                continue;
            }
            let fails = self.is_refusing && self.rng.one_in(2);
            let last = if self.rng.one_in(10) { 3 } else { 1 };
            let answer = match fails {
                true => Err("no such name".to_owned()),
                false => Ok(vec![IpAddr::from([127, 0, 0, last])]),
            };
            self.note(|| format!("{name} is {answer:?}"));
            self.engine.core.resolved(&name, answer);
        }
    }

    /// Answers the questions to judges, late and in any order, also of clients that are gone.
    fn answer_inquiries(&mut self) {
        let inquiries = std::mem::take(&mut self.engine.io.inquiries);
        assert!(inquiries.len() <= inquiries::QUESTIONS_OUT_MAX, "{} at a time", inquiries.len());
        for (client, inquiry) in inquiries {
            if !self.rng.one_in(4) {
                self.engine.io.inquiries.push((client, inquiry));
                continue;
            }
            assert_eq!(inquiry.password.as_bytes(), PASSWORD);
            let is_refused = self.is_refusing && self.rng.one_in(4);
            let verdict = if is_refused { Err("the judge says no".to_owned()) } else { Ok(()) };
            self.note(|| format!("{client:?} is judged: {verdict:?}"));
            self.figures.judged += 1;
            self.engine.core.judged(client, verdict);
        }
    }

    /// The events that the poll reports now; some wait for a later turn.
    fn events(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let spurious = self.setup.weather.spurious;
        for client in &self.clients {
            let Some(conn) = self.engine.clients.get_mut(client.id) else { continue };
            if let Some(readiness) = tell(&mut conn.stream, &mut self.rng, spurious) {
                events.push(Event::Client(client.id, readiness));
            }
        }
        for backend in self.backends.values() {
            let Some(stream) = self.engine.outbound_stream(backend.outbound) else { continue };
            if let Some(readiness) = tell(stream, &mut self.rng, spurious) {
                events.push(Event::Outbound(backend.outbound, readiness));
            }
        }
        let Some(hostile) = &self.hostile else { return events };
        let (clients, servers) = hostile.connections();
        for (id, _) in clients {
            let Some(conn) = self.engine.clients.get_mut(id) else { continue };
            let news = tell(&mut conn.stream, &mut self.rng, spurious);
            events.extend(news.map(|readiness| Event::Client(id, readiness)));
        }
        for (id, _) in servers {
            let Some(stream) = self.engine.outbound_stream(id) else { continue };
            let news = tell(stream, &mut self.rng, spurious);
            events.extend(news.map(|readiness| Event::Outbound(id, readiness)));
        }
        events
    }

    fn invite(&mut self) {
        let most = self.setup.clients;
        let is_here =
            |client: &&SimClient| !client.is_over() && client.character.replication.is_none();
        let here = self.clients.iter().filter(is_here).count();
        if here < most && self.rng.one_in(8) {
            self.admit_client();
        }
    }

    fn admit_client(&mut self) {
        let index = self.made;
        self.made += 1;
        let (name, mode) = DATABASES[self.rng.below(DATABASES.len() as u64) as usize];
        let choice = self.chooser.as_mut().map(|rng| Chosen::new(rng, mode, self.setup.policy));
        let (mode, policy) = choice
            .as_ref()
            .map_or((mode, self.setup.policy), |choice| (choice.mode, choice.policy));
        let is_session_mode = mode == "session";
        let tracks = !is_session_mode && self.setup.tracks;
        let sets = self.rng.one_in(3);
        let mut startup = match sets {
            true => vec![
                ("TimeZone".to_owned(), ["cet", "UTC"][self.rng.below(2) as usize].to_owned()),
                ("application_name".to_owned(), format!("app{index}")),
                ("client_encoding".to_owned(), ENCODINGS[index % 3].to_owned()),
                ("search_path".to_owned(), format!("\u{e9}_{}_{index}", ENCODINGS[index % 3])),
            ],
            false => Vec::new(),
        };
        // In a session of its own a client finds all that it has left.
        let is_watched = choice.is_some() && self.setup.policy >= SessionState::Reset;
        let policy = match (is_session_mode, is_watched) {
            (true, true) => SessionState::Pin,
            (true, false) => SessionState::Allow,
            (false, _) => policy,
        };
        let suffix = choice.map_or(String::new(), |choice| choice.tell(&mut startup));
        let profile = Profile {
            leaves: policy != SessionState::Allow,
            publishes: self.setup.shares && (!is_session_mode || self.setup.resets || is_watched),
            names: tracks || is_session_mode && self.setup.resets,
            blocks: mode != "statement" || self.rng.one_in(8),
            resets: !sets,
            rogue: self.rng.one_in(4),
            big: self.rng.one_in(3),
            skips: self.setup.skips,
            replicates: None,
        };
        let mut character = Character {
            database: format!("{name}{suffix}"),
            user: USERS[self.rng.below(2) as usize].to_owned(),
            startup,
            replication: None,
            minor: self.setup.minor,
            credential: Credential::Plain(Password::new(PASSWORD)),
            rules: shadow_rules(
                self.setup.late_reports,
                Pooled {
                    tracks,
                    is_statement_mode: mode == "statement",
                    policy,
                    shares: self.setup.shares && !is_session_mode,
                },
            ),
            is_session_mode,
            tls: if self.rng.one_in(4) { Wish::Ask } else { Wish::Plain },
            fault: None,
            units: self.rng.below(60) as u32,
            depth: [1, 4, 40, 200][self.rng.below(4) as usize],
            slowness: [1, 1, 1, 8][self.rng.below(4) as usize],
        };
        let program = Program::new(index, profile, self.fork());
        if self.setup.shakes {
            (character.tls, character.fault) = self.wish(character.tls == Wish::Ask);
        }
        self.connect_client(index, character, program, None);
    }

    /// How a client begins TLS, and its fault in the handshake.
    pub(super) fn wish(&mut self, may_be_plain: bool) -> (Wish, Option<Fault>) {
        let is_required = self.engine.core.tls.clients == TlsMode::Require;
        if may_be_plain && !is_required {
            return (Wish::Plain, None);
        }
        let wish = if self.rng.one_in(3) { Wish::Direct } else { Wish::Ask };
        let is_bad = self.setup.weather.vanishing > 0 && self.rng.one_in(6);
        (wish, is_bad.then(|| self.some_fault()))
    }

    fn some_fault(&mut self) -> Fault {
        Fault::ALL[self.rng.below(Fault::ALL.len() as u64) as usize]
    }

    pub fn connect_client(
        &mut self,
        index: usize,
        character: Character,
        program: Program,
        cancel: Option<&[u8]>,
    ) {
        let (id, number) = self.admit(index as u16, character.fault);
        let rng = self.fork();
        self.note(|| {
            let Character { database, user, startup, tls, fault, .. } = &character;
            format!("client {index} {id:?} comes: {database}/{user} {startup:?} {tls:?} {fault:?}")
        });
        let mut client = SimClient::new(index, id, number, character, program, rng);
        client.defaults = self.all.defaults;
        client.notes = self.trace.as_ref().map(|_| Vec::new());
        if let Some(key) = cancel {
            client = client.canceller(key);
        }
        self.clients.push(client);
    }

    /// Accepts the connection of a client.
    pub(super) fn admit(&mut self, port: u16, fault: Option<Fault>) -> (ClientId, u64) {
        let ip = IpAddr::from([127, 0, 0, 2]);
        let peer = PeerAddress::Tcp { ip, port };
        let arrival = Arrival { peer, local: peer, uid: None };
        let mut number = 0;
        self.engine.core.now = self.now;
        // Of some it is said wrongly.
        let has_bytes = !port.is_multiple_of(2);
        let id = self.engine.admit(arrival, has_bytes, |io, _| {
            let mut stream = io.stream(Contact::Made).accepted();
            stream.far_misbehave(fault);
            number = stream.number;
            Ok(stream)
        });
        (id, number)
    }

    pub fn fork(&mut self) -> SeededRng {
        SeededRng::new(self.rng.next_u64())
    }

    /// Lets servers receive the connections that the pooler has begun.
    fn receive_connections(&mut self) {
        for begun in std::mem::take(&mut self.engine.io.begun) {
            if self.is_hostile(begun.id) {
                let hostile = self.hostile.iter_mut();
                hostile.for_each(|hostile| hostile.add_server(begun.id, begun.number));
                continue;
            }
            let rng = self.fork();
            let welcome = self.welcome();
            let mut backend = Backend::new(begun.number, begun.id, welcome, rng);
            if self.setup.shakes {
                backend.security = self.security();
            }
            backend.notes = self.trace.as_ref().map(|_| Vec::new());
            self.backends.insert(begun.number, backend);
        }
        for (&number, backend) in &mut self.backends {
            let Some(stream) = outbound_stream(&mut self.engine, backend.outbound, number) else {
                continue;
            };
            if stream.contact == Contact::Waiting && self.rng.one_in(3) {
                let is_refused = self.is_refusing && self.rng.one_in(4);
                let contact = if is_refused { Contact::Refused } else { Contact::Made };
                stream.far_settle(contact);
            }
        }
    }

    fn welcome(&mut self) -> Welcome {
        if !self.is_refusing {
            return Welcome::Normal;
        }
        match self.rng.below(6) {
            0 => Welcome::Refused { sqlstate: "57P03" },
            1 => Welcome::Refused { sqlstate: "53300" },
            2 => Welcome::Silence,
            3 => Welcome::Hangup,
            4 => Welcome::Garbage,
            _ => Welcome::Normal,
        }
    }

    /// How a server answers the request for TLS. If the pool requires TLS, every server has it,
    /// unless the server refuses connections.
    fn security(&mut self) -> Security {
        let is_sometimes_refused = self.setup.weather.refusals > 0;
        match self.rng.below(6) {
            0 if self.is_refusing => Security::Refuses,
            1 if self.is_refusing => Security::Stuffs,
            2 if self.is_refusing => Security::Fails(self.some_fault()),
            3 if is_sometimes_refused => Security::HasNot,
            _ => Security::Has,
        }
    }

    fn move_bytes(&mut self) {
        for client in &self.clients {
            let stream = client_stream(&mut self.engine, client.id, client.number);
            if let Some(stream) = stream.filter(|_| self.rng.one_in(2)) {
                stream.far_deliver();
            }
        }
        for backend in self.backends.values() {
            let stream = outbound_stream(&mut self.engine, backend.outbound, backend.number);
            if let Some(stream) = stream.filter(|_| self.rng.one_in(2)) {
                stream.far_deliver();
            }
        }
        let Some(hostile) = &self.hostile else { return };
        let (clients, servers) = hostile.connections();
        for (id, number) in clients {
            client_stream(&mut self.engine, id, number)
                .into_iter()
                .for_each(SimStream::far_deliver);
        }
        for (id, number) in servers {
            outbound_stream(&mut self.engine, id, number)
                .into_iter()
                .for_each(SimStream::far_deliver);
        }
    }

    fn act_clients(&mut self) -> Result<(), String> {
        for at in 0..self.clients.len() {
            let client = &mut self.clients[at];
            if client.is_over() || self.rng.one_in(2) {
                continue;
            }
            let stream = client_stream(&mut self.engine, client.id, client.number);
            let stream = stream.expect("a client that is not over has its connection");
            let happened = client
                .act(stream, &mut self.cache)
                .map_err(|error| format!("{}: {error}", client.describe()));
            if let Some(notes) = &mut self.clients[at].notes {
                let notes = std::mem::take(notes);
                self.note_all(notes);
            }
            self.judge(at, happened?)?;
        }
        let (engine, figures) = (&mut self.engine, &mut self.figures);
        self.clients.retain(|client| {
            let stays = !client.is_over() || engine.core.clients.contains(client.id);
            if client.is_over() {
                engine.io.closed.remove(&client.number);
            }
            if !stays {
                figures.tolerated += client.shadow.tolerated;
                figures.outlived += client.shadow.refusals;
                figures.notified += client.shadow.notified;
                figures.streamed += client.shadow.streamed;
            }
            stays
        });
        Ok(())
    }

    fn judge(&mut self, at: usize, happened: Happened) -> Result<(), String> {
        match happened {
            Happened::Nothing => Ok(()),
            Happened::Ended => {
                self.figures.finished += 1;
                Ok(())
            }
            Happened::Eof => {
                let client = self.clients[at].describe();
                self.note(|| format!("{client} is cut off"));
                self.judge_eof(at).ok_or_else(|| format!("cut off without a word: {client}"))
            }
            Happened::Fatal(report) => {
                self.figures.told += 1;
                let client = self.clients[at].describe();
                self.note(|| format!("{client} is told {report:?}"));
                let words = report.message.clone();
                self.judge_words(at, &report)
                    .ok_or_else(|| format!("{words:?} is no reason to end {client}"))
            }
        }
    }

    fn act_backends(&mut self) {
        let (mut strikes, mut notes, mut published) = (Vec::new(), Vec::new(), Vec::new());
        for (&number, backend) in &mut self.backends {
            if self.rng.one_in(2) {
                continue;
            }
            let Some(stream) = outbound_stream(&mut self.engine, backend.outbound, number) else {
                continue;
            };
            if stream.contact != Contact::Made {
                continue;
            }
            if let Effect::Cancel(key) = backend.act(self.now.mono, stream, &mut self.all) {
                strikes.push(key);
            }
            self.figures.refused += backend.take_refused();
            published.append(&mut backend.published);
            backend.notes.iter_mut().for_each(|new| notes.append(new));
        }
        self.note_all(notes);
        for news in published {
            self.backends.values_mut().for_each(|backend| backend.hear(&news));
        }
        for key in strikes {
            let target = self.backends.values_mut().find(|backend| backend.key == key);
            if target.is_some_and(Backend::strike) {
                self.figures.struck += 1;
                self.note(|| format!("a cancel request strikes {key:?}"));
            }
        }
        let engine = &mut self.engine;
        self.backends.retain(|number, backend| {
            let gone = match backend.outbound {
                Outbound::Carrier(id) => !engine.core.carriers.contains(id),
                Outbound::Server(id) => !engine.core.servers.contains(id),
            };
            let is_done = gone && (backend.is_over() || backend.session().is_none());
            if is_done {
                engine.io.closed.remove(number);
            }
            !is_done
        });
    }

    /// Whether the process has been told to end.
    pub fn has_ended(&self) -> bool {
        self.actions.iter().any(|action| matches!(action, ProcessAction::Exit))
    }
}

/// The client that a log line says was closed, with the reason. A client's port is its number.
fn reason_of(line: &str) -> Option<(usize, String)> {
    let (prefix, rest) = line.split_once(" closing because: ")?;
    let port = prefix.strip_prefix("C-").and_then(|prefix| prefix.rsplit_once(':'))?.1;
    let (words, _) = rest.rsplit_once(" (age=")?;
    Some((port.parse().ok()?, words.to_owned()))
}

enum Event {
    Client(ClientId, Readiness),
    Outbound(Outbound, Readiness),
}

/// Takes the events of a stream, or invents some. An invented event would help a pooler that has
/// forgotten what the stream keeps back.
fn tell(stream: &mut SimStream, rng: &mut SeededRng, spurious: u64) -> Option<Readiness> {
    let may_invent = stream.contact == Contact::Made && !stream.keeps_back();
    if spurious > 0 && rng.one_in(spurious) && may_invent {
        let mut readiness = stream.tell();
        readiness.readable = true;
        readiness.writable |= rng.one_in(2);
        return Some(readiness);
    }
    let Readiness { readable, writable, ending } = stream.edge;
    let is_news = readable || writable || ending;
    (is_news && !rng.one_in(3)).then(|| stream.tell())
}

/// The stream of a client, also if the pooler has closed it.
pub fn client_stream(
    engine: &mut Engine<System>,
    id: ClientId,
    number: u64,
) -> Option<&mut SimStream> {
    let is_open = engine.clients.get(id).is_some_and(|conn| conn.stream.number == number);
    if is_open {
        return engine.clients.get_mut(id).map(|conn| &mut conn.stream);
    }
    engine.io.closed.get_mut(&number)
}

/// The stream of a connection that the pooler has opened, also if it has closed it.
pub fn outbound_stream(
    engine: &mut Engine<System>,
    id: Outbound,
    number: u64,
) -> Option<&mut SimStream> {
    let is_open = engine.outbound_stream(id).is_some_and(|stream| stream.number == number);
    if is_open {
        return engine.outbound_stream(id);
    }
    engine.io.closed.get_mut(&number)
}
