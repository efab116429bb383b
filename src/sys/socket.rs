//! Sockets beyond std: options that must stand before `bind` or `connect`, the options of TCP, and
//! who sits at the other end of a Unix socket.

use std::io;
use std::mem;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::net::{SocketAddr as UnixAddr, UnixListener};

use libc::{c_int, c_void, socklen_t};

use super::check;

/// The options that a listening TCP socket gets before it listens.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TcpListen {
    /// Connections that the kernel may hold before we accept them.
    pub backlog: u32,
    /// Several processes share the port, and the kernel spreads connections among them.
    pub reuse_port: bool,
    /// Seconds that a connection may stay silent before it is reported all the same; 0 reports
    /// every connection at once.
    pub defer_accept_s: u32,
}

/// The options that a TCP connection gets, on either side. Zero leaves the system's default.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct TcpOptions {
    pub keepalive: bool,
    /// Seconds of silence before the first probe.
    pub keepalive_idle_s: u32,
    /// Seconds between probes.
    pub keepalive_interval_s: u32,
    /// Probes without an answer after which the peer is taken for dead.
    pub keepalive_count: u32,
    /// How long sent bytes may stay unacknowledged, in milliseconds.
    pub user_timeout_ms: u32,
    /// Bytes of the kernel's buffers, for each direction.
    pub buffer: u32,
}

/// Who connected through a Unix socket, as of the moment of connecting.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct PeerCredentials {
    pub pid: i32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Domain {
    Inet,
    Unix,
}

/// Opens a non-blocking socket that listens on `address`. An IPv6 socket takes IPv6 only, so that
/// the same port may be bound for IPv4 beside it.
pub fn listen_tcp(address: SocketAddr, options: TcpListen) -> io::Result<TcpListener> {
    let fd = stream_socket(family(address))?;
    let socket = fd.as_fd();
    set(socket, libc::SOL_SOCKET, libc::SO_REUSEADDR, 1)?;
    if address.is_ipv6() {
        set(socket, libc::IPPROTO_IPV6, libc::IPV6_V6ONLY, 1)?;
    }
    if options.reuse_port {
        set(socket, libc::SOL_SOCKET, libc::SO_REUSEPORT, 1)?;
    }
    let raw = RawAddress::from(address);
    // SAFETY: pointer and length are those of `raw`, which outlives the call.
    check(unsafe { libc::bind(socket.as_raw_fd(), raw.as_ptr(), raw.len()) })?;
    if options.defer_accept_s > 0 {
        let seconds = clamp(options.defer_accept_s);
        set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, seconds)?;
    }
    listen(socket, options.backlog)?;
    Ok(TcpListener::from(fd))
}

/// Has the kernel hand over connections before their first bytes come. Those that it has held back
/// follow when it asks their clients once more, a second after they began (tcp(7),
/// TCP_DEFER_ACCEPT).
pub fn accept_the_silent(socket: BorrowedFd) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_DEFER_ACCEPT, 0)
}

/// Opens a non-blocking Unix socket that listens on `address`.
pub fn listen_unix(address: &UnixAddr, backlog: u32) -> io::Result<UnixListener> {
    let listener = UnixListener::bind_addr(address)?;
    listener.set_nonblocking(true)?;
    // std listens with a backlog of its own; a second call changes it.
    listen(listener.as_fd(), backlog)?;
    Ok(listener)
}

/// Whether a call failed because the process has no descriptor left, or the machine no memory: the
/// same call may succeed a moment later.
pub fn is_exhaustion(error: &io::Error) -> bool {
    let codes = [libc::EMFILE, libc::ENFILE, libc::ENOBUFS, libc::ENOMEM];
    error.raw_os_error().is_some_and(|code| codes.contains(&code))
}

/// Begins a connection without waiting for it. Writable means done or failed; `take_error` tells.
pub fn connect_tcp(address: SocketAddr, options: &TcpOptions) -> io::Result<TcpStream> {
    let fd = stream_socket(family(address))?;
    // Before connect, since the buffer's size decides the window offered in the first packet.
    tune(fd.as_fd(), options)?;
    let raw = RawAddress::from(address);
    // SAFETY: pointer and length are those of `raw`, which outlives the call.
    match check(unsafe { libc::connect(fd.as_raw_fd(), raw.as_ptr(), raw.len()) }) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
        _ => Ok(TcpStream::from(fd)),
    }
}

/// Receives what is there, as much as there is room for. 0 bytes mean the end. std does this, too,
/// by way of its streams and mio's: the bytes of every query pass here, by one call each.
#[inline(always)]
pub fn receive(socket: BorrowedFd<'_>, into: &mut [u8]) -> io::Result<usize> {
    let (fd, room, most) = (socket.as_raw_fd(), into.as_mut_ptr(), into.len());
    // SAFETY: the kernel fills the room from its beginning, with at most as many bytes as it has.
    counted(unsafe { libc::recv(fd, room.cast(), most, 0) })
}

