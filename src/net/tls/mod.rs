//! TLS by OpenSSL: a context for each side, made of settings and files ([`context`]), connections
//! under it ([`session`]), and whether a certificate bears a host's name ([`name`]).
//!
//! Settings that cannot be set up change nothing: the previous context and mode stay in force.

mod context;
mod described;
mod material;
mod name;
mod session;
mod stamp;
mod stranger;

use std::collections::HashMap;
use std::fmt;

use openssl::ssl::SslContext;

pub use session::{Raw, TlsSession};
pub use stranger::stranger_to;

use self::context::Made;
use self::stamp::FileStamp;
use crate::config::{DatabaseLine, TlsMode};
use crate::pool::records::secured::{Authorities, OwnTls, TlsFile};
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
    /// `metrics_tls`.
    pub web: bool,
}

/// The library, as `--version` names it.
pub fn library() -> &'static str {
    openssl::version::version()
}

/// The side that settings are for, which is the first word of their names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum TlsSide {
    Client,
    Server,
}

impl TlsSide {
    fn word(self) -> &'static str {
        match self {
            TlsSide::Client => "client",
            TlsSide::Server => "server",
        }
    }
}

/// Why a side cannot be set up. The text names the setting or the file.
#[derive(Debug)]
pub struct TlsError {
    text: String,
    /// The process may not read the file: it may have been root when it did.
    pub is_denied: bool,
}

impl TlsError {
    fn new(text: impl Into<String>) -> TlsError {
        TlsError { text: text.into(), is_denied: false }
    }

    /// The same of what stands at this place.
    pub fn at(self, place: &str) -> TlsError {
        TlsError { text: format!("{place}: {}", self.text), ..self }
    }
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// TLS with clients.
#[derive(Clone, Default)]
pub struct ClientSide {
    wanted: Wanted,
    made: Option<Made>,
    web: Option<SslContext>,
}

/// TLS with servers.
#[derive(Clone, Default)]
pub struct ServerSide {
    wanted: Wanted,
    /// One context for all databases with the same TLS options of their own; there are no more
    /// contexts than the configuration has lines. Where no file and no cipher is named, the context
    /// is made when a server first speaks TLS, which saves the memory of the library.
    made: HashMap<OwnTls, Made>,
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
        let web = wanted.web.then(|| context::web(&wanted)).transpose()?;
        Ok(ClientSide { wanted, made, web })
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl ServerSide {
    /// Checks the words of the settings. Files are read by [`ServerSide::read_files`] and
    /// [`ServerSide::prepare`], or else when a server speaks TLS.
    pub fn new(wanted: Wanted) -> Result<ServerSide, TlsError> {
        if wanted.mode != TlsMode::Disable {
            context::check_words(&wanted)?;
        }
        Ok(ServerSide { wanted, made: HashMap::new() })
    }

    /// Reads the files of the settings.
    pub fn read_files(&mut self) -> Result<(), TlsError> {
        self.prepare(self.wanted.mode, &self.without_options())
    }

    /// Whether nothing is left to be read of the files of the settings.
    pub fn has_read_files(&self) -> bool {
        self.is_ready(self.wanted.mode, &self.without_options())
    }

    /// Makes the context for databases with these TLS options, if that takes files or ciphers.
    pub fn prepare(&mut self, mode: TlsMode, own: &OwnTls) -> Result<(), TlsError> {
        if self.is_ready(mode, own) {
            return Ok(());
        }
        self.context(own).map(drop)
    }

    fn is_ready(&self, mode: TlsMode, own: &OwnTls) -> bool {
        let is_off = mode == TlsMode::Disable;
        is_off || self.made.contains_key(own) || self.wanted.with(own).is_plain()
    }

    /// The TLS options of databases whose lines have none.
    fn without_options(&self) -> OwnTls {
        OwnTls::of(&DatabaseLine::default(), self.wanted.mode)
    }

    fn context(&mut self, own: &OwnTls) -> Result<&Made, TlsError> {
        if !self.made.contains_key(own) {
            let context = context::servers(&self.wanted.with(own))?;
            self.made.insert(own.clone(), context);
        }
        self.made.get(own).ok_or_else(|| TlsError::new("TLS is not set up"))
    }

    pub fn wanted(&self) -> &Wanted {
        &self.wanted
    }
}

impl Tls {
    /// Begins a session with a client.
    pub fn with_client(&self, socket: Raw) -> Result<TlsSession, String> {
        let clients = self.clients.made.as_ref().ok_or("TLS is not set up")?;
        TlsSession::accept(&clients.context, clients.end_point.clone(), socket)
    }

