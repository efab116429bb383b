//! TLS with clients and with servers: what each mode takes and refuses, who is let in by a
//! certificate, what is told of what goes wrong, and that bytes arrive whole.

#![cfg(feature = "tls")]

#[path = "tls/binding.rs"]
mod binding;
#[path = "tls/databases.rs"]
mod databases;
#[path = "tls/drivers.rs"]
mod drivers;
#[path = "tls/faults.rs"]
mod faults;
#[path = "tls/flood.rs"]
mod flood;
#[path = "tls/hostile.rs"]
mod hostile;
#[path = "tls/keys.rs"]
mod keys;
#[path = "tls/living.rs"]
mod living;
#[path = "tls/names.rs"]
mod names;
#[path = "tls/pages.rs"]
mod pages;
#[path = "tls/recipes.rs"]
mod recipes;
#[path = "tls/reload.rs"]
mod reload;
#[path = "tls/servers.rs"]
mod servers;
mod support;
#[path = "tls/turns.rs"]
mod turns;
#[path = "tls/ways.rs"]
mod ways;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::OnceLock;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslMethod, SslStream, SslVerifyMode};
use support::certificates::{Pair, authority, ed25519, p256, rsa, signed};
use support::postgres::{APP, TRUSTED};
use support::tool::Tool;
use support::wire::{self, Wire};
use support::{Pooler, Postgres, Setup, eventually, host};

/// The authority of all certificates here.
fn root() -> &'static Pair {
    static ROOT: OnceLock<Pair> = OnceLock::new();
    ROOT.get_or_init(authority)
}

/// Adds the files `NAME.crt` and `NAME.key` to a setup.
fn with_pair(setup: Setup, name: &str, pair: &Pair) -> Setup {
    setup
        .file(&format!("{name}.crt"), &pair.certificate())
        .file(&format!("{name}.key"), &pair.key())
        .file("root.crt", &root().certificate())
}

/// A pooler that offers TLS to clients, by a certificate for localhost.
fn offering(mode: &str) -> Setup {
    let own = signed(root(), "localhost", &["localhost"], p256());
    with_pair(Setup::new(), "own", &own)
        .set("client_tls_sslmode", mode)
        .set("client_tls_key_file", "{dir}/own.key")
        .set("client_tls_cert_file", "{dir}/own.crt")
        .set("client_tls_ca_file", "{dir}/root.crt")
}

fn psql(pooler: &Pooler, sslmode: &str) -> Tool {
    Tool::psql(pooler.port, &APP, "app").env("PGSSLMODE", sslmode).args(["-Atc", "select 'in'"])
}

/// A connection that has asked for TLS, and what it was answered.
fn asked(pooler: &Pooler) -> (TcpStream, u8) {
    asked_at(pooler.port)
}

fn asked_at(port: u16) -> (TcpStream, u8) {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream.write_all(&wire::packet(80_877_103, b"")).expect("a request");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    (stream, answer[0])
}

/// A connection under TLS, past the SSLRequest.
fn secured(pooler: &Pooler) -> SslStream<TcpStream> {
    let (stream, answer) = asked(pooler);
    assert_eq!(answer, b'S');
    shake_hands(stream, None).expect("a handshake")
}

fn shake_hands(stream: TcpStream, protocol: Option<&[u8]>) -> Result<SslStream<TcpStream>, String> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a context");
    connector.set_verify(SslVerifyMode::NONE);
    if let Some(protocol) = protocol {
        connector.set_alpn_protos(protocol).expect("a protocol");
    }
    let connect = connector.build().configure().expect("a context");
    connect.verify_hostname(false).connect("localhost", stream).map_err(|error| error.to_string())
}

/// Logs in over a connection under TLS.
fn log_in(stream: &mut SslStream<TcpStream>) {
    stream.write_all(&wire::startup(&[("user", APP.name), ("database", "app")])).expect("sent");
    read_until(stream, b"Z\0\0\0\x05I");
}

