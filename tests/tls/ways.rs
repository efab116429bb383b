//! What else connects under TLS: requests for peers, replication; and a second request for TLS.

use std::io::Write;

use super::support::postgres::{APP, GUIDE, Role};
use super::support::tool;
use super::support::{Postgres, Setup, host, wire};
use super::{log_in, offering, postgres_with_tls, psql, read_until, root, secured};

/// A role with the attribute REPLICATION; SCRAM.
const REPLICATOR: Role = GUIDE[1];

#[test]
fn a_cancel_request_goes_to_a_peer_under_tls() {
    let owner = offering("require").set("peer_id", "1").start();
    let trusts = |setup: Setup| {
        setup
            .set("server_tls_sslmode", "verify-full")
            .set("server_tls_ca_file", "{dir}/root.crt")
            .file("root.crt", &root().certificate())
    };
    let line = format!("host=localhost port={}", owner.port);
    let other = trusts(Setup::empty()).set("peer_id", "2").peer("1", &line).start();
    let mut stream = secured(&owner);
    stream.write_all(&wire::startup(&[("user", APP.name), ("database", "app")])).expect("sent");
    let welcome = read_until(&mut stream, b"Z\0\0\0\x05I");
    let at = welcome.windows(5).position(|head| head == b"K\0\0\0\x0c").expect("a key");
    let key = welcome[at + 5..at + 13].to_vec();
    stream.write_all(&wire::query("select pg_sleep(62)")).expect("sent");
    Postgres::shared().await_query("pg_sleep(62)");
    other.connect().send(&wire::packet(80_877_102, &key));
    let told = read_until(&mut stream, b"Z\0\0\0\x05I");
    assert!(told.windows(5).any(|word| word == b"57014"), "it is cancelled");
    // The owner was asked under TLS, though it takes such requests without, too.
    assert_eq!(other.shown("SHOW TLS", "side", "server", "handshakes").as_deref(), Some("1"));
}

#[test]
fn a_base_backup_goes_under_tls_from_end_to_end() {
    let pooler = offering("require")
        .database("*", &format!("host=localhost port={}", postgres_with_tls().port))
        .set("auth_type", "scram-sha-256")
        .set("server_tls_sslmode", "verify-full")
        .set("server_tls_ca_file", "{dir}/root.crt")
        .start();
    let folder = host::new_folder("backup");
    tool::back_up(pooler.port, &REPLICATOR, &folder, |backup| {
        let backup = backup.env("PGSSLMODE", "require").env("PGCHANNELBINDING", "require");
        // Where libpq looks for certificates: in a folder that this user may enter.
        backup.env("HOME", &folder.display().to_string())
    });
    pooler.wait_log(&["tls=TLSv1.3/TLS_AES_256_GCM_SHA384 replication=yes"]);
}

#[test]
fn a_request_for_tls_under_tls_ends_the_connection() {
    let pooler = offering("require").start();
    let mut stream = secured(&pooler);
    stream.write_all(&wire::packet(80_877_103, b"")).expect("sent");
    let mut told = Vec::new();
    let _ = std::io::Read::read_to_end(&mut stream, &mut told);
    assert_eq!(told, b"");
    pooler.wait_log(&["closing because: SSL req inside SSL"]);
    // A request for the other encryption is denied, before TLS and under it.
    let mut stream = secured(&pooler);
    stream.write_all(&wire::packet(80_877_104, b"")).expect("sent");
    read_until(&mut stream, b"N");
    log_in(&mut stream);
    let mut plain = pooler.connect();
    assert!(plain.send(&wire::packet(80_877_104, b"")));
    assert_eq!(plain.hear_bytes(1).expect("an answer"), b"N");
    assert!(plain.send(&wire::packet(80_877_103, b"")));
    assert_eq!(plain.hear_bytes(1).expect("an answer"), b"S");
    assert_eq!(psql(&pooler, "require").run(), "in");
}
