//! Peers that break TLS, or use it to do harm: what they do stays the matter of one connection,
//! which ends with a line that says why.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};

use super::binding::{Stranger, acceptor};
use super::support::certificates::{Pair, ending, of_tomorrow, p256, signed};
use super::support::fake::{self, FakeServer};
use super::support::postgres::APP;
use super::support::rng::Rng;
use super::support::tool::Tool;
use super::support::{Pooler, Setup, Witness, eventually, wire};
use super::{offering, postgres_with_tls, psql, read_until, root};

/// A stream whose writes wait until the test lets them go, whole or in part.
pub struct Held {
    stream: TcpStream,
    waiting: Vec<u8>,
    is_open: bool,
}

impl Held {
    pub fn new(stream: TcpStream) -> Held {
        Held { stream, waiting: Vec::new(), is_open: true }
    }

    /// From now on nothing is sent.
    pub fn shut(&mut self) {
        self.is_open = false;
    }

    /// Takes what was written since the stream was shut, without sending it.
    pub fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.waiting)
    }
}

impl Read for Held {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.stream.read(into)
    }
}

impl Write for Held {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.is_open {
            return self.stream.write(from);
        }
        self.waiting.extend_from_slice(from);
        Ok(from.len())
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A connection that has been answered with yes.
pub fn agreed(pooler: &Pooler) -> TcpStream {
    let mut stream = TcpStream::connect(("127.0.0.1", pooler.port)).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(20))).expect("a limit");
    stream.write_all(&wire::packet(80_877_103, b"")).expect("a request");
    let mut answer = [0];
    stream.read_exact(&mut answer).expect("an answer");
    assert_eq!(&answer, b"S");
    stream
}

fn connect<S: Read + Write>(stream: S) -> Result<SslStream<S>, String> {
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a context");
    connector.set_verify(SslVerifyMode::NONE);
    let connect = connector.build().configure().expect("a context");
    let connected = connect.verify_hostname(false).connect("localhost", stream);
    connected.map_err(|error| match error {
        HandshakeError::SetupFailure(errors) => errors.to_string(),
        HandshakeError::Failure(middle) | HandshakeError::WouldBlock(middle) => {
            middle.error().to_string()
        }
    })
}

/// A client that is logged in, and whose next record can be held.
fn logged_in(pooler: &Pooler) -> SslStream<Held> {
    let mut stream = connect(Held::new(agreed(pooler))).expect("a handshake");
    stream.write_all(&wire::startup(&[("user", APP.name), ("database", "app")])).expect("sent");
    let mut came = Vec::new();
    while !came.ends_with(b"Z\0\0\0\x05I") {
        let mut block = [0; 4096];
        let count = stream.read(&mut block).expect("a welcome");
        assert!(count > 0, "the end came before the welcome");
        came.extend_from_slice(&block[..count]);
    }
    stream.get_mut().shut();
    stream
}

