//! A user: of the userlist, of a [users] line, of a database line, or one that came in without
//! having to be known (auth_type any).

use crate::auth::secret::Secret;
use crate::base::arena::Record;
use crate::base::time::Moment;
use crate::config::UserLine;
use crate::crypto::scram::ScramKeys;
use crate::pool::ids::{PoolId, UserKind};

pub struct User {
    pub name: Box<str>,
    /// Of the userlist, or of the database line that forces this user.
    pub secret: Option<Secret>,
    /// From a client that proved the stored SCRAM secret: opens servers that store the same.
    pub keys: Option<ScramKeys>,
    /// The [users] line, where there is one.
    pub line: Option<UserLine>,
    /// The configuration with which the userlist that names it was read; 0 if none does.
    pub listed_in: u64,
    /// The configuration with which its secret changed, or the userlist ceased to name it, last.
    pub changed_in: u64,
    /// Pools whose servers log in as this user, in no order.
    pub pools: Vec<PoolId>,
    /// Sessions at servers, of all its pools.
    pub servers: u32,
    /// Logged-in clients.
    pub clients: u32,
    /// When one of its limits was met and noted last.
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

    /// Whether the files name it.
    pub fn is_listed(&self) -> bool {
        self.line.is_some() || self.listed_in != 0
    }
}
