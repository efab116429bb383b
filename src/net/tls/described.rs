//! Descriptions of certificates for operators.

use openssl::asn1::{Asn1Time, Asn1TimeRef};
use openssl::x509::{X509, X509Ref};

use super::name;
use crate::pool::records::secured::TlsFile;

/// The longest text that is kept of a certificate's names, in characters.
const NAMES_CHARS_MAX: usize = 1000;

/// Describes a chain, which is valid for as long as all of its certificates are.
pub fn chain(path: &str, chain: &[X509]) -> Option<TlsFile> {
    let first = chain.first()?;
    let not_after = chain.iter().map(|certificate| end_of(certificate)).min()?;
    Some(described(path, first, not_after))
}

/// Describes a list of authorities by the one that expires last: an expired authority does no harm
/// beside its successor.
pub fn authorities(path: &str, authorities: &[X509]) -> Option<TlsFile> {
    let last = authorities.iter().max_by_key(|authority| end_of(authority))?;
    Some(described(path, last, end_of(last)))
}

fn described(path: &str, certificate: &X509Ref, not_after: u64) -> TlsFile {
    TlsFile {
        path: path.into(),
        subject: bounded(subject(certificate)),
        names: bounded(name::alternatives(certificate).join(", ")),
        not_after,
    }
}

fn bounded(text: String) -> Box<str> {
    match text.char_indices().nth(NAMES_CHARS_MAX) {
        Some((end, _)) => format!("{}...", &text[..end]).into(),
        None => text.into(),
    }
}

/// `CN=db.example.com, O=Example`.
pub fn subject(certificate: &X509Ref) -> String {
    let entries = certificate.subject_name().entries().map(|entry| {
        let key = entry.object().nid().short_name().unwrap_or("?");
        let value = entry.data().to_string();
        format!("{key}={}", value.as_deref().unwrap_or("?").escape_debug())
    });
    entries.collect::<Vec<_>>().join(", ")
}

fn end_of(certificate: &X509Ref) -> u64 {
    unix_seconds(certificate.not_after()).unwrap_or_default()
}

/// Seconds since 1970; None for an earlier time.
fn unix_seconds(time: &Asn1TimeRef) -> Option<u64> {
    // Not from a number: its width on systems of 32 bits differs between releases of the library.
    let since = Asn1Time::from_str("19700101000000Z").ok()?.diff(time).ok()?;
    u64::try_from(i64::from(since.days) * 86_400 + i64::from(since.secs)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_in_seconds_since_1970() {
        let told = [
            ("19690101000000Z", None),
            ("19700101000000Z", Some(0)),
            ("19700101000001Z", Some(1)),
            ("19700101235959Z", Some(86_399)),
            ("19700102000000Z", Some(86_400)),
            ("20000229000000Z", Some(951_782_400)),
            ("20270115080000Z", Some(1_800_000_000)),
            ("20380119031408Z", Some(2_147_483_648)),
            ("21000101000000Z", Some(4_102_444_800)),
        ];
        for (text, seconds) in told {
            let time = Asn1Time::from_str(text).expect("a time");
            assert_eq!(unix_seconds(&time), seconds, "{text}");
        }
    }
}
