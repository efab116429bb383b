//! Text of strangers: escapes that stand for bytes, and what a terminal must not get.

/// A text without its escapes: the sign and two hexadecimal digits are a byte. `None` where digits
/// are missing.
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
}