/// The first bytes of a handshake.
pub fn client_hello() -> Vec<u8> {
    struct Nobody(Vec<u8>);
    impl Read for Nobody {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Ok(0)
        }
    }
    impl Write for Nobody {
        fn write(&mut self, from: &[u8]) -> io::Result<usize> {
            self.0.extend_from_slice(from);
            Ok(from.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("a context");
    connector.set_alpn_protos(b"\x0apostgresql").expect("a protocol");
    let ssl = connector.build().configure().expect("a context").into_ssl("localhost");
    let mut stream = SslStream::new(ssl.expect("ready"), Nobody(Vec::new())).expect("ready");
    let _ = stream.connect();
    stream.get_ref().0.clone()
}

const ALERT: &[u8] = b"\x15\x03\x03\0\x02\x02\x28";

#[test]
fn a_handshake_that_is_cut_at_any_byte_disturbs_nobody() {
    let pooler = offering("prefer").set("max_client_conn", "1000").start();
    let witness = Witness::start(pooler.port);
    let hello = client_hello();
    assert!(hello.len() > 200, "{} bytes", hello.len());
    for cut in 0..hello.len() {
        let mut asked = agreed(&pooler);
        asked.write_all(&hello[..cut]).expect("sent");
        // TLS at once, in two pieces: the second comes from a closed door.
        let mut direct = TcpStream::connect(("127.0.0.1", pooler.port)).expect("a connection");
        direct.write_all(&hello[..cut]).expect("sent");
    }
    pooler.wait_log(&["TLS handshake error: handshake failed: the connection was closed"]);
    assert_eq!(psql(&pooler, "require").run(), "in");
    witness.finish();
}

#[test]
fn a_record_that_is_cut_at_any_byte_ends_one_connection() {
    let pooler = offering("require").start();
    let mut cut = 0;
    loop {
        let mut stream = logged_in(&pooler);
        stream.write_all(&wire::query("select 'never run' as cut")).expect("held");
        let record = stream.get_mut().take();
        if cut >= record.len() {
            break;
        }
        stream.get_mut().stream.write_all(&record[..cut]).expect("sent");
        cut += 1;
    }
    eventually("the clients to be gone", || {
        let shown = psql(&pooler, "require").run();
        let count = pooler.log().matches("closing because: client unexpected eof").count();
        (shown == "in" && count >= cut).then_some(())
    });
}

#[test]
fn what_is_no_record_ends_a_connection_that_was_under_tls() {
    let pooler = offering("require").start();
    let plain = wire::query("select 'in plain'");
    for garbage in
        [&plain[..], ALERT, &[0; 100], b"\x17\x03\x03\0\x20garbage that has no meaning.."]
    {
        let mut stream = logged_in(&pooler);
        let socket = &mut stream.get_mut().stream;
        socket.write_all(garbage).expect("sent");
        // More may be waited for, if it looks like the head of a record; else the pooler may have
        // closed already.
        let _ = socket.write_all(&[0; 20_000]);
        let mut told = Vec::new();
        let _ = stream.get_mut().stream.read_to_end(&mut told);
        assert!(!told.windows(8).any(|word| word == b"in plain"), "it was run");
    }
    eventually("four ends", || {
        (pooler.log().matches("closing because: TLS: ").count() >= 3).then_some(())
    });
    assert_eq!(psql(&pooler, "require").run(), "in");
}

#[test]
fn an_alert_at_any_moment_of_a_handshake_ends_it() {
    let pooler = offering("require").start();
    let hello = client_hello();
    for begin in [0, 5, hello.len()] {
        let mut stream = agreed(&pooler);
        stream.write_all(&hello[..begin]).expect("sent");
        stream.write_all(ALERT).expect("sent");
        let mut told = Vec::new();
        stream.shutdown(std::net::Shutdown::Write).expect("shut");
        let _ = stream.read_to_end(&mut told);
    }
    eventually("three ends", || {
        (pooler.log().matches("TLS handshake error: handshake failed: ").count() == 3).then_some(())
    });
    assert_eq!(psql(&pooler, "require").run(), "in");
}

#[test]
fn mutations_of_a_handshake_harm_nobody() {
    let pooler = offering("prefer").set("max_client_conn", "1000").start();
    let witness = Witness::start(pooler.port);
    let (before, hello) = (pooler.resident_kb(), client_hello());
    for seed in 0..300 {
        let mut rng = Rng::new(seed);
        let mut data = hello.clone();
        for _ in 0..1 + rng.below(6) {
            let at = rng.below(data.len());
            match rng.below(4) {
                0 => data[at] = rng.below(256) as u8,
                1 => drop(data.splice(at..=at, [])),
                2 => data.insert(at, rng.below(256) as u8),
                _ => data.extend_from_within(at..),
            }
        }
        let mut stream = match rng.below(2) {
            0 => TcpStream::connect(("127.0.0.1", pooler.port)).expect("a connection"),
            _ => agreed(&pooler),
        };
        // The pooler may have hung up in the middle.
        let _ = stream.write_all(&data);
        assert!(pooler.is_alive(), "seed {seed}");
    }
    assert_eq!(psql(&pooler, "require").run(), "in");
    witness.finish();
    let grown = pooler.resident_kb().saturating_sub(before);
    assert!(grown < 10_000, "grown by {grown} kB");
}

/// What a server does once it has said yes, and what the log says of it.
type Deed = (fn(&mut TcpStream), &'static [&'static str]);

const DEEDS: &[Deed] = &[
    (|_| (), &["TLS handshake error: handshake failed: the connection was closed"]),
    (|stream| answer_hello(stream, ALERT), &["TLS handshake error: handshake failed: "]),
    (|stream| answer_hello(stream, &[0x16; 400]), &["TLS handshake error: handshake failed: "]),
    (
        |stream| answer_hello(stream, b"\x16\x03\x03\0\x7a\x02\0\0\x76\x03\x03"),
        &["TLS handshake error: handshake failed: the connection was closed"],
    ),
];

/// Reads the beginning of a handshake first: what is sent before it comes with the yes.
fn answer_hello(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.read(&mut [0; 4096]);
    let _ = stream.write_all(bytes);
}

#[test]
fn a_server_that_breaks_the_handshake_costs_one_login() {
    for (deed, words) in DEEDS {
        let server = FakeServer::start(move |peer| {
            let _ = peer.hear_startup();
            peer.send(b"S");
            deed(&mut peer.stream);
        });
        let pooler = Setup::empty()
            .database("app", &format!("host=127.0.0.1 port={}", server.port))
            .database(
                "good",
                &format!("host=localhost port={} dbname=app", postgres_with_tls().port),
            )
            .set("server_tls_sslmode", "require")
            .set("query_wait_timeout", "2")
            .start();
        Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
        pooler.wait_log(words);
        assert_eq!(Tool::psql(pooler.port, &APP, "good").args(["-c", "select 1"]).run(), "1");
    }
}

#[test]
fn a_server_that_ends_within_a_record_costs_its_client_only() {
    static CUT: AtomicUsize = AtomicUsize::new(0);
    static LENGTH: AtomicUsize = AtomicUsize::new(usize::MAX);
    let pair = signed(root(), "localhost", &["localhost"], p256());
    let server = FakeServer::start(move |peer| {
        let _ = peer.hear_startup();
        peer.send(b"S");
        let Ok(stream) = peer.stream.try_clone() else { return };
        let Ok(mut secured) = acceptor(&pair).accept(Held::new(stream)) else { return };
        let mut block = [0; 4096];
        let _ = secured.read(&mut block);
        let _ = secured.write_all(&fake::welcome());
        // A query comes; its answer breaks off.
        let _ = secured.read(&mut block);
        secured.get_mut().shut();
        let _ = secured.write_all(&wire::message(b'C', b"SELECT 0\0"));
        let record = secured.get_mut().take();
        LENGTH.store(record.len(), Ordering::SeqCst);
        let cut = CUT.load(Ordering::SeqCst);
        let _ = secured.get_mut().stream.write_all(&record[..cut]);
    });
    let pooler = Setup::empty()
        .database("app", &format!("host=127.0.0.1 port={}", server.port))
        .set("server_tls_sslmode", "require")
        .start();
    while CUT.load(Ordering::SeqCst) < LENGTH.load(Ordering::SeqCst) {
        let told = pooler.client().query("select 1").expect_err("its answer breaks off");
        assert!(told.message().contains("server conn crashed?"), "{told:?}");
        CUT.fetch_add(1, Ordering::SeqCst);
    }
    assert!(pooler.is_alive());
}

#[test]
fn a_server_whose_certificate_is_out_of_its_time_is_refused_when_verified() {
    let pairs: [(Pair, &str); 2] = [
        (ending(root(), "localhost", -1, p256()), "certificate has expired"),
        (of_tomorrow(root(), "localhost", p256()), "certificate is not yet valid"),
    ];
    for (pair, why) in pairs {
        let server = Stranger::showing(pair, postgres_with_tls().port);
        let line = |keys: &str| format!("host=localhost port={} dbname=app {keys}", server.port);
        let verified = "sslmode=verify-ca sslrootcert={dir}/root.crt channel_binding=disable";
        let pooler = Setup::empty()
            .file("root.crt", &root().certificate())
            .database("app", &line(verified))
            .database("careless", &line("sslmode=require channel_binding=disable"))
            .set("query_wait_timeout", "2")
            .start();
        Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
        pooler.wait_log(&["certificate verify failed", why]);
        let careless = Tool::psql(pooler.port, &APP, "careless").args(["-c", "select 1"]);
        assert_eq!(careless.run(), "1");
    }
}

#[test]
fn versions_and_ciphers_that_are_not_shared_are_told() {
    let pooler = offering("require").set("client_tls_protocols", "tlsv1.3").start();
    let psql = Tool::psql(pooler.port, &APP, "app")
        .env("PGSSLMODE", "require")
        .env("PGSSLMAXPROTOCOLVERSION", "TLSv1.2");
    psql.args(["-c", "select 1"]).fail();
    pooler.wait_log(&["TLS handshake error: handshake failed: unsupported protocol"]);
    let pooler = Setup::empty()
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .set("server_tls_sslmode", "require")
        .set("server_tls_protocols", "tlsv1.0")
        .set("query_wait_timeout", "2")
        .start();
    Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
    pooler.wait_log(&["TLS handshake error: handshake failed: "]);
}

#[test]
fn a_copy_goes_on_over_new_keys() {
    let pooler = offering("require").set("client_tls_protocols", "tlsv1.3").start();
    let mut stream = super::secured(&pooler);
    super::log_in(&mut stream);
    let begin = "begin; create temp table t (a text) on commit drop; copy t from stdin";
    stream.write_all(&wire::query(begin)).expect("sent");
    let row = wire::message(b'd', format!("{}\n", "y".repeat(5000)).as_bytes());
    for turn in 0..200 {
        stream.write_all(&row).expect("sent");
        if turn % 20 == 0 {
            super::keys::update(&stream);
        }
    }
    stream.write_all(&wire::message(b'c', b"")).expect("sent");
    read_until(&mut stream, b"Z\0\0\0\x05T");
    stream.write_all(&wire::query("select sum(length(a)) from t")).expect("sent");
    let came = read_until(&mut stream, b"Z\0\0\0\x05T");
    assert!(came.windows(7).any(|word| word == b"1000000"), "all of it has come");
}
