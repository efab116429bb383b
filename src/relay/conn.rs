//! One connection as the relay sees it: what the kernel said of it, what was read and not judged,
//! what was judged and not sent. An idle connection owns no memory beyond this record.

use std::io;

use crate::base::arena::Id;

/// The two calls that a byte stream must have. Both are non-blocking.
pub trait Stream {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize>;
    fn write(&mut self, from: &[u8]) -> io::Result<usize>;
}

/// What is left of a message that has been judged already.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Inbound<To> {
    /// The next byte begins a message.
    Boundary,
    Forward {
        to: To,
        left: usize,
    },
    Drop {
        left: usize,
    },
}

/// A connection, and its bytes on the way.
pub struct Conn<S, To> {
    pub stream: S,
    /// The kernel may have bytes; false after a short read.
    pub is_readable: bool,
    /// The kernel may take bytes; false after a short write.
    pub is_writable: bool,
    /// The other end has finished: read on until the end is met, short reads or not.
    pub is_ending: bool,
    /// Not to be read, nor what is held of it judged, until the core says so.
    pub is_held: bool,
    /// It stands in the run queue.
    pub is_queued: bool,
    /// What was sent to it ends within a message: nothing but the rest of that may follow.
    pub is_cut: bool,
    pub inbound: Inbound<To>,
    /// Read and not judged: less than a message, or what must wait.
    pub carry: Vec<u8>,
    /// Bytes of body that the judge asked for; with fewer it need not be asked again.
    pub want: usize,
    outbox: Outbox,
}

/// Bytes that the kernel would not take, in order.
#[derive(Default)]
struct Outbox {
    bytes: Vec<u8>,
    sent: usize,
}

impl<S: Stream, To> Conn<S, To> {
    pub fn new(stream: S) -> Conn<S, To> {
        Conn {
            stream,
            is_readable: false,
            is_writable: false,
            is_ending: false,
            is_held: false,
            is_queued: false,
            is_cut: false,
            inbound: Inbound::Boundary,
            carry: Vec::new(),
            want: 0,
            outbox: Outbox::default(),
        }
    }

    /// Everything for this peer has been taken by the kernel.
    #[inline(always)]
    pub fn is_flushed(&self) -> bool {
        self.outbox.bytes.is_empty()
    }

    /// Bytes for this peer that the kernel has not taken.
    pub fn unsent(&self) -> usize {
        self.outbox.bytes.len() - self.outbox.sent
    }

    /// Sends `bytes` behind what is waiting to be sent; what the kernel does not take is kept.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let mut rest = bytes;
        if self.is_flushed() {
            while !rest.is_empty() && self.is_writable {
                let taken = self.write_once(rest)?;
                rest = &rest[taken..];
            }
        }
        self.outbox.bytes.extend_from_slice(rest);
        Ok(())
    }

    /// Sends what is waiting, as far as the kernel takes it. Memory is given back when it is gone.
    pub fn flush(&mut self) -> io::Result<()> {
        while self.unsent() > 0 && self.is_writable {
            let bytes = std::mem::take(&mut self.outbox.bytes);
            let taken = self.write_once(&bytes[self.outbox.sent..]);
            self.outbox.bytes = bytes;
            self.outbox.sent += taken?;
        }
        if self.unsent() == 0 {
            self.outbox = Outbox::default();
        }
        Ok(())
    }

    fn write_once(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self.stream.write(bytes) {
            Ok(taken) => {
                if taken < bytes.len() {
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

/// What a read brought.
#[derive(Debug)]
pub enum Got {
    Bytes(usize),
    Nothing,
    End,
    Failed(io::Error),
}

impl<S: Stream, To> Conn<S, To> {
    /// Reads once into `space`. A read that does not fill it means that the kernel has no more,
    /// unless the end of the stream is known to be near.
    pub fn read(&mut self, space: &mut [u8]) -> Got {
        loop {
            return match self.stream.read(space) {
                Ok(0) => Got::End,
                Ok(count) => {
                    self.is_readable = count == space.len() || self.is_ending;
                    Got::Bytes(count)
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.is_readable = false;
                    Got::Nothing
                }
                Err(error) => Got::Failed(error),
            };
        }
    }
}

/// Connections beside an arena of the core's, under the same ids.
pub struct Table<K, C> {
    rows: Vec<Option<(Id<K>, C)>>,
}

impl<K, C> Default for Table<K, C> {
    fn default() -> Self {
        Table { rows: Vec::new() }
    }
}

impl<K, C> Table<K, C> {
    pub fn insert(&mut self, id: Id<K>, conn: C) {
        if self.rows.len() <= id.index() {
            self.rows.resize_with(id.index() + 1, || None);
        }
        debug_assert!(self.rows[id.index()].is_none(), "a connection is still there");
        self.rows[id.index()] = Some((id, conn));
    }

    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.rows.iter().flatten().count()
    }

    pub fn remove(&mut self, id: Id<K>) -> Option<C> {
        let row = self.rows.get_mut(id.index())?;
        row.take_if(|(owner, _)| *owner == id).map(|(_, conn)| conn)
    }

    #[inline(always)]
    pub fn get(&self, id: Id<K>) -> Option<&C> {
        self.rows.get(id.index())?.as_ref().filter(|(owner, _)| *owner == id).map(|(_, conn)| conn)
    }

    #[inline(always)]
    pub fn get_mut(&mut self, id: Id<K>) -> Option<&mut C> {
        let row = self.rows.get_mut(id.index())?;
        row.as_mut().filter(|(owner, _)| *owner == id).map(|(_, conn)| conn)
    }
}
