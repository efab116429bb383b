//! What is known of TLS on a connection, and what is asked of it. The library stands below.

use crate::config::security;
use crate::config::{DatabaseLine, Negotiation, TlsMode};

/// A connection under TLS, once its handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// Version and cipher, as log lines and SHOW tables give them:
    /// `TLSv1.3/TLS_AES_256_GCM_SHA384`.
    pub description: Box<str>,
    /// The hash of the server's certificate that SCRAM is bound to (RFC 5929,
    /// tls-server-end-point); none when its signature has no hash.
    pub end_point: Option<Box<[u8]>>,
    /// The handshake went on from an earlier session.
    pub is_resumed: bool,
    /// The common name of the certificate that the other end has shown; the library has verified
    /// it.
    pub common_name: Option<Box<str>>,
    /// The names of hosts that the certificate bears besides.
    pub other_names: Box<[Box<str>]>,
}

impl Secured {
    /// Whether the other end's certificate bears this user's name: as its common name or as one of
    /// its others, where a star stands for one label, the first. Names are compared with their
    /// case, as those of users are.
    pub fn is_of_user(&self, user: &str) -> bool {
        self.names().any(|name| stands_for(name, user))
    }

    /// All names of the other end's certificate.
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

/// How a connection to a server is to be secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Never `Disable`.
    pub mode: TlsMode,
    /// The name or address of the line, for SNI and to be found in the certificate.
    pub host: Box<str>,
    /// Whether TLS begins at once, and not after a question.
    pub is_direct: bool,
    pub own: OwnTls,
}

/// What a database has for itself in place of the settings' files.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct OwnTls {
    /// Whether servers are verified.
    pub is_verified: bool,
    pub authorities: Authorities,
    pub certificate: Option<Box<str>>,
    pub key: Option<Box<str>>,
}

/// The authorities that servers are verified against.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub enum Authorities {
    File(Box<str>),
    /// The file of the settings.
    #[default]
    Settings,
    /// The authorities that the system trusts.
    System,
}

impl OwnTls {
    /// What a line asks for, where the settings ask for `mode`.
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
    /// How a server of that line at that host is secured, if it is. `modes` are those in force.
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

/// The modes in force: those of the settings, unless what they ask for could not be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsModes {
    pub clients: TlsMode,
    pub servers: TlsMode,
    /// Whether the program has TLS at all.
    pub is_built: bool,
}

/// What is in force for clients, or for the servers of some databases, and how it has done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsContext {
    pub whose: Whose,
    /// The certificate that is shown to the other end.
    pub certificate: Option<TlsFile>,
    /// What the other end is checked against.
    pub authorities: Option<TlsFile>,
    pub tally: TlsTally,
}

/// The connections that a context is for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whose {
    Clients,
    /// Servers of databases that have this for themselves; all others have the default.
    Servers(OwnTls),
}

/// A file of certificates, as operators are told of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFile {
    pub path: Box<str>,
    /// The subject of the certificate that counts.
    pub subject: Box<str>,
    /// Names and addresses that it bears beside its common name.
    pub names: Box<str>,
    /// When it ends, in seconds since 1970. A chain ends with its first certificate that does, a
    /// list of authorities with its last.
    pub not_after: u64,
}

/// Handshakes under a context.
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
