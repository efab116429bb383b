//! SCRAM bound to its channel: real clients that require it, a PostgreSQL that offers it, and a
//! stranger between two ends that has a certificate of its own.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use openssl::hash::MessageDigest;
use openssl::ssl::{SslAcceptor, SslMethod, SslStream};

use super::support::certificates::{Pair, ed25519, p256, rsa, self_signed, signed};
use super::support::postgres::{APP, Role};
use super::support::scram::scram_secret;
use super::support::tool::Tool;
use super::support::{Pooler, Setup, wire};
use super::{offering, postgres_with_tls, root, secured, shake_hands, with_pair};

fn demanding() -> Setup {
    offering("require").set("auth_type", "scram-sha-256")
}

fn bound_psql(pooler: &Pooler) -> Tool {
    Tool::psql(pooler.port, &APP, "app")
        .env("PGSSLMODE", "require")
        .env("PGCHANNELBINDING", "require")
        .args(["-Atc", "select current_user"])
}

#[test]
fn libpq_gets_the_channel_binding_that_it_requires_from_every_certificate_with_a_hash() {
    let (sha1, sha512) = (MessageDigest::sha1(), MessageDigest::sha512());
    for (key, digest) in
        [(p256(), MessageDigest::sha256()), (p256(), sha512), (rsa(), sha1), (rsa(), sha512)]
    {
        let pair = self_signed(key, digest);
        let pooler = with_pair(demanding(), "own", &pair).start();
        assert_eq!(bound_psql(&pooler).run(), APP.name);
        let console = Tool::psql(pooler.port, &super::support::pooler::ADMIN, "pgbouncer");
        let console = console.env("PGSSLMODE", "require").env("PGCHANNELBINDING", "require");
        assert!(console.args(["-c", "show version"]).run().contains("PgBouncer"));
    }
    // The signature of an Ed25519 key has no hash: there is nothing to be bound to, and whoever
    // does not insist comes in.
    let pair = self_signed(ed25519(), MessageDigest::null());
    let pooler = with_pair(demanding(), "own", &pair).start();
    let said = bound_psql(&pooler).fail();
    assert!(said.contains("channel binding"), "{said}");
    assert_eq!(bound_psql(&pooler).env("PGCHANNELBINDING", "prefer").run(), APP.name);
}

#[test]
fn drivers_of_python_get_the_channel_binding_that_they_require() {
    let pooler = demanding().start();
    for script in ["binding_psycopg3.py", "binding_asyncpg.py"] {
        let Some(tool) = Tool::script(script, pooler.port, &APP, "app") else { return };
        assert_eq!(tool.env("PGSSLMODE", "require").run(), "ok", "{script}");
    }
}

#[test]
fn node_postgres_gets_the_channel_binding_that_it_asks_for() {
    let pooler = demanding().start();
    let Some(tool) = Tool::script("binding_node_postgres.js", pooler.port, &APP, "app") else {
        return;
    };
    assert_eq!(tool.run(), "ok");
}

/// A client by hand: the mechanism that it chooses, the header of its message, and what is said.
type Choice = (&'static str, &'static str, &'static [&'static str]);

#[test]
fn a_client_that_denies_what_it_was_offered_is_refused() {
    let pooler = demanding().start();
    let cases: &[Choice] = &[
        ("SCRAM-SHA-256", "y,,", &["login refused:", "somebody may stand between"]),
        ("SCRAM-SHA-256", "p=tls-server-end-point,,", &["chose the mechanism without it"]),
        ("SCRAM-SHA-256-PLUS", "n,,", &["the message has none"]),
        ("SCRAM-SHA-256-PLUS", "p=tls-unique,,", &["the only channel binding is"]),
    ];
    for (mechanism, header, words) in cases {
        let mut stream = secured(&pooler);
        stream.write_all(&wire::startup(&[("user", APP.name), ("database", "app")])).expect("sent");
        let offered = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let came = super::read_until(&mut stream, offered);
        assert_eq!(came, wire::message(b'R', &[&[0, 0, 0, 10], &offered[..]].concat()));
        let first = format!("{header}n=,r=rOprNGfwEbeRWgbNEkqO");
        let len = (first.len() as u32).to_be_bytes();
        let body = [mechanism.as_bytes(), b"\0", &len, first.as_bytes()].concat();
        stream.write_all(&wire::message(b'p', &body)).expect("sent");
        let mut told = String::new();
        let _ = stream.read_to_string(&mut told);
        assert!(told.contains("SASL authentication failed"), "{mechanism} {header}: {told}");
        pooler.wait_log(words);
    }
    assert_eq!(bound_psql(&pooler).run(), APP.name);
}

