//! What the process shows over HTTP: /metrics, /healthz, /readyz, /status.json, and a page for
//! people. Here requests are parsed and answers made, from the core and from the tables of the
//! console. There is no I/O, and nothing changes the core.

pub mod answer;
#[cfg(test)]
mod cost;
mod exposition;
mod families;
mod gather;
mod health;
pub mod history;
pub mod login;
mod own;
pub mod request;
mod route;
mod status;
#[cfg(test)]
mod tests;
mod turns;
mod walk;

pub use gather::Gathering;
pub use route::{HttpReply, reply};

use self::turns::TurnTimes;
use crate::console::{BufferedBytes, Buffers};
use crate::pool::core::Core;
use crate::pool::ids::{CarrierId, ClientId, ServerId};

/// What answers tell of the process and the core does not know.
#[derive(Default)]
pub struct Facts {
    /// Microseconds since 1970.
    pub started_us: u64,
    /// Processor time used, in microseconds.
    pub cpu_us: u64,
    /// Bytes of memory in use, and of address space; 0 if unknown.
    pub resident: u64,
    pub address_space: u64,
    pub open_fds: u64,
    pub most_fds: u64,
    pub reloads: Reloads,
    /// How long the turns of the loop took.
    pub turns: TurnTimes,
    /// Whether TCP sockets for clients are open.
    pub is_listening: bool,
    /// What the next RELOAD would change, as the files were when they were last read.
    pub pending: PendingReload,
}

#[derive(Clone, Copy, Default)]
pub struct Reloads {
    pub done: u64,
    pub failed: u64,
}

/// What a RELOAD would do.
#[derive(Clone, Default)]
pub struct PendingReload {
    /// Whether the files have been read.
    pub is_known: bool,
    /// A line for each change.
    pub changes: Vec<String>,
    /// Why the RELOAD would fail.
    pub error: Option<String>,
}

/// What answers are made from.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub core: &'a Core,
    pub facts: &'a Facts,
    pub history: &'a history::History,
}

/// No table that is read here shows buffers.
struct NoBuffers;

impl Buffers for NoBuffers {
    fn client(&self, _: ClientId) -> BufferedBytes {
        BufferedBytes::default()
    }
    fn server(&self, _: ServerId) -> BufferedBytes {
        BufferedBytes::default()
    }
    fn carrier(&self, _: CarrierId) -> BufferedBytes {
        BufferedBytes::default()
    }
}
