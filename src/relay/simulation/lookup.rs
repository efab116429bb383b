//! How a simulated server answers auth_query: by a plan with one letter for each query.
//!
//! `g` finds the user; so do `s` after a while and `S` after a long while. `n` finds no user, `0` a
//! user without a secret. The faults: `e` is an error, `t` two rows, `o` a row of another user, `c`
//! a single column.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::session::{Failure, Out, ROW_DESCRIPTION, Session, failure};
use super::setup::PASSWORD;
use super::sql::Lookup;
use crate::auth::client::ProofMethod;
use crate::base::rng::{Rng, SeededRng};
use crate::crypto::md5;
use crate::crypto::scram::{ScramKeys, Verifier};
use crate::wire::kind::Back;

pub const FAULTS: &str = "etoc";
pub const NOBODY: &str = "n0";

pub fn has_one_of(plan: &str, letters: &str) -> bool {
    plan.contains(|letter| letters.contains(letter))
}

/// A plan. Under `trust` it has no user without a secret.
pub fn plan(auth: &str, rng: &mut SeededRng) -> String {
    let letters = match (rng.below(3), auth) {
        (0, _) => "gsS",
        (_, "trust") => "gggsSnetoc",
        _ => "gggsSn0etoc",
    };
    let mut letter = || {
        let at = rng.below(letters.len() as u64) as usize;
        &letters[at..=at]
    };
    (0..7).map(|_| letter()).collect()
}

/// A form of the secret that opens both the pooler and its servers.
pub fn form(auth: &str, method: ProofMethod, rng: &mut SeededRng) -> &'static str {
    let opens_scram = auth != "trust" && method != ProofMethod::Plain;
    let opens_md5 =
        auth != "scram-sha-256" && matches!(method, ProofMethod::Trust | ProofMethod::Md5);
    match rng.below(3) {
        0 if opens_scram => "scram",
        1 if opens_md5 => "md5",
        _ => "plain",
    }
}

/// The secret as a server stores it.
pub fn stored(form: &str, user: &[u8]) -> Vec<u8> {
    match form {
        "md5" => md5::stored(PASSWORD, user).to_vec(),
        "scram" => {
            let salt = b"saltsaltsaltsalt";
            let keys = ScramKeys::derive(PASSWORD, salt, 1);
            let Verifier { stored_key, server_key, .. } = Verifier::derive(&keys, salt, 1);
            let text = |bytes: &[u8]| BASE64_STANDARD.encode(bytes);
            let (stored, server) = (text(stored_key.as_bytes()), text(server_key.as_bytes()));
            format!("SCRAM-SHA-256$1:{}${stored}:{server}", text(salt)).into()
        }
        _ => PASSWORD.to_vec(),
    }
}

impl Session {
    fn letter(&self, lookup: &Lookup) -> u8 {
        let at = self.number as usize + self.lookups;
        lookup.plan.as_bytes()[at % lookup.plan.len()]
    }

    pub(super) fn describe_lookup(&mut self, lookup: &Lookup) {
        let description = match self.letter(lookup) {
            b'c' => &[&[0, 1], &ROW_DESCRIPTION[2..2 + ROW_DESCRIPTION.len() / 2]].concat(),
            _ => ROW_DESCRIPTION,
        };
        self.push(Back::RowDescription, description);
    }

    pub(super) fn look_up(&mut self, lookup: &Lookup, values: &[Vec<u8>]) -> Result<(), Failure> {
        let letter = self.letter(lookup);
        self.lookups += 1;
        let user = values.first().ok_or_else(|| failure("08P01", "a lookup without a name"))?;
        let secret = stored(&lookup.form, user);
        match letter {
            b'e' => return Err(failure("42501", "permission denied")),
            b'n' => {}
            b'0' => self.push_values(&[Some(user), None]),
            b'c' => self.push_values(&[Some(user)]),
            b'o' => self.push_values(&[Some(b"somebody"), Some(&secret)]),
            b't' => (0..2).for_each(|_| self.push_values(&[Some(user), Some(&secret)])),
            _ => {
                let sleep_us = match letter {
                    b's' => 1000 << (self.lookups % 7),
                    b'S' => 2_000_000,
                    _ => 0,
                };
                self.push_out(Out::Sleep(sleep_us));
                self.push_values(&[Some(user), Some(&secret)]);
            }
        }
        self.complete("SELECT 1");
        Ok(())
    }

    fn push_values(&mut self, values: &[Option<&[u8]>]) {
        let mut body = (values.len() as u16).to_be_bytes().to_vec();
        for value in values {
            body.extend(value.map_or(-1, |value| value.len() as i32).to_be_bytes());
            body.extend(value.unwrap_or_default());
        }
        self.push(Back::DataRow, &body);
    }
}
