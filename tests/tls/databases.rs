//! What lines of databases say on TLS in place of the settings, by the keys of libpq.

use super::binding::Stranger;
use super::support::certificates::{authority, p256, signed};
use super::support::postgres::{APP, SUPER, TRUSTED};
use super::support::tool::Tool;
use super::support::{Postgres, Setup, wire};
use super::{UNDER_TLS, offering, postgres_with_tls, root, with_pair};

/// A pooler whose only database has this line, and whose settings ask for `mode`.
fn line(mode: &str, line: &str) -> Setup {
    let own = signed(root(), "the pooler", &[], p256());
    with_pair(Setup::empty(), "own", &own)
        .file("stranger.crt", &authority().certificate())
        .set("server_tls_sslmode", mode)
        .set("query_wait_timeout", "3")
        .database("app", line)
}

#[test]
fn a_line_counts_before_the_settings() {
    let with = format!("host=localhost port={}", postgres_with_tls().port);
    let by_address = format!("host=127.0.0.1 port={}", postgres_with_tls().port);
    let without = format!("host=localhost port={}", Postgres::shared().port);
    let known = "sslrootcert={dir}/root.crt";
    let unknown = "sslrootcert={dir}/stranger.crt";
    let full = format!("sslmode=verify-full {known}");
    for (mode, target, keys, expected) in [
        ("require", &with, "sslmode=disable", Ok("f")),
        ("disable", &with, "sslmode=prefer", Ok("t")),
        ("disable", &without, "sslmode=prefer", Ok("f")),
        ("disable", &without, "sslmode=require", Err("server refused SSL")),
        ("prefer", &with, &full, Ok("t")),
        ("prefer", &by_address, &full, Err("not present in server certificate")),
        ("prefer", &with, &format!("sslmode=verify-ca {unknown}"), Err("verify failed")),
        // Nobody's own authority is one that the system trusts.
        ("prefer", &with, "sslmode=verify-full sslrootcert=system", Err("verify failed")),
        ("prefer", &with, "channel_binding=require", Ok("t")),
        ("disable", &with, "sslmode=require channel_binding=disable", Ok("t")),
        ("prefer", &without, "channel_binding=require", Err("channel_binding=require, and")),
    ] {
        let pooler = line(mode, &format!("{target} {keys}")).start();
        let tool = Tool::psql(pooler.port, &APP, "app").args(["-c", UNDER_TLS]);
        match expected {
            Ok(answer) => assert_eq!(tool.run(), answer, "{mode}, {keys}"),
            Err(words) => {
                tool.fail();
                pooler.wait_log(&[words]);
            }
        }
    }
}

#[test]
fn a_login_that_proves_nothing_is_none_where_it_must_be_bound() {
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let pooler = line("require", &format!("{target} channel_binding=require")).start();
    let said = Tool::psql(pooler.port, &TRUSTED, "app").args(["-c", "select 1"]).fail();
    assert!(said.contains("channel binding required"), "{said}");
}

#[test]
fn the_certificate_of_a_line_is_shown_to_its_servers() {
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let keys = "sslmode=require sslcert={dir}/own.crt sslkey={dir}/own.key";
    let pooler = line("disable", &format!("{target} {keys}")).start();
    let sql = "select client_dn from pg_stat_ssl where pid = pg_backend_pid()";
    let psql = Tool::psql(pooler.port, &APP, "app").args(["-c", sql]);
    assert_eq!(psql.run(), "/CN=the pooler");
}

#[test]
fn the_line_for_all_others_and_that_of_lookups_are_secured_by_their_own_keys() {
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let pooler = line("disable", &format!("{target} auth_user=app_trust auth_dbname=lookups"))
        .database("*", &format!("{target} sslmode=require"))
        .database("lookups", &format!("{target} dbname=app sslmode=require"))
        .set("auth_query", "select rolname, 'none' from pg_roles where rolname = $1")
        .start();
    let psql = Tool::psql(pooler.port, &APP, "postgres").args(["-c", UNDER_TLS]);
    assert_eq!(psql.run(), "t");
    Tool::psql(pooler.port, &SUPER, "app").args(["-c", "select 1"]).run();
    let tls = pooler.shown("show servers", "database", "lookups", "tls").expect("a server");
    assert!(tls.starts_with("TLSv1.3/"), "{tls}");
    let plain = pooler.shown("show servers", "database", "app", "tls").expect("a server");
    assert_eq!(plain, "");
}

