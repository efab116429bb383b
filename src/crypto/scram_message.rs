//! The four messages of a SCRAM exchange (RFC 5802, sections 5 and 7), built and taken apart.
//!
//! The senders are not trusted: each message has a largest length, attributes must stand where the
//! RFC puts them, and nothing is copied before it was checked. The one way to bind an exchange to
//! its channel is tls-server-end-point: by the hash of the server's certificate (RFC 5929, section
//! 4).

use std::fmt;

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::base::wipe::wipe;
use crate::crypto::key::{KEY_BYTES, ScramKey};
use crate::crypto::scram::ITERATIONS_MAX;

/// The longest message taken from a peer, in bytes. PostgreSQL takes 1024 from its clients.
pub const MESSAGE_BYTES_MAX: usize = 1024;

/// The mechanism without channel binding.
pub const MECHANISM: &[u8] = b"SCRAM-SHA-256";

/// The mechanism with channel binding: somebody in the middle would have another certificate.
pub const BOUND_MECHANISM: &[u8] = b"SCRAM-SHA-256-PLUS";

/// What the chosen mechanism says of channel binding, which decides how client-first-message may
/// begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Binding {
    /// Channel binding was offered, and the client has not chosen it. A client that says that it
    /// was not offered (`y`) has not seen our offer: somebody in the middle has removed it.
    Declined,
    /// Channel binding is not possible on this connection.
    Unavailable,
    Used,
}

/// The header of a message whose sender has no channel binding.
pub const UNBOUND: &[u8] = b"n,,";

/// The header of a message whose sender supports channel binding, and was not offered it.
pub const NOT_OFFERED: &[u8] = b"y,,";

/// The header of a message that is bound to its channel.
pub const BOUND: &[u8] = b"p=tls-server-end-point,,";

/// What is wrong with a message of the exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageError {
    /// An attribute, named by its letter, is missing, misplaced or empty.
    Attribute(char),
    /// The client names another user to act for.
    AuthorizationIdentity,
    /// An attribute, named by its letter, is not base64, or of the wrong length.
    Base64(char),
    /// The client chose the mechanism with channel binding, and does not say so in its message.
    BindingAbsent,
    /// What the client says of channel binding at the end is not what it said at the beginning, or
    /// its channel ends at another certificate.
    BindingChanged,
    /// The client insists on channel binding, and chose the mechanism without it.
    BindingRequired,
    /// The client says that it was not offered the channel binding that it was offered.
    Downgraded,
    /// Not a number from 1 to [`ITERATIONS_MAX`].
    Iterations,
    /// The peer demands an extension that nobody defined.
    MandatoryExtension,
    /// A nonce is empty, unprintable, or not the one agreed on.
    Nonce,
    /// Longer than [`MESSAGE_BYTES_MAX`].
    TooLong,
    /// The client binds the exchange by something else than the certificate.
    UnknownBinding,
}

impl fmt::Display for MessageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            MessageError::Attribute(letter) => write!(f, "attribute {letter}= expected"),
            MessageError::AuthorizationIdentity => {
                f.write_str("authorization identities are not supported")
            }
            MessageError::Base64(letter) => {
                write!(f, "attribute {letter}= is not base64 of the right length")
            }
            MessageError::BindingAbsent => {
                f.write_str("the mechanism has channel binding, and the message has none")
            }
            MessageError::BindingChanged => f.write_str("channel binding does not match"),
            MessageError::BindingRequired => f.write_str(
                "the client requires channel binding, and chose the mechanism without it",
            ),
            MessageError::Downgraded => f.write_str(
                "the client was not told of the channel binding that it was offered: somebody may \
                 stand between",
            ),
            MessageError::Iterations => {
                write!(f, "iteration count is not between 1 and {ITERATIONS_MAX}")
            }
            MessageError::MandatoryExtension => {
                f.write_str("the extension demanded is not supported")
            }
            MessageError::Nonce => f.write_str("nonce does not match"),
            MessageError::TooLong => {
                write!(f, "message is longer than {MESSAGE_BYTES_MAX} bytes")
            }
            MessageError::UnknownBinding => {
                f.write_str("the only channel binding is tls-server-end-point")
            }
        }
    }
}

