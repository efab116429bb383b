//! What a scrape reads, a few rows at a time.

use super::View;
use super::exposition::Snapshot;

/// Rows of one kind.
pub trait Walk {
    /// Reads as many rows as `most` says, and takes them off it. Returns whether it is done.
    fn go_on(&mut self, snapshot: &mut Snapshot, view: View<'_>, most: &mut usize) -> bool;
}

/// The next ones of a list of ids, as many as `most` says.
pub fn take<T>(ids: &mut Vec<T>, most: &mut usize) -> Vec<T> {
    let taken = ids.split_off(ids.len().saturating_sub(*most));
    *most -= taken.len();
    taken
}
