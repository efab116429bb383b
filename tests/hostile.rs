//! The built program between peers that mean ill, or are broken: on the client's side garbage,
//! lies about lengths, words out of turn, SCRAM cut at every byte, readers that stop and writers
//! that trickle; on the server's side nonsense, floods and sudden ends.
//!
//! Whatever happens, it stays the matter of one connection: after each case another client has
//! noticed nothing, the pooler lives and has not grown, and its log says why it hung up.

mod support;

use std::io::{Read, Write};
use std::net::TcpStream;
use std::slice::from_ref;
use std::thread;
use std::time::Duration;

use support::client::{Answer, Failure, Login};
use support::postgres::{APP, GUIDE};
use support::scram::{MECHANISM, ScramClient};
use support::wire::{self, Gone, PROTOCOL_3_0, SSL_REQUEST, Wire};
use support::{
    Client, FakeServer, PATIENCE, Pooler, Postgres, Setup, Witness, eventually, fake, host, within,
};

const GSSENC_REQUEST: u32 = 80_877_104;

/// Lengths that no message may have: below what the length itself takes, and negative.
const IMPOSSIBLE: [u32; 5] = [0, 3, 0x8000_0000, 0xffff_fffe, 0xffff_ffff];
/// The largest length that a head can name.
const LARGEST: u32 = 0x7fff_ffff;

/// How much a pooler may grow while one peer misbehaves, in kB.
const GROWTH: u64 = 10_000;

/// A pooler with a witness beside the misbehaviour.
struct Scene {
    witness: Witness,
    pooler: Pooler,
    before_kb: u64,
}

fn with_auth(auth_type: &str) -> Setup {
    Setup::new()
        .set("auth_type", auth_type)
        .set("client_login_timeout", "10")
        .set("max_client_conn", "1000")
}

impl Scene {
    fn new(setup: Setup) -> Scene {
        let pooler = setup.start();
        let witness = Witness::start(pooler.port);
        let before_kb = pooler.resident_kb();
        Scene { witness, pooler, before_kb }
    }

    fn with_auth(auth_type: &str) -> Scene {
        Scene::new(with_auth(auth_type))
    }

    /// The misbehaviour is over: nobody else noticed, and the log has a line for each of `reasons`,
    /// which are alternatives separated by `|`.
    fn end(self, reasons: &[&str]) {
        self.witness.finish();
        for reason in reasons {
            self.pooler.wait_log(&reason.split('|').collect::<Vec<_>>());
        }
        let grown = self.pooler.resident_kb().saturating_sub(self.before_kb);
        assert!(grown < GROWTH, "the pooler has grown by {grown} kB");
        assert_eq!(self.pooler.client().one("select 'alive'"), "alive");
    }

    /// How many connections it has hung up on so far.
    fn hung_up(&self) -> usize {
        self.pooler.log().matches("closing because").count()
    }
}

/// The connection ends, and a welcome was not among the bytes before its end.
fn expect_end(wire: &mut Wire, what: &str) {
    let Some(bytes) = wire.hear_bytes_to_the_end() else {
        panic!("{what}: the connection stays open");
    };
    let text = String::from_utf8_lossy(&bytes);
    let is_welcomed = bytes.windows(5).any(|window| window == b"Z\0\0\0\x05");
    assert!(!is_welcomed, "{what}: welcomed by {text:?}");
}

fn head(kind: u8, length: u32) -> Vec<u8> {
    [&[kind][..], &length.to_be_bytes()].concat()
}

mod clients {
    use super::*;

