//! The loop of the process: events for the relay, signals, reloads, and the shutdown.
//!
//! [`Service::run`] is the loop. ARCHITECTURE.md has the order of all steps of one turn.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;
use std::time::Duration;

use mio::unix::SourceFd;
use mio::{Interest, Waker};

use super::access;
use super::args::RunArgs;
use super::doors::Doors;
use super::options;
use super::pages::Pages;
use super::start::Started;
use super::tls::{self, SetUp};
use super::watchdog::{Deed, Watchdog, name_of};
use super::words;
use crate::base::time::{Moment, NEVER};
use crate::config::{self, Config};
use crate::log::{Level, Logger};
use crate::net::jobs::Wake;
use crate::net::judge::Judges;
use crate::net::listen::{Accept, tune};
use crate::net::network::{self, Network};
use crate::net::poll::{self, EventSource, Poll};
use crate::net::resolve::Resolver;
use crate::net::tls::Tls;
use crate::pool::core::{Core, ProcessAction};
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::records::access::{Access, SystemFacts};
use crate::pool::records::wait::Shutdown;
use crate::relay::Engine;
use crate::sys::clock::{self, Clocks};
use crate::sys::random::SystemRng;
use crate::sys::signals::Signal;
use crate::sys::{account, process};

/// The most connections accepted from one listener in one turn, so that other connections are
/// served in between.
const CONNECTIONS_A_TURN: usize = 64;

/// The most connections accepted from a listener that is about to be closed. The kernel's queue is
/// shorter, unless new connections come as fast as they are accepted.
const LAST_CONNECTIONS: usize = 65_536;

/// How long nothing is accepted after the process has run out of descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// The running process. Its parts are dropped in this order: sockets before the pid file, whose
/// removal tells a waiting script that another process may start.
pub struct Service {
    args: RunArgs,
    poll: Poll,
    engine: Engine<Network>,
    clocks: Clocks,
    doors: Doors,
    started: Started,
    watchdog: Watchdog,
    tls_watch: tls::Watch,
    pages: Pages,
    is_over: bool,
}

impl Service {
    /// Makes everything that the loop needs.
    pub fn new(
        args: RunArgs,
        (config, access, tls): (Config, Access, Tls),
        mut started: Started,
        logger: Logger,
    ) -> io::Result<Service> {
        let poll = Poll::new()?;
        let waker = Waker::new(&poll.registry()?, EventSource::Waker.token())?;
        let wake = Wake::new(move || {
            // The thread cannot handle a failure, and the next turn collects its result anyway.
            let _ = waker.wake();
        });
        let (resolver, judges) = (Resolver::new(wake.clone()), Judges::new(wake.clone()));
        let tcp = options::tcp(&config.settings);
        let registry = poll.registry()?;
        let network = Network { registry, resolver, judges, logger, tcp, tls };
        let descriptors = process::fd_limit().map_or(u64::MAX, |limit| limit.soft);
        let host =
            SystemFacts { uid: account::effective_uid(), uid_name, name: host_name, descriptors };
        let mut core = Core::new(config, access, host, Box::new(SystemRng::new()), clock::now());
        core.local_time = local_time;
        tls::tell(&network, &mut core);
        core.journal.threshold = network.logger.options().threshold;
        let mut service = Service {
            args,
            pages: Pages::new(std::mem::take(&mut started.web), descriptors, wake),
            doors: Doors::new(std::mem::take(&mut started.listeners)),
            started,
            poll,
            engine: Engine::new(core, network),
            clocks: Clocks::new(),
            watchdog: Watchdog::from_environment(),
            tls_watch: tls::Watch::default(),
            is_over: false,
        };
        service.register()?;
        Ok(service)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry()?;
        let fd = self.started.signals.as_raw_fd();
        let signals = EventSource::Signals.token();
        registry.register(&mut SourceFd(&fd), signals, Interest::READABLE)?;
        self.pages.register(&registry)?;
        self.doors.register(&registry)
    }

    /// Runs the loop until the process is told to end.
    pub fn run(&mut self) -> io::Result<()> {
        self.started.announce(&mut self.engine.io.logger);
        let mut next = Some(Moment(0));
        while !self.is_over {
            let timeout = self.timeout(next);
            self.poll.wait(timeout)?;
            self.engine.core.now = self.clocks.now();
            self.dispatch();
            if self.doors.next().is_some() {
                self.accept_pending();
            }
            self.take_answers();
            next = self.turn();
            if self.tls_watch.is_due(self.engine.core.mono()) {
                self.look_after_tls();
            }
            self.turn_pages();
            self.engine.write_lines();
        }
        Ok(())
    }

