//! TLS handshakes: begun when the core or a server says so, gone on with when the socket has news,
//! a few in each turn, since each takes the time of hundreds of queries.

use super::conn::{Phase, Stream};
use super::engine::{Engine, Handshake, Io};
use super::room::ConnId;
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::records::secured::ServerTls;
use crate::wire::startup;

/// Steps of handshakes in one turn. A step may sign, which takes up to a millisecond with RSA.
const MOST_HANDSHAKES: usize = 2;

impl<I: Io> Engine<I> {
    /// Puts a client under TLS. `early` is what it has sent of its handshake.
    pub(super) fn secure_client(&mut self, id: ClientId, early: &[u8]) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        let secured = match conn.is_flushed() && conn.carry().is_empty() {
            true => {
                // The library writes by itself, and must hear when there is room again.
                let hear = |stream: &mut _| self.io.hear_of_room(ConnId::Client(id), stream, true);
                let heard = conn.hear_always(hear).map_err(|error| crate::log::plain(&error));
                heard.and_then(|()| self.io.secure_client(&mut conn.stream, early))
            }
            // One byte to a new connection is always taken, unless the peer plays tricks.
            false => Err("the connection takes no bytes".into()),
        };
        match secured {
            Ok(()) => {
                conn.is_securing = true;
                self.queue_client(id);
            }
            Err(error) => self.core.client_tls_failed(id, &error),
        }
    }

    /// Goes on with a client's handshake. Returns whether it is done.
    pub(super) fn go_on_securing_client(&mut self, id: ClientId) -> bool {
        if !self.may_shake_hands() {
            self.queue_client(id);
            return false;
        }
        let Some(conn) = self.clients.get_mut(id) else { return false };
        match self.io.handshake(&mut conn.stream) {
            Handshake::Pending => false,
            Handshake::Done(secured) => {
                conn.is_securing = false;
                // The library may have read past the handshake.
                (conn.is_readable, conn.is_writable) = (true, true);
                self.core.client_secured(id, secured);
                true
            }
            Handshake::Failed(error) => {
                self.core.client_tls_failed(id, &error);
                self.carry_out();
                false
            }
        }
    }

    fn may_shake_hands(&mut self) -> bool {
        self.handshakes += 1;
        self.handshakes <= MOST_HANDSHAKES
    }

    /// Begins TLS with a host that was reached, without asking for it (`sslnegotiation = direct`).
    pub(super) fn begin_tls(&mut self, id: Outbound, tls: &ServerTls) {
        if self.put_under_tls(id, tls) {
            self.shake_hands_outbound(id);
        }
        self.carry_out();
    }

    /// Puts a connection under TLS. Returns whether the handshake may begin.
    fn put_under_tls(&mut self, id: Outbound, tls: &ServerTls) -> bool {
        let Some((outbound, io)) = self.outbound_and_io(id) else { return false };
        match io.secure_server(&mut outbound.conn.stream, tls) {
            Ok(()) => {
                outbound.phase = Phase::Securing;
                outbound.conn.is_writable = true;
                true
            }
            Err(error) => {
                self.core.outbound_tls_failed(id, &error);
                false
            }
        }
    }

    /// Asks a host that was reached for TLS.
    pub(super) fn ask_for_tls(&mut self, id: Outbound) {
        let Some(outbound) = self.outbound(id) else { return };
        outbound.phase = Phase::Asked;
        outbound.conn.is_writable = true;
        let mut bytes = Vec::new();
        startup::ssl_request(&mut bytes);
        self.send_outbound(id, &bytes);
    }

    /// Goes on with a host that was asked for TLS.
    pub(super) fn go_on_securing(&mut self, id: Outbound) {
        let Some(outbound) = self.outbound(id) else { return };
        if outbound.phase == Phase::Asked && !self.heed_tls_answer(id) {
            self.carry_out();
            return;
        }
        let Some(outbound) = self.outbound(id) else { return };
        if outbound.phase == Phase::Securing {
            self.shake_hands_outbound(id);
            self.carry_out();
        }
    }

    /// Reads the answer to the request for TLS. Returns whether the handshake has begun.
    fn heed_tls_answer(&mut self, id: Outbound) -> bool {
        let Some((outbound, io)) = self.outbound_and_io(id) else { return false };
        let hear = |stream: &mut _| io.hear_of_room(ConnId::Outbound(id), stream, true);
        if outbound.conn.flush(hear).is_err() {
            self.core.outbound_gone(id, None);
            return false;
        }
        // One byte more than there may be.
        let mut answer = [0; 2];
        match outbound.conn.stream.read(&mut answer) {
            Ok(0) => self.core.outbound_gone(id, None),
            Ok(1) => return self.heed_tls_byte(id, answer[0]),
            Ok(_) => self.core.outbound_stuffed_tls(id),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => self.core.outbound_gone(id, Some(crate::log::plain(&error))),
        }
        false
    }

    fn heed_tls_byte(&mut self, id: Outbound, answer: u8) -> bool {
        let tls = self.core.outbound_tls(id);
        let (Some(tls), Some((outbound, io))) = (tls, self.outbound_and_io(id)) else {
            // The settings have changed meanwhile.
            self.core.outbound_tls_failed(id, "TLS was switched off");
            return false;
        };
        match answer {
            b'S' => return self.put_under_tls(id, &tls),
            b'N' if !tls.mode.is_required() => match io.connected(&outbound.conn.stream) {
                Ok(Some(ends)) => self.outbound_is_open(id, ends, None),
                Ok(None) => {}
                Err(error) => self.core.connect_failed(id, &error),
            },
            b'N' => self.core.outbound_refused_tls(id),
            // An E is a server that knows no TLS, or one that has no room for us.
            _ => self.core.outbound_mistook_tls(id),
        }
        false
    }

    fn shake_hands_outbound(&mut self, id: Outbound) {
        if !self.may_shake_hands() {
            return self.queue_outbound(id);
        }
        let Some((outbound, io)) = self.outbound_and_io(id) else { return };
        match io.handshake(&mut outbound.conn.stream) {
            Handshake::Pending => {}
            Handshake::Failed(error) => self.core.outbound_tls_failed(id, &error),
            Handshake::Done(secured) => {
                (outbound.conn.is_readable, outbound.conn.is_writable) = (true, true);
                match io.connected(&outbound.conn.stream) {
                    Ok(Some(ends)) => self.outbound_is_open(id, ends, Some(secured)),
                    Ok(None) => self.core.outbound_tls_failed(id, "the connection is gone"),
                    Err(error) => self.core.connect_failed(id, &error),
                }
            }
        }
    }
}
