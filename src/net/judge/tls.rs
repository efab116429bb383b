//! TLS to LDAP directories. The system decides which certificates are trusted, as for its other
//! LDAP clients: by `TLS_CACERT`, `TLS_CACERTDIR` and `TLS_REQCERT` in ldap.conf(5) or in the
//! environment variables that ldap.conf(5) names, else by the authorities that OpenSSL knows.

use std::env;
use std::fs;
use std::net::TcpStream;

use openssl::error::ErrorStack;
use openssl::ssl::{HandshakeError, SslConnector, SslMethod, SslStream, SslVerifyMode};

/// The path of ldap.conf on Debian and its derivatives.
const CONFIGURATION: &str = "/etc/ldap/ldap.conf";

/// A longer ldap.conf is not read, in bytes.
const CONFIGURATION_BYTES_MAX: u64 = 65_536;

/// Puts a connection under TLS; `host` must be in the certificate. Blocks, for as long as the
/// timeouts of the connection allow.
pub fn secure(host: &str, stream: TcpStream) -> Result<SslStream<TcpStream>, String> {
    let connector = Trust::of_system().connector().map_err(|error| reason(&error))?;
    connector.connect(host, stream).map_err(|error| match error {
        HandshakeError::SetupFailure(error) => reason(&error),
        HandshakeError::WouldBlock(_) => "timed out".to_owned(),
        HandshakeError::Failure(failed) => {
            let verdict = failed.ssl().verify_result();
            match verdict.error_string() {
                words if verdict != openssl::x509::X509VerifyResult::OK => words.to_owned(),
                _ => failed.error().to_string(),
            }
        }
    })
}

fn reason(error: &ErrorStack) -> String {
    let first = error.errors().first().and_then(|error| error.reason());
    first.map_or_else(|| error.to_string(), str::to_owned)
}

/// Which certificates are accepted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Trust {
    file: Option<String>,
    directory: Option<String>,
    /// Whether a certificate is accepted that no trusted authority has signed.
    is_blind: bool,
}

impl Trust {
    /// Environment variables override the file.
    fn of_system() -> Trust {
        let path = env::var("LDAPCONF").unwrap_or_else(|_| CONFIGURATION.to_owned());
        let is_short =
            |data: &fs::Metadata| data.is_file() && data.len() <= CONFIGURATION_BYTES_MAX;
        let text = fs::metadata(&path).ok().filter(is_short);
        let text = text.and_then(|_| fs::read_to_string(&path).ok()).unwrap_or_default();
        let mut trust = Trust::default();
        trust.take(&text);
        for name in NAMES {
            if let Ok(value) = env::var(format!("LDAP{name}")) {
                trust.set(name, &value);
            }
        }
        trust
    }

    fn take(&mut self, text: &str) {
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, value)) = line.split_once(|letter: char| letter.is_whitespace()) {
                self.set(&name.to_ascii_uppercase(), value.trim());
            }
        }
    }

    fn set(&mut self, name: &str, value: &str) {
        match name {
            "TLS_CACERT" => self.file = Some(value.to_owned()),
            "TLS_CACERTDIR" => self.directory = Some(value.to_owned()),
            "TLS_REQCERT" => {
                self.is_blind = ["never", "allow"].iter().any(|w| w.eq_ignore_ascii_case(value));
            }
            _ => {}
        }
    }

    fn connector(&self) -> Result<SslConnector, ErrorStack> {
        let mut builder = SslConnector::builder(SslMethod::tls_client())?;
        if self.file.is_some() || self.directory.is_some() {
            let (file, directory) = (self.file.as_deref(), self.directory.as_deref());
            builder.load_verify_locations(file.map(AsRef::as_ref), directory.map(AsRef::as_ref))?;
        }
        if self.is_blind {
            builder.set_verify(SslVerifyMode::NONE);
        }
        Ok(builder.build())
    }
}

const NAMES: [&str; 3] = ["TLS_CACERT", "TLS_CACERTDIR", "TLS_REQCERT"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_configuration_of_ldap_clients_is_read() {
        let mut trust = Trust::default();
        trust.take(
            "#TLS_CACERT /no\nBASE dc=x\ntls_cacert\t/a b.pem \n\
             TLS_CACERTDIR /d\nTLS_REQCERT ALLOW",
        );
        let expected = Trust {
            file: Some("/a b.pem".to_owned()),
            directory: Some("/d".to_owned()),
            is_blind: true,
        };
        assert_eq!(trust, expected);
        trust.take("TLS_REQCERT demand\nTLS_CACERT");
        assert!(!trust.is_blind);
    }
}
