//! What the core is given besides the configuration: who may log in, and the system it runs on.

use crate::auth::hba::HbaRules;
use crate::auth::ident::IdentMaps;
use crate::auth::known::Known;
use crate::auth::ldap::Directory;
use crate::auth::secret::Secret;
use crate::auth::userlist::UserListEntry;

/// What the files beside the configuration hold.
#[derive(Debug, Default)]
pub struct Access {
    pub users: Users,
    /// By what the auth_file is known again.
    pub known: Known,
    pub hba: HbaRules,
    pub ident: IdentMaps,
    /// auth_ldap_options; None where they are not set or make no sense.
    pub ldap: Option<Directory>,
}

/// The users of the auth_file. Who takes them over keeps no list of them beside his records.
#[derive(Debug, Default)]
pub enum Users {
    /// Those that are known stay: the file is what it was, or cannot be read.
    #[default]
    AsBefore,
    /// In the order of the file; of two entries with one name the later counts.
    Listed(Vec<UserListEntry>),
}

impl Users {
    /// The entries that are new: all of them where none were known.
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

/// What the core is told of the system that it runs on.
#[derive(Clone, Copy)]
pub struct SystemFacts {
    /// The user of the process.
    pub uid: u32,
    /// The name of a user of the system, for peer authentication.
    pub uid_name: fn(u32) -> Option<String>,
    /// Its name in the network.
    pub name: fn() -> Option<String>,
    /// How many files and connections the process may have open.
    pub descriptors: u64,
}
