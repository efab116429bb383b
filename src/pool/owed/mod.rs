//! What a server owes and what it has: requests under way and their replies, a query that may be
//! sent again, parameters. And the verdicts that a judge can give on a message.

mod bar;
mod copy;
pub mod kept;
pub mod misnamed;
pub mod outgoing;
mod owner;
pub mod replies;
pub mod reply;
pub mod request;
pub mod said;
pub mod unnamed;
mod value;
pub mod varcache;
pub mod verdict;
pub mod wishes;
