//! OpenSSL contexts, made from settings and files: for clients, for servers, for HTTP.

use openssl::error::ErrorStack;
use openssl::ssl::{
    AlpnError, SslContext, SslContextBuilder, SslMethod, SslMode, SslOptions, SslSessionCacheMode,
    SslVerifyMode, select_next_proto,
};
use openssl::x509::store::X509StoreBuilder;

use super::described;
use super::material::{self, reason};
use super::stamp::FileStamp;
use super::{TlsError, TlsSide, Wanted};
use crate::config::TlsMode;
use crate::pool::records::secured::TlsFile;
use crate::sys::tls;

/// The largest record that is sent, in bytes. libpq reads once when its socket is readable, and
/// then waits for the socket again: the rest of a larger record would stay inside its TLS library.
const RECORD_BYTES_MAX: u16 = 8192;

/// PostgreSQL's protocol as ALPN names it, with its length (manual, "SSL Session Encryption").
pub const ALPN: &[u8] = b"\x0apostgresql";

/// HTTP as ALPN names it.
const ALPN_WEB: &[u8] = b"\x08http/1.1";

/// Words for the library's own choice of ciphers.
const DEFAULT_CIPHERS: &[&str] = &["", "default", "secure", "fast", "normal"];

/// A context, and what it is made of.
#[derive(Clone)]
pub struct Made {
    pub context: SslContext,
    /// The hash of the pooler's certificate, for SCRAM-SHA-256-PLUS.
    pub end_point: Option<Box<[u8]>>,
    pub certificate: Option<TlsFile>,
    pub authorities: Option<TlsFile>,
    /// The files, as they were when they were read.
    pub stamps: Vec<(String, FileStamp)>,
}

/// The certificate that the pooler shows to the peer.
#[derive(Default)]
struct OwnCertificate {
    end_point: Option<Box<[u8]>>,
    certificate: Option<TlsFile>,
}

pub fn are_default(ciphers: &str) -> bool {
    DEFAULT_CIPHERS.iter().any(|word| word.eq_ignore_ascii_case(ciphers))
}

pub fn clients(wanted: &Wanted) -> Result<Made, TlsError> {
    if wanted.key_file.is_empty() || wanted.cert_file.is_empty() {
        let text = "To allow TLS connections from clients, client_tls_key_file and \
                    client_tls_cert_file must be set.";
        return Err(TlsError::new(text));
    }
    let stamps = wanted.stamps();
    let mut context = common(SslMethod::tls_server(), TlsSide::Client, wanted)?;
    let OwnCertificate { end_point, certificate } = show_certificate(&mut context, wanted)?;
    let authorities = trust(&mut context, wanted, TlsSide::Client)?;
    let mut verify = SslVerifyMode::PEER;
    if matches!(wanted.mode, TlsMode::VerifyCa | TlsMode::VerifyFull) {
        verify |= SslVerifyMode::FAIL_IF_NO_PEER_CERT;
    }
    context.set_verify(verify);
    context.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN, offered)
            .filter(|name| *name == &ALPN[1..])
            .ok_or(AlpnError::ALERT_FATAL)
    });
    exchange(&mut context, wanted)?;
    context.set_num_tickets(0).map_err(library)?;
    Ok(Made { context: context.build(), end_point, certificate, authorities, stamps })
}

/// The context for HTTP. Nobody is asked for a certificate.
pub fn web(wanted: &Wanted) -> Result<SslContext, TlsError> {
    if wanted.key_file.is_empty() || wanted.cert_file.is_empty() {
        let text = "metrics_tls needs client_tls_key_file and client_tls_cert_file";
        return Err(TlsError::new(text));
    }
    let mut context = common(SslMethod::tls_server(), TlsSide::Client, wanted)?;
    show_certificate(&mut context, wanted)?;
    context.set_alpn_select_callback(|_, offered| {
        select_next_proto(ALPN_WEB, offered)
            .filter(|name| *name == &ALPN_WEB[1..])
            .ok_or(AlpnError::NOACK)
    });
    exchange(&mut context, wanted)?;
    context.set_num_tickets(0).map_err(library)?;
    Ok(context.build())
}

pub fn servers(wanted: &Wanted) -> Result<Made, TlsError> {
    let stamps = wanted.stamps();
    let mut context = common(SslMethod::tls_client(), TlsSide::Server, wanted)?;
    let own = match (wanted.cert_file.is_empty(), wanted.key_file.is_empty()) {
        (true, true) => OwnCertificate::default(),
        (false, false) => show_certificate(&mut context, wanted)?,
        _ => {
            let text = "server_tls_key_file and server_tls_cert_file must be set together";
            return Err(TlsError::new(text));
        }
    };
    let authorities = trust(&mut context, wanted, TlsSide::Server)?;
    let is_verified = matches!(wanted.mode, TlsMode::VerifyCa | TlsMode::VerifyFull);
    context.set_verify(if is_verified { SslVerifyMode::PEER } else { SslVerifyMode::NONE });
    let OwnCertificate { end_point, certificate } = own;
    Ok(Made { context: context.build(), end_point, certificate, authorities, stamps })
}

