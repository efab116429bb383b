//! Handshakes that are begun and never done, by the hundred or a byte at a time, and servers whose
//! handshakes are mutations of good ones: bounded memory, no server for nobody, and others go on.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use openssl::ssl::HandshakeError;

use super::binding::acceptor;
use super::hostile::{Held, agreed, client_hello};
use super::support::certificates::{p256, signed};
use super::support::fake::FakeServer;
use super::support::postgres::APP;
use super::support::rng::Rng;
use super::support::{Setup, Witness, eventually, wire};
use super::{offering, postgres_with_tls, root};

#[test]
fn a_flood_of_half_open_handshakes_costs_little_and_no_server() {
    const CLIENTS: usize = 400;
    let pooler =
        offering("prefer").set("max_client_conn", "1000").set("client_login_timeout", "5").start();
    let witness = Witness::start(pooler.port);
    let (before, hello) = (pooler.resident_kb(), client_hello());
    let half_open: Vec<TcpStream> = (0..CLIENTS)
        .map(|number| {
            let mut stream = agreed(&pooler);
            // Half of them go on as far as the pooler's own part, and say nothing to it.
            let length = if number % 2 == 0 { hello.len() / 2 } else { hello.len() };
            stream.write_all(&hello[..length]).expect("sent");
            stream
        })
        .collect();
    let log_ends = || pooler.log().matches("closing because: client_login_timeout").count();
    let grown = pooler.resident_kb().saturating_sub(before);
    assert!(grown < 80 * CLIENTS as u64, "{grown} kB for {CLIENTS} handshakes");
    eventually("all of them to be ended", || (log_ends() >= CLIENTS).then_some(()));
    drop(half_open);
    let servers = pooler.log().matches("new connection to server").count();
    assert_eq!(servers, 1, "the witness has one, and nobody else");
    witness.finish();
}

#[test]
fn a_handshake_that_trickles_meets_the_timeout_though_it_never_rests() {
    let pooler = offering("require").set("client_login_timeout", "1").start();
    let (hello, begin) = (client_hello(), Instant::now());
    let mut stream = agreed(&pooler);
    stream.set_read_timeout(Some(Duration::from_millis(20))).expect("a limit");
    let mut sent = 0;
    let has_ended = |stream: &mut TcpStream| match stream.read(&mut [0; 512]) {
        Ok(0) => true,
        Ok(_) => false,
        Err(error) => {
            !matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut)
        }
    };
    while !has_ended(&mut stream) && sent < hello.len() - 1 {
        // The pooler may have closed just now.
        let _ = stream.write_all(&hello[sent..=sent]);
        sent += 1;
    }
    assert!(sent < hello.len() - 1, "it was never ended, in {:?}", begin.elapsed());
    pooler.wait_log(&["closing because: client_login_timeout"]);
}

/// The first part of a server's handshake, whole and good.
fn server_hello(stream: &TcpStream) -> Option<Vec<u8>> {
    let pair = signed(root(), "localhost", &["localhost"], p256());
    let mut held = Held::new(stream.try_clone().ok()?);
    held.shut();
    stream.set_read_timeout(Some(Duration::from_millis(100))).ok()?;
    // It waits for the client's answer, which does not come.
    match acceptor(&pair).accept(held) {
        Err(HandshakeError::WouldBlock(mut middle)) => Some(middle.get_mut().take()),
        _ => None,
    }
}

#[test]
fn mutations_of_a_servers_handshake_harm_nobody() {
    const SEEDS: u64 = 100;
    static SEED: AtomicU64 = AtomicU64::new(0);
    let server = FakeServer::start(|peer| {
        if peer.hear_startup().is_err() {
            return;
        }
        peer.send(b"S");
        let Some(mut data) = server_hello(&peer.stream) else { return };
        let mut rng = Rng::new(SEED.fetch_add(1, Ordering::SeqCst));
        for _ in 0..1 + rng.below(4) {
            let at = rng.below(data.len());
            match rng.below(4) {
                0 => data[at] = rng.below(256) as u8,
                1 => drop(data.splice(at..=at, [])),
                2 => data.insert(at, rng.below(256) as u8),
                _ => data.truncate(at.max(1)),
            }
        }
        peer.send(&data);
        let _ = peer.stream.read(&mut [0; 4096]);
    });
    let pooler = Setup::empty()
        .database("bad", &format!("host=127.0.0.1 port={}", server.port))
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .set("server_tls_sslmode", "require")
        .set("server_login_retry", "0.01")
        .set("server_connect_timeout", "1")
        .set("query_wait_timeout", "0")
        .start();
    let witness = Witness::start(pooler.port);
    let before = pooler.resident_kb();
    let mut waiting = pooler.connect();
    waiting.send(&wire::startup(&[("user", APP.name), ("database", "bad")]));
    eventually("all mutations to be tried", || {
        assert!(pooler.is_alive(), "seed {}", SEED.load(Ordering::SeqCst));
        if waiting.hear_within(Duration::from_millis(10)).is_ok() {
            // It was told that logins fail: the next one asks anew.
            waiting = pooler.connect();
            waiting.send(&wire::startup(&[("user", APP.name), ("database", "bad")]));
        }
        (SEED.load(Ordering::SeqCst) >= SEEDS).then_some(())
    });
    pooler.wait_log(&["TLS handshake error: handshake failed: "]);
    witness.finish();
    let grown = pooler.resident_kb().saturating_sub(before);
    assert!(grown < 10_000, "grown by {grown} kB");
}
