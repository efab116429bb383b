//! Accepts connections, one at a time: says who has connected, and sorts what can go wrong.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use mio::{Registry, Token};

use super::unix::{self, SocketFile};
use crate::log;
use crate::net::tls::TlsSession;
use crate::sys::epoll::{self, Told};
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
        /// The options that connections have from the listener, if they have all that can be had
        /// so.
        passed_on: Option<TcpOptions>,
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
    /// The options of TCP that it has from its listener.
    pub inherited: Option<TcpOptions>,
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
            Listener::Tcp { socket, address, is_deferred, passed_on, .. } => {
                socket.accept().map(|(stream, peer)| {
                    let local = Local::Tcp(canonical(local_address(&stream, *address)));
                    Accepted {
                        socket: Socket::Tcp(stream),
                        peer: AcceptedPeer::Tcp(canonical(peer)),
                        local,
                        has_bytes: *is_deferred,
                        inherited: *passed_on,
                    }
                })
            }
            Listener::Unix { socket, port, .. } => socket.accept().map(|(stream, _)| {
                let peer = AcceptedPeer::Unix(socket::peer_credentials(stream.as_fd()).ok());
                let local = Local::Unix { port: *port };
                let socket = Socket::Unix(stream);
                Accepted { socket, peer, local, has_bytes: false, inherited: None }
            }),
        };
        match taken {
            Ok(accepted) => Accept::Connection(accepted),
            Err(error) => refused(error),
        }
    }

    /// Has the poll tell under `token` that connections wait here.
    pub fn watch(&self, registry: &Registry, token: Token, told: Told) -> io::Result<()> {
        match epoll::add_listener(registry.as_fd(), self.descriptor(), token.0, told) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        }
    }

    /// Ends what [`Listener::watch`] has begun.
    pub fn unwatch(&self, registry: &Registry) -> io::Result<()> {
        epoll::remove_listener(registry.as_fd(), self.descriptor())
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp { socket, .. } => socket.as_fd(),
            Listener::Unix { socket, .. } => socket.as_fd(),
        }
    }

    /// What to register with the poll, to be told once of each change.
    pub fn source(&mut self) -> &mut dyn Source {
        match self {
            Listener::Tcp { socket, .. } => socket,
            Listener::Unix { socket, .. } => socket,
        }
    }

    /// Gives a listener the options that its connections shall have from the beginning. Connections
    /// that are in its queue already keep theirs. A socket that is not our own is left alone, since
    /// the next process would find the options there.
    pub fn pass_on(&mut self, options: &TcpOptions) -> io::Result<()> {
        let Listener::Tcp { socket, is_own: true, passed_on, .. } = self else { return Ok(()) };
        let before = passed_on.take().unwrap_or_default();
        socket::tune_listener(socket.as_fd(), options, &before)?;
        *passed_on = Some(*options);
        Ok(())
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

/// Gives an accepted connection the options of TCP that it does not have from its listener; a Unix
/// socket has none.
pub fn tune(accepted: &Accepted, options: &TcpOptions) -> io::Result<()> {
    match &accepted.socket {
        Socket::Tcp(stream) if accepted.inherited == Some(*options) => {
            socket::tune_rest(stream.as_fd(), options)
        }
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
