//! Servers for pools: how they are opened, and what the shell tells of their ends.

pub mod gone;
pub mod launch;
