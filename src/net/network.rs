//! What the relay needs of the system (`Io`), by mio, the resolver and the judges of passwords.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd};

use mio::net::{TcpStream, UnixStream};
use mio::{Interest, Registry};

use super::judge::Judges;
use super::listen::{Accepted, AcceptedPeer, Local, Socket};
use super::poll::{BOTH, EventSource};
use super::resolve::Resolver;
use super::tls::{Raw, Tls};
use crate::auth::inquiry::Inquiry;
use crate::base::time::Now;
use crate::log::{Ends, LogMessage, Logger, PeerAddress, plain};
use crate::pool::core::Target;
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::login::entry::Arrival;
use crate::pool::telling::journal::JournalLine;
use crate::relay::{ConnId, Handshake, Io, NotBegun, ServerTls, Stream};
use crate::sys::socket::{self, TcpOptions};

/// The registry of connections, the resolver, and the threads that ask LDAP or PAM.
pub struct Network {
    pub registry: Registry,
    pub resolver: Resolver,
    pub judges: Judges,
    pub logger: Logger,
    /// For connections to servers, and from clients.
    pub tcp: TcpOptions,
    pub tls: Tls,
}

impl Stream for Socket {
    #[inline(always)]
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match descriptor(self) {
            Some(fd) => socket::receive(fd, into),
            None => read_secured(self, into),
        }
    }

    #[inline(always)]
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        match descriptor(self) {
            Some(fd) => socket::send(fd, from),
            None => write_secured(self, from),
        }
    }

    #[inline(always)]
    fn holds_more(&self) -> bool {
        match self {
            Socket::Tls(session) => session.holds_more(),
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Broken => false,
        }
    }
}

/// The descriptor of a socket whose bytes go as they are.
#[inline(always)]
fn descriptor(socket: &Socket) -> Option<BorrowedFd<'_>> {
    match socket {
        Socket::Tcp(stream) => Some(stream.as_fd()),
        Socket::Unix(stream) => Some(stream.as_fd()),
        Socket::Tls(_) | Socket::Broken => None,
    }
}

#[inline(never)]
fn read_secured(socket: &mut Socket, into: &mut [u8]) -> io::Result<usize> {
    match socket {
        Socket::Tls(session) => session.read(into),
        Socket::Tcp(_) | Socket::Unix(_) | Socket::Broken => {
            Err(io::ErrorKind::NotConnected.into())
        }
    }
}

#[inline(never)]
fn write_secured(socket: &mut Socket, from: &[u8]) -> io::Result<usize> {
    match socket {
        Socket::Tls(session) => session.write(from),
        Socket::Tcp(_) | Socket::Unix(_) | Socket::Broken => {
            Err(io::ErrorKind::NotConnected.into())
        }
    }
}

impl Network {
    /// Registers a client's connection under its id.
    pub fn register_client(&self, id: ClientId, socket: &mut Socket) -> io::Result<()> {
        register(&self.registry, EventSource::Client(id), socket, Interest::READABLE)
    }

    fn begin(&self, id: Outbound, to: &Target) -> io::Result<Socket> {
        let mut socket = match to {
            Target::Tcp(address) => {
                let stream = socket::connect_tcp(*address, &self.tcp)?;
                Socket::Tcp(TcpStream::from_std(stream))
            }
            Target::Unix(path) => Socket::Unix(connect_unix(path)?),
        };
        register(&self.registry, EventSource::from(id), &mut socket, BOTH)?;
        Ok(socket)
    }
}

pub(super) fn register(
    registry: &Registry,
    source: EventSource,
    socket: &mut Socket,
    interest: Interest,
) -> io::Result<()> {
    match socket {
        Socket::Tcp(stream) => registry.register(stream, source.token(), interest),
        Socket::Unix(stream) => registry.register(stream, source.token(), interest),
        // These were registered before they were put under TLS.
        Socket::Tls(_) | Socket::Broken => Ok(()),
    }
}

impl Io for Network {
    type Stream = Socket;

    fn connect(&mut self, id: Outbound, to: &Target) -> Result<Socket, NotBegun> {
        self.begin(id, to).map_err(|error| match socket::is_exhaustion(&error) {
            true => NotBegun::Exhausted(error),
            false => NotBegun::Failed(error),
        })
    }

    fn connected(&mut self, socket: &Socket) -> Result<Option<Ends>, String> {
        let error = match socket {
            Socket::Tcp(stream) => stream.take_error(),
            Socket::Unix(stream) => stream.take_error(),
            Socket::Tls(session) => session.socket().take_error(),
            Socket::Broken => Ok(None),
        };
        if let Ok(Some(error)) | Err(error) = error {
            return Err(plain(&error));
        }
        let stream = match socket {
            Socket::Unix(stream) => return Ok(unix_ends(stream)),
            Socket::Tcp(stream) => stream,
            Socket::Tls(session) => session.socket(),
            Socket::Broken => return Ok(None),
        };
        match (stream.peer_addr(), stream.local_addr()) {
            (Ok(peer), Ok(local)) => Ok(Some((tcp(peer), tcp(local)))),
            (Err(error), _) if error.kind() == io::ErrorKind::NotConnected => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(plain(&error)),
        }
    }

