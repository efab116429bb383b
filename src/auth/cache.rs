//! SCRAM keys, kept so that a burst of logins pays for PBKDF2 once, in both directions: for clients
//! whose secret is a plain password, and for servers that ask for SCRAM.
//!
//! An entry is found by a keyed hash of password, salt and iterations, so the cache holds no
//! password. The key of that hash is made at random when the process starts. From it each user name
//! also gets a salt of its own, whether or not the user exists.

use std::collections::HashMap;

use crate::base::rng::Rng;
use crate::base::wipe::wipe;
use crate::crypto::key::{KEY_BYTES, ScramKey};
use crate::crypto::saslprep::Saslprep;
use crate::crypto::scram::{Derivation, HmacKey, SALT_BYTES, ScramKeys};

/// The name of an entry: a keyed hash of password, salt and iterations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KeyName([u8; KEY_BYTES]);

/// Keys that are still to be derived, slice by slice.
#[derive(Debug)]
pub struct Work {
    pub name: KeyName,
    pub derivation: Box<Derivation>,
}

/// The answer of the cache: the keys, or the work that derives them.
#[derive(Debug)]
pub enum CachedKeys {
    Known(ScramKeys),
    Wanted(Work),
}

/// Keys that were derived, and the salts of this process.
pub struct ScramCache {
    /// HMAC under the random key of this process. Without that key nobody can search for a password
    /// offline.
    process_key: HmacKey,
    /// Entries that were used since the generations last changed.
    young: HashMap<KeyName, ScramKeys>,
    /// Entries that are forgotten at the next change of generations, unless used before.
    old: HashMap<KeyName, ScramKeys>,
    saslprep: Saslprep,
}

impl ScramCache {
    pub fn new(rng: &mut dyn Rng) -> ScramCache {
        let mut process_key = [0; KEY_BYTES];
        rng.fill(&mut process_key);
        let keyed = HmacKey::new(&process_key);
        wipe(&mut process_key);
        ScramCache {
            process_key: keyed,
            young: HashMap::new(),
            old: HashMap::new(),
            saslprep: Saslprep::default(),
        }
    }

    /// The keys of a password, or the work that derives them.
    pub fn keys(&mut self, password: &[u8], salt: &[u8], iterations: u32) -> CachedKeys {
        let Some(mut prepared) = self.saslprep.prepared(password) else {
            return self.keys_of(password, salt, iterations);
        };
        let keys = self.keys_of(&prepared, salt, iterations);
        wipe(&mut prepared);
        keys
    }

    fn keys_of(&mut self, password: &[u8], salt: &[u8], iterations: u32) -> CachedKeys {
        let name = self.name(password, salt, iterations);
        match self.find(&name) {
            Some(keys) => CachedKeys::Known(keys),
            None => {
                let derivation = Box::new(Derivation::new(password, salt, iterations));
                CachedKeys::Wanted(Work { name, derivation })
            }
        }
    }

    /// A derivation whose keys nobody needs. It is done before refusing a login that has cost no
    /// derivation yet, so that users that do not exist are refused no sooner than others.
    pub fn idle_work(&self, user: &[u8], iterations: u32) -> Work {
        let name = KeyName(*self.hash(&[b"idle", &iterations.to_be_bytes(), user]).as_bytes());
        Work { name, derivation: Box::new(Derivation::new(&name.0, b"", iterations)) }
    }

    /// The salt of a user whose secret has none, or who does not exist.
    pub fn salt(&self, user: &[u8]) -> [u8; SALT_BYTES] {
        let hash = self.hash(&[b"salt", user]);
        std::array::from_fn(|i| hash.as_bytes()[i])
    }

    fn name(&self, password: &[u8], salt: &[u8], iterations: u32) -> KeyName {
        let salt_len = (salt.len() as u64).to_be_bytes();
        let parts: [&[u8]; 5] = [b"name", &iterations.to_be_bytes(), &salt_len, salt, password];
        KeyName(*self.hash(&parts).as_bytes())
    }

    fn hash(&self, parts: &[&[u8]]) -> ScramKey {
        self.process_key.hmac(parts)
    }

    fn find(&mut self, name: &KeyName) -> Option<ScramKeys> {
        if let Some(keys) = self.young.get(name) {
            return Some(keys.clone());
        }
        let keys = self.old.remove(name)?;
        self.keep(*name, keys.clone());
        Some(keys)
    }

    /// Keeps derived keys. For clients the caller keeps those of right passwords only: guesses must
    /// not push out entries that are in use.
    pub fn keep(&mut self, name: KeyName, keys: ScramKeys) {
        if self.young.len() >= GENERATION_ENTRIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(name, keys);
    }
}

/// Entries in one generation; there are at most two. At some 100 bytes each this bounds memory to
/// about 1 MB. One entry serves all logins of one user to the pooler, another its logins to
/// servers.
const GENERATION_ENTRIES_MAX: usize = 4096;

#[cfg(test)]
impl ScramCache {
    /// The keys, derived at once and kept.
    pub fn keys_now(&mut self, password: &[u8], salt: &[u8], iterations: u32) -> ScramKeys {
        match self.keys(password, salt, iterations) {
            CachedKeys::Known(keys) => keys,
            CachedKeys::Wanted(work) => {
                let (name, keys) = work.finish();
                self.keep(name, keys.clone());
                keys
            }
        }
    }
}

impl Work {
    /// Does all the work that is left, at once. The loop must not call it.
    pub fn finish(mut self) -> (KeyName, ScramKeys) {
        self.derivation.advance(u32::MAX);
        (self.name, self.derivation.keys().expect("nothing is left"))
    }
}

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
        let first = cache.keys_now(b"secret", b"salt", 3);
        assert_eq!(first, ScramKeys::derive(b"secret", b"salt", 3));
        assert!(
            matches!(cache.keys(b"secret", b"salt", 3), CachedKeys::Known(keys) if keys == first)
        );
        assert_eq!(cache.young.len(), 1);
        for (password, salt, iterations) in
            [(&b"secreT"[..], &b"salt"[..], 3), (b"secret", b"sal", 3), (b"secret", b"salt", 4)]
        {
            assert_ne!(cache.keys_now(password, salt, iterations), first);
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
        cache.keys_now(b"used", b"salt", 1);
        for i in 0..3 * GENERATION_ENTRIES_MAX {
            cache.keys_now(&i.to_be_bytes(), b"salt", 1);
            if i % 1000 == 0 {
                assert!(cache.find(&name).is_some(), "{i}");
            }
            assert!(cache.young.len() + cache.old.len() <= 2 * GENERATION_ENTRIES_MAX);
        }
        let unused = cache.name(&0_usize.to_be_bytes(), b"salt", 1);
        assert!(cache.find(&unused).is_none());
    }

    #[test]
    fn a_user_has_the_same_salt_each_time() {
        let cache = cache();
        assert_eq!(cache.salt(b"joe"), cache.salt(b"joe"));
        assert_ne!(cache.salt(b"joe"), cache.salt(b"jim"));
    }

    #[test]
    fn idle_work_leaves_nothing_behind() {
        let mut cache = cache();
        let (name, _) = cache.idle_work(b"joe", 2).finish();
        assert!(cache.find(&name).is_none());
        assert_eq!(cache.idle_work(b"joe", 2).name, name, "guesses of one name share it");
        assert_ne!(cache.idle_work(b"jim", 2).name, name);
    }
}