    #[test]
    fn garbage_in_place_of_a_startup_packet_ends_the_connection() {
        let scene = Scene::with_auth("trust");
        let noise: Vec<u8> =
            (0..5000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
        let hello = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".to_vec();
        let cases = [
            b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
            vec![0; 100],
            vec![0xff; 100],
            noise,
            hello,
            wire::query("select 1"),
            wire::message(b'p', b"password\0"),
            wire::message(b'X', b""),
            wire::packet(0x0002_0000, &[0; 288]),
            wire::packet(0x0004_0000, b"user\0app\0\0"),
            wire::packet(PROTOCOL_3_0, b""),
            wire::packet(PROTOCOL_3_0, b"\0"),
            wire::packet(PROTOCOL_3_0, b"user\0app"),
            wire::packet(PROTOCOL_3_0, b"user"),
            wire::packet(PROTOCOL_3_0, b"database\0app\0\0"),
            wire::packet(PROTOCOL_3_0, b"user\0\0\0"),
            wire::packet(PROTOCOL_3_0, b"user\0app\0database\0app\0"),
            wire::packet(wire::CANCEL, b""),
            wire::packet(wire::CANCEL, b"\0\0\0\x01"),
            wire::packet(wire::CANCEL, &[7; 8]),
            wire::packet(80_877_105, b""),
        ];
        for bytes in &cases {
            let mut wire = scene.pooler.connect();
            wire.send(bytes);
            expect_end(&mut wire, &format!("{:?}", String::from_utf8_lossy(bytes)));
        }
        assert!(scene.hung_up() >= cases.len() - 4, "the log tells: {}", scene.pooler.log());
        scene.end(&["C-0x"]);
    }

    #[test]
    fn a_startup_packet_of_an_impossible_or_huge_length_is_not_waited_for() {
        let scene = Scene::with_auth("trust");
        for length in IMPOSSIBLE.into_iter().chain([4, 7, 10_001, 100_000, LARGEST]) {
            let mut wire = scene.pooler.connect();
            wire.send(&length.to_be_bytes());
            wire.send(&PROTOCOL_3_0.to_be_bytes());
            expect_end(&mut wire, &format!("length {length}"));
        }
        scene.end(&["closing because"]);
    }

    #[test]
    fn a_startup_packet_that_never_becomes_whole_meets_the_timeout() {
        // Without deferring, as the kernel would keep the one that says nothing to itself.
        let setup = Setup::new().set("tcp_defer_accept", "0").set("client_login_timeout", "1");
        let scene = Scene::new(setup);
        let whole = wire::startup(&[("user", "app"), ("database", "app")]);
        let mut wires: Vec<Wire> = [0, 1, 4, 7, 8, 9, whole.len() - 1]
            .iter()
            .map(|cut| {
                let mut wire = scene.pooler.connect();
                wire.send(&whole[..*cut]);
                wire
            })
            .collect();
        for (number, wire) in wires.iter_mut().enumerate() {
            expect_end(wire, &format!("cut {number}"));
        }
        scene.end(&["client_login_timeout"]);
    }

    #[test]
    fn a_login_that_trickles_in_meets_the_timeout_though_it_never_rests() {
        let setup = Setup::new().set("auth_type", "plain").set("client_login_timeout", "1");
        let scene = Scene::new(setup.set("tcp_defer_accept", "0"));
        let startup = wire::startup(&[("user", APP.name), ("application_name", &"x".repeat(900))]);
        let password = wire::message(b'p', &[b'x'; 1000]);
        for (mut wire, bytes) in
            [(scene.pooler.connect(), startup), (started(&scene.pooler), password)]
        {
            let begin = std::time::Instant::now();
            for byte in &bytes {
                if !wire.send(&[*byte]) || begin.elapsed() > PATIENCE {
                    break;
                }
                thread::sleep(Duration::from_millis(50));
            }
            let sent_all_in = Duration::from_millis(50) * bytes.len() as u32;
            assert!(begin.elapsed() < sent_all_in.min(PATIENCE), "it is waited for to the end");
        }
        scene.end(&["client_login_timeout"]);
    }

    #[test]
    fn without_descriptors_it_waits_does_not_spin_and_comes_back() {
        let scene = Scene::new(with_auth("trust").in_view());
        let pooler = &scene.pooler;
        let mut at_work = pooler.client();
        at_work.query("begin").expect("a transaction");
        // These have no server, and there is none in their pools.
        let mut others = ["bench", "postgres"].map(|database| pooler.login(&APP, database));
        pooler.console().query("RECONNECT bench; RECONNECT postgres").expect("known databases");
        eventually("their servers to be closed", || {
            let has = |name| pooler.shown("show servers", "database", name, "state").is_some();
            (!has("bench") && !has("postgres")).then_some(())
        });
        let before = pooler.descriptors();
        limit_descriptors(pooler.pid, before);
        let mut crowd: Vec<Wire> = (0..50).map(|_| pooler.connect()).collect();
        for wire in &mut crowd {
            wire.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
        }
        pooler.wait_log(&["accept() failed: Too many open files"]);
        others[0].wire.send(&wire::query("select 'served'"));
        pooler.wait_log(&["connect failed: Too many open files"]);
        // It is no fault of PostgreSQL's that clients would have to be told of.
        others[1].wire.send(&wire::query("select 'served'"));
        let (begin, ticks) = (std::time::Instant::now(), host::cpu_ticks(pooler.pid));
        while begin.elapsed() < Duration::from_secs(2) {
            assert_eq!(at_work.one("select 'undisturbed'"), "undisturbed");
            thread::sleep(Duration::from_millis(20));
        }
        let ticks = host::cpu_ticks(pooler.pid) - ticks;
        assert!(ticks < 100, "it used {ticks} hundredths of two seconds");
        let failures = pooler.log().matches("Too many open files").count();
        assert!(failures < 20, "it tries again and again: {failures} lines");
        limit_descriptors(pooler.pid, before + 1000);
        for client in &mut others {
            let answer = client.answer().expect("a server, now that there may be one");
            assert_eq!(answer.rows[0][0].as_deref(), Some("served"));
        }
        for wire in &mut crowd {
            wire.hear_until_ready().expect("a welcome, late as it is");
        }
        drop((at_work, others, crowd));
        scene.end(&[]);
    }

    fn limit_descriptors(pid: u32, limit: usize) {
        let mut command = std::process::Command::new("prlimit");
        command.args([&format!("--pid={pid}"), &format!("--nofile={limit}:")]);
        host::drop_privileges(&mut command);
        assert!(command.status().is_ok_and(|status| status.success()), "prlimit of util-linux");
    }

    #[test]
    fn bytes_stuffed_behind_an_encryption_request_are_refused() {
        let scene = Scene::with_auth("trust");
        for code in [SSL_REQUEST, GSSENC_REQUEST] {
            let mut wire = scene.pooler.connect();
            let startup = wire::startup(&[("user", "app"), ("database", "app")]);
            wire.send(&[wire::packet(code, b""), startup].concat());
            let first = wire.hear_bytes(1).unwrap_or_default();
            if first == b"N" {
                expect_end(&mut wire, "stuffed");
            } else {
                assert!(first.is_empty() || first == b"E", "{first:?}");
            }
        }
        scene.end(&["received unencrypted data after SSL request"]);
    }

    #[test]
    fn encryption_requests_may_be_declined_once_each_and_a_login_follow() {
        let scene = Scene::with_auth("trust");
        let mut wire = scene.pooler.connect();
        for code in [GSSENC_REQUEST, SSL_REQUEST] {
            wire.send(&wire::packet(code, b""));
            assert_eq!(wire.hear_bytes(1).expect("an answer"), b"N");
        }
        wire.send(&wire::startup(&[("user", "app"), ("database", "app")]));
        wire.hear_until_ready().expect("a welcome");
        scene.end(&[]);
    }

    /// A client in one state of the protocol: its name, how to get there, and how the pooler
    /// is configured.
    type State = (&'static str, &'static str, fn(&Pooler) -> Wire);

    fn started(pooler: &Pooler) -> Wire {
        let mut wire = pooler.connect();
        wire.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
        wire.hear().expect("an authentication request");
        wire
    }

    fn sasl_begun(pooler: &Pooler) -> Wire {
        let mut wire = started(pooler);
        wire.say(b'p', &ScramClient::new(APP.password).initial());
        wire.hear().expect("the server's first message");
        wire
    }

    fn idle(pooler: &Pooler) -> Wire {
        pooler.client().wire
    }

    fn in_transaction(pooler: &Pooler) -> Wire {
        let mut client = pooler.client();
        client.query("begin").expect("BEGIN");
        client.wire
    }

    fn in_copy(pooler: &Pooler) -> Wire {
        let mut wire = in_transaction(pooler);
        wire.send(&wire::query("create temp table t (n int) on commit drop; copy t from stdin"));
        wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
        wire
    }

    fn on_the_console(pooler: &Pooler) -> Wire {
        pooler.console().wire
    }

    /// A session of the console in the middle of an extended query.
    fn on_the_console_in_a_pipeline(pooler: &Pooler) -> Wire {
        let mut wire = on_the_console(pooler);
        wire.send(&[wire::parse("", "show version"), wire::flush()].concat());
        wire.hear().expect("ParseComplete");
        wire
    }

    fn in_pipeline(pooler: &Pooler) -> Wire {
        let mut wire = idle(pooler);
        wire.send(&[wire::parse("", "select 1"), wire::flush()].concat());
        wire.hear().expect("ParseComplete");
        wire
    }

    const STATES: &[State] = &[
        ("asked for a password", "plain", started),
        ("asked for an md5 response", "md5", started),
        ("asked for SASL", "scram-sha-256", started),
        ("between the steps of SASL", "scram-sha-256", sasl_begun),
        ("idle", "trust", idle),
        ("in a transaction", "trust", in_transaction),
        ("in COPY", "trust", in_copy),
        ("in a pipeline", "trust", in_pipeline),
        ("on the console", "trust", on_the_console),
        ("on the console, in a pipeline", "trust", on_the_console_in_a_pipeline),
    ];

    #[test]
    fn a_message_of_an_impossible_length_ends_the_connection_in_every_state() {
        for (state, auth_type, reach) in STATES {
            let scene = Scene::with_auth(auth_type);
            for length in IMPOSSIBLE {
                for kind in [b'p', b'Q', b'P', b'B', b'd', b'X', b'F', b'S', b'!'] {
                    let mut wire = reach(&scene.pooler);
                    wire.send(&head(kind, length));
                    wire.send(&[0; 64]);
                    let what = format!("{} of length {length} when {state}", kind as char);
                    let messages = wire.hear_to_the_end();
                    let last = messages.last().map(|m| m.kind);
                    assert!(matches!(last, None | Some(b'E')), "{what}: {messages:?}");
                }
            }
            scene.end(&["closing because"]);
        }
    }

    #[test]
    fn what_a_client_that_waits_has_sent_is_judged_when_its_turn_comes() {
        // One holds the only server; the others have asked for it, and sent nonsense behind that.
        let narrow = format!("host=127.0.0.1 port={} dbname=app", Postgres::shared().port);
        let setup = Setup::new().database("narrow", &format!("{narrow} pool_size=1"));
        let scene = Scene::new(setup);
        let login = || scene.pooler.login(&APP, "narrow");
        let mut holder = login();
        let mut waiting: Vec<Wire> = IMPOSSIBLE.iter().map(|_| login().wire).collect();
        holder.query("begin").expect("a transaction");
        for (wire, length) in waiting.iter_mut().zip(IMPOSSIBLE) {
            wire.send(&[wire::query("select 1"), head(b'Q', length), vec![0; 64]].concat());
        }
        eventually("all of them to wait", || {
            let waiting = scene.pooler.shown("show pools", "database", "narrow", "cl_waiting")?;
            (waiting == IMPOSSIBLE.len().to_string()).then_some(())
        });
        holder.query("commit").expect("COMMIT");
        for wire in &mut waiting {
            let messages = wire.hear_to_the_end();
            assert_eq!(messages.last().map(|m| m.kind), Some(b'E'), "{messages:?}");
        }
        scene.end(&["bad packet header"]);
    }

    #[test]
    fn nothing_is_reserved_for_a_length_that_only_a_head_claims() {
        for (state, auth_type, reach) in STATES {
            let scene = Scene::with_auth(auth_type);
            let is_login = !matches!(*auth_type, "trust");
            let mut wires = Vec::new();
            for kind in [b'p', b'Q', b'P', b'B', b'd', b'F', b'D', b'C', b'f'] {
                let mut wire = reach(&scene.pooler);
                wire.send(&head(kind, LARGEST));
                wire.send(&[b'x'; 3000]);
                if is_login {
                    expect_end(&mut wire, &format!("{} when {state}", kind as char));
                }
                wires.push(wire);
            }
            // Those that hold a server all go at once; the pool has to recover from that.
            drop(wires);
            scene.end(&["closing because"]);
        }
    }

    #[test]
    fn words_out_of_turn_end_a_login() {
        let startup = wire::startup(&[("user", APP.name), ("database", "app")]);
        let cases = [
            ("a query", wire::query("select 1")),
            ("an unknown kind", wire::message(b'!', b"")),
            ("a second startup packet", startup.clone()),
            ("a late encryption request", wire::packet(SSL_REQUEST, b"")),
            ("a late cancel request", wire::packet(wire::CANCEL, &[1; 8])),
            ("an empty password", wire::message(b'p', b"\0")),
            ("a password without its end", wire::message(b'p', b"app-secret")),
            ("a password message without a body", wire::message(b'p', b"")),
            ("a wrong password", wire::message(b'p', b"wrong\0")),
            ("a password that is too long", wire::message(b'p', &[b'x'; 70_000])),
        ];
        for auth_type in ["plain", "md5", "scram-sha-256"] {
            let scene = Scene::with_auth(auth_type);
            let mut wires: Vec<Wire> = cases.iter().map(|_| started(&scene.pooler)).collect();
            for (wire, (_, bytes)) in wires.iter_mut().zip(&cases) {
                wire.send(bytes);
            }
            for (wire, (what, _)) in wires.iter_mut().zip(&cases) {
                expect_end(wire, &format!("{what} for {auth_type}"));
            }
            scene.end(&["closing because"]);
        }
    }

    #[test]
    fn a_startup_packet_after_the_login_ends_the_connection() {
        let scene = Scene::with_auth("trust");
        for reach in [idle, in_transaction] {
            for bytes in [
                wire::startup(&[("user", APP.name), ("database", "app")]),
                wire::packet(SSL_REQUEST, b""),
                wire::packet(wire::CANCEL, &[1; 8]),
            ] {
                let mut wire = reach(&scene.pooler);
                wire.send(&bytes);
                expect_end(&mut wire, "startup twice");
            }
        }
        scene.end(&["closing because"]);
    }

    /// Else the system would send a reset, to which a client may lose the words before it.
    #[test]
    fn what_a_refused_client_has_sent_on_is_read_before_its_connection_is_closed() {
        let scene = Scene::with_auth("trust");
        let refused = wire::startup(&[("user", "app"), ("nonsense", "x")]);
        let mut stream = TcpStream::connect(("127.0.0.1", scene.pooler.port)).expect("a listener");
        stream.set_read_timeout(Some(PATIENCE)).expect("a socket that is open");
        let sent = [refused, vec![b'x'; 100_000]].concat();
        stream.write_all(&sent).expect("a socket that is open");
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).expect("an end and no reset");
        assert!(heard.starts_with(b"E") && heard.windows(5).any(|word| word == b"FATAL"));
        scene.end(&["unsupported startup parameter"]);
    }

