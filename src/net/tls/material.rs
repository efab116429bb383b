//! Keys and certificates from files in PEM. Files are read here, whole, so that an error names the
//! file, and so that no encrypted key makes the library ask for a password.

use std::fs;
use std::io::{self, Read};

use openssl::error::ErrorStack;
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::x509::{X509, X509Ref};

use super::TlsError;
use crate::log::plain;

/// The longest file that is read, in bytes: the bundle of all public authorities is a tenth of it.
const FILE_BYTES_MAX: u64 = 4 << 20;

/// A certificate, and the chain of certificates that signed it.
pub fn chain(file: &str) -> Result<Vec<X509>, TlsError> {
    let failed =
        |why: &str| TlsError::new(format!("failed to load certificate file \"{file}\": {why}"));
    certificates(file, &failed)
}

/// The authorities that a peer's certificate is checked against.
pub fn authorities(file: &str) -> Result<Vec<X509>, TlsError> {
    let failed = |why: &str| TlsError::new(format!("failed to load CA file \"{file}\": {why}"));
    certificates(file, &failed)
}

fn certificates(file: &str, failed: &dyn Fn(&str) -> TlsError) -> Result<Vec<X509>, TlsError> {
    let pem = read(file).map_err(|error| unread(&error, failed))?;
    let found = X509::stack_from_pem(&pem).map_err(|errors| failed(&reason(&errors)))?;
    if found.is_empty() { Err(failed("it holds no certificate in PEM")) } else { Ok(found) }
}

/// The private key, which must not be encrypted.
pub fn key(file: &str) -> Result<PKey<Private>, TlsError> {
    let failed =
        |why: &str| TlsError::new(format!("failed to load private key file \"{file}\": {why}"));
    let pem = read(file).map_err(|error| unread(&error, &failed))?;
    if pem.windows(9).any(|word| word == b"ENCRYPTED") {
        return Err(failed("it is encrypted, and there is nobody to ask for its password"));
    }
    PKey::private_key_from_pem(&pem).map_err(|errors| failed(&reason(&errors)))
}

/// The error of a key that belongs to another certificate, in the library's words.
pub fn mismatch(file: &str) -> TlsError {
    TlsError::new(format!("failed to load private key file \"{file}\": key values mismatch"))
}

/// The error of a file that cannot be read.
fn unread(error: &io::Error, failed: &dyn Fn(&str) -> TlsError) -> TlsError {
    let is_denied = error.kind() == io::ErrorKind::PermissionDenied;
    TlsError { is_denied, ..failed(&plain(error)) }
}

/// Reads a regular file of at most [`FILE_BYTES_MAX`].
fn read(file: &str) -> io::Result<Vec<u8>> {
    if !fs::metadata(file)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    fs::File::open(file)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(io::Error::other(format!("it is longer than {FILE_BYTES_MAX} bytes")));
    }
    Ok(bytes)
}

/// The library's reason: of several errors, that of the last, which tells most.
pub fn reason(errors: &ErrorStack) -> String {
    let words = errors.errors().iter().rev().find_map(|error| error.reason());
    words.unwrap_or("the library gives no reason").to_owned()
}

/// The certificate hash for channel binding of SCRAM (RFC 5929, tls-server-end-point). The hash
/// function is that of the certificate's signature, with SHA-256 in place of MD5 and SHA-1. A
/// certificate whose signature names no hash function, such as Ed25519, has none.
pub fn end_point(certificate: &X509Ref) -> Option<Box<[u8]>> {
    let signature = certificate.signature_algorithm().object().nid().signature_algorithms()?;
    let digest = match signature.digest {
        Nid::MD5 | Nid::SHA1 => MessageDigest::sha256(),
        other => MessageDigest::from_nid(other)?,
    };
    certificate.digest(digest).ok().map(|hash| hash.to_vec().into())
}
