//! How many instructions a query costs the pooler, so that they cannot creep up: callgrind counts
//! them, for the program that is released. They are the same on a machine that has other work.
//!
//! `make instructions` builds that program, names it by `PGBOUNCER_BIN` and runs this. Without
//! that, and without valgrind, nothing is counted.

mod support;

use std::io::{Read, Write};
#[cfg(feature = "tls")]
use std::net::TcpStream;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::Command;

#[cfg(feature = "tls")]
use openssl::ssl::{SslConnector, SslMethod, SslVerifyMode};
#[cfg(feature = "tls")]
use support::certificates;
use support::client::Client;
use support::fake::{self, FakeServer};
use support::pooler::{ADMIN, Pooler, Setup};
use support::wire::{self, Wire};

/// What one unit of a workload may cost: 5 to 10 % above what was reached.
static WORKLOADS: [Workload; 8] = [
    Workload { name: "simple", most: 2_200, reset: 2_600, prepare: None, unit: simple },
    Workload { name: "extended", most: 2_880, reset: 3_540, prepare: None, unit: extended },
    Workload { name: "prepared", most: 3_200, reset: 3_600, prepare: STATEMENT, unit: prepared },
    Workload { name: "pipeline of 20", most: 13_000, reset: 23_400, prepare: None, unit: pipeline },
    Workload {
        name: "20 prepared",
        most: 14_000,
        reset: 17_400,
        prepare: STATEMENT,
        unit: prepared_pipeline,
    },
    Workload { name: "1000 rows", most: 16_400, reset: 16_900, prepare: None, unit: rows },
    Workload { name: "COPY out", most: 17_400, reset: 22_000, prepare: None, unit: copy_out },
    Workload { name: "COPY in", most: 24_700, reset: 28_500, prepare: None, unit: copy_in },
];

/// The body of the Parse of a statement with a name.
const STATEMENT: Option<&[u8]> = Some(b"s\0select 1\0\0\0");

/// Bodies of the queries whose answers are long.
const MANY_ROWS: &[u8] = b"select * from rows\0";
const COPY_OUT: &[u8] = b"copy rows to stdout\0";

const COPY_IN: &[u8] = b"copy rows from stdin\0";

/// Units of the shorter and of the longer run; the difference leaves out start, login and end.
const UNITS: [u64; 2] = [500, 3_500];

struct Workload {
    name: &'static str,
    most: u64,
    /// As much under `session_state = reset`, where nothing is left to be reset.
    reset: u64,
    /// The body of a Parse that is sent once.
    prepare: Option<&'static [u8]>,
    /// What is sent in one go, and answered up to one ReadyForQuery.
    unit: fn() -> Vec<u8>,
}

fn simple() -> Vec<u8> {
    wire::message(b'Q', b"select 1\0")
}

fn rows() -> Vec<u8> {
    wire::message(b'Q', MANY_ROWS)
}

fn copy_out() -> Vec<u8> {
    wire::message(b'Q', COPY_OUT)
}

/// The data comes behind the query, before the server has asked for it.
fn copy_in() -> Vec<u8> {
    let data = wire::message(b'd', &[b'v'; 56]).repeat(1_000);
    [wire::message(b'Q', COPY_IN), data, wire::message(b'c', b"")].concat()
}

fn extended() -> Vec<u8> {
    [use_of_unnamed(), sync()].concat()
}

fn prepared() -> Vec<u8> {
    [use_of(b"\0s\0\0\0\0\0\0\0"), sync()].concat()
}

fn pipeline() -> Vec<u8> {
    [use_of_unnamed().repeat(20), sync()].concat()
}

fn prepared_pipeline() -> Vec<u8> {
    [use_of(b"\0s\0\0\0\0\0\0\0").repeat(20), sync()].concat()
}

fn sync() -> Vec<u8> {
    wire::message(b'S', b"")
}

/// Parse, Bind, Describe, Execute.
fn use_of_unnamed() -> Vec<u8> {
    [wire::message(b'P', b"\0select 1\0\0\0"), use_of(b"\0\0\0\0\0\0\0\0")].concat()
}

/// Bind, Describe, Execute.
fn use_of(bind: &[u8]) -> Vec<u8> {
    let parts = [(b'B', bind), (b'D', b"P\0"), (b'E', b"\0\0\0\0\0")];
    parts.map(|(kind, body)| wire::message(kind, body)).concat()
}