/// Sends as much as the kernel takes. A peer that is gone is an error, and no signal.
#[inline(always)]
pub fn send(socket: BorrowedFd<'_>, from: &[u8]) -> io::Result<usize> {
    let (fd, bytes, most) = (socket.as_raw_fd(), from.as_ptr(), from.len());
    // SAFETY: pointer and length are those of `from`, which outlives the call.
    counted(unsafe { libc::send(fd, bytes.cast(), most, libc::MSG_NOSIGNAL) })
}

#[inline(always)]
fn counted(count: isize) -> io::Result<usize> {
    #[cold]
    fn failed() -> io::Result<usize> {
        Err(io::Error::last_os_error())
    }
    if count < 0 { failed() } else { Ok(count as usize) }
}

/// Gives a TCP connection all its options.
pub fn tune(socket: BorrowedFd, options: &TcpOptions) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    tune_rest(socket, options)?;
    if options.keepalive {
        set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, 1)?;
    }
    for (name, value) in keepalive_times(options).into_iter().filter(|row| row.1 > 0) {
        set(socket, libc::IPPROTO_TCP, name, clamp(value))?;
    }
    Ok(())
}

/// Gives a TCP connection the options that it does not have from a listener with the same options:
/// those that would mean something for the listener itself.
pub fn tune_rest(socket: BorrowedFd, options: &TcpOptions) -> io::Result<()> {
    if options.buffer > 0 {
        set(socket, libc::SOL_SOCKET, libc::SO_RCVBUF, clamp(options.buffer))?;
        set(socket, libc::SOL_SOCKET, libc::SO_SNDBUF, clamp(options.buffer))?;
    }
    if options.user_timeout_ms > 0 {
        set(socket, libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT, clamp(options.user_timeout_ms))?;
    }
    Ok(())
}

/// Gives a listener options that the system copies to each connection that it takes in. `before`
/// are those that it was given last.
pub fn tune_listener(
    socket: BorrowedFd,
    options: &TcpOptions,
    before: &TcpOptions,
) -> io::Result<()> {
    set(socket, libc::IPPROTO_TCP, libc::TCP_NODELAY, 1)?;
    set(socket, libc::SOL_SOCKET, libc::SO_KEEPALIVE, options.keepalive.into())?;
    let times = keepalive_times(options).into_iter().zip(keepalive_times(before));
    for ((name, value), (_, before)) in times {
        let value = match (value, before) {
            (0, 0) => continue,
            // There is no call that takes a time back, only one that sets the system's own.
            (0, _) => get(stream_socket(libc::AF_INET)?.as_fd(), libc::IPPROTO_TCP, name, 0)?,
            (value, _) => clamp(value),
        };
        set(socket, libc::IPPROTO_TCP, name, value)?;
    }
    Ok(())
}

/// Without keepalive its times do not matter, and are left as they are.
fn keepalive_times(options: &TcpOptions) -> [(c_int, u32); 3] {
    let of = |value| if options.keepalive { value } else { 0 };
    [
        (libc::TCP_KEEPIDLE, of(options.keepalive_idle_s)),
        (libc::TCP_KEEPINTVL, of(options.keepalive_interval_s)),
        (libc::TCP_KEEPCNT, of(options.keepalive_count)),
    ]
}

/// Who is at the other end of a connected Unix socket.
pub fn peer_credentials(socket: BorrowedFd) -> io::Result<PeerCredentials> {
    let found = get(
        socket,
        libc::SOL_SOCKET,
        libc::SO_PEERCRED,
        libc::ucred { pid: 0, uid: u32::MAX, gid: u32::MAX },
    )?;
    Ok(PeerCredentials { pid: found.pid, uid: found.uid, gid: found.gid })
}

/// The address family of a stream socket that listens, None for any other socket.
pub fn listening_domain(socket: BorrowedFd) -> io::Result<Option<Domain>> {
    let listens: c_int = get(socket, libc::SOL_SOCKET, libc::SO_ACCEPTCONN, 0)?;
    let domain: c_int = get(socket, libc::SOL_SOCKET, libc::SO_DOMAIN, 0)?;
    Ok(match (listens, domain) {
        (0, _) => None,
        (_, libc::AF_INET | libc::AF_INET6) => Some(Domain::Inet),
        (_, libc::AF_UNIX) => Some(Domain::Unix),
        _ => None,
    })
}

fn family(address: SocketAddr) -> c_int {
    if address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 }
}

