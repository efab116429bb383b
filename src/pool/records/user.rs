//! A user: from the user list, a `[users]` line, a database line, or the login of a client (with
//! auth_type any the user need not be known).

use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::time::Moment;
use crate::config::UserLine;
use crate::crypto::scram::ScramKeys;
use crate::pool::ids::{PoolId, UserKind};

pub struct User {
    pub name: Box<str>,
    /// The secret in the user list, or on the database line that forces this user.
    pub secret: Option<Secret>,
    /// The keys of a client that proved the stored SCRAM secret: they open servers that store the
    /// same.
    pub keys: Option<ScramKeys>,
    /// The `[users]` line, where there is one.
    pub line: Option<UserLine>,
    /// The configuration with which the user list last named the user; 0 if the list does not name
    /// it.
    pub listed_in: u64,
    /// The last configuration that changed the secret, or in which the user list no longer had the
    /// user.
    pub changed_in: u64,
    /// Pools whose servers log in as this user, in no order.
    pub pools: Vec<PoolId>,
    /// Server connections of all its pools, including those in login.
    pub servers: u32,
    /// Logged-in clients.
    pub clients: u32,
    /// When it was last noted that a limit was reached.
    pub limit_noted: Option<Moment>,
}

impl Record for User {
    type Kind = UserKind;
}

impl User {
    pub fn new(name: &str) -> User {
        User {
            name: name.into(),
            secret: None,
            keys: None,
            line: None,
            listed_in: 0,
            changed_in: 0,
            pools: Vec::new(),
            servers: 0,
            clients: 0,
            limit_noted: None,
        }
    }

    /// Whether the files name the user.
    pub fn is_listed(&self) -> bool {
        self.line.is_some() || self.listed_in != 0
    }
}
