//! One connection of the simulated server: its login, its session, and the sending of its replies.
//!
//! Like PostgreSQL, it collects 8 kB of replies unless something flushes them, does not read while
//! a statement runs or its replies are not taken, and ignores a cancel request when nothing runs.

use std::collections::VecDeque;

use super::bytes::Bytes;
use super::parameters::Parameters;
use super::session::{Out, Rules, Session};
use super::shake::{Far, Fault};
use super::stream::SimStream;
use super::walsender::{self, Walsender};
use super::wire::{self, Packet};
use crate::auth::cache::ScramCache;
use crate::auth::client::{
    self as login, AccountSecret, Candidate, ClientLogin, ClientStep, ProofMethod,
};
use crate::auth::secret::Secret;
use crate::base::rng::{Rng, SeededRng};
use crate::base::time::Moment;
use crate::pool::ids::{ClientId, Outbound};
use crate::wire::kind::{Back, Front};
use crate::wire::startup::{self, ParsedStartup};

/// How many bytes of replies are collected before they are sent.
const BUFFER_BYTES: usize = 8192;

/// What all connections of a server share.
pub struct Installation {
    pub rules: Rules,
    pub method: ProofMethod,
    pub secret: Secret,
    pub cache: ScramCache,
    pub last_session: u32,
    /// How often the table has changed.
    pub changes: u32,
    /// How often a default has changed.
    pub defaults: u32,
    pub rng: SeededRng,
}

/// How a server receives a new connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Welcome {
    Normal,
    /// With a FATAL error instead of the request for a password.
    Refused {
        sqlstate: &'static str,
    },
    /// With no answer at all.
    Silence,
    /// By closing the connection within the login.
    Hangup,
    /// With bytes that no server sends.
    Garbage,
}

/// How a server answers a request for TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Security {
    Has,
    HasNot,
    /// With a handshake that fails.
    Fails(Fault),
    /// With a refusal: it is too old to know the request, or out of memory.
    Refuses,
    /// With more bytes than the answer.
    Stuffs,
}

enum Stage {
    Startup,
    /// In a handshake, requested or not.
    Handshake,
    Password(ClientLogin, Vec<(String, String)>),
    Session(Box<Session>),
    /// A cancel request came, which takes effect before the connection ends.
    Cancel {
        key: Vec<u8>,
        strikes_at: Moment,
    },
    Over,
}

/// The effects of a connection's work on others.
pub enum Effect {
    Nothing,
    Cancel(Vec<u8>),
}

pub struct Backend {
    pub number: u64,
    pub outbound: Outbound,
    pub welcome: Welcome,
    pub security: Security,
    stage: Stage,
    inbox: Bytes,
    /// Replies that are collected and not due yet.
    buffer: Bytes,
    /// Replies that have no room yet.
    outbox: Bytes,
    playing: VecDeque<Out>,
    current: Packet,
    before: Option<Box<Session>>,
    told: Vec<Vec<u8>>,
    busy_until: Moment,
    is_to_cancel: bool,
    pub key: Vec<u8>,
    /// The client that a walsender is for, once it has been seen.
    pub owner: Option<ClientId>,
    /// What it has published, for all sessions.
    pub published: Vec<(String, String)>,
    /// Notifications that it sends once it is at rest.
    unheard: VecDeque<(String, String)>,
    /// Messages that it took and sent, if a trace is wanted.
    pub notes: Option<Vec<String>>,
    rng: SeededRng,
}

impl Backend {
    pub fn new(number: u64, outbound: Outbound, welcome: Welcome, rng: SeededRng) -> Backend {
        Backend {
            number,
            outbound,
            welcome,
            security: Security::HasNot,
            stage: Stage::Startup,
            inbox: Bytes::default(),
            buffer: Bytes::default(),
            outbox: Bytes::default(),
            playing: VecDeque::new(),
            current: wire::sync(),
            before: None,
            told: Vec::new(),
            busy_until: Moment(0),
            is_to_cancel: false,
            key: Vec::new(),
            owner: None,
            published: Vec::new(),
            unheard: VecDeque::new(),
            notes: None,
            rng,
        }
    }

