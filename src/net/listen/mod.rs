//! Listeners, the sockets that clients connect to: opened as configured, or passed from the service
//! manager.
//!
//! A Unix socket that a dead process left behind is removed. If a process listens on it, that is an
//! error: another instance runs there. Unix sockets made here are unlinked when they are dropped,
//! unless another socket has taken the path in the meantime.

mod accept;
mod error;
mod unix;

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};

use mio::net::{TcpListener, UnixListener};

pub use accept::{Accept, Accepted, AcceptedPeer, Listener, Local, Socket, tune};
pub use error::ListenError;
pub use unix::check_free as check_unix_free;

pub use crate::sys::epoll::Told;

use crate::log::{Level, plain};
use crate::net::resolve::own_addresses;
use crate::sys::activation::Inherited;
use crate::sys::socket::{self, TcpListen};

/// Where to listen for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenOptions {
    /// `listen_addr`: addresses, names, or `*`.
    pub addresses: Vec<String>,
    /// `listen_port`; with 0 the system chooses one for each address.
    pub port: u16,
    pub tcp: TcpListen,
    /// None where no Unix socket is wanted.
    pub unix: Option<UnixOptions>,
}

/// The Unix socket beside the TCP ones.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct UnixOptions {
    /// `unix_socket_dir`; with `@` in front the socket has a name but no file.
    pub directory: String,
    /// `unix_socket_mode`, as in chmod(2).
    pub mode: u32,
    /// `unix_socket_group`; None leaves the group of the process.
    pub group: Option<String>,
    /// The whole path, where it is not `.s.PGSQL.PORT` in the directory.
    pub path: Option<String>,
}

/// Opens every socket of the options, or uses the inherited sockets instead. `report` gets a log
/// line about each.
pub fn open(
    options: &ListenOptions,
    inherited: Vec<Inherited>,
    report: &mut dyn FnMut(Level, &str),
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    if inherited.is_empty() {
        open_tcp(options, &mut listeners, report)?;
        if let Some(unix) = &options.unix {
            match unix::open(unix, options, report) {
                Ok(listener) => listeners.push(listener),
                // It is told by now. PgBouncer cuts the path, and listens where no client looks.
                Err(ListenError::UnixTooLong) if !listeners.is_empty() => {}
                Err(error) => return Err(error),
            }
        }
    } else {
        adopt_all(options, inherited, &mut listeners, report);
    }
    if listeners.is_empty() { Err(ListenError::Nowhere) } else { Ok(listeners) }
}

/// Finds what makes every start fail, whatever runs on the machine: names that the system does not
/// know, or that no socket can have.
pub fn check_names(options: &ListenOptions) -> Result<(), ListenError> {
    for name in &options.addresses {
        resolve(name, options.port)?;
    }
    options.unix.as_ref().map_or(Ok(()), |unix| unix::check_names(unix, options.port))
}

/// Opens the sockets that can be opened. A refused address is only reported, as long as another
/// works.
fn open_tcp(
    options: &ListenOptions,
    listeners: &mut Vec<Listener>,
    report: &mut dyn FnMut(Level, &str),
) -> Result<(), ListenError> {
    for name in &options.addresses {
        for address in resolve(name, options.port)? {
            match listen_tcp(address, options.tcp) {
                Ok(listener) => {
                    report(Level::Log, &format!("listening on {listener}"));
                    listeners.push(listener);
                }
                Err(error) => report_refusal(&address, &error, report),
            }
        }
    }
    if listeners.is_empty() && !options.addresses.is_empty() {
        return Err(ListenError::NoAddress { list: options.addresses.join(",") });
    }
    Ok(())
}

fn resolve(name: &str, port: u16) -> Result<Vec<SocketAddr>, ListenError> {
    if name == "*" {
        let any = [IpAddr::from([0; 4]), IpAddr::from([0; 16])];
        return Ok(any.map(|ip| SocketAddr::new(ip, port)).to_vec());
    }
    match (name, port).to_socket_addrs() {
        Ok(found) => Ok(found.collect()),
        Err(error) => match own_addresses(name) {
            Some(ips) => Ok(ips.map(|ip| SocketAddr::new(ip, port)).to_vec()),
            None => Err(ListenError::Resolve { name: name.to_owned(), error }),
        },
    }
}

fn listen_tcp(address: SocketAddr, options: TcpListen) -> io::Result<Listener> {
    let socket = socket::listen_tcp(address, options)?;
    let address = socket.local_addr()?;
    let is_deferred = options.defer_accept_s > 0;
    let socket = TcpListener::from_std(socket);
    Ok(Listener::Tcp { socket, address, is_own: true, is_deferred, passed_on: None })
}

fn report_refusal(
    address: &dyn fmt::Display,
    error: &io::Error,
    report: &mut dyn FnMut(Level, &str),
) {
    let step = match error.kind() {
        io::ErrorKind::AddrInUse
        | io::ErrorKind::AddrNotAvailable
        | io::ErrorKind::NotFound
        | io::ErrorKind::PermissionDenied => "bind(): ",
        _ => "",
    };
    report(Level::Warning, &format!("cannot listen on {address}: {step}{}", plain(error)));
}

/// Takes over the service manager's sockets; addresses in the configuration are ignored.
fn adopt_all(
    options: &ListenOptions,
    inherited: Vec<Inherited>,
    listeners: &mut Vec<Listener>,
    report: &mut dyn FnMut(Level, &str),
) {
    let void = [
        ("listen_addr", !options.addresses.is_empty()),
        ("unix_socket_dir", options.unix.is_some()),
    ];
    for (name, _) in void.iter().filter(|row| row.1) {
        report(Level::Log, &format!("sockets passed from service manager, {name} ignored"));
    }
    for socket in inherited {
        match adopt(socket, options.port) {
            Ok(listener) => {
                let line = format!("listening on {listener} (passed from service manager)");
                report(Level::Log, &line);
                listeners.push(listener);
            }
            Err(error) => {
                let line = format!("cannot use a socket of the service manager: {}", plain(&error));
                report(Level::Warning, &line);
            }
        }
    }
}

/// Takes over a socket that listens already. This process did not make the socket, so its file is
/// left alone.
fn adopt(inherited: Inherited, port: u16) -> io::Result<Listener> {
    Ok(match inherited {
        Inherited::Tcp(socket) => {
            let address = socket.local_addr()?;
            let socket = TcpListener::from_std(socket);
            Listener::Tcp { socket, address, is_own: false, is_deferred: false, passed_on: None }
        }
        Inherited::Unix(socket) => {
            let name = unix::name(&socket.local_addr()?);
            let port = unix::port_in_name(&name).unwrap_or(port);
            Listener::Unix { socket: UnixListener::from_std(socket), port, file: None }
        }
    })
}

#[cfg(test)]
mod tests;
