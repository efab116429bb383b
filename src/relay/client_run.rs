//! One run of a client: read, judge, send on, until there is nothing more or others have a turn.

use super::conn::{Got, Heading, Inbound};
use super::engine::{Engine, HeldBytes, Io};
use crate::console;
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::login::entry::{Opening, Speaker};
use crate::pool::messages::first::Begun;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::said::Said;
use crate::pool::owed::verdict::Verdict;
use crate::pool::records::client::Client;
use crate::wire::head::{self, HEAD_BYTES, Head, ParsedHead};

/// The least free room after a half message, in bytes; with less, its buffer grows.
const LEAST_ROOM_BYTES: usize = 4096;

/// Bytes of a client, and what comes of them.
struct ClientBytes<'a> {
    data: &'a [u8],
    /// How many of them are judged.
    taken: usize,
    /// The connection is being closed: the rest is of no interest.
    is_closed: bool,
    /// The server that gets `said.to_server`.
    server: Option<ServerId>,
    /// Whether the next bytes are a startup packet.
    awaits_startup: bool,
    /// How many bytes of the next message's body its judge has asked for.
    wanted: u32,
    /// What is left of the message that was judged last; kept with the connection after the run.
    inbound: Inbound<ServerId>,
    said: Said<'a>,
}

/// How far a run has come, once its bytes are sent.
struct RunEnd {
    taken: usize,
    is_closed: bool,
    server: Option<ServerId>,
}

impl RunEnd {
    /// There is no such connection.
    const CLOSED: RunEnd = RunEnd { taken: 0, is_closed: true, server: None };
}

impl<I: Io> Engine<I> {
    /// Judges what is held of a client, then reads on; one that cannot be read is watched.
    pub(super) fn run_client(&mut self, id: ClientId) {
        let (was_held, reads) = match self.read_first(id) {
            Some(true) => return,
            Some(false) => (false, 1),
            None => (self.is_held(id), 0),
        };
        self.judge_and_read(id, reads);
        self.watch_client(id, was_held);
    }

    /// `reads` tells how often the client was read in this run already.
    fn judge_and_read(&mut self, id: ClientId, reads: u32) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        if conn.is_securing && !self.go_on_securing_client(id) {
            return;
        }
        let Some(conn) = self.clients.get_mut(id) else { return };
        // A half message stays in `carry` until more of it comes: judging it again would copy it
        // for each piece.
        let has_more_to_judge = !conn.carry().is_empty() && !conn.awaits_more(conn.carry().len());
        if has_more_to_judge && self.may_take(id) {
            let held = self.clients.get_mut(id).map(|conn| conn.take_carry());
            if !self.client_bytes_owned(id, held.unwrap_or_default()) {
                return;
            }
        }
        let mut runs = match self.core.settings().sbuf_loopcnt {
            0 => u32::MAX,
            most => most.saturating_sub(reads),
        };
        while let Some(most) = self.may_read_client(id) {
            if runs == 0 {
                return self.queue_client(id);
            }
            runs -= 1;
            if !self.read_client(id, most) {
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

    /// How much may be read of this client at once, if what comes could be judged and passed on.
    fn may_read_client(&self, id: ClientId) -> Option<usize> {
        let conn = self.clients.get(id)?;
        if !conn.is_readable || conn.is_securing || !conn.is_flushed() {
            return None;
        }
        let client = self.core.clients.get(id)?;
        if client.hold().is_some() {
            return None;
        }
        match client.server().and_then(|server| self.servers.get(server)) {
            Some(server) => server.conn.is_flushed().then_some(self.block.len()),
            // Without a server the bytes must be kept: no more than pkt_buf of each client.
            None => Some(self.block.len().min(self.core.settings().pkt_buf as usize)),
        }
    }

    /// Reads once. Returns whether the connection is still there.
    fn read_client(&mut self, id: ClientId, most: usize) -> bool {
        let mut block = std::mem::take(&mut self.block);
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
                conn.drop_carry();
                let data = &block[..held + count];
                let said = Said::of(data, &mut self.said);
                self.client_bytes_from(id, data, said, None)
            }
            Got::Nothing => true,
            Got::End => self.client_ended(id, None),
            Got::Failed(error) => self.client_ended(id, Some(crate::log::plain(&error))),
        }
    }

