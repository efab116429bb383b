//! The cost of a turn of the loop. It is measured as processor time of the thread, so that other
//! work on the machine adds little. A turn that is too expensive once is checked again with the
//! same seed.

use super::stream::SimStream;
use super::system::System;
use crate::relay::engine::Engine;
use crate::sys::clock;

/// The most that a turn without any bytes may take, in microseconds. Without optimisation the most
/// expensive turn takes a third of that.
const MOST_US: u64 = 5_000;

/// What each byte read or written adds to that, in nanoseconds. The most expensive bytes are those
/// of messages of five bytes.
const NANOSECONDS_A_BYTE: u64 = 1_000;

/// The beginning of a turn.
pub struct Begun {
    at_us: u64,
    moved: usize,
}

/// Turns that cost too much.
#[derive(Default)]
pub struct Costs {
    turns: u32,
    pub expensive: Vec<ExpensiveTurn>,
}

/// A turn that cost too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ExpensiveTurn {
    pub turn: u32,
    pub bytes: usize,
    pub took_us: u64,
}

impl Costs {
    pub fn begin(&self, engine: &Engine<System>) -> Begun {
        Begun { moved: moved(engine), at_us: clock::thread_us() }
    }

    pub fn end(&mut self, begun: Begun, engine: &Engine<System>) {
        let took_us = clock::thread_us() - begun.at_us;
        let bytes = moved(engine) - begun.moved;
        self.turns += 1;
        let most = MOST_US + bytes as u64 * NANOSECONDS_A_BYTE / 1000;
        if took_us > most {
            self.expensive.push(ExpensiveTurn { turn: self.turns, bytes, took_us });
        }
    }
}

/// The number of bytes read and written on all connections that are still known.
fn moved(engine: &Engine<System>) -> usize {
    let (clients, servers) = (engine.core.clients.ids(), engine.core.servers.ids());
    let clients = clients.into_iter().filter_map(|id| engine.clients.get(id));
    let servers = servers.into_iter().filter_map(|id| engine.servers.get(id));
    let carriers = engine.core.carriers.ids().into_iter().filter_map(|id| engine.carriers.get(id));
    let outbound = servers.chain(carriers).map(|outbound| &outbound.conn.stream);
    let open = clients.map(|conn| &conn.stream).chain(outbound);
    open.chain(engine.io.closed.values()).map(|stream: &SimStream| stream.moved).sum()
}
