//! The configuration: from the text of `pgbouncer.ini` to typed values, and what differs between
//! two of them.
//!
//! [`load`] reads everything, gathers every mistake, and gives a whole [`Config`] or none. It
//! touches no disk: files come through [`FileReader`]. What the settings do is not known here.

mod choice;
mod choices;
pub mod database;
pub mod diagnostic;
pub mod diff;
pub mod fuzz;
pub mod host;
pub mod ini;
mod lenient;
pub mod line;
pub mod load;
mod methods;
mod number;
pub mod peer;
pub mod reference;
pub mod security;
pub mod settings;
pub mod table;
#[cfg(test)]
mod tests;
mod text;
pub mod user;
pub mod value;

pub use choice::{
    AuthType, ChannelBinding, LoadBalanceHosts, LogFormat, Negotiation, PoolMode, ServerAbandon,
    ServerAuth, SessionState, TlsMode,
};
pub use choices::Choices;
pub use database::DatabaseLine;
pub use diagnostic::{ConfigProblem, Diagnostic, FilePlace};
pub use diff::diff;
pub use fuzz::fuzz;
pub use host::Host;
pub use ini::FileReader;
pub use load::{Config, DATABASE_NAME_BYTES_MAX, load};
pub use methods::AuthMethods;
pub use number::seconds;
pub use peer::PeerLine;
pub use reference::{manual, sample_ini};
pub use settings::Settings;
pub use table::SettingRow;
pub use user::UserLine;
pub use value::ValueError;

#[cfg(test)]
pub use load::load_text;
#[cfg(test)]
pub use text::HiddenText;
