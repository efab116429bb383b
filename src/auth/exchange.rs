//! Tests of both logins against each other: the pooler's login to a server talks with its login of
//! clients, whole, cut short or changed on the way.

use crate::auth::cache::ScramCache;
use crate::auth::client::{self, AccountSecret, Candidate, ClientStep, Identity, ProofMethod};
use crate::auth::failure::{Failure, ProofRefusal, ServerFailure};
use crate::auth::request::AuthRequest;
use crate::auth::secret::{Password, Secret};
use crate::auth::server::{BindingData, Credential, ServerLogin, ServerStep};
use crate::base::rng::SeededRng;
use crate::config::ChannelBinding;
use crate::crypto::scram::{ScramKeys, Verifier};
use crate::crypto::scram_message::MessageError;

/// Both sides, each with its own cache, as in two processes.
struct Table {
    rng: SeededRng,
    ours: ScramCache,
    theirs: ScramCache,
    /// The certificate hash that the login of clients has shown, and the one that the login to a
    /// server has seen.
    shown: Option<&'static [u8]>,
    seen: BindingData,
}

/// What changes a message on its way: the number of the message, counted from 0, and its payload.
type Tamper<'a> = &'a dyn Fn(usize, &mut Vec<u8>);

#[derive(Debug)]
enum Outcome {
    In(Identity),
    ClientRefused(Failure),
    ServerRefused(ServerFailure),
}

impl Table {
    fn new(seed: u64) -> Table {
        let mut rng = SeededRng::new(seed);
        let (ours, theirs) = (ScramCache::new(&mut rng), ScramCache::new(&mut rng));
        Table { rng, ours, theirs, shown: None, seen: BindingData::Unbound }
    }

    /// Lets a login to a server talk with the login of a client until one of them ends.
    fn play(
        &mut self,
        method: ProofMethod,
        account: AccountSecret<'_>,
        credential: Credential,
        tamper: Tamper<'_>,
    ) -> Outcome {
        let candidate = Candidate { user: b"joe", account, end_point: self.shown };
        let mut step = client::begin(method, &candidate, 5, &mut self.rng);
        let mut login = ServerLogin::new(b"joe", credential, self.seen.clone());
        for count in 0.. {
            let (request, next) = match step {
                ClientStep::Ask { request, next } => (request, next),
                ClientStep::Derive { .. } => panic!("one derivation after the other"),
                ClientStep::Inquire { .. } => panic!("nobody else judges here"),
                ClientStep::Fail(failure) => return Outcome::ClientRefused(failure),
                ClientStep::Done { last, identity } => {
                    return self.finish(login, last, identity, count, tamper);
                }
            };
            match self.receive(login, &request, 2 * count, tamper) {
                ServerStep::Send { mut payload, next: awaits } => {
                    tamper(2 * count + 1, &mut payload);
                    login = awaits;
                    step = next.handle(&payload, &mut self.theirs, &mut self.rng);
                    step = step.at_once(&mut self.theirs);
                }
                ServerStep::Fail(failure) => return Outcome::ServerRefused(failure),
                other => panic!("{other:?}"),
            }
        }
        unreachable!("a login has a few steps")
    }

    /// The last message, if there is one, and then Ok.
    fn finish(
        &mut self,
        mut login: ServerLogin,
        last: Option<AuthRequest>,
        identity: Identity,
        count: usize,
        tamper: Tamper<'_>,
    ) -> Outcome {
        if let Some(request) = last {
            login = match self.receive(login, &request, 2 * count, tamper) {
                ServerStep::Wait(next) => next,
                ServerStep::Fail(failure) => return Outcome::ServerRefused(failure),
                other => panic!("{other:?}"),
            };
        }
        match login.handle(0, b"", &mut self.ours, &mut self.rng) {
            ServerStep::Ok => Outcome::In(identity),
            ServerStep::Fail(failure) => Outcome::ServerRefused(failure),
            other => panic!("{other:?}"),
        }
    }

