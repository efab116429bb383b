//! Prepared statements that follow their client from server to server: what a message that names
//! one becomes, and what the reply to it settles.

mod bounds;
mod doubt;
pub mod drop_statement;
pub mod prepare;
pub mod repeat;
pub mod settle;
mod unnamed;
