//! The packets that open a connection: StartupMessage, CancelRequest, SSLRequest, GSSENCRequest.
//! They have no kind byte; the word after the length tells them apart.

use std::borrow::Cow;

use super::fields::Fields;
use super::head::{self, HEAD_BYTES};

/// The longest startup packet, in bytes with the length word. PostgreSQL has the same limit
/// (MAX_STARTUP_PACKET_LENGTH in its sources).
pub const PACKET_BYTES_MAX: usize = 10_000;

const CANCEL_REQUEST: u32 = 80_877_102;
const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// A complete startup packet, without its length word.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Packet<'a> {
    /// Process id and secret, joined as in BackendKeyData, of any length.
    Cancel {
        key: &'a [u8],
    },
    GssEnc,
    Ssl,
    Startup {
        minor: u16,
        /// Values are bytes: one of the parameters may be their encoding.
        parameters: Vec<(Cow<'a, str>, &'a [u8])>,
    },
    /// Protocol 2.0, which PostgreSQL 14 has dropped.
    V2,
}

/// Why a startup packet is refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BadStartup {
    /// The length word is below 8 or above [`PACKET_BYTES_MAX`].
    Length,
    /// A complete message of a client that believes it is logged in.
    Message,
    /// An unsolicited PasswordMessage, complete or not.
    Password,
    /// Neither protocol 3 nor one of the requests.
    Version,
    /// The parameters are not pairs of texts.
    Parameters,
}

/// The first bytes of a connection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParsedStartup<'a> {
    /// The packet, and its length in bytes.
    Packet(Packet<'a>, usize),
    Short,
    Bad(BadStartup),
}

/// Reads the packet at the start of `bytes`.
pub fn parse(bytes: &[u8]) -> ParsedStartup<'_> {
    let Some((word, _)) = bytes.split_first_chunk::<4>() else { return ParsedStartup::Short };
    // The first byte of a valid packet is 0, because of the limit on its length.
    match word[0] {
        0 => {}
        b'p' => return ParsedStartup::Bad(BadStartup::Password),
        _ => return message(bytes),
    }
    let length = u32::from_be_bytes(*word) as usize;
    if !(8..=PACKET_BYTES_MAX).contains(&length) {
        return ParsedStartup::Bad(BadStartup::Length);
    }
    let Some(packet) = bytes.get(4..length) else { return ParsedStartup::Short };
    match read(packet) {
        Ok(packet) => ParsedStartup::Packet(packet, length),
        Err(bad) => ParsedStartup::Bad(bad),
    }
}

/// Bytes that begin with a kind byte: a message counts as one only once it is complete.
fn message(bytes: &[u8]) -> ParsedStartup<'_> {
    match head::parse(bytes) {
        head::ParsedHead::Short => ParsedStartup::Short,
        head::ParsedHead::Head(head) if head.body <= PACKET_BYTES_MAX => {
            match bytes.len() < HEAD_BYTES + head.body {
                true => ParsedStartup::Short,
                false => ParsedStartup::Bad(BadStartup::Message),
            }
        }
        head::ParsedHead::Head(_) | head::ParsedHead::Bad => ParsedStartup::Bad(BadStartup::Length),
    }
}

fn read(packet: &[u8]) -> Result<Packet<'_>, BadStartup> {
    let mut fields = Fields::new(packet);
    let code = fields.u32().ok_or(BadStartup::Length)?;
    match code {
        CANCEL_REQUEST => Ok(Packet::Cancel { key: fields.rest() }),
        SSL_REQUEST | GSSENC_REQUEST if !fields.is_empty() => Err(BadStartup::Length),
        SSL_REQUEST => Ok(Packet::Ssl),
        GSSENC_REQUEST => Ok(Packet::GssEnc),
        _ if code >> 16 == 2 => Ok(Packet::V2),
        _ if code >> 16 == 3 => {
            let parameters = parameters(fields).ok_or(BadStartup::Parameters)?;
            Ok(Packet::Startup { minor: code as u16, parameters })
        }
        _ => Err(BadStartup::Version),
    }
}

/// Pairs of name and value, each with its NUL, and a final NUL.
fn parameters(mut fields: Fields<'_>) -> Option<Vec<(Cow<'_, str>, &[u8])>> {
    let mut found = Vec::new();
    loop {
        let name = String::from_utf8_lossy(fields.cstr()?);
        if name.is_empty() {
            return fields.is_empty().then_some(found);
        }
        found.push((name, fields.cstr()?));
    }
}

