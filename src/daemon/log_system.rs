//! What the log needs of the system, from the floor beside it.

use crate::log::{Level, LocalSecond, Platform, SyslogOptions};
use crate::sys::clock;
use crate::sys::syslog::Syslog;

/// The real system.
#[derive(Default)]
pub struct System {
    syslog: Option<Syslog>,
}

impl Platform for System {
    fn local_second(&self, unix_seconds: u64) -> LocalSecond {
        let clock::LocalSecond { date_time, zone } = clock::local_second(unix_seconds);
        LocalSecond { date_time, zone }
    }

    fn open_syslog(&mut self, options: Option<&SyslogOptions>) {
        // The C library has one log per process: close it before it is opened anew.
        self.syslog = None;
        self.syslog = options.map(|options| Syslog::open(&options.ident, options.facility));
    }

    fn syslog(&mut self, level: Level, message: &str) {
        if let Some(syslog) = &self.syslog {
            syslog.send(level.severity(), message);
        }
    }
}