fn stream_socket(family: c_int) -> io::Result<OwnedFd> {
    let kind = libc::SOCK_STREAM | libc::SOCK_NONBLOCK | libc::SOCK_CLOEXEC;
    // SAFETY: takes numbers.
    let fd = check(unsafe { libc::socket(family, kind, 0) })?;
    // SAFETY: the kernel just made the descriptor for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Listens, or sets the length of the queue of a socket that listens: with 0, one new connection at
/// most is taken in until it is accepted (listen(2)).
pub(super) fn listen(socket: BorrowedFd, backlog: u32) -> io::Result<()> {
    // SAFETY: takes an open descriptor and a number.
    check(unsafe { libc::listen(socket.as_raw_fd(), clamp(backlog)) })?;
    Ok(())
}

fn set(socket: BorrowedFd, level: c_int, name: c_int, value: c_int) -> io::Result<()> {
    let pointer = (&raw const value).cast::<c_void>();
    let size = size_of::<c_int>() as socklen_t;
    // SAFETY: pointer and length are those of one local number.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, size) })?;
    Ok(())
}

/// Reads an option whose type in the kernel is `T`, a C number or a struct of them.
fn get<T: Copy>(socket: BorrowedFd, level: c_int, name: c_int, initial: T) -> io::Result<T> {
    let mut value = initial;
    let mut size = mem::size_of::<T>() as socklen_t;
    let pointer = (&raw mut value).cast::<c_void>();
    // SAFETY: pointer and length are those of one local, and any bytes are a valid `T`.
    check(unsafe { libc::getsockopt(socket.as_raw_fd(), level, name, pointer, &mut size) })?;
    Ok(value)
}

fn clamp(number: u32) -> c_int {
    c_int::try_from(number).unwrap_or(c_int::MAX)
}

/// An address in the form of the C interface.
enum RawAddress {
    V4(libc::sockaddr_in),
    V6(libc::sockaddr_in6),
}

impl RawAddress {
    fn as_ptr(&self) -> *const libc::sockaddr {
        match self {
            RawAddress::V4(address) => (&raw const *address).cast(),
            RawAddress::V6(address) => (&raw const *address).cast(),
        }
    }

    fn len(&self) -> socklen_t {
        let size = match self {
            RawAddress::V4(address) => mem::size_of_val(address),
            RawAddress::V6(address) => mem::size_of_val(address),
        };
        size as socklen_t
    }
}

impl From<SocketAddr> for RawAddress {
    fn from(address: SocketAddr) -> RawAddress {
        match address {
            SocketAddr::V4(address) => RawAddress::V4(libc::sockaddr_in {
                sin_family: libc::AF_INET as libc::sa_family_t,
                sin_port: address.port().to_be(),
                sin_addr: libc::in_addr { s_addr: u32::from_ne_bytes(address.ip().octets()) },
                sin_zero: [0; 8],
            }),
            SocketAddr::V6(address) => RawAddress::V6(libc::sockaddr_in6 {
                sin6_family: libc::AF_INET6 as libc::sa_family_t,
                sin6_port: address.port().to_be(),
                sin6_flowinfo: address.flowinfo(),
                sin6_addr: libc::in6_addr { s6_addr: address.ip().octets() },
                sin6_scope_id: address.scope_id(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
    use std::os::unix::net::UnixStream;

    use super::*;

    const PLAIN: TcpListen = TcpListen { backlog: 16, reuse_port: false, defer_accept_s: 0 };

    #[test]
    fn ipv4_and_ipv6_listen_on_one_port_side_by_side() {
        let v4 = listen_tcp((Ipv4Addr::UNSPECIFIED, 0).into(), PLAIN).expect("v4");
        let port = v4.local_addr().expect("address").port();
        listen_tcp((Ipv6Addr::UNSPECIFIED, port).into(), PLAIN).expect("v6 beside it");
    }

    #[test]
    fn a_port_is_shared_only_when_both_say_so() {
        let shared = TcpListen { reuse_port: true, ..PLAIN };
        let first = listen_tcp((Ipv4Addr::LOCALHOST, 0).into(), shared).expect("first");
        let address = first.local_addr().expect("address");
        listen_tcp(address, shared).expect("second");
        let error = listen_tcp(address, PLAIN).expect_err("not shared");
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
    }

    #[test]
    fn a_connection_begins_without_waiting_and_carries_its_options() {
        let listener = listen_tcp((Ipv4Addr::LOCALHOST, 0).into(), PLAIN).expect("listener");
        let options = TcpOptions {
            keepalive: true,
            keepalive_idle_s: 61,
            keepalive_interval_s: 7,
            keepalive_count: 3,
            user_timeout_ms: 4000,
            buffer: 20_000,
        };
        let stream =
            connect_tcp(listener.local_addr().expect("address"), &options).expect("connect");
        let read = |level, name| get::<c_int>(stream.as_fd(), level, name, 0).expect("option");
        assert_eq!(read(libc::IPPROTO_TCP, libc::TCP_NODELAY), 1);
        assert_eq!(read(libc::SOL_SOCKET, libc::SO_KEEPALIVE), 1);
        assert_eq!(read(libc::IPPROTO_TCP, libc::TCP_KEEPIDLE), 61);
        assert_eq!(read(libc::IPPROTO_TCP, libc::TCP_KEEPINTVL), 7);
        assert_eq!(read(libc::IPPROTO_TCP, libc::TCP_KEEPCNT), 3);
        assert_eq!(read(libc::IPPROTO_TCP, libc::TCP_USER_TIMEOUT), 4000);
        // The kernel doubles what it is asked for, to have room for its own records.
        assert_eq!(read(libc::SOL_SOCKET, libc::SO_RCVBUF), 40_000);
    }

    #[test]
    fn connections_have_from_their_listener_what_it_was_given_last() {
        const NAMES: [(c_int, c_int); 5] = [
            (libc::IPPROTO_TCP, libc::TCP_NODELAY),
            (libc::SOL_SOCKET, libc::SO_KEEPALIVE),
            (libc::IPPROTO_TCP, libc::TCP_KEEPIDLE),
            (libc::IPPROTO_TCP, libc::TCP_KEEPINTVL),
            (libc::IPPROTO_TCP, libc::TCP_KEEPCNT),
        ];
        let read = |socket: BorrowedFd| {
            NAMES.map(|(level, name)| get::<c_int>(socket, level, name, 0).expect("option"))
        };
        for ip in [IpAddr::from(Ipv4Addr::LOCALHOST), Ipv6Addr::LOCALHOST.into()] {
            let listener = listen_tcp((ip, 0).into(), PLAIN).expect("listener");
            let plain = read(listener.as_fd());
            let address = listener.local_addr().expect("address");
            let full = TcpOptions {
                keepalive: true,
                keepalive_idle_s: 61,
                keepalive_interval_s: 7,
                keepalive_count: 3,
                ..TcpOptions::default()
            };
            let some = TcpOptions { keepalive: true, keepalive_count: 5, ..full };
            let some = TcpOptions { keepalive_idle_s: 0, keepalive_interval_s: 0, ..some };
            let mut before = TcpOptions::default();
            for (options, expected) in [
                (full, [1, 1, 61, 7, 3]),
                (some, [1, 1, plain[2], plain[3], 5]),
                (TcpOptions::default(), [1, 0, plain[2], plain[3], plain[4]]),
            ] {
                tune_listener(listener.as_fd(), &options, &before).expect("options");
                before = options;
                let client = TcpStream::connect(address).expect("connection");
                let accepted = accept(&listener);
                assert_eq!(read(accepted.as_fd()), expected, "{ip}, {options:?}");
                // They are those that it would be given itself.
                tune(client.as_fd(), &options).expect("options");
                assert_eq!(read(client.as_fd()), expected, "{ip}, {options:?}");
            }
        }
    }

    fn accept(listener: &TcpListener) -> TcpStream {
        loop {
            match listener.accept() {
                Ok((stream, _)) => return stream,
                Err(error) => assert_eq!(error.kind(), io::ErrorKind::WouldBlock),
            }
        }
    }

    #[test]
    fn a_refused_connection_is_told_later_or_at_once_but_told() {
        let gone = listen_tcp((Ipv4Addr::LOCALHOST, 0).into(), PLAIN).expect("listener");
        let address = gone.local_addr().expect("address");
        drop(gone);
        let refused = match connect_tcp(address, &TcpOptions::default()) {
            Ok(stream) => stream.take_error().expect("option").expect("an error"),
            Err(error) => error,
        };
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[test]
    fn the_peer_of_a_unix_socket_is_this_process() {
        let (left, _right) = UnixStream::pair().expect("pair");
        let peer = peer_credentials(left.as_fd()).expect("credentials");
        assert_eq!(u32::try_from(peer.pid), Ok(std::process::id()));
        assert_eq!(peer.uid, super::super::account::effective_uid());
    }

    #[test]
    fn listening_sockets_are_told_from_others() {
        let tcp = listen_tcp((Ipv4Addr::LOCALHOST, 0).into(), PLAIN).expect("listener");
        assert_eq!(listening_domain(tcp.as_fd()).expect("options"), Some(Domain::Inet));
        let (left, _right) = UnixStream::pair().expect("pair");
        assert_eq!(listening_domain(left.as_fd()).expect("options"), None);
    }
}
