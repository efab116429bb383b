//! A connection in memory, as one end of a socket behaves: bytes arrive in pieces, a write is cut
//! short when the other end does not read, readiness is told by edges, connections break.
//!
//! The stream owns both directions. The pooler has the near end by [`Stream`]; whoever plays the
//! peer has the far end by the methods whose names begin with `far_`.

use std::io;

use super::bytes::Bytes;
use super::shake::Shake;
use super::veil::{Met, Veil};
use crate::base::rng::{Rng, SeededRng};
use crate::relay::Readiness;
use crate::relay::Stream;

/// Whether the connection to a server has come about.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Contact {
    Waiting,
    Made,
    Refused,
}

/// How the far end has ended its direction.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum FarEnd {
    Open,
    /// The end of file comes after the bytes on the way.
    Finished,
    /// The end of file has arrived.
    Met,
    Reset,
}

pub struct SimStream {
    /// Names the connection for good.
    pub number: u64,
    pub contact: Contact,
    /// News for the near end that the poll has not told yet.
    pub edge: Readiness,
    /// Sent by the far end and not arrived.
    flight: Bytes,
    /// To be read by the near end.
    arrived: Bytes,
    /// Written by the near end, to be read by the far end.
    outbound: Bytes,
    far: FarEnd,
    /// The poll has told of the far end's end.
    pub is_end_told: bool,
    /// It has said goodbye under TLS, and waits for the near end to close the connection.
    lingers: bool,
    /// The far end reads no more: what is written is lost, and after that writing fails.
    is_deaf: bool,
    /// A write was cut short: room is news.
    wants_room: bool,
    /// Room is news whenever the far end has read, as with a Unix socket.
    is_chatty: bool,
    /// The poll tells of room.
    hears_of_room: bool,
    /// The near end has been closed.
    pub is_closed: bool,
    /// Not everything that the near end wanted to say may have had room.
    pub is_cut_short: bool,
    /// Bytes that the near end has read and written.
    pub moved: usize,
    room: usize,
    rng: SeededRng,
    /// It behaves as if it were under TLS, once the handshake is done.
    pub(super) veil: Option<Box<Veil>>,
    /// It may be put under TLS, or is being so.
    pub(super) shake: Option<Box<Shake>>,
}

impl SimStream {
    /// `room` is how many bytes each direction holds.
    pub fn new(number: u64, room: usize, contact: Contact, rng: SeededRng) -> SimStream {
        SimStream {
            number,
            contact,
            edge: Readiness::default(),
            flight: Bytes::default(),
            arrived: Bytes::default(),
            outbound: Bytes::default(),
            far: FarEnd::Open,
            is_end_told: false,
            lingers: false,
            is_deaf: false,
            wants_room: false,
            is_chatty: number.is_multiple_of(2),
            hears_of_room: true,
            is_closed: false,
            is_cut_short: false,
            moved: 0,
            room,
            rng,
            veil: None,
            shake: None,
        }
    }

    /// The same under TLS from the beginning, as far as its bytes go.
    pub fn veiled(self) -> SimStream {
        SimStream { veil: Some(Box::default()), ..self }
    }

    /// The news for the near end, which the poll tells now.
    pub fn tell(&mut self) -> Readiness {
        self.is_end_told |= self.edge.ending;
        std::mem::take(&mut self.edge)
    }

    /// The poll is to tell of room, or not to. Returns whether it does. Asking anew brings what is
    /// known at present once more.
    pub fn hear_of_room(&mut self, is_wanted: bool) -> bool {
        if !self.is_chatty || self.veil.is_some() || self.shake.is_some() {
            return true;
        }
        self.hears_of_room = is_wanted;
        self.edge.readable |= !self.arrived.is_empty();
        self.edge.writable = is_wanted && self.outbound.len() < self.room;
        is_wanted
    }

    /// The connection has come about, or not.
    pub fn far_settle(&mut self, contact: Contact) {
        self.contact = contact;
        self.edge.writable = true;
        self.edge.ending |= contact == Contact::Refused;
    }

    /// Sends what there is room for.
    pub fn far_send(&mut self, bytes: &mut Bytes) {
        let count = self.far_send_bare(bytes);
        if !self.far_is_veiled() {
            return;
        }
        let Some(veil) = &mut self.veil else { return };
        // A peer makes its records as it likes.
        let mut left = count;
        while left > 0 {
            let length = match self.rng.below(3) {
                0 => 1 + self.rng.below(left.min(20) as u64) as usize,
                _ => left.min(16_384),
            };
            veil.inbound.seal(length);
            left -= length;
        }
    }

