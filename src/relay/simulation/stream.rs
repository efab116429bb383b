//! A connection in memory that behaves like a socket: bytes arrive in pieces, a write is cut short
//! when the other end does not read, readiness is reported by edges, connections break.
//!
//! The stream owns both directions. The pooler uses the near end through [`Stream`]; the peer uses
//! the far end through methods whose names begin with `far_`.

use std::io;

use super::bytes::Bytes;
use super::shake::Shake;
use super::veil::{Met, Veil};
use crate::base::rng::{Rng, SeededRng};
use crate::relay::Readiness;
use crate::relay::Stream;

/// Whether the connection to a server is established.
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
    /// The end of file follows the bytes in flight.
    Finished,
    /// The end of file has arrived.
    Met,
    Reset,
}

pub struct SimStream {
    /// The number of the connection, which is never used again.
    pub number: u64,
    pub contact: Contact,
    /// Events of the near end that the poll has not reported yet.
    pub edge: Readiness,
    /// Bytes that the far end has sent and that have not arrived.
    flight: Bytes,
    /// Bytes for the near end to read.
    arrived: Bytes,
    /// Bytes that the near end has written, for the far end to read.
    outbound: Bytes,
    far: FarEnd,
    /// Whether the poll has reported the far end's end.
    pub is_end_told: bool,
    /// Whether the far end has sent close_notify and waits for the near end to close the
    /// connection.
    lingers: bool,
    /// Whether the far end reads no more: bytes are lost, and after that writes fail.
    is_deaf: bool,
    /// Whether a write was cut short, so that room will be reported.
    wants_room: bool,
    /// Whether room is reported after each read of the far end, as with a Unix socket.
    is_chatty: bool,
    /// Whether the poll reports room.
    hears_of_room: bool,
    /// Whether the near end was closed.
    pub is_closed: bool,
    /// Whether there may have been no room for all that the near end had to send.
    pub is_cut_short: bool,
    /// The number of bytes that the near end has read and written.
    pub moved: usize,
    room: usize,
    rng: SeededRng,
    /// The TLS of the connection, which counts once the handshake is done.
    pub(super) veil: Option<Box<Veil>>,
    /// The handshake, which may or must take place.
    pub(super) shake: Option<Box<Shake>>,
}

impl SimStream {
    /// `room` is the number of bytes that each direction holds.
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

    /// The stream with its data under TLS from the beginning.
    pub fn veiled(self, keeps_back: bool) -> SimStream {
        SimStream { veil: Some(Box::new(Veil { keeps_back, ..Veil::default() })), ..self }
    }

    /// Whether the stream holds something that the poll does not report, on purpose.
    pub fn keeps_back(&self) -> bool {
        self.veil.as_ref().is_some_and(|veil| veil.keeps_back && veil.met.is_some())
    }

    /// The events of the near end that the poll reports now.
    pub fn tell(&mut self) -> Readiness {
        self.is_end_told |= self.edge.ending;
        std::mem::take(&mut self.edge)
    }

    /// The stream as it was accepted: room is not reported.
    pub fn accepted(self) -> SimStream {
        SimStream { hears_of_room: false, ..self }
    }

    /// Switches reports of room on or off. Returns whether they are on. Switching them on reports
    /// the present readiness again.
    pub fn hear_of_room(&mut self, is_wanted: bool) -> bool {
        let is_like_tcp = !self.is_chatty || self.veil.is_some() || self.shake.is_some();
        if is_like_tcp && !is_wanted {
            return true;
        }
        self.hears_of_room = is_wanted;
        self.edge.readable |= !self.arrived.is_empty();
        self.edge.writable = is_wanted && self.outbound.len() < self.room;
        is_wanted
    }

    /// The connection is established, or refused.
    pub fn far_settle(&mut self, contact: Contact) {
        self.contact = contact;
        self.edge.writable = true;
        self.edge.ending |= contact == Contact::Refused;
    }

    /// Sends as many bytes as there is room for.
    pub fn far_send(&mut self, bytes: &mut Bytes) {
        let count = self.far_send_bare(bytes);
        if !self.far_is_veiled() {
            return;
        }
        let Some(veil) = &mut self.veil else { return };
        // A peer makes records of any size.
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

    /// Sends below TLS. Returns how many bytes there was room for.
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

    /// Lets some of the bytes in flight arrive.
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

    /// Reads below TLS.
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

    /// Whether the far end has read everything that will ever come.
    pub fn far_met_end(&self) -> bool {
        self.is_closed && self.outbound.is_empty()
    }

    /// The far end ends its direction, and reads on.
    pub fn far_finish(&mut self) {
        if self.far != FarEnd::Open {
            return;
        }
        self.far = FarEnd::Finished;
        // Some peers send close_notify and wait for the near end's; others just end the connection.
        if self.far_is_veiled()
            && self.number.is_multiple_of(2)
            && let Some(veil) = &mut self.veil
        {
            self.flight.push(&[0]);
            veil.inbound.say_goodbye();
            self.lingers = true;
        }
    }

    /// The far end closes both directions, after the bytes in flight.
    pub fn far_close(&mut self) {
        self.far_finish();
        self.is_deaf = true;
        self.outbound.clear();
        if let Some(veil) = &mut self.veil {
            veil.outbound.clear();
        }
        self.edge.writable |= std::mem::take(&mut self.wants_room) && self.hears_of_room;
    }

    /// The connection breaks; sometimes the bytes in flight are lost.
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

    /// The state of the stream, for the report of a failure.
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

    /// The near end closes the connection.
    pub fn close(&mut self) {
        self.is_closed = true;
        self.is_cut_short = self.wants_room || self.near_shakes();
    }

    /// Bytes in flight to the far end, with incomplete records.
    pub fn outbound(&self) -> Vec<u8> {
        let come = self.veil.as_ref().map_or(Vec::new(), |veil| veil.outbound.held());
        [&come, self.outbound.rest()].concat()
    }
}

impl SimStream {
    /// Reads below TLS.
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

    /// Reads complete records, until `into` is full or the system has no more bytes. If a read
    /// returns bytes, the next one reports what was met after them.
    fn read_veiled(&mut self, mut veil: Box<Veil>, into: &mut [u8]) -> io::Result<usize> {
        let result = self.read_records(&mut veil, into);
        self.veil = Some(veil);
        result
    }

    fn read_records(&mut self, veil: &mut Veil, into: &mut [u8]) -> io::Result<usize> {
        let most = match veil.keeps_back && self.rng.one_in(4) {
            true => 1 + self.rng.below(into.len().min(200) as u64) as usize,
            false => into.len(),
        };
        let into = &mut into[..most];
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

    /// Whether written bytes may arrive.
    fn far_takes(&self) -> bool {
        self.far != FarEnd::Reset && !self.is_deaf
    }

    /// Writes below TLS.
    pub(super) fn write_bare(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.far == FarEnd::Reset {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        if self.is_deaf {
            // The first write after a close causes a reset, and later ones fail with it.
            self.far_reset();
            return Ok(from.len());
        }
        let room = self.room.saturating_sub(self.outbound.len());
        let count = room.min(from.len());
        self.wants_room |= count < from.len();
        self.outbound.push(&from[..count]);
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }

    /// Writes records. A record that the system takes only in part does not count as written.
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
        assert!(!into.is_empty(), "a read of nothing looks like the end");
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
