//! PostgreSQL's MD5 scheme: what is stored, and how a salt is answered (protocol documentation,
//! AuthenticationMD5Password). Broken as a hash, kept because servers and clients still ask for it.

use md5::{Digest, Md5};

/// Length of a stored MD5 secret and of an answer, in bytes: `md5` and 32 hexadecimal digits.
pub const MD5_BYTES: usize = 35;

/// What is stored for a user: `md5` and the hash of password and user name.
pub fn stored(password: &[u8], user: &[u8]) -> [u8; MD5_BYTES] {
    hashed(password, user)
}

/// The answer to a salt: `md5` and the hash of the stored digits and the salt.
pub fn answer(stored: &[u8; MD5_BYTES], salt: [u8; 4]) -> [u8; MD5_BYTES] {
    hashed(&stored[3..], &salt)
}

fn hashed(first: &[u8], second: &[u8]) -> [u8; MD5_BYTES] {
    let digest = Md5::new().chain_update(first).chain_update(second).finalize();
    let mut text = *b"md5................................";
    for (digits, byte) in text[3..].chunks_exact_mut(2).zip(digest.iter()) {
        digits[0] = HEX[usize::from(byte >> 4)];
        digits[1] = HEX[usize::from(byte & 15)];
    }
    text
}

const HEX: &[u8; 16] = b"0123456789abcdef";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_stored_form_is_that_of_postgresql() {
        assert_eq!(&stored(b"1234", b"admin"), b"md545f2603610af569b6155c45067268c6b");
    }

    #[test]
    fn an_answer_depends_on_secret_and_salt() {
        let stored = stored(b"1234", b"admin");
        let first = answer(&stored, *b"abcd");
        assert_eq!(first, hashed(b"45f2603610af569b6155c45067268c6b", b"abcd"));
        assert_ne!(first, answer(&stored, *b"abce"));
    }
}
