//! Prepared statements as data: texts and their numbers, the names that clients have for them, what
//! a server holds, and how a DEALLOCATE is told from other SQL.

pub mod deallocate;
pub mod held;
pub mod names;
pub mod table;
