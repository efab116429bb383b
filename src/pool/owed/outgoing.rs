//! The bytes that one run sends to one destination. As long as they are one stretch of what was
//! read, they are sent from the read buffer; they are copied only when a message is left out, added
//! or changed.

use std::ops::Range;

/// The bytes of one run for one destination, in order.
#[derive(Default)]
pub struct OutgoingBytes<'a> {
    /// The bytes that were read, from which stretches are passed on.
    data: &'a [u8],
    /// The stretch of `data` that is sent after `copied`.
    stretch: Range<usize>,
    copied: Vec<u8>,
}

/// The most memory that is kept for the next run, in bytes.
const KEPT_BYTES: usize = 128 * 1024;

impl<'a> OutgoingBytes<'a> {
    /// No bytes yet. `room` is the memory of an earlier run.
    #[inline]
    pub fn new(data: &'a [u8], mut room: Vec<u8>) -> OutgoingBytes<'a> {
        room.clear();
        OutgoingBytes { data, stretch: 0..0, copied: room }
    }

    /// Returns the memory for the next run, when all bytes have been sent.
    #[inline]
    pub fn take_room(&mut self) -> Vec<u8> {
        let mut room = std::mem::take(&mut self.copied);
        if room.capacity() > KEPT_BYTES {
            room.clear();
            room.shrink_to(KEPT_BYTES);
        }
        room
    }

    /// Adds a stretch of the bytes that were read.
    #[inline(always)]
    pub fn forward(&mut self, stretch: Range<usize>) {
        if self.stretch.is_empty() {
            self.stretch = stretch;
        } else if self.stretch.end == stretch.start {
            self.stretch.end = stretch.end;
        } else {
            self.copy();
            self.stretch = stretch;
        }
    }

    /// The buffer for bytes that were not read.
    pub fn words(&mut self) -> &mut Vec<u8> {
        self.copy();
        &mut self.copied
    }

    fn copy(&mut self) {
        self.copied.extend_from_slice(&self.data[self.stretch.clone()]);
        self.stretch = 0..0;
    }

    /// All bytes in one piece.
    #[inline]
    pub fn bytes(&mut self) -> &[u8] {
        if self.copied.is_empty() {
            return &self.data[self.stretch.clone()];
        }
        self.copy();
        &self.copied
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_and_put_in_comes_out_in_order() {
        let mut out = OutgoingBytes::new(b"0123456789", b"left over".to_vec());
        out.forward(0..2);
        out.forward(2..4);
        assert_eq!(out.bytes(), b"0123");
        out.words().extend_from_slice(b"ab");
        out.forward(5..6);
        out.forward(8..10);
        assert_eq!(out.bytes(), b"0123ab589");
        let room = out.take_room();
        assert_eq!(OutgoingBytes::new(b"", room).bytes(), b"");
    }
}
