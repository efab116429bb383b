//! What a server owes and has been given: the requests under way and their replies, what is kept of
//! a query to send it again, the parameters that were set; and what a judge may say of a message.

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