    /// Sends as the system's socket does. Returns how much there was room for.
    pub(super) fn far_send_bare(&mut self, bytes: &mut Bytes) -> usize {
        if self.far != FarEnd::Open || self.is_closed {
            bytes.clear();
            return 0;
        }
        let room = self.room.saturating_sub(self.flight.len() + self.arrived.len());
        let count = room.min(bytes.len());
        self.flight.push(&bytes.take(count));
        count
    }

    /// Lets some of what is on the way arrive.
    pub fn far_deliver(&mut self) {
        if !self.flight.is_empty() {
            let most = self.flight.len() as u64;
            let count = match self.rng.below(4) {
                0 => 1 + self.rng.below(most.min(8)),
                1 => 1 + self.rng.below(most),
                _ => most,
            };
            self.arrived.push(&self.flight.take(count as usize));
            self.edge.readable = true;
        }
        if self.flight.is_empty() && self.far == FarEnd::Finished && !self.lingers {
            self.far = FarEnd::Met;
            self.edge.readable = true;
            self.edge.ending = true;
        }
    }

    /// Reads at most `most` bytes.
    pub fn far_read(&mut self, most: usize) -> Vec<u8> {
        let is_veiled = self.far_is_veiled();
        let bytes = self.far_read_bare(most);
        match &mut self.veil {
            Some(veil) if is_veiled => {
                veil.outbound.receive(&bytes);
                veil.outbound.take(usize::MAX)
            }
            _ => bytes,
        }
    }

    /// Reads as from the system's socket.
    pub(super) fn far_read_bare(&mut self, most: usize) -> Vec<u8> {
        let count = most.min(self.outbound.len());
        let bytes = self.outbound.take(count);
        if self.wants_room && self.outbound.len() <= self.room / 2 {
            self.wants_room = false;
            self.edge.writable |= self.hears_of_room;
        }
        self.edge.writable |= self.is_chatty && self.hears_of_room && count > 0;
        bytes
    }

    /// Whether everything was read that will ever come.
    pub fn far_met_end(&self) -> bool {
        self.is_closed && self.outbound.is_empty()
    }

    /// The far end sends no more, but reads.
    pub fn far_finish(&mut self) {
        if self.far != FarEnd::Open {
            return;
        }
        self.far = FarEnd::Finished;
        // Some say goodbye under TLS and wait for the near end's; others just end the connection.
        if self.far_is_veiled()
            && self.number.is_multiple_of(2)
            && let Some(veil) = &mut self.veil
        {
            self.flight.push(&[0]);
            veil.inbound.say_goodbye();
            self.lingers = true;
        }
    }

    /// The far end closes both directions, after what is on the way.
    pub fn far_close(&mut self) {
        self.far_finish();
        self.is_deaf = true;
        self.outbound.clear();
        if let Some(veil) = &mut self.veil {
            veil.outbound.clear();
        }
        self.edge.writable |= std::mem::take(&mut self.wants_room) && self.hears_of_room;
    }

    /// The connection breaks; sometimes what was on the way is lost.
    pub fn far_reset(&mut self) {
        self.far = FarEnd::Reset;
        self.is_deaf = true;
        self.outbound.clear();
        self.flight.clear();
        if self.rng.one_in(2) {
            self.arrived.clear();
        }
        if let Some(veil) = &mut self.veil {
            veil.outbound.clear();
            veil.pending.clear();
        }
        self.edge = Readiness { readable: true, writable: true, ending: true };
    }

    /// Gives both directions more room.
    pub fn widen(&mut self) {
        self.room = self.room.max(1 << 16);
    }

    /// For the report of a failure.
    pub fn describe(&self) -> String {
        let (flight, arrived, outbound) =
            (self.flight.len(), self.arrived.len(), self.outbound.len());
        let (far, edge) = (self.far, self.edge);
        let veil = self.veil.as_ref().map(|veil| (veil.inbound.whole(), veil.met));
        let shake = &self.shake;
        format!(
            "{flight}+{arrived} in, {outbound} out, {far:?}, {edge:?}, inside {veil:?}, {shake:?}"
        )
    }

