//! The sockets that clients connect to: opened as configured, or taken over from the service
//! manager; and accepting from them.
//!
//! A Unix socket that a dead process left behind is removed; one that is alive is an error, for
//! then another instance works there. Sockets made here are unlinked when they are dropped, unless
//! somebody else has taken the path in the meantime.

use std::fmt;
use std::fs;
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::SocketAddr as UnixAddr;
use std::path::{Path, PathBuf};

use mio::event::Source;
use mio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use crate::log::{self, Level, plain};
use crate::sys::account;
use crate::sys::activation::Inherited;
use crate::sys::socket::{self, PeerCredentials, TcpListen, TcpOptions};

/// Where to wait for clients.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ListenOptions {
    /// `listen_addr`: addresses, names, or `*`.
    pub addresses: Vec<String>,
    /// `listen_port`; with 0 the system chooses one for each address.
    pub port: u16,
    pub tcp: TcpListen,
    /// None when there shall be no Unix socket.
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
}

/// A socket that clients can connect to.
#[derive(Debug)]
pub enum Listener {
    Tcp {
        socket: TcpListener,
        address: SocketAddr,
    },
    Unix {
        socket: UnixListener,
        /// The port in the path, by which such a socket is named.
        port: u16,
        /// Present when there is a file and we made it.
        file: Option<SocketFile>,
    },
}

/// One connection taken from a listener; it does not block.
#[derive(Debug)]
pub struct Accepted {
    pub socket: Socket,
    pub peer: Peer,
    pub local: Local,
}

#[derive(Debug)]
pub enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

/// Who connected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Peer {
    Tcp(SocketAddr),
    /// None when the kernel would not say.
    Unix(Option<PeerCredentials>),
}

/// Which address of ours it connected to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Local {
    Tcp(SocketAddr),
    Unix { port: u16 },
}

/// What one attempt to accept gave.
#[derive(Debug)]
pub enum Accept {
    Connection(Accepted),
    /// A connection was gone before it was taken; there may be more.
    Aborted,
    /// Nobody waits any more.
    Drained,
    /// No descriptor or no memory for it: accept no more until some were given back. The
    /// connection goes on waiting, and no new event will tell of it.
    Exhausted(io::Error),
    /// The socket itself is broken.
    Failed(io::Error),
}

/// Why there is nothing to listen on.
#[derive(Debug)]
pub enum ListenError {
    /// Changing the socket file's mode or group failed.
    FileAttributes { path: PathBuf, error: io::Error },
    GroupUnknown { name: String },
    /// Every address was refused; the reasons were reported one by one.
    NoAddress { list: String },
    Nowhere,
    Resolve { name: String, error: io::Error },
    UnixCreate { error: io::Error },
    /// Somebody listens on the Unix socket.
    UnixInUse { path: String, pid: Option<i32> },
}

/// Refuses when another process listens on our Unix socket. To be asked before anything else is
/// touched; [`open`] asks again.
pub fn check_unix_free(options: &ListenOptions) -> Result<(), ListenError> {
    let Some(unix) = &options.unix else { return Ok(()) };
    let path = unix_path(unix, options.port);
    match unix_address(&path).map(|address| UnixStream::connect_addr(&address)) {
        Ok(Ok(stream)) => {
            let pid = socket::peer_credentials(stream.as_fd()).ok().map(|found| found.pid);
            Err(ListenError::UnixInUse { path, pid })
        }
        // Its queue is full: whoever listens is merely busy.
        Ok(Err(error)) if error.kind() == io::ErrorKind::WouldBlock => {
            Err(ListenError::UnixInUse { path, pid: None })
        }
        _ => Ok(()),
    }
}

/// Opens every socket of the options, or takes the inherited ones in their place. `report` is
/// told, line by line, what became of each.
pub fn open(
    options: &ListenOptions,
    inherited: Vec<Inherited>,
    report: &mut dyn FnMut(Level, &str),
) -> Result<Vec<Listener>, ListenError> {
    let mut listeners = Vec::new();
    if inherited.is_empty() {
        open_tcp(options, &mut listeners, report)?;
        if let Some(unix) = &options.unix {
            check_unix_free(options)?;
            listeners.push(open_unix(unix, options, report)?);
        }
    } else {
        let adopted = inherited.into_iter().filter_map(|socket| adopt(socket, options.port).ok());
        listeners.extend(adopted.inspect(|listener| {
            report(Level::Log, &format!("socket activation: listening on {listener}"));
        }));
    }
    if listeners.is_empty() { Err(ListenError::Nowhere) } else { Ok(listeners) }
}

