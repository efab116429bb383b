//! One connection as the relay sees it: what the kernel has reported, bytes that were read and not
//! judged, and bytes that were judged and not sent. An idle connection owns no memory beyond this
//! record.

use std::io;
use std::marker::PhantomData;
use std::num::NonZeroU32;

use crate::base::arena::{Id, MOST_ROOM_RECORDS};
use crate::pool::ids::ClientId;
use crate::wire::head::HEAD_BYTES;

/// The two calls that a byte stream must have. Both are non-blocking.
pub trait Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;

    /// Whether the last read left bytes, an end or an error inside the stream, which the poll will
    /// not report again.
    fn holds_more(&self) -> bool {
        false
    }
}

/// The rest of a message that has been judged already. No message is longer than 2^31 bytes.
/// [`Inbound::way`] tells what happens to the rest; an enum would cost idle connections more
/// memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Inbound<To> {
    to: Option<To>,
    left: u32,
}

/// What happens to the next byte.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Heading<To> {
    /// The byte begins a message.
    Boundary,
    Forward(To),
    Drop,
}

impl<To: Copy> Inbound<To> {
    pub const BOUNDARY: Inbound<To> = Inbound { to: None, left: 0 };

    pub fn forward(to: To, left: usize) -> Inbound<To> {
        Inbound { to: Some(to), left: left as u32 }
    }

    pub fn drop(left: usize) -> Inbound<To> {
        Inbound { to: None, left: left as u32 }
    }

    #[inline(always)]
    pub fn is_boundary(self) -> bool {
        self.left == 0
    }

    #[inline(always)]
    pub fn way(self) -> Heading<To> {
        match self.to {
            _ if self.left == 0 => Heading::Boundary,
            Some(to) => Heading::Forward(to),
            None => Heading::Drop,
        }
    }

    /// Bytes of the message under way that are still to be forwarded.
    #[inline(always)]
    pub fn left_to_forward(self) -> u32 {
        if self.to.is_some() { self.left } else { 0 }
    }

    /// Counts bytes that are here as taken, up to the end of the message. Returns their number.
    #[inline]
    pub fn go_on(&mut self, here: usize) -> usize {
        let count = here.min(self.left as usize);
        self.left -= count as u32;
        count
    }
}

/// A connection with the bytes that are kept for it.
pub struct Conn<S, To> {
    pub stream: S,
    /// Whether the kernel may have bytes; false after a short read.
    pub is_readable: bool,
    /// Whether the kernel may take bytes; false after a short write.
    pub is_writable: bool,
    /// Whether the poll reports room for bytes: see [`super::room`].
    pub hears_of_room: bool,
    /// Whether the other end has finished. Then reading goes on up to the end, even after short
    /// reads.
    pub is_ending: bool,
    /// Whether a TLS handshake is under way.
    pub is_securing: bool,
    /// Whether the connection is in the run queue.
    pub is_queued: bool,
    /// Whether the bytes sent to it end within a message: only the rest of that message may follow.
    pub is_cut: bool,
    /// How many bytes of the body the judge has asked for: it is not called before they are here.
    pub want: u32,
    pub inbound: Inbound<To>,
    kept: Option<Box<KeptBytes>>,
}

/// Bytes that could not be passed on at once. Most connections have none most of the time.
#[derive(Default)]
struct KeptBytes {
    /// Read and not judged: less than a message, or messages that must wait.
    carry: Vec<u8>,
    /// What the kernel has not taken, in order.
    outbox: Vec<u8>,
    /// How many bytes of `outbox` the kernel has taken since.
    sent: usize,
}

impl<S: Stream, To: Copy> Conn<S, To> {
    pub fn new(stream: S) -> Conn<S, To> {
        Conn {
            stream,
            is_readable: false,
            is_writable: false,
            hears_of_room: true,
            is_ending: false,
            is_securing: false,
            is_queued: false,
            is_cut: false,
            want: 0,
            inbound: Inbound::BOUNDARY,
            kept: None,
        }
    }