    pub fn session(&self) -> Option<&Session> {
        match &self.stage {
            Stage::Session(session) => Some(session),
            _ => None,
        }
    }

    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    pub fn holds_table(&self) -> bool {
        self.session().is_some_and(|session| session.holds_table)
    }

    /// The table has changed for all sessions.
    pub fn see_table(&mut self, changes: u32) {
        let now = match &mut self.stage {
            Stage::Session(session) => Some(session),
            _ => None,
        };
        now.into_iter().chain(&mut self.before).for_each(|session| session.changes = changes);
    }

    /// The number of statements refused since the last call.
    pub fn take_refused(&mut self) -> usize {
        match &mut self.stage {
            Stage::Session(session) => std::mem::take(&mut session.refused),
            _ => 0,
        }
    }

    /// Whether everything that was sent to it has been answered, and nothing is open. `on_its_way`
    /// may have complete messages that need no answer: late data of a COPY, and Flush.
    pub fn is_at_rest(&self, on_its_way: &[u8]) -> bool {
        let mut rest = Bytes::default();
        rest.push(self.inbox.rest());
        rest.push(on_its_way);
        while wire::next(&mut rest)
            .is_some_and(|packet| matches!(packet.kind, b'd' | b'c' | b'f' | b'H'))
        {}
        let session_rests = self.session().is_some_and(Session::is_at_rest);
        let all_said = self.playing.iter().all(|out| *out == Out::Flush);
        session_rests && rest.is_empty() && all_said
    }

    /// The state of the connection, for the report of a failure.
    pub fn describe(&self) -> String {
        let state =
            self.session().map(|s| (s.block, s.is_started, s.is_skipping, s.is_copying_in()));
        let (rest, playing) = (self.inbox.rest().len(), &self.playing);
        format!("{state:?}, {rest} bytes to be taken, {playing:?} to be said")
    }

    /// Works for a while.
    pub fn act(&mut self, now: Moment, stream: &mut SimStream, all: &mut Installation) -> Effect {
        stream.far_send(&mut self.outbox);
        if stream.far_met_end()
            && self.inbox.is_empty()
            && !matches!(self.stage, Stage::Cancel { .. })
        {
            self.stage = Stage::Over;
        }
        if self.welcome == Welcome::Silence {
            return Effect::Nothing;
        }
        if matches!(self.stage, Stage::Startup) && stream.near_shakes() {
            self.stage = Stage::Handshake;
        }
        if matches!(self.stage, Stage::Handshake) {
            self.shake_hands(stream);
            return Effect::Nothing;
        }
        let most = 1 + self.rng.below(20_000) as usize;
        if self.playing.is_empty() && self.outbox.is_empty() {
            self.inbox.push(&stream.far_read(most));
        }
        match &mut self.stage {
            Stage::Over | Stage::Handshake => {}
            Stage::Startup => self.start(now, stream, all),
            Stage::Password(..) => self.check_password(all),
            Stage::Cancel { key, strikes_at } if now >= *strikes_at => {
                let key = std::mem::take(key);
                self.hang_up(stream);
                return Effect::Cancel(key);
            }
            Stage::Cancel { .. } => {}
            Stage::Session(_) => {
                self.work(now, stream);
                self.tell();
            }
        }
        stream.far_send(&mut self.outbox);
        Effect::Nothing
    }

    /// Continues the handshake, once the answer that allows it has been sent.
    fn shake_hands(&mut self, stream: &mut SimStream) {
        if !self.outbox.is_empty() {
            return;
        }
        match stream.far_go_on() {
            Far::Pending => {}
            Far::Done => self.stage = Stage::Startup,
            // Its handshake failed, or the pooler has closed the connection.
            Far::Over => self.stage = Stage::Over,
        }
    }

    /// Answers the request for TLS.
    fn answer_ssl(&mut self, stream: &mut SimStream) {
        match self.security {
            Security::Has => self.begin_handshake(None, stream),
            Security::Fails(fault) => self.begin_handshake(Some(fault), stream),
            Security::HasNot => self.outbox.push(b"N"),
            Security::Refuses => self.refuse("53300", "REFUSED", stream),
            Security::Stuffs => {
                self.outbox.push(b"S");
                wire::push(&mut self.outbox, &wire::back(Back::Authentication, &[0; 4]));
            }
        }
    }

