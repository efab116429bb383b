//! Messages of LDAP (RFC 4511, section 4): requests as bytes, answers as values.

use super::MalformedLdap;
use super::ber::{self, BOOLEAN, BerReader, ENUMERATED, INTEGER, OCTETS, SEQUENCE};
use super::filter::{self, NoFilter};

/// The longest message that is taken from a directory, in bytes: no attribute is asked for, so what
/// comes is a name or an explanation.
const MESSAGE_BYTES_MAX: usize = 65_536;

/// How deep a search goes below its base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    Base,
    One,
    Subtree,
}

/// Entries asked for: two are enough to see that a name is not unique.
const ENTRIES_MAX: u8 = 2;

/// The length of the message that `bytes` begin with, once that is known.
pub fn frame(bytes: &[u8]) -> Result<Option<usize>, MalformedLdap> {
    match ber::head(bytes)? {
        Some((SEQUENCE, head, len)) if len <= MESSAGE_BYTES_MAX - head => Ok(Some(head + len)),
        Some(_) => Err(MalformedLdap),
        None => Ok(None),
    }
}

/// A request with this number. `fill` writes the operation.
fn request(id: u8, room: usize, fill: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    // Reserved at once: growing would leave a copy of the password in memory that is given back.
    let mut out = Vec::with_capacity(room + 64);
    ber::element(&mut out, SEQUENCE, |out| {
        ber::number(out, INTEGER, id);
        fill(out);
    });
    out
}

/// A simple bind. The caller ensures that the password is not empty: that would be an anonymous
/// bind, which directories grant.
pub fn bind(id: u8, name: &str, password: &[u8]) -> Vec<u8> {
    request(id, name.len() + password.len(), |out| {
        ber::element(out, 0x60, |out| {
            ber::number(out, INTEGER, 3);
            ber::bytes(out, OCTETS, name.as_bytes());
            ber::bytes(out, 0x80, password);
        });
    })
}

/// A search for names of entries, without any attribute of them.
pub fn search(id: u8, base: &str, scope: Scope, filter: &str) -> Result<Vec<u8>, NoFilter> {
    let mut condition = Vec::new();
    filter::write(&mut condition, filter)?;
    let scope = match scope {
        Scope::Base => 0,
        Scope::One => 1,
        Scope::Subtree => 2,
    };
    Ok(request(id, base.len() + condition.len(), |out| {
        ber::element(out, 0x63, |out| {
            ber::bytes(out, OCTETS, base.as_bytes());
            ber::number(out, ENUMERATED, scope);
            // Aliases are not followed.
            ber::number(out, ENUMERATED, 0);
            ber::number(out, INTEGER, ENTRIES_MAX);
            // Time is limited on this side.
            ber::number(out, INTEGER, 0);
            ber::number(out, BOOLEAN, 0);
            out.extend_from_slice(&condition);
            ber::element(out, SEQUENCE, |out| ber::bytes(out, OCTETS, b"1.1"));
        });
    }))
}

/// A request to put the open connection under TLS (RFC 4511, section 4.14).
pub fn start_tls(id: u8) -> Vec<u8> {
    request(id, 0, |out| {
        ber::element(out, 0x77, |out| ber::bytes(out, 0x80, b"1.3.6.1.4.1.1466.20037"));
    })
}

