//! The poll, and its tokens: a token carries kind, index and generation, so that an event for a
//! connection that is gone finds no record.

use std::io;
use std::time::Duration;

use mio::{Events, Interest, Registry, Token};

use crate::base::arena::Id;
use crate::pool::ids::{ClientId, Outbound};
use crate::relay::Readiness;

/// The most events that are taken from the kernel at a time.
const EVENTS: usize = 256;

/// How the bits of a token are divided: two bits of kind, then an index, then as much of the
/// generation as there is room for.
#[derive(Clone, Copy)]
struct Layout {
    kind_shift: u32,
    generation_bits: u32,
}

/// For tokens of 64 bits. A whole id fits, since indexes stay below 2^30.
const WIDE: Layout = Layout { kind_shift: 62, generation_bits: 32 };

/// For tokens of 32 bits. The index has 20 bits, enough for all descriptors that Linux gives one
/// process by default. The 10 bits of generation tell apart the connections that had a slot within
/// one wait, and no more is needed: see [`whole`].
const NARROW: Layout = Layout { kind_shift: 30, generation_bits: 10 };

const LAYOUT: Layout = if usize::BITS < 64 { NARROW } else { WIDE };

impl Layout {
    fn generation_mask(self) -> u64 {
        (1 << self.generation_bits) - 1
    }

    /// The bits of an id, without those bits of the generation that do not fit.
    fn pack(self, bits: u64) -> u64 {
        let index = bits >> 32;
        debug_assert!(
            index >> (self.kind_shift - self.generation_bits) == 0,
            "no room for {index}"
        );
        (index << self.generation_bits | bits & self.generation_mask())
            & ((1 << self.kind_shift) - 1)
    }

    /// The bits of an id, with as much of the generation as was packed.
    fn unpack(self, body: u64) -> u64 {
        let kept = body & self.generation_mask();
        // No generation is 0.
        let generation = if kept == 0 { self.generation_mask() + 1 } else { kept };
        (body >> self.generation_bits) << 32 | generation
    }

    fn agrees(self, one: u64, other: u64) -> bool {
        one >> 32 == other >> 32 && (one ^ other) & self.generation_mask() == 0
    }

    /// See [`whole`].
    fn whole<K>(self, id: Id<K>, there: impl FnOnce(usize) -> Option<Id<K>>) -> Option<Id<K>> {
        if self.generation_bits == 32 {
            return Some(id);
        }
        there(id.index()).filter(|whole| self.agrees(id.to_bits(), whole.to_bits()))
    }
}

/// The whole id of the connection that an event is for. With narrow tokens that is the id of the
/// record now in the slot, which `there` tells, if its generation agrees with the bits in the
/// token: a slot is not given away 1,024 times between a wait and its last event.
#[inline(always)]
pub fn whole<K>(id: Id<K>, there: impl FnOnce(usize) -> Option<Id<K>>) -> Option<Id<K>> {
    LAYOUT.whole(id, there)
}

/// What an event is about, as its token tells.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum EventSource {
    Client(ClientId),
    /// The place of a listener in its list.
    Listener(usize),
    Outbound(Outbound),
    Signals,
    /// A helper thread has an answer.
    Waker,
    Web(WebPlace),
}

/// Which socket of [`crate::net::web`] an event is about: a listener (door) or a connection (seat).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WebPlace {
    Door(usize),
    Seat(usize),
}

impl EventSource {
    pub fn token(self) -> Token {
        let (kind, body) = match self {
            EventSource::Client(id) => (0, LAYOUT.pack(id.to_bits())),
            EventSource::Outbound(Outbound::Server(id)) => (1, LAYOUT.pack(id.to_bits())),
            EventSource::Outbound(Outbound::Carrier(id)) => (2, LAYOUT.pack(id.to_bits())),
            EventSource::Signals => (3, 0),
            EventSource::Waker => (3, 1),
            EventSource::Web(WebPlace::Seat(seat)) => (3, 2 + 3 * seat as u64),
            EventSource::Web(WebPlace::Door(door)) => (3, 3 + 3 * door as u64),
            EventSource::Listener(place) => (3, 4 + 3 * place as u64),
        };
        Token((kind << LAYOUT.kind_shift | body) as usize)
    }