    fn begin_handshake(&mut self, fault: Option<Fault>, stream: &mut SimStream) {
        stream.far_misbehave(fault);
        self.outbox.push(b"S");
        self.stage = Stage::Handshake;
    }

    /// Ends as in a crash.
    pub fn hang_up(&mut self, stream: &mut SimStream) {
        self.stage = Stage::Over;
        stream.far_close();
    }

    /// Ends with a FATAL error, or as a walsender does whose stream is under way.
    pub fn say_goodbye(&mut self, stream: &mut SimStream) {
        let has_said_all = self.playing.is_empty() && self.buffer.is_empty();
        if let Stage::Session(session) = &mut self.stage
            && session.is_streaming()
            && has_said_all
        {
            for out in session.shut_down_stream() {
                if let Out::Packet { packet, .. } = out {
                    wire::push(&mut self.outbox, &packet);
                }
            }
            stream.far_send(&mut self.outbox);
            return self.hang_up(stream);
        }
        let text = "terminating connection due to administrator command";
        let report = wire::report(Back::ErrorResponse, "FATAL", "57P01", text);
        self.buffer.clear();
        wire::push(&mut self.outbox, &report);
        stream.far_send(&mut self.outbox);
        self.hang_up(stream);
    }

    /// Another session has published a notification.
    pub fn hear(&mut self, published: &(String, String)) {
        if self.session().is_some_and(|session| session.parameters.traces.hears(&published.0)) {
            self.unheard.push_back(published.clone());
        }
    }

    /// Sends the notifications, outside of transactions.
    fn tell(&mut self) {
        let is_free = self.session().is_some_and(Session::is_at_rest) && self.playing.is_empty();
        while is_free && let Some((channel, text)) = self.unheard.pop_front() {
            // The session ignores channels to which it no longer listens.
            if !self.session().is_some_and(|s| s.parameters.traces.hears(&channel)) {
                continue;
            }
            let mut body = vec![0, 0, 0, 1];
            body.extend([wire::cstr(&channel), wire::cstr(&text)].concat());
            wire::push(&mut self.buffer, &wire::back(Back::NotificationResponse, &body));
            self.flush();
        }
    }

    /// Sends an unsolicited message.
    pub fn chatter(&mut self) {
        if self.session().is_none() {
            return;
        }
        let packet = match self.rng.below(3) {
            0 => wire::report(Back::NoticeResponse, "NOTICE", "00000", "ASYNC"),
            1 => {
                let body = [&[0, 0, 0, 1][..], b"ASYNC\0\0"].concat();
                wire::back(Back::NotificationResponse, &body)
            }
            _ => {
                let value = if self.rng.one_in(2) { "on" } else { "off" };
                let body = [wire::cstr("in_hot_standby"), wire::cstr(value)].concat();
                wire::back(Back::ParameterStatus, &body)
            }
        };
        // A server sends nothing after its FATAL error.
        if self.session().is_some_and(|session| session.has_ended) {
            return;
        }
        wire::push(&mut self.buffer, &packet);
        self.flush();
    }

    /// Takes a cancel request with this connection's key. Returns whether there was anything to
    /// cancel.
    pub fn strike(&mut self) -> bool {
        let Stage::Session(session) = &mut self.stage else { return false };
        if session.is_streaming() {
            self.playing.extend(session.cancel_stream());
            return true;
        }
        if session.is_copying_in() {
            // With Syncs among the data nobody knows which of them come before the end of the COPY.
            if session.copies("mixed") {
                self.playing = session.interrupt(&self.current, &[]).into();
            } else {
                self.is_to_cancel = true;
            }
            return true;
        }
        // The end of a stream is not cancelled any more.
        let is_end = session.walsender.is_some() && self.current.kind == Front::CopyDone as u8;
        if is_end {
            return false;
        }
        let runs = self.busy_until > Moment(0)
            || self.playing.iter().any(|out| match out {
                Out::Sleep(_) => true,
                Out::Packet { packet, .. } => {
                    packet.kind == Back::DataRow as u8 || packet.kind == Back::CopyData as u8
                }
                _ => false,
            });
        let Some(before) = self.before.take().filter(|_| runs) else { return false };
        *session = before;
        self.playing = session.interrupt(&self.current, &self.told).into();
        self.busy_until = Moment(0);
        true
    }

