//! What the core is given besides the configuration: who may log in, and the system it runs on.

use crate::auth::hba::HbaRules;
use crate::auth::ident::IdentMaps;
use crate::auth::ldap::Directory;
use crate::auth::secret::Secret;

/// What the files beside the configuration hold.
#[derive(Debug, Default)]
pub struct Access {
    /// The auth_file, in its order.
    pub users: Vec<(String, Secret)>,
    pub hba: HbaRules,
    pub ident: IdentMaps,
    /// auth_ldap_options; None where they are not set or make no sense.
    pub ldap: Option<Directory>,
}

/// What the core is told of the system that it runs on.
#[derive(Clone, Copy)]
pub struct Host {
    /// The user of the process.
    pub uid: u32,
    /// The name of a user of the system, for peer authentication.
    pub uid_name: fn(u32) -> Option<String>,
    /// Its name in the network.
    pub name: fn() -> Option<String>,
    /// How many files and connections the process may have open.
    pub descriptors: u64,
}
