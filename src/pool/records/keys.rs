//! Cancel keys: BackendKeyData gives one to a client, and a CancelRequest must carry it.
//!
//! A key begins with eight bytes: the process id and four bytes of secret. A client that speaks
//! protocol 3.2 gets 28 bytes more, so that its secret has 32 bytes, as PostgreSQL's. These 28
//! bytes are computed from the eight, the number of the connection and a secret of this process. No
//! record stores them, so they cost an idle client no memory.
//!
//! The eight bytes tell which process has the client and how many hops the request may still make.
//! Their layout is PgBouncer's, so that both kinds of processes can be peers: one byte below 128;
//! the peer_id in two bytes, the lower one first; and five bytes, of which the last has the
//! remaining hops in its lowest two bits. PgBouncer refuses any CancelRequest that is not 16 bytes
//! long, even for a client of another process. So with peers no client gets a long key, unless
//! `peers_take_long_keys` says that all of them understand long keys.
//!
//! The records hold the keys, and the table only slots, since every byte of an idle client counts.

use super::client::Client;
use crate::base::arena::Arena;
use crate::base::rng::Rng;
use crate::base::slots::Slots;
use crate::crypto::compare;
use crate::crypto::key::{KEY_BYTES, ScramKey};
use crate::crypto::scram;
use crate::pool::ids::ClientId;

/// The bytes of a long key after its first eight. The last four of the eight and these bytes form a
/// secret as long as PostgreSQL's.
pub const TAIL_BYTES: usize = 28;

/// Finds the client of a cancel key.
#[derive(Default)]
pub struct CancelKeys {
    /// The slots of clients by their keys.
    slots: Slots,
    /// The secret from which the tails of long keys are computed, drawn for the first long key.
    secret: Option<ScramKey>,
}

impl CancelKeys {
    /// Draws the secret, so that long keys can be made.
    fn draw_secret(&mut self, rng: &mut dyn Rng) {
        self.secret.get_or_insert_with(|| {
            let mut bytes = [0; KEY_BYTES];
            rng.fill(&mut bytes);
            ScramKey::new(bytes)
        });
    }

    /// The tail of the long key that begins with these eight bytes, for the connection of this
    /// number.
    fn tail(&self, key: u64, number: u64) -> Option<[u8; TAIL_BYTES]> {
        let parts = [&key.to_be_bytes()[..], &number.to_be_bytes()];
        let digest = scram::hmac(self.secret.as_ref()?.as_bytes(), &parts);
        digest.as_bytes().first_chunk().copied()
    }

    /// Gives a client a key that no other client has, long if the client speaks protocol 3.2.
    /// `peer_id` is that of this process; 0 means without peers.
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

    /// The complete key of a client.
    fn whole(&self, client: &Client) -> Vec<u8> {
        let tail = client.has_long_key.then(|| self.tail(client.key, client.number)).flatten();
        joined(client.key, tail.as_ref().map_or(&[], |tail| &tail[..]))
    }

    /// The client with exactly this key, however often the request was passed on.
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

    /// Takes a client's key out of use.
    pub fn take_back(&mut self, clients: &mut Arena<Client>, id: ClientId) {
        let key = clients[id].key;
        if key != 0 {
            self.slots.remove(key, |slot| key_at(clients, slot));
            clients[id].key = 0;
        }
    }
}

/// The bits of a key that count the remaining hops.
const HOPS: u64 = 3;

/// The key in a CancelRequest, of a valid length.
#[derive(Clone, Copy)]
pub struct Brought<'a> {
    head: u64,
    /// Empty, or as long as the tail of a long key.
    tail: &'a [u8],
}

impl Brought<'_> {
    pub fn read(bytes: &[u8]) -> Option<Brought<'_>> {
        let (head, tail) = bytes.split_first_chunk()?;
        let is_sane = tail.is_empty() || tail.len() == TAIL_BYTES;
        is_sane.then_some(Brought { head: u64::from_be_bytes(*head), tail })
    }

    /// The process that has the client of this key.
    pub fn peer(self) -> u16 {
        ((self.head >> 40) as u16).swap_bytes()
    }

    /// The key for the next process, with one hop less; `None` if no hop is left.
    pub fn passed_on(self) -> Option<Box<[u8]>> {
        let is_left = self.head & HOPS != 0;
        is_left.then(|| joined(self.head - 1, self.tail).into())
    }
}

/// Turns random bits into the head of a key of the process with this peer_id; 0 means without
/// peers.
fn mark(random: u64, peer_id: u16) -> u64 {
    let positive = random & 0x7fff_ffff_ffff_ffff;
    if peer_id == 0 {
        return positive;
    }
    let number = u64::from(peer_id.swap_bytes());
    positive & !(0xffff << 40) | number << 40 | HOPS
}

/// The key of the client in a slot; 0, which no client has, if the slot is empty.
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
