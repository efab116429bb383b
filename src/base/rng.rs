//! Random numbers are handed in: the system's in the program, a seeded generator in tests, so that
//! a test's seed replays everything, keys and nonces included.

/// A source of random bytes.
pub trait Rng {
    fn fill(&mut self, bytes: &mut [u8]);

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number below `bound`, or 0 when `bound` is 0. The bias of the remainder does not matter
    /// for what it is used for: jitter and choices, never keys.
    fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.next_u64() % bound }
    }

    /// True in one of `n` cases, on average.
    #[cfg(test)]
    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }
}

/// A repeatable generator (splitmix64) for tests, and for jitter, where nobody gains by guessing.
#[derive(Clone)]
pub struct SeededRng(u64);

impl SeededRng {
    pub fn new(seed: u64) -> SeededRng {
        SeededRng(seed)
    }
}

impl Rng for SeededRng {
    fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_gives_one_sequence() {
        let (mut a, mut b, mut c) = (SeededRng::new(1), SeededRng::new(1), SeededRng::new(2));
        let mut bytes = [0; 13];
        a.fill(&mut bytes);
        let mut again = [0; 13];
        b.fill(&mut again);
        assert_eq!(bytes, again);
        assert_ne!(a.next_u64(), c.next_u64());
        assert_eq!(a.below(0), 0);
    }
}
