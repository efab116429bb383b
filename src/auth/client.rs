//! Login of a client: which question it is asked, and whether its answer will do.
//!
//! A login is a value that awaits one answer; [`ClientLogin::handle`] consumes it and gives the
//! next step. Users that do not exist are asked the same questions as others and fail at the same
//! place with the same words. Only the log says why.

use std::fmt;

use crate::auth::cache::ScramCache;
use crate::auth::secret::{PASSWORD_LEN_MAX, Secret, SecretKind};
use crate::base::rng::Rng;
use crate::crypto::md5::{self, MD5_LEN};
use crate::crypto::scram::{self, ScramKeys, Verifier};
use crate::crypto::scram_message::{self, ClientFinal, ClientFirst, MECHANISM, MessageError};
use crate::crypto::{compare, nonce};

/// How a client proves who it is. HBA rules know more methods; those are not served here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// Nothing is asked, and the user need not exist.
    Any,
    Md5,
    /// The password in clear.
    Plain,
    ScramSha256,
    /// Nothing is asked, but the user must exist.
    Trust,
}

/// Who wants to come in, and what is known of them.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// As in the startup packet.
    pub user: &'a [u8],
    pub account: Account<'a>,
}

#[derive(Clone, Copy, Debug)]
pub enum Account<'a> {
    Missing,
    /// The user exists, but no answer will do: listed under [users] only, or its password is NULL.
    NoPassword,
    Known(&'a Secret),
}

/// What happens next.
#[derive(Debug)]
pub enum Step {
    /// Send the request, then give the body of the client's next 'p' message to `next`.
    Ask {
        request: AuthRequest,
        next: ClientLogin,
    },
    /// The client is in. `last`, where there is one, is sent before AuthenticationOk.
    Done {
        last: Option<AuthRequest>,
        identity: Identity,
    },
    Fail(Failure),
}

/// What a login gave besides admission.
#[derive(Debug, Default)]
pub struct Identity {
    /// Of a client that proved a stored SCRAM secret: with them the pooler can log in to a server
    /// that stores the same secret.
    pub scram_keys: Option<ScramKeys>,
}

/// An Authentication message ('R') for the client.
#[derive(Debug, PartialEq, Eq)]
pub enum AuthRequest {
    CleartextPassword,
    Md5Password { salt: [u8; 4] },
    Sasl,
    SaslContinue(Vec<u8>),
    SaslFinal(Vec<u8>),
}

impl AuthRequest {
    /// What follows the message's head: the code and its data (protocol, Message Formats).
    pub fn payload(&self) -> Vec<u8> {
        let (code, data): (u32, &[u8]) = match self {
            AuthRequest::CleartextPassword => (3, b""),
            AuthRequest::Md5Password { salt } => (5, salt),
            AuthRequest::Sasl => (10, b"SCRAM-SHA-256\0\0"),
            AuthRequest::SaslContinue(message) => (11, message),
            AuthRequest::SaslFinal(message) => (12, message),
        };
        [&code.to_be_bytes(), data].concat()
    }
}

/// Why a client was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// The message is not what the method calls for.
    BadPacket,
    EmptyPassword,
    /// The exchange itself broke.
    Exchange(MessageError),
    NoPassword,
    /// The method asks nothing, but the user does not exist.
    NotTrusted,
    NoSuchUser {
        method: Method,
    },
    PasswordTooLong,
    UnknownMechanism,
    /// The user's secret is of a kind that cannot prove anything by this method.
    UnusableSecret {
        method: Method,
        kind: SecretKind,
    },
    WrongPassword {
        method: Method,
    },
}

impl Failure {
    /// What the client is told: the same for all reasons that would tell whether the user exists.
    pub fn client_text(&self) -> &'static str {
        match self {
            Failure::NotTrusted => "\"trust\" authentication failed",
            Failure::EmptyPassword => "empty password returned by client",
            _ => "password authentication failed",
        }
    }
}

/// What the log says.
impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::BadPacket => f.write_str("bad password packet"),
            Failure::EmptyPassword => f.write_str("empty password"),
            Failure::Exchange(error) => write!(f, "SCRAM exchange: {error}"),
            Failure::NoPassword => f.write_str("user has no password"),
            Failure::NotTrusted | Failure::NoSuchUser { .. } => f.write_str("no such user"),
            Failure::PasswordTooLong => f.write_str("password too long"),
            Failure::UnknownMechanism => f.write_str("unknown SASL mechanism"),
            Failure::UnusableSecret { kind, .. } => {
                write!(f, "a secret of kind {kind} cannot serve this method")
            }
            Failure::WrongPassword { .. } => f.write_str("wrong password"),
        }
    }
}

/// A login that awaits the client's answer.
#[derive(Debug)]
pub enum ClientLogin {
    Password(AwaitPassword),
    Md5(AwaitMd5),
    SaslInitial(AwaitSaslInitial),
    SaslResponse(AwaitSaslResponse),
}

/// The clear password is on its way.
#[derive(Debug)]
pub struct AwaitPassword {}

/// The salted MD5 answer is on its way.
#[derive(Debug)]
pub struct AwaitMd5 {}

/// The client chooses a mechanism, and sends client-first-message.
#[derive(Debug)]
pub struct AwaitSaslInitial {}

/// The client proves its password with client-final-message.
#[derive(Debug)]
pub struct AwaitSaslResponse {}

/// Starts a login. `scram_iterations` is the setting: for secrets that are plain passwords.
pub fn begin(
    method: Method,
    candidate: &Candidate<'_>,
    scram_iterations: u32,
    rng: &mut dyn Rng,
) -> Step {
    let _ = (method, candidate, scram_iterations, rng);
    Step::Fail(Failure::BadPacket)
}

impl ClientLogin {
    /// `payload` is what follows the head of the client's 'p' message.
    pub fn handle(self, payload: &[u8], cache: &mut ScramCache, rng: &mut dyn Rng) -> Step {
        let _ = (payload, cache, rng);
        Step::Fail(Failure::BadPacket)
    }
}
