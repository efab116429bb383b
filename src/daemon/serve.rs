//! The loop of the process: events for the relay, signals, reloads, and the shutdown.
//!
//! [`Service::run`] is the loop. ARCHITECTURE.md has the order of all steps of one turn.

use std::io;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use mio::unix::SourceFd;
use mio::{Interest, Waker};

use super::access;
use super::args::RunArgs;
use super::doors::Doors;
use super::options;
use super::pages::Pages;
use super::start::Started;
use super::tls::{self, SetUp};
use super::upkeep::{self, Upkeep};
use super::watchdog::{Deed, Watchdog, name_of};
use super::words;
use crate::base::time::Moment;
use crate::config::{self, Config};
use crate::log::{Level, Logger};
use crate::net::jobs::Wake;
use crate::net::judge::Judges;
use crate::net::network::Network;
use crate::net::poll::{self, EventSource, OtherSource, Poll};
use crate::net::resolve::Resolver;
use crate::net::tls::Tls;
use crate::pool::core::{Core, ProcessAction};
use crate::pool::ids::ClientId;
use crate::pool::records::access::{Access, SystemFacts};
use crate::pool::records::wait::Shutdown;
use crate::relay::Engine;
use crate::sys::clock::{self, Clocks};
use crate::sys::random::SystemRng;
use crate::sys::signals::Signal;
use crate::sys::{account, process};

/// The running process. Its parts are dropped in this order: sockets before the pid file, whose
/// removal tells a waiting script that another process may start.
pub struct Service {
    args: RunArgs,
    poll: Poll,
    engine: Engine<Network>,
    clocks: Clocks,
    upkeep: Upkeep,
    started: Started,
    watchdog: Watchdog,
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
        let waker = Waker::new(&poll.registry()?, OtherSource::Waker.token())?;
        let wake = Wake::new(move || {
            // The thread cannot handle a failure, and its result is collected later anyway.
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
        let pages = Pages::new(std::mem::take(&mut started.web), descriptors, wake);
        let doors = Doors::new(std::mem::take(&mut started.listeners));
        let mut service = Service {
            args,
            upkeep: Upkeep::new(doors, pages),
            started,
            poll,
            engine: Engine::new(core, network),
            clocks: Clocks::new(),
            watchdog: Watchdog::from_environment(),
            is_over: false,
        };
        service.register()?;
        Ok(service)
    }

    fn register(&mut self) -> io::Result<()> {
        let registry = self.poll.registry()?;
        let fd = self.started.signals.as_raw_fd();
        let signals = OtherSource::Signals.token();
        registry.register(&mut SourceFd(&fd), signals, Interest::READABLE)?;
        self.upkeep.pass_on(&self.engine.io.tcp);
        self.upkeep.register(&registry)
    }

    /// Runs the loop until the process is told to end.
    #[inline(never)]
    pub fn run(&mut self) -> io::Result<()> {
        self.started.announce(&mut self.engine.io.logger);
        let mut due = Moment(0);
        while !self.is_over {
            // The sleep is reckoned from the last turn's beginning, so that the clock is read once.
            self.poll.wait(self.engine.core.now.mono, due)?;
            let now = self.clocks.now();
            self.engine.core.now = now;
            self.dispatch();
            if now.mono >= self.upkeep.due() {
                self.heed_signals();
                self.upkeep.before_turn(&mut self.engine);
            }
            due = self.turn();
            if now.mono >= self.upkeep.due() {
                self.upkeep.after_turn(&mut self.engine, |core| config_file(core, &self.args));
            }
            due = due.min(self.upkeep.due());
            self.engine.write_lines();
            self.upkeep.count_turn(now.mono);
        }
        Ok(())
    }

    #[inline(always)]
    fn dispatch(&mut self) {
        let Service { poll, engine, upkeep, watchdog, .. } = self;
        for event in poll.events() {
            let begun = watchdog.begin();
            match event.source() {
                EventSource::Client(id) => {
                    if let Some(id) = poll::whole(id, |index| engine.core.clients.id_at(index)) {
                        engine.client_event(id, &event.readiness());
                    }
                }
                EventSource::Server(id) => {
                    if let Some(id) = poll::whole(id, |index| engine.core.servers.id_at(index)) {
                        engine.server_event(id, &event.readiness());
                    }
                }
                EventSource::Carrier(id) => {
                    if let Some(id) = poll::whole(id, |index| engine.core.carriers.id_at(index)) {
                        engine.carrier_event(id, event.readiness());
                    }
                }
                EventSource::Other(other) => upkeep.event(other, event.readiness()),
            }
            let core = &mut engine.core;
            if let Some(held) = watchdog.held(begun, Deed::Event, core.now.mono) {
                let who = name_of(core, event.source());
                core.log(Level::Warning, format!("the loop was held for {held:?} by {who}"));
            }
        }
    }

    fn heed_signals(&mut self) {
        if self.upkeep.take_signalled() {
            while let Some(signal) = self.started.signals.next() {
                self.heed(signal);
            }
        }
    }

    #[inline(always)]
    fn turn(&mut self) -> Moment {
        loop {
            let begun = self.watchdog.begin();
            let next = self.engine.turn();
            let core = &mut self.engine.core;
            if let Some(held) = self.watchdog.held(begun, Deed::Turn, core.now.mono) {
                let what = "what follows the events: the run queue, actions, the sweep";
                core.log(Level::Warning, format!("the loop was held for {held:?} by {what}"));
            }
            if !self.engine.core.has_process_actions() {
                return next;
            }
            self.act_on_process();
            if self.is_over {
                return next;
            }
        }
    }

    /// Carries out the core's actions for the process within this turn.
    #[cold]
    fn act_on_process(&mut self) {
        while let Some(action) = self.engine.core.poll_process_action() {
            self.act(action);
        }
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

    fn stop_listening(&mut self) {
        self.started.notifier.stopping();
        self.upkeep.stop_listening(&mut self.engine);
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
        self.upkeep.count_reload(result.is_ok());
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

    fn put_in_force(&mut self, config: Config, access: Access, tls: Tls) {
        self.engine.core.adopt(config, access);
        tls::put_in_force(tls, &mut self.engine.io, &mut self.engine.core);
        self.upkeep.tls_watch().restart();
        self.take_settings();
    }

    /// Takes over the settings that concern the process itself.
    fn take_settings(&mut self) {
        self.upkeep.tls_watch().look_again();
        self.engine.io.tcp = options::tcp(self.engine.core.settings());
        self.upkeep.pass_on(&self.engine.io.tcp);
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
        upkeep::report(&mut self.engine, level, text);
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
