//! The right to write the state of a client or a server.
//!
//! A state is the list that a record stands in, and half of a link whose other half is another
//! record's state. So it is written in one place, together with those: who writes a state must show
//! a pass. `Core::new` has one issued, and `core::link` keeps it to itself. The compiler asks for
//! the pass, and `tests/tidy.rs` sees to it that no other is issued.

/// See the module.
pub struct Pass(());

impl Pass {
    /// Called in `core/mod.rs`, and nowhere else.
    pub(in crate::pool) fn issue() -> Pass {
        Pass(())
    }
}