    fn receive(
        &mut self,
        login: ServerLogin,
        request: &AuthRequest,
        number: usize,
        tamper: Tamper<'_>,
    ) -> ServerStep {
        let payload = request.payload();
        let (code, body) = payload.split_first_chunk::<4>().unwrap();
        let mut body = body.to_vec();
        tamper(number, &mut body);
        let code = u32::from_be_bytes(*code);
        login.handle(code, &body, &mut self.ours, &mut self.rng).at_once(&mut self.ours)
    }
}

fn plain(password: &str) -> Secret {
    Secret::Plain(Password::new(password.as_bytes()))
}

fn stored_scram(password: &str) -> Secret {
    let keys = ScramKeys::derive(password.as_bytes(), b"salt", 3);
    Secret::Scram(Verifier::derive(&keys, b"salt", 3))
}

fn play(method: ProofMethod, account: AccountSecret<'_>, credential: Credential) -> Outcome {
    Table::new(1).play(method, account, credential, &|_, _| {})
}

fn with_password(password: &str) -> Credential {
    Credential::of(Some(&plain(password)), None)
}

#[test]
fn our_login_to_a_server_satisfies_our_login_of_clients() {
    let long = "x".repeat(65_535);
    for password in ["secret", "gr\u{fc}n, \u{1f511}", "md5x", &long] {
        for secret in [plain(password), stored_scram(password)] {
            for method in [ProofMethod::Plain, ProofMethod::Md5, ProofMethod::ScramSha256] {
                let outcome = play(method, AccountSecret::Known(&secret), with_password(password));
                assert!(matches!(outcome, Outcome::In(_)), "{outcome:?}");
                let outcome = play(method, AccountSecret::Known(&secret), with_password("wrong"));
                let Outcome::ClientRefused(failure) = outcome else { panic!("{outcome:?}") };
                let expected = [
                    Failure::Password(ProofRefusal::WrongPassword),
                    Failure::Sasl(ProofRefusal::WrongPassword),
                ];
                assert!(expected.contains(&failure));
            }
        }
    }
}

#[test]
fn the_keys_of_a_client_open_the_server_that_stores_its_secret() {
    let secret = stored_scram("secret");
    for method in [ProofMethod::Plain, ProofMethod::Md5, ProofMethod::ScramSha256] {
        let outcome = play(method, AccountSecret::Known(&secret), with_password("secret"));
        let Outcome::In(Identity { scram_keys: Some(keys), .. }) = outcome else {
            panic!("{outcome:?}");
        };
        let credential = Credential::of(Some(&secret), Some(&keys));
        let outcome =
            play(ProofMethod::ScramSha256, AccountSecret::Known(&secret), credential.clone());
        assert!(matches!(outcome, Outcome::In(_)), "{outcome:?}");

        let other = stored_scram("other");
        let outcome = play(ProofMethod::ScramSha256, AccountSecret::Known(&other), credential);
        assert!(matches!(
            outcome,
            Outcome::ClientRefused(Failure::Sasl(ProofRefusal::WrongPassword))
        ));
    }
    // A plain secret yields no keys: the password itself is at hand.
    let outcome = play(
        ProofMethod::ScramSha256,
        AccountSecret::Known(&plain("secret")),
        with_password("secret"),
    );
    assert!(matches!(outcome, Outcome::In(Identity { scram_keys: None, .. })));
}

#[test]
fn whoever_cannot_come_in_learns_nothing_of_the_reason() {
    let (md5, empty) = (Secret::parse(b"md5b350798a23d7544eb353a6f8dca231c2"), plain(""));
    let real = plain("secret");
    for account in [
        AccountSecret::Missing,
        AccountSecret::NoPassword,
        AccountSecret::Known(&md5),
        AccountSecret::Known(&empty),
    ] {
        // The client sees messages of the same lengths, and the same words at the end.
        let lengths = |account: AccountSecret<'_>| {
            let seen = std::cell::RefCell::new(Vec::new());
            let outcome = Table::new(1).play(
                ProofMethod::ScramSha256,
                account,
                with_password("wrong"),
                &|_, message| seen.borrow_mut().push(message.len()),
            );
            let Outcome::ClientRefused(failure) = outcome else { panic!("{outcome:?}") };
            (seen.into_inner(), failure.client_text())
        };
        assert_eq!(lengths(account), lengths(AccountSecret::Known(&real)));
    }
}

