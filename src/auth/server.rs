//! Login to a server: answers to its Authentication messages.
//!
//! The server is not trusted: it must prove that it knows the secret before its Ok counts after
//! SCRAM, its iterations and messages have bounds, and questions come in the one legal order.

use std::fmt;

use crate::auth::cache::ScramCache;
use crate::auth::secret::{Password, Secret};
use crate::base::rng::Rng;
use crate::crypto::md5::MD5_LEN;
use crate::crypto::scram::ScramKeys;
use crate::crypto::scram_message::MessageError;

/// What the pooler can log in with.
#[derive(Clone, Debug)]
pub enum Credential {
    /// Nothing: only servers that trust will do.
    None,
    Plain(Password),
    Md5([u8; MD5_LEN]),
    /// The keys of a client that proved a stored SCRAM secret.
    ScramKeys(ScramKeys),
    /// A stored SCRAM secret, but no client has given the keys that go with it.
    ScramSecret,
}

impl Credential {
    /// `keys` are those of the client that is served, if it proved a stored secret.
    pub fn of(secret: Option<&Secret>, keys: Option<&ScramKeys>) -> Credential {
        match (secret, keys) {
            (None, _) => Credential::None,
            (Some(Secret::Plain(password)), _) => Credential::Plain(password.clone()),
            (Some(Secret::Md5(hash)), _) => Credential::Md5(*hash),
            (Some(Secret::Scram(_)), Some(keys)) => Credential::ScramKeys(keys.clone()),
            (Some(Secret::Scram(_)), None) => Credential::ScramSecret,
        }
    }
}

/// What happens next.
#[derive(Debug)]
pub enum ServerStep {
    /// Send a 'p' message with this payload, then give the next 'R' message to `next`.
    Send {
        payload: Vec<u8>,
        next: ServerLogin,
    },
    /// Nothing to send; the next 'R' message goes to `next`.
    Wait(ServerLogin),
    /// Logged in: what follows is the server's welcome.
    Ok,
    Fail(ServerFailure),
}

/// Why the pooler could not log in to a server, as the log says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerFailure {
    BadPacket,
}

impl fmt::Display for ServerFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("x")
    }
}

/// A login to a server under way.
#[derive(Debug)]
pub struct ServerLogin {
    user: Box<[u8]>,
    credential: Credential,
}

impl ServerLogin {
    pub fn new(user: &[u8], credential: Credential) -> ServerLogin {
        ServerLogin { user: user.into(), credential }
    }

    /// `code` and `body` are those of an Authentication message ('R').
    pub fn handle(
        self,
        code: u32,
        body: &[u8],
        cache: &mut ScramCache,
        rng: &mut dyn Rng,
    ) -> ServerStep {
        let _ = (code, body, cache, rng);
        ServerStep::Fail(ServerFailure::BadPacket)
    }
}
