//! The listener for /metrics and the page: HTTP on sockets of its own, on the loop, within bounds
//! that keep it from slowing clients down.
//!
//! A connection carries one request. Each turn of the loop makes and sends at most a slice of each
//! answer. Requests are parsed and answered in `pages`. Here a door is a listener, and a seat is
//! the place of one connection.

mod seat;

use std::io;
use std::time::Duration;

use mio::{Interest, Registry};

use self::seat::Seat;
use super::listen::{Accept, Accepted, Listener};
use super::network::register;
use super::poll::{BOTH, EventSource, OtherSource, WebPlace};
use super::tls::Tls;
use crate::base::time::Moment;
use crate::pages::login::{Admission, Check};
use crate::pages::request::HttpRequest;
use crate::pages::{Gathering, HttpReply};
use crate::relay::Readiness;

/// Connections at a time. A further one is told that there is no room.
const SEATS: usize = 8;

/// Connections taken from one listener in one turn.
const ACCEPTS_PER_TURN: usize = 8;

/// Slices of long work in one turn: checking a password, and reading what a scrape asks for.
const SLICES_PER_TURN: usize = 1;

/// How long nothing is accepted after the process has run out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What answers requests.
pub trait WebSite {
    fn admit(&mut self, request: &HttpRequest) -> Admission;

    /// A check has found the password to be right.
    fn remember(&mut self, check: &Check);

    fn reply(&mut self, request: &HttpRequest) -> HttpReply;

    /// Reads a slice of what a scrape asks for. Returns whether it was the last slice.
    fn gather(&mut self, gathering: &mut Gathering) -> bool;
}

#[derive(Default)]
pub struct Web {
    doors: Vec<Door>,
    seats: [Option<Seat>; SEATS],
    closed_until: Moment,
}

struct Door {
    listener: Listener,
    /// A connection may wait there to be accepted.
    is_pending: bool,
}

impl Web {
    pub fn new(listeners: Vec<Listener>) -> Web {
        let door = |listener| Door { listener, is_pending: true };
        Web {
            doors: listeners.into_iter().map(door).collect(),
            seats: Default::default(),
            closed_until: Moment(0),
        }
    }

    /// Whether there is anything to listen on.
    #[inline(always)]
    pub fn is_on(&self) -> bool {
        !self.doors.is_empty()
    }

    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (at, door) in self.doors.iter_mut().enumerate() {
            let token = OtherSource::Web(WebPlace::Door(at)).token();
            door.listener.source().register(registry, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Notes an event of the kernel.
    pub fn event(&mut self, place: WebPlace, readiness: Readiness) {
        match place {
            WebPlace::Door(at) => {
                if let Some(door) = self.doors.get_mut(at) {
                    door.is_pending = true;
                }
            }
            WebPlace::Seat(at) => {
                if let Some(Some(seat)) = self.seats.get_mut(at) {
                    seat.heed(readiness);
                }
            }
        }
    }

    /// When there is something to do even without an event of the kernel.
    pub fn next(&self) -> Option<Moment> {
        let is_pending = self.doors.iter().any(|door| door.is_pending);
        let seats = self.seats.iter().flatten().map(Seat::next);
        is_pending.then_some(self.closed_until).into_iter().chain(seats).min()
    }

    /// Accepts connections that wait, and goes on with each connection for a slice.
    pub fn turn(&mut self, now: Moment, registry: &Registry, tls: &Tls, site: &mut dyn WebSite) {
        self.accept(now, registry, tls);
        let mut slices = SLICES_PER_TURN;
        for place in &mut self.seats {
            if place.as_mut().is_some_and(|seat| !seat.run(now, site, &mut slices)) {
                *place = None;
            }
        }
    }

    fn accept(&mut self, now: Moment, registry: &Registry, tls: &Tls) {
        if now < self.closed_until {
            return;
        }
        let Web { doors, seats, closed_until, .. } = self;
        for door in doors.iter_mut().filter(|door| door.is_pending) {
            for _ in 0..ACCEPTS_PER_TURN {
                match door.listener.accept() {
                    Accept::Connection(accepted) => admit(seats, accepted, now, registry, tls),
                    Accept::Aborted => {}
                    Accept::Drained | Accept::Failed(_) => {
                        door.is_pending = false;
                        break;
                    }
                    Accept::Exhausted(_) => {
                        *closed_until = now + ACCEPT_PAUSE;
                        return;
                    }
                }
            }
        }
    }
}

/// Gives a connection a seat. If no seat is free, the connection is closed.
fn admit(
    seats: &mut [Option<Seat>],
    accepted: Accepted,
    now: Moment,
    registry: &Registry,
    tls: &Tls,
) {
    let Some(at) = seats.iter().position(Option::is_none) else {
        return seat::turn_away(accepted.socket, tls.is_web_secure());
    };
    let mut socket = accepted.socket;
    let place = EventSource::Other(OtherSource::Web(WebPlace::Seat(at)));
    if register(registry, place, &mut socket, BOTH).is_ok() {
        seats[at] = Seat::new(socket, now, tls);
    }
}
