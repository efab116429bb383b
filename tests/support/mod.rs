//! What the tests of the built program stand on: a throw-away PostgreSQL, the pooler under test on
//! ports of its own, a client and a server that speak the protocol byte by byte, and a scratch
//! folder that goes with the test binary however it ends.
//!
//! The pooler under test is the one cargo built, or the command that `PGBOUNCER_BIN` names, so the
//! same tests run against the reference. Nothing here sleeps for a fixed time: whatever is waited
//! for has a deadline (`PATIENCE`) and a name that a failure prints.
#![allow(dead_code, unused_imports, reason = "each test binary uses its own part of it")]

#[cfg(feature = "tls")]
pub mod certificates;
pub mod client;
pub mod fake;
pub mod host;
pub mod pooler;
pub mod postgres;
pub mod rng;
pub mod runner;
pub mod scram;
pub mod session;
pub mod slapd;
pub mod tool;
pub mod wire;
pub mod witness;

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

pub use client::{Client, Failure};
pub use fake::FakeServer;
pub use pooler::{Pooler, Setup};
pub use postgres::Postgres;
pub use rng::Rng;
pub use wire::{Message, Wire};
pub use witness::Witness;

/// How long a test waits for something that should come at once. Long, because the machine may be
/// busy with other tests; nothing waits for all of it when all is well.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Sets a flag when it goes, however a test ends: threads that wait for the flag end with the test.
pub struct SetAtEnd<'a>(pub &'a AtomicBool);

impl Drop for SetAtEnd<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// Asks `probe` again and again until it answers, and fails by the name of what was awaited.
pub fn eventually<T>(what: &str, probe: impl FnMut() -> Option<T>) -> T {
    within(PATIENCE, probe).unwrap_or_else(|| panic!("waited {PATIENCE:?} in vain for {what}"))
}

/// Asks `probe` again and again for as long as `limit`.
pub fn within<T>(limit: Duration, mut probe: impl FnMut() -> Option<T>) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        if let Some(answer) = probe() {
            return Some(answer);
        }
        if Instant::now() >= end {
            return None;
        }
        sleep(Duration::from_millis(5));
    }
}
