//! Finds CA files that cannot verify a host, because they hold another server's certificate.

use super::{described, material, name};

/// The subject of the only certificate in a file, if it is the certificate of a server other than
/// `host`. A certificate of an authority bears no host names.
pub fn stranger_to(file: &str, host: &str) -> Option<String> {
    let certificates = material::authorities(file).ok()?;
    let [certificate] = &certificates[..] else { return None };
    let text = certificate.to_text().ok()?;
    let is_authority = text.windows(7).any(|word| word == b"CA:TRUE");
    let is_servers = !is_authority || !name::alternatives(certificate).is_empty();
    (is_servers && !name::is_of(certificate, host)).then(|| described::subject(certificate))
}
