//! What a scrape reads, a few rows at a time.

use super::View;
use super::exposition::Snapshot;

/// A kind of rows.
pub trait Walk {
    /// Reads at most `most` rows, and lowers `most` by as many. Returns whether all rows are read.
    fn go_on(&mut self, snapshot: &mut Snapshot, view: View<'_>, most: &mut usize) -> bool;
}

/// Takes at most `most` ids off the list, and lowers `most` by as many.
pub fn take<T>(ids: &mut Vec<T>, most: &mut usize) -> Vec<T> {
    let taken = ids.split_off(ids.len().saturating_sub(*most));
    *most -= taken.len();
    taken
}
