//! The PgBouncer version that the program stands for, and the versions of its parts.

use crate::net::tls;
use crate::pool::login::account::VERSION;

/// The parts, in the order of both texts below.
fn parts() -> [String; 5] {
    [
        concat!(env!("CARGO_PKG_NAME"), " ", env!("CARGO_PKG_VERSION")).to_owned(),
        "mio (epoll)".to_owned(),
        "adns: getaddrinfo".to_owned(),
        format!("tls: {}", tls::library()),
        "systemd: yes".to_owned(),
    ]
}

/// The output of `-V`. Tools match its first line.
pub fn text() -> String {
    format!("PgBouncer {VERSION}\n{}\n", parts().join("\n"))
}

/// The text after `process up:` in the log.
pub fn banner() -> String {
    format!("PgBouncer {VERSION}, {}", parts()[..4].join(", "))
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