    fn start(&mut self, now: Moment, stream: &mut SimStream, all: &mut Installation) {
        let bytes = self.inbox.rest().to_vec();
        let ParsedStartup::Packet(packet, taken) = startup::parse(&bytes) else { return };
        match packet {
            startup::Packet::Cancel { key } => {
                let delay = std::time::Duration::from_micros(self.rng.below(30_000));
                self.stage = Stage::Cancel { key: key.to_vec(), strikes_at: now + delay };
            }
            startup::Packet::Ssl => self.answer_ssl(stream),
            startup::Packet::Startup { parameters, .. } => {
                let text = |value: &[u8]| String::from_utf8_lossy(value).into_owned();
                let pairs: Vec<(String, String)> =
                    parameters.into_iter().map(|(name, v)| (name.into(), text(v))).collect();
                self.ask(pairs, stream, all);
            }
            _ => wire::push(&mut self.outbox, &wire::back(Back::NoData, b"")),
        }
        self.inbox.skip(taken);
    }

    fn ask(
        &mut self,
        pairs: Vec<(String, String)>,
        stream: &mut SimStream,
        all: &mut Installation,
    ) {
        match self.welcome {
            Welcome::Normal | Welcome::Silence => {}
            Welcome::Hangup => return self.hang_up(stream),
            Welcome::Refused { sqlstate } => return self.refuse(sqlstate, "REFUSED", stream),
            Welcome::Garbage => {
                let garbage: Vec<u8> = (0..20).map(|_| self.rng.next_u64() as u8).collect();
                self.outbox.push(&garbage);
                return;
            }
        }
        let user = pairs.iter().find(|(name, _)| name == "user").map_or("", |(_, user)| user);
        let candidate = Candidate {
            user: user.as_bytes(),
            account: AccountSecret::Known(&all.secret),
            end_point: None,
        };
        let step = login::begin(all.method, &candidate, 1, &mut all.rng);
        self.take_step(step, pairs, all);
    }

    fn refuse(&mut self, sqlstate: &str, text: &str, stream: &mut SimStream) {
        let report = wire::report(Back::ErrorResponse, "FATAL", sqlstate, text);
        wire::push(&mut self.outbox, &report);
        stream.far_send(&mut self.outbox);
        self.hang_up(stream);
    }

    fn check_password(&mut self, all: &mut Installation) {
        let Some(packet) = wire::next(&mut self.inbox) else { return };
        assert_eq!(packet.kind, b'p', "a password message is awaited, {packet:?} came");
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        let Stage::Password(login, pairs) = stage else { return };
        let step = login.handle(&packet.body, &mut all.cache, &mut all.rng);
        let step = step.at_once(&mut all.cache);
        self.take_step(step, pairs, all);
    }

    fn take_step(
        &mut self,
        step: ClientStep,
        pairs: Vec<(String, String)>,
        all: &mut Installation,
    ) {
        match step {
            ClientStep::Ask { request, next } => {
                let packet = wire::back(Back::Authentication, &request.payload());
                wire::push(&mut self.outbox, &packet);
                self.stage = Stage::Password(next, pairs);
            }
            ClientStep::Done { last, .. } => {
                if let Some(request) = last {
                    let packet = wire::back(Back::Authentication, &request.payload());
                    wire::push(&mut self.outbox, &packet);
                }
                self.begin_session(&pairs, all);
            }
            ClientStep::Derive { .. } => panic!("the work was done"),
            ClientStep::Inquire { .. } => panic!("nobody else judges here"),
            ClientStep::Fail(failure) => panic!("the pooler's password is refused: {failure}"),
        }
    }

