//! Logins that somebody else judges: who waits for the question to be sent, and how many are out.

use std::collections::VecDeque;

use crate::auth::inquiry::Judge;
use crate::auth::secret::Password;
use crate::pool::ids::ClientId;

/// Questions that are out at a time. Each takes a thread of the shell's until it is answered: a
/// directory that is slow to answer is not to take more of them.
pub const OUT_MAX: usize = 8;

/// A question to a judge, as the client's login holds it.
#[derive(Debug)]
pub struct Question {
    pub judge: Judge,
    pub password: Password,
    pub is_sent: bool,
}

/// Questions of all logins.
#[derive(Debug, Default)]
pub struct Inquiries {
    /// Clients whose question has not been sent, oldest first. Some of them may be gone.
    pub waiting: VecDeque<ClientId>,
    /// Questions without an answer yet, those of clients that are gone included.
    pub out: usize,
}

impl Inquiries {
    /// One more client waits. Those who went away while they waited are not to pile up.
    pub fn add(&mut self, id: ClientId, logins: usize, is_here: impl Fn(ClientId) -> bool) {
        if self.waiting.len() > 2 * logins {
            self.waiting.retain(|id| is_here(*id));
        }
        self.waiting.push_back(id);
    }
}
