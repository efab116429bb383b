//! One connection: a request in, an answer out, and the end.

use std::io::{self, ErrorKind};
use std::net::Shutdown;
use std::time::Duration;

use super::WebSite;
use crate::base::time::Moment;
use crate::net::listen::Socket;
use crate::net::network::take_tcp;
use crate::net::tls::Tls;
use crate::pages::answer::{HttpResponse, OutgoingResponse, SLICE_BYTES};
use crate::pages::login::{Admission, Check, REFUSAL_DELAY};
use crate::pages::request::{self, HEAD_BYTES_MAX, HttpRequest, HttpStatus, ParsedRequest};
use crate::pages::{Gathering, HttpReply};
use crate::relay::{Handshake, Readiness, Stream};

/// A request must have come whole within this time.
const REQUEST_LIMIT: Duration = Duration::from_secs(5);

/// A password must be checked within this time.
const CHECK_LIMIT: Duration = Duration::from_secs(10);

/// What a scrape asks for must be read within this time.
const GATHER_LIMIT: Duration = Duration::from_secs(20);

/// A peer that takes no byte of an answer for this long is disconnected.
const SEND_LIMIT: Duration = Duration::from_secs(10);

/// How long the peer may take to close after the answer. If the pooler closed at once, the kernel
/// could drop bytes that the peer has not read yet.
const LINGER: Duration = Duration::from_secs(1);

/// Reads in one turn, so that a peer that sends without end gets no more than its share.
const READS_PER_TURN: usize = 8;

pub struct Seat {
    socket: Socket,
    stage: Stage,
    begun: Moment,
    /// When the stage ends, whatever comes.
    deadline: Moment,
    is_readable: bool,
    is_writable: bool,
    input: Vec<u8>,
    /// What is to be sent, and how many bytes of it have been.
    output: Vec<u8>,
    sent: usize,
}

enum Stage {
    Handshake,
    Reading,
    Checking(Box<Check>, Box<HttpRequest>),
    /// What a scrape asks for is being read.
    Gathering(Box<Gathering>, Box<HttpRequest>),
    /// The refusal of a login waits until the deadline.
    Refusing(Box<HttpRequest>),
    Sending(OutgoingResponse),
    /// The whole answer is sent; what still comes is thrown away.
    Ending,
}

impl Seat {
    /// `None` if the connection cannot be put under TLS.
    pub fn new(mut socket: Socket, now: Moment, tls: &Tls) -> Option<Seat> {
        let mut stage = Stage::Reading;
        if tls.is_web_secure() && matches!(socket, Socket::Tcp(_)) {
            let session = tls.with_web(take_tcp(&mut socket, &[]).ok()?).ok()?;
            socket = Socket::Tls(Box::new(session));
            stage = Stage::Handshake;
        }
        Some(Seat {
            socket,
            stage,
            begun: now,
            deadline: now + REQUEST_LIMIT,
            is_readable: true,
            is_writable: true,
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
        })
    }

    pub fn heed(&mut self, readiness: Readiness) {
        self.is_readable |= readiness.readable || readiness.ending;
        self.is_writable |= readiness.writable;
    }

    /// When there is something to do even without an event of the kernel.
    pub fn next(&self) -> Moment {
        let can_go_on = match self.stage {
            Stage::Handshake | Stage::Reading | Stage::Ending => self.is_readable,
            Stage::Sending(_) => self.is_writable,
            Stage::Checking(..) | Stage::Gathering(..) => true,
            Stage::Refusing(_) => false,
        };
        if can_go_on { Moment(0) } else { self.deadline }
    }

    /// Does what can be done in this turn. Returns whether the connection goes on.
    pub fn run(&mut self, now: Moment, site: &mut dyn WebSite, slices: &mut usize) -> bool {
        if now >= self.deadline && !self.is_late(now) {
            return false;
        }
        let result = match self.stage {
            Stage::Handshake => self.shake_hands(),
            Stage::Reading => self.read(now, site),
            Stage::Checking(..) => Ok(self.check(now, site, slices)),
            Stage::Gathering(..) => Ok(self.gather(now, site, slices)),
            Stage::Refusing(_) => Ok(true),
            Stage::Sending(_) => self.send(now),
            Stage::Ending => self.drain(),
        };
        // If anything has failed, nobody is left to be told.
        result.unwrap_or(false)
    }

    /// Ends a stage that has taken too long. Returns whether another stage follows.
    fn is_late(&mut self, now: Moment) -> bool {
        match std::mem::replace(&mut self.stage, Stage::Ending) {
            Stage::Refusing(request) => {
                self.begin(now, HttpResponse::refusal(HttpStatus::Unauthorized), Some(&request));
                true
            }
            Stage::Reading if !self.input.is_empty() => {
                self.begin(now, HttpResponse::refusal(HttpStatus::TimedOut), None);
                true
            }
            Stage::Checking(..)
            | Stage::Gathering(..)
            | Stage::Handshake
            | Stage::Reading
            | Stage::Sending(_)
            | Stage::Ending => false,
        }
    }

    fn shake_hands(&mut self) -> io::Result<bool> {
        let Socket::Tls(session) = &mut self.socket else { return Ok(false) };
        match session.handshake() {
            Handshake::Done(_) => self.stage = Stage::Reading,
            Handshake::Failed(_) => return Ok(false),
            Handshake::Pending => self.is_readable = false,
        }
        Ok(true)
    }

