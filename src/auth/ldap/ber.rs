//! The few forms of BER that LDAP is written in (RFC 4511, section 5.1): definite lengths only, and
//! tags of one byte.

use super::MalformedLdap;

pub const BOOLEAN: u8 = 0x01;
pub const INTEGER: u8 = 0x02;
pub const OCTETS: u8 = 0x04;
pub const ENUMERATED: u8 = 0x0a;
pub const SEQUENCE: u8 = 0x30;

/// Adds an element whose content `fill` writes. The length always takes four bytes, as in libldap,
/// so that the content need not be moved once its length is known.
pub fn element(out: &mut Vec<u8>, tag: u8, fill: impl FnOnce(&mut Vec<u8>)) {
    out.extend([tag, 0x84, 0, 0, 0, 0]);
    let start = out.len();
    fill(out);
    let len = u32::try_from(out.len() - start).expect("what is written comes of short options");
    out[start - 4..start].copy_from_slice(&len.to_be_bytes());
}

/// Adds an element with these bytes.
pub fn bytes(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    element(out, tag, |out| out.extend_from_slice(content));
}

/// Adds a number, which is never negative here.
pub fn number(out: &mut Vec<u8>, tag: u8, value: u8) {
    debug_assert!(value < 0x80, "the first bit is the sign");
    out.extend([tag, 1, value]);
}

/// Takes elements one by one.
#[derive(Clone, Copy, Debug)]
pub struct BerReader<'a> {
    rest: &'a [u8],
}

impl<'a> BerReader<'a> {
    pub fn new(bytes: &'a [u8]) -> BerReader<'a> {
        BerReader { rest: bytes }
    }

    /// The tag and content of the next element.
    pub fn next(&mut self) -> Result<(u8, &'a [u8]), MalformedLdap> {
        let (tag, head, len) = head(self.rest)?.ok_or(MalformedLdap)?;
        let end = head.checked_add(len).ok_or(MalformedLdap)?;
        let content = self.rest.get(head..end).ok_or(MalformedLdap)?;
        self.rest = &self.rest[end..];
        Ok((tag, content))
    }

    /// The content of the next element, which must have this tag.
    pub fn expect(&mut self, tag: u8) -> Result<&'a [u8], MalformedLdap> {
        match self.next()? {
            (found, content) if found == tag => Ok(content),
            _ => Err(MalformedLdap),
        }
    }

    /// A number that is not negative and has no more than 31 bits.
    pub fn number(&mut self, tag: u8) -> Result<u32, MalformedLdap> {
        let content = self.expect(tag)?;
        if content.is_empty() || content.len() > 4 || content[0] >= 0x80 {
            return Err(MalformedLdap);
        }
        Ok(content.iter().fold(0, |value, &byte| value << 8 | u32::from(byte)))
    }
}

/// The tag of the element that `bytes` begin with, the length of its head and that of its content;
/// None where the head is not whole.
pub fn head(bytes: &[u8]) -> Result<Option<(u8, usize, usize)>, MalformedLdap> {
    let [tag, first, rest @ ..] = bytes else { return Ok(None) };
    if tag & 0x1f == 0x1f {
        return Err(MalformedLdap);
    }
    if *first < 0x80 {
        return Ok(Some((*tag, 2, usize::from(*first))));
    }
    let count = usize::from(first & 0x7f);
    if !(1..=4).contains(&count) {
        return Err(MalformedLdap);
    }
    let Some(digits) = rest.get(..count) else { return Ok(None) };
    let len = digits.iter().fold(0_u32, |len, &byte| len << 8 | u32::from(byte));
    Ok(Some((*tag, 2 + count, usize::try_from(len).map_err(|_| MalformedLdap)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read() {
        let mut out = Vec::new();
        element(&mut out, SEQUENCE, |out| {
            number(out, INTEGER, 7);
            bytes(out, OCTETS, &[b'x'; 300]);
        });
        let mut reader = BerReader::new(&out);
        let mut inner = BerReader::new(reader.expect(SEQUENCE).unwrap());
        assert_eq!(inner.number(INTEGER), Ok(7));
        assert_eq!(inner.expect(OCTETS), Ok(&[b'x'; 300][..]));
        assert_eq!((inner.next(), reader.next()), (Err(MalformedLdap), Err(MalformedLdap)));
    }

    #[test]
    fn lengths_are_read_in_every_form_that_is_definite() {
        for (bytes, expected) in [
            (&b"\x04\x01x"[..], Ok(Some((4, 2, 1)))),
            (b"\x04\x81\x01x", Ok(Some((4, 3, 1)))),
            (b"\x04\x84\x00\x00\x00\x01x", Ok(Some((4, 6, 1)))),
            (b"\x04\x84\xff\xff\xff\xff", Ok(Some((4, 6, 0xffff_ffff)))),
            (b"\x04\x82\x01", Ok(None)),
            (b"\x04", Ok(None)),
            (b"", Ok(None)),
            (b"\x04\x80", Err(MalformedLdap)),
            (b"\x04\x85\x00\x00\x00\x00\x01", Err(MalformedLdap)),
            (b"\x1f\x01x", Err(MalformedLdap)),
        ] {
            assert_eq!(head(bytes), expected, "{bytes:?}");
        }
    }

    #[test]
    fn numbers_are_small_and_not_negative() {
        for (content, expected) in [
            (&b"\x00"[..], Ok(0)),
            (b"\x00\x80", Ok(128)),
            (b"\x7f\xff\xff\xff", Ok(0x7fff_ffff)),
            (b"", Err(MalformedLdap)),
            (b"\x80", Err(MalformedLdap)),
            (b"\x00\x80\x00\x00\x00", Err(MalformedLdap)),
        ] {
            let mut out = Vec::new();
            bytes(&mut out, INTEGER, content);
            assert_eq!(BerReader::new(&out).number(INTEGER), expected, "{content:?}");
        }
    }
}
