//! One run of a server: read, judge, send on to its client.

use super::conn::{Got, Heading, Inbound, Offered, OutboundConn, Phase};
use super::engine::{Engine, Io};
use crate::pool::ids::{ClientId, Outbound, ServerId};
use crate::pool::messages::routine::RoutineReplies;
use crate::pool::owed::outgoing::OutgoingBytes;
use crate::pool::owed::verdict::ServerVerdict;
use crate::pool::records::server::Server;
use crate::wire::head::{self, HEAD_BYTES, Head, ParsedHead};
use crate::wire::kind::Back;

/// The head of a whole ReadyForQuery, whose body is the status.
const READY_FOR_QUERY: Head = Head { kind: Back::ReadyForQuery as u8, body: 1 };

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
            self.write_lines_now();
        }
    }

    #[cold]
    #[inline(never)]
    fn write_lines_now(&mut self) {
        self.io.log(self.core.now, self.core.take_lines());
    }

    pub(super) fn run_server(&mut self, id: ServerId) {
        let most = match self.core.settings().sbuf_loopcnt {
            0 => u32::MAX,
            most => most,
        };
        for _ in 0..most {
            if !self.read_server(id) {
                return;
            }
        }
        self.queue_server(id);
    }

    /// Reads once, if what comes could be judged and passed on. Returns whether there may be more
    /// to be read.
    #[inline(always)]
    fn read_server(&mut self, id: ServerId) -> bool {
        let mut block = std::mem::take(&mut self.block);
        let goes_on = self.read_server_into(id, &mut block);
        self.block = block;
        goes_on
    }

    #[inline(always)]
    fn read_server_into(&mut self, id: ServerId, block: &mut [u8]) -> bool {
        let Some(OutboundConn { conn, phase }) = self.servers.get_mut(id) else { return false };
        if !conn.is_readable || *phase != Phase::Open {
            return false;
        }
        let client = self.core.servers.get(id).and_then(Server::client);
        if client.and_then(|client| self.clients.get(client)).is_some_and(|c| !c.is_flushed()) {
            return false;
        }
        let held = conn.carry().len();
        // Half of the block is a message that waits for its rest: that is read in a buffer of its
        // own, which `Back::must_see` bounds.
        let mut longer;
        let space = match held < block.len() / 2 {
            true => block,
            false => {
                longer = vec![0; held * 2];
                &mut longer
            }
        };
        if held > 0 {
            space[..held].copy_from_slice(conn.carry());
        }
        match conn.read(&mut space[held..]) {
            Got::Bytes(count) => {
                conn.drop_carry();
                let (inbound, has_more) = (conn.inbound, conn.is_readable);
                self.server_bytes(id, client, inbound, &space[..held + count]) && has_more
            }
            Got::Nothing => false,
            Got::End => self.server_ended(id, None),
            Got::Failed(error) => self.server_ended(id, Some(crate::log::plain(&error))),
        }
    }

    #[cold]
    fn server_ended(&mut self, id: ServerId, error: Option<String>) -> bool {
        self.core.outbound_gone(Outbound::Server(id), error);
        self.carry_out();
        false
    }

    /// Judges bytes of a server, which begin as `inbound` tells, and sends on what is to be sent
    /// on. Returns whether more may be read.
    #[inline(always)]
    fn server_bytes(
        &mut self,
        id: ServerId,
        client: Option<ClientId>,
        inbound: Inbound<ClientId>,
        data: &[u8],
    ) -> bool {
        let to_client = OutgoingBytes::new(data, self.answers.take());
        let mut judged =
            ServerBytes { data, taken: 0, is_closed: false, client, inbound, to_client };
        self.judge_server_bytes(id, &mut judged);
        let mut sent = 0;
        if let Some(to) = judged.client {
            if client != Some(to) {
                self.tell_first(to);
            }
            let bytes = judged.to_client.bytes();
            if !bytes.is_empty() {
                sent = bytes.len();
                let is_cut = judged.inbound.way() == Heading::Forward(to);
                self.send_client_bytes(to, bytes, Some(is_cut));
            }
        }
        let is_mid_message = self.keep_server_rest(id, inbound, &judged);
        self.core.server_was_read(id, sent, is_mid_message);
        self.answers.put_back(judged.to_client.into_room());
        self.carry_out();
        if judged.is_closed {
            return false;
        }
        self.part_if_drained(id);
        self.carry_out();
        if let Some(client) = judged.client {
            self.core.replies_came(client);
            self.carry_out();
        }
        true
    }

    /// Sends bytes to a client. `is_cut` tells whether they end within a message; words of the
    /// pooler's own change nothing about that.
    #[inline(always)]
    pub(super) fn send_client_bytes(&mut self, id: ClientId, bytes: &[u8], is_cut: Option<bool>) {
        self.write_lines();
        let Some(conn) = self.clients.get_mut(id) else { return };
        conn.is_cut = is_cut.unwrap_or(conn.is_cut);
        if let Offered::Not(outcome) = conn.offer(bytes) {
            self.send_client_rest(id, bytes, outcome);
        }
    }

    /// Keeps what could not be judged yet, and how far the message is that is half read. Returns
    /// whether one is.
    #[inline(always)]
    fn keep_server_rest(
        &mut self,
        id: ServerId,
        before: Inbound<ClientId>,
        judged: &ServerBytes<'_>,
    ) -> bool {
        let &ServerBytes { data, taken, is_closed, inbound, .. } = judged;
        let rest = if is_closed { &[] } else { &data[taken..] };
        let is_mid_message = !inbound.is_boundary() || !rest.is_empty();
        if (is_mid_message || !before.is_boundary())
            && let Some(OutboundConn { conn, .. }) = self.servers.get_mut(id)
        {
            conn.inbound = inbound;
            if !rest.is_empty() {
                conn.put_carry(rest.to_vec());
            }
        }
        is_mid_message
    }

    fn judge_server_bytes(&mut self, id: ServerId, judged: &mut ServerBytes<'_>) {
        let count = judged.data.len();
        while judged.taken < count {
            let at = judged.taken;
            match judged.inbound.way() {
                Heading::Boundary => {
                    let goes_on = match self.pass_routine_replies(id, judged) {
                        Some(verdict) => judged.heed(READY_FOR_QUERY, verdict),
                        None => self.judge_server_message(id, judged),
                    };
                    if !goes_on {
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

    /// Passes on the whole messages that stand next and need no verdict of their own. Returns the
    /// verdict on a ReadyForQuery behind them, if that needs one.
    #[inline(always)]
    fn pass_routine_replies(
        &mut self,
        id: ServerId,
        judged: &mut ServerBytes<'_>,
    ) -> Option<ServerVerdict> {
        let client = judged.client?;
        let at = judged.taken;
        let RoutineReplies { bytes, ended } =
            self.core.routine_replies(id, client, &judged.data[at..]);
        judged.taken += bytes;
        judged.to_client.forward(at..judged.taken);
        Some(self.core.judge_end(id, client, ended?, &mut judged.to_client))
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
