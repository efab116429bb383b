//! What PBKDF2 yielded, kept so that a burst of logins pays for it once, in both directions: for
//! clients whose secret is a plain password, and for servers that ask for SCRAM.
//!
//! An entry is found by a keyed hash of everything that went into it, so no password stands here.
//! The key is made at random when the process starts; it also gives each user name a salt of its
//! own, the same for users that exist and for users that do not.

use std::collections::HashMap;

use crate::base::rng::Rng;
use crate::crypto::key::{KEY_LEN, Key};
use crate::crypto::scram::{self, SALT_LEN, ScramKeys, Verifier};

/// Entries kept. At 100 bytes each this is a bound for memory, not a measure of need: one entry
/// serves all logins of a user on one side.
const ENTRIES_MAX: usize = 8192;

pub struct ScramCache {
    /// Of this process alone: what cannot be guessed outside cannot be searched for offline.
    process_key: Key,
    entries: HashMap<[u8; KEY_LEN], ScramKeys>,
}

impl ScramCache {
    pub fn new(rng: &mut dyn Rng) -> ScramCache {
        let mut process_key = [0; KEY_LEN];
        rng.fill(&mut process_key);
        ScramCache { process_key: Key::new(process_key), entries: HashMap::new() }
    }

    /// [`ScramKeys::derive`], at most once for the same arguments while the entry is kept.
    pub fn keys(&mut self, password: &[u8], salt: &[u8], iterations: u32) -> ScramKeys {
        let name = self.name(password, salt, iterations);
        if let Some(keys) = self.entries.get(&name) {
            return keys.clone();
        }
        let keys = ScramKeys::derive(password, salt, iterations);
        if self.entries.len() >= ENTRIES_MAX {
            self.entries.clear();
        }
        self.entries.insert(name, keys.clone());
        keys
    }

    /// The verifier for a user whose plain password is known.
    pub fn verifier(&mut self, user: &[u8], password: &[u8], iterations: u32) -> Verifier {
        let salt = self.salt(user);
        let keys = self.keys(password, &salt, iterations);
        Verifier::derive(&keys, &salt, iterations)
    }

    /// A verifier that no proof satisfies, for users without a usable secret. From outside it
    /// looks like [`ScramCache::verifier`]'s: same salt for the same name, same iterations.
    pub fn mock_verifier(&self, user: &[u8], iterations: u32) -> Verifier {
        let secret = scram::hmac(self.process_key.as_bytes(), &[b"mock", user]);
        Verifier {
            salt: self.salt(user).into(),
            iterations,
            stored_key: scram::hmac(secret.as_bytes(), &[b"stored"]),
            server_key: scram::hmac(secret.as_bytes(), &[b"server"]),
        }
    }

    fn salt(&self, user: &[u8]) -> [u8; SALT_LEN] {
        let hash = scram::hmac(self.process_key.as_bytes(), &[b"salt", user]);
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    fn name(&self, password: &[u8], salt: &[u8], iterations: u32) -> [u8; KEY_LEN] {
        let salt_len = (salt.len() as u64).to_be_bytes();
        let parts: [&[u8]; 5] = [b"name", &iterations.to_be_bytes(), &salt_len, salt, password];
        *scram::hmac(self.process_key.as_bytes(), &parts).as_bytes()
    }
}