    #[test]
    fn two_startup_packets_at_once_are_one_too_many() {
        for auth_type in ["trust", "scram-sha-256"] {
            let scene = Scene::with_auth(auth_type);
            let startup = wire::startup(&[("user", APP.name), ("database", "app")]);
            let mut wire = scene.pooler.connect();
            wire.send(&[startup.clone(), startup].concat());
            let end = wire.hear_to_the_end();
            assert!(end.iter().filter(|m| m.kind == b'Z').count() <= 1, "{end:?}");
            scene.end(&["closing because"]);
        }
    }

    #[test]
    fn kinds_that_no_client_sends_end_the_connection() {
        let scene = Scene::with_auth("trust");
        for kind in [0u8, b'!', b'Z', b'R', b'T', b'K', b'1', 0x7f, 0x80, 0xff] {
            let mut wire = idle(&scene.pooler);
            wire.say(kind, b"\0\0\0\0");
            expect_end(&mut wire, &format!("kind {kind}"));
        }
        scene.end(&["closing because"]);
    }

    #[test]
    fn scram_messages_cut_at_every_byte_are_refused() {
        let scene = Scene::with_auth("scram-sha-256");
        let initial = ScramClient::new(APP.password).initial();
        let with_proof = |cut: usize| {
            let mut scram = ScramClient::new(APP.password);
            let mut wire = started(&scene.pooler);
            wire.say(b'p', &scram.initial());
            let first = wire.hear().expect("the server's first message");
            let last = scram.last(&String::from_utf8_lossy(&first.body[4..]));
            let cut = cut.min(last.len());
            wire.say(b'p', &last.as_bytes()[..cut]);
            (wire, cut == last.len())
        };
        let begun = |cut: usize| {
            let mut wire = started(&scene.pooler);
            wire.say(b'p', &initial[..cut]);
            wire
        };
        // All of them at once: a pooler that waits for more will end them together.
        let firsts: Vec<Wire> = (0..initial.len()).map(begun).collect();
        for (cut, mut wire) in firsts.into_iter().enumerate() {
            expect_end(&mut wire, &format!("the first message cut at {cut}"));
        }
        let mut lasts: Vec<Wire> = Vec::new();
        let mut whole = loop {
            match with_proof(lasts.len()) {
                (wire, true) => break wire,
                (wire, false) => lasts.push(wire),
            }
        };
        whole.hear_until_ready().expect("a welcome after the whole message");
        for (cut, mut wire) in lasts.into_iter().enumerate() {
            expect_end(&mut wire, &format!("the last message cut at {cut}"));
        }
        scene.end(&["closing because: SASL authentication failed|SASL"]);
    }