/// How the pooler is set up whose instructions are counted.
#[derive(Clone, Copy)]
struct Terms {
    /// Its pages are on, and are looked at so often.
    scrapes: Option<u64>,
    session_state: &'static str,
}

const PLAIN: Terms = Terms { scrapes: None, session_state: "allow" };

/// Whether there is something to count, and to count with.
fn can_count() -> bool {
    if std::env::var_os("PGBOUNCER_BIN").is_none() {
        eprintln!("SKIPPED: `make instructions` counts those of the released program");
        return false;
    }
    let version = Command::new("valgrind").arg("--version").output();
    let is_installed = version.is_ok_and(|output| output.status.success());
    if !is_installed {
        eprintln!("SKIPPED: valgrind is not installed");
    }
    is_installed
}

#[test]
fn a_query_costs_no_more_instructions_than_it_did() {
    hold(PLAIN, |workload| workload.most);
}

/// The texts of all queries are looked through for what they may leave.
#[test]
fn a_query_that_leaves_nothing_costs_little_more_under_reset() {
    hold(Terms { session_state: "reset", ..PLAIN }, |workload| workload.reset);
}

/// Counts the instructions of the workloads, none of which may take more than its bound.
fn hold(terms: Terms, bound: fn(&Workload) -> u64) {
    if !can_count() {
        return;
    }
    let mut dear = Vec::new();
    for workload in chosen() {
        let (each, most) = (each(workload, terms), bound(workload));
        let policy = terms.session_state;
        println!("{}, {policy}: {each} instructions, {most} at most", workload.name);
        if each > most {
            dear.push(workload.name);
        }
    }
    assert!(dear.is_empty(), "dearer than they were: {dear:?}");
}

/// All workloads, or the one that INSTRUCTIONS_OF names.
fn chosen() -> impl Iterator<Item = &'static Workload> {
    let only = std::env::var("INSTRUCTIONS_OF").ok();
    WORKLOADS.iter().filter(move |workload| only.as_deref().is_none_or(|it| it == workload.name))
}

/// Instructions at most that being watched adds to a query, with a scrape each second and the page
/// open: 56 to 61 were counted, for a second look at the clock in each of two turns.
const WATCHED_MOST: u64 = 66;

/// What a slow processor does in a second, while it serves queries.
const A_SECOND: u64 = 1_000_000_000;

#[test]
fn being_watched_costs_a_query_next_to_nothing() {
    if !can_count() {
        return;
    }
    let simple = &WORKLOADS[0];
    let looked_at = |scrapes| Terms { scrapes: Some(scrapes), ..PLAIN };
    let [alone, watched] = [PLAIN, looked_at(0)].map(|terms| each(simple, terms));
    // One of five looks of a scraper is one of the page, too.
    let [none, many] = [0, 20].map(|scrapes| count(simple, UNITS[0], looked_at(scrapes)));
    let second = (many - none) / 20;
    println!("{alone} instructions, {watched} where the pages are on; {second} a second for them");
    let queries = A_SECOND / watched;
    let all = watched + second / queries;
    let most = alone + WATCHED_MOST;
    assert!(all <= most, "{all} instructions a query, {most} at most");
}

/// Of the files of a large installation.
const DATABASES: usize = 2_000;
const USERS: usize = 50_000;

/// A RELOAD may hold the loop for 50 ms. Of what it does, a quiet machine was seen to do 3.2
/// instructions in a nanosecond.
const RELOAD_MOST: u64 = 160_000_000;

#[test]
fn a_reload_of_long_files_holds_the_loop_for_50_ms_at_most() {
    if !can_count() {
        return;
    }
    for is_changed in [false, true] {
        let [one, three] = [1, 3].map(|times| count_reloads(times, is_changed));
        let each = (three - one) / 2;
        let what = if is_changed { "with a change of each file" } else { "without a change" };
        println!("a RELOAD {what}: {each} instructions, {RELOAD_MOST} at most");
        assert!(each <= RELOAD_MOST, "a RELOAD {what} takes {each} instructions");
    }
}