    fn secure_client(&mut self, socket: &mut Socket, early: &[u8]) -> Result<(), String> {
        let session = self.tls.with_client(take_tcp(socket, early)?)?;
        *socket = Socket::Tls(Box::new(session));
        Ok(())
    }

    fn secure_server(&mut self, socket: &mut Socket, tls: &ServerTls) -> Result<(), String> {
        let session = self.tls.with_server(tls, take_tcp(socket, &[])?)?;
        *socket = Socket::Tls(Box::new(session));
        Ok(())
    }

    fn handshake(&mut self, socket: &mut Socket) -> Handshake {
        match socket {
            Socket::Tls(session) => session.handshake(),
            Socket::Tcp(_) | Socket::Unix(_) | Socket::Broken => {
                Handshake::Failed("the connection is not under TLS".into())
            }
        }
    }

    fn hear_of_room(
        &mut self,
        whose: ConnId,
        socket: &mut Socket,
        is_wanted: bool,
    ) -> io::Result<bool> {
        let token = match whose {
            ConnId::Client(id) => EventSource::Client(id).token(),
            ConnId::Outbound(id) => EventSource::from(id).token(),
        };
        let interest = if is_wanted { BOTH } else { Interest::READABLE };
        match socket {
            Socket::Unix(stream) => self.registry.reregister(stream, token, interest)?,
            Socket::Tcp(stream) if is_wanted => {
                self.registry.reregister(stream, token, interest)?;
            }
            // It tells of room when it was full before, and no more often.
            Socket::Tcp(_) => return Ok(true),
            // It hears of room since before it was put under TLS.
            Socket::Tls(_) | Socket::Broken => return Ok(true),
        }
        Ok(is_wanted)
    }

    fn close(&mut self, mut socket: Socket) {
        if let Socket::Tls(session) = &mut socket {
            session.close();
        }
    }

    fn resolve(&mut self, name: String) {
        self.resolver.lookup(name);
    }

    fn inquire(&mut self, client: ClientId, inquiry: Inquiry) {
        self.judges.ask(client, inquiry);
    }

    fn log(&mut self, now: Now, lines: Vec<JournalLine>) {
        for line in lines {
            let message = LogMessage { text: &line.text, details: line.details.as_deref() };
            self.logger.write_message(now, line.level, message);
        }
    }
}

/// Takes the connection out of `socket`, to be put under TLS.
pub(super) fn take_tcp(socket: &mut Socket, early: &[u8]) -> Result<Raw, String> {
    match std::mem::replace(socket, Socket::Broken) {
        Socket::Tcp(stream) => Ok(Raw::new(stream, early)),
        Socket::Unix(_) | Socket::Tls(_) | Socket::Broken => Err("no TLS over this socket".into()),
    }
}

fn connect_unix(path: &str) -> io::Result<UnixStream> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::net::SocketAddr;
    match path.strip_prefix('@') {
        Some(name) => UnixStream::connect_addr(&SocketAddr::from_abstract_name(name)?),
        None => UnixStream::connect(path),
    }
}

/// Both ends of a connection to a server's Unix socket, whose path tells the port.
fn unix_ends(stream: &UnixStream) -> Option<Ends> {
    use std::os::linux::net::SocketAddrExt;
    use std::path::Path;
    let pid = socket::peer_credentials(stream.as_fd()).ok().map(|credentials| credentials.pid);
    let address = stream.peer_addr().ok();
    let hidden = address.as_ref().and_then(|address| address.as_abstract_name());
    let hidden = hidden.and_then(|name| std::str::from_utf8(name).ok()).map(Path::new);
    let path = address.as_ref().and_then(|address| address.as_pathname()).or(hidden);
    let port = path.and_then(|path| path.extension()?.to_str()?.parse().ok()).unwrap_or_default();
    Some((PeerAddress::Unix { pid, port }, PeerAddress::Unix { pid: None, port }))
}

fn tcp(address: SocketAddr) -> PeerAddress {
    PeerAddress::Tcp { ip: address.ip().to_canonical(), port: address.port() }
}

/// What the core is told of a new connection.
pub fn arrival(accepted: &Accepted) -> Arrival {
    let local = match accepted.local {
        Local::Tcp(address) => tcp(address),
        Local::Unix { port } => PeerAddress::Unix { pid: None, port },
    };
    let uid = match accepted.peer {
        AcceptedPeer::Unix(credentials) => credentials.map(|credentials| credentials.uid),
        AcceptedPeer::Tcp(_) => None,
    };
    Arrival { peer: accepted.log_peer(), local, uid }
}