    /// A connection that was accepted just now, and may have sent bytes already. It has room, and
    /// the poll tells of room only once there was none.
    pub fn accepted(stream: S, is_readable: bool) -> Conn<S, To> {
        Conn { is_readable, is_writable: true, hears_of_room: false, ..Conn::new(stream) }
    }

    /// Notes a report of the poll.
    #[inline(always)]
    pub fn take_news(&mut self, readiness: &Readiness) {
        self.is_readable |= readiness.readable || readiness.ending;
        self.is_writable |= readiness.writable;
        self.is_ending |= readiness.ending;
    }

    /// Whether `here` bytes, with the head, are fewer than the judge has asked for.
    pub fn wants_more(&self, here: usize) -> bool {
        here < HEAD_BYTES + self.want as usize
    }

    /// Whether a message begins here and its judge has asked for more than `here` bytes, with the
    /// head. Then the message is not judged before more bytes come.
    pub fn awaits_more(&self, here: usize) -> bool {
        self.inbound.is_boundary() && self.wants_more(here)
    }

    /// Whether no bytes are kept in either direction.
    #[inline(always)]
    pub fn keeps_nothing(&self) -> bool {
        self.kept.is_none()
    }

    /// The bytes that were read and not judged.
    #[inline(always)]
    pub fn carry(&self) -> &[u8] {
        self.kept.as_ref().map_or(&[], |kept| &kept.carry)
    }

    /// Takes the bytes that were read and not judged.
    #[inline(always)]
    pub fn take_carry(&mut self) -> Vec<u8> {
        let Some(kept) = &mut self.kept else { return Vec::new() };
        let carry = std::mem::take(&mut kept.carry);
        self.keep_no_more_than_needed();
        carry
    }

    /// Forgets what was read and not judged: it stands before what has come since, elsewhere.
    #[inline(always)]
    pub fn drop_carry(&mut self) {
        if self.kept.is_some() {
            self.take_carry();
        }
    }

    /// Keeps bytes that cannot be judged yet, and drops those kept before.
    pub fn put_carry(&mut self, bytes: Vec<u8>) {
        self.kept.get_or_insert_default().carry = bytes;
        self.keep_no_more_than_needed();
    }

    fn keep_no_more_than_needed(&mut self) {
        if self.kept.as_ref().is_some_and(|kept| kept.carry.is_empty() && kept.outbox.is_empty()) {
            self.kept = None;
        }
    }

    /// Whether the kernel has taken all bytes for this peer.
    #[inline(always)]
    pub fn is_flushed(&self) -> bool {
        self.kept.as_ref().is_none_or(|kept| kept.outbox.is_empty())
    }

