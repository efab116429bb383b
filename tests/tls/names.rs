//! Whose name a client's certificate bears, with and without an ident map.

use std::os::unix::fs::PermissionsExt;

use super::support::certificates::{p256, signed};
use super::support::postgres::Role;
use super::support::tool::Tool;
use super::support::{Pooler, Setup, host};
use super::{offering, root};

/// The console takes all of these.
const USERS: [&str; 4] = ["ann", "Ann", "ann.example.com", "mapped"];

fn setup() -> Setup {
    let setup = offering("verify-full").set("admin_users", &USERS.join(","));
    USERS.iter().fold(setup, |setup, user| setup.secret(user, "unused"))
}

/// Whether a client whose certificate has these names comes in.
fn comes_in(pooler: &Pooler, common: &str, others: &[&str], user: &'static str) -> bool {
    let pair = signed(root(), common, others, p256());
    let (crt, key) = (pooler.folder.join("c.crt"), pooler.folder.join("c.key"));
    host::write_file(&crt, pair.certificate());
    host::write_file(&key, pair.key());
    std::fs::set_permissions(&key, PermissionsExt::from_mode(0o600)).expect("a mode");
    let role = Role { name: user, password: "", method: "" };
    let psql = Tool::psql(pooler.port, &role, "pgbouncer")
        .env("PGSSLMODE", "require")
        .env("PGSSLCERT", &crt.to_string_lossy())
        .env("PGSSLKEY", &key.to_string_lossy())
        .args(["-c", "show version"]);
    psql.output().status.success()
}

#[test]
fn any_name_of_a_certificate_may_be_its_users() {
    let pooler = setup().set("auth_type", "cert").start();
    for (common, others, user, expected) in [
        ("ann", &[][..], "ann", true),
        ("ann", &[], "Ann", false),
        ("somebody", &[], "ann", false),
        ("somebody", &["ann"], "ann", true),
        ("ann", &["another"], "ann", true),
        ("somebody", &["10.0.0.1"], "ann", false),
        ("*.example.com", &[], "ann.example.com", true),
        ("somebody", &["*.example.com"], "ann.example.com", true),
        ("*.example.com", &[], "ann", false),
        ("*", &["*"], "ann", false),
        ("*.com", &[], "ann.example.com", false),
    ] {
        let found = comes_in(&pooler, common, others, user);
        assert_eq!(found, expected, "{common}, {others:?}: {user}");
    }
}

#[test]
fn a_map_says_whose_names_count() {
    let pooler = setup()
        .set("auth_type", "hba")
        .set("auth_hba_file", "{dir}/hba.conf")
        .set("auth_ident_file", "{dir}/ident.conf")
        .file("hba.conf", "hostssl all all all cert map=m\n")
        .file("ident.conf", "m ann mapped\n")
        .start();
    for (common, others, user, expected) in [
        ("ann", &[][..], "mapped", true),
        ("ann", &[], "ann", false),
        ("somebody", &["ann"], "mapped", true),
        ("somebody", &["another"], "mapped", false),
        ("mapped", &[], "mapped", false),
    ] {
        let found = comes_in(&pooler, common, others, user);
        assert_eq!(found, expected, "{common}, {others:?}: {user}");
    }
}
