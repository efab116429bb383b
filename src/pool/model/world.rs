//! The core between clients and servers of the model's own, and the clock. One step lets some of
//! them act, or puts other rules in force, and turns the loop once.

use std::collections::BTreeMap;
use std::time::Duration;

use super::rules::{DATABASES, HOSTS, Rules, USERS};
use super::verify::Count;
use crate::auth::secret::Secret;
use crate::base::rng::{Rng, SeededRng};
use crate::base::time::{Moment, Now};
use crate::log::PeerAddress;
use crate::pool::core::{Action, Core, ProcessAction};
use crate::pool::ids::{ClientId, Outbound, PoolId, ServerId};
use crate::pool::records::access::{Access, SystemFacts};

/// What a client of the model has in mind.
pub struct Visitor {
    pub id: ClientId,
    /// It has asked, and its question was not taken yet.
    pub has_asked: bool,
    /// How many of its transactions were begun.
    pub served: u32,
}

/// A connection of the pooler's to a server.
pub struct Socket {
    pub server: ServerId,
    pub pool: PoolId,
    pub host: usize,
    pub stands: bool,
}

/// How a host behaves, and what is known of it.
#[derive(Clone, Copy, Default)]
pub struct Inn {
    pub mood: Mood,
    /// The end of the last login there that came to nothing, if none has succeeded since.
    pub failed_at: Option<Moment>,
}

#[derive(Clone, Copy, Default, PartialEq, Eq, Debug)]
pub enum Mood {
    #[default]
    Well,
    Refusing,
    Hanging,
}

/// What came about, to see that the model does something.
#[derive(Default, Debug)]
pub struct Figures {
    pub served: u32,
    pub refused_clients: u32,
    pub cached_errors: u32,
    pub waited: u32,
    pub evicted: u32,
    pub reserve: u32,
    pub surplus: u32,
    pub hosts_down: u32,
    pub hung: u32,
    pub refused_logins: u32,
    pub reloads: u32,
}

impl Figures {
    pub fn add(&mut self, other: &Figures) {
        self.served += other.served;
        self.refused_clients += other.refused_clients;
        self.cached_errors += other.cached_errors;
        self.waited += other.waited;
        self.evicted += other.evicted;
        self.reserve += other.reserve;
        self.surplus += other.surplus;
        self.hosts_down += other.hosts_down;
        self.hung += other.hung;
        self.refused_logins += other.refused_logins;
        self.reloads += other.reloads;
    }

    pub fn named(&self) -> [(&'static str, u32); 11] {
        [
            ("a transaction", self.served),
            ("a client above a limit", self.refused_clients),
            ("a client that is told of a failure at once", self.cached_errors),
            ("a client that waits", self.waited),
            ("an eviction", self.evicted),
            ("a use of the reserve", self.reserve),
            ("a lowered limit with more than it allows", self.surplus),
            ("a host that refuses", self.hosts_down),
            ("a login that hangs", self.hung),
            ("a login that is refused", self.refused_logins),
            ("a RELOAD", self.reloads),
        ]
    }
}

pub struct World {
    pub core: Core,
    pub rules: Rules,
    pub rng: SeededRng,
    pub visitors: Vec<Visitor>,
    pub sockets: Vec<Socket>,
    pub inns: [Inn; HOSTS],
    /// When a server refused the last login of a pool, if none has succeeded since.
    pub refused_at: BTreeMap<u64, Moment>,
    /// Pools that got a server in this step.
    pub logged_in: Vec<PoolId>,
    pub trace: Vec<String>,
    pub figures: Figures,
    /// Servers refuse logins once in so many times; 0 is never.
    pub refusals: u64,
}

/// Where everybody comes from.
pub const HERE: PeerAddress =
    PeerAddress::Tcp { ip: std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), port: 1 };

const START: Now = Now { mono: Moment(1_000_000_000), wall_us: 1_700_000_000_000_000 };

impl World {
    pub fn new(seed: u64) -> World {
        let mut rng = SeededRng::new(seed);
        let rules = Rules::random(&mut rng);
        let host =
            SystemFacts { uid: 1000, uid_name: |_| None, name: || None, descriptors: 100_000 };
        let core_rng = Box::new(SeededRng::new(rng.next_u64()));
        let core = Core::new(rules.config(), access(), host, core_rng, START);
        let refusals = [0, 0, 4][rng.below(3) as usize];
        World {
            core,
            rules,
            rng,
            visitors: Vec::new(),
            sockets: Vec::new(),
            inns: [Inn::default(); HOSTS],
            refused_at: BTreeMap::new(),
            logged_in: Vec::new(),
            trace: Vec::new(),
            figures: Figures::default(),
            refusals,
        }
    }

    pub fn note(&mut self, text: String) {
        let at = self.core.mono().micros_since(START.mono) / 1000;
        self.trace.push(format!("{at:>8} ms {text}"));
    }

    pub fn step(&mut self) -> Result<(), String> {
        let pause = if self.rng.one_in(12) { 1500 } else { 30 };
        let pause = Duration::from_millis(self.rng.below(pause));
        self.pass(pause);
        self.logged_in.clear();
        let before = Count::of(&self.core);
        if self.rng.one_in(25) {
            self.reload();
        } else {
            for _ in 0..1 + self.rng.below(4) {
                self.act();
            }
        }
        let is_whole = self.rng.one_in(2);
        self.turn(is_whole);
        self.verify(&before, is_whole)
    }

