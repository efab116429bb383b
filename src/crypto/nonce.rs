//! Nonces and salts from the source of randomness that the caller hands in.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::base::rng::Rng;

/// Random bytes in a nonce, as PostgreSQL uses: 24 characters as text.
const NONCE_BYTES: usize = 18;

/// A fresh nonce for SCRAM, printable and without a comma (RFC 5802, section 5.1, attribute `r`).
pub fn scram_nonce(rng: &mut dyn Rng) -> String {
    let mut bytes = [0; NONCE_BYTES];
    rng.fill(&mut bytes);
    BASE64_STANDARD.encode(bytes)
}

/// A fresh salt for AuthenticationMD5Password.
pub fn md5_salt(rng: &mut dyn Rng) -> [u8; 4] {
    let mut salt = [0; 4];
    rng.fill(&mut salt);
    salt
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    #[test]
    fn a_nonce_is_printable_and_new_each_time() {
        let mut rng = SeededRng::new(1);
        let first = scram_nonce(&mut rng);
        assert_eq!(first.len(), 24);
        assert!(first.bytes().all(|b| b.is_ascii_graphic() && b != b','));
        assert_ne!(first, scram_nonce(&mut rng));
    }
}