    #[test]
    fn clients_that_vanish_at_every_byte_of_scram_leave_nothing_behind() {
        let scene = Scene::with_auth("scram-sha-256");
        let bytes = wire::message(b'p', &ScramClient::new(APP.password).initial());
        for cut in 0..=bytes.len() {
            let mut wire = started(&scene.pooler);
            wire.send(&bytes[..cut]);
        }
        eventually("the logins to be gone", || {
            let list = scene.pooler.shown("show lists", "list", "login_clients", "items")?;
            (list == "0").then_some(())
        });
        scene.end(&["client unexpected eof|closing because"]);
    }

    #[test]
    fn scram_messages_of_a_liar_are_refused() {
        let scene = Scene::with_auth("scram-sha-256");
        let initial = |mechanism: &str, length: u32, text: &str| {
            let mut body = format!("{mechanism}\0").into_bytes();
            body.extend_from_slice(&length.to_be_bytes());
            body.extend_from_slice(text.as_bytes());
            body
        };
        let plain = |text: &str| initial(MECHANISM, text.len() as u32, text);
        let long = format!("n,,n=,r={}", "x".repeat(20_000));
        let cases = [
            ("another mechanism", initial("SCRAM-SHA-1", 8, "n,,n=,r=x")),
            ("binding without TLS", initial("SCRAM-SHA-256-PLUS", 8, "n,,n=,r=x")),
            ("binding asked for", plain("p=tls-server-end-point,,n=,r=abc")),
            ("no nonce", plain("n,,n=")),
            ("an empty nonce", plain("n,,n=,r=")),
            ("a mandatory extension", plain("n,,m=x,n=,r=abc")),
            ("another user to act for", plain("n,a=other,n=,r=abc")),
            ("a zero inside", plain("n,,n=,r=ab\0c")),
            ("commas alone", plain(",,,,,,,,")),
            ("a length of -1", initial(MECHANISM, 0xffff_ffff, "n,,n=,r=abc")),
            ("a length beyond the message", initial(MECHANISM, 1000, "n,,n=,r=abc")),
            ("a length short of the message", initial(MECHANISM, 3, "n,,n=,r=abc")),
            ("a nonce of 20,000 bytes", plain(&long)),
        ];
        for (what, body) in &cases {
            let mut wire = started(&scene.pooler);
            wire.say(b'p', body);
            // Some of them are found out only by their proof.
            if wire.hear().is_ok_and(|m| m.kind == b'R') {
                wire.say(b'p', b"c=biws,r=abc,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=");
            }
            expect_end(&mut wire, what);
        }
        let finals = [
            "c=biws,r={r}",
            "c=biws,r={r},p=",
            "c=biws,r={r},p=AAAA",
            "c=biws,r={r},p=not base64!!",
            "c=biws,r={r},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "c=biws,r=someone-elses,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "c=eSws,r={r},p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
            "r={r},c=biws,p=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        ];
        for last in finals {
            let mut wire = started(&scene.pooler);
            wire.say(b'p', &ScramClient::new(APP.password).initial());
            let first = wire.hear().expect("the server's first message");
            let first = String::from_utf8_lossy(&first.body[4..]).into_owned();
            let nonce =
                first.split(',').next().and_then(|r| r.strip_prefix("r=")).expect("a nonce");
            wire.say(b'p', last.replace("{r}", nonce).as_bytes());
            expect_end(&mut wire, last);
        }
        scene.end(&["SASL"]);
    }

    #[test]
    fn an_unknown_user_sees_what_a_wrong_password_sees() {
        let scene = Scene::with_auth("scram-sha-256");
        let refusal = |user: &str| {
            let login = Login { user, password: "wrong", database: "app", parameters: &[] };
            match Client::attempt(scene.pooler.port, &login) {
                Err(Failure::Error { code, message, detail }) => (code, message, detail),
                Err(other) => panic!("{user}: {other:?}"),
                Ok(_) => panic!("{user} is welcomed"),
            }
        };
        assert_eq!(refusal("nobody knows"), refusal(APP.name));
        scene.end(&["closing because"]);
    }

    /// A result of 200 MB.
    const FLOOD: &str = "select repeat('x', 1000) from generate_series(1, 200000)";

    #[test]
    fn clients_that_stop_reading_hold_no_memory() {
        let scene = Scene::new(Setup::new().set("default_pool_size", "11"));
        let mut stuck: Vec<Client> = (0..10).map(|_| scene.pooler.client()).collect();
        for client in &mut stuck {
            client.wire.send(&wire::query(FLOOD));
        }
        for client in &mut stuck {
            client.wire.hear().expect("the first message of the result");
        }
        // What PostgreSQL has sent by now fills the sockets and no more.
        thread::sleep(Duration::from_millis(500));
        let grown = scene.pooler.resident_kb().saturating_sub(scene.before_kb);
        assert!(grown < GROWTH, "ten results that nobody reads cost {grown} kB");
        let mut slow = stuck.pop().expect("ten clients");
        let answer = slow.answer().expect("the result of one that reads on");
        assert_eq!(answer.tags, ["SELECT 200000"]);
        drop(stuck);
        scene.end(&["client disconnect while server was not ready|client disconnect"]);
    }

    #[test]
    fn a_client_that_only_writes_is_held_back() {
        let scene = Scene::new(Setup::new().set("default_pool_size", "3"));
        let mut wire = idle(&scene.pooler);
        wire.stream.set_write_timeout(Some(Duration::from_millis(500))).expect("a timeout");
        let queries = wire::query("select repeat('y', 10000)").repeat(1000);
        let sent = (0..1000).take_while(|_| wire.send(&queries)).count();
        assert!(sent < 1000, "it takes whatever it is sent and nobody reads the answers");
        drop(wire);
        scene.end(&["closing because"]);
    }

    #[test]
    fn a_client_that_sends_a_byte_at_a_time_is_served() {
        let scene = Scene::with_auth("trust");
        let mut wire = scene.pooler.connect();
        let trickle = |wire: &mut Wire, bytes: &[u8]| {
            for byte in bytes {
                assert!(wire.send(&[*byte]));
                thread::sleep(Duration::from_millis(1));
            }
        };
        trickle(&mut wire, &wire::packet(SSL_REQUEST, b""));
        assert_eq!(wire.hear_bytes(1).expect("an answer"), b"N");
        trickle(&mut wire, &wire::startup(&[("user", APP.name), ("database", "app")]));
        wire.hear_until_ready().expect("a welcome");
        let extended =
            [wire::parse("", "select $1"), wire::bind("", &["b"]), wire::execute(), wire::sync()];
        for bytes in [wire::query("select 'b'"), extended.concat()] {
            trickle(&mut wire, &bytes);
            let messages = wire.hear_until_ready().expect("an answer");
            let row = messages.iter().find(|m| m.kind == b'D').expect("a row");
            assert_eq!(row.values(), [Some("b".to_owned())]);
        }
        scene.end(&[]);
    }

    #[test]
    fn a_login_with_absurd_parameters_is_refused_or_harmless() {
        let scene = Scene::with_auth("trust");
        let long = "x".repeat(9_000);
        let many: Vec<(String, String)> =
            (0..400).map(|n| (format!("parameter_{n}"), "v".into())).collect();
        let mut many: Vec<(&str, &str)> =
            many.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
        many.push(("user", APP.name));
        let cases: Vec<Vec<(&str, &str)>> = vec![
            vec![("user", &long), ("database", "app")],
            vec![("user", APP.name), ("database", &long)],
            vec![("user", APP.name), ("database", "app"), ("application_name", &long)],
            vec![("user", APP.name), ("database", "app"), ("options", "-c -c --= --x")],
            vec![("user", APP.name), ("database", "app"), ("options", "\\")],
            vec![("user", APP.name), ("database", "app"), ("replication", "perhaps")],
            vec![("user", APP.name), ("user", "super"), ("database", "app")],
            vec![("user", APP.name), ("database", "app"), ("TimeZone", "nowhere'; drop table x")],
            vec![("user", APP.name), ("database", "app"), ("client_encoding", "'")],
            vec![("user", "a/b@c:\u{1b}[31m"), ("database", "\r\t")],
            vec![("user", "x\nFORGED"), ("database", "y\nFORGED"), ("TimeZone", "z\nFORGED")],
            many,
        ];
        for parameters in cases {
            let mut wire = scene.pooler.connect();
            wire.send(&wire::startup(&parameters));
            // Welcomed or refused: either way an answer comes, and then it is over.
            let messages = wire.hear_until(|m| matches!(m.kind, b'Z' | b'E'));
            messages.unwrap_or_else(|e| panic!("{parameters:?}: {e:?}"));
            wire.send(&wire::query("select 1"));
            let _ = wire.hear_until(|m| matches!(m.kind, b'Z' | b'E'));
        }
        let log = scene.pooler.log();
        assert!(!log.contains("\nFORGED"), "a client writes lines of the log:\n{log}");
        scene.end(&["closing because"]);
    }
}

mod servers {
    use super::*;

