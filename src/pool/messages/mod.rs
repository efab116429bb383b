//! What each message means, from clients and from servers: the path of every transaction.

mod doubt;
pub mod first;
pub mod judge;
pub mod judge_server;
mod listen;
mod pin;
pub mod routine;
mod slow;
mod watched;
