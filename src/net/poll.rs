//! The poll, and its tokens: a token carries kind, index and generation, so that an event for a
//! connection that is gone finds no record.

use std::io;
use std::os::fd::AsFd;

use mio::{Interest, Registry, Token};

use crate::base::arena::Id;
use crate::base::time::Moment;
use crate::pool::ids::{CarrierId, ClientId, Outbound, ServerId};
use crate::relay::Readiness;
use crate::sys::epoll::{EpollEvent, EpollEvents};

/// The most events that are taken from the kernel at a time.
const EVENTS: usize = 256;

/// The longest wait, in microseconds: below 2^32, where a division costs less.
const LONGEST_SLEEP_US: u64 = 3_600_000_000;

/// Rounds microseconds up when they are divided: something is due when nothing has come.
const UP_TO_MS: u32 = 999;

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
    #[inline(always)]
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
    #[inline(always)]
    fn unpack(self, body: u64) -> u64 {
        let kept = body & self.generation_mask();
        // No generation is 0: here its lower bits were.
        let is_cut = kept == 0 && self.generation_bits < 32;
        let generation = if is_cut { self.generation_mask() + 1 } else { kept };
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
    Server(ServerId),
    Carrier(CarrierId),
    Other(OtherSource),
}

/// A source of events that is no connection of the relay.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum OtherSource {
    /// The place of a listener in its list.
    Listener(usize),
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
            EventSource::Server(id) => (1, LAYOUT.pack(id.to_bits())),
            EventSource::Carrier(id) => (2, LAYOUT.pack(id.to_bits())),
            EventSource::Other(other) => (3, other.body()),
        };
        Token((kind << LAYOUT.kind_shift | body) as usize)
    }

    #[inline(always)]
    fn of(token: Token) -> EventSource {
        let bits = token.0 as u64;
        let body = bits & ((1 << LAYOUT.kind_shift) - 1);
        match bits >> LAYOUT.kind_shift {
            0 => EventSource::Client(Id::from_bits(LAYOUT.unpack(body))),
            1 => EventSource::Server(Id::from_bits(LAYOUT.unpack(body))),
            2 => EventSource::Carrier(Id::from_bits(LAYOUT.unpack(body))),
            _ => EventSource::Other(OtherSource::of(body)),
        }
    }
}

impl From<Outbound> for EventSource {
    fn from(id: Outbound) -> EventSource {
        match id {
            Outbound::Carrier(id) => EventSource::Carrier(id),
            Outbound::Server(id) => EventSource::Server(id),
        }
    }
}

impl OtherSource {
    pub fn token(self) -> Token {
        EventSource::Other(self).token()
    }

    fn body(self) -> u64 {
        match self {
            OtherSource::Signals => 0,
            OtherSource::Waker => 1,
            OtherSource::Web(WebPlace::Seat(seat)) => 2 + 3 * seat as u64,
            OtherSource::Web(WebPlace::Door(door)) => 3 + 3 * door as u64,
            OtherSource::Listener(place) => 4 + 3 * place as u64,
        }
    }

    fn of(body: u64) -> OtherSource {
        let Some(number) = body.checked_sub(2) else {
            return if body == 0 { OtherSource::Signals } else { OtherSource::Waker };
        };
        let place = (number / 3) as usize;
        match number % 3 {
            0 => OtherSource::Web(WebPlace::Seat(place)),
            1 => OtherSource::Web(WebPlace::Door(place)),
            _ => OtherSource::Listener(place),
        }
    }
}

/// The kernel's poll.
pub struct Poll {
    poll: mio::Poll,
    events: EpollEvents,
}

impl Poll {
    pub fn new() -> io::Result<Poll> {
        Ok(Poll { poll: mio::Poll::new()?, events: EpollEvents::with_room(EVENTS) })
    }

    /// A handle for registering connections.
    pub fn registry(&self) -> io::Result<Registry> {
        self.poll.registry().try_clone()
    }

    /// Waits for events, at most until `due`.
    #[inline(always)]
    pub fn wait(&mut self, now: Moment, due: Moment) -> io::Result<()> {
        let sleep_us = due.micros_since(now).min(LONGEST_SLEEP_US) as u32;
        let timeout_ms = (sleep_us + UP_TO_MS) / 1000;
        self.events.wait(self.poll.registry().as_fd(), timeout_ms as i32)
    }

    /// The events of the last wait.
    #[inline(always)]
    pub fn events(&self) -> impl Iterator<Item = PollEvent> {
        self.events.iter().map(PollEvent)
    }
}

/// An event, whose parts are taken where they are needed.
#[derive(Clone, Copy)]
pub struct PollEvent(EpollEvent);

impl PollEvent {
    #[inline(always)]
    pub fn source(self) -> EventSource {
        EventSource::of(Token(self.0.token as usize))
    }

    #[inline(always)]
    pub fn readiness(self) -> Readiness {
        Readiness {
            readable: self.0.is_readable(),
            writable: self.0.is_writable(),
            ending: self.0.is_ending(),
        }
    }
}

/// Interest in both directions. The poll tells of each change once, and the relay keeps what it was
/// told. `relay::room` tells who is registered for less, and when again.
pub const BOTH: Interest = Interest::READABLE.add(Interest::WRITABLE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_names_what_it_was_made_for() {
        let bits = ((1 << 19) << 32) | 0x3f0;
        for source in [
            EventSource::Client(Id::from_bits(bits)),
            EventSource::Server(Id::from_bits(bits)),
            EventSource::Carrier(Id::from_bits(bits)),
            EventSource::Other(OtherSource::Listener(7)),
            EventSource::Other(OtherSource::Signals),
            EventSource::Other(OtherSource::Waker),
            EventSource::Other(OtherSource::Web(WebPlace::Door(3))),
            EventSource::Other(OtherSource::Web(WebPlace::Seat(7))),
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
