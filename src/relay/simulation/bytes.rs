//! A queue of bytes.

#[derive(Default)]
pub struct Bytes {
    all: Vec<u8>,
    /// How many bytes were taken from the front.
    at: usize,
}

impl Bytes {
    pub fn len(&self) -> usize {
        self.all.len() - self.at
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub fn rest(&self) -> &[u8] {
        &self.all[self.at..]
    }

    pub fn push(&mut self, bytes: &[u8]) {
        if self.at > 100_000 {
            self.all.drain(..self.at);
            self.at = 0;
        }
        self.all.extend_from_slice(bytes);
    }

    pub fn skip(&mut self, count: usize) {
        self.at += count;
        if self.is_empty() {
            self.clear();
        }
    }

    pub fn take(&mut self, count: usize) -> Vec<u8> {
        let taken = self.rest()[..count].to_vec();
        self.skip(count);
        taken
    }

    pub fn truncate(&mut self, length: usize) {
        self.all.truncate(self.at + length);
    }

    pub fn clear(&mut self) {
        self.all.clear();
        self.at = 0;
    }
}