/// Gives an accepted connection the options of TCP; a Unix socket has none.
pub fn tune(socket: &Socket, options: &TcpOptions) -> io::Result<()> {
    match socket {
        Socket::Tcp(stream) => socket::tune(stream.as_fd(), options),
        Socket::Unix(_) => Ok(()),
    }
}

impl Listener {
    /// Takes one waiting connection.
    pub fn accept(&self) -> Accept {
        let taken = match self {
            Listener::Tcp { socket, address } => socket.accept().map(|(stream, peer)| {
                let local = stream.local_addr().unwrap_or(*address);
                let (peer, local) = (Peer::Tcp(peer), Local::Tcp(local));
                Accepted { socket: Socket::Tcp(stream), peer, local }
            }),
            Listener::Unix { socket, port, .. } => socket.accept().map(|(stream, _)| {
                let peer = Peer::Unix(socket::peer_credentials(stream.as_fd()).ok());
                let local = Local::Unix { port: *port };
                Accepted { socket: Socket::Unix(stream), peer, local }
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

    pub fn is_tcp(&self) -> bool {
        matches!(self, Listener::Tcp { .. })
    }
}

impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            Listener::Tcp { address, .. } => write!(f, "{address}"),
            Listener::Unix { socket, .. } => match socket.local_addr() {
                Ok(address) => write!(f, "unix:{}", unix_name(&address)),
                Err(_) => f.write_str("unix:(unnamed)"),
            },
        }
    }
}

impl Accepted {
    /// How the peer is named in the log. A Unix socket is named by the port in its own path.
    pub fn log_peer(&self) -> log::Peer {
        match (self.peer, self.local) {
            (Peer::Tcp(address), _) => {
                log::Peer::Tcp { ip: address.ip().to_canonical(), port: address.port() }
            }
            (Peer::Unix(found), local) => {
                let port = match local {
                    Local::Tcp(address) => address.port(),
                    Local::Unix { port } => port,
                };
                log::Peer::Unix { pid: found.map(|found| found.pid), port }
            }
        }
    }
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ListenError::FileAttributes { path, error } => {
                write!(f, "cannot set mode and group of {}: {}", path.display(), plain(error))
            }
            ListenError::GroupUnknown { name } => write!(f, "could not find group '{name}'"),
            ListenError::NoAddress { list } => {
                write!(f, "failed to listen on any address in listen_addr list: {list}")
            }
            ListenError::Nowhere => f.write_str("nowhere to listen on"),
            ListenError::Resolve { name, error } => {
                write!(f, "cannot resolve '{name}' of listen_addr: {}", resolver_words(error))
            }
            ListenError::UnixCreate { error } => {
                write!(f, "failed to create unix socket: {}", plain(error))
            }
            ListenError::UnixInUse { path, pid: Some(pid) } => {
                write!(f, "unix socket is in use, cannot continue: process {pid} listens on {path}")
            }
            ListenError::UnixInUse { path, pid: None } => {
                write!(f, "unix socket is in use, cannot continue: somebody listens on {path}")
            }
        }
    }
}

