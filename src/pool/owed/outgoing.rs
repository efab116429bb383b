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
    copied: OutgoingRoom,
}

/// The memory for bytes that are copied, kept from run to run. Most runs copy none: then it costs
/// them no more than a word.
#[derive(Default)]
pub struct OutgoingRoom(Option<Box<CopiedBytes>>);

#[derive(Default)]
struct CopiedBytes {
    bytes: Vec<u8>,
}

/// The most memory that is kept for the next run, in bytes.
const KEPT_BYTES: usize = 128 * 1024;

impl OutgoingRoom {
    /// Takes the memory for a run, until [`OutgoingRoom::put_back`].
    #[inline(always)]
    pub fn take(&mut self) -> OutgoingRoom {
        OutgoingRoom(self.0.take())
    }

    /// Takes back the memory of a run whose bytes have been sent.
    #[inline(always)]
    pub fn put_back(&mut self, room: OutgoingRoom) {
        if let Some(mut copied) = room.0 {
            copied.bytes.clear();
            if copied.bytes.capacity() > KEPT_BYTES {
                copied.bytes.shrink_to(KEPT_BYTES);
            }
            self.0 = Some(copied);
        }
    }
}

impl<'a> OutgoingBytes<'a> {
    /// No bytes yet. `room` is the memory of an earlier run.
    #[inline(always)]
    pub fn new(data: &'a [u8], room: OutgoingRoom) -> OutgoingBytes<'a> {
        OutgoingBytes { data, stretch: 0..0, copied: room }
    }

    /// The memory for the next run, when all bytes have been sent.
    #[inline(always)]
    pub fn into_room(self) -> OutgoingRoom {
        self.copied
    }

    /// Adds a stretch of the bytes that were read.
    #[inline(always)]
    pub fn forward(&mut self, stretch: Range<usize>) {
        if self.stretch.is_empty() {
            self.stretch = stretch;
        } else if self.stretch.end == stretch.start {
            self.stretch.end = stretch.end;
        } else {
            self.words();
            self.stretch = stretch;
        }
    }

    /// The buffer for bytes that were not read, which stand behind the stretch.
    pub fn words(&mut self) -> &mut Vec<u8> {
        let copied = &mut self.copied.0.get_or_insert_default().bytes;
        copied.extend_from_slice(&self.data[std::mem::take(&mut self.stretch)]);
        copied
    }

    /// All bytes in one piece.
    #[inline]
    pub fn bytes(&mut self) -> &[u8] {
        if self.copied.0.as_ref().is_none_or(|copied| copied.bytes.is_empty()) {
            return &self.data[self.stretch.clone()];
        }
        &*self.words()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_and_put_in_comes_out_in_order() {
        let mut room = OutgoingRoom::default();
        let mut out = OutgoingBytes::new(b"0123456789", room.take());
        out.forward(0..2);
        out.forward(2..4);
        assert_eq!(out.bytes(), b"0123");
        out.words().extend_from_slice(b"ab");
        out.forward(5..6);
        out.forward(8..10);
        assert_eq!(out.bytes(), b"0123ab589");
        room.put_back(out.into_room());
        assert_eq!(OutgoingBytes::new(b"", room.take()).bytes(), b"");
    }
}