    fn begin_session(&mut self, pairs: &[(String, String)], all: &mut Installation) {
        all.last_session += 1;
        let kind = walsender::Kind::of(pairs);
        let first = kind.map_or(0, |_| walsender::FIRST_NUMBER);
        let number = first + all.last_session;
        let parameters =
            Parameters::new(pairs, all.defaults).unwrap_or_else(|_| panic!("refused: {pairs:?}"));
        let mut session = Session::new(number, all.rules, parameters);
        session.changes = all.changes;
        session.walsender = kind.map(Walsender::new);
        self.key = [number.to_be_bytes(), (self.rng.next_u64() as u32).to_be_bytes()].concat();
        wire::push(&mut self.outbox, &wire::back(Back::Authentication, &[0; 4]));
        for (name, value) in session.parameters.welcome() {
            let body = [wire::cstr(name), wire::cstr(&value)].concat();
            wire::push(&mut self.outbox, &wire::back(Back::ParameterStatus, &body));
        }
        wire::push(&mut self.outbox, &wire::back(Back::BackendKeyData, &self.key));
        wire::push(&mut self.outbox, &wire::back(Back::ReadyForQuery, b"I"));
        self.stage = Stage::Session(Box::new(session));
    }

    /// Sends replies and takes messages until it must wait.
    fn work(&mut self, now: Moment, stream: &mut SimStream) {
        for _ in 0..1 + self.rng.below(30) {
            if self.busy_until > now {
                return;
            }
            self.busy_until = Moment(0);
            if !self.play(now, stream) || !(self.stream_on() || self.take_next()) {
                return;
            }
        }
    }

    /// Returns whether all replies were sent.
    fn play(&mut self, now: Moment, stream: &mut SimStream) -> bool {
        while let Some(out) = self.playing.pop_front() {
            match out {
                Out::Packet { packet, .. } => {
                    self.note("says", &packet);
                    if packet.kind == Back::ParameterStatus as u8 {
                        self.told.push(packet.body.clone());
                    }
                    wire::push(&mut self.buffer, &packet);
                    if self.buffer.len() >= BUFFER_BYTES {
                        self.flush();
                    }
                }
                Out::Publish { channel, text } => self.published.push((channel, text)),
                Out::Sleep(0) => {}
                Out::Sleep(us) => {
                    self.busy_until = now + std::time::Duration::from_micros(us);
                    return false;
                }
                Out::Flush => self.flush(),
                Out::End => {
                    self.flush();
                    stream.far_send(&mut self.outbox);
                    self.hang_up(stream);
                    return false;
                }
                Out::Fatal(words) => unreachable!("{words}: a server has no pooler's rules"),
            }
            stream.far_send(&mut self.outbox);
            if !self.outbox.is_empty() {
                return false;
            }
        }
        self.outbox.is_empty()
    }

    fn note(&mut self, does: &str, packet: &Packet) {
        if let Some(notes) = &mut self.notes {
            notes.push(format!("{:?} {does} {packet:?}", self.outbound));
        }
    }

    fn flush(&mut self) {
        self.outbox.push(&self.buffer.take(self.buffer.len()));
    }

    /// Says the next message of a stream, or reads first. Returns whether it says one.
    fn stream_on(&mut self) -> bool {
        let Stage::Session(session) = &mut self.stage else { return false };
        if !session.is_streaming() || self.rng.one_in(2) {
            return false;
        }
        self.playing = session.stream_on().into();
        !self.playing.is_empty()
    }

    /// Takes the next message, if one has come.
    fn take_next(&mut self) -> bool {
        let Some(packet) = wire::next(&mut self.inbox) else { return false };
        self.note("takes", &packet);
        let Stage::Session(session) = &mut self.stage else { return false };
        let copies = session.is_copying_in() && matches!(packet.kind, b'd' | b'c');
        let cancelled = self.is_to_cancel && copies;
        if !session.is_copying_in() || cancelled {
            self.is_to_cancel = false;
        }
        self.told.clear();
        if cancelled {
            self.playing = session.interrupt(&packet, &[]).into();
        } else {
            self.before = Some(session.clone());
            self.playing = session.handle(&packet).into();
        }
        self.current = packet;
        if session.has_ended && self.playing.is_empty() {
            self.stage = Stage::Over;
        }
        true
    }
}