    /// How long the poll may sleep.
    fn timeout(&mut self, next: Option<Moment>) -> Option<Duration> {
        let now = clock::mono();
        self.pages.count_turn(now.micros_since(self.engine.core.mono()));
        if self.engine.has_work() {
            return Some(Duration::ZERO);
        }
        let or_never = |moment: Option<Moment>| moment.unwrap_or(NEVER);
        let due = or_never(next).min(or_never(self.doors.next()));
        let due = due.min(or_never(self.tls_watch.next())).min(self.pages.next());
        (due != NEVER).then(|| Duration::from_micros(due.micros_since(now)))
    }

    fn dispatch(&mut self) {
        let mut signalled = false;
        let engine = &mut self.engine;
        for (source, readiness) in self.poll.events() {
            let begun = self.watchdog.begin();
            match source {
                EventSource::Client(id) => {
                    if let Some(id) = poll::whole(id, |index| engine.core.clients.id_at(index)) {
                        engine.client_event(id, readiness);
                    }
                }
                EventSource::Outbound(Outbound::Server(id)) => {
                    if let Some(id) = poll::whole(id, |index| engine.core.servers.id_at(index)) {
                        engine.server_event(id, readiness);
                    }
                }
                EventSource::Outbound(Outbound::Carrier(id)) => {
                    if let Some(id) = poll::whole(id, |index| engine.core.carriers.id_at(index)) {
                        engine.outbound_event(Outbound::Carrier(id), readiness);
                    }
                }
                EventSource::Listener(place) => self.doors.note_arrivals(place),
                EventSource::Signals => signalled = true,
                // The answers of threads are collected in every turn.
                EventSource::Waker => {}
                EventSource::Web(place) => self.pages.event(place, readiness),
            }
            let core = &mut engine.core;
            if let Some(held) = self.watchdog.held(begun, Deed::Event, core.now.mono) {
                let who = name_of(core, source);
                core.log(Level::Warning, format!("the loop was held for {held:?} by {who}"));
            }
        }
        if signalled {
            while let Some(signal) = self.started.signals.next() {
                self.heed(signal);
            }
        }
    }

    fn accept_pending(&mut self) {
        let now = self.engine.core.now.mono;
        for place in 0..self.doors.len() {
            for _ in 0..CONNECTIONS_A_TURN {
                let Some(accept) = self.doors.take(place, now) else { break };
                self.admit(accept);
            }
        }
        self.doors.turn_away_new(now);
        if self.doors.must_shut(now) {
            self.shut_doors();
        }
    }

    fn shut_doors(&mut self) {
        for _ in 0..LAST_CONNECTIONS {
            let Some(accept) = self.doors.take_last() else { break };
            self.admit(accept);
        }
        if let Ok(registry) = self.poll.registry() {
            self.doors.shut(&registry);
        }
    }

    /// Admits an accepted connection, or handles a failed accept.
    fn admit(&mut self, accept: Accept) {
        match accept {
            Accept::Aborted | Accept::Drained => {}
            Accept::Connection(accepted) => {
                let arrival = network::arrival(&accepted);
                let mut socket = accepted.socket;
                if let Err(error) = tune(&socket, &self.engine.io.tcp) {
                    self.report(Level::Debug, &format!("cannot set options: {error}"));
                }
                self.engine.admit(arrival, |io, id| {
                    io.register_client(id, &mut socket)?;
                    Ok(socket)
                });
            }
            Accept::Exhausted(error) => {
                self.report_refusal(&error);
                self.engine.core.note_repeating("limit reached: file descriptors");
                self.doors.close_until(self.engine.core.now.mono + ACCEPT_PAUSE);
            }
            Accept::Failed(error) => self.report_refusal(&error),
        }
    }

    fn report_refusal(&mut self, error: &io::Error) {
        self.report(Level::Error, &format!("accept() failed: {}", crate::log::plain(error)));
    }

    fn take_answers(&mut self) {
        for (name, answer) in self.engine.io.resolver.answers() {
            self.engine.core.resolved(&name, answer);
        }
        for (client, verdict) in self.engine.io.judges.verdicts() {
            self.engine.core.judged(client, verdict);
        }
    }

