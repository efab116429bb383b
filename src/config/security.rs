//! How connections to the servers of one database are secured: by the keys of its line, which are
//! those of libpq, and by the settings `server_tls_*` where the line says nothing.

use super::choice::{ChannelBinding, Negotiation, TlsMode};
use super::database::DatabaseLine;
use super::settings::Settings;
use super::value::ValueError;

/// The word for the authorities that the system trusts, in place of a file.
pub const SYSTEM: &str = "system";

/// The security options that hold for one database.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Security<'a> {
    pub mode: TlsMode,
    /// Files; empty where there is none.
    pub authorities: &'a str,
    pub certificate: &'a str,
    pub key: &'a str,
    /// Whether the authorities are the system's, and `authorities` names no file.
    pub is_system: bool,
    pub negotiation: Negotiation,
    pub channel_binding: ChannelBinding,
}

impl DatabaseLine {
    /// Whether the line says anything on TLS.
    pub fn has_security(&self) -> bool {
        let files = [&self.sslrootcert, &self.sslcert, &self.sslkey];
        let is_chosen = self.sslnegotiation.is_some() || self.channel_binding.is_some();
        self.sslmode.is_some() || is_chosen || files.iter().any(|file| file.is_some())
    }

    pub fn security<'a>(&'a self, settings: &'a Settings) -> Security<'a> {
        fn or<'a>(own: &'a Option<String>, other: &'a str) -> &'a str {
            own.as_deref().unwrap_or(other)
        }
        Security {
            mode: self.sslmode.unwrap_or(settings.server_tls_sslmode),
            authorities: or(&self.sslrootcert, &settings.server_tls_ca_file),
            certificate: or(&self.sslcert, &settings.server_tls_cert_file),
            key: or(&self.sslkey, &settings.server_tls_key_file),
            is_system: self.sslrootcert.as_deref() == Some(SYSTEM),
            negotiation: self.sslnegotiation.unwrap_or(Negotiation::Postgres),
            channel_binding: self.channel_binding.unwrap_or(ChannelBinding::Prefer),
        }
    }
}

impl Security<'_> {
    /// Whether the options fit together; if not, the key to look at, and what that key needs.
    pub fn check(&self) -> Result<(), (&'static str, ValueError)> {
        let is_verified = matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        let (key, needed) = match () {
            () if self.mode == TlsMode::Disable
                && self.channel_binding == ChannelBinding::Require =>
            {
                ("channel_binding", "an sslmode other than disable, since it needs TLS")
            }
            () if self.negotiation == Negotiation::Direct && !self.mode.is_required() => (
                "sslnegotiation",
                "sslmode require, verify-ca or verify-full, since direct does not ask first",
            ),
            () if self.is_system && self.mode != TlsMode::VerifyFull => (
                "sslrootcert",
                "sslmode verify-full, since anybody can have a certificate of a public authority",
            ),
            () if is_verified && self.authorities.is_empty() => {
                ("sslmode", "sslrootcert or server_tls_ca_file, to verify the server against")
            }
            () if self.certificate.is_empty() && !self.key.is_empty() => {
                ("sslkey", "sslcert beside it")
            }
            () if self.key.is_empty() && !self.certificate.is_empty() => {
                ("sslcert", "sslkey beside it")
            }
            () => return Ok(()),
        };
        Err((key, ValueError::Needs(needed)))
    }
}
