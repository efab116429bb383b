//! One run of a client: read, judge, send on, until there is nothing more or others have a turn.

use super::conn::{Got, Inbound};
use super::engine::{Engine, HeldBytes, Io};
use crate::console;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::login::entry::Opening;
use crate::pool::owed::verdict::Verdict;
use crate::pool::records::client::Client;
use crate::wire::head::{self, HEAD, Head, Parsed};

/// How a stretch of bytes was dealt with.
struct Judged {
    /// So many bytes need not be looked at again.
    taken: usize,
    /// Nothing is left of them.
    is_all_taken: bool,
    /// The connection is being closed: the rest is of no interest.
    is_closed: bool,
    /// To whom what is in `outgoing` goes.
    server: Option<ServerId>,
}

impl<I: Io> Engine<I> {
    /// Judges what is held of a client, then reads on; one that cannot be read is watched.
    pub(super) fn run_client(&mut self, id: ClientId) {
        let was_held = self.is_held(id);
        self.judge_and_read(id);
        self.watch_client(id, was_held);
    }

    fn judge_and_read(&mut self, id: ClientId) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        if conn.is_securing && !self.go_on_securing_client(id) {
            return;
        }
        let Some(conn) = self.clients.get_mut(id) else { return };
        // What lacks bytes is judged when they come, and stays where it is until then: a long
        // message would be copied for each of its pieces.
        let has_more_to_judge = !conn.carry().is_empty() && !conn.awaits_more(conn.carry().len());
        if has_more_to_judge && self.may_take(id) {
            let held = self.clients.get_mut(id).map(|conn| conn.take_carry());
            if !self.client_bytes_owned(id, held.unwrap_or_default()) {
                return;
            }
        }
        let mut runs = match self.core.settings().sbuf_loopcnt {
            0 => u32::MAX,
            runs => runs,
        };
        while self.may_read_client(id) {
            if runs == 0 {
                return self.queue_client(id);
            }
            runs -= 1;
            if !self.read_client(id) {
                return;
            }
        }
    }

    /// Whether what comes from this client could be judged and passed on.
    pub(super) fn may_take(&self, id: ClientId) -> bool {
        let Some(conn) = self.clients.get(id) else { return false };
        let Some(client) = self.core.clients.get(id) else { return false };
        let server = client.server().and_then(|server| self.servers.get(server));
        client.hold().is_none()
            && conn.is_flushed()
            && server.is_none_or(|server| server.conn.is_flushed())
    }

    fn may_read_client(&self, id: ClientId) -> bool {
        let Some(conn) = self.clients.get(id) else { return false };
        conn.is_readable && !conn.is_securing && self.may_take(id)
    }

    /// Reads once. Returns whether the connection is still there.
    fn read_client(&mut self, id: ClientId) -> bool {
        let mut block = std::mem::take(&mut self.block);
        let has_server = self.core.clients.get(id).is_some_and(|c| c.server().is_some());
        let most = match has_server {
            true => block.len(),
            // What cannot be passed on must be kept: no more than pkt_buf of each client.
            false => block.len().min(self.core.settings().pkt_buf as usize),
        };
        let alive = self.read_client_into(id, &mut block, most);
        self.block = block;
        alive
    }

    fn read_client_into(&mut self, id: ClientId, block: &mut [u8], most: usize) -> bool {
        let Some(conn) = self.clients.get_mut(id) else { return false };
        let held = conn.carry().len();
        if held + most > block.len() || held > most {
            return self.read_client_behind(id, most);
        }
        block[..held].copy_from_slice(conn.carry());
        match conn.read(&mut block[held..held + most]) {
            Got::Bytes(count) => {
                conn.take_carry();
                self.client_bytes(id, &block[..held + count])
            }
            Got::Nothing => true,
            Got::End => self.client_ended(id, None),
            Got::Failed(error) => self.client_ended(id, Some(crate::log::plain(&error))),
        }
    }

    /// Reads on behind a long message that must be whole before it is judged.
    fn read_client_behind(&mut self, id: ClientId, most: usize) -> bool {
        let Some(conn) = self.clients.get_mut(id) else { return false };
        let mut held = conn.take_carry();
        let before = held.len();
        held.resize(before + most, 0);
        match conn.read(&mut held[before..]) {
            Got::Bytes(count) => {
                held.truncate(before + count);
                self.client_bytes_owned(id, held)
            }
            Got::Nothing => {
                held.truncate(before);
                conn.put_carry(held);
                true
            }
            Got::End => self.client_ended(id, None),
            Got::Failed(error) => self.client_ended(id, Some(crate::log::plain(&error))),
        }
    }

    pub(super) fn client_ended(&mut self, id: ClientId, error: Option<String>) -> bool {
        self.core.client_gone(id, error);
        self.carry_out();
        false
    }

    /// As [`Engine::client_bytes`]; what cannot be judged yet is kept where it is.
    fn client_bytes_owned(&mut self, id: ClientId, data: Vec<u8>) -> bool {
        if let Some(conn) = self.clients.get_mut(id)
            && conn.awaits_more(data.len())
        {
            conn.put_carry(data);
            return true;
        }
        let judged = self.judge_client_bytes(id, &data);
        if judged.taken > 0 || judged.is_closed {
            return self.heed_judged(id, &data, &judged);
        }
        if let Some(conn) = self.clients.get_mut(id) {
            conn.put_carry(data);
        }
        self.heed_judged(id, &[], &judged)
    }

    /// Judges bytes of a client and sends on what is to be sent on. Returns whether the connection
    /// is still there.
    fn client_bytes(&mut self, id: ClientId, data: &[u8]) -> bool {
        let judged = self.judge_client_bytes(id, data);
        self.heed_judged(id, data, &judged)
    }

    /// Does what the judgement of `data` asks for. What is left of it is kept.
    fn heed_judged(&mut self, id: ClientId, data: &[u8], judged: &Judged) -> bool {
        let may_repeat = std::mem::take(&mut self.core.may_repeat);
        if judged.is_closed {
            // What was judged before the end is owed already. It goes out before what the end
            // brings about.
            if let Some(server) = judged.server {
                self.send_outgoing(server, data);
            }
            self.send_back(id);
            self.carry_out();
            return false;
        }
        if let Some(conn) = self.clients.get_mut(id) {
            let rest = &data[judged.taken..];
            if !rest.is_empty() {
                conn.put_carry(rest.to_vec());
            }
        }
        if let Some(server) = judged.server {
            self.pass_to_server(id, server, data);
            if may_repeat && judged.is_all_taken && self.is_at_boundary(id) {
                self.core.keep_for_repeat(server, data);
            }
        }
        // Logins, and what is answered here, are no traffic of the pool's.
        if judged.server.is_some() {
            self.core.count_bytes(id, judged.taken, 0);
        }
        self.send_back(id);
        self.carry_out();
        if let Some(server) = judged.server {
            self.settle(server);
            self.carry_out();
        }
        self.clients.get(id).is_some()
    }

    fn send_outgoing(&mut self, server: ServerId, data: &[u8]) {
        let mut outgoing = std::mem::take(&mut self.outgoing);
        let bytes = outgoing.bytes(data);
        if !bytes.is_empty() {
            self.send_server(server, bytes);
        }
        self.outgoing = outgoing;
    }

    fn pass_to_server(&mut self, id: ClientId, server: ServerId, data: &[u8]) {
        self.send_outgoing(server, data);
        let half_sent = match self.clients.get(id).map(|conn| conn.inbound) {
            Some(Inbound::Forward { left, .. }) => left,
            _ => 0,
        };
        self.core.set_half_sent(server, half_sent);
        let at_boundary =
            self.servers.get(server).is_some_and(|s| s.conn.inbound == Inbound::Boundary);
        if at_boundary && self.core.servers.contains(server) {
            self.core.push_due_answers(server);
            self.back.append(&mut self.core.back);
        }
    }

    /// No message of the client's is half judged.
    fn is_at_boundary(&self, id: ClientId) -> bool {
        self.clients.get(id).is_some_and(|conn| conn.inbound == Inbound::Boundary)
    }

    fn send_back(&mut self, id: ClientId) {
        if !self.back.is_empty() {
            let back = std::mem::take(&mut self.back);
            self.core.count_bytes(id, 0, back.len());
            self.send_client(id, &back);
            self.back = back;
            self.back.clear();
        }
    }

    fn judge_client_bytes(&mut self, id: ClientId, data: &[u8]) -> Judged {
        self.outgoing.clear();
        self.back.clear();
        let server = self.core.clients.get(id).and_then(Client::server);
        let mut judged = Judged { taken: 0, is_all_taken: false, is_closed: false, server };
        while judged.taken < data.len() {
            let Some(conn) = self.clients.get_mut(id) else { break };
            let at = judged.taken;
            match conn.inbound {
                Inbound::Boundary => {
                    if !self.judge_client_message(id, data, &mut judged) {
                        break;
                    }
                    self.pass_routine(id, data, &mut judged);
                }
                Inbound::Forward { to, .. } => {
                    judged.taken += conn.inbound.go_on(data.len() - at);
                    self.outgoing.forward(data, at..judged.taken);
                    if conn.inbound == Inbound::Boundary {
                        // The next message may end the client, and that must not be taken for an
                        // end within this one.
                        self.core.set_half_sent(to, 0);
                    }
                }
                Inbound::Drop { .. } => judged.taken += conn.inbound.go_on(data.len() - at),
            }
        }
        judged.is_all_taken = judged.taken == data.len();
        judged
    }

    /// Passes on what follows a message that was judged, as far as nothing is to be said of it.
    fn pass_routine(&mut self, id: ClientId, data: &[u8], judged: &mut Judged) {
        let at = judged.taken;
        if judged.server.is_some() && at < data.len() {
            judged.taken += self.core.routine_requests(id, &data[at..]);
            self.outgoing.forward(data, at..judged.taken);
        }
    }

    /// Judges the message that begins at `judged.taken`. Returns whether to go on.
    fn judge_client_message(&mut self, id: ClientId, data: &[u8], judged: &mut Judged) -> bool {
        let rest = &data[judged.taken..];
        if self.core.awaits_startup(id) {
            return self.judge_opening(id, rest, judged);
        }
        let head = match head::parse(rest) {
            Parsed::Head(head) => head,
            Parsed::Short => return false,
            Parsed::Bad => {
                self.core.client_sent_bad_head(id, &rest[..HEAD]);
                judged.is_closed = true;
                return false;
            }
        };
        let seen = &rest[HEAD..rest.len().min(HEAD + head.body)];
        let Some(conn) = self.clients.get_mut(id) else { return false };
        if conn.wants_more(HEAD + seen.len()) {
            return false;
        }
        conn.want = 0;
        let verdict = self.core.judge_client(id, head, seen);
        if !self.core.back.is_empty() {
            self.back.append(&mut self.core.back);
        }
        self.heed_client_verdict(id, data, head, verdict, judged)
    }

    fn judge_opening(&mut self, id: ClientId, rest: &[u8], judged: &mut Judged) -> bool {
        match self.core.client_opening(id, rest) {
            Opening::Taken(count) => {
                judged.taken += count;
                // The answer to the packet goes out before what follows is judged.
                self.carry_out();
                true
            }
            Opening::Short => false,
            Opening::Secure => {
                judged.taken += rest.len();
                self.secure_client(id, rest);
                false
            }
            Opening::Closed => {
                judged.is_closed = true;
                false
            }
        }
    }

    #[inline]
    fn heed_client_verdict(
        &mut self,
        id: ClientId,
        data: &[u8],
        head: Head,
        verdict: Verdict<ServerId>,
        judged: &mut Judged,
    ) -> bool {
        let (at, length) = (judged.taken, HEAD + head.body);
        let here = length.min(data.len() - at);
        let Some(conn) = self.clients.get_mut(id) else { return false };
        match verdict {
            Verdict::Forward(to) => {
                judged.server = Some(to);
                judged.taken += here;
                self.outgoing.forward(data, at..at + here);
                if here < length {
                    conn.inbound = Inbound::forward(to, length - here);
                }
            }
            Verdict::Replace { to, taken } => {
                judged.server = Some(to);
                judged.taken += here;
                self.outgoing.insert(data, &self.core.splice);
                self.core.splice.clear();
                let replaced = taken.min(here);
                if replaced < here {
                    self.outgoing.forward(data, at + replaced..at + here);
                }
                if here < length {
                    conn.inbound = Inbound::forward(to, length - here);
                }
            }
            Verdict::Drop => {
                judged.taken += here;
                if !self.core.splice.is_empty() {
                    self.outgoing.insert(data, &self.core.splice);
                    self.core.splice.clear();
                }
                judged.server =
                    judged.server.or(self.core.clients.get(id).and_then(Client::server));
                if here < length {
                    conn.inbound = Inbound::drop(length - here);
                }
            }
            Verdict::Need(bytes) => {
                conn.want = bytes as u32;
                return false;
            }
            Verdict::Hold(_) => return false,
            Verdict::Console => {
                judged.taken += length;
                let body = &data[at + HEAD..at + length];
                let held = HeldBytes { clients: &self.clients, servers: &self.servers };
                console::message(&mut self.core, &held, id, head.kind, body);
                self.carry_out();
                // A client that does not take its answers asks for no more of them.
                return self.clients.get(id).is_some_and(|conn| conn.is_flushed());
            }
            Verdict::Closed => {
                judged.is_closed = true;
                return false;
            }
        }
        true
    }
}
