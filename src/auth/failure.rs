//! Why a login failed: that of a client to the pooler, and that of the pooler to a server. What the
//! peer is told and what the log says are two functions: the first must not tell an attacker
//! whether a user exists, the second must tell the operator, and neither ever holds a secret.

use std::fmt;

use crate::auth::secret::SecretKind;
use crate::config::ServerAuth;
use crate::crypto::scram_message::MessageError;

/// Why a client was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The message cannot be what was asked for.
    BadPacket,
    EmptyPassword,
    /// The client chose a mechanism that was not offered.
    Mechanism,
    /// After a password in clear or its MD5 answer.
    Password(ProofRefusal),
    /// After a whole SCRAM exchange.
    Sasl(ProofRefusal),
    /// In the middle of a SCRAM exchange.
    SaslMessage(MessageError),
    /// The method asks nothing, but the user does not exist.
    Trust,
}

/// Why an answer was refused. The client must not learn which of these it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofRefusal {
    NoPassword,
    NoSuchUser,
    /// What is stored cannot be used for the method asked for.
    UnusableSecret(SecretKind),
    WrongPassword,
}

impl Failure {
    /// What the client is told: PgBouncer's words, which tools match.
    pub fn client_text(&self) -> &'static str {
        match self {
            Failure::BadPacket => "bad packet",
            Failure::EmptyPassword => "empty password returned by client",
            Failure::Mechanism => "client selected an invalid SASL authentication mechanism",
            Failure::Password(_) => "password authentication failed",
            Failure::Sasl(_) | Failure::SaslMessage(_) => "SASL authentication failed",
            Failure::Trust => "\"trust\" authentication failed",
        }
    }
}

/// What the log says.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::BadPacket => f.write_str("malformed password message"),
            Failure::Password(refusal) | Failure::Sasl(refusal) => refusal.fmt(f),
            Failure::SaslMessage(error) => write!(f, "malformed SCRAM message: {error}"),
            Failure::Trust => ProofRefusal::NoSuchUser.fmt(f),
            Failure::EmptyPassword | Failure::Mechanism => f.write_str(self.client_text()),
        }
    }
}

impl fmt::Display for ProofRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ProofRefusal::NoPassword => f.write_str("user has no password"),
            ProofRefusal::NoSuchUser => f.write_str("no such user"),
            ProofRefusal::UnusableSecret(kind) => {
                write!(f, "user has a secret of kind {kind}, which cannot serve this method")
            }
            ProofRefusal::WrongPassword => f.write_str("wrong password"),
        }
    }
}

/// Why the pooler could not log in to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFailure {
    /// The message is too short for what it claims to be.
    BadPacket,
    /// The server asks for the password in clear though another server of its pool has done SCRAM.
    Downgrade,
    /// None of the mechanisms offered is SCRAM-SHA-256.
    Mechanism,
    /// `server_auth_methods` does not allow what the server asks for.
    MethodNotAllowed {
        asked: ServerAuth,
    },
    /// The server asks for a password, and none is known.
    NoPassword {
        asked: Asked,
    },
    /// Channel binding is required, and the login cannot be bound to the server's certificate.
    NotBound,
    /// A message that is legal, but not at this point; its code.
    OutOfOrder {
        code: u32,
    },
    /// The server ended the SCRAM exchange with an error of its own.
    Refused,
    SaslMessage(MessageError),
    /// The server could not prove that it knows the secret.
    Signature,
    /// The client did not log in by SCRAM, so its stored secret has no keys to log in with.
    ScramKeysMissing {
        asked: Asked,
    },
    /// A way to log in that is not supported; its code.
    UnknownMethod {
        code: u32,
    },
    /// The known secret cannot answer what the server asks for.
    WrongPasswordType {
        asked: Asked,
        known: SecretKind,
    },
}

/// The proof that a server asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    Cleartext,
    Md5,
    Scram,
}

impl ServerFailure {
    /// What the waiting client is told: PgBouncer's words, where it has some for it.
    pub fn client_text(&self) -> &'static str {
        match self {
            ServerFailure::BadPacket | ServerFailure::OutOfOrder { .. } => {
                "server login failed: protocol violation by server"
            }
            ServerFailure::Mechanism => {
                "server login failed: none of the server's SASL authentication mechanisms are \
                 supported"
            }
            ServerFailure::NotBound => "server login failed: channel binding required",
            ServerFailure::Downgrade | ServerFailure::MethodNotAllowed { .. } => {
                "server login failed: the server asks for a proof that it must not ask for"
            }
            ServerFailure::Refused | ServerFailure::SaslMessage(_) => {
                "server login failed: SASL exchange failed"
            }
            ServerFailure::Signature => "server login failed: invalid server signature",
            ServerFailure::UnknownMethod { .. } => {
                "server login failed: unsupported authentication method"
            }
            ServerFailure::NoPassword { .. }
            | ServerFailure::ScramKeysMissing { .. }
            | ServerFailure::WrongPasswordType { .. } => "server login failed: wrong password type",
        }
    }
}

/// What the log says.
impl fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ServerFailure::BadPacket => f.write_str("malformed authentication message"),
            ServerFailure::Downgrade => f.write_str(
                "the server asks for the password in clear, and another of its pool has done \
                 SCRAM: it does not get it, unless server_auth_methods names password, \
                 server_tls_sslmode verifies whom it goes to, or RECONNECT has it forgotten",
            ),
            ServerFailure::MethodNotAllowed { asked: ServerAuth::None } => f.write_str(
                "the server asks for no proof, which server_auth_methods does not allow",
            ),
            ServerFailure::MethodNotAllowed { asked } => write!(
                f,
                "the server asks for {}, which server_auth_methods does not allow",
                asked.word()
            ),
            ServerFailure::Mechanism => {
                f.write_str("none of the server's SASL authentication mechanisms are supported")
            }
            ServerFailure::NoPassword { asked } => {
                write!(f, "cannot do {asked} authentication: no password is known for this user")
            }
            ServerFailure::NotBound => f.write_str(
                "channel_binding=require, and the server does not offer it (SCRAM-SHA-256-PLUS, \
                 over TLS), or its certificate has no hash to be bound to",
            ),
            ServerFailure::OutOfOrder { code } => {
                write!(f, "protocol error: authentication message {code} out of order")
            }
            ServerFailure::Refused => f.write_str("server ended the SCRAM exchange with an error"),
            ServerFailure::SaslMessage(error) => write!(f, "malformed SCRAM message: {error}"),
            ServerFailure::Signature => f.write_str("invalid server signature"),
            ServerFailure::ScramKeysMissing { asked } => write!(
                f,
                "cannot do {asked} authentication: password is SCRAM secret but client \
                 authentication did not provide SCRAM keys"
            ),
            ServerFailure::UnknownMethod { code } => {
                write!(f, "unknown/unsupported auth method: {code}")
            }
            ServerFailure::WrongPasswordType { asked, known } => write!(
                f,
                "cannot do {asked} authentication: wrong password type (secret is {known})"
            ),
        }
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Asked::Cleartext => "cleartext",
            Asked::Md5 => "MD5",
            Asked::Scram => "SCRAM",
        })
    }
}
