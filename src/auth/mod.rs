//! Who may log in, and how the pooler logs in to servers: login of clients and login to servers as
//! state machines, secrets, the user list, HBA rules and ident maps as parsed data.
//!
//! Nothing here reads a file, a socket or a clock. State machines take the payload of a message
//! (what follows its head) and give the payload of the next one back; files come in as text.

mod answer;
pub mod cache;
pub mod client;
pub mod failure;
pub mod fuzz;
pub mod hba;
pub mod hba_file;
pub mod ident;
pub mod inquiry;
pub mod known;
pub mod ldap;
pub mod request;
pub mod secret;
pub mod server;
pub mod userlist;
mod words;

#[cfg(test)]
mod exchange;
