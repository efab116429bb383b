//! The frontend/backend protocol as bytes: heads, kinds, fields, startup packets, SQLSTATEs.
//! It knows the shape of messages and their limits, not what a pooler does with them.
//!
//! Source: PostgreSQL manual, "Frontend/Backend Protocol", sections "Message Formats" and
//! "Error and Notice Message Fields".

pub mod build;
pub mod fields;
pub mod formats;
pub mod head;
pub mod kind;
pub mod sqlstate;
pub mod startup;