    fn read(&mut self, now: Moment, site: &mut dyn WebSite) -> io::Result<bool> {
        let mut block = [0; HEAD_BYTES_MAX];
        // One byte more than a request may have shows that the request is too long.
        let room = (HEAD_BYTES_MAX - self.input.len()).max(1);
        let Some(count) = self.receive(&mut block[..room])? else { return Ok(true) };
        if count == 0 {
            return Ok(false);
        }
        self.input.extend_from_slice(&block[..count]);
        match request::parse(&self.input) {
            ParsedRequest::Incomplete => {}
            ParsedRequest::Refused(status) => self.begin(now, HttpResponse::refusal(status), None),
            ParsedRequest::Whole(request) => {
                self.input = Vec::new();
                match site.admit(&request) {
                    Admission::Granted => self.reply(now, site, Box::new(request)),
                    Admission::Refused => self.refuse(now, Box::new(request)),
                    Admission::Check(check) => {
                        self.deadline = now + CHECK_LIMIT;
                        self.stage = Stage::Checking(check, Box::new(request));
                    }
                }
            }
        }
        Ok(true)
    }

    /// Does a slice of the work of checking a password, if this turn has one left.
    fn check(&mut self, now: Moment, site: &mut dyn WebSite, slices: &mut usize) -> bool {
        let Some(left) = slices.checked_sub(1) else { return true };
        *slices = left;
        let Stage::Checking(mut check, request) = std::mem::replace(&mut self.stage, Stage::Ending)
        else {
            return false;
        };
        match check.advance() {
            None => self.stage = Stage::Checking(check, request),
            Some(false) => self.refuse(now, request),
            Some(true) => {
                site.remember(&check);
                self.reply(now, site, request);
            }
        }
        true
    }

    fn reply(&mut self, now: Moment, site: &mut dyn WebSite, request: Box<HttpRequest>) {
        match site.reply(&request) {
            HttpReply::Now(answer) => self.begin(now, answer, Some(&request)),
            HttpReply::Later(gathering) => {
                self.deadline = now + GATHER_LIMIT;
                self.stage = Stage::Gathering(gathering, request);
            }
        }
    }

    /// Reads a slice of what a scrape asks for, if this turn has one left.
    fn gather(&mut self, now: Moment, site: &mut dyn WebSite, slices: &mut usize) -> bool {
        let Some(left) = slices.checked_sub(1) else { return true };
        *slices = left;
        let Stage::Gathering(gathering, _) = &mut self.stage else { return false };
        if !site.gather(gathering) {
            return true;
        }
        let stage = std::mem::replace(&mut self.stage, Stage::Ending);
        let Stage::Gathering(gathering, request) = stage else { return false };
        self.begin(now, gathering.into_answer(), Some(&request));
        true
    }

    /// Refuses a login, always at the same time after its beginning, however long the check took.
    fn refuse(&mut self, now: Moment, request: Box<HttpRequest>) {
        self.deadline = (self.begun + REFUSAL_DELAY).max(now);
        self.stage = Stage::Refusing(request);
    }

    fn begin(&mut self, now: Moment, answer: HttpResponse, request: Option<&HttpRequest>) {
        let outgoing = OutgoingResponse::begin(answer, request, &mut self.output);
        self.input = Vec::new();
        self.deadline = now + SEND_LIMIT;
        self.stage = Stage::Sending(outgoing);
        self.is_writable = true;
    }

    fn send(&mut self, now: Moment) -> io::Result<bool> {
        let end = self.output.len().min(self.sent + SLICE_BYTES);
        match self.socket.write(&self.output[self.sent..end]) {
            Ok(count) => {
                self.sent += count;
                self.deadline = now + SEND_LIMIT;
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => self.is_writable = false,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
        if self.sent < self.output.len() {
            return Ok(true);
        }
        self.output.clear();
        self.sent = 0;
        let Stage::Sending(outgoing) = &mut self.stage else { return Ok(false) };
        if outgoing.push(&mut self.output) && self.output.is_empty() {
            self.say_goodbye();
            self.output = Vec::new();
            self.deadline = now + LINGER;
            self.stage = Stage::Ending;
            self.is_readable = true;
        }
        Ok(true)
    }

    /// Throws away what still comes, until the peer has closed.
    fn drain(&mut self) -> io::Result<bool> {
        let mut block = [0; HEAD_BYTES_MAX];
        for _ in 0..READS_PER_TURN {
            match self.receive(&mut block)? {
                None => return Ok(true),
                Some(0) => return Ok(false),
                Some(_) => {}
            }
        }
        Ok(true)
    }

    /// Reads what is there; `None` if nothing is there now.
    fn receive(&mut self, into: &mut [u8]) -> io::Result<Option<usize>> {
        if !self.is_readable {
            return Ok(None);
        }
        match self.socket.read(into) {
            Ok(count) => Ok(Some(count)),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                self.is_readable = false;
                Ok(None)
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn say_goodbye(&mut self) {
        // A peer that is gone already needs no goodbye.
        let _ = match &mut self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
            Socket::Tls(session) => {
                session.close();
                session.socket().shutdown(Shutdown::Write)
            }
            Socket::Broken => Ok(()),
        };
    }
}

/// Tells a peer that no seat is free, as far as the socket takes it at once.
pub fn turn_away(mut socket: Socket, is_secure: bool) {
    if is_secure {
        return;
    }
    // The request is read first: closing with unread bytes would make the kernel drop the answer.
    let mut block = [0; HEAD_BYTES_MAX];
    let _ = socket.read(&mut block);
    let mut output = Vec::new();
    OutgoingResponse::begin(HttpResponse::refusal(HttpStatus::Unavailable), None, &mut output);
    let _ = socket.write(&output);
}
