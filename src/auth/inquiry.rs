//! Passwords that somebody else judges: an LDAP directory, or PAM. What is asked of them stands
//! here; how they are reached does not.

use std::net::IpAddr;

use super::ldap::Directory;
use super::secret::Password;

/// Who judges a password in the pooler's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judge {
    Ldap(Box<Directory>),
    /// By the name of a service of PAM.
    Pam {
        service: Box<str>,
    },
}

/// The service of PAM where nothing else is said.
pub const PAM_SERVICE: &str = "pgbouncer";

impl Judge {
    pub fn pam() -> Judge {
        Judge::Pam { service: PAM_SERVICE.into() }
    }

    /// What a client is told whom the judge does not vouch for.
    pub fn refusal(&self) -> &'static str {
        match self {
            Judge::Ldap(_) => LDAP_REFUSAL,
            Judge::Pam { .. } => "PAM authentication failed",
        }
    }
}

/// What clients are told of an LDAP directory that does not vouch for them, or is not there.
pub const LDAP_REFUSAL: &str = "LDAP authentication failed";

/// A question to a judge.
#[derive(Debug)]
pub struct Inquiry {
    pub judge: Judge,
    pub user: String,
    /// It is not empty.
    pub password: Password,
    /// Where the client is; None for a Unix socket.
    pub address: Option<IpAddr>,
}

/// Whether the user is who it says; if not, why, for the log.
pub type Judgement = Result<(), String>;
