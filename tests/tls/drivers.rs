//! Real drivers over TLS, from client to PostgreSQL, each with its own library of TLS: the scripts
//! of `tests/clients`, which take what they need from the environment.

use super::support::certificates::{p256, signed};
use super::support::postgres::APP;
use super::support::tool::Tool;
use super::support::{Pooler, Setup};
use super::{postgres_with_tls, root, with_pair};

/// A script, and what else its environment holds.
type Driver = (&'static str, &'static [(&'static str, &'static str)]);

const DRIVERS: &[Driver] = &[
    ("Jdbc.java", &[]),
    ("asyncpg.py", &[("PREPARE", "1")]),
    ("dbd_pg.pl", &[]),
    ("node_postgres.js", &[("PREPARE", "1")]),
    // TLS at once; libpq knows it from version 17 on.
    ("node_postgres.js", &[("PGSSLNEGOTIATION", "direct")]),
    ("odbc.py", &[]),
    ("pdo.php", &[("EMULATE", "1"), ("WORKERS", "8")]),
    ("pdo.php", &[("WORKERS", "8")]),
    ("pg8000.py", &[]),
    ("pgx", &[]),
    ("postgres_js.js", &[("PREPARE", "1")]),
    ("psycopg2.py", &[]),
    ("psycopg3.py", &[("PREPARE", "1"), ("PGCHANNELBINDING", "require")]),
    ("rails.rb", &[]),
    ("tokio_postgres", &[]),
];

/// Takes no client without TLS, and no server whose name is not in its certificate.
fn pooler(mode: &str) -> Pooler {
    // Some drivers verify localhost where they connect to an address.
    let own = signed(root(), "localhost", &["localhost", "127.0.0.1"], p256());
    with_pair(Setup::empty(), "own", &own)
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .set("auth_type", "scram-sha-256")
        .set("pool_mode", mode)
        .set("default_pool_size", if mode == "session" { "30" } else { "3" })
        .set("ignore_startup_parameters", "extra_float_digits")
        .set("client_tls_sslmode", "require")
        .set("client_tls_key_file", "{dir}/own.key")
        .set("client_tls_cert_file", "{dir}/own.crt")
        .set("server_tls_sslmode", "verify-full")
        .set("server_tls_ca_file", "{dir}/root.crt")
        .start()
}

/// The script over TLS, which verifies the pooler's name. None where its driver is not installed.
fn script(file: &str, pooler: &Pooler) -> Option<Tool> {
    let authority = pooler.folder.join("root.crt").to_string_lossy().into_owned();
    let tool = Tool::script(file, pooler.port, &APP, "app")?;
    Some(
        tool.env("PGSSLMODE", "verify-full")
            .env("PGSSLROOTCERT", &authority)
            .env("NODE_EXTRA_CA_CERTS", &authority),
    )
}

#[test]
fn drivers_work_over_tls_in_session_pooling() {
    run_drivers("session");
}

#[test]
fn drivers_work_over_tls_in_transaction_pooling() {
    run_drivers("transaction");
}

fn run_drivers(mode: &str) {
    let pooler = pooler(mode);
    for (file, environment) in DRIVERS {
        let Some(tool) = script(file, &pooler) else { continue };
        let tool = tool.env("POOL_MODE", mode);
        let tool = environment.iter().fold(tool, |tool, (name, value)| tool.env(name, value));
        assert_eq!(tool.run(), "ok", "{file} in {mode} pooling");
    }
}

/// Asynchronous drivers read when their socket has news, and have libraries of TLS of their own.
#[test]
fn large_results_reach_drivers_that_poll_their_sockets() {
    let pooler = pooler("transaction");
    for file in ["large_psycopg3.py", "large_asyncpg.py"] {
        let Some(tool) = script(file, &pooler) else { continue };
        assert_eq!(tool.run(), "ok", "{file}");
    }
}
