//! The listener for /metrics and the page: HTTP on sockets of its own, on the loop, within bounds
//! that keep it from being noticed by those who are at work.
//!
//! A connection carries one request. Each turn of the loop makes and sends at most a slice of each
//! answer. What is asked, and what is answered, stands in `pages`.

mod seat;

use std::io;
use std::time::Duration;

use mio::{Interest, Registry};

use self::seat::Seat;
use super::listen::{Accept, Accepted, Listener};
use super::network::register;
use super::poll::{EventSource, WebPlace};
use super::tls::Tls;
use crate::base::time::Moment;
use crate::pages::login::{Admission, Check};
use crate::pages::request::HttpRequest;
use crate::pages::{Gathering, HttpReply};
use crate::relay::Readiness;

/// Connections at a time; who comes beyond them is told that there is no room.
const SEATS: usize = 8;

/// Connections taken from one listener in one turn.
const ACCEPTS: usize = 8;

/// Slices of what takes long in one turn: checks of passwords, and reading what a scrape asks.
const SLICES: usize = 1;

/// How long nothing is accepted after the process has run out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// What is asked.
pub trait WebSite {
    fn admit(&mut self, request: &HttpRequest) -> Admission;

    /// A check has found the password to be right.
    fn remember(&mut self, check: &Check);

    fn reply(&mut self, request: &HttpRequest) -> HttpReply;

    /// Reads a slice of what a scrape asks. Returns whether it is the last one.
    fn gather(&mut self, gathering: &mut Gathering) -> bool;
}

#[derive(Default)]
pub struct Web {
    doors: Vec<Door>,
    seats: [Option<Seat>; SEATS],
    closed_until: Moment,
    /// Nobody is there, and nobody waits at a door: most turns have nothing to do here.
    is_quiet: bool,
}

struct Door {
    listener: Listener,
    /// Somebody may wait there.
    is_pending: bool,
}

impl Web {
    pub fn new(listeners: Vec<Listener>) -> Web {
        let door = |listener| Door { listener, is_pending: true };
        Web {
            doors: listeners.into_iter().map(door).collect(),
            seats: Default::default(),
            closed_until: Moment(0),
            is_quiet: false,
        }
    }

    /// Whether there is anything to listen on.
    pub fn is_on(&self) -> bool {
        !self.doors.is_empty()
    }

    /// Whether a turn has nothing to do.
    #[inline]
    pub fn is_quiet(&self) -> bool {
        self.is_quiet
    }

    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (at, door) in self.doors.iter_mut().enumerate() {
            let token = EventSource::Web(WebPlace::Door(at)).token();
            door.listener.source().register(registry, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// The kernel has news.
    pub fn event(&mut self, place: WebPlace, readiness: Readiness) {
        self.is_quiet = false;
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

    /// When there is something to do although the kernel has no news.
    pub fn next(&self) -> Option<Moment> {
        let is_pending = self.doors.iter().any(|door| door.is_pending);
        let seats = self.seats.iter().flatten().map(Seat::next);
        is_pending.then_some(self.closed_until).into_iter().chain(seats).min()
    }

    /// Takes in who waits, and goes on with everybody for a slice.
    pub fn turn(&mut self, now: Moment, registry: &Registry, tls: &Tls, site: &mut dyn WebSite) {
        self.accept(now, registry, tls);
        let mut slices = SLICES;
        self.is_quiet = self.doors.iter().all(|door| !door.is_pending);
        for place in &mut self.seats {
            if place.as_mut().is_some_and(|seat| !seat.run(now, site, &mut slices)) {
                *place = None;
            }
            self.is_quiet &= place.is_none();
        }
    }

    fn accept(&mut self, now: Moment, registry: &Registry, tls: &Tls) {
        if now < self.closed_until {
            return;
        }
        let Web { doors, seats, closed_until, .. } = self;
        for door in doors.iter_mut().filter(|door| door.is_pending) {
            for _ in 0..ACCEPTS {
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

/// Gives a connection a seat. One that cannot have any is closed.
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
    if register(registry, EventSource::Web(WebPlace::Seat(at)), &mut socket).is_ok() {
        seats[at] = Seat::new(socket, now, tls);
    }
}