/// client-first-message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFirst<'a> {
    /// The header up to and with its second comma, which `c=` has to repeat.
    pub header: &'a [u8],
    /// client-first-message-bare. The user name in it is ignored, as in PostgreSQL: the startup
    /// packet has named the user.
    pub bare: &'a [u8],
    pub nonce: &'a [u8],
}

impl<'a> ClientFirst<'a> {
    pub fn parse(message: &'a [u8], binding: Binding) -> Result<ClientFirst<'a>, MessageError> {
        let mut fields = ScramAttributes::of(message)?;
        match (fields.next(), binding) {
            (Some(b"n" | b"y"), Binding::Used) => return Err(MessageError::BindingAbsent),
            (Some(b"y"), Binding::Declined) => return Err(MessageError::Downgraded),
            (Some(b"n" | b"y"), Binding::Declined | Binding::Unavailable) => {}
            (Some(b"p=tls-server-end-point"), Binding::Used) => {}
            (Some([b'p', b'=', ..]), Binding::Used) => return Err(MessageError::UnknownBinding),
            (Some([b'p', b'=', ..]), _) => return Err(MessageError::BindingRequired),
            _ => return Err(MessageError::Attribute('n')),
        }
        match fields.next() {
            Some(b"") => {}
            Some(identity) if identity.starts_with(b"a=") => {
                return Err(MessageError::AuthorizationIdentity);
            }
            _ => return Err(MessageError::Attribute('a')),
        }
        let (header, bare) = message.split_at(fields.at);
        if bare.starts_with(b"m=") {
            return Err(MessageError::MandatoryExtension);
        }
        fields.value('n')?;
        let nonce = checked_nonce(fields.value('r')?)?;
        Ok(ClientFirst { header, bare, nonce })
    }
}

/// client-first-message-bare; after a header it is the whole message. The user name stays empty, as
/// libpq leaves it.
pub fn client_first_bare(nonce: &str) -> String {
    format!("n=,r={nonce}")
}

/// server-first-message.
#[derive(Debug, PartialEq, Eq)]
pub struct ServerFirst<'a> {
    pub nonce: &'a [u8],
    pub salt: Vec<u8>,
    /// 1 to [`ITERATIONS_MAX`].
    pub iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// `client_nonce` is ours: the server's nonce must begin with it and add to it.
    pub fn parse(message: &'a [u8], client_nonce: &[u8]) -> Result<ServerFirst<'a>, MessageError> {
        let mut fields = ScramAttributes::of(message)?;
        if message.starts_with(b"m=") {
            return Err(MessageError::MandatoryExtension);
        }
        let nonce = checked_nonce(fields.value('r')?)?;
        if !nonce.starts_with(client_nonce) || nonce.len() == client_nonce.len() {
            return Err(MessageError::Nonce);
        }
        let salt = decode('s', fields.value('s')?)?;
        let iterations = parse_iterations(fields.value('i')?)?;
        Ok(ServerFirst { nonce, salt, iterations })
    }
}

pub fn server_first(nonce: &[u8], salt: &[u8], iterations: u32) -> Vec<u8> {
    let mut out = Vec::with_capacity(nonce.len() + base64_bytes(salt.len()) + 16);
    out.extend_from_slice(b"r=");
    out.extend_from_slice(nonce);
    out.extend_from_slice(b",s=");
    push_base64(&mut out, salt);
    out.extend_from_slice(b",i=");
    out.extend_from_slice(iterations.to_string().as_bytes());
    out
}

/// client-final-message.
#[derive(Debug, PartialEq, Eq)]
pub struct ClientFinal<'a> {
    /// Everything before `,p=`: the last part of the text that is signed.
    pub without_proof: &'a [u8],
    pub proof: ScramKey,
}

