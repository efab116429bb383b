//! Logins that LDAP or PAM judges: clients whose question has not been sent, and the number of
//! questions that are out.

use std::collections::VecDeque;

use crate::auth::inquiry::Judge;
use crate::auth::secret::Password;
use crate::pool::ids::ClientId;

/// The most questions that are out at a time. Each occupies a thread of the shell until it is
/// answered: a slow directory must not occupy more.
pub const QUESTIONS_OUT_MAX: usize = 8;

/// A question to a judge, in the record of the client's login.
#[derive(Debug)]
pub struct Question {
    pub judge: Judge,
    pub password: Password,
    pub is_sent: bool,
}

/// The questions of all logins.
#[derive(Debug, Default)]
pub struct Inquiries {
    /// Clients whose question has not been sent, oldest first. Some of them may be gone.
    pub waiting: VecDeque<ClientId>,
    /// The number of questions without an answer yet, with those of clients that are gone.
    pub out: usize,
}

impl Inquiries {
    /// Adds a client that waits. Clients that are gone are removed before they pile up.
    pub fn add(&mut self, id: ClientId, logins: usize, is_here: impl Fn(ClientId) -> bool) {
        if self.waiting.len() > 2 * logins {
            self.waiting.retain(|id| is_here(*id));
        }
        self.waiting.push_back(id);
    }
}
