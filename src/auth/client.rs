//! Login of a client: which question it is asked, and whether its answer is right.
//!
//! A login is a value that awaits one answer; [`ClientLogin::handle`] consumes it and gives the
//! next step. Users that do not exist are asked the same questions as others and fail at the same
//! place with the same words. Only the log says why.

use crate::auth::answer::{password_of, sasl_initial};
use crate::auth::cache::{CachedKeys, KeyName, ScramCache, Work};
use crate::auth::failure::{Failure, ProofRefusal};
use crate::auth::inquiry::Judge;
use crate::auth::request::AuthRequest;
use crate::auth::secret::{Password, Secret, SecretKind};
use crate::base::rng::Rng;
use crate::crypto::key::ScramKey;
use crate::crypto::md5::{self, MD5_BYTES};
use crate::crypto::scram::{self, ScramKeys, Verifier};
use crate::crypto::scram_message::{self, BOUND, Binding, ClientFinal, ClientFirst};
use crate::crypto::{compare, nonce};

/// How a client proves to the pooler itself who it is. HBA rules know more methods.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProofMethod {
    /// Nothing is asked, and the user need not exist.
    Any,
    /// A salted hash; SCRAM for users whose secret is stored for SCRAM.
    Md5,
    /// The password in clear.
    Plain,
    ScramSha256,
    /// Nothing is asked, but the user must exist.
    Trust,
}

/// Who wants to log in, and what the pooler knows of the user.
#[derive(Clone, Copy, Debug)]
pub struct Candidate<'a> {
    /// As in the startup packet.
    pub user: &'a [u8],
    pub account: AccountSecret<'a>,
    /// The hash of the certificate that the client was shown, where SCRAM can be bound to it.
    pub end_point: Option<&'a [u8]>,
}

#[derive(Clone, Copy, Debug)]
pub enum AccountSecret<'a> {
    Known(&'a Secret),
    Missing,
    /// The user exists but has no password, so no answer is right: it is listed in `[users]` only,
    /// or its password is NULL.
    NoPassword,
}

impl AccountSecret<'_> {
    pub fn is_missing(&self) -> bool {
        matches!(self, AccountSecret::Missing)
    }
}

/// What happens next.
#[derive(Debug)]
pub enum ClientStep {
    /// Send the request, then give the payload of the client's next 'p' message to `next`.
    Ask {
        request: AuthRequest,
        next: ClientLogin,
    },
    /// Do the work, then give its keys to `next`.
    Derive {
        work: Work,
        next: AwaitKeys,
    },
    /// Ask this judge about the password, which is not empty.
    Inquire {
        judge: Judge,
        password: Password,
    },
    /// The client has logged in. `last`, where there is one, is sent before AuthenticationOk.
    Done {
        last: Option<AuthRequest>,
        identity: Identity,
    },
    Fail(Failure),
}

/// What a login yields besides admission.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Identity {
    /// The keys of a client that proved its password against a stored SCRAM secret. With them the
    /// pooler can log in as the same user to a server that stores the same secret.
    pub scram_keys: Option<ScramKeys>,
    /// The password itself, where LDAP or PAM has accepted it: the pooler logs in to servers with
    /// it.
    pub password: Option<Password>,
}

/// Starts a login. `scram_iterations` is the setting, for secrets that are plain passwords.
pub fn begin(
    method: ProofMethod,
    candidate: &Candidate<'_>,
    scram_iterations: u32,
    rng: &mut dyn Rng,
) -> ClientStep {
    match (method, candidate.account) {
        (ProofMethod::Any, _) => ClientStep::Done { last: None, identity: Identity::default() },
        (ProofMethod::Trust, AccountSecret::Missing) => ClientStep::Fail(Failure::Trust),
        (ProofMethod::Trust, _) => ClientStep::Done { last: None, identity: Identity::default() },
        (ProofMethod::Plain, _) => ask_password(candidate, scram_iterations),
        (ProofMethod::ScramSha256, _)
        | (ProofMethod::Md5, AccountSecret::Known(Secret::Scram(_))) => {
            ask_sasl(candidate, scram_iterations)
        }
        (ProofMethod::Md5, _) => ask_md5(candidate, nonce::md5_salt(rng)),
    }
}

/// Starts a login whose password LDAP or PAM judges: the pooler need not know the user.
pub fn begin_judged(judge: Judge) -> ClientStep {
    ClientStep::Ask { request: AuthRequest::CleartextPassword, next: ClientLogin::Judged(judge) }
}

