//! Text of strangers: escapes that stand for bytes, and what a terminal must not get.

/// A text with its escapes resolved: the sign and two hexadecimal digits stand for a byte. `None`
/// where digits are missing.
pub fn unescaped(text: &[u8], sign: u8) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter().copied();
    while let Some(byte) = rest.next() {
        let is_escape = byte == sign;
        bytes.push(match is_escape {
            true => (digit(rest.next()?)? << 4 | digit(rest.next()?)?) as u8,
            false => byte,
        });
    }
    Some(bytes)
}

const ONES: u64 = u64::MAX / 255;

/// Sets the high bit of each byte that is 0. Bytes above the first of these may be marked wrongly,
/// since the subtraction borrows.
#[inline(always)]
fn zeros(eight: u64) -> u64 {
    eight.wrapping_sub(ONES) & !eight & (ONES << 7)
}

/// Whether a byte stands in a text. Eight bytes are looked at together, from the first on: the
/// standard library's search is made for long texts, and most queries are short.
#[inline]
pub fn has_byte(text: &[u8], byte: u8) -> bool {
    let wanted = ONES * u64::from(byte);
    let (eights, rest) = text.as_chunks();
    eights.iter().any(|eight| zeros(u64::from_ne_bytes(*eight) ^ wanted) != 0)
        || rest.iter().fold(false, |is_in, other| is_in | (*other == byte))
}

/// Where the first of two bytes stands in a text. Eight bytes are looked at together.
pub fn find_either(text: &[u8], bytes: [u8; 2]) -> Option<usize> {
    let [one, other] = bytes.map(|byte| ONES * u64::from(byte));
    let (eights, rest) = text.as_chunks();
    for (place, eight) in eights.iter().enumerate() {
        let eight = u64::from_le_bytes(*eight);
        let found = zeros(eight ^ one) | zeros(eight ^ other);
        if found != 0 {
            return Some(place * 8 + found.trailing_zeros() as usize / 8);
        }
    }
    let place = rest.iter().position(|byte| bytes.contains(byte))?;
    Some(text.len() - rest.len() + place)
}

/// White space as C's `isspace` has it, and so PgBouncer where it reads files: a vertical tab is
/// some.
pub fn is_space<L: Into<char>>(letter: L) -> bool {
    matches!(letter.into(), '\t' | '\n' | '\x0b' | '\x0c' | '\r' | ' ')
}

/// The text without white space at its ends.
pub fn trim_space(text: &str) -> &str {
    text.trim_matches(is_space::<char>)
}

/// A letter as it may stand in one line of the log: control characters become blanks.
pub fn printable(letter: char) -> char {
    if letter.is_control() { ' ' } else { letter }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_digits_behind_the_sign_are_a_byte() {
        for (text, expected) in [("", ""), ("a%20b%2B%2b", "a b++"), ("%25zz", "%zz")] {
            assert_eq!(unescaped(text.as_bytes(), b'%').as_deref(), Some(expected.as_bytes()));
        }
        assert_eq!(unescaped(b"\\ff%", b'\\').as_deref(), Some(&b"\xff%"[..]));
        for text in ["%", "%2", "%zz", "%2z", "%%2", "% 1"] {
            assert_eq!(unescaped(text.as_bytes(), b'%'), None, "{text}");
        }
    }

    #[test]
    fn the_first_of_two_bytes_is_found() {
        let mut text = vec![b'a'; 40];
        for first in 0..39 {
            for second in first + 1..40 {
                (text[first], text[second]) = (0, b'"');
                assert_eq!(find_either(&text, [b'"', 0]), Some(first), "{second}");
                (text[first], text[second]) = (b'"', 0);
                assert_eq!(find_either(&text, [b'"', 0]), Some(first), "{second}");
                (text[first], text[second]) = (b'a', b'a');
            }
        }
    }

    #[test]
    fn a_byte_is_found_wherever_it_stands_and_no_other_is_taken_for_it() {
        for (byte, other) in [(b';', b':'), (0, 1), (0xff, 0x7f), (0x80, 0), (1, 0)] {
            for length in 0..40 {
                let mut text = vec![other; length];
                assert!(!has_byte(&text, byte), "{byte} in {length} of {other}");
                assert_eq!(find_either(&text, [byte, b'x']), None, "{byte} in {length} of {other}");
                for at in 0..length {
                    text[at] = byte;
                    assert!(has_byte(&text, byte), "{byte} at {at} of {length}");
                    for bytes in [[byte, b'x'], [b'x', byte]] {
                        assert_eq!(find_either(&text, bytes), Some(at), "{bytes:?} of {length}");
                    }
                    text[at] = other;
                }
            }
        }
    }
}