    /// The near end is closed.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.is_cut_short = self.wants_room || self.near_shakes();
    }

    /// What is on its way to the far end, records of which a part has come among it.
    pub fn outbound(&self) -> Vec<u8> {
        let come = self.veil.as_ref().map_or(Vec::new(), |veil| veil.outbound.held());
        [&come, self.outbound.rest()].concat()
    }
}

impl SimStream {
    /// Reads as the system's socket does.
    pub(super) fn read_bare(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if !self.arrived.is_empty() {
            let count = into.len().min(self.arrived.len());
            into[..count].copy_from_slice(&self.arrived.take(count));
            return Ok(count);
        }
        match self.far {
            FarEnd::Met => Ok(0),
            FarEnd::Reset => Err(io::ErrorKind::ConnectionReset.into()),
            FarEnd::Open | FarEnd::Finished => Err(io::ErrorKind::WouldBlock.into()),
        }
    }

    /// Reads whole records, until the room is full or the system has no more. A read brings what
    /// there is, and leaves for the next what it has met after that.
    fn read_veiled(&mut self, mut veil: Box<Veil>, into: &mut [u8]) -> io::Result<usize> {
        let result = self.read_records(&mut veil, into);
        self.veil = Some(veil);
        result
    }

    fn read_records(&mut self, veil: &mut Veil, into: &mut [u8]) -> io::Result<usize> {
        match veil.met.take() {
            Some(Met::End) => return Ok(0),
            Some(Met::Reset) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(Met::More) | None => {}
        }
        let mut count = 0;
        loop {
            let bytes = veil.inbound.take(into.len() - count);
            into[count..count + bytes.len()].copy_from_slice(&bytes);
            count += bytes.len();
            if count == into.len() {
                veil.met = Some(Met::More);
                return Ok(count);
            }
            // The library reads no further than it must.
            let mut block = [0; 512];
            let met = match self.read_bare(&mut block) {
                _ if veil.inbound.is_over() => Met::End,
                Ok(0) => Met::End,
                Ok(came) => {
                    veil.inbound.receive(&block[..came]);
                    continue;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && count > 0 => {
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err(error),
                Err(_) => Met::Reset,
            };
            if count > 0 {
                veil.met = Some(met);
                return Ok(count);
            }
            return match met {
                Met::Reset => Err(io::ErrorKind::ConnectionReset.into()),
                Met::End | Met::More => Ok(0),
            };
        }
    }

    /// Whether what is written may arrive.
    fn far_takes(&self) -> bool {
        self.far != FarEnd::Reset && !self.is_deaf
    }

    /// Writes as the system's socket does.
    pub(super) fn write_bare(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.far == FarEnd::Reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.is_deaf {
            // The first write after a close meets a reset, the next ones know of it.
            self.far_reset();
            return Ok(from.len());
        }
        let room = self.room.saturating_sub(self.outbound.len());
        let count = room.min(from.len());
        self.wants_room |= count < from.len();
        self.outbound.push(&from[..count]);
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    /// Writes records; one that the system does not take whole counts for nothing.
    fn write_veiled(&mut self, mut veil: Box<Veil>, from: &[u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < from.len() {
            veil.pending.offer(&from[count..]);
            let room = self.room.saturating_sub(self.outbound.len());
            let rest = veil.pending.rest();
            let taken = room.min(rest.len());
            self.wants_room |= taken < rest.len();
            self.outbound.push(&rest[..taken]);
            let Some(length) = veil.pending.advance(taken) else { break };
            veil.outbound.seal(length);
            count += length;
        }
        self.veil = Some(veil);
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

impl Stream for SimStream {
    fn holds_more(&self) -> bool {
        self.veil.as_ref().is_some_and(|veil| veil.met.is_some())
    }

    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.rng.one_in(50) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.near_shakes() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let result = match self.near_is_veiled().then(|| self.veil.take()).flatten() {
            Some(veil) => self.read_veiled(veil, into),
            None => self.read_bare(into),
        };
        self.moved += result.as_ref().unwrap_or(&0);
        result
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.rng.one_in(50) {
            return Err(io::ErrorKind::Interrupted.into());
        }
        if self.near_shakes() {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        let is_veiled = self.near_is_veiled() && self.far_takes();
        let result = match is_veiled.then(|| self.veil.take()).flatten() {
            Some(veil) => self.write_veiled(veil, from),
            None => self.write_bare(from),
        };
        self.moved += result.as_ref().unwrap_or(&0);
        result
    }
}