/// Reads until what came ends so.
fn read_until(stream: &mut SslStream<TcpStream>, end: &[u8]) -> Vec<u8> {
    let mut came = Vec::new();
    let mut block = [0; 65_536];
    while !came.ends_with(end) {
        let count = stream.read(&mut block).expect("more");
        assert!(count > 0, "the end came before {end:?}");
        came.extend_from_slice(&block[..count]);
    }
    came
}

#[test]
fn each_mode_takes_the_clients_that_it_should() {
    for (mode, plain, under_tls, with_certificate) in [
        ("disable", true, false, false),
        ("allow", true, true, true),
        ("prefer", true, true, true),
        ("require", false, true, true),
        ("verify-ca", false, false, true),
        ("verify-full", false, false, true),
    ] {
        let pooler = offering(mode).start();
        let mine = signed(root(), "app", &[], p256());
        let (crt, key) = (pooler.folder.join("app.crt"), pooler.folder.join("app.key"));
        host::write_file(&crt, mine.certificate());
        host::write_file(&key, mine.key());
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a mode");
        let certified = psql(&pooler, "require")
            .env("PGSSLCERT", &crt.to_string_lossy())
            .env("PGSSLKEY", &key.to_string_lossy());
        let bare = psql(&pooler, "require").env("PGSSLCERT", "/nonexistent");
        for (tool, is_let_in) in
            [(psql(&pooler, "disable"), plain), (bare, under_tls), (certified, with_certificate)]
        {
            let output = tool.output();
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            assert_eq!(output.status.success(), is_let_in, "{mode}: {said}");
        }
        match mode {
            "require" => {
                let said = psql(&pooler, "disable").fail();
                assert!(said.contains("SSL required"), "{said}");
                assert!(said.contains("client_tls_sslmode lets nobody in without TLS"), "{said}");
            }
            "disable" => drop(pooler.wait_log(&[
                "closing because: client requires TLS, which client_tls_sslmode denies",
            ])),
            _ => {}
        }
    }
}

#[test]
fn a_certificate_of_another_authority_is_refused_in_every_mode() {
    let stranger = authority();
    let theirs = signed(&stranger, "app", &[], p256());
    for mode in ["allow", "require", "verify-full"] {
        let pooler = with_pair(offering(mode), "theirs", &theirs).start();
        let key = pooler.folder.join("theirs.key");
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a mode");
        psql(&pooler, "require")
            .env("PGSSLCERT", &pooler.folder.join("theirs.crt").to_string_lossy())
            .env("PGSSLKEY", &key.to_string_lossy())
            .fail();
        pooler.wait_log(&["WARNING", "TLS handshake error: handshake failed:", "verify failed"]);
    }
}

#[test]
fn login_by_certificate_takes_the_name_that_it_bears() {
    let pooler = offering("verify-full").set("auth_type", "cert").start();
    for (name, is_let_in) in [("app", true), ("somebody", false)] {
        let pair = signed(root(), name, &[], p256());
        let (crt, key) = (pooler.folder.join("c.crt"), pooler.folder.join("c.key"));
        host::write_file(&crt, pair.certificate());
        host::write_file(&key, pair.key());
        std::fs::set_permissions(&key, std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .expect("a mode");
        let output = psql(&pooler, "require")
            .env("PGSSLCERT", &crt.to_string_lossy())
            .env("PGSSLKEY", &key.to_string_lossy())
            .output();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.success(), is_let_in, "{name}: {said}");
        if !is_let_in {
            assert!(said.contains("certificate authentication failed"), "{said}");
            pooler.wait_log(&["ERROR", "TLS certificate name mismatch"]);
        }
    }
    // Without TLS there is no certificate; a Unix socket has none.
    let said = Tool::psql(pooler.port, &APP, "app")
        .env("PGHOST", &pooler.folder.to_string_lossy())
        .args(["-h", &pooler.folder.to_string_lossy(), "-c", "select 1"])
        .fail();
    assert!(said.contains("certificate authentication failed"), "{said}");
    pooler.wait_log(&["ERROR", "TLS connection required"]);
    // Below verify-ca the handshake asks for one, and does without.
    let pooler = offering("require").set("auth_type", "cert").start();
    let said = psql(&pooler, "require").fail();
    assert!(said.contains("certificate authentication failed"), "{said}");
    pooler.wait_log(&["ERROR", "TLS client certificate required"]);
}