    /// Whether HTTP is spoken under TLS.
    pub fn is_web_secure(&self) -> bool {
        self.clients.web.is_some()
    }

    /// Begins a session of HTTP.
    pub fn with_web(&self, socket: Raw) -> Result<TlsSession, String> {
        let context = self.clients.web.as_ref().ok_or("TLS is not set up")?;
        TlsSession::accept(context, None, socket)
    }

    /// Begins a session with a server.
    pub fn with_server(&mut self, server: &ServerTls, socket: Raw) -> Result<TlsSession, String> {
        let made = self.servers.context(&server.own).map_err(|error| error.text)?;
        TlsSession::connect(&made.context, server, socket)
    }
}

impl Tls {
    /// Makes contexts anew whose files have changed since they were read. If that fails, the old
    /// context stays in force until its files change once more.
    pub fn renew(&mut self) -> Renewed {
        let mut renewed = Renewed::default();
        if let Some(made) = &mut self.clients.made {
            renew(made, || context::clients(&self.clients.wanted), &mut renewed);
        }
        for (own, made) in &mut self.servers.made {
            let wanted = self.servers.wanted.with(own);
            renew(made, || context::servers(&wanted), &mut renewed);
        }
        renewed
    }

    /// Whether any context is made of files.
    pub fn has_files(&self) -> bool {
        let mut made = self.clients.made.iter().chain(self.servers.made.values());
        made.any(|made| !made.stamps.is_empty())
    }

    /// The certificate that clients are shown, and the authorities that they are checked against.
    pub fn of_clients(&self) -> (Option<TlsFile>, Option<TlsFile>) {
        files_of(self.clients.made.as_ref())
    }

    /// The certificate that servers are shown, and the authorities that they are checked against,
    /// for databases with these TLS options of their own.
    pub fn of_servers(&self, own: &OwnTls) -> (Option<TlsFile>, Option<TlsFile>) {
        files_of(self.servers.made.get(own))
    }
}

/// The outcome of reading changed files again.
#[derive(Default)]
pub struct Renewed {
    /// Files that have been read again, and are in force.
    pub taken: Vec<String>,
    pub failures: Vec<TlsError>,
}

fn renew(made: &mut Made, make: impl Fn() -> Result<Made, TlsError>, renewed: &mut Renewed) {
    let now: Vec<FileStamp> = made.stamps.iter().map(|(path, _)| FileStamp::of(path)).collect();
    let pairs = made.stamps.iter_mut().zip(now);
    let mut changed = Vec::new();
    for ((path, stamp), now) in pairs {
        if *stamp != now {
            *stamp = now;
            changed.push(path.clone());
        }
    }
    if changed.is_empty() {
        return;
    }
    match make() {
        Ok(new) => {
            *made = new;
            renewed.taken.extend(changed);
        }
        Err(error) => renewed.failures.push(error),
    }
}

fn files_of(made: Option<&Made>) -> (Option<TlsFile>, Option<TlsFile>) {
    made.map_or((None, None), |made| (made.certificate.clone(), made.authorities.clone()))
}

impl Wanted {
    /// Stamps of the files that the settings name, as they are now.
    fn stamps(&self) -> Vec<(String, FileStamp)> {
        let files = [&self.key_file, &self.cert_file, &self.ca_file];
        let named = files.into_iter().filter(|file| !file.is_empty());
        named.map(|file| (file.clone(), FileStamp::of(file))).collect()
    }

    /// Whether nothing but a mode and versions is asked for.
    fn is_plain(&self) -> bool {
        let texts = [&self.key_file, &self.cert_file, &self.ca_file, &self.ciphers13];
        let has_none = texts.iter().all(|text| text.is_empty());
        let is_verified = matches!(self.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
        has_none && !is_verified && context::are_default(&self.ciphers)
    }

    /// The same for a database with these TLS options of its own.
    fn with(&self, own: &OwnTls) -> Wanted {
        let or = |own: &Option<Box<str>>, other: &str| own.as_deref().unwrap_or(other).to_owned();
        Wanted {
            mode: if own.is_verified { TlsMode::VerifyCa } else { TlsMode::Require },
            key_file: or(&own.key, &self.key_file),
            cert_file: or(&own.certificate, &self.cert_file),
            // Where nothing is verified, what could verify is not read: it may be missing.
            ca_file: match &own.authorities {
                _ if !own.is_verified => String::new(),
                Authorities::File(file) => file.to_string(),
                Authorities::Settings => self.ca_file.clone(),
                Authorities::System => String::new(),
            },
            trusts_system: own.is_verified && own.authorities == Authorities::System,
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