#[test]
fn a_message_cut_at_any_byte_ends_the_login() {
    let secret = stored_scram("secret");
    for number in 0..5 {
        let mut cut = 0;
        loop {
            let was_cut = std::cell::Cell::new(false);
            let outcome = Table::new(1).play(
                ProofMethod::ScramSha256,
                AccountSecret::Known(&secret),
                with_password("secret"),
                &|at, message: &mut Vec<u8>| {
                    if at == number && cut < message.len() {
                        message.truncate(cut);
                        was_cut.set(true);
                    }
                },
            );
            // Without its last NULs the list of mechanisms can still be read.
            let is_harmless = number == 0 && cut >= "SCRAM-SHA-256".len();
            if !was_cut.get() {
                break;
            }
            let is_in = matches!(outcome, Outcome::In(_));
            assert_eq!(is_in, is_harmless, "message {number} cut at {cut}: {outcome:?}");
            cut += 1;
        }
        assert!(cut > 10, "message {number} was never cut");
    }
}

#[test]
fn a_bit_flipped_in_any_message_ends_the_login() {
    let secret = stored_scram("secret");
    for number in 1..5 {
        for byte in 0..90 {
            let was_there = std::cell::Cell::new(false);
            let outcome = Table::new(2).play(
                ProofMethod::ScramSha256,
                AccountSecret::Known(&secret),
                with_password("secret"),
                &|at, message: &mut Vec<u8>| {
                    if at == number && byte < message.len() {
                        message[byte] ^= 1;
                        was_there.set(true);
                    }
                },
            );
            let is_in = matches!(outcome, Outcome::In(_));
            assert_eq!(is_in, !was_there.get(), "message {number}, byte {byte}: {outcome:?}");
        }
    }
}

#[test]
fn a_server_that_does_not_know_the_secret_is_found_out() {
    let outcome = Table::new(1).play(
        ProofMethod::ScramSha256,
        AccountSecret::Known(&stored_scram("secret")),
        with_password("secret"),
        &|number, message: &mut Vec<u8>| {
            if number == 4 {
                *message = b"v=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=".to_vec();
            }
        },
    );
    assert!(matches!(outcome, Outcome::ServerRefused(ServerFailure::Signature)), "{outcome:?}");
}

/// Both sides under TLS, with what each takes for the hash of the certificate.
fn under_tls(shown: &'static [u8], seen: &[u8]) -> Table {
    Table {
        shown: Some(shown),
        seen: BindingData::of(Some(seen), ChannelBinding::Prefer),
        ..Table::new(1)
    }
}

#[test]
fn an_exchange_that_is_bound_to_its_channel_stands_and_falls_with_the_certificate() {
    let secret = stored_scram("secret");
    let account = AccountSecret::Known(&secret);
    for method in [ProofMethod::Md5, ProofMethod::ScramSha256] {
        let outcome = under_tls(b"the hash", b"the hash").play(
            method,
            account,
            with_password("secret"),
            &|number, message: &mut Vec<u8>| {
                let is_chosen = message.starts_with(b"SCRAM-SHA-256-PLUS\0\0");
                assert_eq!(number == 1, is_chosen, "{number}: {}", message.escape_ascii());
            },
        );
        let Outcome::In(Identity { scram_keys: Some(keys), .. }) = outcome else {
            panic!("{outcome:?}");
        };
        // The keys of a client that used channel binding open a server, with channel binding or
        // without.
        let credential = Credential::of(Some(&secret), Some(&keys));
        for mut table in [under_tls(b"its hash", b"its hash"), Table::new(1)] {
            let outcome = table.play(method, account, credential.clone(), &|_, _| {});
            assert!(matches!(outcome, Outcome::In(_)), "{outcome:?}");
        }
    }
    let outcome = under_tls(b"the hash", b"another").play(
        ProofMethod::ScramSha256,
        account,
        with_password("secret"),
        &|_, _| {},
    );
    let changed = Failure::SaslMessage(MessageError::BindingChanged);
    assert!(
        matches!(outcome, Outcome::ClientRefused(failure) if failure == changed),
        "{outcome:?}"
    );
}