#[test]
fn the_console_and_the_log_tell_version_and_cipher() {
    let pooler = offering("prefer").start();
    let mut stream = secured(&pooler);
    log_in(&mut stream);
    let tls = pooler.shown("show clients", "user", APP.name, "tls").expect("the client");
    assert!(tls.starts_with("TLSv1.3/TLS_"), "{tls}");
    pooler.wait_log(&["login attempt: db=app user=app tls=TLSv1.3/TLS_"]);
    drop(stream);
}

#[test]
fn tls_at_once_is_taken_and_must_say_what_it_speaks() {
    let pooler = offering("require").start();
    let connect = || TcpStream::connect(("127.0.0.1", pooler.port)).expect("a connection");
    let mut stream = shake_hands(connect(), Some(b"\x0apostgresql")).expect("a handshake");
    log_in(&mut stream);
    stream.write_all(&wire::query("select 'direct'")).expect("sent");
    let came = read_until(&mut stream, b"Z\0\0\0\x05I");
    assert!(came.windows(6).any(|word| word == b"direct"));
    // Another protocol is refused by an alert, and none by the end of the connection.
    let refused = shake_hands(connect(), Some(b"\x08http/1.1"));
    assert!(refused.is_err(), "no such protocol here");
    if let Ok(mut stream) = shake_hands(connect(), None) {
        let mut byte = [0];
        assert!(!matches!(stream.read(&mut byte), Ok(1)), "nothing is said");
    }
    pooler.wait_log(&["no application protocol"]);
}

#[test]
fn large_results_and_copies_arrive_whole_in_records_of_8_kb() {
    let pooler = offering("require").start();
    let mut stream = secured(&pooler);
    log_in(&mut stream);
    let sql = "select repeat('x', 1000) from generate_series(1, 5000)";
    stream.write_all(&wire::query(sql)).expect("sent");
    let (mut came, mut largest) = (0, 0);
    let mut block = vec![0; 65_536];
    let mut tail = Vec::new();
    while !tail.ends_with(b"Z\0\0\0\x05I") {
        // One call of the library gives what is left of one record at most.
        let count = stream.ssl_read(&mut block).expect("more");
        (came, largest) = (came + count, largest.max(count));
        tail.extend_from_slice(&block[..count]);
        tail.drain(..tail.len().saturating_sub(16));
    }
    assert!(came > 5_000_000, "{came} bytes");
    assert!(largest <= 8192, "a record of {largest} bytes");
    // In the other direction, with records of 16 kB and in pieces that end anywhere.
    stream.write_all(&wire::query("create temp table t (a text)")).expect("sent");
    read_until(&mut stream, b"Z\0\0\0\x05I");
    let mut copy =
        wire::query("begin; create table copied_by_tls (a text); copy copied_by_tls from stdin");
    let row = format!("{}\n", "y".repeat(70_000));
    for _ in 0..100 {
        copy.extend(wire::message(b'd', row.as_bytes()));
    }
    copy.extend(wire::message(b'c', b""));
    stream.write_all(&copy).expect("sent");
    read_until(&mut stream, b"Z\0\0\0\x05T");
    stream
        .write_all(&wire::query("select sum(length(a)) from copied_by_tls; rollback"))
        .expect("sent");
    let came = read_until(&mut stream, b"Z\0\0\0\x05I");
    assert!(came.windows(7).any(|word| word == b"7000000"), "all of it has come");
}