/// A login that awaits the client's answer. It takes some 200 bytes, so a record that lives longer
/// than the login keeps it in a box.
#[derive(Debug)]
pub enum ClientLogin {
    /// Awaits the password in clear, which this judge is then asked about.
    Judged(Judge),
    Md5(AwaitMd5),
    Password(AwaitPassword),
    SaslInitial(AwaitSaslInitial),
    SaslResponse(Box<AwaitSaslResponse>),
}

impl ClientLogin {
    /// The longest payload that the awaited message may have, in bytes.
    pub fn longest(&self) -> usize {
        match self {
            ClientLogin::Md5(_) => MD5_BYTES_MAX,
            ClientLogin::Judged(_) | ClientLogin::Password(_) => PASSWORD_MESSAGE_BYTES_MAX,
            ClientLogin::SaslInitial(_) | ClientLogin::SaslResponse(_) => SASL_BYTES_MAX,
        }
    }

    /// `payload` is what follows the head of the client's 'p' message.
    pub fn handle(self, payload: &[u8], cache: &mut ScramCache, rng: &mut dyn Rng) -> ClientStep {
        match self {
            ClientLogin::Judged(judge) => match password_of(payload) {
                Ok(text) => ClientStep::Inquire { judge, password: Password::new(text) },
                Err(failure) => ClientStep::Fail(failure),
            },
            ClientLogin::Md5(login) => login.handle(payload),
            ClientLogin::Password(login) => login.handle(payload, cache),
            ClientLogin::SaslInitial(login) => login.handle(payload, cache, rng),
            ClientLogin::SaslResponse(login) => login.handle(payload, cache),
        }
    }
}

/// A login that waits for keys to be derived. Each refused login costs one derivation, whether its
/// user exists or not.
#[derive(Debug)]
pub struct AwaitKeys(KeyPurpose);

#[derive(Debug)]
enum KeyPurpose {
    /// To compare a password that came in clear with the verifier.
    Password(Verifier),
    /// To check a SCRAM proof against the known password.
    Proof(Box<Proven>),
    /// Nobody needs the keys: the derivation takes the time that other refusals take.
    Refusal(Failure),
}

impl AwaitKeys {
    /// Goes on with the derived keys.
    pub fn handle(self, name: KeyName, keys: ScramKeys, cache: &mut ScramCache) -> ClientStep {
        match self.0 {
            KeyPurpose::Password(verifier) if keys.stored_key() == verifier.stored_key => {
                cache.keep(name, keys.clone());
                ClientStep::Done {
                    last: None,
                    identity: Identity { scram_keys: Some(keys), password: None },
                }
            }
            KeyPurpose::Password(_) => {
                ClientStep::Fail(Failure::Password(ProofRefusal::WrongPassword))
            }
            KeyPurpose::Proof(proven) => {
                let wrong = || ClientStep::Fail(Failure::Sasl(ProofRefusal::WrongPassword));
                let step = proven.accept(&keys).unwrap_or_else(wrong);
                cache.keep(name, keys);
                step
            }
            KeyPurpose::Refusal(failure) => ClientStep::Fail(failure),
        }
    }
}

/// Refuses a login that has cost no derivation yet, after one whose keys nobody needs.
fn refuse(failure: Failure, user: &[u8], iterations: u32, cache: &ScramCache) -> ClientStep {
    let next = AwaitKeys(KeyPurpose::Refusal(failure));
    ClientStep::Derive { work: cache.idle_work(user, iterations), next }
}

/// The usual length of client-final-message without its proof, at most.
const ROOM_BYTES: usize = 128;

/// The longest SASL answer, in bytes: a message of the exchange, the name of a mechanism, a length.
const SASL_BYTES_MAX: usize = 2048;

/// The longest MD5 answer, in bytes; a right one has 36.
const MD5_BYTES_MAX: usize = 64;

/// The longest message with a password in clear, in bytes, as in PostgreSQL.
const PASSWORD_MESSAGE_BYTES_MAX: usize = 65_536;

/// Awaits the password in clear.
#[derive(Debug)]
pub struct AwaitPassword {
    user: Box<[u8]>,
    secret: Result<Secret, ProofRefusal>,
    scram_iterations: u32,
}

