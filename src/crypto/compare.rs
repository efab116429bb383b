//! Comparison that takes the same time wherever the difference lies, so that an answer's delay does
//! not tell how much of a secret was right.

use ctutils::CtEq;

/// Whether both are the same bytes. The time may tell the lengths, but not the content.
pub fn equal(left: &[u8], right: &[u8]) -> bool {
    left.ct_eq(right).to_bool()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_same_bytes_are_equal() {
        assert!(equal(b"", b""));
        assert!(equal(b"secret", b"secret"));
        assert!(!equal(b"secret", b"secreT"));
        assert!(!equal(b"secret", b"secre"));
        assert!(!equal(b"", b"x"));
    }
}
