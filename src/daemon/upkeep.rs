//! What a turn of the loop does besides its connections: new ones are accepted, the answers of
//! threads are taken, TLS files are looked after, and the pages are served.
//!
//! Most turns have nothing of it to do. One moment says when there will be, so that they ask once.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use mio::Registry;

use super::doors::Doors;
use super::pages::Pages;
use super::tls;
use crate::base::time::{Moment, NEVER};
use crate::log::Level;
use crate::net::listen::{Accept, tune};
use crate::net::network::{self, Network};
use crate::net::poll::OtherSource;
use crate::pool::core::Core;
use crate::relay::{Engine, Readiness};
use crate::sys::clock;
use crate::sys::socket::TcpOptions;

/// The most connections accepted from one listener in one turn, so that other connections are
/// served in between.
const CONNECTIONS_A_TURN: usize = 64;

/// What it takes to accept a connection and to read its first packet, in microseconds: accepting
/// gets as much time as the events of the turn, so that no queue fills up.
const ACCEPT_US: u64 = 20;

/// The most connections accepted from a listener that is about to be closed. The kernel's queue is
/// shorter, unless new connections come as fast as they are accepted.
const LAST_CONNECTIONS: usize = 65_536;

/// How long nothing is accepted after the process has run out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

pub struct Upkeep {
    doors: Doors,
    tls_watch: tls::Watch,
    pages: Pages,
    is_signalled: bool,
    /// When there is something to do without an event. 0 once an event or a command has brought
    /// something.
    due: Moment,
}

impl Upkeep {
    pub fn new(doors: Doors, pages: Pages) -> Upkeep {
        Upkeep {
            doors,
            tls_watch: tls::Watch::default(),
            pages,
            is_signalled: false,
            due: Moment(0),
        }
    }

    pub fn register(&mut self, registry: &Registry) -> io::Result<()> {
        self.pages.register(registry)?;
        self.doors.register(registry)
    }

    /// Has new connections get these options.
    pub fn pass_on(&mut self, options: &TcpOptions) {
        self.doors.pass_on(options);
    }

    /// When there is something to do.
    #[inline(always)]
    pub fn due(&self) -> Moment {
        self.due
    }

    /// Notes an event.
    #[cold]
    pub fn event(&mut self, source: OtherSource, readiness: Readiness) {
        self.due = Moment(0);
        match source {
            OtherSource::Listener(place) => self.doors.note_arrivals(place),
            OtherSource::Signals => self.is_signalled = true,
            // The answers of threads are taken in every turn that comes here.
            OtherSource::Waker => {}
            OtherSource::Web(place) => self.pages.event(place, readiness),
        }
    }

    /// Whether signals have come since this was asked.
    pub fn take_signalled(&mut self) -> bool {
        std::mem::take(&mut self.is_signalled)
    }

    /// For a change of what is looked after: this turn sees to it.
    pub fn tls_watch(&mut self) -> &mut tls::Watch {
        self.due = Moment(0);
        &mut self.tls_watch
    }

    pub fn count_reload(&mut self, is_done: bool) {
        self.pages.count_reload(is_done);
    }

    /// Counts the duration of a turn that began then, if there are pages that tell it.
    #[inline(always)]
    pub fn count_turn(&mut self, begun: Moment) {
        if self.pages.are_on() {
            // The clock does not go back.
            self.pages.count_turn(clock::mono().0.wrapping_sub(begun.0));
        }
    }

    /// What comes before the core's turn: it sees new connections and the answers of threads.
    #[cold]
    pub fn before_turn(&mut self, engine: &mut Engine<Network>) {
        self.accept_pending(engine);
        for (name, answer) in engine.io.resolver.answers() {
            engine.core.resolved(&name, answer);
        }
        for (client, verdict) in engine.io.judges.verdicts() {
            engine.core.judged(client, verdict);
        }
    }

    /// What comes after the core's turn. `file` is what the next RELOAD would read.
    #[cold]
    pub fn after_turn(&mut self, engine: &mut Engine<Network>, file: impl Fn(&Core) -> PathBuf) {
        if self.tls_watch.is_due(engine.core.mono()) {
            self.look_after_tls(engine);
        }
        let (core, Network { registry, tls, .. }) = (&engine.core, &engine.io);
        self.pages.turn(core, (registry, tls), self.doors.are_open(), || file(core));
        let doors_due = self.doors.next().unwrap_or(NEVER);
        self.due = doors_due.min(self.tls_watch.next()).min(self.pages.next());
    }

    fn look_after_tls(&mut self, engine: &mut Engine<Network>) {
        let lines = self.tls_watch.look(&mut engine.io, &mut engine.core);
        for (level, text) in lines {
            if level <= Level::Warning {
                engine.core.note_repeating(&text);
            }
            report(engine, level, &text);
        }
    }

    /// Begins to close the listeners.
    pub fn stop_listening(&mut self, engine: &mut Engine<Network>) {
        self.due = Moment(0);
        self.doors.begin_to_shut(engine.core.last_arrival(), engine.core.now.mono);
        self.accept_pending(engine);
    }

    fn accept_pending(&mut self, engine: &mut Engine<Network>) {
        let now = engine.core.now.mono;
        // A turn whose events took long accepts more. Usually one is all there is.
        let most = (clock::mono().micros_since(now) / ACCEPT_US) as usize;
        for place in 0..self.doors.len() {
            for _ in 0..most.clamp(1, CONNECTIONS_A_TURN) {
                let Some(accept) = self.doors.take(place, now) else { break };
                self.admit(accept, engine);
            }
            self.doors.leave(place);
        }
        self.doors.turn_away_new(now);
        if self.doors.must_shut(now) {
            self.shut_doors(engine);
        }
    }

    fn shut_doors(&mut self, engine: &mut Engine<Network>) {
        for _ in 0..LAST_CONNECTIONS {
            let Some(accept) = self.doors.take_last() else { break };
            self.admit(accept, engine);
        }
        self.doors.shut();
    }

    /// Admits an accepted connection, or handles a failed accept.
    fn admit(&mut self, accept: Accept, engine: &mut Engine<Network>) {
        match accept {
            Accept::Aborted | Accept::Drained => {}
            Accept::Connection(accepted) => {
                let arrival = network::arrival(&accepted);
                if let Err(error) = tune(&accepted, &engine.io.tcp) {
                    report(engine, Level::Debug, &format!("cannot set options: {error}"));
                }
                let mut socket = accepted.socket;
                engine.admit(arrival, accepted.has_bytes, |io, id| {
                    io.register_client(id, &mut socket)?;
                    Ok(socket)
                });
            }
            Accept::Exhausted(error) => {
                report_refusal(engine, &error);
                engine.core.note_repeating("limit reached: file descriptors");
                self.doors.close_until(engine.core.now.mono + ACCEPT_PAUSE);
            }
            Accept::Failed(error) => report_refusal(engine, &error),
        }
    }
}

fn report_refusal(engine: &mut Engine<Network>, error: &io::Error) {
    report(engine, Level::Error, &format!("accept() failed: {}", crate::log::plain(error)));
}

/// Writes a line to the log, after those that the core has for it.
pub fn report(engine: &mut Engine<Network>, level: Level, text: &str) {
    engine.write_lines();
    engine.io.logger.write(engine.core.now, level, text);
}
