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
//!
//! The records hold the keys, and the table no more than slots: idle clients are counted in bytes.

use super::client::Client;
use crate::base::arena::Arena;
use crate::base::rng::Rng;
use crate::base::slots::Slots;
use crate::crypto::compare;
use crate::crypto::key::{KEY_BYTES, ScramKey};
use crate::crypto::scram;
use crate::pool::ids::ClientId;

/// What a long key has after its first eight bytes: with the four of them that are secret, as many
/// as PostgreSQL's secrets have.
pub const TAIL_BYTES: usize = 28;

/// Which client has which cancel key.
#[derive(Default)]
pub struct CancelKeys {
    /// The slots of clients by their keys.
    slots: Slots,
    /// What the tails of long keys are made with. It is drawn for the first one.
    secret: Option<ScramKey>,
}

impl CancelKeys {
    /// Long keys may be made from now on.
    fn draw_secret(&mut self, rng: &mut dyn Rng) {
        self.secret.get_or_insert_with(|| {
            let mut bytes = [0; KEY_BYTES];
            rng.fill(&mut bytes);
            ScramKey::new(bytes)
        });
    }

    /// What follows these eight bytes in the long key of the connection with this number.
    fn tail(&self, key: u64, number: u64) -> Option<[u8; TAIL_BYTES]> {
        let parts = [&key.to_be_bytes()[..], &number.to_be_bytes()];
        let digest = scram::hmac(self.secret.as_ref()?.as_bytes(), &parts);
        digest.as_bytes().first_chunk().copied()
    }

    /// Gives a client a key that no other one has, as long as it has agreed on. `peer_id` is the
    /// number of this process among its peers; 0 is without.
    pub fn give(
        &mut self,
        clients: &mut Arena<Client>,
        id: ClientId,
        rng: &mut dyn Rng,
        peer_id: u16,
    ) -> Vec<u8> {
        let key = loop {
            let key = mark(rng.next_u64(), peer_id);
            if self.slots.enter(key, id.index(), |slot| key_at(clients, slot)) {
                break key;
            }
        };
        clients[id].key = key;
        if clients[id].has_long_key {
            self.draw_secret(rng);
        }
        self.whole(&clients[id])
    }

    /// The whole key of a client.
    fn whole(&self, client: &Client) -> Vec<u8> {
        let tail = client.has_long_key.then(|| self.tail(client.key, client.number)).flatten();
        joined(client.key, tail.as_ref().map_or(&[], |tail| &tail[..]))
    }

    /// The client that has exactly this key, however often the request was passed on.
    pub fn owner(
        &self,
        clients: &Arena<Client>,
        key: Brought<'_>,
        peer_id: u16,
    ) -> Option<ClientId> {
        let hops = if peer_id == 0 { 0 } else { HOPS };
        let head = key.head | hops;
        let id = clients.id_at(self.slots.slot(head, |at| key_at(clients, at))?)?;
        let own = self.whole(&clients[id]);
        compare::equal(&own, &joined(head, key.tail)).then_some(id)
    }

    /// The key that a client has been given means nobody any more.
    pub fn take_back(&mut self, clients: &mut Arena<Client>, id: ClientId) {
        let key = clients[id].key;
        if key != 0 {
            self.slots.remove(key, |slot| key_at(clients, slot));
            clients[id].key = 0;
        }
    }
}

/// The bits of a key that count the hops left.
const HOPS: u64 = 3;

/// A key that a CancelRequest has brought, of a length that keys have.
#[derive(Clone, Copy)]
pub struct Brought<'a> {
    head: u64,
    /// Nothing, or as much as a long key has after its head.
    tail: &'a [u8],
}

impl Brought<'_> {
    pub fn read(bytes: &[u8]) -> Option<Brought<'_>> {
        let (head, tail) = bytes.split_first_chunk()?;
        let is_sane = tail.is_empty() || tail.len() == TAIL_BYTES;
        is_sane.then_some(Brought { head: u64::from_be_bytes(*head), tail })
    }

    /// The process whose client it means.
    pub fn peer(self) -> u16 {
        ((self.head >> 40) as u16).swap_bytes()
    }

    /// What the next process gets: one hop less. `None` when there is none left.
    pub fn passed_on(self) -> Option<Box<[u8]>> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::interned::Interned;
    use crate::base::rng::SeededRng;
    use crate::base::time::Moment;
    use crate::log::PeerAddress;

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
        let mut bytes = joined(mark(u64::MAX, 7), &[9; TAIL_BYTES]);
        for left in [2, 1, 0] {
            let key = Brought::read(&bytes).expect("a key");
            let next = key.passed_on().expect("a hop is left");
            assert_eq!(
                (next[7] & 3, &next[8..], &next[..7]),
                (left, &[9; TAIL_BYTES][..], &bytes[..7])
            );
            bytes = next.into();
        }
        assert_eq!(Brought::read(&bytes).expect("a key").passed_on(), None);
    }

    #[test]
    fn a_key_has_one_of_two_lengths() {
        for length in 0..300 {
            let is_key = length == 8 || length == 8 + TAIL_BYTES;
            assert_eq!(Brought::read(&vec![1; length]).is_some(), is_key, "{length} bytes");
        }
    }

    #[test]
    fn a_key_is_given_and_means_its_client_until_it_is_taken_back() {
        let (mut keys, mut rng) = (CancelKeys::default(), SeededRng::new(1));
        let mut clients: Arena<Client> = Arena::new();
        let ids = [false, true].map(|has_long_key| {
            let nowhere = PeerAddress::Unix { pid: None, port: 0 };
            let local = Interned::<PeerAddress>::default().hold(&nowhere);
            let mut client = Client::new(7, Moment(0), nowhere, local, None);
            client.has_long_key = has_long_key;
            clients.insert(client)
        });
        let given = ids.map(|id| keys.give(&mut clients, id, &mut rng, 9));
        assert_eq!([given[0].len(), given[1].len()], [8, 8 + TAIL_BYTES]);
        for (id, bytes) in ids.into_iter().zip(&given) {
            let key = Brought::read(bytes).expect("a key");
            assert_eq!(keys.owner(&clients, key, 9), Some(id));
            let passed_on = key.passed_on().expect("a hop is left");
            let key = Brought::read(&passed_on).expect("a key");
            assert_eq!(keys.owner(&clients, key, 9), Some(id), "passed on");
        }
        let cut = Brought::read(&given[1][..8]).expect("a key");
        assert_eq!(keys.owner(&clients, cut, 9), None, "half of a key is none");
        keys.take_back(&mut clients, ids[0]);
        let key = Brought::read(&given[0]).expect("a key");
        assert_eq!((clients[ids[0]].key, keys.owner(&clients, key, 9)), (0, None));
    }
}
