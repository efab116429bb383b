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

/// Keys that were derived, and the salts of this process.
pub struct ScramCache {
    /// Of this process alone: what cannot be known outside cannot be searched for offline.
    process_key: Key,
    /// Used since the last turn of generations.
    young: HashMap<[u8; KEY_LEN], ScramKeys>,
    /// Forgotten at the next turn, unless used before.
    old: HashMap<[u8; KEY_LEN], ScramKeys>,
}

impl ScramCache {
    pub fn new(rng: &mut dyn Rng) -> ScramCache {
        let mut process_key = [0; KEY_LEN];
        rng.fill(&mut process_key);
        ScramCache {
            process_key: Key::new(process_key),
            young: HashMap::new(),
            old: HashMap::new(),
        }
    }

    /// [`ScramKeys::derive`], at most once for the same arguments while the entry is kept.
    pub fn keys(&mut self, password: &[u8], salt: &[u8], iterations: u32) -> ScramKeys {
        let name = self.name(password, salt, iterations);
        self.find(&name).unwrap_or_else(|| {
            let keys = ScramKeys::derive(password, salt, iterations);
            self.keep(name, keys.clone());
            keys
        })
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
        Verifier {
            salt: self.salt(user).into(),
            iterations,
            stored_key: self.hash(&[b"stored", user]),
            server_key: self.hash(&[b"server", user]),
        }
    }

    /// The keys of a password that came in clear, if it is the one behind `verifier`. Only right
    /// ones are kept: guesses must not push out what is in use.
    pub fn check(&mut self, password: &[u8], verifier: &Verifier) -> Option<ScramKeys> {
        let name = self.name(password, &verifier.salt, verifier.iterations);
        let found = self.find(&name);
        let is_new = found.is_none();
        let keys = found
            .unwrap_or_else(|| ScramKeys::derive(password, &verifier.salt, verifier.iterations));
        if keys.stored_key() != verifier.stored_key {
            return None;
        }
        if is_new {
            self.keep(name, keys.clone());
        }
        Some(keys)
    }

    fn salt(&self, user: &[u8]) -> [u8; SALT_LEN] {
        let hash = self.hash(&[b"salt", user]);
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    fn name(&self, password: &[u8], salt: &[u8], iterations: u32) -> [u8; KEY_LEN] {
        let salt_len = (salt.len() as u64).to_be_bytes();
        let parts: [&[u8]; 5] = [b"name", &iterations.to_be_bytes(), &salt_len, salt, password];
        *self.hash(&parts).as_bytes()
    }

    fn hash(&self, parts: &[&[u8]]) -> Key {
        scram::hmac(self.process_key.as_bytes(), parts)
    }

    fn find(&mut self, name: &[u8; KEY_LEN]) -> Option<ScramKeys> {
        if let Some(keys) = self.young.get(name) {
            return Some(keys.clone());
        }
        let keys = self.old.remove(name)?;
        self.keep(*name, keys.clone());
        Some(keys)
    }

    fn keep(&mut self, name: [u8; KEY_LEN], keys: ScramKeys) {
        if self.young.len() >= GENERATION_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, keys);
    }
}

/// Entries in one generation; there are at most two. At some 100 bytes each this bounds memory to
/// about 1 MB. One entry serves all logins of a user on one side.
const GENERATION_MAX: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    fn cache() -> ScramCache {
        ScramCache::new(&mut SeededRng::new(1))
    }

    #[test]
    fn the_same_arguments_are_derived_once() {
        let mut cache = cache();
        let first = cache.keys(b"secret", b"salt", 3);
        assert_eq!(first, ScramKeys::derive(b"secret", b"salt", 3));
        assert_eq!(cache.keys(b"secret", b"salt", 3), first);
        assert_eq!(cache.young.len(), 1);
        for (password, salt, iterations) in
            [(&b"secreT"[..], &b"salt"[..], 3), (b"secret", b"sal", 3), (b"secret", b"salt", 4)]
        {
            assert_ne!(cache.keys(password, salt, iterations), first);
        }
        assert_eq!(cache.young.len(), 4);
    }

    #[test]
    fn a_password_cannot_borrow_bytes_from_its_salt() {
        let cache = cache();
        assert_ne!(cache.name(b"xy", b"z", 1), cache.name(b"y", b"zx", 1));
    }

    #[test]
    fn memory_is_bounded_and_what_is_in_use_stays() {
        let mut cache = cache();
        let name = cache.name(b"used", b"salt", 1);
        cache.keys(b"used", b"salt", 1);
        for i in 0..3 * GENERATION_MAX {
            cache.keys(&i.to_be_bytes(), b"salt", 1);
            if i % 1000 == 0 {
                assert!(cache.find(&name).is_some(), "{i}");
            }
            assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION_MAX);
        }
        let unused = cache.name(&0_usize.to_be_bytes(), b"salt", 1);
        assert!(cache.find(&unused).is_none());
    }

    #[test]
    fn users_that_do_not_exist_have_the_same_salt_each_time() {
        let mut cache = cache();
        let real = cache.verifier(b"joe", b"secret", 1);
        let mock = cache.mock_verifier(b"joe", 1);
        assert_eq!(real.salt, mock.salt);
        assert_eq!(mock, cache.mock_verifier(b"joe", 1));
        assert_ne!(mock.salt, cache.mock_verifier(b"jim", 1).salt);
        assert_ne!(mock.stored_key, real.stored_key);
    }

    #[test]
    fn wrong_passwords_are_not_kept() {
        let mut cache = cache();
        let keys = ScramKeys::derive(b"right", b"salt", 2);
        let verifier = Verifier::derive(&keys, b"salt", 2);
        assert_eq!(cache.check(b"wrong", &verifier), None);
        assert!(cache.young.is_empty());
        assert_eq!(cache.check(b"right", &verifier), Some(keys.clone()));
        assert_eq!(cache.check(b"right", &verifier), Some(keys));
        assert_eq!(cache.young.len(), 1);
    }
}