#[test]
fn whoever_takes_the_offer_of_channel_binding_out_is_found_out() {
    let secret = stored_scram("secret");
    let outcome = under_tls(b"the hash", b"another").play(
        ProofMethod::ScramSha256,
        AccountSecret::Known(&secret),
        with_password("secret"),
        &|number, message: &mut Vec<u8>| {
            if number == 0 {
                *message = b"SCRAM-SHA-256\0\0".to_vec();
            }
        },
    );
    let downgraded = Failure::SaslMessage(MessageError::Downgraded);
    assert!(
        matches!(outcome, Outcome::ClientRefused(failure) if failure == downgraded),
        "{outcome:?}"
    );
}

#[test]
fn a_burst_of_logins_costs_pbkdf2_once_on_each_side() {
    let mut table = Table::new(1);
    let secret = plain("secret");
    // With a cache that did not keep anything, this would take minutes without optimisation.
    for _ in 0..2000 {
        let candidate =
            Candidate { user: b"joe", account: AccountSecret::Known(&secret), end_point: None };
        let mut step = client::begin(ProofMethod::ScramSha256, &candidate, 20_000, &mut table.rng);
        let mut login = ServerLogin::new(b"joe", with_password("secret"), BindingData::Unbound);
        while let ClientStep::Ask { request, next } = step {
            let sent = table.receive(login, &request, 0, &|_, _| {});
            let ServerStep::Send { payload, next: awaits } = sent else { panic!("{sent:?}") };
            login = awaits;
            step = next.handle(&payload, &mut table.theirs, &mut table.rng);
            step = step.at_once(&mut table.theirs);
        }
        assert!(matches!(step, ClientStep::Done { .. }), "{step:?}");
    }
}

#[test]
fn a_refusal_costs_one_derivation_whoever_is_refused() {
    let (md5, empty) = (Secret::parse(b"md5b350798a23d7544eb353a6f8dca231c2"), plain(""));
    let (scram, real) = (stored_scram("secret"), plain("secret"));
    let accounts = [
        AccountSecret::Missing,
        AccountSecret::NoPassword,
        AccountSecret::Known(&md5),
        AccountSecret::Known(&empty),
        AccountSecret::Known(&scram),
        AccountSecret::Known(&real),
    ];
    for method in [ProofMethod::Plain, ProofMethod::ScramSha256] {
        for account in accounts {
            let mut table = Table::new(1);
            // At the second attempt the cache has the user's keys, where it can have them.
            for attempt in 0..2 {
                let costs = table.refused(method, account);
                assert_eq!(costs, 1, "{method:?}, {account:?}, attempt {attempt}");
                if let AccountSecret::Known(Secret::Plain(_) | Secret::Scram(_)) = account {
                    table.play(method, account, with_password("secret"), &|_, _| {});
                }
            }
        }
    }
}

impl Table {
    /// How many derivations it costs our side to refuse a login with a wrong password.
    fn refused(&mut self, method: ProofMethod, account: AccountSecret<'_>) -> usize {
        let candidate = Candidate { user: b"joe", account, end_point: None };
        let mut step = client::begin(method, &candidate, 5, &mut self.rng);
        let mut login =
            Some(ServerLogin::new(b"joe", with_password("wrong"), BindingData::Unbound));
        let mut costs = 0;
        loop {
            step = match step {
                ClientStep::Ask { request, next } => {
                    let login_now = login.take().expect("a login that goes on");
                    let ServerStep::Send { payload, next: awaits } =
                        self.receive(login_now, &request, 0, &|_, _| {})
                    else {
                        panic!("nothing is answered");
                    };
                    login = Some(awaits);
                    next.handle(&payload, &mut self.theirs, &mut self.rng)
                }
                ClientStep::Derive { .. } => {
                    costs += 1;
                    step.at_once(&mut self.theirs)
                }
                ClientStep::Fail(_) => return costs,
                ClientStep::Done { .. } | ClientStep::Inquire { .. } => {
                    panic!("a wrong password opens")
                }
            };
        }
    }
}