    /// The number of bytes for this peer that the kernel has not taken.
    pub fn unsent(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.outbox.len() - kept.sent)
    }

    /// The memory for kept bytes, for tests.
    #[cfg(test)]
    pub fn reserved(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.carry.capacity() + kept.outbox.capacity())
    }

    /// Sends `bytes` after those that wait to be sent, and keeps what the kernel does not take.
    /// `hear` has the poll tell when there is room for it: see [`super::room`].
    pub fn send(
        &mut self,
        bytes: &[u8],
        hear: impl FnOnce(&mut S) -> io::Result<bool>,
    ) -> io::Result<()> {
        match self.offer(bytes) {
            Offered::Taken => Ok(()),
            Offered::Not(outcome) => self.send_rest(bytes, outcome, hear),
        }
    }

    /// Offers `bytes` to the kernel if nothing waits to be sent before them. Mostly it takes all.
    #[inline(always)]
    pub fn offer(&mut self, bytes: &[u8]) -> Offered {
        if !self.is_flushed() || !self.is_writable || bytes.is_empty() {
            return Offered::Not(None);
        }
        match self.stream.write(bytes) {
            Ok(taken) if taken == bytes.len() => Offered::Taken,
            outcome => Offered::Not(Some(outcome)),
        }
    }

    /// Goes on with bytes that were not taken whole when they were offered.
    pub fn send_rest(
        &mut self,
        bytes: &[u8],
        offered: Option<io::Result<usize>>,
        hear: impl FnOnce(&mut S) -> io::Result<bool>,
    ) -> io::Result<()> {
        let taken = offered.map_or(Ok(0), |outcome| self.heed_write(outcome, bytes.len()))?;
        let mut rest = &bytes[taken..];
        if self.is_flushed() {
            while !rest.is_empty() && self.is_writable {
                let taken = self.write_once(rest)?;
                rest = &rest[taken..];
            }
        }
        if !rest.is_empty() {
            let outbox = &mut self.kept.get_or_insert_default().outbox;
            if outbox.capacity() - outbox.len() < rest.len() {
                // Usually little is added to a full block, so doubling the memory would be too
                // much.
                outbox.reserve_exact(rest.len() + outbox.len() / 8);
            }
            outbox.extend_from_slice(rest);
        }
        self.await_room(hear)
    }

    /// Sends what waits to be sent, as far as the kernel takes it. Frees the memory once all is
    /// sent. `hear` is as for [`Conn::send`].
    pub fn flush(&mut self, hear: impl FnOnce(&mut S) -> io::Result<bool>) -> io::Result<()> {
        let Some(mut kept) = self.kept.take() else { return Ok(()) };
        let mut outcome = Ok(());
        while outcome.is_ok() && kept.sent < kept.outbox.len() && self.is_writable {
            outcome = self.write_once(&kept.outbox[kept.sent..]).map(|taken| kept.sent += taken);
        }
        if kept.sent == kept.outbox.len() {
            (kept.outbox, kept.sent) = (Vec::new(), 0);
        }
        self.kept = Some(kept);
        self.keep_no_more_than_needed();
        outcome.and_then(|()| self.await_room(hear))
    }

    fn write_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let outcome = self.stream.write(bytes);
        self.heed_write(outcome, bytes.len())
    }

    /// Notes whether a write that was to take `wanted` bytes has filled the kernel's room. Returns
    /// how many it has taken.
    fn heed_write(&mut self, outcome: io::Result<usize>, wanted: usize) -> io::Result<usize> {
        match outcome {
            Ok(taken) => {
                if taken < wanted {
                    self.is_writable = false;
                }
                Ok(taken)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_writable = false;
                Ok(0)
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(0),
            Err(error) => Err(error),
        }
    }
}

/// What became of bytes that were offered to the kernel.
pub enum Offered {
    /// It has taken all.
    Taken,
    /// What the write returned, if there was one.
    Not(Option<io::Result<usize>>),
}

/// The result of a read.
#[derive(Debug)]
pub enum Got {
    Bytes(usize),
    Nothing,
    End,
    Failed(io::Error),
}

impl<S: Stream, To: Copy> Conn<S, To> {
    /// Reads once into `space`. A read that does not fill it means that the kernel has no more
    /// bytes, unless the end of the stream is known to be near.
    #[inline(always)]
    pub fn read(&mut self, space: &mut [u8]) -> Got {
        match self.stream.read(space) {
            Ok(count) if count > 0 => {
                self.is_readable =
                    count == space.len() || self.is_ending || self.stream.holds_more();
                Got::Bytes(count)
            }
            outcome => self.heed_no_bytes(outcome, space),
        }
    }

    #[cold]
    fn heed_no_bytes(&mut self, outcome: io::Result<usize>, space: &mut [u8]) -> Got {
        match outcome {
            Ok(_) => Got::End,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => self.read(space),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.is_readable = false;
                Got::Nothing
            }
            Err(error) => Got::Failed(error),
        }
    }
}

/// What the poll reports of a connection. On the way of every event it is passed by reference: by
/// value its parts would be packed and taken apart again.
#[derive(Clone, Copy, Debug, Default)]
pub struct Readiness {
    pub readable: bool,
    pub writable: bool,
    /// The other end has finished, or the connection is broken.
    pub ending: bool,
}

/// A connection that the pooler has opened.
pub(super) struct OutboundConn<S> {
    pub conn: Conn<S, ClientId>,
    pub phase: Phase,
}

/// How far a connection has come before the core judges its messages.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Connecting,
    /// TLS was asked for; the answer is one byte.
    Asked,
    Securing,
    Open,
}

impl<S: Stream> OutboundConn<S> {
    pub fn begun(stream: S) -> OutboundConn<S> {
        OutboundConn { conn: Conn::new(stream), phase: Phase::Connecting }
    }
}

