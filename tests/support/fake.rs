//! A server that does what a test's script says: one thread for each connection that the pooler
//! opens, ended when the test drops it.

use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::wire::{self, Gone, SSL_REQUEST, Wire};

pub struct FakeServer {
    pub port: u16,
    shared: Arc<Shared>,
}

#[derive(Default)]
struct Shared {
    accepted: AtomicUsize,
    is_over: AtomicBool,
}

impl FakeServer {
    /// Listens, and runs `script` on each connection until it returns.
    pub fn start(script: impl Fn(&mut Wire) + Send + Sync + 'static) -> FakeServer {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a port");
        let port = listener.local_addr().expect("a listener has an address").port();
        let shared = Arc::new(Shared::default());
        let (script, ours) = (Arc::new(script), shared.clone());
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ours.is_over.load(Ordering::SeqCst) {
                    return;
                }
                ours.accepted.fetch_add(1, Ordering::SeqCst);
                let script = script.clone();
                thread::spawn(move || {
                    let mut wire = Wire::new(stream);
                    script(&mut wire);
                    let _ = wire.stream.shutdown(Shutdown::Both);
                });
            }
        });
        FakeServer { port, shared }
    }

    /// How many connections it has accepted.
    pub fn accepted(&self) -> usize {
        self.shared.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for FakeServer {
    fn drop(&mut self) {
        self.shared.is_over.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// What a server of version 15 says of itself; the last one is no setting that PostgreSQL has.
pub const PARAMETERS: &[(&str, &str)] = &[
    ("server_version", "15.0"),
    ("server_encoding", "UTF8"),
    ("client_encoding", "UTF8"),
    ("application_name", ""),
    ("DateStyle", "ISO, MDY"),
    ("IntervalStyle", "postgres"),
    ("TimeZone", "UTC"),
    ("integer_datetimes", "on"),
    ("standard_conforming_strings", "on"),
];

/// Reads the startup packet, declining encryption; None for a cancel request.
pub fn hear_startup(wire: &mut Wire) -> Result<Option<Vec<u8>>, Gone> {
    loop {
        match wire.hear_startup()? {
            (SSL_REQUEST, _) => wire.send(b"N"),
            (wire::CANCEL, _) => return Ok(None),
            (_, parameters) => return Ok(Some(parameters)),
        };
    }
}

/// AuthenticationOk to ReadyForQuery, as a server says after the last step of a login.
pub fn welcome() -> Vec<u8> {
    let mut bytes = wire::message(b'R', &[0, 0, 0, 0]);
    for (name, value) in PARAMETERS {
        bytes.extend(wire::message(b'S', format!("{name}\0{value}\0").as_bytes()));
    }
    bytes.extend(wire::message(b'K', &[0, 0, 0, 7, 1, 2, 3, 4]));
    bytes.extend(wire::ready(b'I'));
    bytes
}

/// One row with one value, as the answer to a simple query.
pub fn one_row(value: &str) -> Vec<u8> {
    let mut bytes = wire::row_description(&["value"]);
    bytes.extend(wire::data_row(&[value.as_bytes()]));
    bytes.extend(wire::message(b'C', b"SELECT 1\0"));
    bytes.extend(wire::ready(b'I'));
    bytes
}

/// Logs the pooler in without a password and answers its queries by `answer`, which gets the text
/// of each simple query; other messages get none. Returns when the pooler has gone, or when
/// `answer` is None.
pub fn serve(wire: &mut Wire, answer: impl Fn(&str) -> Option<Vec<u8>>) {
    if !matches!(hear_startup(wire), Ok(Some(_))) || !wire.send(&welcome()) {
        return;
    }
    while let Ok(message) = wire.hear() {
        if message.kind == b'X' {
            return;
        }
        if message.kind != b'Q' {
            continue;
        }
        let Some(bytes) = answer(&message.text()) else { return };
        wire.send(&bytes);
    }
}
