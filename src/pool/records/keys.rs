//! Which client a cancel key belongs to.
//!
//! The records hold the keys, and the table no more than slots: clients that are idle are counted
//! in bytes.

use crate::base::rng::Rng;
use crate::base::slots::Slots;
use crate::crypto::key::{KEY_LEN, Key};
use crate::crypto::scram;

/// What a long key has behind its first eight bytes: with the four of them that are secret, as many
/// as PostgreSQL's secrets have.
pub const TAIL: usize = 28;

/// Whose the keys are that were given out.
#[derive(Default)]
pub struct Keys {
    /// The slots of clients by their keys.
    pub slots: Slots,
    /// What the tails of long keys are made with. It is drawn for the first one.
    secret: Option<Key>,
}

impl Keys {
    /// Long keys may be made from now on.
    pub fn draw_secret(&mut self, rng: &mut dyn Rng) {
        self.secret.get_or_insert_with(|| {
            let mut bytes = [0; KEY_LEN];
            rng.fill(&mut bytes);
            Key::new(bytes)
        });
    }

    /// What follows these eight bytes in the long key of the connection with this number.
    pub fn tail(&self, key: u64, number: u64) -> Option<[u8; TAIL]> {
        let parts = [&key.to_be_bytes()[..], &number.to_be_bytes()];
        let digest = scram::hmac(self.secret.as_ref()?.as_bytes(), &parts);
        digest.as_bytes().first_chunk().copied()
    }
}
