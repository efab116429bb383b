//! Checks all output of the pooler: whatever its input, it must send messages of the protocol, of a
//! size that the protocol allows.

use crate::wire::kind::{Back, Front};
use crate::wire::startup;

/// The receiver of the output.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client,
    Server,
}

pub struct SideWatch {
    side: Side,
    /// The bytes of a message's head that have come so far.
    head: Vec<u8>,
    /// Bytes of the message that are still to come.
    left: usize,
    /// Whether the first packet to a server, or the first message to a client, was seen.
    has_begun: bool,
}

impl SideWatch {
    pub fn new(side: Side) -> SideWatch {
        SideWatch { side, head: Vec::new(), left: 0, has_begun: false }
    }

    /// Checks output, and returns the kinds of the messages that begin in it.
    pub fn see(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut kinds = Vec::new();
        for &byte in bytes {
            if self.left > 0 {
                self.left -= 1;
                continue;
            }
            self.head.push(byte);
            kinds.extend(self.take_head());
        }
        kinds
    }

    /// Takes the kind of a message once its head is complete.
    fn take_head(&mut self) -> Option<u8> {
        match (self.side, self.has_begun, &self.head[..]) {
            (Side::Server, false, &[a, b, c, d]) => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                assert!(
                    (8..=startup::PACKET_BYTES_MAX).contains(&length),
                    "a packet of {length} bytes"
                );
                Some(self.begin(0, length - 4))
            }
            (Side::Server, false, _) => None,
            // The single byte `N` declines a request for encryption. If a message begins with `N`
            // instead, the next byte is 0, since no first message is longer than 2^24 bytes.
            (Side::Client, false, &[b'N', next]) if next != 0 => {
                self.head.remove(0);
                None
            }
            (_, _, &[kind, a, b, c, d]) => {
                let length = u32::from_be_bytes([a, b, c, d]) as usize;
                let largest = match self.side {
                    Side::Client => Back::from_byte(kind).map(Back::largest),
                    Side::Server => Front::from_byte(kind).map(Front::largest),
                };
                let is_allowed = largest.is_some_and(|most| (4..=most + 4).contains(&length));
                assert!(is_allowed, "{:?} is sent a {kind} of {length} bytes", self.side);
                Some(self.begin(kind, length - 4))
            }
            _ => None,
        }
    }

    fn begin(&mut self, kind: u8, left: usize) -> u8 {
        self.head.clear();
        self.left = left;
        self.has_begun = true;
        kind
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_told_apart_whatever_pieces_they_come_in() {
        let bytes = b"NNR\0\0\0\x08\0\0\0\0N\0\0\0\x05\0Z\0\0\0\x05I";
        for piece in 1..bytes.len() {
            let mut watch = SideWatch::new(Side::Client);
            let kinds: Vec<u8> = bytes.chunks(piece).flat_map(|piece| watch.see(piece)).collect();
            assert_eq!(kinds, b"RNZ", "in pieces of {piece}");
        }
        let kinds =
            SideWatch::new(Side::Server).see(b"\0\0\0\x08\0\x03\0\0Q\0\0\0\x05\0X\0\0\0\x04");
        assert_eq!(kinds, b"\0QX");
    }

    #[test]
    #[should_panic(expected = "is sent a")]
    fn what_is_no_message_is_noticed() {
        SideWatch::new(Side::Client).see(b"R\0\0\0\x04E\0\0\0\x03");
    }
}
