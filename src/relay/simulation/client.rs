//! A simulated client: it logs in, runs its program, checks every message that it gets, and leaves
//! in one of many ways.

use std::collections::BTreeMap;

use super::bytes::Bytes;
use super::parameters::{self, Parameters, VARYING};
use super::program::{Program, Wait};
use super::session::{Pooled, Rules, Session};
use super::shadow::Shadow;
use super::shake::{Far, Fault};
use super::stream::SimStream;
use super::walsender::{self, Walsender};
use super::wire::{self, Packet};
use crate::auth::cache::ScramCache;
use crate::auth::server::{BindingData, Credential, ServerLogin, ServerStep};
use crate::base::rng::{Rng, SeededRng};
use crate::pool::ids::ClientId;
use crate::wire::build::Message;
use crate::wire::fields::{Fields, ReportFields};
use crate::wire::kind::Front;
use crate::wire::startup;

/// The properties of a client.
#[derive(Clone)]
pub struct Character {
    pub database: String,
    pub user: String,
    /// Startup parameters besides user and database.
    pub startup: Vec<(String, String)>,
    /// The replication that `startup` asks for.
    pub replication: Option<walsender::Kind>,
    /// The minor version of the protocol.
    pub minor: u16,
    pub credential: Credential,
    pub rules: Rules,
    pub is_session_mode: bool,
    pub tls: Wish,
    /// The fault of its handshake.
    pub fault: Option<Fault>,
    /// The number of units that it sends before it leaves.
    pub units: u32,
    /// The most messages that it sends ahead of their answers.
    pub depth: usize,
    /// It reads once in this many acts.
    pub slowness: u64,
}

/// How a client begins TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Wish {
    Plain,
    /// It asks for TLS, and follows the answer.
    Ask,
    /// It begins a handshake at once.
    Direct,
}

impl Character {
    /// Whether its statements follow it from server to server.
    pub fn is_tracked(&self) -> bool {
        self.rules.pooled.is_some_and(|pooled| pooled.tracks)
    }
}

#[derive(PartialEq, Eq, Debug)]
enum Stage {
    AwaitSsl,
    Handshake,
    Login,
    /// Authenticated: it is told the parameters of the server.
    Welcome,
    Work,
    /// It has sent a cancel request and awaits the end of the connection.
    Cancel,
    /// It has got a FATAL error and awaits the end of the connection.
    Told,
    Over,
}

/// What a client reports to the world.
#[derive(Debug)]
pub enum Happened {
    Nothing,
    /// A FATAL error has come.
    Fatal(ReportFields),
    /// The connection has ended without a FATAL error.
    Eof,
    /// The connection has ended after a FATAL error.
    Ended,
}

pub struct SimClient {
    pub id: ClientId,
    pub number: u64,
    pub index: usize,
    pub character: Character,
    stage: Stage,
    login: Option<ServerLogin>,
    told: BTreeMap<String, String>,
    inbox: Bytes,
    outbox: Bytes,
    pub shadow: Shadow,
    pub program: Program,
    wait: Wait,
    /// The cancel key.
    pub key: Vec<u8>,
    units: u32,
    is_finishing: bool,
    has_said_goodbye: bool,
    has_ended_shaking: bool,
    /// Whether nothing has come since the end of its handshake.
    has_just_shaken: bool,
    pub largest_parse: usize,
    /// How often a default had changed before the client connected.
    pub defaults: u32,
    /// Messages that it sent and got, if a trace is wanted.
    pub notes: Option<Vec<String>>,
    rng: SeededRng,
}

impl SimClient {
    pub fn new(
        index: usize,
        id: ClientId,
        number: u64,
        character: Character,
        program: Program,
        rng: SeededRng,
    ) -> SimClient {
        let parameters = Parameters::new(&character.startup, 0)
            .unwrap_or_else(|_| panic!("bad parameters are not for clients with a shadow"));
        let mut session = Session::new(0, character.rules, parameters);
        session.walsender = character.replication.map(Walsender::new);
        let login = ServerLogin::new(
            character.user.as_bytes(),
            character.credential.clone(),
            BindingData::Unbound,
        );
        let mut client = SimClient {
            id,
            number,
            index,
            stage: Stage::Login,
            login: Some(login),
            told: BTreeMap::new(),
            inbox: Bytes::default(),
            outbox: Bytes::default(),
            shadow: Shadow::new(index, session, character.is_session_mode),
            program,
            wait: Wait::Nothing,
            key: Vec::new(),
            units: 0,
            is_finishing: false,
            has_said_goodbye: false,
            has_ended_shaking: false,
            has_just_shaken: false,
            largest_parse: 0,
            defaults: 0,
            notes: None,
            character,
            rng,
        };
        client.begin();
        client
    }

