//! Which PgBouncer this behaves as, and what it is made of.

use crate::pool::login::account::VERSION;

/// The parts, in the order of both texts below.
const PARTS: [&str; 5] = [
    concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")),
    "mio (epoll)",
    "adns: getaddrinfo",
    "tls: none",
    "systemd: yes",
];

/// What `-V` prints: the first line is what tools match.
pub fn text() -> String {
    format!("PgBouncer {VERSION}\n{}\n", PARTS.join("\n"))
}

/// What stands behind `process up:` in the log.
pub fn banner() -> String {
    format!("PgBouncer {VERSION}, {}", PARTS[..4].join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_version_that_tools_match() {
        assert_eq!(text().lines().next(), Some("PgBouncer 1.26.1"));
        assert!(banner().starts_with("PgBouncer 1.26.1, pgbouncer-rs "));
        assert!(!banner().contains('\n'));
    }
}
