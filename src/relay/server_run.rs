//! One run of a server: read, judge, send on to its client.

use super::conn::{Got, Heading, Inbound, OutboundConn, Phase};
use super::engine::{Engine, Io};
use crate::pool::ids::{ClientId, Outbound, ServerId};
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::verdict::ServerVerdict;
use crate::pool::records::server::Server;
use crate::wire::head::{self, HEAD_BYTES, Head, ParsedHead};

/// Bytes of a server, and what comes of them.
struct ServerBytes<'a> {
    data: &'a [u8],
    /// How many of them are judged.
    taken: usize,
    is_closed: bool,
    client: Option<ClientId>,
    /// What is left of the message that was judged last; kept with the connection after the run.
    inbound: Inbound<ClientId>,
    to_client: OutgoingBytes<'a>,
}

impl<I: Io> Engine<I> {
    /// Writes the core's lines to the log. Called before bytes go out, so that an error is in the
    /// log before a peer reads it.
    #[inline]
    pub fn write_lines(&mut self) {
        if self.core.has_lines() {
            self.io.log(self.core.now, self.core.take_lines());
        }
    }

    pub(super) fn run_server(&mut self, id: ServerId) {
        let mut runs = match self.core.settings().sbuf_loopcnt {
            0 => u32::MAX,
            runs => runs,
        };
        while self.may_read_server(id) {
            if runs == 0 {
                return self.queue_server(id);
            }
            runs -= 1;
            if !self.read_server(id) {
                return;
            }
        }
    }

    fn may_read_server(&self, id: ServerId) -> bool {
        let Some(server) = self.servers.get(id) else { return false };
        if !server.conn.is_readable || server.phase != Phase::Open {
            return false;
        }
        let client = self.core.servers.get(id).and_then(Server::client);
        client.and_then(|client| self.clients.get(client)).is_none_or(|client| client.is_flushed())
    }

    /// Reads once. Returns whether the connection is still there.
    fn read_server(&mut self, id: ServerId) -> bool {
        let mut block = std::mem::take(&mut self.block);
        let alive = self.read_server_into(id, &mut block);
        self.block = block;
        alive
    }

    fn read_server_into(&mut self, id: ServerId, block: &mut [u8]) -> bool {
        let Some(server) = self.servers.get_mut(id) else { return false };
        let conn = &mut server.conn;
        let held = conn.carry().len();
        // Half of the block is a message that waits for its rest: that is read in a buffer of its
        // own, which `Back::must_see` bounds.
        if held >= block.len() / 2 {
            return self.read_server_behind(id);
        }
        block[..held].copy_from_slice(conn.carry());
        match conn.read(&mut block[held..]) {
            Got::Bytes(count) => {
                conn.drop_carry();
                self.server_bytes(id, &block[..held + count])
            }
            Got::Nothing => true,
            Got::End => self.server_ended(id, None),
            Got::Failed(error) => self.server_ended(id, Some(crate::log::plain(&error))),
        }
    }

    fn read_server_behind(&mut self, id: ServerId) -> bool {
        let Some(server) = self.servers.get_mut(id) else { return false };
        let conn = &mut server.conn;
        let mut held = conn.take_carry();
        let before = held.len();
        held.resize(before * 2, 0);
        match conn.read(&mut held[before..]) {
            Got::Bytes(count) => {
                held.truncate(before + count);
                self.server_bytes(id, &held)
            }
            Got::Nothing => {
                held.truncate(before);
                conn.put_carry(held);
                true
            }
            Got::End => self.server_ended(id, None),
            Got::Failed(error) => self.server_ended(id, Some(crate::log::plain(&error))),
        }
    }

    fn server_ended(&mut self, id: ServerId, error: Option<String>) -> bool {
        self.core.outbound_gone(Outbound::Server(id), error);
        self.carry_out();
        false
    }

    /// Judges bytes of a server and sends on what is to be sent on. Returns whether the connection
    /// is still there.
    fn server_bytes(&mut self, id: ServerId, data: &[u8]) -> bool {
        let Some(OutboundConn { conn, .. }) = self.servers.get(id) else { return false };
        let inbound = conn.inbound;
        let client = self.core.servers.get(id).and_then(Server::client);
        let to_client = OutgoingBytes::new(data, std::mem::take(&mut self.answers));
        let mut judged =
            ServerBytes { data, taken: 0, is_closed: false, client, inbound, to_client };
        self.judge_server_bytes(id, &mut judged);
        if let Some(new) = judged.client.filter(|_| judged.client != client) {
            self.tell_first(new);
        }
        if let Some(client) = judged.client {
            let bytes = judged.to_client.bytes();
            if !bytes.is_empty() {
                self.core.count_bytes(client, 0, bytes.len());
                self.send_client(client, bytes);
            }
        }
        self.answers = judged.to_client.take_room();
        let is_there = self.note_progress(id, &judged);
        self.carry_out();
        if !is_there || judged.is_closed {
            return false;
        }
        self.part_if_drained(id);
        self.carry_out();
        if let Some(client) = judged.client {
            self.core.replies_came(client);
            self.carry_out();
        }
        self.servers.get(id).is_some()
    }

