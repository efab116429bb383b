//! What the core gets besides the configuration: the users, the login rules, and facts about the
//! system.

use crate::auth::hba::HbaRules;
use crate::auth::ident::IdentMaps;
use crate::auth::known::Known;
use crate::auth::ldap::Directory;
use crate::auth::secret::Secret;
use crate::auth::userlist::UserListEntry;

/// The contents of the files beside the configuration.
#[derive(Debug, Default)]
pub struct Access {
    pub users: Users,
    /// How the auth_file is recognised when it is read again.
    pub known: Known,
    pub hba: HbaRules,
    pub ident: IdentMaps,
    /// auth_ldap_options; None if it is not set or makes no sense.
    pub ldap: Option<Directory>,
}

/// The users of the auth_file. They are moved into the records, so no second list is kept.
#[derive(Debug, Default)]
pub enum Users {
    /// The known users stay: the file has not changed, or cannot be read.
    #[default]
    AsBefore,
    /// The entries in the order of the file; of two with one name the later counts.
    Listed(Vec<UserListEntry>),
}

impl Users {
    /// The entries that are new: all entries if no users were known.
    pub fn new_ones(&self) -> impl Iterator<Item = (&str, &Secret)> {
        let entries = match self {
            Users::AsBefore => &[][..],
            Users::Listed(list) => list,
        };
        entries.iter().filter_map(|entry| match entry {
            UserListEntry::New { name, secret } => Some((name.as_str(), secret)),
            UserListEntry::Same(_) => None,
        })
    }
}

impl FromIterator<(String, Secret)> for Users {
    fn from_iter<I: IntoIterator<Item = (String, Secret)>>(entries: I) -> Users {
        let new = |(name, secret)| UserListEntry::New { name, secret };
        Users::Listed(entries.into_iter().map(new).collect())
    }
}

/// What the core knows of the system it runs on.
#[derive(Clone, Copy)]
pub struct SystemFacts {
    /// The user id of the process.
    pub uid: u32,
    /// The name of a system user, for peer authentication.
    pub uid_name: fn(u32) -> Option<String>,
    /// The host name of the machine.
    pub name: fn() -> Option<String>,
    /// The most files and connections that the process may have open.
    pub descriptors: u64,
}
