//! The right to write the state of a client or a server.
//!
//! A state is the list that a record stands in, and half of a link whose other half is another
//! record's state. So it is written in one place, together with those. The compiler sees to it:
//! who writes a state must show a pass, there is one, and `core::link` keeps it to itself.

/// See the module. `Core::new` has it issued, once.
pub struct Pass(());

impl Pass {
    pub(in crate::pool) fn issue() -> Pass {
        Pass(())
    }
}
