//! The arithmetic of password authentication: PostgreSQL's MD5 scheme, SCRAM-SHA-256, comparison in
//! constant time and nonces. Values go in and come out. Who asks whom, in which order, and what a
//! failure means is decided in `auth/`. Randomness is handed in.

pub mod compare;
pub mod key;
pub mod md5;
pub mod nonce;
mod normal;
pub mod saslprep;
pub mod scram;
pub mod scram_message;
mod unicode;
