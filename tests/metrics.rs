//! /metrics, health and the page of the built program: over its own socket, beside clients at work,
//! and against peers that break the rules.

mod support;

use std::collections::HashSet;
use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use base64::prelude::{BASE64_STANDARD, Engine};

use support::{Pooler, Setup, eventually, host, pooler};

/// A pooler, and the name of the socket on which it answers HTTP.
struct Watched {
    pooler: Pooler,
    name: String,
}

impl Watched {
    fn new(setup: Setup) -> Watched {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("pgbouncer-metrics-{}-{number}", std::process::id());
        let pooler = setup.set("metrics_unix_socket", &format!("@{name}")).start();
        Watched { pooler, name }
    }

    fn connect(&self) -> UnixStream {
        let address = SocketAddr::from_abstract_name(&self.name).expect("a name");
        let stream = UnixStream::connect_addr(&address).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
        stream
    }

    /// Sends bytes, and gives what comes until the end.
    fn send(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // Who is refused early may close before all is sent.
        let _ = stream.write_all(bytes);
        rest(&mut stream)
    }

    /// Head and body of the answer.
    fn get(&self, path: &str, fields: &str) -> (String, String) {
        let answer = self.send(format!("GET {path} HTTP/1.0\r\n{fields}\r\n").as_bytes());
        let (head, body) = answer.split_once("\r\n\r\n").expect("an answer");
        (head.to_owned(), body.to_owned())
    }

    fn status(&self, path: &str, fields: &str) -> String {
        let (head, _) = self.get(path, fields);
        head.split(' ').nth(1).expect("a status").to_owned()
    }
}

fn rest(stream: &mut UnixStream) -> String {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8(bytes).expect("text"),
    }
}

#[test]
fn what_a_client_has_done_is_scraped_and_shown() {
    let watched = Watched::new(Setup::new().set("pool_mode", "transaction"));
    let mut client = watched.pooler.client();
    for _ in 0..5 {
        client.query("select 1").expect("a row");
    }
    let (head, text) = watched.get("/metrics", "");
    assert!(head.contains("Content-Type: text/plain; version=0.0.4"), "{head}");
    let queries = |prefix: &str| {
        let line = format!("pgbouncer_{prefix}queries_pooled_total{{database=\"app\"}} 5\n");
        assert!(text.contains(&line), "{line} in {text}");
    };
    queries("stats_");
    queries("stats_totals_");
    assert!(text.contains("pgbouncer_query_duration_seconds_count{database=\"app\"} 5\n"));
    assert!(text.contains("\nprocess_resident_memory_bytes "));
    let accept = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";
    let (head, open) = watched.get("/metrics", accept);
    assert!(head.contains("application/openmetrics-text") && open.ends_with("\n# EOF\n"));
    let (head, page) = watched.get("/", "");
    assert!(head.contains("Content-Security-Policy: default-src 'none'"), "{head}");
    assert!(page.starts_with("<!doctype html>"));
    assert!(watched.get("/status.json", "").1.contains("\"database\":\"app\""));
    assert_eq!(watched.status("/nothing", ""), "404");
}

