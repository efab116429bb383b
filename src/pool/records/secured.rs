//! What is known of TLS on a connection, and what is asked of it. The library stands below.

use crate::config::TlsMode;

/// A connection under TLS, once its handshake is done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secured {
    /// Version and cipher, as log lines and SHOW tables give them:
    /// `TLSv1.3/TLS_AES_256_GCM_SHA384`.
    pub description: Box<str>,
    /// The hash of the server's certificate that SCRAM is bound to (RFC 5929,
    /// tls-server-end-point); none when its signature has no hash.
    pub end_point: Option<Box<[u8]>>,
    /// The common name of the certificate that the other end has shown; the library has verified
    /// it.
    pub common_name: Option<Box<str>>,
}

/// How a connection to a server is to be secured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerTls {
    /// Never `Disable`.
    pub mode: TlsMode,
    /// The name or address of the line, for SNI and to be found in the certificate.
    pub host: Box<str>,
}

/// The modes in force: those of the settings, unless what they ask for could not be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TlsModes {
    pub clients: TlsMode,
    pub servers: TlsMode,
}
