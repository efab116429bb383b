//! Login to a server: answers to its Authentication messages.
//!
//! The server is not trusted: after SCRAM its Ok counts only once it has proved that it knows the
//! secret, its iterations and messages have bounds, and its questions must come in the one legal
//! order. A stored secret is never sent in place of the password that it was made from.

use crate::auth::cache::{CachedKeys, KeyName, ScramCache, Work};
use crate::auth::failure::{Asked, ServerFailure};
use crate::auth::secret::{Password, Secret, SecretKind};
use crate::base::rng::Rng;
use crate::config::{ChannelBinding, ServerAuth};
use crate::crypto::md5::{self, MD5_BYTES};
use crate::crypto::nonce;
use crate::crypto::scram::ScramKeys;
use crate::crypto::scram_message::{
    self, BOUND, BOUND_MECHANISM, MECHANISM, NOT_OFFERED, ServerFinal, ServerFirst, UNBOUND,
};

/// What the pooler can log in with.
#[derive(Clone, Debug)]
pub enum Credential {
    Md5([u8; MD5_BYTES]),
    /// Nothing: only a server that asks for no proof lets the pooler in.
    None,
    Plain(Password),
    /// The keys of a client that proved its password against a stored SCRAM secret.
    ScramKeys(ScramKeys),
    /// A stored SCRAM secret, but no client has given the keys that go with it.
    ScramSecret,
}

impl Credential {
    /// `keys` are those of the client for which the server is opened, if the client proved its
    /// password against a stored secret and the login is for the same user.
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

/// What a login to a server can be bound to (RFC 5929, tls-server-end-point).
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BindingData {
    /// The hash of the certificate that the server has shown.
    Bound(Box<[u8]>),
    /// The same, where a login without channel binding must fail.
    Required(Box<[u8]>),
    /// Nothing: the connection is not under TLS, or its certificate has no hash to be bound to.
    Unbound,
    /// Nothing, though channel binding is required: the login must fail.
    Wanting,
}

impl BindingData {
    pub fn of(end_point: Option<&[u8]>, wish: ChannelBinding) -> BindingData {
        match (end_point, wish) {
            (_, ChannelBinding::Disable) | (None, ChannelBinding::Prefer) => BindingData::Unbound,
            (Some(hash), ChannelBinding::Prefer) => BindingData::Bound(hash.into()),
            (Some(hash), ChannelBinding::Require) => BindingData::Required(hash.into()),
            (None, ChannelBinding::Require) => BindingData::Wanting,
        }
    }

