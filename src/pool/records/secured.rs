//! What the core knows of a connection's TLS, and what it asks for. The library is below this
//! floor.

use crate::config::security;
use crate::config::{DatabaseLine, Negotiation, TlsMode};

/// The TLS of a connection whose handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// Version and cipher, as log lines and SHOW tables give them:
    /// `TLSv1.3/TLS_AES_256_GCM_SHA384`.
    pub description: Box<str>,
    /// The hash of the server's certificate for SCRAM channel binding (RFC 5929,
    /// tls-server-end-point); None if the certificate's signature algorithm has no hash.
    pub end_point: Option<Box<[u8]>>,
    /// Whether the handshake resumed an earlier session.
    pub is_resumed: bool,
    /// The common name in the certificate of the other end, which the library has verified.
    pub common_name: Option<Box<str>>,
    /// The host names in the certificate besides the common name.
    pub other_names: Box<[Box<str>]>,
}

impl Secured {
    /// Whether the certificate of the other end has this user's name as its common name or another
    /// of its names. A star stands for the first label. Upper and lower case differ, as in user
    /// names.
    pub fn is_of_user(&self, user: &str) -> bool {
        self.names().any(|name| stands_for(name, user))
    }

    /// All names in the certificate of the other end.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.common_name.iter().chain(&self.other_names).map(|name| &**name)
    }
}

fn stands_for(name: &str, user: &str) -> bool {
    if name == user {
        return true;
    }
    let (Some(rest), Some((label, domain))) = (name.strip_prefix("*."), user.split_once('.'))
    else {
        return false;
    };
    !label.is_empty() && rest.contains('.') && rest == domain
}

/// How to secure a connection to a server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Never `Disable`.
    pub mode: TlsMode,
    /// The host name or address of the line, for SNI and for the check of the certificate.
    pub host: Box<str>,
    /// Whether TLS begins at once, without an SSLRequest.
    pub is_direct: bool,
    pub own: OwnTls,
}

/// The TLS options of a database line, which replace the settings.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OwnTls {
    /// Whether the certificates of servers are verified.
    pub is_verified: bool,
    pub authorities: Authorities,
    pub certificate: Option<Box<str>>,
    pub key: Option<Box<str>>,
}

/// The authorities that verify the certificates of servers.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Authorities {
    File(Box<str>),
    /// The file that the settings name.
    #[default]
    Settings,
    /// The authorities that the system trusts.
    System,
}

impl OwnTls {
    /// The options of a line, if the settings ask for `mode`.
    pub fn of(line: &DatabaseLine, mode: TlsMode) -> OwnTls {
        let mode = line.sslmode.unwrap_or(mode);
        OwnTls {
            is_verified: matches!(mode, TlsMode::VerifyCa | TlsMode::VerifyFull),
            authorities: match line.sslrootcert.as_deref() {
                None => Authorities::Settings,
                Some(security::SYSTEM) => Authorities::System,
                Some(file) => Authorities::File(file.into()),
            },
            certificate: line.sslcert.as_deref().map(Into::into),
            key: line.sslkey.as_deref().map(Into::into),
        }
    }
}

impl ServerTls {
    /// How to secure a connection to a server of that line at that host, if at all. `modes` are
    /// those in force.
    pub fn of(line: &DatabaseLine, host: &str, modes: &TlsModes) -> Option<ServerTls> {
        let mode = line.sslmode.unwrap_or(modes.servers);
        if mode == TlsMode::Disable || !(modes.is_built || mode.is_required()) {
            return None;
        }
        Some(ServerTls {
            mode,
            host: host.into(),
            is_direct: line.sslnegotiation == Some(Negotiation::Direct),
            own: OwnTls::of(line, modes.servers),
        })
    }
}

/// The modes in force: those of the settings, unless TLS could not be set up as they ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsModes {
    pub clients: TlsMode,
    pub servers: TlsMode,
    /// Whether the program was built with TLS.
    pub is_built: bool,
}

/// The TLS in force for clients, or for the servers of some databases, with counts of its
/// handshakes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsContext {
    pub whose: Whose,
    /// The certificate that the pooler shows.
    pub certificate: Option<TlsFile>,
    /// The authorities that verify the other end's certificate.
    pub authorities: Option<TlsFile>,
    pub tally: TlsTally,
}

/// The connections that a context is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Clients,
    /// Connections to servers of databases with these options; those without options have the
    /// default.
    Servers(OwnTls),
}

/// A file of certificates, as operators are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    pub path: Box<str>,
    /// The subject of the certificate that counts.
    pub subject: Box<str>,
    /// Names and addresses in the certificate beside the common name.
    pub names: Box<str>,
    /// When it expires, in seconds since 1970: a chain with the first of its certificates, a list
    /// of authorities with the last.
    pub not_after: u64,
}

/// Counts of handshakes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsTally {
    pub handshakes: u64,
    pub failures: u64,
    pub resumptions: u64,
}

impl TlsTally {
    pub fn note(&mut self, secured: &Secured) {
        self.handshakes += 1;
        self.resumptions += u64::from(secured.is_resumed);
    }
}
