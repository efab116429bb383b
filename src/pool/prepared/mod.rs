//! Prepared statements that follow their client from server to server: how messages that name a
//! statement are changed, and what their replies mean.

mod doubt;
pub mod drop_statement;
mod misnamed;
pub mod prepare;
pub mod presence;
mod query;
pub mod repeat;
pub mod unnamed;
pub mod usual;
