//! Tests of listeners, with real sockets on the loopback.

use std::env;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener as StdUnixListener, UnixStream as StdUnixStream};
use std::path::PathBuf;
use std::process;
use std::time::{Duration, Instant};

use super::accept::refused;
use super::*;
use crate::sys::socket::TcpOptions;

/// A directory of its own for one test, removed with it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = env::temp_dir().join(format!("pgbouncer-listen-{}-{name}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        Home(path)
    }

    fn socket(&self) -> PathBuf {
        self.0.join(".s.PGSQL.6432")
    }

    /// Options for a Unix socket here, and nothing else.
    fn options(&self) -> ListenOptions {
        unix_in(self.0.to_str().expect("text"))
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn unix_in(directory: &str) -> ListenOptions {
    let unix =
        UnixOptions { directory: directory.to_owned(), mode: 0o640, group: None, path: None };
    ListenOptions { port: 6432, unix: Some(unix), ..tcp_only(&[]) }
}

fn tcp_only(addresses: &[&str]) -> ListenOptions {
    ListenOptions {
        addresses: addresses.iter().map(|&address| address.to_owned()).collect(),
        port: 0,
        tcp: TcpListen { backlog: 16, reuse_port: false, defer_accept_s: 0 },
        unix: None,
    }
}

/// What [`open`] gives, and the lines that it reported.
fn opened(options: &ListenOptions) -> (Result<Vec<Listener>, ListenError>, Vec<String>) {
    let mut lines = Vec::new();
    let result = open(options, Vec::new(), &mut |level, line| {
        lines.push(format!("{level} {line}"));
    });
    (result, lines)
}

fn accept(listener: &Listener) -> Accepted {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match listener.accept() {
            Accept::Connection(accepted) => return accepted,
            Accept::Drained if Instant::now() < deadline => std::thread::yield_now(),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_unix_socket_has_its_mode_names_its_peer_and_goes_with_us() {
    let home = Home::new("plain");
    let (options, path) = (home.options(), home.socket());
    let (listeners, lines) = opened(&options);
    let mut listeners = listeners.expect("open");
    assert_eq!(lines, [format!("LOG listening on unix:{}", path.display())]);
    let mode = fs::metadata(&path).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o7777, 0o640);
    let _client = StdUnixStream::connect(&path).expect("connect");
    let accepted = accept(&listeners[0]);
    let AcceptedPeer::Unix(Some(peer)) = accepted.peer else { panic!("{:?}", accepted.peer) };
    assert_eq!(u32::try_from(peer.pid), Ok(process::id()));
    assert_eq!(accepted.log_peer().to_string(), format!("unix({}):6432", peer.pid));
    assert!(matches!(listeners[0].accept(), Accept::Drained));
    listeners.clear();
    assert!(!path.exists());
}

#[test]
fn a_socket_that_nobody_listens_on_is_taken_over() {
    let home = Home::new("stale");
    let (options, path) = (home.options(), home.socket());
    drop(StdUnixListener::bind(&path).expect("a socket left behind"));
    assert!(path.exists());
    check_unix_free(&options).expect("nobody listens");
    let (listeners, lines) = opened(&options);
    listeners.expect("open");
    assert!(lines[0].starts_with("LOG removed unix socket "), "{lines:?}");
}

#[test]
fn a_live_socket_is_refused_with_the_process_that_has_it() {
    let home = Home::new("live");
    let (options, path) = (home.options(), home.socket());
    let other = StdUnixListener::bind(&path).expect("another instance");
    let expected = format!(
        "unix socket is in use, cannot continue: process {} listens on {}",
        process::id(),
        path.display()
    );
    assert_eq!(check_unix_free(&options).expect_err("live").to_string(), expected);
    assert_eq!(opened(&options).0.expect_err("live").to_string(), expected);
    drop(other);
    assert!(path.exists(), "what is not ours stays");
}

#[test]
fn a_file_of_another_kind_is_not_removed() {
    let home = Home::new("file");
    let (options, path) = (home.options(), home.socket());
    fs::write(&path, "precious").expect("write");
    let (result, lines) = opened(&options);
    let words = result.expect_err("in the way").to_string();
    assert_eq!(words, "failed to create unix socket: Address already in use");
    assert!(lines[0].starts_with("WARNING cannot listen on unix:/"), "{lines:?}");
    assert_eq!(fs::read_to_string(&path).expect("still there"), "precious");
}

#[test]
fn a_socket_that_replaced_ours_is_left_alone() {
    let home = Home::new("replaced");
    let (options, path) = (home.options(), home.socket());
    let listeners = opened(&options).0.expect("open");
    fs::remove_file(&path).expect("remove");
    let _other = StdUnixListener::bind(&path).expect("a successor");
    drop(listeners);
    assert!(path.exists());
}

#[test]
fn an_abstract_socket_has_a_name_and_no_file() {
    let directory = format!("@pgbouncer-listen-{}", process::id());
    let options = unix_in(&directory);
    let (listeners, lines) = opened(&options);
    let listeners = listeners.expect("open");
    assert_eq!(lines, [format!("LOG listening on unix:{directory}/.s.PGSQL.6432")]);
    assert_eq!(listeners[0].to_string(), format!("unix:{directory}/.s.PGSQL.6432"));
    assert!(matches!(check_unix_free(&options), Err(ListenError::UnixInUse { .. })));
}

#[test]
fn an_unknown_group_or_directory_is_an_error_that_names_it() {
    let home = Home::new("group");
    let mut options = home.options();
    options.unix.as_mut().expect("a unix socket").group = Some("no such group".to_owned());
    let words = opened(&options).0.expect_err("no group").to_string();
    assert_eq!(words, "could not find group 'no such group'");
    assert!(!home.socket().exists(), "the socket went with the error");
    let (result, lines) = opened(&unix_in("/nonexistent"));
    assert!(matches!(result, Err(ListenError::UnixCreate { .. })));
    assert_eq!(
        lines,
        ["WARNING cannot listen on unix:/nonexistent/.s.PGSQL.6432: bind(): No such file or \
          directory"]
    );
}

#[test]
fn a_path_longer_than_the_system_takes_is_an_error_where_there_is_nothing_else() {
    for first in ["/", "@"] {
        let options = unix_in(&format!("{first}{}", "x".repeat(120)));
        assert!(matches!(opened(&options).0, Err(ListenError::UnixTooLong)));
        let (listeners, lines) =
            opened(&ListenOptions { unix: options.unix, ..tcp_only(&["::1"]) });
        assert_eq!(listeners.expect("a listener").len(), 1);
        assert!(lines[0].starts_with("LOG listening on [::1]:"), "{lines:?}");
        assert!(lines[1].starts_with("WARNING cannot listen on unix:"), "{lines:?}");
        assert!(lines[1].ends_with(": the path is longer than 107 bytes"), "{lines:?}");
    }
}

#[test]
fn every_address_of_the_list_is_listened_on_and_accepts() {
    let (listeners, lines) = opened(&tcp_only(&["127.0.0.1", "::1"]));
    let listeners = listeners.expect("open");
    assert!(lines[0].starts_with("LOG listening on 127.0.0.1:"), "{lines:?}");
    assert!(lines[1].starts_with("LOG listening on [::1]:"), "{lines:?}");
    for listener in &listeners {
        let Listener::Tcp { address, .. } = listener else { panic!("{listener:?}") };
        let client = std::net::TcpStream::connect(address).expect("connect");
        let accepted = accept(listener);
        assert_eq!(accepted.peer, AcceptedPeer::Tcp(client.local_addr().expect("address")));
        assert_eq!(accepted.local, Local::Tcp(*address));
        tune(&accepted, &TcpOptions::default()).expect("options");
    }
}

#[test]
fn one_address_that_is_refused_is_a_warning_and_all_of_them_an_error() {
    // 198.51.100.0/24 and 203.0.113.0/24 are for documentation (RFC 5737): no host has them.
    let (listeners, lines) = opened(&tcp_only(&["198.51.100.1", "127.0.0.1"]));
    assert_eq!(listeners.expect("open").len(), 1);
    assert_eq!(
        lines[0],
        "WARNING cannot listen on 198.51.100.1:0: bind(): Cannot assign requested address"
    );
    let words =
        opened(&tcp_only(&["198.51.100.1", "203.0.113.1"])).0.expect_err("none").to_string();
    assert_eq!(
        words,
        "failed to listen on any address in listen_addr list: 198.51.100.1,203.0.113.1"
    );
}

#[test]
fn a_star_is_every_address_of_both_families() {
    let (listeners, _) = opened(&tcp_only(&["*"]));
    let shown: Vec<String> = listeners.expect("open").iter().map(Listener::to_string).collect();
    assert!(shown[0].starts_with("0.0.0.0:") && shown[1].starts_with("[::]:"), "{shown:?}");
}

#[test]
fn nothing_to_listen_on_is_an_error() {
    assert_eq!(opened(&tcp_only(&[])).0.expect_err("nowhere").to_string(), "nowhere to listen on");
    let words = opened(&tcp_only(&["no such host"])).0.expect_err("unknown").to_string();
    assert!(words.starts_with("cannot resolve 'no such host' of listen_addr: "), "{words}");
}

#[test]
fn sockets_of_the_service_manager_take_the_place_of_the_configured_ones() {
    let home = Home::new("inherited");
    let (options, path) = (home.options(), home.socket().with_extension("7777"));
    let unix = StdUnixListener::bind(&path).expect("a socket");
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").expect("a socket");
    let inherited = vec![Inherited::Tcp(tcp), Inherited::Unix(unix)];
    let listeners = open(&options, inherited, &mut |_, _| {}).expect("adopt");
    assert!(listeners[0].is_tcp());
    assert!(matches!(&listeners[1], Listener::Unix { port: 7777, file: None, .. }));
    drop(listeners);
    assert!(path.exists(), "the service manager's file stays");
}

#[test]
fn errors_of_accept_are_told_apart() {
    let sorted = |code| refused(io::Error::from_raw_os_error(code));
    assert!(matches!(sorted(libc::EAGAIN), Accept::Drained));
    assert!(matches!(sorted(libc::EMFILE), Accept::Exhausted(_)));
    assert!(matches!(sorted(libc::ENFILE), Accept::Exhausted(_)));
    assert!(matches!(sorted(libc::ECONNABORTED), Accept::Aborted));
    assert!(matches!(sorted(libc::EINVAL), Accept::Failed(_)));
}
