//! Login to a server: answers to its Authentication messages.
//!
//! The server is not trusted: after SCRAM its Ok counts only once it has proved that it knows the
//! secret, its iterations and messages have bounds, and its questions must come in the one legal
//! order. A stored secret is never sent in place of the password that it was made from.

use crate::auth::cache::ScramCache;
use crate::auth::failure::{Asked, ServerFailure};
use crate::auth::secret::{Password, Secret, SecretKind};
use crate::base::rng::Rng;
use crate::crypto::md5::{self, MD5_LEN};
use crate::crypto::nonce;
use crate::crypto::scram::ScramKeys;
use crate::crypto::scram_message::{self, MECHANISM, ServerFinal, ServerFirst};

/// What the pooler can log in with.
#[derive(Clone, Debug)]
pub enum Credential {
    Md5([u8; MD5_LEN]),
    /// Nothing: only servers that trust will do.
    None,
    Plain(Password),
    /// The keys of a client that proved a stored SCRAM secret.
    ScramKeys(ScramKeys),
    /// A stored SCRAM secret, but no client has given the keys that go with it.
    ScramSecret,
}

impl Credential {
    /// `keys` are those of the client that is served, if it proved a stored secret and the login is
    /// for that same user.
    pub fn of(secret: Option<&Secret>, keys: Option<&ScramKeys>) -> Credential {
        match (secret, keys) {
            (None, _) => Credential::None,
            (Some(Secret::Plain(password)), _) if password.as_bytes().is_empty() => {
                Credential::None
            }
            (Some(Secret::Plain(password)), _) => Credential::Plain(password.clone()),
            (Some(Secret::Md5(stored)), _) => Credential::Md5(*stored),
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

/// A login to a server under way.
#[derive(Debug)]
pub enum ServerLogin {
    Ok(AwaitOk),
    Request(AwaitRequest),
    SaslContinue(AwaitSaslContinue),
    SaslFinal(AwaitSaslFinal),
}

impl ServerLogin {
    /// `user` is the name in the startup packet to the server.
    pub fn new(user: &[u8], credential: Credential) -> ServerLogin {
        ServerLogin::Request(AwaitRequest { user: user.into(), credential })
    }

    /// `code` and `body` are those of an Authentication message ('R').
    pub fn handle(
        self,
        code: u32,
        body: &[u8],
        cache: &mut ScramCache,
        rng: &mut dyn Rng,
    ) -> ServerStep {
        let step = match (self, code) {
            (ServerLogin::Request(login), _) => login.handle(code, body, rng),
            (ServerLogin::SaslContinue(login), SASL_CONTINUE) => login.handle(body, cache),
            (ServerLogin::SaslFinal(login), SASL_FINAL) => login.handle(body),
            (ServerLogin::Ok(AwaitOk), OK) => Ok(ServerStep::Ok),
            (ServerLogin::SaslContinue(_) | ServerLogin::SaslFinal(_) | ServerLogin::Ok(_), _) => {
                Err(ServerFailure::OutOfOrder { code })
            }
        };
        step.unwrap_or_else(ServerStep::Fail)
    }
}

type Result<T> = std::result::Result<T, ServerFailure>;

/// The server says how it wants to be convinced, or lets us in.
#[derive(Debug)]
pub struct AwaitRequest {
    user: Box<[u8]>,
    credential: Credential,
}

impl AwaitRequest {
    fn handle(self, code: u32, body: &[u8], rng: &mut dyn Rng) -> Result<ServerStep> {
        match code {
            OK => Ok(ServerStep::Ok),
            CLEARTEXT_PASSWORD => self.answer_cleartext(),
            MD5_PASSWORD => self.answer_md5(body),
            SASL => self.choose_mechanism(body, rng),
            SASL_CONTINUE | SASL_FINAL => Err(ServerFailure::OutOfOrder { code }),
            _ => Err(ServerFailure::UnknownMethod { code }),
        }
    }

    fn answer_cleartext(self) -> Result<ServerStep> {
        match self.credential {
            Credential::Plain(password) => Ok(send_and_finish(password.as_bytes())),
            other => Err(other.lack(Asked::Cleartext)),
        }
    }

    fn answer_md5(self, body: &[u8]) -> Result<ServerStep> {
        let salt = *body.first_chunk::<4>().ok_or(ServerFailure::BadPacket)?;
        let stored = match self.credential {
            Credential::Plain(password) => password.to_md5(&self.user),
            Credential::Md5(stored) => stored,
            other => return Err(other.lack(Asked::Md5)),
        };
        Ok(send_and_finish(&md5::answer(&stored, salt)))
    }

    fn choose_mechanism(self, body: &[u8], rng: &mut dyn Rng) -> Result<ServerStep> {
        let mut offered = body.split(|&byte| byte == 0).take_while(|name| !name.is_empty());
        if !offered.any(|name| name == MECHANISM) {
            return Err(ServerFailure::Mechanism);
        }
        let knowledge = match self.credential {
            Credential::Plain(password) => Knowledge::Password(password),
            Credential::ScramKeys(keys) => Knowledge::Keys(keys),
            other => return Err(other.lack(Asked::Scram)),
        };
        let nonce = nonce::scram_nonce(rng);
        let client_first_bare = scram_message::client_first_bare(&nonce);
        let message = [b"n,,", client_first_bare.as_bytes()].concat();
        let len = u32::try_from(message.len()).expect("three bytes and a nonce of fixed length");
        let payload = [MECHANISM, b"\0", &len.to_be_bytes(), &message].concat();
        let next = AwaitSaslContinue { knowledge, nonce, client_first_bare };
        Ok(ServerStep::Send { payload, next: ServerLogin::SaslContinue(next) })
    }
}

impl Credential {
    /// Why this cannot answer what is asked.
    fn lack(&self, asked: Asked) -> ServerFailure {
        let known = match self {
            Credential::None => return ServerFailure::NoPassword { asked },
            Credential::ScramSecret if asked == Asked::Scram => {
                return ServerFailure::ScramKeysMissing { asked };
            }
            Credential::Md5(_) => SecretKind::Md5,
            Credential::Plain(_) => SecretKind::Plain,
            Credential::ScramKeys(_) | Credential::ScramSecret => SecretKind::Scram,
        };
        ServerFailure::WrongPasswordType { asked, known }
    }
}

fn send_and_finish(text: &[u8]) -> ServerStep {
    ServerStep::Send { payload: [text, b"\0"].concat(), next: ServerLogin::Ok(AwaitOk) }
}

/// What a SCRAM exchange can start from.
#[derive(Debug)]
enum Knowledge {
    Keys(ScramKeys),
    Password(Password),
}

/// The server answers our nonce with its own, salt and iterations.
#[derive(Debug)]
pub struct AwaitSaslContinue {
    knowledge: Knowledge,
    nonce: String,
    client_first_bare: String,
}

impl AwaitSaslContinue {
    fn handle(self, body: &[u8], cache: &mut ScramCache) -> Result<ServerStep> {
        let first =
            ServerFirst::parse(body, self.nonce.as_bytes()).map_err(ServerFailure::SaslMessage)?;
        let keys = match self.knowledge {
            Knowledge::Keys(keys) => keys,
            Knowledge::Password(password) => {
                cache.keys(password.as_bytes(), &first.salt, first.iterations)
            }
        };
        let without_proof = scram_message::client_final_without_proof(first.nonce);
        let auth_message =
            scram_message::auth_message(self.client_first_bare.as_bytes(), body, &without_proof);
        let proof = keys.client_proof(&auth_message);
        let payload = scram_message::client_final(&without_proof, &proof);
        let next = AwaitSaslFinal { keys, auth_message };
        Ok(ServerStep::Send { payload, next: ServerLogin::SaslFinal(next) })
    }
}

/// The server proves that it knows the secret.
#[derive(Debug)]
pub struct AwaitSaslFinal {
    keys: ScramKeys,
    auth_message: Vec<u8>,
}

impl AwaitSaslFinal {
    fn handle(self, body: &[u8]) -> Result<ServerStep> {
        match ServerFinal::parse(body).map_err(ServerFailure::SaslMessage)? {
            ServerFinal::Error(_) => Err(ServerFailure::Refused),
            ServerFinal::Signature(signature)
                if self.keys.is_server_signature(&self.auth_message, signature.as_bytes()) =>
            {
                Ok(ServerStep::Wait(ServerLogin::Ok(AwaitOk)))
            }
            ServerFinal::Signature(_) => Err(ServerFailure::Signature),
        }
    }
}

/// Everything is said; only AuthenticationOk may follow.
#[derive(Debug)]
pub struct AwaitOk;

// Codes of Authentication messages (protocol, Message Formats).
const OK: u32 = 0;
const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;