    fn is_required(&self) -> bool {
        match self {
            BindingData::Required(_) | BindingData::Wanting => true,
            BindingData::Bound(_) | BindingData::Unbound => false,
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
    /// Do the work, then give its keys to `next`.
    Derive {
        work: Work,
        next: AwaitOwnKeys,
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
    pub fn new(user: &[u8], credential: Credential, channel: BindingData) -> ServerLogin {
        ServerLogin::Request(AwaitRequest { user: user.into(), credential, channel })
    }

    /// What an Authentication message of this code asks for, if it is the server's first one.
    pub fn asked(&self, code: u32) -> Option<ServerAuth> {
        match (self, code) {
            (ServerLogin::Request(_), OK) => Some(ServerAuth::None),
            (ServerLogin::Request(_), CLEARTEXT_PASSWORD) => Some(ServerAuth::Password),
            (ServerLogin::Request(_), MD5_PASSWORD) => Some(ServerAuth::Md5),
            (ServerLogin::Request(_), SASL) => Some(ServerAuth::ScramSha256),
            _ => None,
        }
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

type ServerResult<T> = std::result::Result<T, ServerFailure>;

/// Awaits the server's first message: a request for a proof, or AuthenticationOk.
#[derive(Debug)]
pub struct AwaitRequest {
    user: Box<[u8]>,
    credential: Credential,
    channel: BindingData,
}

impl AwaitRequest {
    fn handle(self, code: u32, body: &[u8], rng: &mut dyn Rng) -> ServerResult<ServerStep> {
        match code {
            OK | CLEARTEXT_PASSWORD | MD5_PASSWORD if self.channel.is_required() => {
                Err(ServerFailure::NotBound)
            }
            OK => Ok(ServerStep::Ok),
            CLEARTEXT_PASSWORD => self.answer_cleartext(),
            MD5_PASSWORD => self.answer_md5(body),
            SASL => self.choose_mechanism(body, rng),
            SASL_CONTINUE | SASL_FINAL => Err(ServerFailure::OutOfOrder { code }),
            _ => Err(ServerFailure::UnknownMethod { code }),
        }
    }

    fn answer_cleartext(self) -> ServerResult<ServerStep> {
        match self.credential {
            Credential::Plain(password) => Ok(send_and_finish(password.as_bytes())),
            other => Err(other.lack(Asked::Cleartext)),
        }
    }

    fn answer_md5(self, body: &[u8]) -> ServerResult<ServerStep> {
        let salt = *body.first_chunk::<4>().ok_or(ServerFailure::BadPacket)?;
        let stored = match self.credential {
            Credential::Plain(password) => password.to_md5(&self.user),
            Credential::Md5(stored) => stored,
            other => return Err(other.lack(Asked::Md5)),
        };
        Ok(send_and_finish(&md5::answer(&stored, salt)))
    }

    fn choose_mechanism(self, body: &[u8], rng: &mut dyn Rng) -> ServerResult<ServerStep> {
        let (mechanism, header, end_point) = choose(body, &self.channel)?;
        let knowledge = match self.credential {
            Credential::Plain(password) => Knowledge::Password(password),
            Credential::ScramKeys(keys) => Knowledge::Keys(keys),
            other => return Err(other.lack(Asked::Scram)),
        };
        let nonce = nonce::scram_nonce(rng);
        let client_first_bare = scram_message::client_first_bare(&nonce);
        let message = [header, client_first_bare.as_bytes()].concat();
        let len = u32::try_from(message.len()).expect("a header and a nonce of fixed length");
        let payload = [mechanism, b"\0", &len.to_be_bytes(), &message].concat();
        let binding = [header, end_point].concat().into();
        let next = AwaitSaslContinue { knowledge, binding, nonce, client_first_bare };
        Ok(ServerStep::Send { payload, next: ServerLogin::SaslContinue(next) })
    }
}

/// The mechanism chosen from those offered, the header that goes with it, and the certificate hash
/// to which the exchange is bound.
fn choose<'a>(
    offered: &[u8],
    channel: &'a BindingData,
) -> ServerResult<(&'static [u8], &'static [u8], &'a [u8])> {
    let offers = |mechanism: &[u8]| {
        let mut names = offered.split(|&byte| byte == 0).take_while(|name| !name.is_empty());
        names.any(|name| name == mechanism)
    };
    match channel {
        BindingData::Bound(hash) | BindingData::Required(hash) if offers(BOUND_MECHANISM) => {
            Ok((BOUND_MECHANISM, BOUND, hash))
        }
        BindingData::Required(_) | BindingData::Wanting => Err(ServerFailure::NotBound),
        // With this header the server refuses the login if somebody has removed SCRAM-SHA-256-PLUS
        // from its offer on the way.
        BindingData::Bound(_) if offers(MECHANISM) => Ok((MECHANISM, NOT_OFFERED, b"")),
        BindingData::Unbound if offers(MECHANISM) => Ok((MECHANISM, UNBOUND, b"")),
        BindingData::Bound(_) | BindingData::Unbound => Err(ServerFailure::Mechanism),
    }
}

impl Credential {
    /// Why this credential cannot answer what the server asks for.
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

/// Awaits server-first-message: the server's nonce, the salt and the iterations.
#[derive(Debug)]
pub struct AwaitSaslContinue {
    knowledge: Knowledge,
    /// What client-final-message repeats: the header of client-first-message, and the certificate
    /// hash if the exchange is bound to it.
    binding: Box<[u8]>,
    nonce: String,
    client_first_bare: String,
}

impl AwaitSaslContinue {
    fn handle(self, body: &[u8], cache: &mut ScramCache) -> ServerResult<ServerStep> {
        let first =
            ServerFirst::parse(body, self.nonce.as_bytes()).map_err(ServerFailure::SaslMessage)?;
        let without_proof = scram_message::client_final_without_proof(&self.binding, first.nonce);
        let auth_message =
            scram_message::auth_message(self.client_first_bare.as_bytes(), body, &without_proof);
        let next = AwaitOwnKeys { without_proof, auth_message };
        Ok(match self.knowledge {
            Knowledge::Keys(keys) => next.prove(keys),
            Knowledge::Password(password) => {
                match cache.keys(password.as_bytes(), &first.salt, first.iterations) {
                    CachedKeys::Known(keys) => next.prove(keys),
                    CachedKeys::Wanted(work) => ServerStep::Derive { work, next },
                }
            }
        })
    }
}

/// Waits until the keys of the pooler's password are derived.
#[derive(Debug)]
pub struct AwaitOwnKeys {
    without_proof: Vec<u8>,
    auth_message: Vec<u8>,
}

impl AwaitOwnKeys {
    /// Goes on with the derived keys.
    pub fn handle(self, name: KeyName, keys: ScramKeys, cache: &mut ScramCache) -> ServerStep {
        cache.keep(name, keys.clone());
        self.prove(keys)
    }

    fn prove(self, keys: ScramKeys) -> ServerStep {
        let proof = keys.client_proof(&self.auth_message);
        let payload = scram_message::client_final(&self.without_proof, &proof);
        let next = AwaitSaslFinal { keys, auth_message: self.auth_message };
        ServerStep::Send { payload, next: ServerLogin::SaslFinal(next) }
    }
}

/// Awaits server-final-message, by which the server proves that it knows the secret.
#[derive(Debug)]
pub struct AwaitSaslFinal {
    keys: ScramKeys,
    auth_message: Vec<u8>,
}

impl AwaitSaslFinal {
    fn handle(self, body: &[u8]) -> ServerResult<ServerStep> {
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

/// Awaits AuthenticationOk: nothing else may follow now.
#[derive(Debug)]
pub struct AwaitOk;

// Codes of Authentication messages (protocol, Message Formats).
const OK: u32 = 0;
const CLEARTEXT_PASSWORD: u32 = 3;
const MD5_PASSWORD: u32 = 5;
const SASL: u32 = 10;
const SASL_CONTINUE: u32 = 11;
const SASL_FINAL: u32 = 12;

impl ServerStep {
    /// The step that follows the work, which is done at once. The loop must not call it.
    pub fn at_once(self, cache: &mut ScramCache) -> ServerStep {
        match self {
            ServerStep::Derive { work, next } => {
                let (name, keys) = work.finish();
                next.handle(name, keys, cache)
            }
            step => step,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::SeededRng;

    /// The step that follows one request to a new login.
    fn asked(credential: Credential, code: u32, body: &[u8]) -> ServerStep {
        go_on(ServerLogin::new(b"joe", credential, BindingData::Unbound), code, body)
    }

    fn go_on(login: ServerLogin, code: u32, body: &[u8]) -> ServerStep {
        let mut rng = SeededRng::new(1);
        let mut cache = ScramCache::new(&mut rng);
        login.handle(code, body, &mut cache, &mut rng).at_once(&mut cache)
    }

    fn sent(step: ServerStep) -> (Vec<u8>, ServerLogin) {
        let ServerStep::Send { payload, next } = step else { panic!("{step:?}") };
        (payload, next)
    }

    fn failure(step: ServerStep) -> ServerFailure {
        let ServerStep::Fail(failure) = step else { panic!("{step:?}") };
        failure
    }

    fn plain() -> Credential {
        Credential::Plain(Password::new(b"secret"))
    }

    fn keys() -> Credential {
        Credential::ScramKeys(ScramKeys::derive(b"secret", b"salt", 2))
    }

    #[test]
    fn a_server_that_trusts_needs_no_credential() {
        assert!(matches!(asked(Credential::None, OK, b""), ServerStep::Ok));
    }

    #[test]
    fn each_credential_answers_what_it_can() {
        let stored = md5::stored(b"secret", b"joe");
        let answer = md5::answer(&stored, *b"abcd");
        let (payload, next) = sent(asked(plain(), CLEARTEXT_PASSWORD, b""));
        assert_eq!(payload, b"secret\0");
        assert!(matches!(go_on(next, OK, b""), ServerStep::Ok));
        for credential in [plain(), Credential::Md5(stored)] {
            let (payload, next) = sent(asked(credential, MD5_PASSWORD, b"abcd"));
            assert_eq!(payload, [&answer[..], b"\0"].concat());
            assert!(matches!(go_on(next, OK, b""), ServerStep::Ok));
        }
        for credential in [plain(), keys()] {
            let (payload, _) = sent(asked(credential, SASL, b"SCRAM-SHA-256\0\0"));
            assert!(payload.starts_with(b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r="));
        }
    }

    #[test]
    fn a_stored_secret_is_never_sent_in_place_of_a_password() {
        let md5 = Credential::Md5([b'x'; MD5_BYTES]);
        let wrong = |asked, known| ServerFailure::WrongPasswordType { asked, known };
        for (credential, code, expected) in [
            (md5.clone(), CLEARTEXT_PASSWORD, wrong(Asked::Cleartext, SecretKind::Md5)),
            (md5, SASL, wrong(Asked::Scram, SecretKind::Md5)),
            (keys(), CLEARTEXT_PASSWORD, wrong(Asked::Cleartext, SecretKind::Scram)),
            (keys(), MD5_PASSWORD, wrong(Asked::Md5, SecretKind::Scram)),
            (Credential::ScramSecret, MD5_PASSWORD, wrong(Asked::Md5, SecretKind::Scram)),
            (
                Credential::ScramSecret,
                SASL,
                ServerFailure::ScramKeysMissing { asked: Asked::Scram },
            ),
            (
                Credential::None,
                CLEARTEXT_PASSWORD,
                ServerFailure::NoPassword { asked: Asked::Cleartext },
            ),
            (Credential::None, SASL, ServerFailure::NoPassword { asked: Asked::Scram }),
        ] {
            let body = b"SCRAM-SHA-256\0\0";
            let failed = failure(asked(credential, code, body));
            assert_eq!(failed, expected);
            assert_eq!(failed.client_text(), "server login failed: wrong password type");
        }
    }

    #[test]
    fn the_mechanism_depends_on_what_is_offered_and_what_there_is_to_be_bound_to() {
        let bound = BindingData::Bound([7; 32].into());
        let (both, plus): (&[u8], &[u8]) =
            (b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", b"SCRAM-SHA-256-PLUS\0\0");
        let less = b"SCRAM-SHA-256\0\0";
        for (channel, offered, expected) in [
            (&bound, both, &b"SCRAM-SHA-256-PLUS\0\0\0\0\x35p=tls-server-end-point,,n=,r="[..]),
            (&bound, plus, b"SCRAM-SHA-256-PLUS\0\0\0\0\x35p=tls-server-end-point,,n=,r="),
            (&bound, less, b"SCRAM-SHA-256\0\0\0\0\x20y,,n=,r="),
            (&BindingData::Unbound, both, b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r="),
            (&BindingData::Unbound, less, b"SCRAM-SHA-256\0\0\0\0\x20n,,n=,r="),
        ] {
            let login = ServerLogin::new(b"joe", plain(), channel.clone());
            let (payload, _) = sent(go_on(login, SASL, offered));
            assert!(payload.starts_with(expected), "{}", payload.escape_ascii());
        }
        for body in
            [&b"SCRAM-SHA-256-PLUS\0\0"[..], b"", b"\0", b"\0SCRAM-SHA-256\0\0", b"SCRAM\0\0"]
        {
            assert_eq!(failure(asked(plain(), SASL, body)), ServerFailure::Mechanism);
        }
    }

    #[test]
    fn a_login_that_must_be_bound_is_bound_or_none() {
        let hash = Some(&[7; 32][..]);
        let asked = |end_point, code, body| {
            let channel = BindingData::of(end_point, ChannelBinding::Require);
            go_on(ServerLogin::new(b"joe", plain(), channel), code, body)
        };
        let both = b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0";
        let (payload, _) = sent(asked(hash, SASL, both));
        assert!(payload.starts_with(b"SCRAM-SHA-256-PLUS\0"));
        for (end_point, code, body) in [
            (hash, SASL, &b"SCRAM-SHA-256\0\0"[..]),
            (None, SASL, both),
            (hash, OK, b""),
            (hash, MD5_PASSWORD, b"abcd"),
            (None, CLEARTEXT_PASSWORD, b""),
        ] {
            assert_eq!(failure(asked(end_point, code, body)), ServerFailure::NotBound);
        }
    }

    #[test]
    fn questions_out_of_order_end_the_login() {
        for code in [SASL_CONTINUE, SASL_FINAL] {
            let failed = failure(asked(plain(), code, b""));
            assert_eq!(failed, ServerFailure::OutOfOrder { code });
        }
        for code in [OK, CLEARTEXT_PASSWORD, MD5_PASSWORD, SASL, SASL_FINAL, 99] {
            let (_, next) = sent(asked(plain(), SASL, b"SCRAM-SHA-256\0\0"));
            let failed = failure(go_on(next, code, b"abcd"));
            assert_eq!(failed, ServerFailure::OutOfOrder { code });
        }
        for code in [CLEARTEXT_PASSWORD, MD5_PASSWORD, SASL, SASL_CONTINUE, SASL_FINAL] {
            let (_, next) = sent(asked(plain(), CLEARTEXT_PASSWORD, b""));
            let failed = failure(go_on(next, code, b"abcd"));
            assert_eq!(failed, ServerFailure::OutOfOrder { code });
        }
    }

    #[test]
    fn unknown_methods_and_short_messages_are_named() {
        for code in [2, 6, 7, 8, 9, 13, u32::MAX] {
            let failed = failure(asked(plain(), code, b""));
            assert_eq!(failed.to_string(), format!("unknown/unsupported auth method: {code}"));
        }
        assert_eq!(failure(asked(plain(), MD5_PASSWORD, b"abc")), ServerFailure::BadPacket);
    }

    #[test]
    fn an_empty_password_is_none() {
        let secret = Secret::parse(b"");
        assert!(matches!(Credential::of(Some(&secret), None), Credential::None));
    }
}
