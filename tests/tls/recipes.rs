//! Certificates as PostgreSQL's manual has operators make them ("Creating Certificates"), and as
//! their authorities do: each is shown to libpq and to another pooler, which verify its name.

use openssl::pkey::{PKey, Private};

use super::support::certificates::{
    Pair, authority, authority_under, ed25519, of_version_1, p256, rsa, self_signed_for, signed,
};
use super::support::postgres::APP;
use super::support::tool::Tool;
use super::support::{Setup, host};
use super::{offering, root};

/// What a server shows, its key, and what clients trust.
struct Made {
    chain: String,
    key: String,
    trusted: String,
}

impl Made {
    fn of(pair: &Pair, signer: &Pair) -> Made {
        Made { chain: pair.certificate(), key: pair.key(), trusted: signer.certificate() }
    }
}

type Recipe = (&'static str, fn(PKey<Private>) -> Made);

const RECIPES: &[Recipe] = &[
    ("signed by itself, and trusted as it is", |key| {
        let pair = self_signed_for("localhost", key);
        Made::of(&pair, &pair)
    }),
    ("of version 1, signed by an authority of one's own", |key| {
        Made::of(&of_version_1(root(), "localhost", key), root())
    }),
    ("a common name and no other", |key| Made::of(&signed(root(), "localhost", &[], key), root())),
    ("other names, of which one counts, and not the common one", |key| {
        Made::of(&signed(root(), "db", &["db.example.com", "localhost"], key), root())
    }),
    ("an authority between the root and the certificate", |key| {
        let between = authority_under(root());
        let made = Made::of(&signed(&between, "localhost", &["localhost"], key), root());
        Made { chain: made.chain + &between.certificate(), ..made }
    }),
];

#[test]
fn certificates_of_all_recipes_serve_on_both_sides() {
    for (recipe, make) in RECIPES {
        for (kind, key) in [("P-256", p256()), ("Ed25519", ed25519()), ("RSA", rsa())] {
            let made = make(key);
            let shown = offering("require")
                .file("own.crt", &made.chain)
                .file("own.key", &made.key)
                .file("trusted.crt", &made.trusted)
                .start();
            let trusted = shown.folder.join("trusted.crt").to_string_lossy().into_owned();
            let psql = Tool::psql(shown.port, &APP, "app")
                .env("PGHOST", "localhost")
                .env("PGSSLMODE", "verify-full")
                .env("PGSSLROOTCERT", &trusted);
            assert_eq!(psql.args(["-c", "select 1"]).run(), "1", "{recipe}, {kind}");
            // The other pooler is its client, once by the settings, and once by the line.
            let target = format!("host=localhost port={} dbname=app", shown.port);
            let pooler = Setup::empty()
                .database("app", &target)
                .database("line", &format!("{target} sslmode=verify-full sslrootcert={trusted}"))
                .set("server_tls_sslmode", "verify-full")
                .set("server_tls_ca_file", &trusted)
                .start();
            for database in ["app", "line"] {
                let psql = Tool::psql(pooler.port, &APP, database).args(["-c", "select 2"]);
                assert_eq!(psql.run(), "2", "{recipe}, {kind}, {database}");
            }
        }
    }
}

/// What verify-full must not take: names of other hosts, and a chain whose middle is missing.
#[test]
fn certificates_of_other_hosts_and_broken_chains_are_refused() {
    let between = authority_under(root());
    let stranger = authority();
    for (pair, trusted, words) in [
        (signed(root(), "db", &[], p256()), root(), "not present in server certificate"),
        // Where there are other names the common one does not count.
        (signed(root(), "localhost", &["db"], p256()), root(), "not present in server certificate"),
        (of_version_1(root(), "db", p256()), root(), "not present in server certificate"),
        (self_signed_for("db", p256()), root(), "certificate verify failed: self-signed"),
        (signed(&between, "localhost", &[], p256()), root(), "unable to get local issuer"),
        (signed(root(), "localhost", &[], p256()), &stranger, "certificate verify failed: "),
    ] {
        let shown = offering("require")
            .file("own.crt", &pair.certificate())
            .file("own.key", &pair.key())
            .start();
        host::write_file(&shown.folder.join("trusted.crt"), trusted.certificate());
        let trusted = shown.folder.join("trusted.crt").to_string_lossy().into_owned();
        let pooler = Setup::empty()
            .database("app", &format!("host=localhost port={}", shown.port))
            .set("server_tls_sslmode", "verify-full")
            .set("server_tls_ca_file", &trusted)
            .set("query_wait_timeout", "2")
            .start();
        Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
        pooler.wait_log(&[words]);
    }
}
