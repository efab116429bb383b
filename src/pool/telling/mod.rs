//! What people are told: the words of every reason, what is counted, what happened of late. Plain
//! data, which knows no record of the core.

pub mod events;
pub mod histogram;
pub mod journal;
pub mod latency;
pub mod reason;
pub mod refusal;
pub mod stats;
