//! Servers for pools: how many, when and where they are opened, and when they have had their time.

pub mod abandon;
pub mod launch;
pub mod retire;