/// All instructions of a pooler that reads its long files anew so many times.
fn count_reloads(times: usize, is_changed: bool) -> u64 {
    let files = |setup: Setup, number: usize| {
        let size = 20 + number;
        let line = format!("host=127.0.0.1 port=5432 dbname=app1 pool_size={size}");
        setup.database("db1", &line).file("users.txt", &users(number))
    };
    let setup = (0..DATABASES).fold(Setup::empty(), |setup, number| {
        let line = format!("host=127.0.0.1 port=5432 dbname=app{number} pool_size=20");
        setup.database(&format!("db{number}"), &line)
    });
    let setup = setup.set("auth_file", "{dir}/users.txt").set("server_lifetime", "86400");
    let pooler = under_callgrind(files(setup, 0)).start();
    let mut console = pooler.console();
    for number in 1..=times {
        pooler.rewrite(|setup| files(setup, if is_changed { number } else { 0 }));
        console.query("RELOAD").expect("good files");
    }
    drop(console);
    pooler.signal("QUIT");
    pooler.expect_exit();
    collected(&pooler)
}

/// A user list with secrets as pg_authid has them, one of which is another with another number.
fn users(number: usize) -> String {
    let admin = format!("\"{}\" \"{}\"\n", ADMIN.name, ADMIN.password);
    let line = |user| {
        let salt = if user == 1 { number } else { 0 };
        let secret = format!("SCRAM-SHA-256$4096:{salt:021}A==${user:042}A=:{user:042}A=");
        format!("\"user{user}\" \"{secret}\"\n")
    };
    (0..USERS).map(line).fold(admin, |all, line| all + &line)
}

/// A handshake may keep other clients waiting for 2 ms. Of its instructions, too, a quiet machine
/// was seen to do 3.2 in a nanosecond.
#[cfg(feature = "tls")]
const HANDSHAKE_MOST: u64 = 6_400_000;

/// Nearly all of it is the library's arithmetic, which for RSA callgrind sees without the newest
/// instructions of the processor: 10 % above what was reached.
#[cfg(feature = "tls")]
const RSA_HANDSHAKE_MOST: u64 = 9_500_000;

#[cfg(feature = "tls")]
#[test]
fn a_handshake_holds_the_loop_for_2_ms_at_most() {
    if !can_count() {
        return;
    }
    let kinds = [
        ("P-256", certificates::p256(), HANDSHAKE_MOST),
        ("Ed25519", certificates::ed25519(), HANDSHAKE_MOST),
        ("RSA", certificates::rsa(), RSA_HANDSHAKE_MOST),
    ];
    for (name, key, most) in kinds {
        let pair = certificates::self_signed_for("localhost", key);
        let [few, many] = [10, 60].map(|times| count_handshakes(times, &pair));
        let each = (many - few) / 50;
        println!("a handshake, {name}: {each} instructions, {most} at most");
        assert!(each <= most, "a handshake takes {each} instructions, {name}");
    }
}

/// All instructions of a pooler with which so many clients shake hands, one after the other.
#[cfg(feature = "tls")]
fn count_handshakes(times: u64, pair: &certificates::Pair) -> u64 {
    let setup = Setup::new()
        .file("own.crt", &pair.certificate())
        .file("own.key", &pair.key())
        .set("client_tls_sslmode", "require")
        .set("client_tls_cert_file", "{dir}/own.crt")
        .set("client_tls_key_file", "{dir}/own.key");
    let pooler = under_callgrind(setup).start();
    for _ in 0..times {
        let mut stream = TcpStream::connect(("127.0.0.1", pooler.port)).expect("a connection");
        stream.write_all(&wire::packet(wire::SSL_REQUEST, b"")).expect("a request");
        let mut answer = [0];
        stream.read_exact(&mut answer).expect("an answer");
        assert_eq!(answer, *b"S");
        let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a context");
        connector.set_verify(SslVerifyMode::NONE);
        let connect = connector.build().configure().expect("a context").verify_hostname(false);
        let mut stream = connect.connect("localhost", stream).expect("a handshake");
        stream.shutdown().expect("a goodbye");
    }
    pooler.signal("QUIT");
    pooler.expect_exit();
    collected(&pooler)
}

/// Has callgrind count the pooler's instructions.
fn under_callgrind(setup: Setup) -> Setup {
    let file = std::env::var("INSTRUCTIONS_FILE").unwrap_or_else(|_| "callgrind.out".into());
    setup.run_by(&["valgrind", "--tool=callgrind", &format!("--callgrind-out-file={file}")])
}

