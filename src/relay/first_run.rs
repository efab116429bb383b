//! What most runs of a client are: one read, which brings the first requests of a transaction, and
//! none of them needs a judge.

use super::conn::Got;
use super::engine::{Engine, Io};
use crate::pool::ids::{ClientId, ServerId};
use crate::pool::messages::first::Begun;
use crate::pool::owed::said::Said;
use crate::wire::kind::Front;

impl<I: Io> Engine<I> {
    /// Reads a client once that has no server and is not held, and of which no bytes are kept.
    /// Returns whether that was all, as it mostly is; `None` if nothing was read.
    #[inline(always)]
    pub(super) fn read_first(&mut self, id: ClientId) -> Option<bool> {
        let conn = self.clients.get_mut(id)?;
        let begins = conn.inbound.is_boundary() && conn.want == 0;
        if !conn.is_readable || conn.is_securing || !conn.keeps_nothing() || !begins {
            return None;
        }
        let client = self.core.clients.get(id)?;
        if client.hold().is_some() || client.server().is_some() {
            return None;
        }
        let most = self.block.len().min(self.core.settings().pkt_buf as usize);
        let count = match conn.read(&mut self.block[..most]) {
            Got::Bytes(count) => count,
            Got::Nothing => return None,
            Got::End => return Some(!self.client_ended(id, None)),
            Got::Failed(error) => {
                return Some(!self.client_ended(id, Some(crate::log::plain(&error))));
            }
        };
        let has_more = conn.is_readable || conn.is_ending;
        let block = std::mem::take(&mut self.block);
        let is_all = self.take_first(id, &block[..count]);
        self.block = block;
        Some(is_all && !has_more)
    }

    /// Passes on the first requests of a transaction, or has the judges see to what is anything
    /// else. Returns whether nothing is left to be done.
    #[inline(always)]
    fn take_first(&mut self, id: ClientId, data: &[u8]) -> bool {
        if data.first() == Some(&(Front::Query as u8)) {
            let begun = self.core.begin_query(id, data);
            if let Some(Begun { server, taken }) = begun
                && taken == data.len()
            {
                self.send_first((id, taken), server, data);
                return true;
            }
            let mut said = Said::of(data, &mut self.said);
            said.to_server.forward(0..begun.map_or(0, |begun| begun.taken));
            return self.judge_first(id, data, said, begun);
        }
        let mut said = Said::of(data, &mut self.said);
        let begun = self.core.begin_extended(id, data, &mut said);
        if let Some(Begun { server, taken }) = begun
            && taken == data.len()
        {
            self.send_first((id, taken), server, said.to_server.bytes());
            if said.may_repeat {
                self.core.keep_for_repeat(server, data);
            }
            self.said.take_back(&mut said);
            return true;
        }
        self.judge_first(id, data, said, begun)
    }

    /// Sends on what needed no judge, in place of so many bytes of the client: no message is half
    /// sent, nothing is left, and the server is not free again.
    #[inline(always)]
    fn send_first(&mut self, (id, taken): (ClientId, usize), server: ServerId, bytes: &[u8]) {
        self.send_server(server, bytes);
        self.core.count_bytes(id, taken, 0);
        self.carry_out();
    }

    /// The rest is for the judges. Returns whether they have left nothing to be done.
    #[inline(never)]
    fn judge_first(
        &mut self,
        id: ClientId,
        data: &[u8],
        said: Said<'_>,
        begun: Option<Begun>,
    ) -> bool {
        self.client_bytes_from(id, data, said, begun)
            && self.clients.get(id).is_some_and(|conn| conn.keeps_nothing())
            && !self.is_held(id)
    }
}