/// Appends a CancelRequest that carries `key`.
pub fn cancel_request(out: &mut Vec<u8>, key: &[u8]) {
    super::build::Message::untyped(out).u32(CANCEL_REQUEST).bytes(key).end();
}

/// Appends an SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    super::build::Message::untyped(out).u32(SSL_REQUEST).end();
}

/// Appends a StartupMessage of protocol 3.0 (`minor` 0) or later.
pub fn startup_message<V: AsRef<[u8]>>(out: &mut Vec<u8>, minor: u16, parameters: &[(&str, V)]) {
    let mut message = super::build::Message::untyped(out).u32(3 << 16 | u32::from(minor));
    for (name, value) in parameters {
        message = message.cstr(name).cstr(value);
    }
    message.u8(0).end();
}

/// The entry point for fuzzing: reads arbitrary bytes as a startup packet.
pub fn fuzz(data: &[u8]) {
    if let ParsedStartup::Packet(_, taken) = parse(data) {
        assert!(taken <= data.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        startup_message(&mut out, 0, &[("user", "joe"), ("database", "db")]);
        out
    }

    #[test]
    fn a_startup_message_reads_back() {
        let bytes = sample();
        let ParsedStartup::Packet(Packet::Startup { minor: 0, parameters }, taken) = parse(&bytes)
        else {
            panic!("not read")
        };
        let pairs: Vec<_> = parameters.iter().map(|(n, v)| (&**n, *v)).collect();
        assert_eq!(pairs, [("user", &b"joe"[..]), ("database", b"db")]);
        assert_eq!(taken, bytes.len());
        for cut in 0..bytes.len() {
            assert_eq!(parse(&bytes[..cut]), ParsedStartup::Short, "cut at {cut}");
        }
    }

    #[test]
    fn lengths_that_cannot_be_are_refused_at_once() {
        for length in [0u32, 3, 7, 10_001, 0xff_ffff] {
            assert_eq!(
                parse(&length.to_be_bytes()),
                ParsedStartup::Bad(BadStartup::Length),
                "{length}"
            );
        }
    }

    #[test]
    fn a_message_before_the_packet_is_told_from_noise() {
        let query = b"Q\0\0\0\rselect 1\0";
        for cut in 0..query.len() {
            assert_eq!(parse(&query[..cut]), ParsedStartup::Short, "cut at {cut}");
        }
        assert_eq!(parse(query), ParsedStartup::Bad(BadStartup::Message));
        assert_eq!(parse(b"X\0\0\0\x04"), ParsedStartup::Bad(BadStartup::Message));
        assert_eq!(parse(b"p\0\0\0"), ParsedStartup::Bad(BadStartup::Password));
        assert_eq!(parse(b"GET / HTTP/1.0"), ParsedStartup::Bad(BadStartup::Length));
        assert_eq!(parse(b"Q\0\0\0\x03"), ParsedStartup::Bad(BadStartup::Length));
    }

    #[test]
    fn requests_are_told_apart() {
        let packet = |code: u32, rest: &[u8]| {
            let mut out = ((8 + rest.len()) as u32).to_be_bytes().to_vec();
            out.extend(code.to_be_bytes());
            out.extend(rest);
            out
        };
        assert_eq!(parse(&packet(SSL_REQUEST, b"")), ParsedStartup::Packet(Packet::Ssl, 8));
        assert_eq!(parse(&packet(SSL_REQUEST, b"x")), ParsedStartup::Bad(BadStartup::Length));
        assert_eq!(parse(&packet(GSSENC_REQUEST, b"")), ParsedStartup::Packet(Packet::GssEnc, 8));
        assert_eq!(parse(&packet(2 << 16, b"x")), ParsedStartup::Packet(Packet::V2, 9));
        assert_eq!(parse(&packet(4 << 16, b"")), ParsedStartup::Bad(BadStartup::Version));
        assert_eq!(parse(&packet(3 << 16, b"user\0")), ParsedStartup::Bad(BadStartup::Parameters));
        let key = [7; 260];
        for key in [&key[..0], &key[..7], &key] {
            assert_eq!(
                parse(&packet(CANCEL_REQUEST, key)),
                ParsedStartup::Packet(Packet::Cancel { key }, 8 + key.len())
            );
        }
    }

    #[test]
    fn mutated_packets_never_panic() {
        for seed in 0..500 {
            let mut rng = SeededRng::new(seed);
            let mut bytes = sample();
            for _ in 0..1 + rng.below(6) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(rng.below(bytes.len() as u64 + 1) as usize);
            fuzz(&bytes);
        }
    }
}