#[test]
fn a_reader_that_is_slow_gets_everything() {
    let pooler = offering("require").start();
    let mut stream = secured(&pooler);
    log_in(&mut stream);
    stream.write_all(&wire::query("select repeat('z', 20000000)")).expect("sent");
    // Another client is served while this one does not read.
    eventually("another answer", || {
        let said = psql(&pooler, "require").run();
        (said.trim() == "in").then_some(())
    });
    let came = read_until(&mut stream, b"Z\0\0\0\x05I");
    assert!(came.len() > 20_000_000);
}

#[test]
fn bytes_behind_the_request_and_garbage_end_one_connection_only() {
    let pooler = offering("prefer").start();
    let mut stuffed = Wire::connect(pooler.port);
    let mut bytes = wire::packet(80_877_103, b"");
    bytes.extend(wire::startup(&[("user", APP.name), ("database", "app")]));
    assert!(stuffed.send(&bytes));
    let told = stuffed.hear_to_the_end();
    assert!(told.iter().all(|message| message.kind == b'E'), "{told:?}");
    pooler.wait_log(&["received unencrypted data after SSL request"]);
    // A handshake that is none, cut at every byte of its first record's head.
    for garbage in [&b"\x16\x03\x01\x02\0\x01"[..], b"\x16", b"GET / HTTP/1.0\r\n\r\n", &[0; 64]] {
        let mut stream = TcpStream::connect(("127.0.0.1", pooler.port)).expect("a connection");
        stream.write_all(&wire::packet(80_877_103, b"")).expect("a request");
        let mut answer = [0];
        stream.read_exact(&mut answer).expect("an answer");
        stream.write_all(garbage).expect("sent");
    }
    pooler.wait_log(&["TLS handshake error: handshake failed:"]);
    assert_eq!(psql(&pooler, "require").run().trim(), "in");
}

#[test]
fn certificates_of_all_kinds_of_keys_serve() {
    for key in [p256(), rsa(), ed25519()] {
        let pair = signed(root(), "localhost", &["127.0.0.1"], key);
        let pooler = with_pair(offering("require"), "own", &pair).start();
        let ca = pooler.folder.join("root.crt");
        let said = psql(&pooler, "verify-full").env("PGSSLROOTCERT", &ca.to_string_lossy()).run();
        assert_eq!(said.trim(), "in");
    }
}