    fn pass(&mut self, time: Duration) {
        self.core.now.mono = self.core.now.mono + time;
        self.core.now.wall_us += time.as_micros() as u64;
    }

    /// The end of a turn of the loop; a whole one looks at every pool, whether it is due or not.
    fn turn(&mut self, is_whole: bool) {
        self.carry_out();
        if is_whole {
            self.core.sweep_at = Moment(0);
        }
        self.core.sweep();
        self.carry_out();
        // The loop does not sleep while there is a place to be given away.
        while self.core.must_look() {
            self.core.sweep();
            self.carry_out();
        }
        self.core.check();
        self.hear_log();
    }

    fn act(&mut self) {
        match self.rng.below(24) {
            0..4 if self.visitors.len() < 60 => self.invite(),
            0..10 => {
                if let Some(at) = self.any_visitor() {
                    self.go_on(at);
                }
            }
            10 => {
                if let Some(at) = self.any_visitor() {
                    let id = self.visitors[at].id;
                    self.note(format!("client {id:?} leaves"));
                    self.core.client_gone(id, None);
                    self.carry_out();
                }
            }
            11..20 => self.some_server_acts(),
            20 => self.some_server_dies(),
            21 => self.a_host_changes(),
            22 if self.rng.one_in(4) => {
                self.note("pause or resume".into());
                if !self.core.resume(None) {
                    self.core.pause(None);
                }
                self.carry_out();
            }
            _ => {}
        }
    }

    fn any_visitor(&mut self) -> Option<usize> {
        let count = self.visitors.len() as u64;
        (count > 0).then(|| self.rng.below(count) as usize)
    }

    fn reload(&mut self) {
        self.rules = self.rules.changed(&mut self.rng);
        self.figures.reloads += 1;
        self.note(format!("RELOAD {:?}", self.rules));
        self.core.adopt(self.rules.config(), access());
        self.carry_out();
    }

    pub fn carry_out(&mut self) {
        while let Some(action) = self.core.poll_action() {
            match action {
                Action::Connect { id: Outbound::Server(id), to } => self.connect(id, &to),
                Action::CloseClient { client, .. } => {
                    self.visitors.retain(|visitor| visitor.id != client);
                    self.core.free_client(client);
                }
                Action::CloseServer(id) => self.server_closed(id),
                Action::RunClient(id) => {
                    let waits = |visitor: &Visitor| visitor.id == id && visitor.has_asked;
                    if let Some(at) = self.visitors.iter().position(waits) {
                        self.ask(at);
                    }
                }
                Action::PartIfDrained(id) => self.core.part_if_done(id),
                Action::SendClient { .. } | Action::SendServer { .. } => {}
                Action::ConsoleDone { .. }
                | Action::CloseCarrier(_)
                | Action::Connect { id: Outbound::Carrier(_), .. }
                | Action::NextTurn(_)
                | Action::Notify { .. }
                | Action::Repeat { .. }
                | Action::Inquire { .. }
                | Action::Resolve(_)
                | Action::RunServer(_)
                | Action::SecureClient(_)
                | Action::SendCarrier { .. } => panic!("nobody has asked for {action:?}"),
            }
        }
        while let Some(action) = self.core.poll_process_action() {
            match action {
                ProcessAction::SettingsChanged | ProcessAction::Status(_) => {}
                ProcessAction::Exit
                | ProcessAction::Reload { .. }
                | ProcessAction::StopListening => panic!("nobody has asked for {action:?}"),
            }
        }
    }

    fn hear_log(&mut self) {
        for line in self.core.take_lines() {
            let has = |words: &str| u32::from(line.text.contains(words));
            self.figures.evicted += has("closing because: evicted");
            self.figures.reserve += has("taking connection from reserve_pool");
            self.figures.cached_errors += has("pooler error: server login has been failing");
            self.note(format!("log {}", line.text));
        }
    }

    /// Nothing goes wrong any more: whoever waits is served, and whoever has not been served asks.
    pub fn calm_down(&mut self) -> Result<(), String> {
        self.note("the end begins".into());
        self.inns.iter_mut().for_each(|inn| inn.mood = Mood::Well);
        self.refusals = 0;
        self.core.resume(None);
        for _ in 0..4000 {
            self.pass(Duration::from_millis(50));
            self.logged_in.clear();
            let before = Count::of(&self.core);
            for at in (0..self.sockets.len()).rev() {
                self.server_acts(at);
            }
            for at in (0..self.visitors.len()).rev() {
                self.finish(at);
            }
            self.turn(true);
            self.verify(&before, true)?;
            if self.visitors.iter().all(|visitor| visitor.served > 0 && !visitor.has_asked) {
                return Ok(());
            }
        }
        let left = self.visitors.iter().map(|v| (v.id, self.core.clients[v.id].state()));
        Err(format!("clients are never served: {:?}", left.collect::<Vec<_>>()))
    }
}

pub fn access() -> Access {
    let users = (0..USERS).map(|user| (format!("u{user}"), Secret::parse(b"secret")));
    Access { users: users.collect(), ..Access::default() }
}

/// The place of a database or user in the rules, by its name.
pub fn place_of(name: &str) -> usize {
    let place = name[1..].parse().expect("a letter and a number");
    assert!(place < DATABASES.max(USERS));
    place
}
