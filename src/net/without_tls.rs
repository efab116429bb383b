//! Takes the place of `tls` in a program that is built without it: nothing can be put under TLS.

use std::convert::Infallible;
use std::fmt;
use std::io;

use mio::net::TcpStream;

use crate::config::TlsMode;
use crate::pool::records::secured::{OwnTls, TlsFile};
use crate::relay::{Handshake, ServerTls};

/// What one side's settings ask for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wanted {
    pub mode: TlsMode,
    pub key_file: String,
    pub cert_file: String,
    pub ca_file: String,
    pub trusts_system: bool,
    pub protocols: String,
    pub ciphers: String,
    pub ciphers13: String,
    pub dheparams: String,
    pub ecdhcurve: String,
    pub web: bool,
}

/// The library, as `--version` names it.
pub fn library() -> &'static str {
    "none"
}

/// This setting needs TLS, and the program has none.
#[derive(Debug)]
pub struct TlsError {
    text: String,
    /// No file is read here.
    pub is_denied: bool,
}

impl TlsError {
    fn of(setting: &str) -> TlsError {
        let text = format!("{setting} cannot be met: this program was built without TLS");
        TlsError { text, is_denied: false }
    }

    /// The same of what stands at this place.
    pub fn at(self, place: &str) -> TlsError {
        TlsError { text: format!("{place}: {}", self.text), ..self }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[derive(Clone, Default)]
pub struct ClientSide {
    wanted: Wanted,
}

#[derive(Clone, Default)]
pub struct ServerSide {
    wanted: Wanted,
}

#[derive(Default)]
pub struct Tls {
    pub clients: ClientSide,
    pub servers: ServerSide,
}

impl ClientSide {
    /// Clients are served without TLS. Settings that need TLS are an error.
    pub fn new(wanted: Wanted) -> Result<ClientSide, TlsError> {
        if wanted.mode.is_required() {
            return Err(TlsError::of("client_tls_sslmode"));
        }
        if wanted.web {
            return Err(TlsError::of("metrics_tls"));
        }
        Ok(ClientSide { wanted: Wanted { mode: TlsMode::Disable, ..wanted } })
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl ServerSide {
    /// Servers are not asked for TLS, except where the settings require TLS: then their connections
    /// fail.
    pub fn new(wanted: Wanted) -> Result<ServerSide, TlsError> {
        let mode = if wanted.mode.is_required() { wanted.mode } else { TlsMode::Disable };
        Ok(ServerSide { wanted: Wanted { mode, ..wanted } })
    }

    pub fn read_files(&mut self) -> Result<(), TlsError> {
        Ok(())
    }

    pub fn has_read_files(&self) -> bool {
        true
    }

    /// What the line of a database asks for in place of the settings.
    pub fn prepare(&mut self, mode: TlsMode, _: &OwnTls) -> Result<(), TlsError> {
        if mode.is_required() { Err(TlsError::of("sslmode")) } else { Ok(()) }
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl Tls {
    pub fn with_client(&self, _: Raw) -> Result<TlsSession, String> {
        Err(NONE.into())
    }

    pub fn is_web_secure(&self) -> bool {
        false
    }

    pub fn with_web(&self, _: Raw) -> Result<TlsSession, String> {
        Err(NONE.into())
    }

    pub fn with_server(&mut self, _: &ServerTls, _: Raw) -> Result<TlsSession, String> {
        Err(NONE.into())
    }

    pub fn renew(&mut self) -> Renewed {
        Renewed::default()
    }

    pub fn has_files(&self) -> bool {
        false
    }

    pub fn of_clients(&self) -> (Option<TlsFile>, Option<TlsFile>) {
        (None, None)
    }

    pub fn of_servers(&self, _: &OwnTls) -> (Option<TlsFile>, Option<TlsFile>) {
        (None, None)
    }
}

/// The outcome of reading changed files again.
#[derive(Default)]
pub struct Renewed {
    pub taken: Vec<String>,
    pub failures: Vec<TlsError>,
}

/// Whether there is TLS in this program.
pub const IS_BUILT: bool = false;

/// No certificates are read here.
pub fn stranger_to(_: &str, _: &str) -> Option<String> {
    None
}

const NONE: &str = "this program was built without TLS";

/// The socket that would be put under TLS.
pub struct Raw;

impl Raw {
    pub fn new(_: TcpStream, _: &[u8]) -> Raw {
        Raw
    }
}

/// No session can exist.
#[derive(Debug)]
pub struct TlsSession(Infallible);

impl TlsSession {
    pub fn socket(&self) -> &TcpStream {
        match self.0 {}
    }
    pub fn handshake(&mut self) -> Handshake {
        match self.0 {}
    }
    pub fn holds_more(&self) -> bool {
        match self.0 {}
    }
    pub fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        match self.0 {}
    }
    pub fn write(&mut self, _: &[u8]) -> io::Result<usize> {
        match self.0 {}
    }
    pub fn close(&mut self) {
        match self.0 {}
    }
}
