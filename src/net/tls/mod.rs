//! TLS by OpenSSL: a context for each side, made of settings and files ([`context`]), connections
//! under it ([`session`]), and whether a certificate bears a host's name ([`name`]).
//!
//! What cannot be set up changes nothing: the context before it, and its mode, stay in force.

mod context;
mod material;
mod name;
mod session;

use std::fmt;

use openssl::ssl::SslContext;

pub use session::{Raw, Session};

use crate::config::TlsMode;
use crate::relay::ServerTls;

/// What one side's settings ask for. Empty texts are settings that are not set.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    pub mode: TlsMode,
    pub key_file: String,
    pub cert_file: String,
    pub ca_file: String,
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
    /// None while no server has spoken TLS, where the settings name no file and no cipher: that
    /// spares the library's memory.
    made: Option<SslContext>,
}

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
        let made = match wanted.mode {
            TlsMode::Disable => None,
            _ if wanted.is_plain() => {
                context::check_words(&wanted)?;
                None
            }
            _ => Some(context::servers(&wanted)?),
        };
        Ok(ServerSide { wanted, made })
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
        let ServerSide { wanted, made } = &mut self.servers;
        if made.is_none() {
            *made = Some(context::servers(wanted).map_err(|error| error.0)?);
        }
        let context = made.as_ref().ok_or("TLS is not set up")?;
        Session::connect(context, server, socket)
    }
}

impl Wanted {
    /// Whether nothing but a mode and versions is asked for.
    fn is_plain(&self) -> bool {
        let texts = [&self.key_file, &self.cert_file, &self.ca_file, &self.ciphers13];
        texts.iter().all(|text| text.is_empty()) && context::are_default(&self.ciphers)
    }
}
