//! Cancel keys: what BackendKeyData gives a client, and a CancelRequest must bring.
//!
//! A key begins with eight bytes: what looks like a process id, and a secret of four. Who has
//! agreed on protocol 3.2 has 28 bytes more, a secret of 32 in all, as PostgreSQL's own. Those are
//! made of the eight, the number of the connection and a secret of this process, and stand nowhere:
//! a client that is idle takes no more room for them.
//!
//! The eight tell whose the key is and how often it may still be passed on, in the layout of
//! PgBouncer, so that both kinds of processes can be peers: one byte below 128, the peer's number
//! in two bytes with the lower one first, five bytes, the lowest two bits of the last being the
//! hops left. PgBouncer refuses a request of another length than 16 bytes, whosever client it
//! means: with peers nobody has a long key, unless `peers_take_long_keys` says that each of them
//! knows it.

use crate::base::arena::Arena;
use crate::crypto::compare;
use crate::pool::core::Core;
use crate::pool::ids::ClientId;
use crate::pool::records::client::Client;
use crate::pool::records::keys::TAIL;

/// The bits of a key that count the hops left.
const HOPS: u64 = 3;

/// A key that a CancelRequest has brought, of a length that keys have.
#[derive(Clone, Copy)]
pub(super) struct Brought<'a> {
    head: u64,
    /// Nothing, or as much as a long key has behind its head.
    tail: &'a [u8],
}

impl Brought<'_> {
    pub(super) fn read(bytes: &[u8]) -> Option<Brought<'_>> {
        let (head, tail) = bytes.split_first_chunk()?;
        let is_sane = tail.is_empty() || tail.len() == TAIL;
        is_sane.then_some(Brought { head: u64::from_be_bytes(*head), tail })
    }

    /// The process whose client it means.
    pub(super) fn peer(self) -> u16 {
        ((self.head >> 40) as u16).swap_bytes()
    }

    /// What the next process gets: one hop less. `None` when there is none left.
    pub(super) fn passed_on(self) -> Option<Box<[u8]>> {
        let is_left = self.head & HOPS != 0;
        is_left.then(|| joined(self.head - 1, self.tail).into())
    }
}

/// Makes random bits the head of a key of the process with this number; 0 is without peers.
fn mark(random: u64, peer_id: u16) -> u64 {
    let positive = random & 0x7fff_ffff_ffff_ffff;
    if peer_id == 0 {
        return positive;
    }
    let number = u64::from(peer_id.swap_bytes());
    positive & !(0xffff << 40) | number << 40 | HOPS
}

/// The key of the client in a slot; 0, which is nobody's, where there is none.
fn key_at(clients: &Arena<Client>, slot: usize) -> u64 {
    clients.id_at(slot).map_or(0, |id| clients[id].key)
}

fn joined(head: u64, tail: &[u8]) -> Vec<u8> {
    [&head.to_be_bytes(), tail].concat()
}

impl Core {
    /// Gives a client a key that no other one has, as long as it has agreed on.
    pub(in crate::pool) fn give_key(&mut self, id: ClientId) -> Vec<u8> {
        loop {
            let random = self.rng.next_u64();
            let key = mark(random, self.settings().peer_id);
            let key_at = |slot| key_at(&self.clients, slot);
            if self.keys.slots.enter(key, id.index(), key_at) {
                self.clients[id].key = key;
                break;
            }
        }
        if self.clients[id].has_long_key {
            self.keys.draw_secret(&mut *self.rng);
        }
        self.key_of(&self.clients[id])
    }

    /// The whole key of a client.
    fn key_of(&self, client: &Client) -> Vec<u8> {
        let tail = client.has_long_key.then(|| self.keys.tail(client.key, client.number)).flatten();
        joined(client.key, tail.as_ref().map_or(&[], |tail| &tail[..]))
    }

    /// The client that has exactly this key, however often the request was passed on.
    pub(super) fn owner_of(&self, key: Brought<'_>) -> Option<ClientId> {
        let hops = if self.settings().peer_id == 0 { 0 } else { HOPS };
        let head = key.head | hops;
        let id = self.clients.id_at(self.keys.slots.slot(head, |at| key_at(&self.clients, at))?)?;
        let own = self.key_of(&self.clients[id]);
        compare::equal(&own, &joined(head, key.tail)).then_some(id)
    }

    /// A key that this client has been given means nobody any more.
    pub(in crate::pool) fn take_key(&mut self, id: ClientId) {
        let key = self.clients[id].key;
        if key != 0 {
            self.keys.slots.remove(key, |slot| key_at(&self.clients, slot));
            self.clients[id].key = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_tells_its_peer_in_the_common_layout() {
        let key = mark(u64::MAX, 0x1234);
        let bytes = key.to_be_bytes();
        assert!(bytes[0] < 128);
        assert_eq!([bytes[1], bytes[2]], [0x34, 0x12]);
        assert_eq!(bytes[7] & 3, 3);
        assert_eq!(Brought { head: key, tail: &[] }.peer(), 0x1234);
        assert_eq!(mark(5, 0), 5);
    }

    #[test]
    fn a_key_is_passed_on_whole_and_three_times() {
        let mut bytes = joined(mark(u64::MAX, 7), &[9; TAIL]);
        for left in [2, 1, 0] {
            let key = Brought::read(&bytes).expect("a key");
            let next = key.passed_on().expect("a hop is left");
            assert_eq!((next[7] & 3, &next[8..], &next[..7]), (left, &[9; TAIL][..], &bytes[..7]));
            bytes = next.into();
        }
        assert_eq!(Brought::read(&bytes).expect("a key").passed_on(), None);
    }

    #[test]
    fn a_key_has_one_of_two_lengths() {
        for length in 0..300 {
            let is_key = length == 8 || length == 8 + TAIL;
            assert_eq!(Brought::read(&vec![1; length]).is_some(), is_key, "{length} bytes");
        }
    }
}
