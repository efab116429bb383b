//! What files tell of hosts that cannot be verified.

use super::{described, material, name};

/// The subject of the only certificate of a file, where that is a server's own and not one of
/// `host`: an authority bears no names of hosts.
pub fn stranger_to(file: &str, host: &str) -> Option<String> {
    let certificates = material::authorities(file).ok()?;
    let [certificate] = &certificates[..] else { return None };
    let text = certificate.to_text().ok()?;
    let is_authority = text.windows(7).any(|word| word == b"CA:TRUE");
    let is_servers = !is_authority || !name::alternatives(certificate).is_empty();
    (is_servers && !name::is_of(certificate, host)).then(|| described::subject(certificate))
}