fn ask_password(candidate: &Candidate<'_>, scram_iterations: u32) -> ClientStep {
    let (user, secret) = (candidate.user.into(), usable_secret(candidate));
    let next = AwaitPassword { user, secret, scram_iterations };
    ClientStep::Ask { request: AuthRequest::CleartextPassword, next: ClientLogin::Password(next) }
}

impl AwaitPassword {
    fn handle(self, payload: &[u8], cache: &mut ScramCache) -> ClientStep {
        let password = match password_of(payload) {
            Ok(password) => password,
            Err(failure) => return ClientStep::Fail(failure),
        };
        let refusal = match &self.secret {
            Ok(Secret::Plain(known)) if compare::equal(known.as_bytes(), password) => None,
            Ok(Secret::Md5(stored))
                if compare::equal(stored, &md5::stored(password, &self.user)) =>
            {
                None
            }
            Ok(Secret::Plain(_) | Secret::Md5(_)) => Some(ProofRefusal::WrongPassword),
            Ok(Secret::Scram(verifier)) => return self.check(password, verifier, cache),
            Err(refusal) => Some(*refusal),
        };
        match refusal {
            None => ClientStep::Done { last: None, identity: Identity::default() },
            Some(refusal) => {
                refuse(Failure::Password(refusal), &self.user, self.scram_iterations, cache)
            }
        }
    }

    fn check(&self, password: &[u8], verifier: &Verifier, cache: &mut ScramCache) -> ClientStep {
        let purpose = KeyPurpose::Password(verifier.clone());
        match cache.keys(password, &verifier.salt, verifier.iterations) {
            CachedKeys::Known(keys) if keys.stored_key() == verifier.stored_key => {
                ClientStep::Done {
                    last: None,
                    identity: Identity { scram_keys: Some(keys), password: None },
                }
            }
            CachedKeys::Known(_) => {
                let failure = Failure::Password(ProofRefusal::WrongPassword);
                refuse(failure, &self.user, verifier.iterations, cache)
            }
            CachedKeys::Wanted(work) => ClientStep::Derive { work, next: AwaitKeys(purpose) },
        }
    }
}

/// Awaits the salted MD5 answer.
#[derive(Debug)]
pub struct AwaitMd5 {
    expected: Result<[u8; MD5_BYTES], ProofRefusal>,
}

fn ask_md5(candidate: &Candidate<'_>, salt: [u8; 4]) -> ClientStep {
    let expected = usable_secret(candidate).and_then(|secret| match secret {
        Secret::Plain(password) => Ok(md5::answer(&password.to_md5(candidate.user), salt)),
        Secret::Md5(stored) => Ok(md5::answer(&stored, salt)),
        Secret::Scram(_) => Err(ProofRefusal::UnusableSecret(SecretKind::Scram)),
    });
    let next = ClientLogin::Md5(AwaitMd5 { expected });
    ClientStep::Ask { request: AuthRequest::Md5Password { salt }, next }
}

impl AwaitMd5 {
    fn handle(self, payload: &[u8]) -> ClientStep {
        let given = match password_of(payload) {
            Ok(given) => given,
            Err(failure) => return ClientStep::Fail(failure),
        };
        match self.expected {
            Ok(expected) if compare::equal(&expected, given) => {
                ClientStep::Done { last: None, identity: Identity::default() }
            }
            Ok(_) => ClientStep::Fail(Failure::Password(ProofRefusal::WrongPassword)),
            Err(refusal) => ClientStep::Fail(Failure::Password(refusal)),
        }
    }
}

/// Awaits the client's choice of a mechanism, with client-first-message.
#[derive(Debug)]
pub struct AwaitSaslInitial {
    user: Box<[u8]>,
    secret: Result<Secret, ProofRefusal>,
    scram_iterations: u32,
    /// The certificate hash to which a client is bound if it chooses channel binding.
    end_point: Option<Box<[u8]>>,
}

fn ask_sasl(candidate: &Candidate<'_>, scram_iterations: u32) -> ClientStep {
    let next = AwaitSaslInitial {
        user: candidate.user.into(),
        secret: usable_secret(candidate),
        scram_iterations,
        end_point: candidate.end_point.map(Into::into),
    };
    let request = AuthRequest::Sasl { with_binding: candidate.end_point.is_some() };
    ClientStep::Ask { request, next: ClientLogin::SaslInitial(next) }
}

