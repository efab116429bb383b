//! What is known of a user's password: the password itself, or one of the two forms that PostgreSQL
//! stores. Secrets are never printed, and are wiped when dropped.

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::base::wipe::wipe;
use crate::crypto::key::{KEY_BYTES, ScramKey};
use crate::crypto::md5::{self, MD5_BYTES};
use crate::crypto::scram::Verifier;
use crate::crypto::scram_message::parse_iterations;

/// The longest password, in bytes.
pub const PASSWORD_BYTES_MAX: usize = 65_535;

/// A password that may stand in memory, but not in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(Box<[u8]>);

/// A user's secret, as the user list, `password=` of a database, or an auth_query gives it.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    Plain(Password),
    /// `md5` and the hash of password and user name in hexadecimal digits.
    Md5([u8; MD5_BYTES]),
    Scram(Verifier),
}

impl Secret {
    /// Tells the kind from the text, as PgBouncer and PostgreSQL do: what is not exactly one of the
    /// stored forms is a plain password.
    pub fn parse(text: &[u8]) -> Secret {
        if let Some(secret) = parse_md5(text) {
            return Secret::Md5(secret);
        }
        match parse_scram(text) {
            Some(verifier) => Secret::Scram(verifier),
            None => Secret::Plain(Password::new(text)),
        }
    }

    /// For log lines and SHOW tables.
    pub fn kind(&self) -> SecretKind {
        match self {
            Secret::Plain(_) => SecretKind::Plain,
            Secret::Md5(_) => SecretKind::Md5,
            Secret::Scram(_) => SecretKind::Scram,
        }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}, redacted)", self.kind())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SecretKind {
    Plain,
    Md5,
    Scram,
}

impl fmt::Display for SecretKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            SecretKind::Plain => "plain",
            SecretKind::Md5 => "md5",
            SecretKind::Scram => "scram-sha-256",
        })
    }
}

impl Password {
    pub fn new(text: &[u8]) -> Password {
        Password(text.into())
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The password as PostgreSQL stores it with MD5.
    pub fn to_md5(&self, user: &[u8]) -> [u8; MD5_BYTES] {
        md5::stored(&self.0, user)
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(redacted)")
    }
}

impl Drop for Password {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

fn parse_md5(text: &[u8]) -> Option<[u8; MD5_BYTES]> {
    let is_hash = text.starts_with(b"md5")
        && text[3..].iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if is_hash { text.try_into().ok() } else { None }
}

/// `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`, as in pg_authid (RFC 5803).
fn parse_scram(text: &[u8]) -> Option<Verifier> {
    let text = text.strip_prefix(b"SCRAM-SHA-256$")?;
    let (head, keys) = split_once(text, b'$')?;
    let (iterations, salt) = split_once(head, b':')?;
    let (stored_key, server_key) = split_once(keys, b':')?;
    Some(Verifier {
        iterations: parse_iterations(iterations).ok()?,
        salt: BASE64_STANDARD.decode(salt).ok().filter(|salt| !salt.is_empty())?.into(),
        stored_key: parse_key(stored_key)?,
        server_key: parse_key(server_key)?,
    })
}

fn parse_key(text: &[u8]) -> Option<ScramKey> {
    // The decoder asks for one byte more than a key has.
    let mut key = [0; KEY_BYTES + 1];
    let len = BASE64_STANDARD.decode_slice(text, &mut key).ok()?;
    ScramKey::from_slice(&key[..len])
}

fn split_once(text: &[u8], at: u8) -> Option<(&[u8], &[u8])> {
    let position = text.iter().position(|&byte| byte == at)?;
    Some((&text[..position], &text[position + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::scram::ScramKeys;

    fn kind(text: &str) -> SecretKind {
        Secret::parse(text.as_bytes()).kind()
    }

    fn stored(iterations: &str, tail: &str) -> String {
        let key = BASE64_STANDARD.encode([9; 32]);
        format!("SCRAM-SHA-256${iterations}:QUJD${key}:{key}{tail}")
    }

    #[test]
    fn a_secret_is_md5_only_in_its_exact_form() {
        assert_eq!(kind("md5b350798a23d7544eb353a6f8dca231c2"), SecretKind::Md5);
        for text in [
            "MD5b350798a23d7544eb353a6f8dca231c2",
            "md5B350798A23D7544EB353A6F8DCA231C2",
            "md5b350798a23d7544eb353a6f8dca231c",
            "md5b350798a23d7544eb353a6f8dca231c20",
            "md5gggggggggggggggggggggggggggggggg",
            "md5",
            "",
        ] {
            assert_eq!(kind(text), SecretKind::Plain, "{text}");
        }
    }

    #[test]
    fn a_secret_is_scram_only_when_all_of_it_can_be_read() {
        assert_eq!(kind(&stored("4096", "")), SecretKind::Scram);
        for text in [
            stored("0", ""),
            stored("1000001", ""),
            stored("", ""),
            stored("4096", "x"),
            stored("4096", ":x"),
            stored("4096", "").to_lowercase(),
            stored("4096", "").replace("QUJD", ""),
            stored("4096", "").replace("QUJD", "****"),
            "SCRAM-SHA-256$".to_string(),
            "SCRAM-SHA-256$1:QUJD$QUJD:QUJD".to_string(),
        ] {
            assert_eq!(kind(&text), SecretKind::Plain, "{text}");
        }
    }

    #[test]
    fn a_stored_secret_holds_the_keys_of_its_password() {
        let text = "SCRAM-SHA-256$4096:MDEyMzQ1Njc4OWFiY2RlZg==\
            $5ZYEbgx2oIM3fZnh8TduMjqml9cWqbXQbEZWmn915Ik=\
            :6sv9J26dRZ6UzzzrfUNYjbMnEf5W9S+QtAvKkuddjcI=";
        let keys = ScramKeys::derive(b"pw", b"0123456789abcdef", 4096);
        let expected = Verifier::derive(&keys, b"0123456789abcdef", 4096);
        assert_eq!(Secret::parse(text.as_bytes()), Secret::Scram(expected));
    }

    #[test]
    fn nothing_of_a_secret_is_printed() {
        for text in ["hunter2", "md5b350798a23d7544eb353a6f8dca231c2", &stored("4096", "")] {
            let shown = format!("{:?}", Secret::parse(text.as_bytes()));
            assert!(shown.ends_with(", redacted)"), "{shown}");
        }
        assert_eq!(format!("{:?}", Password::new(b"hunter2")), "Password(redacted)");
    }
}