#[test]
fn a_cancel_request_is_secured_as_the_line_of_its_database_has_it() {
    // The stranger speaks TLS only, and shows a certificate that no login can be bound to.
    let stranger = Stranger::before(postgres_with_tls().port);
    let keys = "sslmode=require channel_binding=disable";
    let target = format!("host=localhost port={}", stranger.port);
    let pooler = line("disable", &format!("{target} {keys}")).start();
    let mut client = pooler.login(&APP, "app");
    client.wire.send(&wire::query("select pg_sleep(61)"));
    postgres_with_tls().await_query("pg_sleep(61)");
    client.cancel(pooler.port);
    assert_eq!(client.answer().expect_err("it is cancelled").code(), "57014");
}

#[test]
fn tls_begins_at_once_where_the_line_says_so() {
    // A pooler is the server that knows how.
    let server = offering("require").start();
    let target = format!("host=localhost port={}", server.port);
    let keys = "sslmode=verify-full sslrootcert={dir}/root.crt sslnegotiation=direct";
    let pooler = line("disable", &format!("{target} {keys}")).start();
    let psql = Tool::psql(pooler.port, &APP, "app").args(["-c", "select 'direct'"]);
    assert_eq!(psql.run(), "direct");
    server.wait_log(&["login attempt: db=app user=app tls=TLSv1.3/"]);
    // One that waits for the question ends the connection.
    let target = format!("host=127.0.0.1 port={}", postgres_with_tls().port);
    let keys = "sslmode=require sslnegotiation=direct";
    let pooler = line("disable", &format!("{target} {keys}")).start();
    Tool::psql(pooler.port, &APP, "app").args(["-c", "select 1"]).fail();
    pooler.wait_log(&["TLS handshake error: handshake failed:"]);
}

#[test]
fn a_line_that_changes_renews_the_servers_of_its_database_alone() {
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let pooler = line("prefer", &format!("{target} sslmode=disable"))
        .database("other", &format!("{target} dbname=app sslmode=require"))
        .start();
    let (mut changed, mut other) = (pooler.login(&APP, "app"), pooler.login(&APP, "other"));
    let pid = "select pg_backend_pid()";
    let before = other.one(pid);
    assert_eq!(changed.one(UNDER_TLS), "f");
    pooler.rewrite(|setup| setup.database("app", &format!("{target} sslmode=require")));
    pooler.console().query("reload").expect("RELOAD");
    assert_eq!(changed.one(UNDER_TLS), "t");
    pooler.wait_log(&["closing because: database configuration changed"]);
    assert_eq!(other.one(pid), before);
}

#[test]
fn what_a_line_names_and_cannot_be_read_is_told_with_its_place() {
    for (keys, words) in [
        ("sslmode=verify-ca sslrootcert={dir}/none", "failed to load CA file"),
        ("sslmode=require sslcert={dir}/own.crt sslkey={dir}", "it is no regular file"),
        ("sslmode=require sslcert={dir}/own.crt sslkey={dir}/root.crt", "private key file"),
    ] {
        let setup = line("disable", &format!("host=localhost {keys}"));
        let (_, said) = setup.refused();
        assert!(said.contains("pgbouncer.ini:2: app: ") && said.contains(words), "{said}");
    }
    let target = format!("host=localhost port={}", postgres_with_tls().port);
    let pooler = line("disable", &target).start();
    let mut client = pooler.login(&APP, "app");
    assert_eq!(client.one(UNDER_TLS), "f");
    let keys = "sslmode=verify-ca sslrootcert={dir}/none";
    pooler.rewrite(|setup| setup.database("app", &format!("{target} {keys}")));
    pooler.console().query("reload").expect_err("the file is not there");
    pooler.wait_log(&["pgbouncer.ini:2: app: failed to load CA file"]);
    assert_eq!(client.one(UNDER_TLS), "f");
}
