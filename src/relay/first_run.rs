//! What most runs of a client are: one read, which brings the first requests of a transaction, and
//! none of them needs a judge.

use super::conn::Conn;
use super::engine::{Engine, Io};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::messages::first::Begun;
use crate::pool::owed::said::Said;
use crate::wire::kind::Front;

impl<I: Io> Engine<I> {
    /// Reads a client that is not held, and of which no bytes are kept, once. Returns whether that
    /// was all, as it mostly is; `None` if nothing was read.
    #[inline(always)]
    pub(super) fn read_first(&mut self, id: ClientId) -> Option<bool> {
        if !self.clients.get(id).is_some_and(Conn::keeps_nothing) {
            return None;
        }
        let most = self.may_read_client(id)?;
        if !self.read_client(id, most) {
            return Some(true);
        }
        let Some(conn) = self.clients.get(id) else { return Some(true) };
        let has_more = conn.is_readable || conn.is_ending || !conn.keeps_nothing();
        Some(!has_more && !self.is_held(id))
    }

    /// Judges bytes of a client and sends on what is to be sent on. With `may_begin` a message
    /// begins here of which nothing was judged before. Returns whether the connection is still
    /// there.
    #[inline(always)]
    pub(super) fn client_bytes(&mut self, id: ClientId, data: &[u8], may_begin: bool) -> bool {
        if may_begin && data.first() == Some(&(Front::Query as u8)) {
            return match self.core.begin_query(id, data) {
                Some(Begun { server, taken }) if taken == data.len() => {
                    self.send_first(server, data, data);
                    self.count_first(id, taken);
                    true
                }
                begun => {
                    let mut said = Said::of(data, &mut self.said);
                    said.to_server.forward(0..begun.map_or(0, |begun| begun.taken));
                    self.client_bytes_from(id, data, said, begun)
                }
            };
        }
        let mut said = Said::of(data, &mut self.said);
        let begun = if may_begin { self.core.begin_extended(id, data, &mut said) } else { None };
        match begun {
            Some(Begun { server, taken }) if taken == data.len() => {
                let bytes = said.to_server.bytes();
                self.send_first(server, bytes, if said.may_repeat { b"" } else { bytes });
                if said.may_repeat {
                    self.core.keep_for_repeat(server, data);
                }
                self.said.take_back(&mut said);
                self.count_first(id, taken);
                true
            }
            begun => self.client_bytes_from(id, data, said, begun),
        }
    }

    /// Sends on the first requests of a transaction, none of which needed a judge: no message is
    /// half sent, nothing is left, and the server is not free again. `replaces` are the bytes in
    /// whose favour a query that was kept is dropped.
    #[inline(always)]
    fn send_first(&mut self, server: ServerId, bytes: &[u8], replaces: &[u8]) {
        self.send_server(server, bytes);
        let is_answer_due = self.core.was_sent(server, replaces, 0);
        debug_assert!(!is_answer_due, "nothing is answered here");
    }

    #[inline(always)]
    fn count_first(&mut self, id: ClientId, taken: usize) {
        self.core.count_bytes(id, taken, 0);
        self.carry_out();
    }
}
