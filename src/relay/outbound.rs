//! Connections that the pooler opens, to servers and for cancel requests: how they come about, and
//! the short life of those that carry a request. What servers say is `server_run`'s.

use std::io;

use super::conn::{Got, OutboundConn, Phase, Readiness};
use super::engine::{DRAIN_READS, Engine, Io, NotBegun};
use super::room::ConnId;
use crate::log::{Ends, Level};
use crate::pool::core::Target;
use crate::pool::ids::{CarrierId, Outbound};
use crate::pool::records::secured::Secured;

impl<I: Io> Engine<I> {
    pub(super) fn outbound(&mut self, id: Outbound) -> Option<&mut OutboundConn<I::Stream>> {
        self.outbound_and_io(id).map(|(outbound, _)| outbound)
    }

    /// A connection, and the system that it is of.
    pub(super) fn outbound_and_io(
        &mut self,
        id: Outbound,
    ) -> Option<(&mut OutboundConn<I::Stream>, &mut I)> {
        let outbound = match id {
            Outbound::Carrier(id) => self.carriers.get_mut(id),
            Outbound::Server(id) => self.servers.get_mut(id),
        };
        Some((outbound?, &mut self.io))
    }

    /// The stream of a connection, for the simulation and for fuzzing.
    pub fn outbound_stream(&mut self, id: Outbound) -> Option<&mut I::Stream> {
        Some(&mut self.outbound(id)?.conn.stream)
    }

    /// The kernel has news of a connection that the pooler has opened, for the simulation and for
    /// fuzzing.
    pub fn outbound_event(&mut self, id: Outbound, readiness: Readiness) {
        match id {
            Outbound::Carrier(id) => self.carrier_event(id, readiness),
            Outbound::Server(id) => self.server_event(id, &readiness),
        }
    }

    pub(super) fn connect(&mut self, id: Outbound, to: &Target) {
        if !self.core.is_there(id) {
            return;
        }
        let begun = self.io.connect(id, to);
        match (begun, id) {
            (Ok(stream), Outbound::Carrier(id)) => {
                self.carriers.insert(id, OutboundConn::begun(stream));
            }
            (Ok(stream), Outbound::Server(id)) => {
                self.servers.insert(id, OutboundConn::begun(stream));
            }
            (Err(NotBegun::Exhausted(error)), _) => {
                self.core.connect_not_begun(id, &crate::log::plain(&error));
            }
            (Err(NotBegun::Failed(error)), _) => {
                self.core.connect_failed(id, &crate::log::plain(&error));
            }
        }
    }

    /// Goes on with a connection that is not open yet.
    #[cold]
    pub(super) fn go_on_to_open(&mut self, id: Outbound, readiness: Readiness) {
        match self.outbound(id).map(|outbound| outbound.phase) {
            Some(Phase::Connecting) => self.finish_connect(id, readiness),
            Some(Phase::Asked | Phase::Securing) => self.go_on_securing(id),
            Some(Phase::Open) | None => {}
        }
    }

    fn finish_connect(&mut self, id: Outbound, readiness: Readiness) {
        if !readiness.writable && !readiness.ending {
            return;
        }
        let Some((outbound, io)) = self.outbound_and_io(id) else { return };
        match io.connected(&outbound.conn.stream) {
            Ok(None) => {}
            Ok(Some(ends)) => match self.core.outbound_tls(id) {
                Some(tls) if tls.is_direct => self.begin_tls(id, &tls),
                Some(_) => self.ask_for_tls(id),
                None => self.outbound_is_open(id, ends, None),
            },
            Err(error) => self.core.connect_failed(id, &error),
        }
    }

    /// The connection stands, and is secured if it has to be: the core learns of it.
    pub(super) fn outbound_is_open(&mut self, id: Outbound, ends: Ends, tls: Option<Box<Secured>>) {
        let Some(outbound) = self.outbound(id) else { return };
        outbound.phase = Phase::Open;
        self.core.connected(id, ends, tls);
        self.carry_out();
        match id {
            Outbound::Carrier(id) => self.run_carrier(id),
            Outbound::Server(id) => self.run_server(id),
        }
    }

    /// Runs a connection that was in the run queue.
    pub(super) fn go_on_with_outbound(&mut self, id: Outbound) {
        let Some(outbound) = self.outbound(id) else { return };
        outbound.conn.is_queued = false;
        match (outbound.phase, id) {
            (Phase::Asked | Phase::Securing, _) => self.go_on_securing(id),
            (Phase::Connecting | Phase::Open, Outbound::Carrier(id)) => self.run_carrier(id),
            (Phase::Connecting | Phase::Open, Outbound::Server(id)) => self.run_server(id),
        }
    }

    pub(super) fn send_outbound(&mut self, id: Outbound, bytes: &[u8]) {
        self.write_lines();
        let Some((outbound, io)) = self.outbound_and_io(id) else { return };
        let hear = |stream: &mut _| io.hear_of_room(ConnId::Outbound(id), stream, true);
        if let Err(error) = outbound.conn.send(bytes, hear) {
            self.outbound_broke(id, &error);
        }
    }

    /// A write has failed. What the other end said last may still be there to be read, and tells
    /// more than the error does.
    #[cold]
    pub(super) fn outbound_broke(&mut self, id: Outbound, error: &io::Error) {
        if let Some(outbound) = self.outbound(id) {
            outbound.conn.is_readable = true;
            outbound.conn.is_ending = true;
        }
        self.core.log(Level::Debug, format!("send to server failed: {error}"));
        self.queue_outbound(id);
    }

    /// The kernel has news of a carrier.
    #[cold]
    pub fn carrier_event(&mut self, id: CarrierId, readiness: Readiness) {
        let Some(carrier) = self.carriers.get_mut(id) else { return };
        carrier.conn.take_news(&readiness);
        if carrier.phase != Phase::Open {
            return self.go_on_to_open(Outbound::Carrier(id), readiness);
        }
        let whose = ConnId::Outbound(Outbound::Carrier(id));
        let hear = |stream: &mut _| self.io.hear_of_room(whose, stream, true);
        if readiness.writable
            && let Err(error) = carrier.conn.flush(hear)
        {
            self.outbound_broke(Outbound::Carrier(id), &error);
        }
        self.run_carrier(id);
    }

    /// Waits for the end of a carrier's connection; bytes before that mean nothing. A peer that
    /// sends without end is read a little in each turn, until the sweep closes the carrier.
    pub(super) fn run_carrier(&mut self, id: CarrierId) {
        for _ in 0..DRAIN_READS {
            let Some(carrier) = self.carriers.get_mut(id) else { return };
            if !carrier.conn.is_readable || carrier.phase != Phase::Open {
                return;
            }
            let error = match carrier.conn.read(&mut self.block) {
                Got::Bytes(_) => continue,
                Got::Nothing => return,
                Got::End => None,
                Got::Failed(error) => Some(crate::log::plain(&error)),
            };
            self.core.outbound_gone(Outbound::Carrier(id), error);
            return self.carry_out();
        }
        self.queue_outbound(Outbound::Carrier(id));
    }

    pub(super) fn close_carrier(&mut self, id: CarrierId) {
        self.write_lines();
        if let Some(carrier) = self.carriers.remove(id) {
            self.io.close(carrier.conn.stream);
        }
        self.core.free_carrier(id);
    }
}
