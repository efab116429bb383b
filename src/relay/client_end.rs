//! The end of a client that is not read: because it is held, because it does not take its answers,
//! or because its server does not take what it sends.
//!
//! Nobody waits for the answers any more: messages that are not judged yet are dropped, and
//! requests under way are treated as abandoned. A client that has shut down its sending side counts
//! as gone, as it does when it is read: PostgreSQL and PgBouncer close it when they read that end.

use super::conn::Got;
use super::engine::{DRAIN_READS, Engine, Io};
use crate::pool::ids::ClientId;
use crate::pool::records::client::Client;
use crate::wire::head::{self, HEAD_BYTES, ParsedHead};
use crate::wire::kind::Front;

impl<I: Io> Engine<I> {
    #[inline(always)]
    pub(super) fn is_held(&self, id: ClientId) -> bool {
        self.core.clients.get(id).and_then(Client::hold).is_some()
    }

    /// Looks for the end of a client that cannot be read as things are.
    pub(super) fn watch_client(&mut self, id: ClientId, was_held: bool) {
        let Some(conn) = self.clients.get(id) else { return };
        let (is_ending, is_readable) = (conn.is_ending, conn.is_readable);
        if !is_ending && !self.is_held(id) || self.may_take(id) {
            return;
        }
        if is_ending {
            return self.meet_end(id);
        }
        if !was_held && self.leave_if_goodbye_is_said(id) {
            return;
        }
        if is_readable {
            self.read_ahead(id);
        }
    }

    /// Finds out how the connection has ended. What comes before that is of no interest.
    fn meet_end(&mut self, id: ClientId) {
        let Some(conn) = self.clients.get_mut(id) else { return };
        let mut error = None;
        for _ in 0..DRAIN_READS {
            match conn.read(&mut self.block) {
                Got::Bytes(_) => {}
                Got::Nothing | Got::End => break,
                Got::Failed(found) => {
                    error = Some(crate::log::plain(&found));
                    break;
                }
            }
        }
        self.client_ended(id, error);
    }

    /// Reads more of a held client, up to pkt_buf in all, to find a Terminate.
    fn read_ahead(&mut self, id: ClientId) {
        let most = (self.core.settings().pkt_buf as usize).min(self.block.len());
        let Some(conn) = self.clients.get_mut(id) else { return };
        let space = most.saturating_sub(conn.carry().len());
        if space == 0 {
            return;
        }
        match conn.read(&mut self.block[..space]) {
            Got::Bytes(count) => {
                let mut carry = conn.take_carry();
                carry.extend_from_slice(&self.block[..count]);
                conn.put_carry(carry);
                self.leave_if_goodbye_is_said(id);
            }
            Got::Nothing => {}
            Got::End => drop(self.client_ended(id, None)),
            Got::Failed(error) => drop(self.client_ended(id, Some(crate::log::plain(&error)))),
        }
    }

    /// Ends a held client that has sent Terminate after what it waits for.
    fn leave_if_goodbye_is_said(&mut self, id: ClientId) -> bool {
        let Some(conn) = self.clients.get(id) else { return false };
        let says_goodbye = conn.inbound.is_boundary() && has_terminate(conn.carry());
        if says_goodbye {
            self.core.client_says_goodbye(id);
            self.carry_out();
        }
        says_goodbye
    }
}

/// Whether a Terminate begins after whole messages.
fn has_terminate(mut bytes: &[u8]) -> bool {
    while let ParsedHead::Head(head) = head::parse(bytes) {
        if head.kind == Front::Terminate as u8 {
            return true;
        }
        bytes = bytes.get(HEAD_BYTES + head.body..).unwrap_or_default();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_terminate_is_found_behind_whole_messages_only() {
        let (query, terminate) = (b"Q\0\0\0\x06x\0", b"X\0\0\0\x04");
        assert!(has_terminate(&[&query[..], query, terminate].concat()));
        assert!(has_terminate(terminate));
        assert!(!has_terminate(&[&query[..], query].concat()));
        assert!(!has_terminate(b"Q\0\0\0\x0aX\0\0\0\x04"), "it is the text of the query");
        assert!(!has_terminate(b"Q\0\0\0\0X\0\0\0\x04"), "a length that cannot be");
        assert!(!has_terminate(b""));
    }
}