/// A socket's file that we made, unlinked on drop unless it was replaced since.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    fn new(path: &Path) -> io::Result<SocketFile> {
        let found = fs::symlink_metadata(path)?;
        Ok(SocketFile { path: path.to_owned(), device: found.dev(), inode: found.ino() })
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path)
            .is_ok_and(|found| found.dev() == self.device && found.ino() == self.inode);
        if is_ours {
            // Whether it goes or not, the process is done with it.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The system's words for a name that was not found, without what std puts before them.
pub(super) fn resolver_words(error: &io::Error) -> String {
    let words = plain(error);
    match words.strip_prefix("failed to lookup address information: ") {
        Some(rest) => rest.to_owned(),
        None => words,
    }
}

/// Sorts the errors of accept(2): those of one connection that died early, those of ours that
/// pass, and those that do not.
fn refused(error: io::Error) -> Accept {
    match error.raw_os_error() {
        Some(libc::EAGAIN) => Accept::Drained,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => {
            Accept::Exhausted(error)
        }
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

/// Opens what it can: one address that is refused is only reported, as long as another works.
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
    (name, port)
        .to_socket_addrs()
        .map(Iterator::collect)
        .map_err(|error| ListenError::Resolve { name: name.to_owned(), error })
}

fn listen_tcp(address: SocketAddr, options: TcpListen) -> io::Result<Listener> {
    let socket = socket::listen_tcp(address, options)?;
    let address = socket.local_addr()?;
    Ok(Listener::Tcp { socket: TcpListener::from_std(socket), address })
}

fn open_unix(
    unix: &UnixOptions,
    options: &ListenOptions,
    report: &mut dyn FnMut(Level, &str),
) -> Result<Listener, ListenError> {
    let path = unix_path(unix, options.port);
    let bound = unix_address(&path).and_then(|address| {
        remove_stale(&address, report)?;
        socket::listen_unix(&address, options.tcp.backlog)
    });
    let socket = bound.map_err(|error| {
        report_refusal(&format_args!("unix:{path}"), &error, report);
        ListenError::UnixCreate { error }
    })?;
    let file = match path.starts_with('@') {
        true => None,
        false => Some(adorn(Path::new(&path), unix)?),
    };
    report(Level::Log, &format!("listening on unix:{path}"));
    Ok(Listener::Unix { socket: UnixListener::from_std(socket), port: options.port, file })
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

/// Removes the socket file of a process that is gone. That nobody listens was asked before; only
/// sockets are removed, since a file of another kind is not ours to judge.
fn remove_stale(address: &UnixAddr, report: &mut dyn FnMut(Level, &str)) -> io::Result<()> {
    let Some(path) = address.as_pathname() else { return Ok(()) };
    if !fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket()) {
        return Ok(());
    }
    fs::remove_file(path)?;
    report(Level::Log, &format!("removed unix socket {} that nobody listened on", path.display()));
    Ok(())
}

/// Gives the socket's file its mode and group. The mode is set whatever the umask says.
fn adorn(path: &Path, unix: &UnixOptions) -> Result<SocketFile, ListenError> {
    let failed = |error| ListenError::FileAttributes { path: path.to_owned(), error };
    let file = SocketFile::new(path).map_err(failed)?;
    if let Some(name) = &unix.group {
        let group = account::group_by_name(name)
            .map_err(failed)?
            .ok_or_else(|| ListenError::GroupUnknown { name: name.clone() })?;
        chown(path, None, Some(group)).map_err(failed)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(unix.mode)).map_err(failed)?;
    Ok(file)
}

/// Takes over a socket that listens already. It was not made here, so its file is left alone.
fn adopt(inherited: Inherited, port: u16) -> io::Result<Listener> {
    Ok(match inherited {
        Inherited::Tcp(socket) => {
            let address = socket.local_addr()?;
            Listener::Tcp { socket: TcpListener::from_std(socket), address }
        }
        Inherited::Unix(socket) => {
            let name = unix_name(&socket.local_addr()?);
            let port = port_in_name(&name).unwrap_or(port);
            Listener::Unix { socket: UnixListener::from_std(socket), port, file: None }
        }
    })
}

/// The path as clients compute it from directory and port.
fn unix_path(unix: &UnixOptions, port: u16) -> String {
    format!("{}/.s.PGSQL.{port}", unix.directory.trim_end_matches('/'))
}

/// The port at the end of `.s.PGSQL.PORT`.
fn port_in_name(name: &str) -> Option<u16> {
    name.rsplit_once(".s.PGSQL.")?.1.parse().ok()
}

fn unix_address(path: &str) -> io::Result<UnixAddr> {
    match path.strip_prefix('@') {
        Some(name) => UnixAddr::from_abstract_name(name),
        None => UnixAddr::from_pathname(path),
    }
}

fn unix_name(address: &UnixAddr) -> String {
    if let Some(name) = address.as_abstract_name() {
        return format!("@{}", String::from_utf8_lossy(name));
    }
    let path = address.as_pathname().unwrap_or(Path::new("(unnamed)"));
    path.to_string_lossy().into_owned()
}
