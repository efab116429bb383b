//! The sockets that clients come in by, and how they are shut so that nobody on the way is lost.
//!
//! The kernel resets the connections that wait at a socket when it is closed, so they are accepted
//! first. Behind a port that several processes share, a new connection still belongs to the socket
//! that it was meant for when it began. There the doors stay open for a moment, so that those come
//! in who are on the way or have not said anything yet. At its end who is new is turned away, and
//! finds the next process when it tries again.

use std::io;

use mio::{Interest, Registry};

use crate::base::time::Moment;
use crate::net::listen::{Accept, Listener};
use crate::net::poll::EventSource;

/// How long a connection may be on its way that has begun before newcomers are turned away, in
/// microseconds: three packets, one after the other. They try again after a second.
const ON_THE_WAY_US: u64 = 300_000;

pub struct Doors {
    listeners: Vec<Listener>,
    /// Those that may have more to accept than was taken.
    pending: Vec<bool>,
    /// Nothing is accepted until then.
    closed_until: Moment,
    /// When the doors for TCP are to be shut for good, if they are.
    shut_at: Option<Moment>,
    /// When those who come are turned away, before that.
    turn_away_at: Option<Moment>,
    /// Nobody is known to wait, and nothing is to be shut: most turns have nothing to do here.
    is_quiet: bool,
}

impl Doors {
    pub fn new(listeners: Vec<Listener>) -> Doors {
        let pending = vec![true; listeners.len()];
        Doors {
            listeners,
            pending,
            closed_until: Moment(0),
            shut_at: None,
            turn_away_at: None,
            is_quiet: false,
        }
    }

    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            let token = EventSource::Listener(place).token();
            listener.source().register(registry, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Connections have arrived at a listener.
    pub fn note_arrivals(&mut self, place: usize) {
        if let Some(pending) = self.pending.get_mut(place) {
            *pending = true;
            self.is_quiet = false;
        }
    }

    /// Whether clients may come in.
    pub fn are_open(&self) -> bool {
        !self.listeners.is_empty() && self.shut_at.is_none()
    }

    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    /// When there is something to do although the kernel has no news.
    #[inline]
    pub fn next(&self) -> Option<Moment> {
        if self.is_quiet { None } else { self.next_of_all() }
    }

    fn next_of_all(&self) -> Option<Moment> {
        let accept = self.pending.contains(&true).then_some(self.closed_until);
        accept.into_iter().chain(self.turn_away_at).chain(self.shut_at).min()
    }

    /// Takes one connection, or learns why there is none. `None` when nobody is known to wait.
    pub fn take(&mut self, place: usize, now: Moment) -> Option<Accept> {
        if now < self.closed_until || !*self.pending.get(place)? {
            return None;
        }
        let accept = self.listeners[place].accept();
        if matches!(accept, Accept::Drained | Accept::Failed(_)) {
            self.pending[place] = false;
            self.is_quiet = self.next_of_all().is_none();
        }
        Some(accept)
    }

    /// Accepts nothing until then.
    pub fn close_until(&mut self, moment: Moment) {
        self.closed_until = moment;
    }

    /// Begins to shut the doors for TCP: at `moment` they are closed. Before that those come in who
    /// are there and silent, and whoever comes meanwhile; at last nobody new does.
    pub fn begin_to_shut(&mut self, moment: Moment, now: Moment) {
        self.shut_at = Some(moment);
        self.is_quiet = false;
        if moment > now {
            self.turn_away_at = Some(Moment(moment.0.saturating_sub(ON_THE_WAY_US)));
            for listener in self.listeners.iter().filter(|listener| listener.is_own()) {
                // Without it they are lost who have not said anything yet.
                let _ = listener.accept_the_silent();
            }
        }
    }

    /// Turns away who is new, if it is time to.
    pub fn turn_away_new(&mut self, now: Moment) {
        if self.turn_away_at.is_none_or(|moment| now < moment) {
            return;
        }
        self.turn_away_at = None;
        for listener in self.listeners.iter().filter(|listener| listener.is_own()) {
            // Without it, those who come while it closes may be lost.
            let _ = listener.turn_away_new();
        }
    }

    /// Whether it is time to take in the last ones and to shut the doors for TCP.
    pub fn must_shut(&self, now: Moment) -> bool {
        self.shut_at.is_some_and(|moment| now >= moment)
    }

    /// Takes one of the last connections. Sockets of the service manager keep theirs.
    pub fn take_last(&mut self) -> Option<Accept> {
        self.listeners.iter().filter(|listener| listener.is_own()).find_map(|listener| {
            let accept = listener.accept();
            matches!(accept, Accept::Aborted | Accept::Connection(_)).then_some(accept)
        })
    }

    /// Closes the doors for TCP. The Unix socket goes on serving the console.
    pub fn shut(&mut self, registry: &Registry) {
        self.shut_at = None;
        self.turn_away_at = None;
        self.listeners.retain(|listener| !listener.is_tcp());
        self.pending = vec![true; self.listeners.len()];
        self.is_quiet = false;
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            let token = EventSource::Listener(place).token();
            let _ = listener.source().reregister(registry, token, Interest::READABLE);
        }
    }
}
