//! Passwords that an LDAP directory or PAM judges: the questions to them, and their answers. How
//! they are reached is the matter of `net::judge`.

use std::net::IpAddr;

use super::ldap::Directory;
use super::secret::Password;

/// Who judges a password in the pooler's place.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judge {
    Ldap(Box<Directory>),
    /// PAM, by the name of one of its services.
    Pam {
        service: Box<str>,
    },
}

/// The PAM service where the configuration names none.
pub const PAM_SERVICE: &str = "pgbouncer";

impl Judge {
    pub fn pam() -> Judge {
        Judge::Pam { service: PAM_SERVICE.into() }
    }

    /// What a client is told when the judge does not accept its password.
    pub fn refusal(&self) -> &'static str {
        match self {
            Judge::Ldap(_) => LDAP_REFUSAL,
            Judge::Pam { .. } => "PAM authentication failed",
        }
    }
}

/// What a client is told when the LDAP directory does not accept its password, or cannot be
/// reached.
pub const LDAP_REFUSAL: &str = "LDAP authentication failed";

/// A question to a judge.
#[derive(Debug)]
pub struct Inquiry {
    pub judge: Judge,
    pub user: String,
    /// Never empty.
    pub password: Password,
    /// The client's address; None for a Unix socket.
    pub address: Option<IpAddr>,
}

/// Whether the user is who it claims to be; if not, the reason for the log.
pub type Judgement = Result<(), String>;
