//! The poll, and its tokens: a token carries kind, index and generation, so that an event for a
//! connection that is gone meets nobody.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Registry, Token};

use crate::base::arena::Id;
use crate::pool::ids::{ClientId, ServerId};
use crate::relay::Readiness;

/// Events taken from the kernel at a time.
const EVENTS: usize = 256;

/// The kind of a token stands in its two highest bits; indexes stay below 2^30.
const KIND_SHIFT: u32 = 62;
const BODY: u64 = (1 << KIND_SHIFT) - 1;

/// What a token names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Source {
    Client(ClientId),
    /// The place of a listener in its list.
    Listener(usize),
    Server(ServerId),
    Signals,
    /// The resolver's thread has answers.
    Waker,
}

impl Source {
    pub fn token(self) -> Token {
        let (kind, body) = match self {
            Source::Client(id) => (0, id.to_bits()),
            Source::Server(id) => (1, id.to_bits()),
            Source::Listener(place) => (2, place as u64),
            Source::Signals => (3, 0),
            Source::Waker => (3, 1),
        };
        Token((kind << KIND_SHIFT | body & BODY) as usize)
    }

    fn of(token: Token) -> Source {
        let bits = token.0 as u64;
        let body = bits & BODY;
        match (bits >> KIND_SHIFT, body) {
            (0, _) => Source::Client(Id::from_bits(body)),
            (1, _) => Source::Server(Id::from_bits(body)),
            (2, _) => Source::Listener(body as usize),
            (_, 0) => Source::Signals,
            _ => Source::Waker,
        }
    }
}

/// The kernel's poll.
pub struct Poll {
    poll: mio::Poll,
    events: Events,
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        Ok(Poll { poll: mio::Poll::new()?, events: Events::with_capacity(EVENTS) })
    }

    /// For those who register what they open.
    pub fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    /// Waits for events, at most for `timeout`.
    pub fn wait(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.events.clear();
                Ok(())
            }
            result => result,
        }
    }

    /// What the last wait brought.
    pub fn events(&self) -> impl Iterator<Item = (Source, Readiness)> {
        self.events.iter().map(|event| {
            let readiness = Readiness {
                readable: event.is_readable(),
                writable: event.is_writable(),
                ending: event.is_read_closed() || event.is_write_closed() || event.is_error(),
            };
            (Source::of(event.token()), readiness)
        })
    }
}

/// Interest in both directions, for the life of the connection: edges are kept by the relay, and
/// nothing is registered again.
pub const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_what_it_was_made_for() {
        let bits = (1 << 29) << 32 | 0xffff_fff0;
        for source in [
            Source::Client(Id::from_bits(bits)),
            Source::Server(Id::from_bits(bits)),
            Source::Listener(7),
            Source::Signals,
            Source::Waker,
        ] {
            assert_eq!(Source::of(source.token()), source);
        }
    }
}
