//! A 32-byte key that is never printed, compares in constant time, and is wiped when dropped.

use std::fmt;

use crate::base::wipe::wipe;
use crate::crypto::compare;

/// The length of a SHA-256 value, in bytes: every key of SCRAM-SHA-256 is one.
pub const KEY_BYTES: usize = 32;

/// One of the keys of RFC 5802, section 3.
#[derive(Clone)]
pub struct ScramKey([u8; KEY_BYTES]);

impl ScramKey {
    pub fn new(bytes: [u8; KEY_BYTES]) -> ScramKey {
        ScramKey(bytes)
    }

    /// None unless there are exactly [`KEY_BYTES`] bytes.
    pub fn from_slice(bytes: &[u8]) -> Option<ScramKey> {
        bytes.try_into().ok().map(ScramKey)
    }

    pub fn as_bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }

    /// Exclusive or, byte by byte: key and signature give the proof, proof and signature the key.
    pub fn xor(&self, other: &ScramKey) -> ScramKey {
        ScramKey(std::array::from_fn(|i| self.0[i] ^ other.0[i]))
    }
}

impl PartialEq for ScramKey {
    fn eq(&self, other: &ScramKey) -> bool {
        compare::equal(&self.0, &other.0)
    }
}
impl Eq for ScramKey {}

impl fmt::Debug for ScramKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}

impl Drop for ScramKey {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_not_printed() {
        assert_eq!(format!("{:?}", ScramKey::new([7; KEY_BYTES])), "Key(redacted)");
    }

    #[test]
    fn a_key_has_exactly_its_length() {
        assert!(ScramKey::from_slice(&[0; KEY_BYTES - 1]).is_none());
        assert!(ScramKey::from_slice(&[0; KEY_BYTES + 1]).is_none());
        assert_eq!(ScramKey::from_slice(&[3; KEY_BYTES]), Some(ScramKey::new([3; KEY_BYTES])));
    }

    #[test]
    fn exclusive_or_twice_gives_the_first_back() {
        let (a, b) = (ScramKey::new([0x5a; KEY_BYTES]), ScramKey::new([0x0f; KEY_BYTES]));
        assert_eq!(a.xor(&b).xor(&b), a);
        assert_ne!(a.xor(&b), a);
    }
}
