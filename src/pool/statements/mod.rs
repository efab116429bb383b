//! Prepared statements as data: texts and their numbers, the names that clients have for them, what
//! a server holds. And what is found out about a text: whether it is a DEALLOCATE, and what it may
//! leave in the session of its server.

pub mod deallocate;
pub mod held;
mod lexer;
pub mod names;
pub mod plain;
pub mod scan;
mod set_config;
pub mod table;
pub mod traces;
