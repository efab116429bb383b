//! The listeners for clients, and a way to close them that loses no connection.
//!
//! When a listener is closed, the kernel resets the connections in its queue, so the pooler accepts
//! those first. If several processes share a port, a connection belongs to the listener that the
//! kernel chose when its handshake began. So listeners on a shared port stay open for a moment, and
//! connections whose handshake is under way, or whose client has sent nothing yet, are accepted. At
//! the end of that moment new connections are turned away, and reach the next process when they try
//! again.
//!
//! The poll tells in each wait that connections wait at a listener, so that the queue need not be
//! emptied: the caller takes one, which is usually all there is, or as many as suits the turn.

use std::io;

use mio::Registry;

use crate::base::time::Moment;
use crate::net::listen::{Accept, Listener, Told};
use crate::net::poll::OtherSource;
use crate::sys::socket::TcpOptions;

/// How long before the close new connections are turned away, in microseconds: a handshake that
/// began earlier has this time for its three packets. A client that was turned away tries again
/// after a second.
const ON_THE_WAY_US: u64 = 300_000;

pub struct Doors {
    listeners: Vec<Listener>,
    /// Listeners whose queue may not be empty, by place.
    pending: Vec<bool>,
    /// Where the listeners are registered.
    registry: Option<Registry>,
    /// Until when nothing is accepted. The poll would tell all that time of connections that wait,
    /// and the listeners are not registered.
    closed_until: Option<Moment>,
    /// When the TCP listeners are closed, if they are to be.
    shut_at: Option<Moment>,
    /// When new connections begin to be turned away, before `shut_at`.
    turn_away_at: Option<Moment>,
}

