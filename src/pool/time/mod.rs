//! What time brings about.

pub mod sweep;