/// A change that makes a good setup impossible, and what is said of it.
type Spoiled = (fn(Setup, &Pair) -> Setup, &'static str);

const SPOILED: &[Spoiled] = &[
    (|setup, _| setup.set("client_tls_key_file", ""), "client_tls_key_file and"),
    (|setup, _| setup.set("client_tls_cert_file", "{dir}/none"), "No such file or directory"),
    (|setup, _| setup.set("client_tls_cert_file", "{dir}"), "it is no regular file"),
    (|setup, _| setup.file("own.crt", ""), "it holds no certificate in PEM"),
    (|setup, other| setup.file("own.key", &other.key()), "key values mismatch"),
    (|setup, _| setup.file("own.key", ENCRYPTED), "it is encrypted"),
    (|setup, _| setup.set("client_tls_protocols", "tlsv9"), "invalid client_tls_protocols"),
    (|setup, _| setup.set("client_tls_ciphers", "nonsense"), "invalid client_tls_ciphers"),
    (|setup, _| setup.set("client_tls13_ciphers", "unknown"), "TLSv1.3 cipher suites"),
    (|setup, _| setup.set("server_tls_ciphers", "nonsense"), "invalid server_tls_ciphers"),
];

const ENCRYPTED: &str = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGb\n\
                         -----END ENCRYPTED PRIVATE KEY-----\n";

#[test]
fn what_cannot_be_set_up_ends_the_start() {
    let other = signed(root(), "localhost", &[], p256());
    for (spoil, why) in SPOILED {
        let (status, said) = spoil(offering("require"), &other).refused();
        assert_eq!(status.code(), Some(1));
        assert!(said.contains(why) && said.contains("TLS setup failed"), "{why}: {said}");
    }
}

#[test]
fn what_cannot_be_set_up_leaves_a_running_pooler_as_it_was() {
    let other = signed(root(), "localhost", &[], p256());
    let good = offering("require");
    let pooler = good.clone().start();
    let console = |command: &str| {
        let tool = Tool::psql(pooler.port, &support::pooler::ADMIN, "pgbouncer");
        tool.env("PGSSLMODE", "require").args(["-c", command])
    };
    for (spoil, why) in SPOILED {
        pooler.rewrite(|_| spoil(good.clone(), &other));
        console("reload").fail();
        pooler.wait_log(&[why, "TLS configuration could not be reloaded"]);
        assert_eq!(psql(&pooler, "require").run().trim(), "in");
    }
    // SET takes one setting at a time: the old context serves until a new one can be made.
    console("set client_tls_sslmode = disable").run();
    assert_eq!(psql(&pooler, "disable").run().trim(), "in");
    psql(&pooler, "require").fail();
    let plain = |command: &str| {
        let tool = Tool::psql(pooler.port, &support::pooler::ADMIN, "pgbouncer");
        tool.args(["-c", command]).run()
    };
    plain("set client_tls_cert_file = '/nonexistent'");
    plain("set client_tls_sslmode = require");
    pooler.wait_log(&["ERROR TLS setup failed: failed to load certificate file \"/nonexistent\""]);
    assert_eq!(psql(&pooler, "disable").run().trim(), "in");
}

#[test]
fn a_new_certificate_is_shown_after_reload_and_nobody_is_refused() {
    let good = offering("require");
    let pooler = good.clone().start();
    let shown = || {
        let stream = secured(&pooler);
        let certificate = stream.ssl().peer_certificate().expect("one is shown");
        certificate.serial_number().to_bn().expect("a number").to_string()
    };
    let before = shown();
    let mut old = secured(&pooler);
    log_in(&mut old);
    let fresh = signed(root(), "localhost", &["localhost"], p256());
    pooler.rewrite(|_| with_pair(good.clone(), "own", &fresh));
    pooler.signal("HUP");
    eventually("the new certificate", || (shown() != before).then_some(()));
    old.write_all(&wire::query("select 'old'")).expect("sent");
    read_until(&mut old, b"Z\0\0\0\x05I");
}

/// A PostgreSQL with TLS, by a certificate for localhost.
fn postgres_with_tls() -> &'static Postgres {
    static POSTGRES: OnceLock<Postgres> = OnceLock::new();
    POSTGRES.get_or_init(|| {
        let postgres = Postgres::start();
        let pair = signed(root(), "localhost", &["localhost"], p256());
        let data = postgres.socket.join("data");
        host::write_file(&data.join("server.crt"), pair.certificate());
        host::write_file(&data.join("server.key"), pair.key());
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(data.join("server.key"), mode).expect("a mode");
        host::write_file(&data.join("root.crt"), root().certificate());
        let mut session = postgres.session("app");
        for setting in ["ssl = on", "ssl_ca_file = 'root.crt'"] {
            session.query(&format!("alter system set {setting}")).expect("a setting");
        }
        postgres.one("select pg_reload_conf()");
        eventually("TLS", || (postgres.one("show ssl") == "on").then_some(()));
        postgres
    })
}

const UNDER_TLS: &str = "select ssl from pg_stat_ssl where pid = pg_backend_pid()";

#[test]
fn rules_of_the_hba_file_tell_tls_from_plain() {
    let rules = "hostssl all app all cert\nhostnossl all app_trust all trust\n\
                 hostssl all all all reject\n";
    let pooler = offering("allow")
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .file("hba.conf", rules)
        .start();
    let attempt = |role: &support::postgres::Role, sslmode: &str| {
        Tool::psql(pooler.port, role, "app").env("PGSSLMODE", sslmode).args(["-c", "select 1"])
    };
    attempt(&TRUSTED, "disable").run();
    attempt(&TRUSTED, "require").fail();
    attempt(&APP, "disable").fail();
    let said = attempt(&APP, "require").fail();
    assert!(said.contains("certificate authentication failed"), "{said}");
}