    /// Reads more of a message that must be whole before it is judged, and is too long for the
    /// block.
    fn read_client_behind(&mut self, id: ClientId, most: usize) -> bool {
        let Some(conn) = self.clients.get_mut(id) else { return false };
        let mut held = conn.take_carry();
        let before = held.len();
        // The buffer grows by a block, or by half of its length, and is filled before it grows
        // again: work and memory stay in proportion to the message's length.
        if held.capacity() - before < LEAST_ROOM_BYTES {
            held.reserve_exact(most.max(before / 2));
        }
        held.resize(held.capacity().min(before + most), 0);
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

    /// As [`Engine::client_bytes`], for a buffer of the connection's own: what cannot be judged yet
    /// stays in that buffer.
    fn client_bytes_owned(&mut self, id: ClientId, data: Vec<u8>) -> bool {
        if let Some(conn) = self.clients.get_mut(id)
            && conn.awaits_more(data.len())
        {
            conn.put_carry(data);
            return true;
        }
        let said = Said::of(&data, &mut self.said);
        let ended = self.judge_and_send(id, &data, said, None);
        if ended.taken == 0 && !ended.is_closed {
            if let Some(conn) = self.clients.get_mut(id) {
                conn.put_carry(data);
            }
        } else {
            self.keep_rest(id, &data, &ended);
        }
        self.end_client_run(id, &ended)
    }

    /// Judges bytes of a client and sends on what is to be sent on. `begun` tells which server has
    /// got how many of them already, by `said`. Returns whether the connection is still there.
    #[inline(never)]
    pub(super) fn client_bytes_from(
        &mut self,
        id: ClientId,
        data: &[u8],
        said: Said<'_>,
        begun: Option<Begun>,
    ) -> bool {
        let ended = self.judge_and_send(id, data, said, begun);
        self.keep_rest(id, data, &ended);
        self.end_client_run(id, &ended)
    }

    fn judge_and_send(
        &mut self,
        id: ClientId,
        data: &[u8],
        said: Said<'_>,
        begun: Option<Begun>,
    ) -> RunEnd {
        let Some(conn) = self.clients.get_mut(id) else { return RunEnd::CLOSED };
        let (wanted, inbound) = (std::mem::take(&mut conn.want), conn.inbound);
        let Speaker { server, awaits_startup } = self.core.speaker(id);
        let (taken, is_closed) = (begun.map_or(0, |begun| begun.taken), false);
        let mut judged =
            ClientBytes { data, taken, is_closed, server, awaits_startup, wanted, inbound, said };
        self.judge_client_bytes(id, &mut judged);
        if judged.inbound != inbound {
            self.go_on_with(id, judged.inbound);
        }
        self.send_judged(id, &mut judged);
        self.said.take_back(&mut judged.said);
        let ClientBytes { taken, is_closed, server, .. } = judged;
        RunEnd { taken, is_closed, server }
    }

    /// Sends what the judges have put out for the server and for the client.
    fn send_judged(&mut self, id: ClientId, judged: &mut ClientBytes<'_>) {
        let &mut ClientBytes { data, taken, is_closed, server, inbound, ref mut said, .. } = judged;
        let Said { to_server, to_client, may_repeat } = said;
        debug_assert!(server.is_some() || to_server.bytes().is_empty(), "nobody to say it to");
        if let Some(server) = server {
            // Requests judged before the client was closed are owed already: they go out before the
            // close.
            let bytes = to_server.bytes();
            if !bytes.is_empty() {
                self.send_server(server, bytes);
            }
            if !is_closed {
                let is_whole = *may_repeat && taken == data.len() && inbound.is_boundary();
                let sent = if is_whole { b"" } else { bytes };
                if self.core.was_sent(server, sent, inbound.left_to_forward()) {
                    self.push_due_answers(server, to_client);
                }
                if is_whole {
                    self.core.keep_for_repeat(server, data);
                }
                // Logins, and what is answered here, are no traffic of the pool's.
                self.core.count_bytes(id, taken, 0);
            }
        }
        let back = to_client.bytes();
        if !back.is_empty() {
            self.core.count_bytes(id, 0, back.len());
            self.send_client(id, back);
        }
    }

    /// Keeps what could not be judged yet.
    fn keep_rest(&mut self, id: ClientId, data: &[u8], ended: &RunEnd) {
        let rest = &data[ended.taken..];
        if !rest.is_empty()
            && !ended.is_closed
            && let Some(conn) = self.clients.get_mut(id)
        {
            conn.put_carry(rest.to_vec());
        }
    }

    /// What follows when all of a run is sent and kept.
    fn end_client_run(&mut self, id: ClientId, ended: &RunEnd) -> bool {
        self.carry_out();
        if ended.is_closed {
            return false;
        }
        if let Some(server) = ended.server {
            self.part_if_drained(server);
            self.carry_out();
        }
        self.clients.get(id).is_some()
    }

    /// Appends the pooler's own answers that are due after what the server has said so far.
    #[cold]
    fn push_due_answers(&mut self, server: ServerId, to_client: &mut OutgoingBytes<'_>) {
        if self.servers.get(server).is_some_and(|s| s.conn.inbound.is_boundary()) {
            self.core.push_due_answers(server, to_client);
        }
    }

    fn judge_client_bytes(&mut self, id: ClientId, judged: &mut ClientBytes<'_>) {
        let data = judged.data;
        while judged.taken < data.len() {
            let at = judged.taken;
            match judged.inbound.way() {
                Heading::Boundary => {
                    if !self.judge_client_message(id, judged) {
                        break;
                    }
                    self.pass_routine(id, judged);
                }
                Heading::Forward(to) if judged.server == Some(to) => {
                    judged.taken += judged.inbound.go_on(data.len() - at);
                    judged.said.to_server.forward(at..judged.taken);
                    let is_last = judged.inbound.is_boundary();
                    self.core.passes(to, &data[at..judged.taken], is_last);
                    if is_last {
                        // If the next message closes the client, the server must not count as
                        // half sent.
                        self.core.set_half_sent(to, 0);
                    }
                }
                // The server that got the head of this message is gone: the rest is dropped.
                Heading::Forward(_) | Heading::Drop => {
                    judged.taken += judged.inbound.go_on(data.len() - at);
                }
            }
        }
    }

    /// Passes on the whole messages after a judged one that need no verdict of their own.
    fn pass_routine(&mut self, id: ClientId, judged: &mut ClientBytes<'_>) {
        let at = judged.taken;
        if judged.server.is_some() && at < judged.data.len() {
            judged.taken += self.core.routine_requests(id, (judged.data, at), &mut judged.said);
        }
    }

    /// Judges the message that begins at `judged.taken`, once so much of its body has come as was
    /// wanted. Returns whether to go on.
    fn judge_client_message(&mut self, id: ClientId, judged: &mut ClientBytes<'_>) -> bool {
        let wanted = std::mem::take(&mut judged.wanted);
        let rest = &judged.data[judged.taken..];
        if judged.awaits_startup {
            return self.judge_opening(id, rest, judged);
        }
        let head = match head::parse(rest) {
            ParsedHead::Head(head) => head,
            ParsedHead::Short => return false,
            ParsedHead::Bad => {
                self.core.client_sent_bad_head(id, &rest[..HEAD_BYTES]);
                judged.is_closed = true;
                return false;
            }
        };
        let seen = &rest[HEAD_BYTES..rest.len().min(HEAD_BYTES + head.body)];
        if seen.len() < wanted as usize {
            return self.want(id, wanted);
        }
        let verdict = self.core.judge_client(id, head, seen, &mut judged.said);
        self.heed_client_verdict(id, head, verdict, judged)
    }

    /// Notes how many bytes of the body the judge needs. Returns false: the run stops here.
    #[cold]
    fn want(&mut self, id: ClientId, bytes: u32) -> bool {
        if let Some(conn) = self.clients.get_mut(id) {
            conn.want = bytes;
        }
        false
    }

    /// Notes where the rest of a half message goes: to a server, or nowhere.
    #[cold]
    fn go_on_with(&mut self, id: ClientId, inbound: Inbound<ServerId>) {
        if let Some(conn) = self.clients.get_mut(id) {
            conn.inbound = inbound;
        }
    }

    fn judge_opening(&mut self, id: ClientId, rest: &[u8], judged: &mut ClientBytes<'_>) -> bool {
        match self.core.client_opening(id, rest) {
            Opening::Taken(count) => {
                judged.taken += count;
                // The answer to the packet goes out before what follows is judged.
                self.carry_out();
                judged.awaits_startup = self.core.speaker(id).awaits_startup;
                self.clients.get(id).is_some()
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
        head: Head,
        verdict: Verdict,
        judged: &mut ClientBytes<'_>,
    ) -> bool {
        let (at, length) = (judged.taken, HEAD_BYTES + head.body);
        let here = length.min(judged.data.len() - at);
        match verdict {
            Verdict::Forward(to) => {
                judged.server = Some(to);
                judged.taken += here;
                judged.said.to_server.forward(at..at + here);
                if here < length {
                    judged.inbound = Inbound::forward(to, length - here);
                }
            }
            Verdict::Replace { to, taken } => {
                judged.server = Some(to);
                judged.taken += here;
                let replaced = taken.min(here);
                if replaced < here {
                    judged.said.to_server.forward(at + replaced..at + here);
                }
                if here < length {
                    judged.inbound = Inbound::forward(to, length - here);
                }
            }
            Verdict::Drop => {
                judged.taken += here;
                judged.server =
                    judged.server.or(self.core.clients.get(id).and_then(Client::server));
                if here < length {
                    judged.inbound = Inbound::drop(length - here);
                }
            }
            Verdict::Need(bytes) => return self.want(id, bytes as u32),
            Verdict::Hold(_) => return false,
            Verdict::Console => {
                judged.taken += length;
                let body = &judged.data[at + HEAD_BYTES..at + length];
                let held = HeldBytes {
                    clients: &self.clients,
                    servers: &self.servers,
                    carriers: &self.carriers,
                };
                console::message(&mut self.core, &held, id, head.kind, body);
                self.carry_out();
                // The next command is run when the client has taken the answers to this one.
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
