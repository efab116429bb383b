//! The system's log: the datagrams that syslog(3) sends, but without waiting for the daemon, and
//! the names of facilities.

use std::io;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;

/// Where the daemon listens.
pub const SYSLOG_SOCKET: &str = "/dev/log";

/// How lines appear in the system's log.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SyslogOptions {
    /// The daemon's socket, [`SYSLOG_SOCKET`] except in tests.
    pub path: PathBuf,
    pub ident: String,
    /// The facility's code (RFC 5424, table 1), as [`facility`] gives it.
    pub facility: u8,
}

/// The socket for sending to the daemon. Each line is sent to the daemon's path, so that a daemon
/// that was started again is found.
pub(super) struct Syslog {
    options: SyslogOptions,
    socket: io::Result<UnixDatagram>,
}

impl Syslog {
    pub(super) fn new(options: SyslogOptions) -> Syslog {
        let socket = UnixDatagram::unbound();
        let socket = socket.and_then(|socket| socket.set_nonblocking(true).map(|()| socket));
        Syslog { options, socket }
    }

    pub(super) fn options(&self) -> &SyslogOptions {
        &self.options
    }

    /// Sends one line.
    pub(super) fn send(&self, line: &[u8]) -> io::Result<usize> {
        match &self.socket {
            Ok(socket) => socket.send_to(line, &self.options.path),
            Err(error) => Err(error.kind().into()),
        }
    }
}

/// The code of a facility's name (RFC 5424, table 1), None for a name that has none here.
pub fn facility(name: &str) -> Option<u8> {
    const LOCAL0: u8 = 16;
    Some(match name {
        "user" => 1,
        "daemon" => 3,
        "auth" => 4,
        "authpriv" => 10,
        _ => {
            let number: u8 = name.strip_prefix("local")?.parse().ok()?;
            if number > 7 || name.len() != "local0".len() {
                return None;
            }
            LOCAL0 + number
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facilities_have_the_codes_of_the_rfc() {
        assert_eq!(facility("daemon"), Some(3));
        assert_eq!(facility("local0"), Some(16));
        assert_eq!(facility("local7"), Some(23));
        for unknown in ["", "local", "local8", "local07", "local+7", "kern", "Daemon"] {
            assert_eq!(facility(unknown), None, "{unknown}");
        }
    }
}
