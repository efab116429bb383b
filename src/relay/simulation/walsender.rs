//! A simulated session that was opened for replication: a walsender.
//!
//! It follows the manual's "Streaming Replication Protocol", and PostgreSQL 15 where the manual is
//! silent. A stream is answered by CopyBoth, and then both sides send data until both have sent
//! CopyDone. Within a stream every other message of the client is fatal. The extended protocol and
//! function calls are refused.
//!
//! Its commands have arguments of their own, so that an answer shows its question. The real tag of
//! a stream is `START_STREAMING` or `COPY 0`. Here it tells how many messages the stream had, and
//! the sum of what the client has sent.

use super::session::{ABORTED, Block, CANCELLED, Failure, Out, ROW_DESCRIPTION, Session};
use super::session::{failure, text_of};
use super::wire::Packet;
use crate::wire::kind::{Back, Front};

/// What a client asks for with the startup parameter `replication`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Kind {
    /// With SQL, for `replication=database`.
    Logical,
    /// Without SQL.
    Physical,
}

impl Kind {
    pub fn of(startup: &[(String, String)]) -> Option<Kind> {
        let (_, word) = startup.iter().find(|(name, _)| name == "replication")?;
        Some(if word == "database" { Kind::Logical } else { Kind::Physical })
    }
}

#[derive(Clone, Debug)]
pub struct Walsender {
    kind: Kind,
    stream: Option<Streaming>,
    /// The stream before, until its end is told.
    last: Option<Streaming>,
    /// The beginning of all tags of the client that it is for.
    owner: Option<String>,
}

/// A stream, from CopyBoth to the client's CopyDone.
#[derive(Clone, Debug)]
struct Streaming {
    /// The command that began it.
    text: String,
    plan: Plan,
    /// The size of the largest messages.
    size: usize,
    /// Messages sent so far; in a shadow those that have come.
    sent: usize,
    /// The sum of what the client has sent.
    sum: u32,
    has_sent_done: bool,
}

/// How a stream goes on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Plan {
    /// Until the client ends it.
    Endless,
    /// The same for logical replication, which sends one more message behind its CopyDone.
    Logical,
    /// The walsender ends it after this many messages: the timeline is an old one.
    History(usize),
    /// An error ends it after this many messages.
    Failing(usize),
}

/// The numbers of walsenders, by which rows show whose they are, begin here.
pub const FIRST_NUMBER: u32 = 1_000_000;

/// Whether the seven digits that rows begin with are of a walsender.
pub fn is_number(digits: &[u8]) -> bool {
    digits >= FIRST_NUMBER.to_string().as_bytes()
}

const EXTENDED: &str = "extended query protocol not supported in a replication connection";
const FASTPATH: &str = "fastpath function calls not supported in a replication connection";
const NO_SQL: &str = "cannot execute SQL commands in WAL sender for physical replication";
const NO_LISTEN: &str = "cannot execute LISTEN within a background process";

impl Walsender {
    pub fn new(kind: Kind) -> Walsender {
        Walsender { kind, stream: None, last: None, owner: None }
    }

    /// The stream that is open, or whose end is about to be told.
    fn current(&self) -> Option<&Streaming> {
        self.stream.as_ref().or(self.last.as_ref())
    }

    /// Asserts that everything that comes is from one client.
    fn must_own(&mut self, text: &str) {
        let mut words = text.split(|c: char| !c.is_ascii_alphanumeric());
        let owner = words.find_map(|word| {
            let (client, number) = word.strip_prefix('c')?.split_once('q')?;
            let is_tag = client.parse::<usize>().is_ok() && number.parse::<usize>().is_ok();
            is_tag.then(|| format!("c{client}q"))
        });
        let Some(owner) = owner else { return };
        let known = self.owner.get_or_insert_with(|| owner.clone());
        assert_eq!(*known, owner, "a walsender has got {text:?} of another client");
    }
}

impl Streaming {
    /// The command is `START_REPLICATION plan count size tag`.
    fn of(text: &str) -> Option<Streaming> {
        let words: Vec<&str> = text.split(' ').collect();
        let number = |at: usize| words.get(at)?.parse::<usize>().ok();
        let plan = match *words.get(1)? {
            "endless" => Plan::Endless,
            "logical" => Plan::Logical,
            "history" => Plan::History(number(2)?),
            "failing" => Plan::Failing(number(2)?),
            _ => return None,
        };
        let (text, size) = (text.to_owned(), number(3)?);
        Some(Streaming { text, plan, size, sent: 0, sum: 0, has_sent_done: false })
    }

