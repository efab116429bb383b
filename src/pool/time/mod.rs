//! What time brings about.

mod listening;
pub mod sweep;