#[test]
fn who_breaks_the_rules_is_refused_and_the_clients_notice_nothing() {
    let watched = Watched::new(Setup::new());
    let mut client = watched.pooler.client();
    let mut works = || client.query("select 1").expect("a row");
    let status = |bytes: &[u8]| watched.send(bytes).split(' ').nth(1).map(str::to_owned);
    assert_eq!(status(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").as_deref(), Some("400"));
    assert_eq!(status(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").as_deref(), Some("400"));
    assert_eq!(status(b"POST / HTTP/1.1\r\n\r\n").as_deref(), Some("405"));
    let endless = format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(100_000));
    assert_eq!(status(endless.as_bytes()).as_deref(), Some("413"));
    let pipelined = watched.send(&b"GET /healthz HTTP/1.1\r\n\r\n".repeat(50));
    assert_eq!(pipelined.matches("HTTP/1.1 200 OK").count(), 1, "{pipelined}");
    works();
    // One byte at a time.
    let mut slow = watched.connect();
    for byte in b"GET /healthz HTTP/1.1\r\n\r\n" {
        slow.write_all(&[*byte]).expect("it reads");
    }
    assert!(rest(&mut slow).ends_with("\r\n\r\nok\n"));
    works();
}

#[test]
fn who_sends_nothing_or_too_slowly_is_sent_away_and_holds_up_nobody_for_long() {
    let watched = Watched::new(Setup::new());
    let mut client = watched.pooler.client();
    let begun = Instant::now();
    let mut half: Vec<UnixStream> = (0..8).map(|_| watched.connect()).collect();
    half.iter_mut().for_each(|stream| stream.write_all(b"GET / HT").expect("it reads"));
    eventually("there is no room", || (watched.status("/", "") == "503").then_some(()));
    for _ in 0..1_000 {
        // Whether they are answered or cut off, they are closed.
        rest(&mut watched.connect());
        if begun.elapsed() > Duration::from_secs(4) {
            break;
        }
    }
    client.query("select 1").expect("a row");
    for stream in &mut half {
        assert!(rest(stream).starts_with("HTTP/1.1 408 "));
    }
    assert!(begun.elapsed() >= Duration::from_secs(5));
    drop(half);
    eventually("there is room again", || (watched.status("/", "") == "200").then_some(()));
}

#[test]
fn a_server_that_is_kept_for_its_client_is_told() {
    let watched = Watched::new(Setup::new().set("session_state", "pin"));
    let mut client = watched.pooler.client();
    client.query("set search_path = somewhere").expect("done");
    let (_, text) = watched.get("/metrics", "");
    let value = |name: &str| {
        let series = format!("\npgbouncer_pools_{name}{{database=\"app\",user=\"app\"}} ");
        let (_, rest) = text.split_once(&series).unwrap_or_else(|| panic!("{series}"));
        rest.split('\n').next().expect("a value").to_owned()
    };
    assert_eq!((value("pinned_servers"), value("pins_total")), ("1".into(), "1".into()));
    assert!(value("oldest_pin_seconds").starts_with("0."));
}

/// The connection that listens is in a pool of its own, beside that of its clients.
#[test]
fn a_pool_that_listens_for_its_clients_is_told_once() {
    let setup = Setup::new().set("pool_mode", "transaction").set("shared_listen", "1");
    let watched = Watched::new(setup);
    watched.pooler.client().query("listen a_channel").expect("a LISTEN");
    let (_, text) = watched.get("/metrics", "");
    assert!(text.contains("\npgbouncer_pools_oldest_pin_seconds{"), "{text}");
    let mut seen = HashSet::new();
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let (series, _) = line.rsplit_once(' ').expect("a value");
        assert!(seen.insert(series), "{series} comes twice");
    }
}

#[test]
fn what_a_reload_would_change_is_found_out_beside_the_loop() {
    let watched = Watched::new(Setup::new());
    let reload = |what: &str| {
        eventually("it to be found out", || {
            let (_, json) = watched.get("/status.json", "");
            let (_, reload) = json.split_once("\"reload\":").expect("a key");
            reload.contains(what).then_some(())
        });
    };
    watched.pooler.rewrite(|setup| setup.set("default_pool_size", "7"));
    reload("default_pool_size");
    assert!(watched.get("/status.json", "").1.contains("\"known\":true"));
    // A pipe in the file's place would have to be filled by somebody first.
    let file = watched.pooler.folder.join("pgbouncer.ini");
    std::fs::remove_file(&file).expect("it is there");
    assert!(Command::new("mkfifo").arg(&file).status().expect("mkfifo").success());
    watched.pooler.signal("HUP");
    watched.pooler.wait_log(&["config file loading failed"]);
    reload("Not a regular file");
}

#[test]
fn a_thousand_connections_at_a_time_are_bounded_and_noticed_by_nobody() {
    let watched = Watched::new(Setup::new().in_view());
    let mut client = watched.pooler.client();
    client.query("select 1").expect("a row");
    let before = watched.pooler.descriptors();
    let mut crowd = Vec::new();
    for at in 0..1_000 {
        let mut stream = watched.connect();
        // Some say something, some never end it, some nothing.
        let said: &[u8] = [&b""[..], b"GET /metrics HTTP/1.1\r\nA:", b"\x16\x03\x01"][at % 3];
        let _ = stream.write_all(said);
        crowd.push(stream);
        if at % 100 == 0 {
            let begun = Instant::now();
            client.query("select 1").expect("a row");
            assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        }
    }
    eventually("all but eight to be closed", || {
        (watched.pooler.descriptors() <= before + 8).then_some(())
    });
    client.query("select 1").expect("a row");
    eventually("room for others", || (watched.status("/healthz", "") == "200").then_some(()));
    assert!(watched.pooler.resident_kb() < 100_000);
    drop(crowd);
}

#[test]
fn who_takes_nothing_of_an_answer_is_left_and_the_others_are_served() {
    let watched = Watched::new(Setup::new());
    let mut client = watched.pooler.client();
    let mut idle: Vec<UnixStream> = (0..8).map(|_| watched.connect()).collect();
    for stream in &mut idle {
        stream.write_all(b"GET /metrics HTTP/1.1\r\n\r\n").expect("it reads");
    }
    client.query("select 1").expect("a row");
    eventually("room for others", || (watched.status("/metrics", "") == "200").then_some(()));
    // What was sent is still there for those who come late.
    let late = rest(&mut idle[0]);
    assert!(late.starts_with("HTTP/1.1 200 ") && late.contains("pgbouncer_up 1"), "{late}");
}

/// What a socket by TCP is answered, as text.
fn over_tcp(address: &str, port: u16, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect((address, port)).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("a limit");
    stream.write_all(bytes).expect("it reads");
    let mut answer = Vec::new();
    // A connection that is broken off has said what it had to say.
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn it_listens_on_each_address_and_never_where_clients_come() {
    let port = host::free_port();
    let watched = Watched::new(
        Setup::new()
            .set("metrics_listen_addr", "127.0.0.1, ::1, 127.0.0.2")
            .set("metrics_listen_port", &port.to_string()),
    );
    let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
    for address in ["127.0.0.1", "::1", "127.0.0.2"] {
        assert!(over_tcp(address, port, request).ends_with("\r\n\r\nok\n"), "{address}");
    }
    let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    assert!(over_tcp("127.0.0.1", port, hello).starts_with("HTTP/1.1 400 "));
    assert!(!over_tcp("127.0.0.1", watched.pooler.port, request).contains("HTTP"));
    watched.pooler.client().query("select 1").expect("a row");
}

#[test]
fn with_metrics_auth_a_password_of_the_console_is_asked_for() {
    let setup = Setup::new().set("metrics_auth", "1");
    let watched = Watched::new(setup);
    assert_eq!(watched.status("/healthz", ""), "200");
    let login = |user: &str, password: &str| {
        let coded = BASE64_STANDARD.encode(format!("{user}:{password}"));
        let begun = Instant::now();
        let fields = format!("Authorization: Basic {coded}\r\n");
        (watched.status("/metrics", &fields), begun.elapsed() >= Duration::from_secs(1))
    };
    let admin = &pooler::ADMIN;
    assert_eq!(login(admin.name, admin.password).0, "200");
    assert_eq!(login(admin.name, "wrong"), ("401".into(), true), "and late");
    assert!(watched.get("/", "").0.contains("WWW-Authenticate: Basic"));
}

#[test]
fn it_answers_while_the_end_is_awaited_and_says_so() {
    let watched = Watched::new(Setup::new());
    let client = watched.pooler.client();
    assert_eq!(watched.status("/readyz", ""), "200");
    watched.pooler.signal("TERM");
    eventually("it drains", || {
        let (_, text) = watched.get("/readyz", "");
        text.starts_with("draining").then_some(())
    });
    assert_eq!(watched.status("/healthz", ""), "200");
    drop(client);
    watched.pooler.expect_exit();
}