    /// A pooler whose databases `bad0`, `bad1` ... are these fake servers; the witness is at home
    /// in `app`.
    pub fn scene(fakes: &[FakeServer]) -> Scene {
        scene_with(setup(), fakes)
    }

    /// Whatever goes wrong is found out soon.
    fn setup() -> Setup {
        Setup::new()
            .set("max_client_conn", "1000")
            .set("server_connect_timeout", "1")
            .set("server_login_retry", "1")
            .set("query_wait_timeout", "3")
    }

    fn scene_with(setup: Setup, fakes: &[FakeServer]) -> Scene {
        let line = |fake: &FakeServer| format!("host=127.0.0.1 port={}", fake.port);
        let numbered = fakes.iter().enumerate();
        Scene::new(numbered.fold(setup, |setup, (number, fake)| {
            setup.database(&format!("bad{number}"), &line(fake))
        }))
    }

    /// A query to a bad server ends, one way or the other, within `PATIENCE`.
    fn try_query(pooler: &Pooler, number: usize) -> Result<Answer, Failure> {
        let database = format!("bad{number}");
        let login = Login { user: APP.name, password: "", database: &database, parameters: &[] };
        Client::attempt(pooler.port, &login).and_then(|mut c| c.query("select 1"))
    }

    /// Each case: what the server does, and words that the log has about it then, alternatives
    /// separated by `|`. All of them go wrong at the same time.
    fn all_fail(cases: Vec<(&str, Script, &str)>) {
        all_fail_with(setup(), cases);
    }

    fn all_fail_with(setup: Setup, cases: Vec<(&str, Script, &str)>) {
        let names: Vec<(&str, &str)> = cases.iter().map(|(what, _, log)| (*what, *log)).collect();
        let fakes: Vec<FakeServer> =
            cases.into_iter().map(|(_, script, _)| FakeServer::start(script)).collect();
        let scene = scene_with(setup, &fakes);
        let pooler = &scene.pooler;
        thread::scope(|scope| {
            let queries: Vec<_> =
                (0..fakes.len()).map(|n| scope.spawn(move || try_query(pooler, n))).collect();
            for (query, (what, _)) in queries.into_iter().zip(&names) {
                let failure = query.join().expect("a query").expect_err(what);
                assert_ne!(failure, Failure::Gone(Gone::Silent), "{what}: nothing comes");
            }
        });
        for (number, (what, words)) in names.iter().enumerate() {
            expect_log(pooler, number, what, words);
        }
        scene.end(&[]);
    }

    fn bad_client(pooler: &Pooler, number: usize) -> Client {
        Client::login(pooler.port, APP.name, "", &format!("bad{number}"))
    }

    /// The log has a line about the server of database `badN`, with one of these words.
    pub fn expect_log(pooler: &Pooler, number: usize, what: &str, words: &str) {
        let database = format!(" bad{number}/");
        within(PATIENCE, || {
            let log = pooler.log();
            let mut lines = log.lines().filter(|l| l.contains("S-0x") && l.contains(&database));
            let is_found = |line: &str| words.split('|').any(|word| line.contains(word));
            lines.any(is_found).then_some(())
        })
        .unwrap_or_else(|| panic!("{what}: no line with {words} in\n{}", pooler.log()));
    }

    type Script = Box<dyn Fn(&mut Wire) + Send + Sync>;

    /// A server that answers the startup packet with these bytes and then listens on.
    fn at_startup(bytes: Vec<u8>) -> Script {
        Box::new(move |wire| {
            if matches!(fake::hear_startup(wire), Ok(Some(_))) {
                wire.send(&bytes);
                let _ = wire.hear_to_the_end();
            }
        })
    }

    /// A server that logs the pooler in and answers each query with these bytes.
    fn at_query(bytes: Vec<u8>) -> Script {
        Box::new(move |wire| fake::serve(wire, |_| Some(bytes.clone())))
    }

    /// The same, and then closes.
    fn at_query_then_close(bytes: Vec<u8>) -> Script {
        Box::new(move |wire| {
            if matches!(fake::hear_startup(wire), Ok(Some(_))) {
                wire.send(&fake::welcome());
                if wire.hear().is_ok() {
                    wire.send(&bytes);
                }
            }
        })
    }

    const ANY: &str = "closing because";

    #[test]
    fn a_login_that_goes_wrong_is_the_clients_error_and_a_line_in_the_log() {
        let auth =
            |number: u32, rest: &[u8]| wire::message(b'R', &[&number.to_be_bytes(), rest].concat());
        let failed = wire::error(&[('S', "FATAL"), ('C', "28000"), ('M', "go away")]);
        let no_state = wire::error(&[('S', "FATAL"), ('M', "no state")]);
        all_fail(vec![
            ("silence", Box::new(|w| drop(w.hear_to_the_end())), "connect timeout"),
            ("the end at once", Box::new(|_| ()), ANY),
            ("garbage", at_startup(b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec()), ANY),
            ("zeros", at_startup(vec![0; 1000]), ANY),
            ("an error", at_startup(failed), "go away"),
            ("an error without SQLSTATE", at_startup(no_state), "no state"),
            ("an error without fields", at_startup(wire::message(b'E', &[0])), ANY),
            ("an error without a body", at_startup(wire::message(b'E', &[])), ANY),
            ("an error without its end", at_startup(wire::message(b'E', b"SFATAL\0Mopen")), ANY),
            ("an unknown request", at_startup(auth(99, b"")), ANY),
            ("a request without a number", at_startup(wire::message(b'R', b"\0\0")), ANY),
            ("md5 without salt", at_startup(auth(5, b"")), ANY),
            ("SASL without mechanisms", at_startup(auth(10, b"\0")), ANY),
            ("SASL without an end", at_startup(auth(10, b"SCRAM-SHA-256")), ANY),
            ("another mechanism", at_startup(auth(10, b"PLAIN\0\0")), ANY),
            ("SASL from its middle", at_startup(auth(11, b"r=x,s=AAAA,i=1")), ANY),
            ("SASL from its end", at_startup(auth(12, b"v=AAAA")), ANY),
            ("a row", at_startup(wire::data_row(&[b"x"])), ANY),
            (
                "a setting without a value",
                at_startup([auth(0, b""), wire::message(b'S', b"x\0")].concat()),
                ANY,
            ),
            (
                "a setting without an end",
                at_startup([auth(0, b""), wire::message(b'S', b"x\0y")].concat()),
                ANY,
            ),
        ]);
    }