    /// Notes how far the server has come: whether its client has got half a message, what could not
    /// be judged yet, and whether a message is half read. Returns whether the connection is there.
    fn note_progress(&mut self, id: ServerId, judged: &ServerBytes<'_>) -> bool {
        let &ServerBytes { inbound, client, is_closed, .. } = judged;
        let Some(OutboundConn { conn, .. }) = self.servers.get_mut(id) else { return false };
        conn.inbound = inbound;
        if let Some(client) = client
            && let Some(other) = self.clients.get_mut(client)
        {
            other.is_cut = inbound.way() == Heading::Forward(client);
        }
        if is_closed {
            return true;
        }
        let rest = &judged.data[judged.taken..];
        if !rest.is_empty() {
            conn.put_carry(rest.to_vec());
        }
        let is_mid_message = !inbound.is_boundary() || !conn.carry().is_empty();
        self.core.set_server_mid_message(id, is_mid_message);
        true
    }

    fn judge_server_bytes(&mut self, id: ServerId, judged: &mut ServerBytes<'_>) {
        let count = judged.data.len();
        while judged.taken < count {
            let at = judged.taken;
            match judged.inbound.way() {
                Heading::Boundary => {
                    self.pass_routine_replies(id, judged);
                    if judged.taken == count || !self.judge_server_message(id, judged) {
                        break;
                    }
                }
                Heading::Forward(to) => {
                    judged.taken += judged.inbound.go_on(count - at);
                    // The client may be gone: no other one may see the rest of its message.
                    if self.core.servers.get(id).and_then(Server::client) == Some(to) {
                        judged.to_client.forward(at..judged.taken);
                    }
                }
                Heading::Drop => judged.taken += judged.inbound.go_on(count - at),
            }
        }
        // Replies of the pooler's own that are due after the last message.
        let at_boundary = judged.inbound.is_boundary();
        if at_boundary && !judged.is_closed && self.core.has_due_answers(id) {
            self.core.push_due_answers(id, &mut judged.to_client);
        }
    }

    /// Passes on the whole messages that stand next and need no verdict of their own.
    #[inline(always)]
    fn pass_routine_replies(&mut self, id: ServerId, judged: &mut ServerBytes<'_>) {
        let Some(client) = judged.client else { return };
        let at = judged.taken;
        judged.taken += self.core.routine_replies(id, client, &judged.data[at..]);
        judged.to_client.forward(at..judged.taken);
    }

    fn judge_server_message(&mut self, id: ServerId, judged: &mut ServerBytes<'_>) -> bool {
        let rest = &judged.data[judged.taken..];
        let head = match head::parse(rest) {
            ParsedHead::Head(head) => head,
            ParsedHead::Short => return false,
            ParsedHead::Bad => {
                self.core.server_sent_bad_head(id);
                judged.is_closed = true;
                return false;
            }
        };
        let seen = &rest[HEAD_BYTES..rest.len().min(HEAD_BYTES + head.body)];
        let verdict = self.core.judge_server(id, head, seen, &mut judged.to_client);
        judged.heed(head, verdict)
    }
}

impl ServerBytes<'_> {
    /// Does as the judge says. Returns whether to go on.
    #[inline(always)]
    fn heed(&mut self, head: Head, verdict: ServerVerdict) -> bool {
        let (at, length) = (self.taken, HEAD_BYTES + head.body);
        let here = length.min(self.data.len() - at);
        match verdict {
            ServerVerdict::Forward(to) => {
                // A message before this one may have made the server free, and this client's.
                self.client = Some(to);
                self.taken += here;
                self.to_client.forward(at..self.taken);
                if here < length {
                    self.inbound = Inbound::forward(to, length - here);
                }
            }
            ServerVerdict::Drop => {
                self.taken += here;
                if here < length {
                    self.inbound = Inbound::drop(length - here);
                }
            }
            // The bytes stay in `carry`; `Back::largest` bounds them.
            ServerVerdict::Need(_) => return false,
            ServerVerdict::Closed => {
                self.is_closed = true;
                return false;
            }
        }
        true
    }
}
