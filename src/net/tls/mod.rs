//! TLS by OpenSSL: a context for each side, made of settings and files ([`context`]), connections
//! under it ([`session`]), and whether a certificate bears a host's name ([`name`]).
//!
//! What cannot be set up changes nothing: the context before it, and its mode, stay in force.

mod context;
mod material;
mod name;
mod session;

use std::collections::HashMap;
use std::fmt;

use openssl::ssl::SslContext;

pub use session::{Raw, Session};

use crate::config::TlsMode;
use crate::pool::records::secured::{Authorities, OwnTls};
use crate::relay::ServerTls;

/// What one side's settings ask for. Empty texts are settings that are not set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    pub mode: TlsMode,
    pub key_file: String,
    pub cert_file: String,
    pub ca_file: String,
    /// The authorities are those that the system trusts, whatever `ca_file` says.
    pub trusts_system: bool,
    pub protocols: String,
    pub ciphers: String,
    pub ciphers13: String,
    /// `client_tls_dheparams` and `client_tls_ecdhcurve`; nothing for servers.
    pub dheparams: String,
    pub ecdhcurve: String,
}

/// The library, as `--version` names it.
pub fn library() -> &'static str {
    openssl::version::version()
}

/// Which of the two sides, as the settings' names begin.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    Client,
    Server,
}

impl Side {
    fn word(self) -> &'static str {
        match self {
            Side::Client => "client",
            Side::Server => "server",
        }
    }
}

/// Why a side cannot be set up. The text names the setting or the file.
#[derive(Debug)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What clients are met with.
#[derive(Default)]
pub struct ClientSide {
    wanted: Wanted,
    made: Option<context::Clients>,
}

/// What servers are met with.
#[derive(Default)]
pub struct ServerSide {
    wanted: Wanted,
    /// One context for all databases that have the same for themselves; there are no more than the
    /// configuration has lines. Where no file and no cipher is named there is none before a server
    /// has spoken TLS: that spares the library's memory.
    made: HashMap<OwnTls, SslContext>,
}

/// Whether there is TLS in this program.
pub const IS_BUILT: bool = true;

/// The contexts in force.
#[derive(Default)]
pub struct Tls {
    pub clients: ClientSide,
    pub servers: ServerSide,
}

impl ClientSide {
    pub fn new(wanted: Wanted) -> Result<ClientSide, TlsError> {
        let made = match wanted.mode {
            TlsMode::Disable => None,
            TlsMode::Allow
            | TlsMode::Prefer
            | TlsMode::Require
            | TlsMode::VerifyCa
            | TlsMode::VerifyFull => Some(context::clients(&wanted)?),
        };
        Ok(ClientSide { wanted, made })
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl ServerSide {
    pub fn new(wanted: Wanted) -> Result<ServerSide, TlsError> {
        let is_verified = matches!(wanted.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        let own = OwnTls { is_verified, ..OwnTls::default() };
        let mut side = ServerSide { wanted, made: HashMap::new() };
        match side.wanted.mode {
            TlsMode::Disable => {}
            _ if side.wanted.is_plain() => context::check_words(&side.wanted)?,
            mode => side.prepare(mode, &own)?,
        }
        Ok(side)
    }

    /// Sets up what a database has for itself, if that takes files or ciphers.
    pub fn prepare(&mut self, mode: TlsMode, own: &OwnTls) -> Result<(), TlsError> {
        let is_off = mode == TlsMode::Disable;
        if is_off || self.wanted.with(own).is_plain() || self.made.contains_key(own) {
            return Ok(());
        }
        self.context(own).map(drop)
    }

    fn context(&mut self, own: &OwnTls) -> Result<&SslContext, TlsError> {
        if !self.made.contains_key(own) {
            let context = context::servers(&self.wanted.with(own))?;
            self.made.insert(own.clone(), context);
        }
        self.made.get(own).ok_or_else(|| TlsError("TLS is not set up".into()))
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl Tls {
    /// A session with a client that begins.
    pub fn with_client(&self, socket: Raw) -> Result<Session, String> {
        let clients = self.clients.made.as_ref().ok_or("TLS is not set up")?;
        Session::accept(&clients.context, clients.end_point.clone(), socket)
    }

    /// A session with a server that begins.
    pub fn with_server(&mut self, server: &ServerTls, socket: Raw) -> Result<Session, String> {
        let context = self.servers.context(&server.own).map_err(|error| error.0)?;
        Session::connect(context, server, socket)
    }
}

impl Wanted {
    /// Whether nothing but a mode and versions is asked for.
    fn is_plain(&self) -> bool {
        let texts = [&self.key_file, &self.cert_file, &self.ca_file, &self.ciphers13];
        let has_none = texts.iter().all(|text| text.is_empty());
        has_none && !self.trusts_system && context::are_default(&self.ciphers)
    }

    /// The same for a database that has this for itself.
    fn with(&self, own: &OwnTls) -> Wanted {
        let or = |own: &Option<Box<str>>, other: &str| own.as_deref().unwrap_or(other).to_owned();
        Wanted {
            mode: if own.is_verified { TlsMode::VerifyCa } else { TlsMode::Require },
            key_file: or(&own.key, &self.key_file),
            cert_file: or(&own.certificate, &self.cert_file),
            ca_file: match &own.authorities {
                Authorities::File(file) => file.to_string(),
                Authorities::Settings => self.ca_file.clone(),
                Authorities::System => String::new(),
            },
            trusts_system: own.authorities == Authorities::System,
            ..self.clone()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn databases_that_ask_for_the_same_share_a_context() {
        let wanted = Wanted { mode: TlsMode::Prefer, ..Wanted::default() };
        let mut side = ServerSide::new(wanted).expect("nothing is read");
        let plain = OwnTls::default();
        side.prepare(TlsMode::Require, &plain).expect("nothing is read");
        assert!(side.made.is_empty(), "it is made when a server speaks TLS");
        let verified =
            OwnTls { is_verified: true, authorities: Authorities::System, ..OwnTls::default() };
        for _ in 0..100 {
            side.prepare(TlsMode::VerifyFull, &verified).expect("the system has some");
        }
        assert_eq!(side.made.len(), 1);
        let missing = Authorities::File("/nonexistent".into());
        let missing = OwnTls { authorities: missing, ..verified };
        assert!(side.prepare(TlsMode::Disable, &missing).is_ok(), "nothing is read for it");
        let error = side.prepare(TlsMode::VerifyCa, &missing).expect_err("no such file");
        assert!(error.to_string().contains("CA file \"/nonexistent\""), "{error}");
    }
}
