//! The listeners for clients, and a way to close them that loses no connection.
//!
//! When a listener is closed, the kernel resets the connections in its queue, so the pooler accepts
//! those first. If several processes share a port, a connection belongs to the listener that the
//! kernel chose when its handshake began. So listeners on a shared port stay open for a moment, and
//! connections whose handshake is under way, or whose client has sent nothing yet, are accepted. At
//! the end of that moment new connections are turned away, and reach the next process when they try
//! again.

use std::io;

use mio::{Interest, Registry};

use crate::base::time::Moment;
use crate::net::listen::{Accept, Listener};
use crate::net::poll::OtherSource;

/// How long before the close new connections are turned away, in microseconds: a handshake that
/// began earlier has this time for its three packets. A client that was turned away tries again
/// after a second.
const ON_THE_WAY_US: u64 = 300_000;

pub struct Doors {
    listeners: Vec<Listener>,
    /// Listeners whose queue may not be empty, by place.
    pending: Vec<bool>,
    /// Until when nothing is accepted.
    closed_until: Moment,
    /// When the TCP listeners are closed, if they are to be.
    shut_at: Option<Moment>,
    /// When new connections begin to be turned away, before `shut_at`.
    turn_away_at: Option<Moment>,
}

impl Doors {
    pub fn new(listeners: Vec<Listener>) -> Doors {
        let pending = vec![true; listeners.len()];
        Doors { listeners, pending, closed_until: Moment(0), shut_at: None, turn_away_at: None }
    }

    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            let token = OtherSource::Listener(place).token();
            listener.source().register(registry, token, Interest::READABLE)?;
        }
        Ok(())
    }

    /// Connections have come to a listener.
    pub fn note_arrivals(&mut self, place: usize) {
        if let Some(pending) = self.pending.get_mut(place) {
            *pending = true;
        }
    }

    /// Whether clients may connect.
    pub fn are_open(&self) -> bool {
        !self.listeners.is_empty() && self.shut_at.is_none()
    }

    pub fn len(&self) -> usize {
        self.listeners.len()
    }

    /// When work is due here without an event of the poll.
    pub fn next(&self) -> Option<Moment> {
        let accept = self.pending.contains(&true).then_some(self.closed_until);
        accept.into_iter().chain(self.turn_away_at).chain(self.shut_at).min()
    }

    /// Accepts one connection. `None` if the listener's queue is known to be empty, or accepting is
    /// suspended.
    pub fn take(&mut self, place: usize, now: Moment) -> Option<Accept> {
        if now < self.closed_until || !*self.pending.get(place)? {
            return None;
        }
        let accept = self.listeners[place].accept();
        if matches!(accept, Accept::Drained | Accept::Failed(_)) {
            self.pending[place] = false;
        }
        Some(accept)
    }

    /// Accepts nothing until `moment`.
    pub fn close_until(&mut self, moment: Moment) {
        self.closed_until = moment;
    }

    /// Begins to close the TCP listeners, which happens at `moment`. Until shortly before that all
    /// connections are accepted, also those whose client has sent nothing yet; then new ones are
    /// turned away.
    pub fn begin_to_shut(&mut self, moment: Moment, now: Moment) {
        self.shut_at = Some(moment);
        if moment > now {
            self.turn_away_at = Some(Moment(moment.0.saturating_sub(ON_THE_WAY_US)));
            for listener in self.listeners.iter().filter(|listener| listener.is_own()) {
                // If this fails, connections whose client has sent nothing yet are lost.
                let _ = listener.accept_the_silent();
            }
        }
    }

    /// Turns new connections away from now on, if it is time.
    pub fn turn_away_new(&mut self, now: Moment) {
        if self.turn_away_at.is_none_or(|moment| now < moment) {
            return;
        }
        self.turn_away_at = None;
        for listener in self.listeners.iter().filter(|listener| listener.is_own()) {
            // If this fails, connections that come while the listener is closed may be lost.
            let _ = listener.turn_away_new();
        }
    }

    /// Whether it is time to accept the last connections and close the TCP listeners.
    pub fn must_shut(&self, now: Moment) -> bool {
        self.shut_at.is_some_and(|moment| now >= moment)
    }

    /// Accepts one of the last connections. The queues of the service manager's sockets stay as
    /// they are.
    pub fn take_last(&mut self) -> Option<Accept> {
        self.listeners.iter().filter(|listener| listener.is_own()).find_map(|listener| {
            let accept = listener.accept();
            matches!(accept, Accept::Aborted | Accept::Connection(_)).then_some(accept)
        })
    }

    /// Closes the TCP listeners. The Unix socket goes on serving the console.
    pub fn shut(&mut self, registry: &Registry) {
        self.shut_at = None;
        self.turn_away_at = None;
        self.listeners.retain(|listener| !listener.is_tcp());
        self.pending = vec![true; self.listeners.len()];
        for (place, listener) in self.listeners.iter_mut().enumerate() {
            let token = OtherSource::Listener(place).token();
            let _ = listener.source().reregister(registry, token, Interest::READABLE);
        }
    }
}