    #[test]
    fn a_login_that_breaks_off_at_any_byte_fails_at_once() {
        let auth =
            |number: u32, rest: &[u8]| wire::message(b'R', &[&number.to_be_bytes(), rest].concat());
        let asks = auth(10, b"SCRAM-SHA-256\0\0");
        let welcome = fake::welcome();
        let cut = |bytes: &[u8], at: usize| -> Script {
            let bytes = bytes[..at].to_vec();
            Box::new(move |wire| {
                if matches!(fake::hear_startup(wire), Ok(Some(_))) {
                    wire.send(&bytes);
                }
            })
        };
        let asked = (0..=asks.len()).map(|at| ("the request", cut(&asks, at), ANY));
        let welcomed =
            (0..welcome.len()).step_by(7).map(|at| ("the welcome", cut(&welcome, at), ANY));
        all_fail(asked.chain(welcomed).collect());
    }

    #[test]
    fn scram_messages_of_a_server_cut_at_every_byte_are_refused() {
        const FIRST: &str = "r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096";
        let cut = |at: usize| -> Script { Box::new(move |w| scram_server(w, &FIRST[..at])) };
        let cases = (0..=FIRST.len()).map(|at| ("the first message cut", cut(at), ANY));
        all_fail(cases.collect());
    }

    #[test]
    fn lengths_that_cannot_be_are_the_end_of_a_server() {
        let mut cases: Vec<(&str, Script, &str)> = Vec::new();
        for length in IMPOSSIBLE {
            for kind in [b'R', b'S', b'K', b'Z', b'E', b'N', b'!'] {
                let bytes = [head(kind, length), vec![0; 64]].concat();
                cases.push(("in the login", at_startup(bytes.clone()), ANY));
                cases.push(("in an answer", at_query(bytes), ANY));
            }
        }
        all_fail(cases);
    }

    #[test]
    fn nothing_is_reserved_for_a_length_that_only_a_servers_head_claims() {
        let bytes = |kind| [head(kind, LARGEST), vec![b'x'; 3000]].concat();
        let mut cases: Vec<(&str, Script, &str)> = Vec::new();
        for kind in [b'R', b'S', b'K', b'Z', b'E', b'N'] {
            cases.push(("in the login", at_startup(bytes(kind)), ANY));
        }
        for kind in [b'D', b'T', b'd', b'E', b'N', b'S'] {
            cases.push(("in an answer", at_query_then_close(bytes(kind)), ANY));
        }
        all_fail(cases);
    }

    #[test]
    fn an_answer_that_breaks_off_between_messages_is_an_error() {
        let row = [wire::row_description(&["value"]), wire::data_row(&[b"some value"])].concat();
        all_fail(vec![
            ("nothing", at_query_then_close(vec![]), ANY),
            ("a whole row", at_query_then_close(row), ANY),
            ("garbage", at_query_then_close(b"HTTP/1.1 400 Bad Request".to_vec()), ANY),
        ]);
    }

    #[test]
    fn no_error_is_written_into_the_middle_of_a_message() {
        let head = wire::row_description(&["value"]);
        let row = [&head[..], &wire::data_row(&[b"some value"])].concat();
        let cuts: Vec<usize> = (1..row.len()).collect();
        let fakes: Vec<FakeServer> = cuts
            .iter()
            .map(|cut| FakeServer::start(at_query_then_close(row[..*cut].to_vec())))
            .collect();
        let scene = scene(&fakes);
        for (number, cut) in cuts.into_iter().enumerate() {
            let mut client = bad_client(&scene.pooler, number);
            client.wire.send(&wire::query("select 1"));
            let bytes = client.wire.hear_bytes_to_the_end().expect("an end");
            let what = format!("cut at {cut}: {:?}", String::from_utf8_lossy(&bytes));
            let forwarded = bytes.iter().zip(&row[..cut]).take_while(|(a, b)| a == b).count();
            let rest = &bytes[forwarded..];
            // What was begun must not be followed by anything, or it would count as a part of it.
            let is_whole = forwarded == 0 || forwarded == head.len();
            assert!(rest.is_empty() || is_whole && rest[0] == b'E', "{what}");
            expect_log(&scene.pooler, number, &what, ANY);
        }
        scene.end(&[]);
    }

    #[test]
    fn nonsense_in_an_answer_ends_the_server() {
        all_fail(vec![
            ("an unknown kind", at_query(wire::message(b'!', b"")), ANY),
            ("a state without a body", at_query(wire::message(b'Z', b"")), ANY),
            ("a state that is none", at_query(wire::ready(b'?')), ANY),
            ("a state that is too long", at_query(wire::message(b'Z', b"II")), ANY),
            ("a late request to log in", at_query(wire::message(b'R', &[0, 0, 0, 3])), ANY),
        ]);
    }

    #[test]
    fn an_error_without_sqlstate_reaches_the_client_as_it_is() {
        for fields in [vec![('S', "ERROR"), ('M', "no state")], vec![('M', "no state")], vec![]] {
            let answer = [wire::error(&fields), wire::ready(b'I')].concat();
            let fake = FakeServer::start(at_query(answer));
            let scene = scene(from_ref(&fake));
            let failure = try_query(&scene.pooler, 0).expect_err("an error");
            assert!(matches!(failure, Failure::Error { .. }), "{failure:?}");
            scene.end(&[]);
        }
    }

    #[test]
    fn a_flood_of_rows_costs_no_memory_however_slow_its_reader() {
        let rows =
            [wire::row_description(&["value"]), wire::data_row(&[&[b'r'; 500]]).repeat(1000)];
        let rows = rows.concat();
        let fake = FakeServer::start(move |wire| {
            fake::serve(wire, |_| None);
            while wire.send(&rows) {}
        });
        let scene = scene(from_ref(&fake));
        let mut client = bad_client(&scene.pooler, 0);
        client.wire.send(&wire::query("select everything"));
        for _ in 0..50_000 {
            client.wire.hear().expect("a row");
        }
        thread::sleep(Duration::from_millis(300));
        let grown = scene.pooler.resident_kb().saturating_sub(scene.before_kb);
        assert!(grown < GROWTH, "a flood costs {grown} kB");
        drop(client);
        scene.end(&["client disconnect"]);
    }

