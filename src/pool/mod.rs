//! The core: who is connected, who has which server, who waits, and what each message means.
//!
//! It is a value with methods and does no I/O. Its rooms stand on floors: a room may use rooms with
//! a lower number, none with the same or a higher one. That holds for imports and for calls of
//! methods alike (`tests/tidy.rs`).
//!
//! 1. [`ids`]
//! 2. [`telling`], [`statements`], [`owed`]
//! 3. [`records`]
//! 4. [`core`]: the value itself, every move of a record, the life of connections, the plan
//! 5. [`supply`], [`cancel`]
//! 6. [`prepared`], [`login`]
//! 7. [`control`]
//! 8. [`messages`] (the judges), [`time`]
//! 9. `check`: what must hold; beside it `model`, for tests
//!
//! A room never calls up: what it wants of a higher one it notes, and that one does it in the turn.

pub mod cancel;
#[cfg(any(test, debug_assertions))]
mod check;
pub mod control;
pub mod core;
pub mod ids;
pub mod login;
pub mod messages;
#[cfg(test)]
mod model;
pub mod owed;
pub mod prepared;
pub mod records;
pub mod statements;
pub mod supply;
pub mod telling;
pub mod time;
