//! Who may read the pages: with `metrics_auth`, users who may log in to the console, by their
//! password (HTTP Basic). A wrong password is refused late, so that guesses are few, and always
//! after the same time, so that the time tells nothing. SCRAM keys are derived in slices.

use std::collections::VecDeque;
use std::time::Duration;

use super::request::HttpRequest;
use crate::auth::secret::Secret;
use crate::crypto::compare;
use crate::crypto::key::{KEY_BYTES, ScramKey};
use crate::crypto::scram::{Derivation, hmac};
use crate::pool::core::Core;

/// The time from the beginning of a connection to its refusal.
pub const REFUSAL_DELAY: Duration = Duration::from_secs(1);

/// Iterations in one turn of the loop.
const SLICE_ITERATIONS: u32 = 1024;

/// Logins that are remembered, so that their SCRAM keys need not be derived again.
const MOST_KNOWN: usize = 8;

/// Whether a request may be answered.
pub enum Admission {
    Granted,
    Refused,
    /// The password must be checked first, which takes several turns of the loop.
    Check(Box<Check>),
}

/// A password that is being compared with the keys of a secret.
pub struct Check {
    derivation: Derivation,
    stored_key: ScramKey,
    name: [u8; KEY_BYTES],
}

/// Remembers logins, so that the SCRAM keys of a scraper are derived once.
#[derive(Default)]
pub struct Keeper {
    /// A random key of this process; empty until the first login that needs SCRAM keys.
    process_key: Vec<u8>,
    known: VecDeque<[u8; KEY_BYTES]>,
}

impl Check {
    /// Does a slice of the work. Returns whether the password is right, once that is known.
    pub fn advance(&mut self) -> Option<bool> {
        self.derivation.advance(SLICE_ITERATIONS);
        let keys = self.derivation.keys()?;
        Some(compare::equal(keys.stored_key().as_bytes(), self.stored_key.as_bytes()))
    }
}

impl Keeper {
    /// Decides about a request. `random` makes the key of the process.
    pub fn admit(
        &mut self,
        core: &Core,
        request: &HttpRequest,
        random: &mut dyn FnMut(&mut [u8]),
    ) -> Admission {
        let is_open =
            request.path == "/healthz" || (request.path == "/readyz" && request.query.is_empty());
        if is_open || !core.settings().metrics_auth {
            return Admission::Granted;
        }
        let Some((user, password)) = &request.login else { return Admission::Refused };
        let password = password.as_bytes();
        let Some(secret) = secret_of(core, user) else { return Admission::Refused };
        match secret {
            Secret::Plain(known) => granted(compare::equal(known.as_bytes(), password)),
            Secret::Md5(known) => {
                let sent = crate::crypto::md5::stored(password, user);
                granted(compare::equal(known, &sent))
            }
            Secret::Scram(verifier) => {
                if self.process_key.is_empty() {
                    self.process_key = vec![0; KEY_BYTES];
                    random(&mut self.process_key);
                }
                let stored_key = verifier.stored_key.clone();
                let length = (user.len() as u64).to_be_bytes();
                let parts: [&[u8]; 4] = [&length, user, password, stored_key.as_bytes()];
                let name = *hmac(&self.process_key, &parts).as_bytes();
                if self.known.contains(&name) {
                    return Admission::Granted;
                }
                let derivation = Derivation::new(password, &verifier.salt, verifier.iterations);
                Admission::Check(Box::new(Check { derivation, stored_key, name }))
            }
        }
    }

    /// Remembers a login that was right.
    pub fn remember(&mut self, check: &Check) {
        if self.known.len() == MOST_KNOWN {
            self.known.pop_front();
        }
        self.known.push_back(check.name);
    }
}

fn granted(is_right: bool) -> Admission {
    if is_right { Admission::Granted } else { Admission::Refused }
}

/// The secret of a user who may read.
fn secret_of<'a>(core: &'a Core, user: &[u8]) -> Option<&'a Secret> {
    let user = std::str::from_utf8(user).ok()?;
    let settings = core.settings();
    let may = settings.admin_users.contains(user) || settings.stats_users.contains(user);
    let id = core.directory.find_user(user).filter(|_| may)?;
    core.users[id].secret.as_ref()
}
