//! What a turn of the loop has cost. Time is what the thread has used of a processor, so that other
//! work of the machine adds little; and what is too dear once is looked at again by the same seed.

use super::stream::SimStream;
use super::system::System;
use crate::relay::engine::Engine;
use crate::sys::clock;

/// A turn in which nothing moves may take so long, in microseconds. Without optimisation the
/// dearest turn takes a third of what is allowed.
const MOST_US: u64 = 5_000;

/// Each byte that is read or written adds so much to it. The dearest bytes are those of messages
/// of five bytes.
const NANOSECONDS_A_BYTE: u64 = 1_000;

/// Where a turn has begun.
pub struct Begun {
    at_us: u64,
    moved: usize,
}

/// Turns that cost too much.
#[derive(Default)]
pub struct Costs {
    turns: u32,
    pub dear: Vec<Dear>,
}

/// A turn that cost too much.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dear {
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
            self.dear.push(Dear { turn: self.turns, bytes, took_us });
        }
    }
}

/// Bytes that have gone in and out by the connections that are known still.
fn moved(engine: &Engine<System>) -> usize {
    let (clients, servers) = (engine.core.clients.ids(), engine.core.servers.ids());
    let clients = clients.into_iter().filter_map(|id| engine.clients.get(id));
    let servers = servers.into_iter().filter_map(|id| engine.servers.get(id));
    let carriers = engine.core.carriers.ids().into_iter().filter_map(|id| engine.carriers.get(id));
    let outbound = servers.chain(carriers).map(|outbound| &outbound.conn.stream);
    let open = clients.map(|conn| &conn.stream).chain(outbound);
    open.chain(engine.io.closed.values()).map(|stream: &SimStream| stream.moved).sum()
}