    /// A client that sends a cancel request and nothing else.
    pub fn canceller(mut self, key: &[u8]) -> SimClient {
        let mut bytes = Vec::new();
        startup::cancel_request(&mut bytes, key);
        self.outbox.clear();
        self.outbox.push(&bytes);
        self.stage = Stage::Cancel;
        self
    }

    fn begin(&mut self) {
        match self.character.tls {
            Wish::Plain => self.send_startup(),
            Wish::Ask => {
                self.stage = Stage::AwaitSsl;
                let mut bytes = Vec::new();
                Message::untyped(&mut bytes).u32(80_877_103).end();
                self.outbox.push(&bytes);
            }
            Wish::Direct => self.stage = Stage::Handshake,
        }
    }

    /// Continues the handshake. Returns whether the connection has ended meanwhile; bytes that came
    /// in clear do not count then.
    fn shake_hands(&mut self, stream: &mut SimStream) -> bool {
        match stream.far_go_on() {
            Far::Pending => false,
            Far::Done => {
                self.stage = Stage::Login;
                self.has_just_shaken = true;
                self.send_startup();
                false
            }
            // Its fault ends the connection, and it waits for that end.
            Far::Over if self.character.fault.is_some() => {
                self.stage = Stage::Told;
                false
            }
            Far::Over => true,
        }
    }