impl AwaitSaslInitial {
    fn handle(self, payload: &[u8], cache: &mut ScramCache, rng: &mut dyn Rng) -> ClientStep {
        let (binding, message) = match sasl_initial(payload, self.end_point.is_some()) {
            Ok(chosen) => chosen,
            Err(failure) => return ClientStep::Fail(failure),
        };
        let first = match ClientFirst::parse(message, binding) {
            Ok(first) => first,
            Err(error) => return ClientStep::Fail(Failure::SaslMessage(error)),
        };
        let basis = self.basis();
        let (salt, iterations) = match &basis {
            Basis::StoredSecret(verifier) => (verifier.salt.clone(), verifier.iterations),
            Basis::PlainPassword(_) | Basis::Refused(_) => {
                (cache.salt(&self.user).into(), self.scram_iterations)
            }
        };
        let nonce = [first.nonce, nonce::scram_nonce(rng).as_bytes()].concat();
        let server_first = scram_message::server_first(&nonce, &salt, iterations);
        let mut auth_message =
            Vec::with_capacity(first.bare.len() + 1 + server_first.len() + 1 + ROOM_BYTES);
        scram_message::begin_auth_message(&mut auth_message, first.bare, &server_first);
        let next = AwaitSaslResponse {
            user: self.user,
            binding: match self.end_point {
                Some(hash) if binding == Binding::Used => [BOUND, &hash].concat().into(),
                Some(_) | None => first.header.into(),
            },
            auth_message,
            nonce,
            salt,
            iterations,
            basis,
        };
        ClientStep::Ask {
            request: AuthRequest::SaslContinue(server_first),
            next: ClientLogin::SaslResponse(Box::new(next)),
        }
    }

    fn basis(&self) -> Basis {
        match &self.secret {
            Ok(Secret::Scram(verifier)) => Basis::StoredSecret(verifier.clone()),
            Ok(Secret::Plain(password)) => Basis::PlainPassword(password.clone()),
            Ok(Secret::Md5(_)) => Basis::Refused(ProofRefusal::UnusableSecret(SecretKind::Md5)),
            Err(refusal) => Basis::Refused(*refusal),
        }
    }
}

/// What a SCRAM proof is checked against.
#[derive(Debug)]
enum Basis {
    PlainPassword(Password),
    /// Nothing: the exchange is for show, and fails at its end.
    Refused(ProofRefusal),
    /// A stored SCRAM secret. A server may store it too, so the client's keys are kept.
    StoredSecret(Verifier),
}

/// Awaits client-final-message, which proves the password.
#[derive(Debug)]
pub struct AwaitSaslResponse {
    user: Box<[u8]>,
    /// What client-final-message must repeat: the header of client-first-message, and the
    /// certificate hash if the exchange is bound to it.
    binding: Box<[u8]>,
    /// The text that the client proves its password for, up to its last message.
    auth_message: Vec<u8>,
    /// The client's nonce and ours.
    nonce: Vec<u8>,
    salt: Box<[u8]>,
    iterations: u32,
    basis: Basis,
}

impl AwaitSaslResponse {
    fn handle(self, payload: &[u8], cache: &mut ScramCache) -> ClientStep {
        let last = match ClientFinal::parse(payload, &self.binding, &self.nonce) {
            Ok(last) => last,
            Err(error) => return ClientStep::Fail(Failure::SaslMessage(error)),
        };
        let AwaitSaslResponse { user, mut auth_message, salt, iterations, .. } = self;
        auth_message.extend_from_slice(last.without_proof);
        let proven = Proven { auth_message, proof: last.proof };
        let refusal = match self.basis {
            Basis::Refused(refusal) => refusal,
            Basis::StoredSecret(verifier) => {
                match verifier.verify(&proven.auth_message, &proven.proof) {
                    Some(keys) => return proven.admit(&verifier.server_key, Some(keys)),
                    None => ProofRefusal::WrongPassword,
                }
            }
            Basis::PlainPassword(password) => {
                match cache.keys(password.as_bytes(), &salt, iterations) {
                    CachedKeys::Known(keys) => match proven.accept(&keys) {
                        Some(step) => return step,
                        None => ProofRefusal::WrongPassword,
                    },
                    CachedKeys::Wanted(work) => {
                        let next = AwaitKeys(KeyPurpose::Proof(Box::new(proven)));
                        return ClientStep::Derive { work, next };
                    }
                }
            }
        };
        refuse(Failure::Sasl(refusal), &user, iterations, cache)
    }
}

/// A proof, and what it is a proof of.
#[derive(Debug)]
struct Proven {
    auth_message: Vec<u8>,
    proof: ScramKey,
}

