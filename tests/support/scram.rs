//! What a client and a server compute for SCRAM-SHA-256 and md5, written apart from the program's
//! own arithmetic, so that the one checks the other.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha2::Sha256;

use super::fake;
use super::wire::Wire;

pub const MECHANISM: &str = "SCRAM-SHA-256";
const CLIENT_NONCE: &str = "rOprNGfwEbeRWgbNEkqO";

/// The client's half of an exchange.
pub struct ScramClient {
    password: String,
    first_bare: String,
    expected_signature: String,
}

impl ScramClient {
    pub fn new(password: &str) -> ScramClient {
        let first_bare = format!("n=,r={CLIENT_NONCE}");
        ScramClient { password: password.into(), first_bare, expected_signature: String::new() }
    }

    /// The body of the SASLInitialResponse.
    pub fn initial(&self) -> Vec<u8> {
        let text = format!("n,,{}", self.first_bare);
        let mut body = format!("{MECHANISM}\0").into_bytes();
        body.extend_from_slice(&(text.len() as u32).to_be_bytes());
        body.extend_from_slice(text.as_bytes());
        body
    }

    /// The client-final message that answers a server-first message.
    pub fn last(&mut self, server_first: &str) -> String {
        let attribute = |name: &str| attribute(server_first, name);
        assert!(attribute("r=").starts_with(CLIENT_NONCE), "the nonce is ours and more");
        let salt = STANDARD.decode(attribute("s=")).expect("a salt in base64");
        let rounds = attribute("i=").parse().expect("a number of iterations");
        let without_proof = format!("c=biws,r={}", attribute("r="));
        let proof = Proof::new(&self.password, &salt, rounds, &self.first_bare, server_first);
        let (proof, signature) = proof.sign(&without_proof);
        self.expected_signature = format!("v={signature}");
        format!("{without_proof},p={proof}")
    }

    /// True when the server, too, has shown that it knows the password.
    pub fn is_genuine(&self, server_final: &str) -> bool {
        server_final == self.expected_signature
    }
}

struct Proof {
    salted: [u8; 32],
    auth_message: String,
}

impl Proof {
    fn new(password: &str, salt: &[u8], rounds: u32, first: &str, server_first: &str) -> Proof {
        let mut salted = [0; 32];
        pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), salt, rounds, &mut salted);
        Proof { salted, auth_message: format!("{first},{server_first},") }
    }

    /// The client's proof and the server's signature, in base64.
    fn sign(&self, without_proof: &str) -> (String, String) {
        let auth_message = format!("{}{without_proof}", self.auth_message);
        let client_key = hmac(&self.salted, b"Client Key");
        let signature = hmac(&Sha256::digest(client_key), auth_message.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(signature).map(|(k, s)| k ^ s).collect();
        let server_key = hmac(&self.salted, b"Server Key");
        let server = hmac(&server_key, auth_message.as_bytes());
        (STANDARD.encode(proof), STANDARD.encode(server))
    }
}

fn attribute<'a>(message: &'a str, name: &str) -> &'a str {
    let found = message.split(',').find_map(|part| part.strip_prefix(name));
    found.unwrap_or_else(|| panic!("{name} is missing in {message}"))
}

fn hmac(key: &[u8], data: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(data);
    mac.finalize().into_bytes().into()
}

/// The answer to an md5 challenge.
pub fn md5_response(user: &str, password: &str, salt: &[u8]) -> String {
    let inner = hex(&Md5::digest(format!("{password}{user}")));
    let outer = Md5::digest([inner.as_bytes(), salt].concat());
    format!("md5{}", hex(&outer))
}

/// The md5 secret as a userlist or PostgreSQL stores it.
pub fn md5_secret(user: &str, password: &str) -> String {
    format!("md5{}", hex(&Md5::digest(format!("{password}{user}"))))
}

/// The SCRAM secret as a userlist or PostgreSQL stores it.
pub fn scram_secret(password: &str, salt: &[u8], rounds: u32) -> String {
    let proof = Proof::new(password, salt, rounds, "", "");
    let stored = STANDARD.encode(Sha256::digest(hmac(&proof.salted, b"Client Key")));
    let server = STANDARD.encode(hmac(&proof.salted, b"Server Key"));
    format!("{MECHANISM}${rounds}:{}${stored}:{server}", STANDARD.encode(salt))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What a server that knows the password says last: the messages are those of the exchange, of the
/// client's last one all that stands before its proof.
pub fn server_final(
    password: &str,
    (salt, rounds): (&[u8], u32),
    (first_bare, server_first, without_proof): (&str, &str, &str),
) -> String {
    let proof = Proof::new(password, salt, rounds, first_bare, server_first);
    format!("v={}", proof.sign(without_proof).1)
}

/// A server's half of a SCRAM login; false when the pooler has gone.
pub fn let_in(wire: &mut Wire, rounds: u32, salt: &[u8], before_last: impl FnOnce()) -> Option<()> {
    fake::hear_startup(wire).ok()??;
    wire.say(b'R', &[&10_u32.to_be_bytes()[..], MECHANISM.as_bytes(), b"\0\0"].concat());
    let first = wire.hear().ok()?.body;
    let first = String::from_utf8_lossy(&first[MECHANISM.len() + 5..]).into_owned();
    let first_bare = first.strip_prefix("n,,")?;
    let nonce = first_bare.split("r=").nth(1)?;
    let salt_text = STANDARD.encode(salt);
    let server_first = format!("r={nonce}more,s={salt_text},i={rounds}");
    wire.say(b'R', &[&11_u32.to_be_bytes()[..], server_first.as_bytes()].concat());
    let last = wire.hear().ok()?.text();
    before_last();
    let without_proof = last.split(",p=").next()?;
    let messages = (first_bare, server_first.as_str(), without_proof);
    let last = server_final("secret", (salt, rounds), messages);
    wire.say(b'R', &[&12_u32.to_be_bytes()[..], last.as_bytes()].concat());
    wire.send(&fake::welcome());
    Some(())
}