    /// The body of the next message.
    fn next_body(&self) -> Vec<u8> {
        let size = [self.size / 3, 0, self.size, 7][self.sent % 4];
        let mut body = format!("w{}:{}", self.text, self.sent).into_bytes();
        body.resize(body.len() + size, b'.');
        body
    }

    /// The tag that tells its end.
    fn tag(&self) -> String {
        format!("COPY {} {}", self.sent, self.sum)
    }

    fn add(&mut self, body: &[u8]) {
        let all = body.iter().map(|byte| u32::from(*byte)).chain([256]);
        self.sum = all.fold(self.sum, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    }
}

impl Session {
    pub fn is_streaming(&self) -> bool {
        !self.has_ended
            && self.walsender.as_ref().is_some_and(|walsender| walsender.stream.is_some())
    }

    /// How many messages the open stream has had so far, if more may come.
    pub fn streamed(&self) -> Option<usize> {
        let stream = self.walsender.as_ref()?.stream.as_ref()?;
        (self.is_streaming() && !stream.has_sent_done).then_some(stream.sent)
    }

    /// Takes a message that a walsender takes in its own way. Returns whether it has.
    pub(super) fn take_as_walsender(&mut self, kind: Front, packet: &Packet) -> bool {
        let Some(walsender) = &mut self.walsender else { return false };
        if matches!(kind, Front::Query | Front::CopyData) {
            walsender.must_own(&String::from_utf8_lossy(&packet.body));
        }
        if walsender.stream.is_some() {
            self.take_in_stream(kind, packet);
            return true;
        }
        match kind {
            _ if self.is_skipping => return false,
            Front::Parse | Front::Bind | Front::Describe | Front::Execute | Front::Close => {
                self.fail(failure("08P01", EXTENDED));
                self.is_skipping = true;
            }
            Front::FunctionCall => {
                self.fail(failure("08P01", FASTPATH));
                self.ready();
            }
            Front::Query => return self.command(&text_of(&packet.body)),
            _ => return false,
        }
        true
    }

    fn take_in_stream(&mut self, kind: Front, packet: &Packet) {
        let stream = self.walsender.as_mut().and_then(|walsender| walsender.stream.as_mut());
        match kind {
            Front::CopyData => stream.into_iter().for_each(|stream| stream.add(&packet.body)),
            Front::CopyDone => self.end_stream(),
            Front::Terminate => self.has_ended = true,
            _ => {
                let text = format!("invalid standby message type \"{}\"", char::from(packet.kind));
                self.end_with("08P01", &text);
            }
        }
    }

    /// Runs a command. Returns whether it was one: SQL and SHOW are left to the session.
    fn command(&mut self, text: &str) -> bool {
        let is_physical = self.walsender.as_ref().is_some_and(|w| w.kind == Kind::Physical);
        let result = match text.split(' ').next().unwrap_or_default() {
            "IDENTIFY_SYSTEM" => self.check_command(text, true).map(|()| self.identify(text)),
            "BASE_BACKUP" => self.check_command(text, false).map(|()| self.back_up(text)),
            "START_REPLICATION" => {
                self.check_command(text, false).and_then(|()| self.begin_stream(text))
            }
            "SHOW" => return false,
            _ if is_physical => Err(failure("0A000", NO_SQL)),
            _ => return false,
        };
        result.unwrap_or_else(|failure| self.fail(failure));
        if !self.is_streaming() {
            self.ready();
        }
        true
    }

    fn check_command(&self, text: &str, may_be_in_block: bool) -> Result<(), Failure> {
        let name = text.split(' ').next().unwrap_or_default();
        match self.block {
            Block::Failed => Err(failure("25P02", ABORTED)),
            Block::Open if !may_be_in_block => {
                Err(failure("25001", format!("{name} cannot run inside a transaction block")))
            }
            Block::None | Block::Open => Ok(()),
        }
    }

    fn identify(&mut self, text: &str) {
        self.push(Back::RowDescription, ROW_DESCRIPTION);
        self.push_row(text.as_bytes());
        self.complete("IDENTIFY_SYSTEM");
    }

    /// `BASE_BACKUP count size tag`: two results, a COPY, and another result.
    fn back_up(&mut self, text: &str) {
        let number = |at: usize| text.split(' ').nth(at).and_then(|word| word.parse().ok());
        let (count, size) = (number(1).unwrap_or_default(), number(2).unwrap_or_default());
        for result in 0..3 {
            if result == 2 {
                self.copy_out(text, count, size);
            }
            self.push(Back::RowDescription, ROW_DESCRIPTION);
            self.push_row(text.as_bytes());
            self.complete("SELECT");
        }
        self.complete("BASE_BACKUP");
    }

