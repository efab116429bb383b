//! Certificates that live: files that change while the pooler runs, ends that come near, and what
//! SHOW TLS and `--check` tell of them.

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use super::support::certificates::{Pair, authority, ending, of_tomorrow, p256, signed};
use super::support::postgres::APP;
use super::support::tool::Tool;
use super::support::{Pooler, Setup, eventually, host, pooler, wire};
use super::{log_in, offering, postgres_with_tls, psql, read_until, root, secured, with_pair};
use std::io::Write;

fn serial(pooler: &Pooler) -> String {
    let certificate = secured(pooler).ssl().peer_certificate().expect("one is shown");
    certificate.serial_number().to_bn().expect("a number").to_string()
}

fn own(name: &str, days: i32) -> Pair {
    ending(root(), name, days, p256())
}

#[test]
fn files_that_change_are_taken_when_key_and_certificate_fit() {
    let pooler = with_pair(offering("require"), "own", &own("localhost", 100))
        .set("stats_period", "1")
        .start();
    let mut old = secured(&pooler);
    log_in(&mut old);
    let before = serial(&pooler);
    let fresh = own("localhost", 200);
    host::write_file(&pooler.folder.join("own.crt"), fresh.certificate());
    pooler.wait_log(&["WARNING TLS files have changed, what was read before serves on: failed to"]);
    assert_eq!(serial(&pooler), before);
    host::write_file(&pooler.folder.join("own.key"), fresh.key());
    pooler.wait_log(&["own.key\" has changed, and is in force for new connections"]);
    assert_ne!(serial(&pooler), before);
    // What cannot be read is told once, however long it lasts.
    let warnings = || pooler.log().matches("TLS files have changed").count();
    assert_eq!(warnings(), 1);
    std::fs::remove_file(pooler.folder.join("own.crt")).expect("a file");
    eventually("a second warning", || (warnings() == 2).then_some(()));
    old.write_all(&wire::query("select 'old'")).expect("sent");
    read_until(&mut old, b"Z\0\0\0\x05I");
    host::write_file(&pooler.folder.join("own.crt"), fresh.certificate());
    pooler.wait_log(&["own.crt\" has changed, and is in force"]);
    assert_eq!((warnings(), psql(&pooler, "require").run().as_str()), (2, "in"));
}

#[test]
fn a_new_authority_of_servers_is_taken_where_a_line_names_it() {
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let keys = "sslmode=verify-full sslrootcert={dir}/line.crt";
    let pooler = Setup::empty()
        .file("line.crt", &authority().certificate())
        .set("stats_period", "1")
        .set("query_wait_timeout", "3")
        .database("app", &format!("{target} {keys}"))
        .start();
    Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
    host::write_file(&pooler.folder.join("line.crt"), root().certificate());
    pooler.wait_log(&["line.crt\" has changed"]);
    eventually("a server that is trusted", || {
        let psql = Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]);
        psql.output().status.success().then_some(())
    });
}

#[test]
fn an_end_that_is_near_is_a_warning() {
    let start = |days: i32| {
        let setup = with_pair(offering("require"), "own", &own("localhost", days));
        setup.file("root.crt", &root().certificate()).start()
    };
    for (days, words) in [
        (13, "WARNING the certificate \"{dir}/own.crt\" (CN=localhost) ends in 1"),
        (-1, "WARNING the certificate \"{dir}/own.crt\" (CN=localhost) has ended: "),
    ] {
        let pooler = start(days);
        let words = words.replace("{dir}", &pooler.folder.to_string_lossy());
        pooler.wait_log(&[&words]);
    }
    let pooler = start(15);
    // Clients have been served, so the files have been looked at.
    assert_eq!(psql(&pooler, "require").run(), "in");
    let log = pooler.log();
    assert!(!log.contains("CN=localhost"), "{log}");
}

#[test]
fn a_client_with_a_certificate_out_of_its_time_is_refused() {
    let pooler = offering("allow").start();
    for (pair, why) in [
        (ending(root(), "app", -1, p256()), "certificate has expired"),
        (of_tomorrow(root(), "app", p256()), "certificate is not yet valid"),
    ] {
        let (crt, key) = (pooler.folder.join("c.crt"), pooler.folder.join("c.key"));
        host::write_file(&crt, pair.certificate());
        host::write_file(&key, pair.key());
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a mode");
        psql(&pooler, "require")
            .env("PGSSLCERT", &crt.to_string_lossy())
            .env("PGSSLKEY", &key.to_string_lossy())
            .fail();
        pooler.wait_log(&["TLS handshake error: handshake failed: ", why]);
    }
}

