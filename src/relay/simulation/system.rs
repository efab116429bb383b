//! The system below the relay, in memory: connections that were begun, lookups of names, and the
//! rest of connections that the pooler has closed.

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use super::shake::{End, Shake};
use super::stream::{Contact, SimStream};
use crate::auth::inquiry::Inquiry;
use crate::base::rng::{Rng, SeededRng};
use crate::base::time::Now;
use crate::log::{Ends, PeerAddress};
use crate::pool::core::Target;
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::records::secured::Secured;
use crate::pool::telling::journal::JournalLine;
use crate::relay::{ConnId, Handshake, Io, NotBegun, ServerTls};

/// A connection that the pooler has begun.
pub struct Begun {
    pub id: Outbound,
    pub number: u64,
}

/// How connections get TLS.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Tls {
    None,
    /// Some connections have it from the beginning.
    Given,
    /// By a handshake.
    ByHandshake,
}

pub struct System {
    pub begun: Vec<Begun>,
    pub lookups: Vec<String>,
    /// Questions to judges that have no answer yet.
    pub inquiries: Vec<(ClientId, Inquiry)>,
    /// Lines of the log that were not read yet.
    pub lines: Vec<JournalLine>,
    /// Connections that the pooler has closed and whose far end has not read everything.
    pub closed: BTreeMap<u64, SimStream>,
    /// Whether connections have room for everything.
    pub is_wide: bool,
    /// Connecting fails at once, once in this many times; 0 means never.
    pub failing: u64,
    /// How connections get TLS.
    pub tls: Tls,
    /// Whether TLS may keep bytes back from a read that has room for them.
    pub keeps_back: bool,
    /// Handshakes that were completed, and those that failed.
    pub secured: usize,
    pub unsecured: usize,
    /// Connections whose reports of room were switched off, and on again.
    pub quieted: usize,
    pub roused: usize,
    next: u64,
    rng: SeededRng,
}

impl System {
    pub fn new(seed: u64) -> System {
        System {
            begun: Vec::new(),
            lookups: Vec::new(),
            inquiries: Vec::new(),
            lines: Vec::new(),
            closed: BTreeMap::new(),
            is_wide: false,
            failing: 0,
            tls: Tls::None,
            keeps_back: false,
            secured: 0,
            unsecured: 0,
            quieted: 0,
            roused: 0,
            next: 0,
            rng: SeededRng::new(seed),
        }
    }

    /// A new connection with random room.
    pub fn stream(&mut self, contact: Contact) -> SimStream {
        self.next += 1;
        let room = match self.rng.below(4) {
            _ if self.is_wide => 100_000,
            0 => 64 + self.rng.below(1000),
            1 => 4096 + self.rng.below(8192),
            _ => 100_000 + self.rng.below(100_000),
        };
        let seed = self.rng.next_u64();
        let stream = SimStream::new(self.next, room as usize, contact, SeededRng::new(seed));
        match self.tls {
            Tls::Given if seed.is_multiple_of(2) => stream.veiled(self.keeps_back),
            Tls::Given | Tls::None => stream,
            Tls::ByHandshake => {
                let first = if contact == Contact::Waiting { End::Near } else { End::Far };
                stream.securable(Shake::new(first, &mut self.rng), self.keeps_back)
            }
        }
    }
}

impl Io for System {
    type Stream = SimStream;

    fn connect(&mut self, id: Outbound, _: &Target) -> Result<SimStream, NotBegun> {
        if self.failing > 0 && self.rng.one_in(self.failing) {
            let error = io::ErrorKind::ConnectionRefused.into();
            let is_ours = self.rng.one_in(4);
            return Err(if is_ours { NotBegun::Exhausted(error) } else { NotBegun::Failed(error) });
        }
        let stream = self.stream(Contact::Waiting);
        self.begun.push(Begun { id, number: stream.number });
        Ok(stream)
    }

    fn connected(&mut self, stream: &SimStream) -> Result<Option<Ends>, String> {
        let ip = IpAddr::from([127, 0, 0, 1]);
        match stream.contact {
            Contact::Waiting => Ok(None),
            Contact::Made => {
                let port = stream.number as u16;
                Ok(Some((PeerAddress::Tcp { ip, port: 5432 }, PeerAddress::Tcp { ip, port })))
            }
            Contact::Refused => Err("Connection refused".into()),
        }
    }

    fn close(&mut self, mut stream: SimStream) {
        stream.close();
        self.closed.insert(stream.number, stream);
    }

    fn secure_client(&mut self, stream: &mut SimStream, early: &[u8]) -> Result<(), String> {
        stream.near_begin(early).then_some(()).ok_or_else(|| "no TLS here".into())
    }

    fn secure_server(&mut self, stream: &mut SimStream, _: &ServerTls) -> Result<(), String> {
        stream.near_begin(&[]).then_some(()).ok_or_else(|| "no TLS here".into())
    }

    fn handshake(&mut self, stream: &mut SimStream) -> Handshake {
        match stream.near_go_on() {
            Ok(false) => Handshake::Pending,
            Ok(true) => {
                self.secured += 1;
                Handshake::Done(Box::new(Secured {
                    description: "TLSv1.3/SIM".into(),
                    end_point: None,
                    is_resumed: false,
                    common_name: None,
                    other_names: Box::default(),
                }))
            }
            Err(why) => {
                self.unsecured += 1;
                Handshake::Failed(why.into())
            }
        }
    }

    fn hear_of_room(
        &mut self,
        _: ConnId,
        stream: &mut SimStream,
        is_wanted: bool,
    ) -> io::Result<bool> {
        let is_heard = stream.hear_of_room(is_wanted);
        self.quieted += usize::from(!is_heard);
        self.roused += usize::from(is_heard && is_wanted);
        Ok(is_heard)
    }

    fn resolve(&mut self, name: String) {
        self.lookups.push(name);
    }

    fn inquire(&mut self, client: ClientId, inquiry: Inquiry) {
        self.inquiries.push((client, inquiry));
    }

    fn log(&mut self, _: Now, mut lines: Vec<JournalLine>) {
        self.lines.append(&mut lines);
    }
}