    fn turn(&mut self) -> Option<Moment> {
        loop {
            let begun = self.watchdog.begin();
            let next = self.engine.turn();
            let core = &mut self.engine.core;
            if let Some(held) = self.watchdog.held(begun, Deed::Turn, core.now.mono) {
                let what = "what follows the events: the run queue, actions, the sweep";
                core.log(Level::Warning, format!("the loop was held for {held:?} by {what}"));
            }
            if self.is_over || !self.act_on_process() {
                return next;
            }
        }
    }

    /// Carries out the core's actions for the process within this turn. Returns whether there were
    /// any.
    fn act_on_process(&mut self) -> bool {
        let mut has_acted = false;
        while let Some(action) = self.engine.core.poll_process_action() {
            self.act(action);
            has_acted = true;
        }
        has_acted
    }

    fn act(&mut self, action: ProcessAction) {
        match action {
            ProcessAction::Exit => self.is_over = true,
            ProcessAction::Reload { client } => self.reload(Some(client)),
            ProcessAction::SettingsChanged => self.take_settings(),
            ProcessAction::Status(text) => self.started.notifier.status(&text),
            ProcessAction::StopListening => self.stop_listening(),
        }
    }

    fn look_after_tls(&mut self) {
        let lines = self.tls_watch.look(&mut self.engine.io, &mut self.engine.core);
        for (level, text) in lines {
            if level <= Level::Warning {
                self.engine.core.note_repeating(&text);
            }
            self.report(level, &text);
        }
    }

    fn stop_listening(&mut self) {
        self.started.notifier.stopping();
        let core = &self.engine.core;
        self.doors.begin_to_shut(core.last_arrival(), core.now.mono);
        self.accept_pending();
    }

    fn heed(&mut self, signal: Signal) {
        match signal {
            Signal::Hup => {
                self.report(Level::Log, "got SIGHUP, re-reading config");
                self.reload(None);
            }
            Signal::Usr1 => {
                let paused = self.engine.core.is_paused;
                let text = match paused {
                    true => "got SIGUSR1, but already paused",
                    false => "got SIGUSR1, pausing all activity",
                };
                self.report(Level::Log, text);
                if !paused {
                    self.engine.core.pause(None);
                }
            }
            Signal::Usr2 => self.heed_resume(),
            Signal::Term => self.heed_end(
                "SIGTERM",
                "waiting for all clients disconnect",
                Shutdown::WaitForClients,
            ),
            Signal::Int => self.heed_end(
                "SIGINT",
                "waiting for all servers connections to be released",
                Shutdown::WaitForServers,
            ),
            Signal::Quit => {
                self.report(Level::Log, "got SIGQUIT, fast exit");
                self.engine.core.shut_down(Shutdown::Immediate);
            }
        }
    }

    fn heed_resume(&mut self) {
        let text = if self.engine.core.shutdown != Shutdown::No {
            "got SIGUSR2 while shutting down, ignoring"
        } else if self.engine.core.resume(None) {
            "got SIGUSR2, continuing from PAUSE"
        } else {
            "got SIGUSR2, but not paused"
        };
        self.report(Level::Log, text);
    }

    fn heed_end(&mut self, name: &str, wait: &str, mode: Shutdown) {
        let text = match self.engine.core.shutdown {
            Shutdown::No => format!("got {name}, shutting down, {wait}"),
            _ => format!("got {name} while shutting down, fast exit"),
        };
        self.report(Level::Log, &text);
        self.engine.core.shut_down(mode);
    }

    /// Reads all files again, and puts them in force together or not at all. `client` is the
    /// console session that asked for it.
    fn reload(&mut self, client: Option<Option<ClientId>>) {
        self.started.notifier.reloading(self.engine.core.now.mono);
        let result = self.try_reload();
        self.started.notifier.ready();
        self.pages.count_reload(result.is_ok());
        if let Err(first) = &result {
            self.engine.core.note_event(&format!("RELOAD failed: {first}"));
            if client.is_some() {
                self.report(Level::Error, "RELOAD Failed, see logs for more details");
            }
        }
        if let Some(Some(client)) = client {
            self.engine.core.end_reload(client, result);
        }
    }