impl<'a> ClientFinal<'a> {
    /// `binding` is the header of client-first-message, followed by the hash of our certificate if
    /// the exchange is bound. `nonce` is the whole nonce agreed on.
    pub fn parse(
        message: &'a [u8],
        binding: &[u8],
        nonce: &[u8],
    ) -> Result<ClientFinal<'a>, MessageError> {
        let mut fields = ScramAttributes::of(message)?;
        if !is_base64_of(fields.value('c')?, binding) {
            return Err(MessageError::BindingChanged);
        }
        if fields.value('r')? != nonce {
            return Err(MessageError::Nonce);
        }
        loop {
            let without_proof = &message[..fields.at.saturating_sub(1)];
            match fields.next() {
                Some(field) if field.starts_with(b"p=") && fields.is_at_end() => {
                    let proof = decode_key('p', &field[2..])?;
                    return Ok(ClientFinal { without_proof, proof });
                }
                Some(extension) if is_attribute(extension) && !fields.is_at_end() => {}
                _ => return Err(MessageError::Attribute('p')),
            }
        }
    }
}

/// client-final-message-without-proof. `binding` is the header of client-first-message, followed by
/// the hash of the server's certificate if the exchange is bound.
pub fn client_final_without_proof(binding: &[u8], nonce: &[u8]) -> Vec<u8> {
    [b"c=", BASE64_STANDARD.encode(binding).as_bytes(), b",r=", nonce].concat()
}

/// client-final-message.
pub fn client_final(without_proof: &[u8], proof: &ScramKey) -> Vec<u8> {
    let proof = BASE64_STANDARD.encode(proof.as_bytes());
    [without_proof, b",p=", proof.as_bytes()].concat()
}

/// server-final-message.
#[derive(Debug, PartialEq, Eq)]
pub enum ServerFinal<'a> {
    /// The server refuses, with a word of RFC 5802, section 7 (`server-error-value`).
    Error(&'a [u8]),
    Signature(ScramKey),
}

impl<'a> ServerFinal<'a> {
    pub fn parse(message: &'a [u8]) -> Result<ServerFinal<'a>, MessageError> {
        let mut fields = ScramAttributes::of(message)?;
        if message.starts_with(b"e=") {
            return Ok(ServerFinal::Error(fields.value('e')?));
        }
        Ok(ServerFinal::Signature(decode_key('v', fields.value('v')?)?))
    }
}

pub fn server_final(signature: &ScramKey) -> Vec<u8> {
    let mut out = Vec::with_capacity(2 + base64_bytes(KEY_BYTES));
    out.extend_from_slice(b"v=");
    push_base64(&mut out, signature.as_bytes());
    out
}

/// The text that both sides sign: AuthMessage of RFC 5802, section 3.
pub fn auth_message(client_first_bare: &[u8], server_first: &[u8], client_final: &[u8]) -> Vec<u8> {
    [client_first_bare, server_first, client_final].join(&b","[..])
}

/// AuthMessage up to client-final-message, which follows.
pub fn begin_auth_message(out: &mut Vec<u8>, client_first_bare: &[u8], server_first: &[u8]) {
    for part in [client_first_bare, server_first] {
        out.extend_from_slice(part);
        out.push(b',');
    }
}

/// A number from 1 to [`ITERATIONS_MAX`], in digits alone.
pub fn parse_iterations(text: &[u8]) -> Result<u32, MessageError> {
    let is_number = !text.is_empty() && text.len() <= 7 && text.iter().all(u8::is_ascii_digit);
    let value = text.iter().fold(0, |sum: u32, digit| {
        sum.saturating_mul(10).saturating_add(u32::from(digit.wrapping_sub(b'0')))
    });
    if is_number && (1..=ITERATIONS_MAX).contains(&value) {
        Ok(value)
    } else {
        Err(MessageError::Iterations)
    }
}

/// The parts of a message between its commas.
struct ScramAttributes<'a> {
    message: &'a [u8],
    /// Where the next part begins; one beyond the end when there is none.
    at: usize,
}