/// Checks the names of versions and ciphers, before any context is made of them.
pub fn check_words(wanted: &Wanted) -> Result<(), TlsError> {
    versions(TlsSide::Server, &wanted.protocols)?;
    if are_default(&wanted.ciphers) {
        return Ok(());
    }
    let mut context = SslContextBuilder::new(SslMethod::tls_client()).map_err(library)?;
    choose_ciphers(&mut context, TlsSide::Server, &wanted.ciphers)
}

/// What the contexts have in common: versions, ciphers, and modes of the library.
fn common(
    method: SslMethod,
    side: TlsSide,
    wanted: &Wanted,
) -> Result<SslContextBuilder, TlsError> {
    let mut context = SslContextBuilder::new(method).map_err(library)?;
    context.clear_options(SslOptions::ALL);
    // PostgreSQL's clients resume no session, and tickets would cost memory for each client. A
    // stream that ends without close_notify has ended like any other.
    context.set_options(
        SslOptions::NO_TICKET
            | SslOptions::NO_COMPRESSION
            | SslOptions::NO_RENEGOTIATION
            | SslOptions::CIPHER_SERVER_PREFERENCE
            | SslOptions::IGNORE_UNEXPECTED_EOF
            | versions(side, &wanted.protocols)?,
    );
    context.set_min_proto_version(None).map_err(library)?;
    // Bytes that the library has not taken are offered again, perhaps from another place in memory.
    context.set_mode(
        SslMode::ACCEPT_MOVING_WRITE_BUFFER
            | SslMode::ENABLE_PARTIAL_WRITE
            | SslMode::RELEASE_BUFFERS
            | SslMode::AUTO_RETRY,
    );
    context.set_session_cache_mode(SslSessionCacheMode::OFF);
    tls::bound_records(&mut context, RECORD_BYTES_MAX);
    choose_ciphers(&mut context, side, &wanted.ciphers)?;
    if !wanted.ciphers13.is_empty() {
        let failed = |_| TlsError::new("failed to set the TLSv1.3 cipher suites");
        context.set_ciphersuites(&wanted.ciphers13).map_err(failed)?;
    }
    Ok(context)
}

/// Sets the ciphers of versions before 1.3.
fn choose_ciphers(
    context: &mut SslContextBuilder,
    side: TlsSide,
    words: &str,
) -> Result<(), TlsError> {
    if are_default(words) {
        return Ok(());
    }
    let ciphers = if words.eq_ignore_ascii_case("all") { "ALL:!aNULL:!eNULL" } else { words };
    let invalid = |_| TlsError::new(format!("invalid {}_tls_ciphers: {words}", side.word()));
    context.set_cipher_list(ciphers).map_err(invalid)
}

/// Loads certificate and key, which must belong together.
fn show_certificate(
    context: &mut SslContextBuilder,
    wanted: &Wanted,
) -> Result<OwnCertificate, TlsError> {
    let chain = material::chain(&wanted.cert_file)?;
    let certificate = described::chain(&wanted.cert_file, &chain);
    let key = material::key(&wanted.key_file)?;
    let failed = |errors: ErrorStack| {
        let why = reason(&errors);
        TlsError::new(format!("failed to load certificate file \"{}\": {why}", wanted.cert_file))
    };
    let mut certificates = chain.into_iter();
    let own = certificates.next().ok_or_else(|| material::mismatch(&wanted.cert_file))?;
    context.set_certificate(&own).map_err(failed)?;
    for signer in certificates {
        context.add_extra_chain_cert(signer).map_err(failed)?;
    }
    let fits = own.public_key().is_ok_and(|public| public.public_eq(&key));
    if !fits {
        return Err(material::mismatch(&wanted.key_file));
    }
    context.set_private_key(&key).map_err(failed)?;
    Ok(OwnCertificate { end_point: material::end_point(&own), certificate })
}

/// Loads the authorities that peers are checked against.
fn trust(
    context: &mut SslContextBuilder,
    wanted: &Wanted,
    side: TlsSide,
) -> Result<Option<TlsFile>, TlsError> {
    check_authority(wanted, side)?;
    let mut store = X509StoreBuilder::new().map_err(library)?;
    if wanted.trusts_system {
        store.set_default_paths().map_err(library)?;
    }
    let mut described = None;
    if !wanted.ca_file.is_empty() {
        let authorities = material::authorities(&wanted.ca_file)?;
        described = described::authorities(&wanted.ca_file, &authorities);
        for authority in authorities {
            if side == TlsSide::Client {
                context.add_client_ca(&authority).map_err(library)?;
            }
            store.add_cert(authority).map_err(library)?;
        }
    }
    context.set_cert_store(store.build());
    Ok(described)
}