    fn of(token: Token) -> EventSource {
        let bits = token.0 as u64;
        let body = bits & ((1 << LAYOUT.kind_shift) - 1);
        match (bits >> LAYOUT.kind_shift, body) {
            (0, _) => EventSource::Client(Id::from_bits(LAYOUT.unpack(body))),
            (1, _) => EventSource::Outbound(Outbound::Server(Id::from_bits(LAYOUT.unpack(body)))),
            (2, _) => EventSource::Outbound(Outbound::Carrier(Id::from_bits(LAYOUT.unpack(body)))),
            (_, 0) => EventSource::Signals,
            (_, 1) => EventSource::Waker,
            (_, body) => {
                let place = ((body - 2) / 3) as usize;
                match (body - 2) % 3 {
                    0 => EventSource::Web(WebPlace::Seat(place)),
                    1 => EventSource::Web(WebPlace::Door(place)),
                    _ => EventSource::Listener(place),
                }
            }
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

    /// A handle for registering connections.
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

    /// The events of the last wait.
    pub fn events(&self) -> impl Iterator<Item = (EventSource, Readiness)> {
        self.events.iter().map(|event| {
            let readiness = Readiness {
                readable: event.is_readable(),
                writable: event.is_writable(),
                ending: event.is_read_closed() || event.is_write_closed() || event.is_error(),
            };
            (EventSource::of(event.token()), readiness)
        })
    }
}

/// Interest in both directions. The poll tells of each change once, and the relay keeps what it was
/// told; nothing is registered again but Unix sockets (`relay::room`).
pub const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_what_it_was_made_for() {
        let bits = ((1 << 19) << 32) | 0x3f0;
        for source in [
            EventSource::Client(Id::from_bits(bits)),
            EventSource::Outbound(Outbound::Server(Id::from_bits(bits))),
            EventSource::Outbound(Outbound::Carrier(Id::from_bits(bits))),
            EventSource::Listener(7),
            EventSource::Signals,
            EventSource::Waker,
            EventSource::Web(WebPlace::Door(3)),
            EventSource::Web(WebPlace::Seat(7)),
        ] {
            assert_eq!(EventSource::of(source.token()), source);
        }
    }
    #[test]
    fn a_token_of_either_width_leads_to_the_id_that_it_was_made_of_and_to_no_neighbour() {
        for (layout, width, most) in [(WIDE, 64, (1 << 30) - 1), (NARROW, 32, (1 << 20) - 1)] {
            for generation in [1, 2, 1023, 1024, 1025, 2048, u64::from(u32::MAX)] {
                for index in [0, 1, 77, most] {
                    let id = ClientId::from_bits(index << 32 | generation);
                    let packed = layout.pack(id.to_bits());
                    assert_eq!(packed >> (width - 2), 0, "there is room for the kind");
                    let short = ClientId::from_bits(layout.unpack(packed));
                    assert_eq!(short.index(), id.index());
                    assert_eq!(layout.whole(short, |_| Some(id)), Some(id));
                }
            }
        }
    }

    #[test]
    fn an_event_for_who_had_the_slot_before_meets_nobody() {
        let [old, new] = [1023, 1024].map(|generation| ClientId::from_bits(5 << 32 | generation));
        let short = ClientId::from_bits(NARROW.unpack(NARROW.pack(old.to_bits())));
        assert_eq!(NARROW.whole(short, |_| Some(new)), None);
        assert_eq!(NARROW.whole(short, |_| None), None);
        // A token of 64 bits has the whole id: the slot is not looked at.
        assert_eq!(WIDE.whole(old, |_| unreachable!("it is whole")), Some(old));
    }
}
