//! TLS with servers: which ones each mode takes, that cancel requests are secured too, and what a
//! server gets that plays tricks before its handshake.

use super::support::certificates::authority;
use super::support::fake::{self, FakeServer};
use super::support::postgres::APP;
use super::support::tool::Tool;
use super::support::{Postgres, Setup, wire};
use super::{UNDER_TLS, postgres_with_tls, root};

#[test]
fn each_mode_takes_the_servers_that_it_should() {
    let with = postgres_with_tls().port;
    let without = Postgres::shared().port;
    for (mode, host, port, expected) in [
        ("disable", "localhost", with, Some("f")),
        ("allow", "localhost", with, Some("t")),
        ("prefer", "localhost", with, Some("t")),
        ("prefer", "localhost", without, Some("f")),
        ("require", "127.0.0.1", with, Some("t")),
        ("require", "localhost", without, None),
        ("verify-ca", "127.0.0.1", with, Some("t")),
        ("verify-full", "localhost", with, Some("t")),
        ("verify-full", "127.0.0.1", with, None),
    ] {
        let pooler = Setup::empty()
            .database("app", &format!("host={host} port={port}"))
            .file("root.crt", &root().certificate())
            .set("server_tls_sslmode", mode)
            .set("server_tls_ca_file", "{dir}/root.crt")
            .set("query_wait_timeout", "3")
            .start();
        let tool = Tool::psql(pooler.port, &APP, "app").args(["-Atc", UNDER_TLS]);
        match expected {
            Some(answer) => assert_eq!(tool.run().trim(), answer, "{mode} {host}"),
            None => drop(tool.fail()),
        }
        match (mode, expected) {
            ("require", None) => drop(pooler.wait_log(&["server refused SSL"])),
            ("verify-full", None) => drop(pooler.wait_log(&["not present in server certificate"])),
            _ => {}
        }
    }
}

#[test]
fn a_server_of_an_unknown_authority_is_refused_when_verified() {
    let pooler = Setup::empty()
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .file("root.crt", &authority().certificate())
        .set("server_tls_sslmode", "verify-ca")
        .set("server_tls_ca_file", "{dir}/root.crt")
        .set("query_wait_timeout", "3")
        .start();
    Tool::psql(pooler.port, &APP, "app").args(["-Atc", UNDER_TLS]).fail();
    pooler.wait_log(&["TLS handshake error: handshake failed: certificate verify failed"]);
}

#[test]
fn servers_of_another_configuration_are_closed_when_it_changes() {
    let port = postgres_with_tls().port;
    let pooler = Setup::empty()
        .database("app", &format!("host=localhost port={port}"))
        .set("server_tls_sslmode", "disable")
        .start();
    let mut client = pooler.login(&APP, "app");
    assert_eq!(client.one(UNDER_TLS), "f");
    pooler.console().query("set server_tls_sslmode = require").expect("SET");
    pooler.wait_log(&["closing because: database configuration changed"]);
    assert_eq!(client.one(UNDER_TLS), "t");
}

#[test]
fn a_cancel_request_goes_under_tls_too() {
    let pooler = Setup::empty()
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .set("server_tls_sslmode", "require")
        .start();
    let mut client = pooler.login(&APP, "app");
    client.wire.send(&wire::query("select pg_sleep(60)"));
    postgres_with_tls().await_query("pg_sleep(60)");
    client.cancel(pooler.port);
    let failure = client.answer().expect_err("it is cancelled");
    assert_eq!(failure.code(), "57014");
}

#[test]
fn a_server_that_plays_tricks_before_tls_costs_one_login() {
    const STUFFED: &str = "received unencrypted data after SSL response";
    for (answer, words) in [
        (&b"SR\0\0\0\x08\0\0\0\0"[..], &[STUFFED][..]),
        (b"E", &["bad sslreq answer"]),
        // What follows in plain comes with the answer, or behind it.
        (b"S", &["TLS handshake error: handshake failed:", STUFFED]),
    ] {
        let server = FakeServer::start(move |peer| {
            let _ = peer.hear_startup();
            peer.send(answer);
            if answer == b"S" {
                // In plain, as if nothing had been agreed on.
                peer.send(&fake::welcome());
            }
            peer.hear_bytes_to_the_end();
        });
        let pooler = Setup::empty()
            .database("app", &format!("host=127.0.0.1 port={}", server.port))
            .set("server_tls_sslmode", "prefer")
            .set("query_wait_timeout", "2")
            .start();
        Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
        pooler.wait_log(words);
    }
}
