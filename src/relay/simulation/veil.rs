//! What a TLS library does to a stream. Bytes travel in records, and the reader gets none of a
//! record before it is complete. The rest of a record that did not fit into the read stays inside,
//! and the poll does not report it. A library may also give less than fits. A record that the
//! system took in part must be offered again, unchanged.
//!
//! There is no cipher here: a record is a number of bytes in a queue.

use std::collections::VecDeque;

/// The most bytes that the near end puts into a record, as in `net::tls`.
const LARGEST_RECORD_BYTES: usize = 8192;

/// One direction, above the system's queue.
#[derive(Default)]
pub struct Records {
    /// The lengths of records that are still in the queue, at least in part.
    lengths: VecDeque<usize>,
    /// Whether the last record sent is a close_notify.
    has_goodbye: bool,
    /// Whether the close_notify has come.
    is_over: bool,
    /// Bytes out of the queue that are less than a record.
    partial: Vec<u8>,
    /// Bytes of complete records that were not read yet.
    whole: Vec<u8>,
}

impl Records {
    /// Notes that a record was sent.
    pub fn seal(&mut self, length: usize) {
        debug_assert!(length > 0);
        self.lengths.push_back(length);
    }

    /// Notes that a close_notify was sent, as a record of one byte.
    pub fn say_goodbye(&mut self) {
        self.seal(1);
        self.has_goodbye = true;
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Takes bytes out of the queue.
    pub fn receive(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        while self.lengths.front().is_some_and(|&length| length <= self.partial.len()) {
            let length = self.lengths.pop_front().unwrap_or_default();
            let record = self.partial.drain(..length);
            match self.has_goodbye && self.lengths.is_empty() {
                true => self.is_over = true,
                false => self.whole.extend(record),
            }
        }
    }

    /// Takes at most `most` bytes of complete records.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        self.whole.drain(..most.min(self.whole.len())).collect()
    }

    /// Bytes out of the queue that were not read yet.
    pub fn held(&self) -> Vec<u8> {
        [&self.whole[..], &self.partial].concat()
    }

    pub fn whole(&self) -> usize {
        self.whole.len()
    }

    pub fn clear(&mut self) {
        *self = Records::default();
    }
}

/// A record that is being written to the system.
#[derive(Default)]
pub struct Pending {
    record: Vec<u8>,
    /// How many of its bytes the system has taken.
    taken: usize,
}

impl Pending {
    /// Takes what the caller offers. A caller that was told that a record was not taken must offer
    /// that record again, with or without further bytes: part of it was sent.
    pub fn offer(&mut self, from: &[u8]) {
        if self.record.is_empty() {
            self.record = from[..from.len().min(LARGEST_RECORD_BYTES)].to_vec();
        }
        assert!(from.starts_with(&self.record), "another record is offered than was begun");
    }

    pub fn rest(&self) -> &[u8] {
        &self.record[self.taken..]
    }

    /// Notes how many bytes the system has taken. Returns the length of the record once all of it
    /// was taken.
    pub fn advance(&mut self, count: usize) -> Option<usize> {
        self.taken += count;
        if self.record.is_empty() || self.taken < self.record.len() {
            return None;
        }
        self.taken = 0;
        Some(std::mem::take(&mut self.record).len())
    }

    pub fn clear(&mut self) {
        *self = Pending::default();
    }
}

/// Both directions of a connection under TLS.
#[derive(Default)]
pub struct Veil {
    pub inbound: Records,
    pub outbound: Records,
    pub pending: Pending,
    /// Whether a read may give less than there is.
    pub keeps_back: bool,
    /// What the near end's last read met after its bytes.
    pub met: Option<Met>,
}

/// What a read can meet that the poll does not report again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Met {
    End,
    /// More bytes than the read has given.
    More,
    Reset,
}