/// Connections in a table of their own, under the ids of records in an arena of the core.
pub struct ConnTable<K, C> {
    /// The connections by the index of their id, each with the id's generation.
    rows: Vec<Option<(NonZeroU32, C)>>,
    kind: PhantomData<fn() -> K>,
}

impl<K, C> Default for ConnTable<K, C> {
    fn default() -> Self {
        ConnTable { rows: Vec::new(), kind: PhantomData }
    }
}

impl<K, C> ConnTable<K, C> {
    /// A table with memory for this many connections, as their arena has for records.
    pub fn with_room(count: usize) -> Self {
        ConnTable { rows: Vec::with_capacity(count.min(MOST_ROOM_RECORDS)), kind: PhantomData }
    }

    pub fn insert(&mut self, id: Id<K>, conn: C) {
        if self.rows.len() <= id.index() {
            self.rows.resize_with(id.index() + 1, || None);
        }
        debug_assert!(self.rows[id.index()].is_none(), "a connection is still there");
        self.rows[id.index()] = Some((id.generation(), conn));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    pub fn remove(&mut self, id: Id<K>) -> Option<C> {
        let row = self.rows.get_mut(id.index())?;
        row.take_if(|(owner, _)| *owner == id.generation()).map(|(_, conn)| conn)
    }

    #[inline(always)]
    pub fn get(&self, id: Id<K>) -> Option<&C> {
        let row = self.rows.get(id.index())?;
        row.as_ref().filter(|(owner, _)| *owner == id.generation()).map(|(_, conn)| conn)
    }

    #[inline(always)]
    pub fn get_mut(&mut self, id: Id<K>) -> Option<&mut C> {
        let row = self.rows.get_mut(id.index())?;
        row.as_mut().filter(|(owner, _)| *owner == id.generation()).map(|(_, conn)| conn)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::ids::ServerId;

    /// A stream that takes this many bytes, then none.
    struct Narrow(usize);

    impl Stream for Narrow {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::ErrorKind::WouldBlock.into())
        }
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            let count = from.len().min(self.0);
            self.0 -= count;
            if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
        }
    }

    fn conn(room: usize) -> Conn<Narrow, ServerId> {
        let mut conn = Conn::new(Narrow(room));
        conn.is_writable = true;
        conn
    }

    /// The poll tells of room all the time.
    fn told(_: &mut Narrow) -> io::Result<bool> {
        Ok(true)
    }

    #[test]
    fn what_could_not_go_on_is_kept_in_order_and_its_memory_given_back() {
        let mut conn = conn(3);
        conn.send(b"abcd", told).expect("a stream that is full is no error");
        conn.send(b"ef", told).expect("nothing is written behind what waits");
        conn.put_carry(b"held".to_vec());
        assert_eq!((conn.unsent(), conn.carry(), conn.is_writable), (3, &b"held"[..], false));
        (conn.stream, conn.is_writable) = (Narrow(2), true);
        conn.flush(told).expect("a stream that is full is no error");
        assert_eq!((conn.unsent(), conn.is_flushed()), (1, false));
        (conn.stream, conn.is_writable) = (Narrow(9), true);
        conn.flush(told).expect("there is room");
        assert!(conn.is_flushed() && conn.is_writable);
        assert_eq!(conn.take_carry(), b"held");
        assert_eq!((conn.reserved(), conn.carry().len()), (0, 0));
    }

    #[test]
    fn a_message_is_over_when_all_of_it_has_come() {
        let to = ServerId::from_bits(1);
        let mut inbound = Inbound::forward(to, 5);
        assert_eq!(inbound.go_on(3), 3);
        assert_eq!((inbound.way(), inbound.left_to_forward()), (Heading::Forward(to), 2));
        assert_eq!((inbound.go_on(9), inbound.go_on(9)), (2, 0));
        assert!(inbound.is_boundary() && inbound.left_to_forward() == 0);
    }

    #[test]
    fn a_connection_that_is_idle_takes_little_room() {
        assert!(size_of::<Option<(NonZeroU32, Conn<[u64; 2], ServerId>)>>() <= 56);
    }
}
