//! The system's random numbers, fetched in blocks.

use std::io;

use crate::base::rng::Rng;

/// `getrandom` gives up to this many bytes at once or not at all (getrandom(2)).
const BLOCK_BYTES: usize = 256;

/// Random bytes of the kernel. Bytes that were given out are wiped, so that memory read later
/// tells nothing of keys made earlier.
pub struct SystemRng {
    block: [u8; BLOCK_BYTES],
    /// Bytes of `block` that were given out; `BLOCK_BYTES` when it must be filled anew.
    used: usize,
}

impl SystemRng {
    pub fn new() -> SystemRng {
        SystemRng { block: [0; BLOCK_BYTES], used: BLOCK_BYTES }
    }

    fn refill(&mut self) {
        loop {
            // SAFETY: the pointer and the length are those of one array.
            let got = unsafe { libc::getrandom(self.block.as_mut_ptr().cast(), BLOCK_BYTES, 0) };
            if got == BLOCK_BYTES as isize {
                self.used = 0;
                return;
            }
            let error = io::Error::last_os_error();
            // Without random numbers no login is safe, and no kernel we run on lacks them.
            assert!(error.kind() == io::ErrorKind::Interrupted, "getrandom: {error}");
        }
    }
}

impl Default for SystemRng {
    fn default() -> SystemRng {
        SystemRng::new()
    }
}

impl Rng for SystemRng {
    fn fill(&mut self, bytes: &mut [u8]) {
        let mut rest = bytes;
        while !rest.is_empty() {
            if self.used == BLOCK_BYTES {
                self.refill();
            }
            let count = rest.len().min(BLOCK_BYTES - self.used);
            let (head, tail) = rest.split_at_mut(count);
            let taken = &mut self.block[self.used..self.used + count];
            head.copy_from_slice(taken);
            taken.fill(0);
            self.used += count;
            rest = tail;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_and_short_requests_are_filled_and_never_repeat() {
        let mut rng = SystemRng::new();
        let mut long = [0; 3 * BLOCK_BYTES + 5];
        rng.fill(&mut long);
        for window in long.chunks_exact(16) {
            assert!(window.iter().any(|&byte| byte != 0));
        }
        assert_ne!(rng.next_u64(), rng.next_u64());
    }

    #[test]
    fn bytes_given_out_are_wiped() {
        let mut rng = SystemRng::new();
        rng.fill(&mut [0; 32]);
        assert_eq!(rng.block[..32], [0; 32]);
        assert_ne!(rng.block[32..64], [0; 32]);
    }
}
