//! Secrets do not stay in memory that was given back.

use std::hint::black_box;

/// Overwrites what is about to be freed. A best effort: the compiler is asked, not forced, to keep
/// the writes, and copies that it made on the way are out of reach.
#[inline(never)]
pub fn wipe(bytes: &mut [u8]) {
    bytes.fill(0);
    black_box(bytes);
}
