//! Lists of hosts of which some do not work, with the built program: whoever can be served is
//! served by the others, and where no host is left clients are told at once.

mod support;

use std::net::TcpListener;
use std::thread;
use std::time::{Duration, Instant};

use support::client::Login;
use support::postgres::{APP, TRUSTED};
use support::{Client, FakeServer, Pooler, Postgres, Setup, Wire, eventually, fake, host};

/// An address that is set aside for examples: nobody answers there.
const NOBODY: &str = "192.0.2.1";

/// A server that takes connections and never says a word.
fn silent() -> FakeServer {
    FakeServer::start(|wire| {
        let _ = wire.hear_bytes(usize::MAX);
    })
}

fn attempt(pooler: &Pooler) -> Result<Client, support::Failure> {
    let (user, password) = (TRUSTED.name, TRUSTED.password);
    Client::attempt(pooler.port, &Login { user, password, database: "app", parameters: &[] })
}

#[test]
fn one_host_that_works_serves_everybody() {
    for balance in ["round-robin", "disable"] {
        let (mute, refusing) = (silent(), host::free_port());
        let line = format!(
            "host={NOBODY},127.0.0.1,127.0.0.1,127.0.0.1 port=5432,{refusing},{},{} dbname=app \
             load_balance_hosts={balance}",
            mute.port,
            Postgres::shared().port,
        );
        let pooler = Setup::empty().database("app", &line).set("default_pool_size", "5").start();
        let start = Instant::now();
        let waits: Vec<Duration> = thread::scope(|scope| {
            let one = || {
                let began = Instant::now();
                let mut client = attempt(&pooler).expect("a login");
                client.query("select pg_sleep(0.05)").expect("an answer");
                began.elapsed()
            };
            let clients: Vec<_> = (0..40).map(|_| scope.spawn(one)).collect();
            clients.into_iter().map(|client| client.join().expect("a client")).collect()
        });
        let longest = waits.iter().max().expect("clients");
        println!("{balance}: all were served after {:?}, one after {longest:?}", start.elapsed());
    }
}

/// With room for one server only, the login at the host that hangs must not keep the place.
#[test]
fn a_host_that_hangs_does_not_fill_the_pool() {
    let mute = silent();
    let (mute, good) = (mute.port, Postgres::shared().port);
    let line = format!("host=127.0.0.1,127.0.0.1 port={mute},{good} dbname=app pool_size=1");
    let pooler = Setup::empty().database("app", &line).start();
    let start = Instant::now();
    attempt(&pooler).expect("a login").query("select 1").expect("an answer");
    println!("served after {:?}", start.elapsed());
    pooler.wait_log(&["closing because: connect timeout"]);
}

#[test]
fn where_no_host_is_left_clients_are_told_at_once_and_served_when_one_is_back() {
    let server = FakeServer::start(|wire| {
        fake::serve(wire, |sql| (!sql.contains("die")).then(|| fake::one_row("alive")))
    });
    let (port, dead) = (server.port, host::free_port());
    let line = format!("host=127.0.0.1,127.0.0.1 port={port},{dead}");
    let pooler = Setup::empty().database("app", &line).set("query_wait_timeout", "3").start();
    let mut first = attempt(&pooler).expect("a login");
    assert_eq!(first.one("select 1"), "alive");
    drop(server);
    first.query("die").expect_err("the server ends");
    let (words, time) = eventually("the cached error", || {
        let mut client = attempt(&pooler).expect("the pool knows its parameters");
        let start = Instant::now();
        let error = client.query("select 1").expect_err("no host is left");
        let is_cached = error.message().starts_with("server login has been failing");
        is_cached.then(|| (error.message().to_owned(), start.elapsed()))
    });
    println!("{words:?} after {time:?}");
    assert_eq!(
        words,
        "server login has been failing, cached error: connect failed (server_login_retry)"
    );
    // Somebody listens there again: whoever comes is served within a pause or two.
    let listener = TcpListener::bind(("127.0.0.1", port)).expect("the port is free again");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut wire = Wire::new(stream);
                fake::serve(&mut wire, |_| Some(fake::one_row("back")));
            });
        }
    });
    let start = Instant::now();
    eventually("an answer", || attempt(&pooler).ok()?.query("select 1").ok());
    println!("served again after {:?}", start.elapsed());
}

