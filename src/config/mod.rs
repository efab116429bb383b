//! The configuration: from the text of `pgbouncer.ini` to typed values, and what differs between two
//! of them.
//!
//! [`load`] reads everything, gathers every mistake, and gives a whole [`Config`] or none. It touches
//! no disk: files come through [`Files`]. It does not know what the settings do.

pub mod database;
pub mod diagnostic;
pub mod ini;
pub mod line;
pub mod load;
pub mod peer;
pub mod settings;
pub mod table;
pub mod user;
pub mod value;

pub use database::DatabaseLine;
pub use diagnostic::{Diagnostic, Place, Problem};
pub use ini::Files;
pub use line::{Host, Hosts};
pub use load::{Config, load, load_text};
pub use peer::PeerLine;
pub use settings::Settings;
pub use user::UserLine;
pub use value::{
    AuthType, LoadBalanceHosts, Names, PoolMode, Secret, ServerAbandon, TlsMode, ValueError,
};