/// A mode that verifies peers needs authorities to verify them against.
fn check_authority(wanted: &Wanted, side: TlsSide) -> Result<(), TlsError> {
    let needs_one = match side {
        TlsSide::Client => wanted.mode == TlsMode::VerifyFull,
        TlsSide::Server => matches!(wanted.mode, TlsMode::VerifyCa | TlsMode::VerifyFull),
    };
    if needs_one && wanted.ca_file.is_empty() && !wanted.trusts_system {
        let word = side.word();
        return Err(TlsError::new(format!("{word}_tls_sslmode requires {word}_tls_ca_file")));
    }
    Ok(())
}

/// Sets how keys are agreed on with clients: DH parameters and curves.
fn exchange(context: &mut SslContextBuilder, wanted: &Wanted) -> Result<(), TlsError> {
    match wanted.dheparams.to_ascii_lowercase().as_str() {
        "none" => {}
        // `legacy` once meant 1024 bits, which are broken: the library's own parameters are used.
        "" | "auto" | "legacy" => tls::choose_dh(context),
        _ => {
            return Err(TlsError::new(format!(
                "invalid client_tls_dheparams: {}",
                wanted.dheparams
            )));
        }
    }
    match wanted.ecdhcurve.to_ascii_lowercase().as_str() {
        "" | "auto" => Ok(()),
        // Only versions before 1.3 can do without a curve.
        "none" => context.set_cipher_list("DEFAULT:!kECDHE").map_err(library),
        _ => context.set_groups_list(&wanted.ecdhcurve).map_err(|_| {
            TlsError::new(format!("invalid client_tls_ecdhcurve: {}", wanted.ecdhcurve))
        }),
    }
}

/// The versions, by name.
const VERSIONS: &[(&str, SslOptions)] = &[
    ("tlsv1.0", SslOptions::NO_TLSV1),
    ("tlsv1.1", SslOptions::NO_TLSV1_1),
    ("tlsv1.2", SslOptions::NO_TLSV1_2),
    ("tlsv1.3", SslOptions::NO_TLSV1_3),
];

/// The versions that are *not* allowed. Names stand in any order, with commas, colons or spaces
/// between; `all`, `legacy` and `secure` stand for several, and `!` takes some away.
fn versions(side: TlsSide, text: &str) -> Result<SslOptions, TlsError> {
    let every = VERSIONS.iter().fold(SslOptions::empty(), |all, (_, bit)| all | *bit);
    let secure = SslOptions::NO_TLSV1_2 | SslOptions::NO_TLSV1_3;
    let mut allowed = SslOptions::empty();
    let mut is_first = true;
    for word in text.split([',', ':', ' ', '\t']).filter(|word| !word.is_empty()) {
        let (is_taken_away, name) = match word.strip_prefix('!') {
            Some(name) => (true, name),
            None => (false, word),
        };
        let name = name.to_ascii_lowercase();
        let bits = match name.as_str() {
            "all" | "legacy" => every,
            "secure" | "default" => secure,
            "tlsv1" => every,
            _ => {
                let found = VERSIONS.iter().find(|(known, _)| *known == name);
                let invalid =
                    || TlsError::new(format!("invalid {}_tls_protocols: {text}", side.word()));
                found.ok_or_else(invalid)?.1
            }
        };
        if is_taken_away && is_first {
            allowed = every;
        }
        is_first = false;
        allowed = if is_taken_away { allowed - bits } else { allowed | bits };
    }
    let allowed = if is_first { secure } else { allowed };
    Ok(every - allowed)
}

/// A failure of the library that no setting explains.
fn library(errors: ErrorStack) -> TlsError {
    TlsError::new(reason(&errors))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_operators_write_them() {
        let no = |text: &str| versions(TlsSide::Client, text).expect(text);
        let old = SslOptions::NO_TLSV1 | SslOptions::NO_TLSV1_1;
        assert_eq!(no("secure"), old);
        assert_eq!(no(""), old);
        assert_eq!(no("all"), SslOptions::empty());
        assert_eq!(no("tlsv1.2, TLSv1.3"), old);
        assert_eq!(no("tlsv1.3"), old | SslOptions::NO_TLSV1_2);
        assert_eq!(no("all:!tlsv1.0"), SslOptions::NO_TLSV1);
        assert_eq!(no("!tlsv1.3"), SslOptions::NO_TLSV1_3);
        let refused = versions(TlsSide::Server, "tlsv1.4").expect_err("no such version");
        assert_eq!(refused.to_string(), "invalid server_tls_protocols: tlsv1.4");
    }
}