impl Proven {
    /// Lets the client in if it has proved the password of these keys.
    fn accept(&self, keys: &ScramKeys) -> Option<ClientStep> {
        let is_right = keys.is_proof(&self.auth_message, &self.proof);
        is_right.then(|| self.admit(&keys.server_key, None))
    }

    /// `scram_keys` are given where the secret is a stored one.
    fn admit(&self, server_key: &ScramKey, scram_keys: Option<ScramKeys>) -> ClientStep {
        let signature = scram::server_signature(server_key, &self.auth_message);
        let last = AuthRequest::SaslFinal(scram_message::server_final(&signature));
        ClientStep::Done { last: Some(last), identity: Identity { scram_keys, password: None } }
    }
}

/// The secret of the user. An empty password is none: nobody may log in with it.
fn usable_secret(candidate: &Candidate<'_>) -> Result<Secret, ProofRefusal> {
    match candidate.account {
        AccountSecret::Known(Secret::Plain(password)) if password.as_bytes().is_empty() => {
            Err(ProofRefusal::NoPassword)
        }
        AccountSecret::Known(secret) => Ok(secret.clone()),
        AccountSecret::Missing => Err(ProofRefusal::NoSuchUser),
        AccountSecret::NoPassword => Err(ProofRefusal::NoPassword),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::secret::Password;
    use crate::base::rng::SeededRng;
    use crate::crypto::scram_message::MessageError;

    const ITERATIONS: u32 = 7;

    fn plain() -> Secret {
        Secret::Plain(Password::new(b"secret"))
    }

    fn stored_md5() -> Secret {
        Secret::Md5(md5::stored(b"secret", b"joe"))
    }

    fn stored_scram() -> Secret {
        let keys = ScramKeys::derive(b"secret", b"salt", 3);
        Secret::Scram(Verifier::derive(&keys, b"salt", 3))
    }

    fn start(method: ProofMethod, account: AccountSecret<'_>) -> ClientStep {
        let candidate = Candidate { user: b"joe", account, end_point: None };
        begin(method, &candidate, ITERATIONS, &mut SeededRng::new(1))
    }

    /// The step that follows one answer to the first question.
    fn answered(method: ProofMethod, account: AccountSecret<'_>, answer: &[u8]) -> ClientStep {
        let mut rng = SeededRng::new(2);
        let mut cache = ScramCache::new(&mut rng);
        let ClientStep::Ask { next, .. } = start(method, account) else {
            panic!("nothing is asked")
        };
        next.handle(answer, &mut cache, &mut rng).at_once(&mut cache)
    }

    fn failure(step: ClientStep) -> Failure {
        let ClientStep::Fail(failure) = step else { panic!("{step:?}") };
        failure
    }

    #[test]
    fn any_asks_nobody_and_trust_asks_only_whether_the_user_exists() {
        for account in
            [AccountSecret::Missing, AccountSecret::NoPassword, AccountSecret::Known(&plain())]
        {
            assert!(matches!(
                start(ProofMethod::Any, account),
                ClientStep::Done { last: None, .. }
            ));
        }
        for account in [AccountSecret::NoPassword, AccountSecret::Known(&plain())] {
            assert!(matches!(
                start(ProofMethod::Trust, account),
                ClientStep::Done { last: None, .. }
            ));
        }
        assert_eq!(failure(start(ProofMethod::Trust, AccountSecret::Missing)), Failure::Trust);
    }

    #[test]
    fn the_question_depends_on_method_and_secret() {
        let (plain, md5, scram) = (plain(), stored_md5(), stored_scram());
        let asked = |method, account| match start(method, account) {
            ClientStep::Ask { request, .. } => request.payload()[3],
            other => panic!("{other:?}"),
        };
        let accounts = [
            AccountSecret::Known(&plain),
            AccountSecret::Known(&md5),
            AccountSecret::Known(&scram),
            AccountSecret::Missing,
            AccountSecret::NoPassword,
        ];
        assert_eq!(accounts.map(|account| asked(ProofMethod::Plain, account)), [3; 5]);
        assert_eq!(accounts.map(|account| asked(ProofMethod::Md5, account)), [5, 5, 10, 5, 5]);
        assert_eq!(accounts.map(|account| asked(ProofMethod::ScramSha256, account)), [10; 5]);
    }

    #[test]
    fn a_password_in_clear_is_held_against_any_kind_of_secret() {
        for secret in [plain(), stored_md5(), stored_scram()] {
            let account = AccountSecret::Known(&secret);
            let step = answered(ProofMethod::Plain, account, b"secret\0ignored");
            let ClientStep::Done { last: None, identity } = step else { panic!("{step:?}") };
            // Only a stored SCRAM secret yields keys for the server.
            assert_eq!(identity.scram_keys.is_some(), secret.kind() == SecretKind::Scram);
            for (answer, expected) in [
                (&b"secreT\0"[..], Failure::Password(ProofRefusal::WrongPassword)),
                (b"\0", Failure::EmptyPassword),
                (b"secret", Failure::BadPacket),
                (b"", Failure::BadPacket),
            ] {
                assert_eq!(failure(answered(ProofMethod::Plain, account, answer)), expected);
            }
        }
    }

    #[test]
    fn a_stored_secret_is_not_a_password() {
        let text = md5::stored(b"secret", b"joe");
        let step = answered(
            ProofMethod::Plain,
            AccountSecret::Known(&stored_md5()),
            &[&text[..], b"\0"].concat(),
        );
        assert_eq!(failure(step), Failure::Password(ProofRefusal::WrongPassword));
    }

    #[test]
    fn the_md5_answer_depends_on_the_salt() {
        for secret in [plain(), stored_md5()] {
            let account = AccountSecret::Known(&secret);
            let ClientStep::Ask { request: AuthRequest::Md5Password { salt }, .. } =
                start(ProofMethod::Md5, account)
            else {
                panic!("no salt");
            };
            let stored = md5::stored(b"secret", b"joe");
            let right = [&md5::answer(&stored, salt)[..], b"\0"].concat();
            let step = answered(ProofMethod::Md5, account, &right);
            assert!(matches!(step, ClientStep::Done { last: None, .. }), "{step:?}");

            let other = [&md5::answer(&stored, [0; 4])[..], b"\0"].concat();
            for wrong in [&other[..], b"secret\0", &[&stored[..], b"\0"].concat()] {
                let failed = failure(answered(ProofMethod::Md5, account, wrong));
                assert_eq!(failed, Failure::Password(ProofRefusal::WrongPassword));
            }
        }
    }

    #[test]
    fn no_answer_will_do_without_a_password() {
        let empty = Secret::Plain(Password::new(b""));
        for (account, refusal) in [
            (AccountSecret::Missing, ProofRefusal::NoSuchUser),
            (AccountSecret::NoPassword, ProofRefusal::NoPassword),
            (AccountSecret::Known(&empty), ProofRefusal::NoPassword),
        ] {
            for method in [ProofMethod::Plain, ProofMethod::Md5] {
                let failed = failure(answered(method, account, b"secret\0"));
                assert_eq!(failed, Failure::Password(refusal));
                assert_eq!(failed.client_text(), "password authentication failed");
                let failed = failure(answered(method, account, b"\0"));
                assert_eq!(failed, Failure::EmptyPassword);
            }
        }
    }

    #[test]
    fn the_first_sasl_message_must_fill_its_packet() {
        let message = b"n,,n=,r=abc";
        let packet = |mechanism: &[u8], len: i32, message: &[u8]| {
            [mechanism, &len.to_be_bytes(), message].concat()
        };
        let name = b"SCRAM-SHA-256\0";
        let answer =
            |packet: &[u8]| answered(ProofMethod::ScramSha256, AccountSecret::Missing, packet);
        assert!(matches!(answer(&packet(name, 11, message)), ClientStep::Ask { .. }));
        for (wrong, expected) in [
            (packet(b"SCRAM-SHA-256-PLUS\0", 11, message), Failure::Mechanism),
            (packet(b"\0", 11, message), Failure::Mechanism),
            (packet(name, 10, message), Failure::BadPacket),
            (packet(name, 12, message), Failure::BadPacket),
            (packet(name, -1, message), Failure::BadPacket),
            (packet(name, i32::MAX, message), Failure::BadPacket),
            (packet(name, 0, b""), Failure::SaslMessage(MessageError::Attribute('n'))),
            (b"SCRAM-SHA-256\0\0\0\0".to_vec(), Failure::BadPacket),
            (b"SCRAM-SHA-256".to_vec(), Failure::BadPacket),
            (Vec::new(), Failure::BadPacket),
        ] {
            assert_eq!(failure(answer(&wrong)), expected, "{wrong:?}");
        }
    }
}