    #[test]
    fn a_flood_in_the_login_is_bounded() {
        let setting = wire::message(b'S', format!("x\0{}\0", "y".repeat(1000)).as_bytes());
        let notice = wire::message(b'N', &[b"SNOTICE\0Mnoise\0\0".to_vec()].concat());
        for flood in [setting.repeat(100), notice.repeat(1000)] {
            let fake = FakeServer::start(move |wire| {
                if matches!(fake::hear_startup(wire), Ok(Some(_))) {
                    wire.send(&wire::message(b'R', &[0; 4]));
                    while wire.send(&flood) {}
                }
            });
            let scene = scene(from_ref(&fake));
            let result = try_query(&scene.pooler, 0);
            assert!(result.is_err(), "{result:?}");
            scene.end(&["S-0x"]);
        }
    }

    #[test]
    fn what_a_server_says_unasked_ends_it_and_troubles_no_client() {
        let fatal = wire::error(&[('S', "FATAL"), ('C', "57P01"), ('M', "the end is near")]);
        let cases = [
            wire::data_row(&[b"stray"]),
            wire::message(b'C', b"SELECT 1\0"),
            wire::ready(b'I'),
            wire::ready(b'T'),
            wire::message(b'!', b""),
            fatal,
            head(b'D', 0),
            b"HTTP/1.1 400 Bad Request".to_vec(),
        ];
        let serve = |stray: Vec<u8>| {
            FakeServer::start(move |wire| {
                fake::serve(wire, |sql| {
                    let stray = if sql.contains("first") { &stray[..] } else { b"" };
                    Some([&fake::one_row("answer"), stray].concat())
                });
            })
        };
        let texts: Vec<String> = cases.iter().map(|c| String::from_utf8_lossy(c).into()).collect();
        let fakes: Vec<FakeServer> = cases.into_iter().map(serve).collect();
        let scene = scene(&fakes);
        for (number, text) in texts.iter().enumerate() {
            // The answer was whole before the stray bytes came: its client is not to suffer.
            let mut client = bad_client(&scene.pooler, number);
            for sql in ["select first", "select 2"] {
                let answer = client.query(sql).unwrap_or_else(|e| panic!("{text}, {sql}: {e:?}"));
                assert_eq!(answer.rows[0][0].as_deref(), Some("answer"));
            }
            expect_log(&scene.pooler, number, text, ANY);
        }
        scene.end(&[]);
    }

    #[test]
    fn odd_cancel_keys_and_settings_of_a_server_are_taken_as_they_are() {
        let key = |size: usize| wire::message(b'K', &vec![7; size]);
        let setting = wire::message(b'S', format!("unheard_of\0{}\0", "v".repeat(3000)).as_bytes());
        for bytes in [key(8), key(36), key(260), setting, wire::message(b'N', b"SNOTICE\0Mhi\0\0")]
        {
            let fake = FakeServer::start(move |wire| {
                let is_login = matches!(fake::hear_startup(wire), Ok(Some(_)));
                let welcome = [wire::message(b'R', &[0; 4]), bytes.clone(), wire::ready(b'I')];
                if is_login && wire.send(&welcome.concat()) {
                    while wire.hear().is_ok_and(|m| m.kind == b'Q') {
                        wire.send(&fake::one_row("answer"));
                    }
                }
            });
            let scene = scene(from_ref(&fake));
            let answer = try_query(&scene.pooler, 0).expect("an answer");
            assert_eq!(answer.rows[0][0].as_deref(), Some("answer"));
            scene.end(&[]);
        }
    }

    #[test]
    fn lies_in_scram_are_seen_through() {
        let first = |text: &'static str| -> Script { Box::new(move |w| scram_server(w, text)) };
        all_fail(vec![
            ("another nonce", first("r=someone-elses,s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096"), ANY),
            ("our nonce alone", first("r={r},s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096"), ANY),
            ("no salt", first("r={r}xyz,i=4096"), ANY),
            ("a salt that is none", first("r={r}xyz,s=!!!!,i=4096"), ANY),
            ("no iterations", first("r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA=="), ANY),
            ("no number of iterations", first("r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=many"), ANY),
            ("zero iterations", first("r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=0"), ANY),
            ("negative iterations", first("r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=-5"), ANY),
            ("work for a day", first("r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=2000000000"), ANY),
            ("a long nonce", first("r={r}{long},s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096"), ANY),
            ("an extension", first("m=x,r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096"), ANY),
            ("a false signature", first("r={r}xyz,s=AAAAAAAAAAAAAAAAAAAAAA==,i=4096"), ANY),
            ("an error in SCRAM", first("e=other-error"), ANY),
            ("nothing", first(""), ANY),
        ]);
    }

    /// Offers SCRAM, says `first` with the client's nonce for `{r}`, then a false signature, and
    /// then, as if all were well, the welcome.
    fn scram_server(wire: &mut Wire, first: &str) {
        let auth =
            |number: u32, rest: &[u8]| wire::message(b'R', &[&number.to_be_bytes(), rest].concat());
        if !matches!(fake::hear_startup(wire), Ok(Some(_))) {
            return;
        }
        wire.send(&auth(10, b"SCRAM-SHA-256\0\0"));
        let Ok(initial) = wire.hear() else { return };
        let text = String::from_utf8_lossy(&initial.body).into_owned();
        let nonce = text.rsplit("r=").next().unwrap_or_default();
        let first = first.replace("{r}", nonce).replace("{long}", &"l".repeat(100_000));
        wire.send(&auth(11, first.as_bytes()));
        if wire.hear().is_err() {
            return;
        }
        let signature = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=";
        wire.send(&[auth(12, signature), fake::welcome()].concat());
        while wire.hear().is_ok_and(|m| m.kind == b'Q') {
            wire.send(&fake::one_row("stolen"));
        }
    }

    #[test]
    fn a_server_that_skips_the_proof_is_not_believed() {
        // It asks for SCRAM and welcomes without having shown that it knows the secret.
        let fake = FakeServer::start(|wire| {
            if matches!(fake::hear_startup(wire), Ok(Some(_))) {
                wire.send(&wire::message(b'R', b"\0\0\0\x0aSCRAM-SHA-256\0\0"));
                if wire.hear().is_ok() {
                    fake_welcome(wire);
                }
            }
        });
        let scene = scene(from_ref(&fake));
        assert!(try_query(&scene.pooler, 0).is_err(), "it is believed");
        scene.end(&["S-0x"]);
    }

    fn fake_welcome(wire: &mut Wire) {
        wire.send(&fake::welcome());
        while wire.hear().is_ok_and(|m| m.kind == b'Q') {
            wire.send(&fake::one_row("stolen"));
        }
    }

    #[test]
    fn an_odd_answer_to_an_encryption_request_ends_the_attempt() {
        let script = |answer: &'static [u8]| -> Script {
            Box::new(move |wire| {
                if matches!(wire.hear_startup(), Ok((SSL_REQUEST, _))) {
                    wire.send(answer);
                    let _ = wire.hear_bytes(1);
                }
            })
        };
        let answers: [&[u8]; 7] =
            [b"X", b"E", b"NN", b"S", b"N\x52\0\0\0\x08\0\0\0\0", b"\0", b"SS"];
        let cases = answers.map(|answer| ("an odd answer", script(answer), ANY));
        all_fail_with(setup().set("server_tls_sslmode", "prefer"), Vec::from(cases));
    }
}

