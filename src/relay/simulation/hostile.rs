//! Hostile peers: clients of a database of their own, and the servers of that database. Both send
//! legal and illegal messages, in floods and in drips, read late or never, and leave without a
//! word. No other peer may notice.

use super::bytes::Bytes;
use super::obliging::Obliging;
use super::stream::{Contact, SimStream};
use super::system::System;
use super::wire;
use super::world::{World, client_stream, outbound_stream};
use crate::base::rng::{Rng, SeededRng};
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::records::carrier::Carrier;
use crate::relay::engine::Engine;
use crate::wire::startup;

/// Their database and their user.
pub const DATABASE: &str = "evil";
pub const USER: &str = "mal";

/// Their port, by which log lines name them.
const PORT: u16 = u16::MAX;

/// The most hostile clients at once.
const MOST_CLIENTS: usize = 4;

/// Messages of a flood.
const FLOOD_MESSAGES: u64 = 8_000;

/// The most bytes that wait to be sent.
const MOST_UNSENT_BYTES: usize = 100_000;

/// Messages of clients: kind and body. A `%` becomes a number.
const OF_CLIENTS: &[(u8, &[u8])] = &[
    (b'Q', b"select 1\0"),
    (b'Q', b"begin; set x.y%=1; commit\0"),
    (b'Q', b"copy t from stdin\0"),
    (b'Q', b"listen c%\0"),
    (b'Q', b"prepare s% as select 1\0"),
    (b'Q', b"deallocate s%\0"),
    (b'Q', b"deallocate all\0"),
    (b'P', b"s%\0select %\0\0\0"),
    (b'P', b"\0copy t from stdin\0\0\0"),
    (b'P', b"s%\0select $1\0\0\x01\0\0\0\x17"),
    (b'B', b"\0s%\0\0\0\0\0\0\0"),
    (b'B', b"p%\0\0\0\0\0\0\0\0"),
    (b'D', b"Ss%\0"),
    (b'D', b"P\0"),
    (b'C', b"Ss%\0"),
    (b'C', b"Pp%\0"),
    (b'E', b"\0\0\0\0\0"),
    (b'E', b"p%\0\0\0\0\x01"),
    (b'S', b""),
    (b'S', b""),
    (b'H', b""),
    (b'd', b"1\tx\n"),
    (b'c', b""),
    (b'f', b"no\0"),
    (b'F', b"\0\0\0\x01\0\0\0\0\0\0"),
    (b'p', b"secret\0"),
    (b'X', b""),
];