#[test]
fn the_console_lists_what_connections_are_secured_with() {
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let keys = "sslmode=verify-full sslrootcert={dir}/root.crt";
    let pooler =
        with_pair(offering("prefer"), "own", &signed(root(), "localhost", &["::1"], p256()))
            .database("app", &format!("{target} {keys}"))
            .database("twin", &format!("{target} dbname=app {keys}"))
            .start();
    for database in ["app", "twin"] {
        let psql = Tool::psql(pooler.port, &APP, database).env("PGSSLMODE", "require");
        psql.args(["-c", "select 1"]).run();
    }
    psql(&pooler, "verify-full").env("PGSSLROOTCERT", "/nonexistent").fail();
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", pooler.port)).expect("connected");
    stream.write_all(b"\x16garbage that is no handshake").expect("sent");
    pooler.wait_log(&["TLS handshake error: handshake failed: wrong version number"]);
    let rows = pooler.console().query("show tls").expect("a table").rows;
    let shown: Vec<Vec<&str>> = rows
        .iter()
        .map(|row| row.iter().map(|value| value.as_deref().unwrap_or("null")).collect())
        .collect();
    let folder = pooler.folder.to_string_lossy();
    let [crt, ca] = ["own.crt", "root.crt"].map(|name| format!("{folder}/{name}"));
    assert_eq!(shown.len(), 3, "{shown:?}");
    assert_eq!(shown[0][..5], ["client", "null", crt.as_str(), "CN=localhost", "::1"]);
    assert_eq!(shown[0][6..], ["2", "2", "0"]);
    assert_eq!(shown[1], ["server", "null", "null", "null", "null", "null", "0", "0", "0"]);
    assert_eq!(
        shown[2][..5],
        ["server", "app,twin", ca.as_str(), "CN=the authority of the tests", ""]
    );
    assert_eq!(shown[2][6..], ["2", "0", "0"]);
    assert!(shown[0][5].starts_with("20") && shown[0][5].ends_with("UTC"), "{}", shown[0][5]);
}

/// What `--check` says of a configuration with these lines and the files of `offering`.
fn check(settings: &str, database: &str) -> (Option<i32>, String) {
    let folder = host::new_folder("check");
    let other = own("another", 300);
    let pair = own("localhost", 300);
    let short = own("localhost", 3);
    for (name, text) in [
        ("own.crt", pair.certificate()),
        ("own.key", pair.key()),
        ("open.key", pair.key()),
        ("other.key", other.key()),
        ("short.crt", short.certificate()),
        ("short.key", short.key()),
        ("other.crt", other.certificate()),
    ] {
        host::write_file(&folder.join(name), text);
        let mode = if name.starts_with("open") { 0o644 } else { 0o600 };
        std::fs::set_permissions(folder.join(name), PermissionsExt::from_mode(mode))
            .expect("a mode");
    }
    let ini = format!(
        "[databases]\napp = host=localhost user=app password=x {database}\n[pgbouncer]\n\
         listen_addr = 127.0.0.1\nauth_type = any\nunix_socket_dir = {}\n{settings}\n",
        folder.display()
    );
    host::write_file(&folder.join("pgbouncer.ini"), ini);
    let mut command = Command::new(pooler::built_program());
    command.args(["--check", "pgbouncer.ini"]).current_dir(&folder);
    host::drop_privileges(&mut command);
    let output = command.output().expect("the program");
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_check_reads_keys_and_certificates() {
    let files = |crt: &str, key: &str| {
        format!("client_tls_sslmode=require\nclient_tls_cert_file={crt}\nclient_tls_key_file={key}")
    };
    let lines = |keys: &str| format!("sslmode=verify-full {keys}");
    for (settings, database, code, expected) in [
        (files("own.crt", "own.key"), String::new(), 0, ""),
        (files("own.crt", "other.key"), String::new(), 1, "key values mismatch"),
        (files("none", "own.key"), String::new(), 1, "failed to load certificate file \"none\""),
        (files("own.crt", "open.key"), String::new(), 0, "client_tls_key_file: others than its"),
        (files("short.crt", "short.key"), String::new(), 0, "(CN=localhost) ends in "),
        (String::new(), lines("sslrootcert=none"), 1, "pgbouncer.ini:2: app: failed to load CA"),
        (String::new(), lines("sslrootcert=own.crt"), 0, ""),
        (
            String::new(),
            lines("sslrootcert=other.crt"),
            0,
            "verify-full does not find host localhost in the one certificate of \"other.crt\" \
             (CN=another)",
        ),
        (
            String::new(),
            lines("sslrootcert=own.crt sslcert=own.crt sslkey=open.key"),
            0,
            "database app: sslkey: others than its owner can reach the key",
        ),
        (String::new(), "host=/tmp sslmode=require".into(), 0, "no effect on a Unix socket"),
    ] {
        let (found, said) = check(&settings, &database);
        assert_eq!(found, Some(code), "{settings} {database}: {said}");
        match expected {
            "" => assert_eq!(said, "", "{settings} {database}"),
            words => assert!(said.contains(words), "{settings} {database}: {said}"),
        }
    }
}