/// Streams of both directions (CopyBoth), with words out of turn from either end.
mod walsenders {
    use super::servers::{expect_log, scene};
    use super::*;

    /// A replication connection to the database of this name, of physical replication.
    fn replicator(pooler: &Pooler, database: &str) -> Client {
        let parameters = [("replication", "true"), ("application_name", "hostile")];
        let login = Login { user: GUIDE[1].name, password: "", database, parameters: &parameters };
        Client::attempt(pooler.port, &login).expect("a welcome")
    }

    fn start_streaming(client: &mut Client) {
        let position = Postgres::shared().one("select pg_current_wal_flush_lsn()");
        client.wire.send(&wire::query(&format!("START_REPLICATION PHYSICAL {position}")));
        client.wire.hear_until(|m| m.kind == b'W').expect("CopyBothResponse");
    }

    fn expect_no_walsender() {
        let sql = "select count(*) from pg_stat_activity where application_name = 'hostile'";
        eventually("the walsenders to be gone", || {
            (Postgres::shared().one(sql) == "0").then_some(())
        });
    }

    /// What a client may say in a stream, in turn or out of it.
    fn words() -> Vec<Vec<u8>> {
        let parse = [wire::parse("s", "select 1"), wire::bind("s", &[])].concat();
        let huge = wire::message(b'd', &vec![b'r'; 100_000]);
        vec![
            wire::query("IDENTIFY_SYSTEM"),
            wire::query("select 1"),
            wire::query("BASE_BACKUP (CHECKPOINT 'fast')"),
            parse,
            wire::describe_statement("s"),
            wire::execute(),
            wire::sync(),
            wire::flush(),
            wire::message(b'F', &[0; 10]),
            wire::message(b'd', b""),
            wire::message(b'd', &[&b"r"[..], &[0; 33]].concat()),
            wire::message(b'd', b"nonsense"),
            huge[..50_000].to_vec(),
            huge,
            wire::message(b'c', b""),
            wire::message(b'f', b"no more\0"),
            wire::message(b'p', b"password\0"),
            wire::message(b'W', b"\0\0\0"),
            wire::message(b'!', b""),
            head(b'd', LARGEST),
            head(b'd', 0),
        ]
    }

    #[test]
    fn a_word_out_of_turn_ends_nothing_but_its_own_stream() {
        let scene = Scene::with_auth("trust");
        for word in words() {
            let mut client = replicator(&scene.pooler, "app");
            start_streaming(&mut client);
            client.wire.send(&word);
            // Twice, as what ends a stream may leave the next one to be misunderstood.
            client.wire.send(&word);
        }
        expect_no_walsender();
        scene.end(&["replication client was closed"]);
    }

    #[test]
    fn words_at_random_end_nothing_but_their_own_connection() {
        let seed = u64::from(std::process::id());
        println!("seed {seed}");
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut below = |bound: usize| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            (random % bound as u64) as usize
        };
        let scene = Scene::with_auth("trust");
        for _ in 0..60 {
            let mut client = replicator(&scene.pooler, "app");
            if below(2) == 0 {
                start_streaming(&mut client);
            }
            for _ in 0..1 + below(8) {
                let all = words();
                let word = &all[below(all.len())];
                let cut = if below(8) == 0 { below(word.len() + 1) } else { word.len() };
                client.wire.send(&word[..cut]);
            }
            if below(2) == 0 {
                // Whatever it is, it comes soon, or it is silence.
                let _ = client.wire.hear_within(Duration::from_millis(20));
            }
        }
        expect_no_walsender();
        scene.end(&["closing because"]);
    }

    fn copy_both() -> Vec<u8> {
        wire::message(b'W', &[0, 0, 0])
    }

    /// What a server may say in answer to a command of replication, and what becomes of it.
    fn answers() -> Vec<(&'static str, Vec<u8>)> {
        let begun = |rest: &[u8]| [&copy_both()[..], rest].concat();
        let data = wire::message(b'd', b"k");
        let fatal = wire::error(&[('S', "FATAL"), ('C', "57P01"), ('M', "the end is near")]);
        vec![
            ("unknown pkt", begun(&wire::message(b'!', b""))),
            ("unknown pkt", begun(&wire::message(b'1', b""))),
            ("unknown pkt", begun(&wire::message(b'K', &[0; 8]))),
            ("unknown pkt", data.clone()),
            ("unknown pkt", wire::message(b'c', b"")),
            ("unknown pkt", begun(&[wire::ready(b'I'), data.clone()].concat())),
            ("unknown pkt", begun(&[wire::ready(b'I'), wire::ready(b'I')].concat())),
            ("unknown pkt", begun(&wire::ready(b'?'))),
            ("closing because", begun(&head(b'd', 0))),
            ("closing because", wire::message(b'W', &[0; 100_000])),
            ("closing because", begun(&head(b'd', LARGEST))),
            ("closing because", begun(&copy_both())),
            ("closing because", begun(&[wire::message(b'c', b""), data].concat())),
            ("closing because", begun(&fatal)),
            ("closing because", begun(&wire::error(&[('S', "ERROR"), ('M', "no more")]))),
        ]
    }

    fn servers() -> (Scene, Vec<FakeServer>) {
        let fakes: Vec<FakeServer> = answers()
            .into_iter()
            .map(|(_, answer)| {
                FakeServer::start(move |wire| {
                    fake::serve(wire, |sql| match sql {
                        "START" => Some(answer.clone()),
                        _ => Some(fake::one_row("answer")),
                    });
                })
            })
            .collect();
        (scene(&fakes), fakes)
    }

    #[test]
    fn a_server_that_streams_out_of_turn_is_nobody_elses() {
        let (scene, _fakes) = servers();
        for (number, (words, answer)) in answers().iter().enumerate() {
            let database = format!("bad{number}");
            let what = String::from_utf8_lossy(&answer[..answer.len().min(40)]).into_owned();
            let mut client = replicator(&scene.pooler, &database);
            client.wire.send(&wire::query("START"));
            client.wire.send(&wire::message(b'd', b"r"));
            let _ = client.wire.hear_within(Duration::from_millis(50));
            drop(client);
            expect_log(&scene.pooler, number, &what, words);
            let mut next = Client::login(scene.pooler.port, APP.name, "", &database);
            assert_eq!(next.one("select 1"), "answer", "{what}");
        }
        scene.end(&[]);
    }

    /// A server of a pool that begins such a stream is not handed on.
    #[test]
    fn a_stream_in_a_pool_ends_with_its_client() {
        let fakes = [FakeServer::start(|wire| {
            fake::serve(wire, |sql| match sql {
                "START" => Some([copy_both(), wire::message(b'd', b"k")].concat()),
                _ => Some(fake::one_row(sql)),
            });
        })];
        let scene = scene(&fakes);
        for sql in ["first", "second"] {
            let mut client = Client::login(scene.pooler.port, APP.name, "", "bad0");
            assert_eq!(client.one(sql), sql);
            client.wire.send(&wire::query("START"));
            client.wire.hear_until(|m| m.kind == b'd').expect("the stream");
            client.wire.send(&wire::message(b'd', b"r"));
        }
        expect_log(&scene.pooler, 0, "a stream", "client disconnect while server was not ready");
        assert!(fakes[0].accepted() >= 2, "each stream had a server of its own");
        scene.end(&[]);
    }
}