/// Messages of servers: kind and body.
const OF_SERVERS: &[(u8, &[u8])] = &[
    (b'Z', b"I"),
    (b'Z', b"I"),
    (b'Z', b"T"),
    (b'Z', b"E"),
    (b'Z', b"?"),
    (b'C', b"SELECT 1\0"),
    (b'C', b"BEGIN\0"),
    (b'C', b"COMMIT\0"),
    (b'C', b"SET\0"),
    (b'C', b"LISTEN\0"),
    (b'C', b"DISCARD ALL\0"),
    (b'C', b"DEALLOCATE\0"),
    (b'C', b"COPY %\0"),
    (b'1', b""),
    (b'2', b""),
    (b'3', b""),
    (b'n', b""),
    (b's', b""),
    (b't', b"\0\0"),
    (b'T', b"\0\x01a\0\0\0\0\0\0\0\0\0\0\x17\0\x04\xff\xff\xff\xff\0\0"),
    (b'D', b"\0\x01\0\0\0\x011"),
    (b'G', b"\0\0\0"),
    (b'H', b"\0\0\0"),
    (b'W', b"\0\0\0"),
    (b'd', b"1\tx\n"),
    (b'c', b""),
    (b'I', b""),
    (b'E', b"SERROR\0VERROR\0C42601\0Mno\0\0"),
    (b'E', b"SERROR\0VERROR\0C0A000\0Mcached plan must not change result type\0\0"),
    (b'E', b"SFATAL\0VFATAL\0C57P01\0Mgone\0\0"),
    (b'N', b"SNOTICE\0C00000\0Mso\0\0"),
    (b'A', b"\0\0\0\x07c%\0hello\0"),
    (b'S', b"TimeZone\0z%\0"),
    (b'S', b"client_encoding\0e%\0"),
    (b'S', b"n%\0v%\0"),
    (b'K', b"\0\0\0\x01\0\0\0\x02"),
    (b'R', b"\0\0\0\0"),
    (b'R', b"\0\0\0\x03"),
    (b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"),
    (b'v', b"\0\x03\0\0\0\0\0\0"),
];

/// One hostile peer.
struct Foe<Id> {
    id: Id,
    number: u64,
    outbox: Bytes,
    /// Whether it has sent the beginning of a connection.
    has_begun: bool,
    /// It reads once in this many acts; 0 means never.
    reads: u64,
    /// A server that answers, in place of one that says what it likes.
    obliging: Option<Obliging>,
    is_over: bool,
}

impl<Id> Foe<Id> {
    fn new(id: Id, number: u64, rng: &mut SeededRng) -> Foe<Id> {
        let reads = [1, 1, 2, 30, 0][rng.below(5) as usize];
        let outbox = Bytes::default();
        Foe { id, number, outbox, has_begun: false, reads, obliging: None, is_over: false }
    }

    /// Answers what a server was asked.
    fn oblige(&mut self, stream: &mut SimStream, rng: &mut SeededRng) {
        let asked = stream.far_read(usize::MAX);
        if let Some(obliging) = self.obliging.as_mut().filter(|_| !asked.is_empty()) {
            obliging.hear(&asked, &mut self.outbox);
        }
        self.send(stream, rng);
        if rng.one_in(400) || stream.is_closed {
            self.leave(stream);
        }
    }

    /// Sends a part of its messages, reads or not, and sometimes leaves. Returns the bytes it has
    /// read.
    fn act(
        &mut self,
        stream: &mut SimStream,
        words: &[(u8, &[u8])],
        rng: &mut SeededRng,
    ) -> Vec<u8> {
        if self.outbox.len() < MOST_UNSENT_BYTES {
            say(&mut self.outbox, words, rng);
        }
        self.send(stream, rng);
        let reads = self.reads > 0 && rng.one_in(self.reads);
        let read = if reads { stream.far_read(usize::MAX) } else { Vec::new() };
        match rng.below(200) {
            0 => self.leave(stream),
            1 => stream.far_finish(),
            _ => {}
        }
        // The far end of a closed connection drops unread bytes.
        if stream.is_closed {
            self.leave(stream);
        }
        read
    }

    fn send(&mut self, stream: &mut SimStream, rng: &mut SeededRng) {
        let all = self.outbox.len();
        let most = if rng.one_in(4) { 1 + rng.below(20) as usize } else { all };
        let mut piece = Bytes::default();
        piece.push(&self.outbox.rest()[..most.min(all)]);
        let offered = piece.len();
        stream.far_send(&mut piece);
        self.outbox.skip(offered - piece.len());
    }

    fn leave(&mut self, stream: &mut SimStream) {
        stream.far_reset();
        self.is_over = true;
    }
}

pub struct Hostile {
    clients: Vec<Foe<ClientId>>,
    servers: Vec<Foe<Outbound>>,
    /// The number of hostile clients so far, and of transactions that they were given.
    pub foes: usize,
    pub served: usize,
    /// Whether half of the servers oblige.
    obliges: bool,
    rng: SeededRng,
}

impl Hostile {
    pub fn new(seed: u64, obliges: bool) -> Hostile {
        Hostile {
            obliges,
            clients: Vec::new(),
            servers: Vec::new(),
            foes: 0,
            served: 0,
            rng: SeededRng::new(!seed),
        }
    }

    /// The connections of hostile clients, and those of hostile servers.
    pub fn connections(
        &self,
    ) -> (impl Iterator<Item = (ClientId, u64)>, impl Iterator<Item = (Outbound, u64)>) {
        let clients = self.clients.iter().map(|foe| (foe.id, foe.number));
        (clients, self.servers.iter().map(|foe| (foe.id, foe.number)))
    }

    pub fn wants_more(&mut self) -> bool {
        self.clients.len() < MOST_CLIENTS && self.rng.one_in(8)
    }

    pub fn add_client(&mut self, id: ClientId, number: u64) {
        self.foes += 1;
        let mut foe = Foe::new(id, number, &mut self.rng);
        let mut first = Vec::new();
        match self.rng.below(8) {
            // Other bytes instead of a startup packet.
            0 => {}
            _ => {
                let own = format!("v{}", self.rng.below(100));
                let mut all = vec![("user", USER), ("database", DATABASE)];
                if self.rng.one_in(2) {
                    all.push(("application_name", own.as_str()));
                }
                startup::startup_message(&mut first, 0, &all);
            }
        }
        foe.outbox.push(&first);
        self.clients.push(foe);
    }

    /// The pooler has begun a connection to a hostile server.
    pub fn add_server(&mut self, id: Outbound, number: u64) {
        let mut foe = Foe::new(id, number, &mut self.rng);
        foe.obliging = (self.obliges && self.rng.one_in(2)).then(Obliging::default);
        self.servers.push(foe);
    }

    /// Lets all hostile peers act; with `is_ending` they leave.
    pub fn act(&mut self, engine: &mut Engine<System>, is_ending: bool) {
        let rng = &mut self.rng;
        for foe in &mut self.clients {
            match client_stream(engine, foe.id, foe.number) {
                Some(stream) if is_ending => foe.leave(stream),
                Some(stream) => {
                    let read = foe.act(stream, OF_CLIENTS, rng);
                    self.served += read.windows(5).filter(|bytes| bytes == b"Z\0\0\0\x05").count();
                }
                None => foe.is_over = true,
            }
        }
        for foe in &mut self.servers {
            match outbound_stream(engine, foe.id, foe.number) {
                Some(stream) if is_ending => foe.leave(stream),
                Some(stream) => {
                    if !begin_server(foe, stream, rng) {
                        continue;
                    }
                    match foe.obliging {
                        Some(_) => foe.oblige(stream, rng),
                        None => drop(foe.act(stream, OF_SERVERS, rng)),
                    }
                }
                None => foe.is_over = true,
            }
        }
        let closed = &mut engine.io.closed;
        self.clients.retain(|foe| !foe.is_over || closed.remove(&foe.number).is_none());
        self.servers.retain(|foe| !foe.is_over || closed.remove(&foe.number).is_none());
    }
}

/// Accepts the connection and sends a welcome, with faults. Returns whether that is done.
fn begin_server(foe: &mut Foe<Outbound>, stream: &mut SimStream, rng: &mut SeededRng) -> bool {
    if foe.has_begun {
        return true;
    }
    if stream.contact == Contact::Waiting {
        let contact = if rng.one_in(10) { Contact::Refused } else { Contact::Made };
        stream.far_settle(contact);
        return false;
    }
    foe.has_begun = stream.contact == Contact::Made && !stream.outbound().is_empty();
    if foe.has_begun && !rng.one_in(8) {
        const WELCOME: [(u8, &[u8]); 4] = [
            (b'R', b"\0\0\0\0"),
            (b'S', b"server_version\x0017\0"),
            (b'K', b"\0\0\0\x01\0\0\0\x02"),
            (b'Z', b"I"),
        ];
        for (kind, body) in WELCOME {
            wire::push(&mut foe.outbox, &wire::Packet { kind, body: body.to_vec() });
        }
    }
    // The pooler gives up a connection that was refused.
    stream.contact == Contact::Refused
}

/// Appends one message, or a flood.
fn say(out: &mut Bytes, words: &[(u8, &[u8])], rng: &mut SeededRng) {
    let count = match rng.below(250) {
        0 => FLOOD_MESSAGES,
        1..=20 => 20,
        _ => rng.below(3),
    };
    let is_one_word = rng.one_in(2);
    let one = rng.below(words.len() as u64);
    for _ in 0..count {
        let at = if is_one_word { one } else { rng.below(words.len() as u64) };
        let (kind, body) = words[at as usize];
        let message = whole(kind, &numbered(body, rng));
        let is_spoilt = rng.one_in(if count > 20 { 5000 } else { 40 });
        out.push(&if is_spoilt { spoilt(message, rng) } else { message });
    }
}

fn whole(kind: u8, body: &[u8]) -> Vec<u8> {
    let length = body.len() as u32 + 4;
    [&[kind], &length.to_be_bytes()[..], body].concat()
}

/// The body with a number for each `%`.
fn numbered(body: &[u8], rng: &mut SeededRng) -> Vec<u8> {
    let mut out = Vec::with_capacity(body.len() + 8);
    for &byte in body {
        match byte {
            b'%' => out.extend(rng.below(3000).to_string().bytes()),
            _ => out.push(byte),
        }
    }
    out
}

/// A message made illegal.
fn spoilt(mut message: Vec<u8>, rng: &mut SeededRng) -> Vec<u8> {
    let at = rng.below(message.len() as u64) as usize;
    match rng.below(6) {
        0 => message[0] = rng.next_u64() as u8,
        1 => message[at] ^= 1 << rng.below(8),
        2 => message[1..5].copy_from_slice(&(rng.below(4) as u32).to_be_bytes()),
        3 => message[1..5].copy_from_slice(&(0x7fff_ffff - at as u32).to_be_bytes()),
        4 => message.truncate(at),
        _ => message.extend(rng.next_u64().to_le_bytes()),
    }
    message
}

impl World {
    /// Lets hostile clients connect, if the seed has any.
    pub(super) fn invite_hostile(&mut self) {
        let Some(hostile) = &mut self.hostile else { return };
        if !hostile.wants_more() {
            return;
        }
        let (id, number) = self.admit(PORT, None);
        self.note(|| format!("a hostile client {id:?} comes"));
        self.hostile.iter_mut().for_each(|hostile| hostile.add_client(id, number));
    }

    pub(super) fn act_hostile(&mut self) {
        let is_ending = self.is_ending;
        if let Some(hostile) = &mut self.hostile {
            hostile.act(&mut self.engine, is_ending);
        }
    }

    /// Whether a connection is to a hostile server.
    pub(super) fn is_hostile(&self, id: Outbound) -> bool {
        let core = &self.engine.core;
        let pool = match id {
            Outbound::Carrier(id) => core.carriers.get(id).and_then(Carrier::pool),
            Outbound::Server(id) => core.servers.get(id).map(|server| server.pool),
        };
        let database = pool.and_then(|pool| core.pools.get(pool)).map(|pool| pool.database);
        database.is_some() && database == core.directory.find_database(DATABASE)
    }
}
