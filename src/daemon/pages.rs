//! The process's part of the pages: facts that the core does not know, and the sockets.

use std::fs;
use std::path::PathBuf;

use mio::Registry;

use super::pending::Lookout;
use crate::base::rng::Rng;
use crate::base::time::{Moment, NEVER};
use crate::config::Settings;
use crate::net::jobs::Wake;
use crate::net::listen::Listener;
use crate::net::poll::WebPlace;
use crate::net::tls::Tls;
use crate::net::web::{self, Web};
use crate::pages::history::History;
use crate::pages::login::{Admission, Check, Keeper};
use crate::pages::request::HttpRequest;
use crate::pages::{self, Facts, Gathering, HttpReply, View};
use crate::pool::core::Core;
use crate::relay::Readiness;
use crate::sys::clock;
use crate::sys::random::SystemRng;

pub struct Pages {
    web: Web,
    facts: Facts,
    history: History,
    lookout: Lookout,
    keeper: Keeper,
}

/// Answers the requests that come to the sockets.
struct DaemonSite<'a> {
    facts: &'a mut Facts,
    history: &'a History,
    lookout: &'a mut Lookout,
    keeper: &'a mut Keeper,
    core: &'a Core,
    /// The file that the next RELOAD would read.
    file: &'a dyn Fn() -> PathBuf,
}

impl web::WebSite for DaemonSite<'_> {
    fn admit(&mut self, request: &HttpRequest) -> Admission {
        let mut rng = SystemRng::new();
        self.keeper.admit(self.core, request, &mut |bytes| rng.fill(bytes))
    }

    fn remember(&mut self, check: &Check) {
        self.keeper.remember(check);
    }

    fn reply(&mut self, request: &HttpRequest) -> HttpReply {
        learn(self.facts);
        if request.path == "/status.json" {
            self.lookout.ask(self.core.mono(), self.file);
        }
        pages::reply(self.view(), request)
    }

    fn gather(&mut self, gathering: &mut Gathering) -> bool {
        gathering.go_on(self.view())
    }
}

impl DaemonSite<'_> {
    fn view(&self) -> View<'_> {
        View { core: self.core, facts: self.facts, history: self.history }
    }
}

impl Pages {
    pub fn new(listeners: Vec<Listener>, most_fds: u64, wake: Wake) -> Pages {
        let facts = Facts { started_us: clock::now().wall_us, most_fds, ..Facts::default() };
        Pages {
            web: Web::new(listeners),
            facts,
            history: History::default(),
            lookout: Lookout::new(wake, super::load),
            keeper: Keeper::default(),
        }
    }

    pub fn register(&mut self, registry: &Registry) -> std::io::Result<()> {
        self.web.register(registry)
    }

    pub fn event(&mut self, place: WebPlace, readiness: Readiness) {
        self.web.event(place, readiness);
    }

    /// Whether there is anything to listen on.
    #[inline(always)]
    pub fn are_on(&self) -> bool {
        self.web.is_on()
    }

    /// When work is due here without an event of the poll.
    pub fn next(&self) -> Moment {
        if !self.are_on() {
            return NEVER;
        }
        let due = self.history.next();
        self.web.next().map_or(due, |next| next.min(due))
    }

    /// Counts the duration of a turn, in microseconds.
    #[inline(always)]
    pub fn count_turn(&mut self, us: u64) {
        self.facts.turns.add(us);
    }

    /// Counts a RELOAD.
    pub fn count_reload(&mut self, is_done: bool) {
        let reloads = &mut self.facts.reloads;
        let count = if is_done { &mut reloads.done } else { &mut reloads.failed };
        *count += 1;
        self.lookout.forget();
    }

    /// Does this turn's work. `file` is what the next RELOAD would read.
    pub fn turn(
        &mut self,
        core: &Core,
        (registry, tls): (&Registry, &Tls),
        is_listening: bool,
        file: impl Fn() -> PathBuf,
    ) {
        if !self.are_on() {
            return;
        }
        self.history.record(core);
        let Pages { web, facts, history, lookout, keeper } = self;
        lookout.collect(core, &mut facts.pending);
        facts.is_listening = is_listening;
        let mut site = DaemonSite { facts, history, lookout, keeper, core, file: &file };
        web.turn(core.mono(), registry, tls, &mut site);
    }
}

/// Reads the figures on this process: its own and the system's.
fn learn(facts: &mut Facts) {
    facts.turns.take_in();
    facts.cpu_us = clock::process_us();
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    facts.resident = kilobytes(&status, "VmRSS:") * 1024;
    facts.address_space = kilobytes(&status, "VmSize:") * 1024;
    // Since Linux 6.2 the size of this directory is the number of descriptors; before it is 0.
    facts.open_fds = fs::metadata("/proc/self/fd").map_or(0, |folder| folder.len());
}

/// A line of /proc/self/status, such as `VmRSS:      9216 kB`; 0 if the line is missing.
fn kilobytes(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|rest| rest.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// Doubts about the addresses at which the pages are served, a sentence each.
pub fn doubts(settings: &Settings) -> Vec<String> {
    let is_near = |name: &String| {
        let ip = name.parse::<std::net::IpAddr>();
        ip.map_or(name == "localhost", |ip| ip.is_loopback())
    };
    let far: Vec<String> =
        settings.metrics_listen_addr.iter().filter(|name| !is_near(name)).cloned().collect();
    if far.is_empty() {
        return Vec::new();
    }
    let far = far.join(",");
    match (settings.metrics_auth, settings.metrics_tls) {
        (true, true) => Vec::new(),
        (false, _) => vec![format!(
            "metrics_listen_addr: whoever reaches {far} may read names of databases and users, and \
             errors: set metrics_auth = 1, or listen on 127.0.0.1"
        )],
        (true, false) => {
            vec![format!("metrics_auth: passwords travel in clear to {far}: set metrics_tls = 1")]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_shows_the_pages_to_everybody_is_warned() {
        let doubts_of = |address: &str, auth: &str, tls: &str| {
            let mut settings = Settings::default();
            settings.set("metrics_listen_addr", address).unwrap();
            settings.set("metrics_auth", auth).unwrap();
            settings.set("metrics_tls", tls).unwrap();
            doubts(&settings).concat()
        };
        assert_eq!(doubts_of("127.0.0.1,::1,localhost", "0", "0"), "");
        assert!(doubts_of("127.0.0.1,10.0.0.7", "0", "0").contains("reaches 10.0.0.7 may read"));
        assert!(doubts_of("*", "0", "1").contains("metrics_auth = 1"));
        assert!(doubts_of("*", "1", "0").contains("metrics_tls = 1"));
        assert_eq!(doubts_of("*", "1", "1"), "");
    }

    #[test]
    fn memory_is_read_from_what_the_system_tells() {
        let status = "Name:\tx\nVmSize:\t   20480 kB\nVmRSS:\t    9216 kB\n";
        assert_eq!(kilobytes(status, "VmRSS:"), 9216);
        assert_eq!(kilobytes(status, "VmSwap:"), 0);
    }
}
