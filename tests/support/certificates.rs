//! Certificates for tests, made anew in each run: an authority, and what it signs.

use openssl::asn1::Asn1Time;
use openssl::bn::BigNum;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{PKey, Private};
use openssl::rsa::Rsa;
use openssl::ssl::SslAcceptorBuilder;
use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
use openssl::x509::{X509, X509Builder, X509NameBuilder};

/// A certificate and its key.
pub struct Pair {
    certificate: X509,
    key: PKey<Private>,
}

impl Pair {
    pub fn certificate(&self) -> String {
        text(self.certificate.to_pem())
    }

    pub fn key(&self) -> String {
        text(self.key.private_key_to_pem_pkcs8())
    }

    /// Has a server show this pair.
    pub fn put_into(&self, server: &mut SslAcceptorBuilder) {
        server.set_certificate(&self.certificate).expect("a certificate");
        server.set_private_key(&self.key).expect("its key");
    }
}

fn text(pem: Result<Vec<u8>, openssl::error::ErrorStack>) -> String {
    String::from_utf8(pem.expect("it is written as PEM")).expect("PEM is ASCII")
}

pub fn p256() -> PKey<Private> {
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("the curve is known");
    PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key")
}

pub fn rsa() -> PKey<Private> {
    PKey::from_rsa(Rsa::generate(2048).expect("a key")).expect("a key")
}

pub fn ed25519() -> PKey<Private> {
    PKey::generate_ed25519().expect("a key")
}

/// An authority that signs itself.
pub fn authority() -> Pair {
    make("the authority of the tests", &[], p256(), None, Manner::usual())
}

/// An authority that another has signed.
pub fn authority_under(authority: &Pair) -> Pair {
    let manner = Manner { is_authority: true, ..Manner::usual() };
    make("an authority of the authority", &[], p256(), Some(authority), manner)
}

/// Of the first version, which knows no other names than the common one, nor what it is for.
pub fn of_version_1(authority: &Pair, name: &str, key: PKey<Private>) -> Pair {
    make(name, &[], key, Some(authority), Manner { version: 1, ..Manner::usual() })
}

/// A certificate that signs itself and has no name but this.
pub fn self_signed_for(name: &str, key: PKey<Private>) -> Pair {
    let digest = match key.id() {
        openssl::pkey::Id::ED25519 => MessageDigest::null(),
        _ => MessageDigest::sha256(),
    };
    make(name, &[], key, None, Manner { digest, ..Manner::usual() })
}

/// A certificate for localhost that signs itself, with a hash of the caller's choice; none for
/// keys that hash by themselves.
pub fn self_signed(key: PKey<Private>, digest: MessageDigest) -> Pair {
    make("localhost", &["localhost"], key, None, Manner { digest, ..Manner::usual() })
}

/// A certificate of an authority, for a common name and DNS names or addresses.
pub fn signed(authority: &Pair, name: &str, others: &[&str], key: PKey<Private>) -> Pair {
    make(name, others, key, Some(authority), Manner::usual())
}

/// The same, that ends in so many days, or ended so many days ago.
pub fn ending(authority: &Pair, name: &str, days: i32, key: PKey<Private>) -> Pair {
    let manner = Manner { first_day: days.min(0) - 1, last_day: days, ..Manner::usual() };
    make(name, &[], key, Some(authority), manner)
}

/// The same, that does not count before tomorrow.
pub fn of_tomorrow(authority: &Pair, name: &str, key: PKey<Private>) -> Pair {
    let manner = Manner { first_day: 1, ..Manner::usual() };
    make(name, &[], key, Some(authority), manner)
}

/// What few tests care about.
struct Manner {
    digest: MessageDigest,
    /// In days from now.
    first_day: i32,
    last_day: i32,
    version: i32,
    /// Of one that another signs; who signs himself is one.
    is_authority: bool,
}

impl Manner {
    fn usual() -> Manner {
        Manner {
            digest: MessageDigest::sha256(),
            first_day: 0,
            last_day: 100,
            version: 3,
            is_authority: false,
        }
    }
}

fn day(days: i32) -> Asn1Time {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let now = now.expect("it is after 1970").as_secs() as i64;
    Asn1Time::from_unix(now + i64::from(days) * 86_400).expect("a time")
}

fn make(
    name: &str,
    others: &[&str],
    key: PKey<Private>,
    signer: Option<&Pair>,
    manner: Manner,
) -> Pair {
    let mut subject = X509NameBuilder::new().expect("a name");
    subject.append_entry_by_nid(Nid::COMMONNAME, name).expect("a common name");
    let subject = subject.build();
    let mut builder = X509Builder::new().expect("a certificate");
    builder.set_version(manner.version - 1).expect("a version");
    let serial = BigNum::from_u32(rand()).and_then(|number| number.to_asn1_integer());
    builder.set_serial_number(&serial.expect("a number")).expect("a serial number");
    builder.set_subject_name(&subject).expect("a subject");
    let issuer = signer.map_or(&*subject, |signer| signer.certificate.subject_name());
    builder.set_issuer_name(issuer).expect("an issuer");
    builder.set_not_before(&day(manner.first_day)).expect("a beginning");
    builder.set_not_after(&day(manner.last_day)).expect("an end");
    builder.set_pubkey(&key).expect("a public key");
    if signer.is_none() || manner.is_authority {
        let basic = BasicConstraints::new().critical().ca().build().expect("an extension");
        builder.append_extension(basic).expect("an extension");
    }
    if !others.is_empty() {
        let mut names = SubjectAlternativeName::new();
        for other in others {
            match other.parse::<std::net::IpAddr>() {
                Ok(_) => names.ip(other),
                Err(_) => names.dns(other),
            };
        }
        let issuer = signer.map(|signer| &*signer.certificate);
        let names = names.build(&builder.x509v3_context(issuer, None)).expect("names");
        builder.append_extension(names).expect("an extension");
    }
    let signing = signer.map_or(&key, |signer| &signer.key);
    builder.sign(signing, manner.digest).expect("a signature");
    Pair { certificate: builder.build(), key }
}

fn rand() -> u32 {
    let mut bytes = [0; 4];
    openssl::rand::rand_bytes(&mut bytes).expect("random bytes");
    u32::from_ne_bytes(bytes) >> 1
}
