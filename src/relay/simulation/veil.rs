//! What a library of TLS does to a stream: bytes travel in records, and neither end gets anything
//! of one before all of it is there. What is left of a record that had no room stays inside, where
//! no poll tells of it; a record that the system has not taken whole is offered again, as it was.
//!
//! There is no cipher here: a record is so many bytes of a queue.

use std::collections::VecDeque;

/// The most that the near end puts into a record, as `net::tls` has it.
const LARGEST_SENT: usize = 8192;

/// One direction, behind the queue of the system.
#[derive(Default)]
pub struct Records {
    /// The lengths of records whose bytes have not all come out of the queue.
    lengths: VecDeque<usize>,
    /// The last record says that no more will come.
    has_goodbye: bool,
    /// That record has come.
    is_over: bool,
    /// What has come out of the queue: less than a record.
    partial: Vec<u8>,
    /// What has come of whole records and nobody has taken.
    whole: Vec<u8>,
}

impl Records {
    /// A record is sent.
    pub fn seal(&mut self, length: usize) {
        debug_assert!(length > 0);
        self.lengths.push_back(length);
    }

    /// A record is sent that says that no more will come. It takes one byte.
    pub fn say_goodbye(&mut self) {
        self.seal(1);
        self.has_goodbye = true;
    }

    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// Bytes come out of the queue.
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

    /// Takes at most so many bytes of whole records.
    pub fn take(&mut self, most: usize) -> Vec<u8> {
        self.whole.drain(..most.min(self.whole.len())).collect()
    }

    /// What has come out of the queue and nobody has taken.
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

/// A record on its way into the system.
#[derive(Default)]
pub struct Pending {
    record: Vec<u8>,
    /// So much of it the system has taken.
    taken: usize,
}

impl Pending {
    /// Takes up what the caller offers. Whoever was told that a record was not taken must offer it
    /// again, whatever may stand after it: some of it is on its way.
    pub fn offer(&mut self, from: &[u8]) {
        if self.record.is_empty() {
            self.record = from[..from.len().min(LARGEST_SENT)].to_vec();
        }
        assert!(from.starts_with(&self.record), "another record is offered than was begun");
    }

    pub fn rest(&self) -> &[u8] {
        &self.record[self.taken..]
    }

    /// The system has taken so much. Gives the length of the record when that was the last of it.
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

/// Both directions of a connection that behaves as if it were under TLS.
#[derive(Default)]
pub struct Veil {
    pub inbound: Records,
    pub outbound: Records,
    pub pending: Pending,
    /// The near end's last read met this after what it brought.
    pub met: Option<Met>,
}

/// What a read can meet that no poll tells of again.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Met {
    End,
    /// The room was full.
    More,
    Reset,
}
