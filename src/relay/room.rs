//! Who hears that a socket has room for bytes: nobody, unless it had none.
//!
//! Connections that the pooler opens are registered for both directions, by edges: that they are
//! established is told as room. A TCP socket tells of room again when it was full before, but a
//! Unix socket tells each time that the other end has read: the pooler would be woken for each
//! query that a server has taken. Where that has happened once, the poll is asked to tell of room
//! no more, until a write falls short. Carriers, which send one message, are left as they are
//! registered.
//!
//! A connection that was accepted has room, of which it would be told at once, to no use. So it is
//! registered for bytes alone, and for room as well when a write falls short, or TLS begins.

use std::io;

use super::conn::{Conn, Readiness};
use crate::pool::ids::{ClientId, Outbound};

/// Names a connection, whichever side has opened it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnId {
    Client(ClientId),
    Outbound(Outbound),
}

impl<S, To> Conn<S, To> {
    /// Has `ask` end the news of room where the poll has told of that alone, and it was known.
    #[inline(always)]
    pub fn hear_less(&mut self, news: &Readiness, ask: impl FnOnce(&mut S) -> io::Result<bool>) {
        // Most news is of bytes.
        let is_alone = !news.readable && news.writable && !news.ending;
        if is_alone && self.is_writable && self.hears_of_room {
            self.hears_of_room = ask(&mut self.stream).unwrap_or(true);
        }
    }

    /// Has `ask` bring the news of room to a connection that has not heard of it so far.
    pub(super) fn hear_always(
        &mut self,
        ask: impl FnOnce(&mut S) -> io::Result<bool>,
    ) -> io::Result<()> {
        if !self.hears_of_room {
            self.hears_of_room = ask(&mut self.stream)?;
        }
        Ok(())
    }

    /// Has `ask` bring the news of room back where a write has fallen short.
    ///
    /// # Errors
    ///
    /// The poll could not be asked: what is left to be sent would wait for ever.
    #[inline(always)]
    pub(super) fn await_room(
        &mut self,
        ask: impl FnOnce(&mut S) -> io::Result<bool>,
    ) -> io::Result<()> {
        if !self.is_writable && !self.hears_of_room {
            self.hears_of_room = ask(&mut self.stream)?;
        }
        Ok(())
    }
}