    fn send_startup(&mut self) {
        let Character { user, database, startup: pairs, minor, .. } = &self.character;
        let mut all = vec![("user", user.as_str()), ("database", database.as_str())];
        all.extend(pairs.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        let mut bytes = Vec::new();
        startup::startup_message(&mut bytes, *minor, &all);
        self.outbox.push(&bytes);
    }

    pub fn is_over(&self) -> bool {
        self.stage == Stage::Over
    }

    /// Whether it could not be told why it ends: half a message or half a handshake has come.
    pub fn is_deaf(&self) -> bool {
        !self.inbox.is_empty() || self.has_ended_shaking
    }

    pub fn is_working(&self) -> bool {
        self.stage == Stage::Work
    }

    /// Stops it from beginning anything new.
    pub fn finish(&mut self) {
        self.is_finishing = true;
        self.character.slowness = 1;
    }

    /// It leaves without a word.
    pub fn vanish(&mut self, stream: Option<&mut SimStream>) {
        self.stage = Stage::Over;
        let Some(stream) = stream else { return };
        match self.rng.below(3) {
            0 => stream.far_reset(),
            1 => {
                let mut some = std::mem::take(&mut self.outbox);
                some.truncate(self.rng.below(some.len() as u64 + 1) as usize);
                stream.far_send(&mut some);
                stream.far_close();
            }
            _ => stream.far_close(),
        }
    }

    /// It closes its half of the connection and reads on: to the pooler it is gone.
    pub fn half_close(&mut self, stream: &mut SimStream) {
        if self.stage == Stage::Work {
            stream.far_finish();
            self.has_said_goodbye = true;
            self.outbox.clear();
        }
    }

    /// It sends Terminate before its answers have come.
    pub fn leave_early(&mut self) {
        if self.stage == Stage::Work && !self.has_said_goodbye {
            self.has_said_goodbye = true;
            wire::push(&mut self.outbox, &wire::front(Front::Terminate, b""));
        }
    }

    pub fn act(
        &mut self,
        stream: &mut SimStream,
        cache: &mut ScramCache,
    ) -> Result<Happened, String> {
        if self.stage == Stage::Work && !self.has_said_goodbye {
            self.go_on();
        }
        stream.far_send(&mut self.outbox);
        if self.stage == Stage::Handshake {
            let has_ended = self.shake_hands(stream);
            return if has_ended { self.ended() } else { Ok(Happened::Nothing) };
        }
        // If it has stopped within its handshake, nothing else is waited for.
        if self.is_finishing && self.stage == Stage::Told {
            stream.far_close();
        }
        if self.character.slowness > 1 && !self.rng.one_in(self.character.slowness) {
            return Ok(Happened::Nothing);
        }
        let most = match self.rng.below(3) {
            0 => 1 + self.rng.below(100),
            _ => 1 + self.rng.below(100_000),
        };
        self.inbox.push(&stream.far_read(most as usize));
        let happened = self.read(cache)?;
        if stream.far_met_end() && matches!(happened, Happened::Nothing) && !self.is_over() {
            return self.ended();
        }
        Ok(happened)
    }

    fn ended(&mut self) -> Result<Happened, String> {
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        // The client may have completed the handshake before the pooler has.
        self.has_ended_shaking = stage == Stage::Handshake || self.has_just_shaken;
        let is_expected = self.has_said_goodbye
            || self.character.fault.is_some()
            || matches!(stage, Stage::Told | Stage::Cancel);
        Ok(if is_expected { Happened::Ended } else { Happened::Eof })
    }

    fn read(&mut self, cache: &mut ScramCache) -> Result<Happened, String> {
        if self.stage == Stage::AwaitSsl && !self.inbox.is_empty() {
            match self.inbox.rest()[0] {
                b'N' => {
                    self.inbox.skip(1);
                    self.stage = Stage::Login;
                    self.send_startup();
                }
                b'S' => {
                    self.inbox.skip(1);
                    self.stage = Stage::Handshake;
                }
                _ => {}
            }
        }
        self.take_all(cache)
    }

    fn take_all(&mut self, cache: &mut ScramCache) -> Result<Happened, String> {
        while let Some(packet) = wire::next(&mut self.inbox) {
            self.note("gets", &packet);
            self.has_just_shaken = false;
            if packet.is_fatal() {
                let is_due = self.is_due(&packet);
                self.stage = Stage::Told;
                if is_due {
                    continue;
                }
                return Ok(Happened::Fatal(packet.report()));
            }
            match self.stage {
                Stage::AwaitSsl | Stage::Handshake | Stage::Login => {
                    self.authenticate(&packet, cache)?
                }
                Stage::Welcome => self.be_told(&packet)?,
                Stage::Work => self.shadow.received(&packet)?,
                Stage::Cancel | Stage::Told | Stage::Over => {
                    return Err(format!("{packet:?} behind the last word"));
                }
            }
        }
        Ok(Happened::Nothing)
    }

    /// Whether the session itself gives this FATAL error.
    fn is_due(&mut self, packet: &Packet) -> bool {
        self.stage == Stage::Work && self.shadow.is_due(packet)
    }

    fn authenticate(&mut self, packet: &Packet, cache: &mut ScramCache) -> Result<(), String> {
        if packet.kind != b'R' {
            return Err(format!("{packet:?} during the login"));
        }
        let mut fields = Fields::new(&packet.body);
        let code = fields.u32().ok_or("a short Authentication message")?;
        let login = self.login.take().ok_or("a question too many")?;
        match login.handle(code, fields.rest(), cache, &mut self.rng).at_once(cache) {
            ServerStep::Derive { .. } => return Err("one derivation after the other".to_owned()),
            ServerStep::Ok => self.stage = Stage::Welcome,
            ServerStep::Wait(next) => self.login = Some(next),
            ServerStep::Send { payload, next } => {
                self.login = Some(next);
                wire::push(&mut self.outbox, &wire::front(Front::Password, &payload));
            }
            ServerStep::Fail(failure) => return Err(format!("login: {failure}")),
        }
        Ok(())
    }

    fn be_told(&mut self, packet: &Packet) -> Result<(), String> {
        match packet.kind {
            b'S' => {
                let mut fields = Fields::new(&packet.body);
                let name = fields.str().unwrap_or_default().to_owned();
                self.told.insert(name, fields.str().unwrap_or_default().to_owned());
            }
            b'K' => self.key = packet.body.clone(),
            b'N' => {}
            b'Z' => {
                self.check_welcome()?;
                self.stage = Stage::Work;
            }
            _ => return Err(format!("{packet:?} in the welcome")),
        }
        Ok(())
    }

    /// Checks that the client was told its own parameters, and the server's for all others.
    fn check_welcome(&mut self) -> Result<(), String> {
        let server = Parameters::new(&[], 0).map_err(|_| "defaults are refused")?;
        let varying = self.told.get(VARYING).cloned().unwrap_or_default();
        if varying < parameters::varying(self.defaults) {
            return Err(format!("{varying} is told of {VARYING} after {} changes", self.defaults));
        }
        self.shadow.varying = varying;
        let asked = |name: &str| {
            let found = self.character.startup.iter().rev().find(|(n, _)| n == name);
            found.map(|(_, value)| value.clone())
        };
        for (name, value) in server.welcome() {
            let expected = asked(name).unwrap_or(value);
            let told = self.told.get(name);
            if told != Some(&expected) && !matches!(name, VARYING | "in_hot_standby") {
                return Err(format!("{name} is {told:?} in the welcome, not {expected}"));
            }
        }
        Ok(())
    }

    /// Sends the next unit of the program, or ends.
    fn go_on(&mut self) {
        let may_go_on = match self.wait {
            Wait::Nothing => true,
            Wait::Answers => self.shadow.is_answered(),
            Wait::Streamed(count) => self.shadow.has_streamed(count),
        };
        if !may_go_on {
            return;
        }
        self.wait = Wait::Nothing;
        let is_full = self.shadow.backlog() >= self.character.depth;
        if is_full && !self.shadow.is_answered() || self.outbox.len() > 50_000 {
            return;
        }
        let is_done = self.is_finishing
            || self.shadow.is_blind()
            || self.units >= self.character.units
            || self.program.is_last;
        let unit = if is_done { self.program.finish() } else { Some(self.program.next()) };
        match unit {
            Some(unit) => {
                self.units += 1;
                self.wait = unit.wait;
                unit.packets.into_iter().for_each(|packet| self.send(packet));
            }
            None => self.say_goodbye(),
        }
    }

    /// Ends an open transaction or stream, waits for all answers, and sends Terminate.
    fn say_goodbye(&mut self) {
        if !self.shadow.is_answered() {
            return;
        }
        if !self.shadow.is_blind() && self.shadow.session().is_streaming() {
            // It ends the stream, or leaves in the middle.
            if self.rng.one_in(4) {
                self.send(wire::front(Front::CopyDone, b""));
                self.wait = Wait::Answers;
                return;
            }
        } else if !self.shadow.is_blind() && !self.shadow.session().is_at_rest() {
            self.send(wire::sync());
            self.send(wire::query("ROLLBACK"));
            self.wait = Wait::Answers;
            return;
        }
        self.has_said_goodbye = true;
        wire::push(&mut self.outbox, &wire::front(Front::Terminate, b""));
    }

    fn send(&mut self, packet: Packet) {
        // The pooler keeps these until they are complete: a Parse, and a statement that it may
        // refuse.
        if matches!(packet.kind, b'P' | b'Q') {
            self.largest_parse = self.largest_parse.max(packet.body.len());
        }
        wire::push(&mut self.outbox, &packet);
        self.note("sends", &packet);
        self.shadow.sent(packet);
    }

    fn note(&mut self, does: &str, packet: &Packet) {
        if let Some(notes) = &mut self.notes {
            notes.push(format!("client {} {does} {packet:?}", self.index));
        }
    }

    /// The state of the client, for the report of a failure.
    pub fn describe(&self) -> String {
        let (stage, wait, id) = (&self.stage, self.wait, self.id);
        let Character { database, user, .. } = &self.character;
        format!(
            "client {} ({id:?} {database}/{user}): {stage:?}, {wait:?}, goodbye {}, {:?} come, {}",
            self.index,
            self.has_said_goodbye,
            self.inbox.rest().get(..20.min(self.inbox.rest().len())),
            self.shadow.describe()
        )
    }
}

/// The rules of a client's shadow.
pub fn shadow_rules(late_reports: bool, pooled: Pooled) -> Rules {
    Rules { late_reports, pooled: Some(pooled) }
}
