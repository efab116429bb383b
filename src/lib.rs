//! A PostgreSQL connection pooler. The floors of the house, from the ground up, are the modules
//! below in this order; ARCHITECTURE.md says what each knows and `tests/tidy.rs` holds them apart.
//!
//! The library is private to the program: it offers [`run`] and the entry points that tests and
//! fuzz targets need.

mod base;
mod sys;

mod log;

mod crypto;
mod wire;

mod config;

mod auth;

mod pool;

mod console;

mod relay;

mod net;

mod daemon;

pub use daemon::run;
