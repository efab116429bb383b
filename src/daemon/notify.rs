//! Tells the service manager about start, reload and shutdown (sd_notify(3)): a datagram of
//! `KEY=value` lines to the socket that it has named. Without a service manager nothing happens.

use std::env;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use crate::base::time::Moment;

/// The socket of the service manager, if there is one.
#[derive(Debug)]
pub struct Notifier {
    manager: Option<(UnixDatagram, SocketAddr)>,
}

impl Notifier {
    /// The socket in `NOTIFY_SOCKET`.
    pub fn from_environment() -> Notifier {
        let name = env::var("NOTIFY_SOCKET").unwrap_or_default();
        Notifier { manager: connect(&name).ok() }
    }

    /// Tells that the start, or a reload, is complete.
    pub fn ready(&self) {
        self.send("READY=1");
    }

    /// Tells that a reload begins. `now` is CLOCK_MONOTONIC, by which the manager tells this reload
    /// from earlier ones.
    pub fn reloading(&self, now: Moment) {
        self.send(&format!("RELOADING=1\nMONOTONIC_USEC={}", now.0));
    }

    /// Tells that the shutdown has begun.
    pub fn stopping(&self) {
        self.send("STOPPING=1");
    }

    /// Sends one line for `systemctl status`.
    pub fn status(&self, text: &str) {
        self.send(&format!("STATUS={}", text.replace('\n', " ")));
    }

    fn send(&self, message: &str) {
        if let Some((socket, address)) = &self.manager {
            // A manager that does not read is no reason to fail or to wait.
            let _ = socket.send_to_addr(message.as_bytes(), address);
        }
    }
}

fn connect(name: &str) -> io::Result<(UnixDatagram, SocketAddr)> {
    let address = match name.strip_prefix('@') {
        Some(hidden) => SocketAddr::from_abstract_name(hidden)?,
        None if name.starts_with('/') => SocketAddr::from_pathname(name)?,
        None => return Err(io::ErrorKind::NotFound.into()),
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    Ok((socket, address))
}

#[cfg(test)]
mod tests {
    use std::process;

    use super::*;

    #[test]
    fn the_manager_reads_every_state_from_an_abstract_socket() {
        let name = format!("pgbouncer-notify-test-{}", process::id());
        let address = SocketAddr::from_abstract_name(&name).expect("a name");
        let manager = UnixDatagram::bind_addr(&address).expect("bind");
        let notifier = Notifier { manager: connect(&format!("@{name}")).ok() };
        let read = || {
            let mut bytes = [0; 256];
            let count = manager.recv(&mut bytes).expect("a datagram");
            String::from_utf8_lossy(&bytes[..count]).into_owned()
        };
        notifier.ready();
        assert_eq!(read(), "READY=1");
        notifier.reloading(Moment(42));
        assert_eq!(read(), "RELOADING=1\nMONOTONIC_USEC=42");
        notifier.status("stats: 1\nREADY=0");
        assert_eq!(read(), "STATUS=stats: 1 READY=0");
        notifier.stopping();
        assert_eq!(read(), "STOPPING=1");
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        for name in ["", "relative", "/nonexistent/notify"] {
            Notifier { manager: connect(name).ok() }.ready();
        }
    }
}
