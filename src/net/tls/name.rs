//! Whether a certificate bears the name of the host that was connected to, as libpq decides it
//! (PostgreSQL manual, "SSL Support", "Client Verification of Server Certificates"): by its subject
//! alternative names, or, only if none of them is a host name or an address, by its common name.

use std::net::IpAddr;

use openssl::nid::Nid;
use openssl::x509::{GeneralNameRef, X509Ref};

/// Whether `certificate` is issued for `host`, a name or an address.
pub fn is_of(certificate: &X509Ref, host: &str) -> bool {
    let address: Option<IpAddr> = host.parse().ok();
    let mut has_names = false;
    for name in certificate.subject_alt_names().iter().flatten() {
        if let Some(pattern) = name.dnsname() {
            has_names = true;
            if address.is_none() && matches(pattern, host) {
                return true;
            }
        } else if let Some(bytes) = name.ipaddress() {
            has_names = true;
            if address.is_some_and(|address| octets(address) == bytes) {
                return true;
            }
        }
    }
    !has_names && common_name(certificate).is_some_and(|name| matches(&name, host))
}

/// The names of hosts that a certificate bears beside its common name.
pub fn hosts(certificate: &X509Ref) -> Box<[Box<str>]> {
    let names = certificate.subject_alt_names();
    let names = names.iter().flatten().filter_map(|name| name.dnsname());
    names.filter(|name| !name.contains('\0')).map(Into::into).collect()
}

/// Names and addresses that a certificate bears beside its common name, as text.
pub fn alternatives(certificate: &X509Ref) -> Vec<String> {
    let names = certificate.subject_alt_names();
    let text = |name: &GeneralNameRef| {
        let address = name.ipaddress().map(|bytes| match bytes.len() {
            4 => bytes.first_chunk().map(|octets: &[u8; 4]| IpAddr::from(*octets)),
            _ => bytes.first_chunk().map(|octets: &[u8; 16]| IpAddr::from(*octets)),
        });
        let address = address.flatten().map(|address| address.to_string());
        address.or_else(|| Some(name.dnsname()?.escape_debug().to_string()))
    };
    names.iter().flatten().filter_map(text).collect()
}

/// The common name of the subject, if it is text without a NUL.
pub fn common_name(certificate: &X509Ref) -> Option<String> {
    let entry = certificate.subject_name().entries_by_nid(Nid::COMMONNAME).next()?;
    let name = entry.data().to_string().ok()?;
    // A NUL could hide what follows it. Bytes that are not UTF-8 come as replacement characters.
    (!name.contains(['\0', char::REPLACEMENT_CHARACTER])).then_some(name)
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(address) => address.octets().to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    }
}

/// A star stands for the first label, and only for the whole label.
fn matches(pattern: &str, host: &str) -> bool {
    if pattern.contains('\0') {
        return false;
    }
    if pattern.eq_ignore_ascii_case(host) {
        return true;
    }
    let Some(rest) = pattern.strip_prefix("*.") else { return false };
    let Some((label, domain)) = host.split_once('.') else { return false };
    !label.is_empty() && rest.contains('.') && rest.eq_ignore_ascii_case(domain)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_one_label() {
        for (pattern, host, fits) in [
            ("db.example.com", "DB.example.com", true),
            ("*.example.com", "db.example.com", true),
            ("*.example.com", "a.db.example.com", false),
            ("*.example.com", "example.com", false),
            ("*.example.com", ".example.com", false),
            ("d*.example.com", "db.example.com", false),
            ("*", "db", false),
            ("*.com", "example.com", false),
            ("db.example.com\0.evil.org", "db.example.com", false),
        ] {
            assert_eq!(matches(pattern, host), fits, "{pattern} {host}");
        }
    }
}