impl Doors {
    pub fn new(listeners: Vec<Listener>) -> Doors {
        let pending = vec![true; listeners.len()];
        Doors {
            listeners,
            pending,
            registry: None,
            closed_until: None,
            shut_at: None,
            turn_away_at: None,
        }
    }

    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.registry = Some(registry.try_clone()?);
        self.watch()
    }

    fn watch(&self) -> io::Result<()> {
        let Some(registry) = &self.registry else { return Ok(()) };
        for (place, listener) in self.listeners.iter().enumerate() {
            listener.watch(registry, OtherSource::Listener(place).token(), Told::InEachWait)?;
        }
        Ok(())
    }

    fn unwatch(&self) {
        let Some(registry) = &self.registry else { return };
        for listener in &self.listeners {
            // One that is not watched any more is an error of no consequence.
            let _ = listener.unwatch(registry);
        }
    }

    /// Gives the listeners the options that their connections shall have. Where that fails, each
    /// connection is given its options.
    pub fn pass_on(&mut self, options: &TcpOptions) {
        for listener in &mut self.listeners {
            let _ = listener.pass_on(options);
        }
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
        let accept = self.pending.contains(&true).then_some(Moment(0));
        let accept = self.closed_until.or(accept);
        accept.into_iter().chain(self.turn_away_at).chain(self.shut_at).min()
    }

    /// Accepts one connection. `None` if the listener's queue is known to be empty, or accepting is
    /// suspended.
    pub fn take(&mut self, place: usize, now: Moment) -> Option<Accept> {
        if let Err(error) = self.open_again(now) {
            return Some(Accept::Exhausted(error));
        }
        if self.closed_until.is_some() || !*self.pending.get(place)? {
            return None;
        }
        let accept = self.listeners[place].accept();
        match accept {
            Accept::Drained => self.leave(place),
            Accept::Failed(_) => self.watch_changes(place),
            Accept::Aborted | Accept::Connection(_) | Accept::Exhausted(_) => {}
        }
        Some(accept)
    }

    /// The caller takes no more in this turn. The poll tells of those that are left.
    pub fn leave(&mut self, place: usize) {
        self.pending[place] = false;
    }

    /// A broken listener would be told of in every wait: from now on the poll tells of it when
    /// something changes.
    fn watch_changes(&mut self, place: usize) {
        if let Some(registry) = &self.registry {
            let listener = &mut self.listeners[place];
            let _ = listener.unwatch(registry);
            // If this fails, nothing is accepted there any more, as before.
            let _ = listener.watch(registry, OtherSource::Listener(place).token(), Told::Once);
        }
        self.leave(place);
    }

    /// Accepts nothing until `moment`.
    pub fn close_until(&mut self, moment: Moment) {
        self.unwatch();
        self.closed_until = Some(moment);
    }

    /// Accepts again, if it is time.
    fn open_again(&mut self, now: Moment) -> io::Result<()> {
        if self.closed_until.is_some_and(|moment| now >= moment) {
            self.watch()?;
            self.closed_until = None;
        }
        Ok(())
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

    /// Closes the TCP listeners, which gives descriptors back. The Unix socket goes on serving the
    /// console, at once: without any listener nobody would end a pause.
    pub fn shut(&mut self) {
        self.shut_at = None;
        self.turn_away_at = None;
        self.unwatch();
        self.closed_until = None;
        self.listeners.retain(|listener| !listener.is_tcp());
        self.pending = vec![true; self.listeners.len()];
        let _ = self.watch();
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpStream;
    use std::time::Duration;

    use super::*;
    use crate::net::listen::{ListenOptions, open};
    use crate::net::poll::{EventSource, Poll};
    use crate::sys::socket::TcpListen;

    /// Doors with one TCP listener, the poll where it is registered, and clients in its queue.
    fn doors_with(clients: usize) -> (Doors, Poll, Vec<TcpStream>) {
        let options = ListenOptions {
            addresses: vec!["127.0.0.1".to_owned()],
            port: 0,
            tcp: TcpListen { backlog: 16, reuse_port: false, defer_accept_s: 0 },
            unix: None,
        };
        let listeners = open(&options, Vec::new(), &mut |_, _| {}).expect("a listener");
        let address = listeners[0].to_string();
        let poll = Poll::new().expect("a poll");
        let mut doors = Doors::new(listeners);
        doors.register(&poll.registry().expect("a registry")).expect("registered");
        doors.leave(0);
        let connect = |_| TcpStream::connect(&address).expect("a connection");
        (doors, poll, (0..clients).map(connect).collect())
    }

    fn is_told(doors: &mut Doors, poll: &mut Poll, wait: Duration) -> bool {
        poll.wait(Moment(0), Moment(0) + wait).expect("a wait");
        let listener = EventSource::Other(OtherSource::Listener(0));
        let is_told = poll.events().any(|event| event.source() == listener);
        if is_told {
            doors.note_arrivals(0);
        }
        is_told
    }

    #[test]
    fn who_was_left_in_the_queue_is_told_of_again() {
        let (mut doors, mut poll, _clients) = doors_with(3);
        let mut accepted = Vec::new();
        while accepted.len() < 3 {
            assert!(is_told(&mut doors, &mut poll, Duration::from_secs(60)));
            assert_eq!(doors.next(), Some(Moment(0)));
            let Some(Accept::Connection(one)) = doors.take(0, Moment(1)) else { continue };
            accepted.push(one);
            doors.leave(0);
            assert_eq!(doors.next(), None);
        }
        assert!(!is_told(&mut doors, &mut poll, Duration::ZERO), "the queue is empty");
    }

    #[test]
    fn doors_that_are_gone_are_not_waited_for() {
        let (mut doors, _poll, _clients) = doors_with(0);
        doors.close_until(Moment(5));
        doors.begin_to_shut(Moment(3), Moment(3));
        assert_eq!(doors.next(), Some(Moment(3)));
        doors.shut();
        assert_eq!(doors.next(), None, "the loop would never sleep again");
    }

    #[test]
    fn the_poll_is_silent_while_nothing_is_accepted_and_then_tells_of_who_has_waited() {
        let (mut doors, mut poll, _clients) = doors_with(1);
        assert!(is_told(&mut doors, &mut poll, Duration::from_secs(60)));
        doors.close_until(Moment(5));
        doors.leave(0);
        assert!(!is_told(&mut doors, &mut poll, Duration::ZERO));
        assert!(doors.take(0, Moment(4)).is_none());
        assert_eq!(doors.next(), Some(Moment(5)));
        assert!(doors.take(0, Moment(5)).is_none(), "the poll has not told yet");
        assert!(is_told(&mut doors, &mut poll, Duration::from_secs(60)));
        assert!(matches!(doors.take(0, Moment(6)), Some(Accept::Connection(_))));
    }
}