/// What a directory sends.
#[derive(Debug, PartialEq, Eq)]
pub enum LdapResponse<'a> {
    Bound(LdapResult<'a>),
    /// The name of an entry that was found.
    Entry(&'a [u8]),
    Found(LdapResult<'a>),
    /// A reference to another directory, which is not followed.
    Reference,
    Extended(LdapResult<'a>),
}

/// How an operation ended.
#[derive(Debug, PartialEq, Eq)]
pub struct LdapResult<'a> {
    /// 0 is success.
    pub code: u32,
    /// The directory's own words, if any.
    pub text: &'a [u8],
}

/// Reads a whole message, which must answer the request of this number.
pub fn read(bytes: &[u8], id: u8) -> Result<LdapResponse<'_>, MalformedLdap> {
    let mut message = BerReader::new(BerReader::new(bytes).expect(SEQUENCE)?);
    if message.number(INTEGER)? != u32::from(id) {
        return Err(MalformedLdap);
    }
    let (tag, content) = message.next()?;
    Ok(match tag {
        0x61 => LdapResponse::Bound(outcome(content)?),
        0x64 => LdapResponse::Entry(BerReader::new(content).expect(OCTETS)?),
        0x65 => LdapResponse::Found(outcome(content)?),
        0x73 => LdapResponse::Reference,
        0x78 => LdapResponse::Extended(outcome(content)?),
        _ => return Err(MalformedLdap),
    })
}

fn outcome(content: &[u8]) -> Result<LdapResult<'_>, MalformedLdap> {
    let mut reader = BerReader::new(content);
    let code = reader.number(ENUMERATED)?;
    reader.expect(OCTETS)?;
    Ok(LdapResult { code, text: reader.expect(OCTETS)? })
}

/// What a result code means (RFC 4511, appendix A.2).
pub fn meaning(code: u32) -> &'static str {
    let known = MEANINGS.iter().find(|(known, _)| *known == code);
    known.map_or("other result", |(_, words)| words)
}

const MEANINGS: [(u32, &str); 18] = [
    (1, "operations error"),
    (2, "protocol error"),
    (3, "time limit exceeded"),
    (4, "size limit exceeded"),
    (7, "authentication method not supported"),
    (8, "stronger authentication required"),
    (10, "referral"),
    (11, "administrative limit exceeded"),
    (13, "confidentiality required"),
    (18, "inappropriate matching"),
    (32, "no such object"),
    (34, "invalid name of an entry"),
    (48, "inappropriate authentication"),
    (49, "invalid credentials"),
    (50, "insufficient access rights"),
    (51, "busy"),
    (52, "unavailable"),
    (53, "unwilling to perform"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_what_the_standard_says() {
        let bytes = bind(1, "cn=a", b"pw");
        let expected = b"\x30\x84\0\0\0\x1e\x02\x01\x01\x60\x84\0\0\0\x15\x02\x01\x03\
            \x04\x84\0\0\0\x04cn=a\x80\x84\0\0\0\x02pw";
        assert_eq!(bytes, expected);
        assert_eq!(frame(&bytes), Ok(Some(bytes.len())));
    }

    #[test]
    fn answers_are_read_and_others_refused() {
        let bound = b"\x30\x0c\x02\x01\x05\x61\x07\x0a\x01\x31\x04\0\x04\0";
        let outcome = LdapResult { code: 49, text: b"" };
        assert_eq!(read(bound, 5), Ok(LdapResponse::Bound(outcome)));
        assert_eq!(read(bound, 6), Err(MalformedLdap), "of another request");
        let entry = b"\x30\x0b\x02\x01\x05\x64\x06\x04\x02cn\x30\0";
        assert_eq!(read(entry, 5), Ok(LdapResponse::Entry(b"cn")));
        assert_eq!(read(b"\x30\x05\x02\x01\x05\x42\0", 5), Err(MalformedLdap), "an unbind");
        for len in 0..bound.len() {
            assert_eq!(read(&bound[..len], 5), Err(MalformedLdap));
        }
    }

    #[test]
    fn long_messages_are_refused_by_their_head() {
        assert_eq!(frame(b"\x30\x84\0\0\xff\xf0"), Ok(Some(65_526)));
        assert_eq!(frame(b"\x30\x84\0\x01\0\0"), Err(MalformedLdap));
        assert_eq!(frame(b"\x30\x84\xff\xff\xff\xff"), Err(MalformedLdap));
        assert_eq!(frame(b"\x31\x01"), Err(MalformedLdap));
        assert_eq!(frame(b"\x30"), Ok(None));
    }
}