#[test]
fn a_stranger_between_client_and_pooler_is_found_out() {
    let pooler = demanding().start();
    let stranger = Stranger::before(pooler.port);
    let psql = || Tool::psql(stranger.port, &APP, "app").env("PGSSLMODE", "require");
    // By libpq's own choice, which binds where it can.
    psql().args(["-c", "select 1"]).fail();
    pooler.wait_log(&["login refused:", "channel binding does not match"]);
    // Whoever wants no binding does not notice.
    assert_eq!(psql().env("PGCHANNELBINDING", "disable").args(["-c", "select 1"]).run(), "1");
}

#[test]
fn a_stranger_between_pooler_and_postgresql_is_found_out() {
    let stranger = Stranger::before(postgres_with_tls().port);
    let through = |port: u16| {
        Setup::empty()
            .database("app", &format!("host=localhost port={port}"))
            .set("server_tls_sslmode", "require")
            .set("query_wait_timeout", "3")
            .start()
    };
    let pooler = through(stranger.port);
    Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
    pooler.wait_log(&["SCRAM channel binding check failed"]);
    // The stranger passes on what asks for no binding.
    let direct = Tool::psql(stranger.port, &APP, "app").env("PGSSLMODE", "require");
    let direct = direct.env("PGCHANNELBINDING", "disable");
    assert_eq!(direct.args(["-c", "select 1"]).run(), "1");
    let pooler = through(postgres_with_tls().port);
    assert_eq!(Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).run(), "1");
}

#[test]
fn the_keys_of_a_client_that_was_bound_open_a_server_that_binds() {
    let secret = scram_secret(APP.password, b"a pinch of salt.", 4096);
    let mut session = postgres_with_tls().session("app");
    let create = format!("create role app_bound login password '{secret}'");
    session.query(&create).expect("a new role");
    let role = Role { name: "app_bound", ..APP };
    let pooler = offering("prefer")
        .set("auth_type", "scram-sha-256")
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .secret(role.name, &secret)
        .set("server_tls_sslmode", "require")
        .start();
    for binding in ["require", "prefer", "disable"] {
        let psql = Tool::psql(pooler.port, &role, "app").env("PGSSLMODE", "require");
        let psql = psql.env("PGCHANNELBINDING", binding).args(["-c", "select current_user"]);
        assert_eq!(psql.run(), role.name, "{binding}");
        pooler.console().query("reconnect").expect("RECONNECT");
    }
}

/// Somebody who ends TLS in the middle, by a certificate of the same authority, and passes on what
/// he reads.
pub struct Stranger {
    pub port: u16,
}

impl Stranger {
    pub fn before(target: u16) -> Stranger {
        Stranger::showing(signed(root(), "localhost", &["localhost"], p256()), target)
    }

    /// The same with a certificate of the test's choice.
    pub fn showing(pair: Pair, target: u16) -> Stranger {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("an address").port();
        std::thread::spawn(move || {
            let acceptor = acceptor(&pair);
            for stream in listener.incoming().flatten() {
                let acceptor = acceptor.clone();
                std::thread::spawn(move || stand_between(stream, &acceptor, target));
            }
        });
        Stranger { port }
    }
}

pub fn acceptor(pair: &Pair) -> SslAcceptor {
    let mut builder = SslAcceptor::mozilla_intermediate_v5(SslMethod::tls_server()).expect("ready");
    pair.put_into(&mut builder);
    builder.build()
}

/// Passes bytes on until one side ends; what fails ends it, too.
fn stand_between(mut victim: TcpStream, acceptor: &SslAcceptor, target: u16) -> Option<()> {
    let mut request = [0; 8];
    victim.read_exact(&mut request).ok()?;
    victim.write_all(b"S").ok()?;
    let mut here = acceptor.accept(victim).ok()?;
    let mut server = TcpStream::connect(("127.0.0.1", target)).ok()?;
    server.write_all(&request).ok()?;
    server.read_exact(&mut [0]).ok()?;
    let mut there = shake_hands(server, None).ok()?;
    for stream in [&here, &there] {
        stream.get_ref().set_read_timeout(Some(Duration::from_millis(5))).ok()?;
    }
    loop {
        pass(&mut here, &mut there)?;
        pass(&mut there, &mut here)?;
    }
}

/// Passes on what has come. None at the end.
fn pass(from: &mut SslStream<TcpStream>, to: &mut SslStream<TcpStream>) -> Option<()> {
    let mut block = [0; 16_384];
    match from.ssl_read(&mut block) {
        Ok(count) => to.write_all(&block[..count]).ok(),
        Err(error) if error.code() == openssl::ssl::ErrorCode::WANT_READ => Some(()),
        Err(_) => None,
    }
}
