//! Message heads: one byte of kind, and four bytes of length, which counts itself.
//!
//! A length reserves no memory: it only tells how many bytes of body to expect.

/// The bytes of a head.
pub const HEAD_BYTES: usize = 5;

/// The kind of a message, and the length of its body without the length word.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Head {
    pub kind: u8,
    pub body: usize,
}

/// The first bytes of a message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ParsedHead {
    Head(Head),
    /// Fewer than [`HEAD_BYTES`] bytes are here.
    Short,
    /// An impossible length: less than the four bytes of the length itself, or above `i32::MAX`.
    Bad,
}

/// Reads the head at the start of `bytes`.
#[inline(always)]
pub fn parse(bytes: &[u8]) -> ParsedHead {
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else { return ParsedHead::Short };
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    if length < 4 || length > i32::MAX as u32 {
        return ParsedHead::Bad;
    }
    ParsedHead::Head(Head { kind: head[0], body: length as usize - 4 })
}

/// Kind and body of the complete message at the start of `bytes`, with the bytes after it.
#[inline(always)]
pub fn split_whole(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (head, behind) = bytes.split_first_chunk::<HEAD_BYTES>()?;
    let length = u32::from_be_bytes([head[1], head[2], head[3], head[4]]);
    // An impossible length counts as an incomplete message.
    let (body, rest) = behind.split_at_checked(length.wrapping_sub(4) as usize)?;
    Some((head[0], body, rest))
}

/// Skips the complete messages of one kind at the start of `bytes` whose bodies have at most `most`
/// bytes. Returns the rest.
#[inline(always)]
pub fn behind_run(bytes: &[u8], kind: u8, most: usize) -> &[u8] {
    let mut left = bytes;
    // As `split_whole`, in the fewest steps: a long result is made of little else.
    while let [next, a, b, c, d, ..] = *left
        && next == kind
    {
        let body = u32::from_be_bytes([a, b, c, d]).wrapping_sub(4) as usize;
        let whole = body.saturating_add(HEAD_BYTES);
        if whole > left.len() || body > most {
            break;
        }
        left = &left[whole..];
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_that_cannot_be_is_refused() {
        assert_eq!(parse(b"Q\0\0\0\x05x"), ParsedHead::Head(Head { kind: b'Q', body: 1 }));
        assert_eq!(parse(b"Q\0\0\0"), ParsedHead::Short);
        assert_eq!(parse(b"Q\0\0\0\x03"), ParsedHead::Bad);
        assert_eq!(parse(b"Q\xff\xff\xff\xff"), ParsedHead::Bad);
        assert_eq!(
            parse(b"d\x7f\xff\xff\xff"),
            ParsedHead::Head(Head { kind: b'd', body: i32::MAX as usize - 4 })
        );
    }

    #[test]
    fn a_message_is_split_off_where_all_of_it_is_there() {
        assert_eq!(split_whole(b"Q\0\0\0\x05xS"), Some((b'Q', &b"x"[..], &b"S"[..])));
        assert_eq!(split_whole(b"S\0\0\0\x04"), Some((b'S', &b""[..], &b""[..])));
        for bytes in [
            &b""[..],
            b"Q\0\0\0",
            b"Q\0\0\0\x05",
            b"Q\0\0\0\x03xxxx",
            b"Q\0\0\0\0xxxx",
            b"Q\xff\xff\xff\xffxxxx",
            b"Q\x80\0\0\x04xxxx",
        ] {
            assert_eq!(split_whole(bytes), None, "{bytes:?}");
        }
    }

    #[test]
    fn a_run_ends_at_another_kind_a_long_body_or_half_a_message() {
        let run: &[u8] = b"d\0\0\0\x06abd\0\0\0\x04";
        let rests: [&[u8]; 7] = [
            b"",
            b"c\0\0\0\x04",
            b"d\0\0\0\x07abc",
            b"d\0\0\0\x06a",
            b"d\0\0\0",
            b"d\0\0\0\x03",
            b"d\xff\xff\xff\xff",
        ];
        for rest in rests {
            let bytes = [run, rest].concat();
            assert_eq!(behind_run(&bytes, b'd', 2), rest);
            assert_eq!(behind_run(&bytes, b'D', 2), bytes);
        }
    }
}