/// The places of a list by turns, or the same until it fails.
#[test]
fn a_list_is_used_in_turn_or_one_host_until_it_fails() {
    for (balance, expected) in [("round-robin", [2, 2]), ("disable", [4, 0])] {
        let serve = || FakeServer::start(|wire| fake::serve(wire, |_| Some(fake::one_row("1"))));
        let (first, second) = (serve(), serve());
        let (a, b) = (first.port, second.port);
        let line = format!("host=127.0.0.1,127.0.0.1 port={a},{b} load_balance_hosts={balance}");
        let setup = Setup::empty().database("app", &line).set("pool_mode", "session");
        let pooler = setup.set("server_login_concurrency", "1").start();
        let _clients: Vec<Client> = (0..4)
            .map(|_| {
                let mut client = attempt(&pooler).expect("a login");
                client.query("select 1").expect("a server of its own");
                client
            })
            .collect();
        assert_eq!([first.accepted(), second.accepted()], expected, "{balance}");
    }
}

#[test]
fn sockets_and_addresses_of_both_kinds_lead_to_servers() {
    let postgres = Postgres::shared();
    let line = format!("host={} port={} dbname=app", postgres.socket.display(), postgres.port);
    let pooler = Setup::empty().database("app", &line).start();
    let sql = "select coalesce(host(inet_client_addr()), 'socket')";
    assert_eq!(pooler.login(&APP, "app").one(sql), "socket");

    let Ok(listener) = TcpListener::bind(("::1", 0)) else {
        println!("this machine has no IPv6");
        return;
    };
    let port = listener.local_addr().expect("a listener has an address").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut wire = Wire::new(stream);
            fake::serve(&mut wire, |_| Some(fake::one_row("by IPv6")));
        }
    });
    let pooler = Setup::empty().database("app", &format!("host=::1 port={port}")).start();
    assert_eq!(attempt(&pooler).expect("a login").one("select 1"), "by IPv6");
}

/// What makes no sense is an error of --check, with its place and what was expected, also where a
/// start gets past it as that of PgBouncer does.
#[test]
fn limits_and_hosts_that_make_no_sense_are_refused_by_the_check() {
    const WHOLE: &str = "expected a whole number from 0 to 2147483647";
    let cases = [
        (
            "pgbouncer",
            "default_pool_size = 99999999999",
            format!("default_pool_size: {WHOLE}, not \"99999999999\""),
        ),
        (
            "pgbouncer",
            "max_db_connections = 4294967296",
            format!("max_db_connections: {WHOLE}, not \"4294967296\""),
        ),
        (
            "pgbouncer",
            "reserve_pool_timeout = -3",
            "reserve_pool_timeout: expected a number of seconds, such as 15 or 0.5, not \"-3\""
                .to_owned(),
        ),
        ("databases", "app = host=a pool_size=-2", format!("app: pool_size: {WHOLE}")),
        (
            "databases",
            "app = host=a max_db_connections=1x",
            "app: max_db_connections: expected a whole number".to_owned(),
        ),
        (
            "databases",
            "app = host=a,,b",
            "app: host: expected something between two commas".to_owned(),
        ),
        (
            "databases",
            "app = host=,a",
            "app: host: expected something between two commas".to_owned(),
        ),
        (
            "databases",
            "app = host=a,b port=1,2,3",
            "app: port: expected one port, or one for each host".to_owned(),
        ),
        (
            "databases",
            "pgbouncer = host=a",
            "pgbouncer: the name \"pgbouncer\" is reserved for the console".to_owned(),
        ),
        (
            "users",
            "app = max_user_connections=9999999999",
            format!("app: max_user_connections: {WHOLE}"),
        ),
    ];
    for (section, text, expected) in cases {
        let base = "listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir = {dir}\n\
                    auth_type = trust\n";
        let ini = format!("[pgbouncer]\n{base}[{section}]\n{text}\n");
        let ini = if section == "pgbouncer" { format!("[pgbouncer]\n{base}{text}\n") } else { ini };
        let (status, log) = Setup::empty().ini(&ini).argument("--check").refused();
        assert_eq!(status.code(), Some(1), "{text}");
        let place = if section == "pgbouncer" { 6 } else { 7 };
        let told = format!("pgbouncer.ini:{place}: {expected}");
        assert!(log.contains(&told), "{text}: no {told:?} in\n{log}");
    }
}

/// What can be lived with is: a minimum above the size, and a user whom nobody else knows.
#[test]
fn what_only_looks_odd_is_taken() {
    let line = format!("host=127.0.0.1 port={} min_pool_size=9", Postgres::shared().port);
    let setup = Setup::empty().database("app", &format!("{line} pool_size=2"));
    let pooler = setup.user("nobody_else", "pool_size=3 pool_mode=session").start();
    pooler.wait_log(&["min_pool_size"]);
    assert_eq!(attempt(&pooler).expect("a login").one("select 1"), "1");
    let shown = pooler.shown("show users", "name", "nobody_else", "pool_size");
    assert_eq!(shown.as_deref().map(str::trim), Some("3"));
}