/// The instructions of one unit.
fn each(workload: &Workload, terms: Terms) -> u64 {
    let [short, long] = UNITS.map(|units| count(workload, units, terms));
    (long - short) / (UNITS[1] - UNITS[0])
}

/// Looks at the pages as a scraper does, and each fifth time as a browser.
fn look(name: &str, number: u64) {
    let address = SocketAddr::from_abstract_name(name).expect("a name");
    let paths = ["/metrics", "/status.json"];
    for path in paths.iter().take(if number.is_multiple_of(5) { 2 } else { 1 }) {
        let mut stream = UnixStream::connect_addr(&address).expect("it listens");
        write!(stream, "GET {path} HTTP/1.1\r\n\r\n").expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
}

/// All instructions of a pooler that serves so many units.
fn count(workload: &Workload, units: u64, terms: Terms) -> u64 {
    let server = FakeServer::start(answer);
    let pooler = under_callgrind(Setup::empty())
        .database("app", &format!("host=127.0.0.1 port={}", server.port))
        .set("max_prepared_statements", "100")
        .set("server_lifetime", "86400")
        .set("session_state", terms.session_state);
    let name = format!("pgbouncer-instructions-{}", std::process::id());
    let pooler = match terms.scrapes {
        Some(_) => pooler.set("metrics_unix_socket", &format!("@{name}")).start(),
        None => pooler.start(),
    };
    let mut client = pooler.client();
    if let Some(body) = workload.prepare {
        ask(&mut client, &[wire::message(b'P', body), wire::message(b'S', b"")].concat());
    }
    let unit = (workload.unit)();
    for _ in 0..units {
        ask(&mut client, &unit);
    }
    (0..terms.scrapes.unwrap_or(0)).for_each(|number| look(&name, number));
    drop(client);
    pooler.signal("QUIT");
    pooler.expect_exit();
    collected(&pooler)
}

fn ask(client: &mut Client, bytes: &[u8]) {
    client.wire.send(bytes);
    client.wire.hear_until_ready().expect("an answer");
}

/// What callgrind says at its end.
fn collected(pooler: &Pooler) -> u64 {
    let log = pooler.log();
    let line = log.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.unwrap_or_else(|| panic!("callgrind has counted nothing:\n{log}"));
    count.trim().parse().expect("a number")
}

/// Answers every message as a server would that has one row for each query.
fn answer(wire: &mut Wire) {
    if !matches!(fake::hear_startup(wire), Ok(Some(_))) || !wire.send(&fake::welcome()) {
        return;
    }
    let mut bytes = Vec::new();
    while let Ok(message) = wire.hear() {
        match message.kind {
            b'P' => bytes.extend(wire::message(b'1', b"")),
            b'B' => bytes.extend(wire::message(b'2', b"")),
            b'C' => bytes.extend(wire::message(b'3', b"")),
            b'D' => bytes.extend(wire::row_description(&["value"])),
            b'E' => {
                bytes.extend(wire::data_row(&[b"1"]));
                bytes.extend(wire::message(b'C', b"SELECT 1\0"));
            }
            b'Q' => bytes.extend(match &*message.body {
                MANY_ROWS => thousand(&wire::row_description(&["value"]), b'D', &[]),
                COPY_OUT => {
                    thousand(&wire::message(b'H', &[0, 0, 0]), b'd', &wire::message(b'c', b""))
                }
                COPY_IN => wire::message(b'G', &[0, 0, 0]),
                _ => fake::one_row("1"),
            }),
            b'd' => {}
            b'c' => {
                bytes.extend(wire::message(b'C', b"COPY 1000\0"));
                bytes.extend(wire::ready(b'I'));
            }
            b'S' => bytes.extend(wire::ready(b'I')),
            _ => return,
        }
        if matches!(message.kind, b'Q' | b'S' | b'c') {
            wire.send(&std::mem::take(&mut bytes));
        }
    }
}

/// The answer to a query that brings 1,000 messages of one kind, each with a value of 50 bytes.
fn thousand(first: &[u8], kind: u8, last: &[u8]) -> Vec<u8> {
    let one = match kind {
        b'D' => wire::data_row(&[&[b'v'; 50]]),
        _ => wire::message(kind, &[b'v'; 56]),
    };
    let tag = wire::message(b'C', b"SELECT 1000\0");
    [first, &one.repeat(1_000), last, &tag, &wire::ready(b'I')].concat()
}
