//! Logins: a client's from its first packet to its welcome, a server's from its address to its
//! first ReadyForQuery, and the lookup of a user that the user list does not have.

pub mod account;
pub mod auth_query;
mod choice;
mod console;
mod derive;
pub mod entry;
pub mod failure;
mod judged;
mod proof;
pub mod reports;
pub mod secure;
pub mod server_login;