impl<'a> ScramAttributes<'a> {
    fn of(message: &'a [u8]) -> Result<ScramAttributes<'a>, MessageError> {
        if message.len() > MESSAGE_BYTES_MAX {
            return Err(MessageError::TooLong);
        }
        Ok(ScramAttributes { message, at: 0 })
    }

    fn next(&mut self) -> Option<&'a [u8]> {
        let rest = self.message.get(self.at..)?;
        let len = rest.iter().position(|&byte| byte == b',').unwrap_or(rest.len());
        self.at += len + 1;
        Some(&rest[..len])
    }

    fn is_at_end(&self) -> bool {
        self.at > self.message.len()
    }

    /// The value of the next part, which must be the attribute named.
    fn value(&mut self, letter: char) -> Result<&'a [u8], MessageError> {
        match self.next() {
            Some([name, b'=', value @ ..]) if char::from(*name) == letter => Ok(value),
            _ => Err(MessageError::Attribute(letter)),
        }
    }
}

fn is_attribute(field: &[u8]) -> bool {
    matches!(field, [name, b'=', ..] if name.is_ascii_alphabetic())
}

/// `printable` of RFC 5802, section 7.
fn checked_nonce(nonce: &[u8]) -> Result<&[u8], MessageError> {
    let is_nonce = !nonce.is_empty() && nonce.iter().all(u8::is_ascii_graphic);
    if is_nonce { Ok(nonce) } else { Err(MessageError::Nonce) }
}

fn decode(letter: char, text: &[u8]) -> Result<Vec<u8>, MessageError> {
    let bytes = BASE64_STANDARD.decode(text).map_err(|_| MessageError::Base64(letter))?;
    if bytes.is_empty() { Err(MessageError::Base64(letter)) } else { Ok(bytes) }
}

fn decode_key(letter: char, text: &[u8]) -> Result<ScramKey, MessageError> {
    // Room for a little more than a key, so that what is too long is seen to be.
    let mut block = [0; KEY_BYTES + KEY_BYTES / 2];
    let decoded = BASE64_STANDARD.decode_slice(text, &mut block).ok();
    let key = decoded.and_then(|count| ScramKey::from_slice(&block[..count]));
    wipe(&mut block);
    key.ok_or(MessageError::Base64(letter))
}

fn push_base64(out: &mut Vec<u8>, bytes: &[u8]) {
    let start = out.len();
    out.resize(start + base64_bytes(bytes.len()), 0);
    let written = BASE64_STANDARD.encode_slice(bytes, &mut out[start..]);
    debug_assert_eq!(written.ok(), Some(out.len() - start), "there is as much room as is needed");
}

/// The length of so many bytes in base64.
fn base64_bytes(count: usize) -> usize {
    count.div_ceil(3) * 4
}

