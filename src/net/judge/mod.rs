//! Asks an LDAP directory ([`ldap`]) or PAM about passwords, on helper threads: an answer may take
//! long, and the modules of PAM do what they like.

mod ldap;
#[cfg(feature = "tls")]
mod tls;

use super::jobs::{Jobs, Wake};
use crate::auth::inquiry::{Inquiry, Judge, Judgement};
use crate::pool::ids::ClientId;
use crate::sys::pam;

/// The stack of a helper thread: room for the modules of PAM and for the C library's resolver.
const STACK_BYTES: usize = 1024 * 1024;

/// Asks judges without blocking. The core bounds how many questions are under way.
pub struct Judges(Jobs<ClientId, ()>);

impl Judges {
    /// `wake` is called on a helper thread whenever an answer is there to be fetched.
    pub fn new(wake: Wake) -> Judges {
        Judges(Jobs::new("judge", STACK_BYTES, wake))
    }

    pub fn ask(&mut self, client: ClientId, inquiry: Inquiry) {
        self.0.start(client, move || answer(&inquiry));
    }

    /// The answers that came since the last call.
    pub fn verdicts(&mut self) -> impl Iterator<Item = (ClientId, Judgement)> + '_ {
        std::iter::from_fn(|| self.0.next_done())
    }
}

/// Asks the judge. Blocks.
fn answer(inquiry: &Inquiry) -> Judgement {
    let Inquiry { judge, user, password, address } = inquiry;
    match judge {
        Judge::Ldap(directory) => ldap::ask(directory, user, password),
        Judge::Pam { service } => {
            let host = address.map_or_else(|| "[local]".to_owned(), |address| address.to_string());
            pam::authenticate(service, user, password.as_bytes(), &host)
        }
    }
}
