//! What one run sends to the other side. As long as it is one stretch of what was read, it is sent
//! from where it was read; only when something is left out, put in or changed is it copied.

use std::ops::Range;

/// The bytes of one run, for one destination.
#[derive(Default)]
pub struct Outgoing {
    /// The stretch of the read bytes that follows `copied`.
    stretch: Range<usize>,
    copied: Vec<u8>,
}

/// Room that is kept for the next run, in bytes.
const KEPT: usize = 128 * 1024;

impl Outgoing {
    pub fn clear(&mut self) {
        self.stretch = 0..0;
        self.copied.clear();
        self.copied.shrink_to(KEPT);
    }

    /// Adds a stretch of `data`.
    #[inline(always)]
    pub fn forward(&mut self, data: &[u8], stretch: Range<usize>) {
        if self.stretch.is_empty() {
            self.stretch = stretch;
        } else if self.stretch.end == stretch.start {
            self.stretch.end = stretch.end;
        } else {
            self.copy(data);
            self.stretch = stretch;
        }
    }

    /// Adds bytes that were not read.
    pub fn insert(&mut self, data: &[u8], bytes: &[u8]) {
        self.copy(data);
        self.copied.extend_from_slice(bytes);
    }

    fn copy(&mut self, data: &[u8]) {
        self.copied.extend_from_slice(&data[self.stretch.clone()]);
        self.stretch = 0..0;
    }

    /// All of it, in order, in one piece.
    pub fn bytes<'a>(&'a mut self, data: &'a [u8]) -> &'a [u8] {
        if self.copied.is_empty() {
            return &data[self.stretch.clone()];
        }
        self.copy(data);
        &self.copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_and_put_in_comes_out_in_order() {
        let data = b"0123456789";
        let mut out = Outgoing::default();
        out.forward(data, 0..2);
        out.forward(data, 2..4);
        assert_eq!(out.bytes(data), b"0123");
        out.insert(data, b"ab");
        out.forward(data, 5..6);
        out.forward(data, 8..10);
        assert_eq!(out.bytes(data), b"0123ab589");
        out.clear();
        assert_eq!(out.bytes(data), b"");
    }
}