fn is_base64_of(text: &[u8], bytes: &[u8]) -> bool {
    // Enough for the longest header with the longest hash.
    let mut block = [0; 128];
    match BASE64_STANDARD.encode_slice(bytes, &mut block) {
        Ok(count) => text == &block[..count],
        Err(_) => text == BASE64_STANDARD.encode(bytes).as_bytes(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT_NONCE: &[u8] = b"rOprNGfwEbeRWgbNEkqO";
    const NONCE: &[u8] = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0";
    const SERVER_FIRST: &[u8] =
        b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
    const CLIENT_FINAL: &[u8] = b"c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
        p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=";
    const SERVER_FINAL: &[u8] = b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=";

    #[test]
    fn the_messages_of_rfc_7677_are_read_and_written() {
        let message = b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO";
        let first = ClientFirst::parse(message, Binding::Unavailable).unwrap();
        assert_eq!((first.header, first.nonce), (&b"n,,"[..], CLIENT_NONCE));
        assert_eq!(first.bare, b"n=user,r=rOprNGfwEbeRWgbNEkqO");

        let ours = ServerFirst::parse(SERVER_FIRST, CLIENT_NONCE).unwrap();
        assert_eq!((ours.nonce, ours.iterations), (NONCE, 4096));
        assert_eq!(server_first(ours.nonce, &ours.salt, ours.iterations), SERVER_FIRST);

        let last = ClientFinal::parse(CLIENT_FINAL, b"n,,", NONCE).unwrap();
        assert_eq!(last.without_proof, client_final_without_proof(UNBOUND, NONCE));
        assert_eq!(client_final(last.without_proof, &last.proof), CLIENT_FINAL);

        let Ok(ServerFinal::Signature(signature)) = ServerFinal::parse(SERVER_FINAL) else {
            panic!("no signature");
        };
        assert_eq!(server_final(&signature), SERVER_FINAL);
        assert_eq!(
            ServerFinal::parse(b"e=invalid-proof"),
            Ok(ServerFinal::Error(b"invalid-proof"))
        );
    }

    #[test]
    fn what_is_wrong_with_client_first_is_named() {
        let cases: [(&[u8], MessageError); 11] = [
            (b"", MessageError::Attribute('n')),
            (b"x,,n=,r=abc", MessageError::Attribute('n')),
            (b"n=,r=abc", MessageError::Attribute('n')),
            (b"n,x=,n=,r=abc", MessageError::Attribute('a')),
            (b"n,a=joe,n=,r=abc", MessageError::AuthorizationIdentity),
            (b"p=tls-unique,,n=,r=abc", MessageError::BindingRequired),
            (b"n,,m=1,n=,r=abc", MessageError::MandatoryExtension),
            (b"n,,r=abc", MessageError::Attribute('n')),
            (b"n,,n=", MessageError::Attribute('r')),
            (b"n,,n=,r=", MessageError::Nonce),
            (b"n,,n=,r=a b", MessageError::Nonce),
        ];
        for (message, error) in cases {
            let parsed = ClientFirst::parse(message, Binding::Unavailable);
            assert_eq!(parsed, Err(error), "{message:?}");
        }
        let parsed = ClientFirst::parse(b"y,,n=,r=abc,x=ignored", Binding::Unavailable);
        assert!(parsed.is_ok());
    }

    #[test]
    fn what_a_client_says_of_channel_binding_must_fit_the_mechanism_that_it_chose() {
        use Binding::{Declined, Unavailable, Used};
        let cases: [(&[u8], Binding, Option<MessageError>); 12] = [
            (b"n", Unavailable, None),
            (b"y", Unavailable, None),
            (b"p=tls-server-end-point", Unavailable, Some(MessageError::BindingRequired)),
            (b"n", Declined, None),
            (b"y", Declined, Some(MessageError::Downgraded)),
            (b"p=tls-server-end-point", Declined, Some(MessageError::BindingRequired)),
            (b"n", Used, Some(MessageError::BindingAbsent)),
            (b"y", Used, Some(MessageError::BindingAbsent)),
            (b"p=tls-server-end-point", Used, None),
            (b"p=tls-unique", Used, Some(MessageError::UnknownBinding)),
            (b"p=", Used, Some(MessageError::UnknownBinding)),
            (b"p", Used, Some(MessageError::Attribute('n'))),
        ];
        for (flag, binding, error) in cases {
            let message = [flag, b",,n=,r=abc"].concat();
            let parsed = ClientFirst::parse(&message, binding).map(|first| first.header.to_vec());
            let expected = error.map_or_else(|| Ok([flag, b",,"].concat()), Err);
            assert_eq!(parsed, expected, "{flag:?}, {binding:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_server_first_is_named() {
        let cases: [(&[u8], MessageError); 12] = [
            (b"", MessageError::Attribute('r')),
            (b"m=1,r=abcd,s=QQ==,i=1", MessageError::MandatoryExtension),
            (b"r=ab,s=QQ==,i=1", MessageError::Nonce),
            (b"r=abc,s=QQ==,i=1", MessageError::Nonce),
            (b"r=xabc,s=QQ==,i=1", MessageError::Nonce),
            (b"r=abcd,i=1", MessageError::Attribute('s')),
            (b"r=abcd,s=,i=1", MessageError::Base64('s')),
            (b"r=abcd,s=*,i=1", MessageError::Base64('s')),
            (b"r=abcd,s=QQ==", MessageError::Attribute('i')),
            (b"r=abcd,s=QQ==,i=0", MessageError::Iterations),
            (b"r=abcd,s=QQ==,i=1000001", MessageError::Iterations),
            (b"r=abcd,s=QQ==,i=99999999999999999999", MessageError::Iterations),
        ];
        for (message, error) in cases {
            assert_eq!(ServerFirst::parse(message, b"abc"), Err(error), "{message:?}");
        }
        assert!(ServerFirst::parse(b"r=abcd,s=QQ==,i=1000000,x=ignored", b"abc").is_ok());
    }

    #[test]
    fn what_is_wrong_with_client_final_is_named() {
        let proof = BASE64_STANDARD.encode([7; KEY_BYTES]);
        let parsed = |text: &str| {
            let message = text.replace('P', &proof).into_bytes();
            ClientFinal::parse(&message, b"y,,", b"abc").map(|last| last.without_proof.to_vec())
        };
        assert_eq!(parsed("c=eSws,r=abc,x=1,p=P"), Ok(b"c=eSws,r=abc,x=1".to_vec()));
        let cases = [
            ("c=biws,r=abc,p=P", MessageError::BindingChanged),
            ("r=abc,p=P", MessageError::Attribute('c')),
            ("c=eSws,r=abd,p=P", MessageError::Nonce),
            ("c=eSws,r=abc", MessageError::Attribute('p')),
            ("c=eSws,r=abc,", MessageError::Attribute('p')),
            ("c=eSws,r=abc,p=P,x=1", MessageError::Attribute('p')),
            ("c=eSws,r=abc,p=QUFB", MessageError::Base64('p')),
            ("c=eSws,r=abc,p=****", MessageError::Base64('p')),
        ];
        for (message, error) in cases {
            assert_eq!(parsed(message), Err(error), "{message}");
        }
    }

    #[test]
    fn a_message_too_long_is_refused_before_it_is_read() {
        let message = [b"n,,n=,r=".to_vec(), vec![b'a'; MESSAGE_BYTES_MAX]].concat();
        assert_eq!(ClientFirst::parse(&message, Binding::Unavailable), Err(MessageError::TooLong));
        assert_eq!(ServerFirst::parse(&message, b"a"), Err(MessageError::TooLong));
        assert_eq!(ServerFinal::parse(&message), Err(MessageError::TooLong));
        let last = ClientFinal::parse(&message, b"n,,", b"a");
        assert_eq!(last, Err(MessageError::TooLong));
    }

    #[test]
    fn a_message_cut_anywhere_is_refused() {
        for cut in 0..SERVER_FIRST.len() {
            // A number that is cut after any of its digits is still a number.
            let is_number = SERVER_FIRST[..cut].ends_with(b"i=4")
                || SERVER_FIRST[..cut].ends_with(b"i=40")
                || SERVER_FIRST[..cut].ends_with(b"i=409");
            let parsed = ServerFirst::parse(&SERVER_FIRST[..cut], CLIENT_NONCE);
            assert_eq!(parsed.is_ok(), is_number, "cut at {cut}");
        }
        for cut in 0..CLIENT_FINAL.len() {
            let parsed = ClientFinal::parse(&CLIENT_FINAL[..cut], b"n,,", NONCE);
            assert!(parsed.is_err(), "cut at {cut}");
        }
        for cut in 0..SERVER_FINAL.len() {
            assert!(ServerFinal::parse(&SERVER_FINAL[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn iterations_are_digits_within_bounds() {
        assert_eq!(parse_iterations(b"1"), Ok(1));
        assert_eq!(parse_iterations(b"0004096").ok(), Some(4096));
        for text in [&b""[..], b"0", b"-1", b"+1", b" 1", b"1 ", b"1x", b"00000001"] {
            assert_eq!(parse_iterations(text), Err(MessageError::Iterations), "{text:?}");
        }
    }
}
