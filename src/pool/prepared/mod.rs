//! Prepared statements that follow their client from server to server: what a message that names
//! one becomes, and what the reply to it settles.

mod doubt;
pub mod drop_statement;
mod misnamed;
pub mod prepare;
pub mod presence;
pub mod repeat;
mod unnamed;
pub mod usual;