    /// The log gets all errors; the first one is returned, for the console.
    fn try_reload(&mut self) -> Result<(), String> {
        let file = config_file(&self.engine.core, &self.args);
        let mut new = super::load(&file).map_err(|errors| {
            for error in &errors {
                self.report(Level::Error, &words(error));
            }
            self.report(Level::Warning, "config file loading failed");
            errors.first().map(words).unwrap_or_default()
        })?;
        let mut first = None;
        self.engine.write_lines();
        let now = self.engine.core.now;
        let logger = &mut self.engine.io.logger;
        let before = self.engine.core.access();
        let access = access::read(&new.settings, before, &mut |_, text| {
            logger.write(now, Level::Error, &text);
            first.get_or_insert(text);
        });
        let Ok(access) = access else { return Err(first.unwrap_or_default()) };
        let SetUp { tls, faults } = match tls::set_up(&new, Some(&self.engine.io.tls)) {
            Ok(set_up) => set_up,
            Err(error) => {
                let text = error.to_string();
                self.report(Level::Error, &tls::told(&text));
                let kept = "TLS configuration could not be reloaded, keeping old configuration";
                self.report(Level::Error, kept);
                return Err(text);
            }
        };
        faults.iter().for_each(|text| self.report(Level::Error, &tls::told(text)));
        for doubt in super::pages::doubts(&new.settings) {
            self.report(Level::Warning, &doubt);
        }
        for warning in &new.warnings {
            self.report(Level::Warning, &words(warning));
        }
        let old = &self.engine.core.config;
        let changes = config::diff(old, &new);
        let mut settings = old.settings.clone();
        settings.reload(&new.settings);
        new.settings = settings;
        for line in changes.lines() {
            self.report(Level::Log, &format!("RELOAD: {line}"));
        }
        self.engine.core.note_reload(&changes.lines());
        self.put_in_force(new, access, tls);
        Ok(())
    }

    /// Gives /metrics and the page their share of the turn.
    fn turn_pages(&mut self) {
        let Service { args, engine, doors, pages, .. } = self;
        let (core, Network { registry, tls, .. }) = (&engine.core, &engine.io);
        pages.turn(core, (registry, tls), doors.are_open(), || config_file(core, args));
    }

    fn put_in_force(&mut self, config: Config, access: Access, tls: Tls) {
        self.engine.core.adopt(config, access);
        tls::put_in_force(tls, &mut self.engine.io, &mut self.engine.core);
        self.tls_watch.restart();
        self.take_settings();
    }

    /// Takes over the settings that concern the process itself.
    fn take_settings(&mut self) {
        self.tls_watch.look_again();
        self.engine.io.tcp = options::tcp(self.engine.core.settings());
        for text in tls::follow(&mut self.engine.io, &mut self.engine.core) {
            self.report(Level::Error, &tls::told(&text));
        }
        self.configure_log();
    }

    fn configure_log(&mut self) {
        let options = options::log(&self.args, self.engine.core.settings());
        // Earlier lines belong into the log that was open then.
        self.engine.write_lines();
        self.engine.core.journal.threshold = options.threshold;
        let logger = &mut self.engine.io.logger;
        let done = logger.configure(options).and_then(|()| logger.reopen());
        if let Err(error) = done {
            self.report(Level::Error, &error.to_string());
        }
    }

    fn report(&mut self, level: Level, text: &str) {
        self.engine.write_lines();
        self.engine.io.logger.write(self.engine.core.now, level, text);
    }

    /// The log, for lines after the shutdown.
    pub fn into_logger(self) -> Logger {
        self.engine.io.logger
    }
}

/// The file that a RELOAD reads: SET may have named another one than the start.
fn config_file(core: &Core, args: &RunArgs) -> PathBuf {
    let file = core.settings().conffile.as_deref().filter(|file| !file.is_empty());
    file.map_or_else(|| args.config.clone(), PathBuf::from)
}

/// The local time of a moment, as the console shows it.
fn local_time(unix_seconds: u64) -> String {
    let second = clock::local_second(unix_seconds);
    format!("{} {}", second.date_time, second.zone)
}

/// The host name of the machine, for application_name_add_host.
fn host_name() -> Option<String> {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").ok()?;
    Some(name.trim_end().to_owned())
}

/// The system's name of a user, for peer authentication.
fn uid_name(uid: u32) -> Option<String> {
    account::user_by_id(uid).ok().flatten().map(|account| account.name)
}
