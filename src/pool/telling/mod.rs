//! What the pooler tells people: the words of every reason, counters, recent events. Plain data
//! that knows no record of the core.

pub mod events;
pub mod histogram;
pub mod journal;
pub mod latency;
pub mod reason;
pub mod refusal;
pub mod stats;
