//! Accepts connections, one at a time: says who has connected, and sorts what can go wrong.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::AsFd;

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::unix::{self, SocketFile};
use crate::log;
use crate::net::tls::TlsSession;
use crate::sys::filter;
use crate::sys::socket::{self, PeerCredentials, TcpOptions};

/// A socket that clients can connect to.
#[derive(Debug)]
pub enum Listener {
    Tcp {
        socket: TcpListener,
        address: SocketAddr,
        /// Opened by this process. A socket passed from the service manager stays open there.
        is_own: bool,
        /// Whether the kernel hands connections over when their first bytes have come.
        is_deferred: bool,
    },
    Unix {
        socket: UnixListener,
        /// The port in the path, by which the log names the socket.
        port: u16,
        /// The file of the socket, if this process made it; unlinked on drop.
        #[allow(dead_code, reason = "kept only to be dropped")]
        file: Option<SocketFile>,
    },
}

/// One accepted connection, in non-blocking mode.
#[derive(Debug)]
pub struct Accepted {
    pub socket: Socket,
    pub peer: AcceptedPeer,
    pub local: Local,
    /// Whether its first bytes have probably come.
    pub has_bytes: bool,
}

/// A connection of a client or to a server.
#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
    Tls(Box<TlsSession>),
    /// A connection that could not be put under TLS, and is to be closed.
    Broken,
}

/// Who connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AcceptedPeer {
    Tcp(SocketAddr),
    /// None if the kernel does not tell.
    Unix(Option<PeerCredentials>),
}

/// The address of the pooler to which the client connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Local {
    Tcp(SocketAddr),
    Unix { port: u16 },
}

/// The outcome of one attempt to accept.
#[derive(Debug)]
pub enum Accept {
    Connection(Accepted),
    /// A connection ended before it was accepted; others may wait.
    Aborted,
    /// No connection waits any more.
    Drained,
    /// No descriptor or no memory is left: the caller accepts no more until some is given back. The
    /// connection still waits, and no new event will tell of it.
    Exhausted(io::Error),
    /// The listener itself is broken.
    Failed(io::Error),
}

impl Listener {
    /// Takes one waiting connection.
    pub fn accept(&self) -> Accept {
        let taken = match self {
            Listener::Tcp { socket, address, is_deferred, .. } => {
                socket.accept().map(|(stream, peer)| {
                    let local = Local::Tcp(canonical(local_address(&stream, *address)));
                    Accepted {
                        socket: Socket::Tcp(stream),
                        peer: AcceptedPeer::Tcp(canonical(peer)),
                        local,
                        has_bytes: *is_deferred,
                    }
                })
            }
            Listener::Unix { socket, port, .. } => socket.accept().map(|(stream, _)| {
                let peer = AcceptedPeer::Unix(socket::peer_credentials(stream.as_fd()).ok());
                let local = Local::Unix { port: *port };
                Accepted { socket: Socket::Unix(stream), peer, local, has_bytes: false }
            }),
        };
        match taken {
            Ok(accepted) => Accept::Connection(accepted),
            Err(error) => refused(error),
        }
    }

    /// What to register with the poll.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp { socket, .. } => socket,
            Listener::Unix { socket, .. } => socket,
        }
    }

    /// Whether nobody else holds this TCP socket.
    pub fn is_own(&self) -> bool {
        matches!(self, Listener::Tcp { is_own: true, .. })
    }

    /// Lets connections in that are being set up already, and turns new ones away.
    pub fn turn_away_new(&self) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => filter::turn_away_new(socket.as_fd()),
            Listener::Unix { .. } => Ok(()),
        }
    }

    /// Lets clients in that have connected and sent nothing yet, which tcp_defer_accept holds back.
    pub fn accept_the_silent(&self) -> io::Result<()> {
        match self {
            Listener::Tcp { socket, .. } => socket::accept_the_silent(socket.as_fd()),
            Listener::Unix { .. } => Ok(()),
        }
    }

    pub fn is_tcp(&self) -> bool {
        matches!(self, Listener::Tcp { .. })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Listener::Tcp { address, .. } => write!(f, "{address}"),
            Listener::Unix { socket, .. } => match socket.local_addr() {
                Ok(address) => write!(f, "unix:{}", unix::name(&address)),
                Err(_) => f.write_str("unix:(unnamed)"),
            },
        }
    }
}

impl Accepted {
    /// How the peer is named in the log. A Unix socket is named by the port in its own path.
    pub fn log_peer(&self) -> log::PeerAddress {
        match (self.peer, self.local) {
            (AcceptedPeer::Tcp(address), _) => {
                log::PeerAddress::Tcp { ip: address.ip(), port: address.port() }
            }
            (AcceptedPeer::Unix(found), local) => {
                let port = match local {
                    Local::Tcp(address) => address.port(),
                    Local::Unix { port } => port,
                };
                log::PeerAddress::Unix { pid: found.map(|found| found.pid), port }
            }
        }
    }
}

/// The address to which a client connected. The system is asked if the listener has all addresses.
fn local_address(stream: &TcpStream, listener: SocketAddr) -> SocketAddr {
    match listener.ip().is_unspecified() {
        true => stream.local_addr().unwrap_or(listener),
        false => listener,
    }
}

/// Gives an accepted connection the options of TCP; a Unix socket has none.
pub fn tune(socket: &Socket, options: &TcpOptions) -> io::Result<()> {
    match socket {
        Socket::Tcp(stream) => socket::tune(stream.as_fd(), options),
        Socket::Unix(_) | Socket::Tls(_) | Socket::Broken => Ok(()),
    }
}

/// Turns an IPv4-mapped IPv6 address into the IPv4 address. An inherited socket of both families
/// gives mapped addresses, which no IPv4 rule of an HBA file would match.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Sorts the errors of accept(2): one connection that ended early, a shortage that passes, or a
/// listener that is broken.
pub(super) fn refused(error: io::Error) -> Accept {
    if socket::is_exhaustion(&error) {
        return Accept::Exhausted(error);
    }
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Accept::Drained,
        Some(
            libc::ECONNABORTED
            | libc::EINTR
            | libc::EPERM
            | libc::EPROTO
            | libc::ENETDOWN
            | libc::ENOPROTOOPT
            | libc::EHOSTDOWN
            | libc::ENONET
            | libc::EHOSTUNREACH
            | libc::ENETUNREACH,
        ) => Accept::Aborted,
        _ => Accept::Failed(error),
    }
}
