//! A PostgreSQL connection pooler. The floors of the house, from the ground up, are the modules
//! below in this order; ARCHITECTURE.md says what each knows and `tests/tidy.rs` holds them apart.
//!
//! The library is private to the program: it offers [`run`] and the entry points that tests and
//! fuzz targets need.

mod base;
mod sys;

mod log;

mod crypto;
mod wire;

mod config;

mod auth;

mod pool;

mod console;

mod pages;
mod relay;

mod net;

mod daemon;

pub use daemon::run;

/// Entry points for fuzzing: each takes arbitrary bytes, and neither panics nor runs on for ever.
pub mod fuzz {
    pub use crate::auth::fuzz::{
        fuzz_client_login as client_login, fuzz_hba as hba, fuzz_server_login as server_login,
        fuzz_userlist as userlist,
    };
    pub use crate::auth::ldap::fuzz as ldap;
    pub use crate::config::fuzz as ini;
    pub use crate::pages::request::fuzz as request;
    pub use crate::pool::records::lookup::fuzz as lookup;
    pub use crate::relay::fuzz::{SAMPLES as RELAY_SAMPLES, fuzz as relay};
    pub use crate::wire::startup::fuzz as startup;
}

/// Texts that come from the table of settings: the sample file, and the settings' part of the
/// manual page.
pub mod reference {
    pub use crate::config::{manual, sample_ini};
}
