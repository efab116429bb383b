//! The right to write the state of a client or a server.
//!
//! A state names the list that holds a record, and may be one half of a link whose other half is
//! the state of another record. So one place writes both together: a function that writes a state
//! takes a pass. `Core::new` issues the only pass, and `core::link` keeps it. The compiler demands
//! the pass, and `tests/tidy.rs` checks that no other is issued.

/// See the module.
pub struct Pass(());

impl Pass {
    /// Called in `core/mod.rs`, and nowhere else.
    pub(in crate::pool) fn issue() -> Pass {
        Pass(())
    }
}
