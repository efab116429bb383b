//! What every floor stands on: typed slots, threaded lists, moments and random
//! numbers, and escapes in text. Nothing here knows of PostgreSQL.

pub mod arena;
pub mod id_map;
pub mod interned;
pub mod json;
pub mod list;
pub mod order;
pub mod places;
pub mod queue;
pub mod rng;
pub mod slots;
pub mod text;
pub mod time;
pub mod wipe;
