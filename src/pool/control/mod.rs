//! What operators ask for: PAUSE and its kin, KILL and SET, a new configuration.

pub mod admin;
pub mod pause;
pub mod reload;
mod users;