    fn begin_stream(&mut self, text: &str) -> Result<(), Failure> {
        let stream = Streaming::of(text);
        let stream =
            stream.ok_or_else(|| failure("42704", format!("no replication slot for {text}")))?;
        self.push(Back::CopyBoth, b"\0\0\0");
        self.push_out(Out::Flush);
        self.walsender.iter_mut().for_each(|walsender| walsender.stream = Some(stream.clone()));
        Ok(())
    }

    /// The client has sent CopyDone.
    fn end_stream(&mut self) {
        let Some(walsender) = &mut self.walsender else { return };
        let Some(stream) = walsender.stream.take() else { return };
        let is_server = self.rules.pooled.is_none();
        let (plan, has_sent_done) = (stream.plan, stream.has_sent_done);
        let text = stream.text.clone();
        walsender.last = Some(stream);
        if !has_sent_done {
            self.push(Back::CopyDone, b"");
        }
        if plan == Plan::Logical && is_server {
            self.push_streamed();
        }
        if let Plan::History(_) = plan {
            self.push(Back::RowDescription, ROW_DESCRIPTION);
            self.push_row(text.as_bytes());
        }
        let last = self.walsender.as_ref().and_then(|walsender| walsender.last.as_ref());
        // A shadow learns how much there was when the tag comes.
        let tag = last.filter(|_| is_server).map_or("COPY ?".to_owned(), Streaming::tag);
        self.complete(&tag);
        self.complete("START_REPLICATION");
        self.ready();
    }

    fn push_streamed(&mut self) {
        let walsender = self.walsender.as_ref();
        let Some(body) = walsender.and_then(Walsender::current).map(Streaming::next_body) else {
            return;
        };
        self.push(Back::CopyData, &body);
        self.push_out(Out::Flush);
        self.count_streamed();
    }

    /// What the walsender sends next of itself in a stream.
    pub fn stream_on(&mut self) -> Vec<Out> {
        let stream = self.walsender.as_mut().and_then(|walsender| walsender.stream.as_mut());
        match stream {
            Some(stream) if stream.plan == Plan::Failing(stream.sent) => {
                self.break_stream("58P01", "requested WAL segment has already been removed");
            }
            Some(stream) if stream.has_sent_done => {}
            Some(stream) if stream.plan == Plan::History(stream.sent) => {
                stream.has_sent_done = true;
                self.push(Back::CopyDone, b"");
                self.push_out(Out::Flush);
            }
            Some(_) => self.push_streamed(),
            None => {}
        }
        self.take_out()
    }

    /// A cancel request ends the stream.
    pub fn cancel_stream(&mut self) -> Vec<Out> {
        self.break_stream("57014", CANCELLED);
        self.take_out()
    }

    /// PostgreSQL shuts down: the walsender tells the end of the stream, and no more. Nobody knows
    /// how much of the client's data it has taken.
    pub fn shut_down_stream(&mut self) -> Vec<Out> {
        let walsender = self.walsender.as_mut();
        if let Some(stream) = walsender.and_then(|walsender| walsender.stream.take()) {
            self.complete(&format!("COPY {}", stream.sent));
            self.push_out(Out::Flush);
            self.has_ended = true;
        }
        self.take_out()
    }

    /// The error tells how much the stream had, which PostgreSQL's does not.
    fn break_stream(&mut self, sqlstate: &'static str, text: &str) {
        let Some(walsender) = &mut self.walsender else { return };
        let Some(stream) = walsender.stream.take() else { return };
        self.fail(failure(sqlstate, format!("{text} after {} of {}", stream.sent, stream.text)));
        self.ready();
    }

    /// In a shadow: whether a message is the next one of the stream.
    pub fn is_next_streamed(&self, body: &[u8]) -> bool {
        let stream = self.walsender.as_ref().and_then(Walsender::current);
        stream.is_some_and(|stream| stream.next_body() == body)
    }

    pub fn count_streamed(&mut self) {
        let Some(walsender) = &mut self.walsender else { return };
        let stream = walsender.stream.as_mut().or(walsender.last.as_mut());
        stream.into_iter().for_each(|stream| stream.sent += 1);
    }

    /// In a shadow: the tag that must come at the end of the stream that is over, once.
    pub fn take_stream_tag(&mut self) -> Option<String> {
        self.walsender.as_mut()?.last.take().map(|stream| stream.tag())
    }
}

/// The error of a walsender for a statement that it does not know.
pub fn refuses_listen() -> Failure {
    failure("0A000", NO_LISTEN)
}
