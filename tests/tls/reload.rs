//! Every setting of TLS changed while clients come, go and work: nobody is refused, and servers of
//! the configuration before are closed once nobody uses them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use super::support::certificates::{p256, signed};
use super::support::postgres::APP;
use super::support::tool::Tool;
use super::support::wire::{self, Wire};
use super::support::{Pooler, Setup, Witness, eventually};
use super::{UNDER_TLS, asked, log_in, offering, postgres_with_tls, root, shake_hands, with_pair};

/// Settings, and what they become one after the other. The last value stays in force.
const CHANGES: &[(&str, &[&str])] = &[
    ("client_tls_protocols", &["tlsv1.3", "all", "secure"]),
    ("client_tls_ciphers", &["HIGH", "default"]),
    ("client_tls13_ciphers", &["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"]),
    ("client_tls_dheparams", &["none", "legacy", "auto"]),
    ("client_tls_ecdhcurve", &["prime256v1", "auto"]),
    ("client_tls_ca_file", &["{dir}/other.crt", "{dir}/root.crt"]),
    // What does not fit leaves in force what was before.
    ("client_tls_key_file", &["{dir}/other.key"]),
    ("client_tls_cert_file", &["{dir}/other.crt"]),
    // From `disable` by way of `prefer`: a client that has been answered N is refused, as by
    // PgBouncer, where `require` comes before its startup packet.
    ("client_tls_sslmode", &["allow", "disable", "prefer", "require", "prefer"]),
    ("server_tls_sslmode", &["disable", "require", "verify-ca", "verify-full", "allow", "prefer"]),
    ("server_tls_protocols", &["tlsv1.2", "tlsv1.3", "secure"]),
    ("server_tls_ciphers", &["HIGH", "default"]),
    ("server_tls13_ciphers", &["TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_256_GCM_SHA384"]),
    ("server_tls_key_file", &["{dir}/other.key"]),
    ("server_tls_cert_file", &["{dir}/other.crt"]),
    ("server_tls_ca_file", &["{dir}/both.crt", "{dir}/root.crt"]),
];

/// Clients and servers under TLS, and the files of [`CHANGES`].
fn setup() -> Setup {
    let other = signed(root(), "another", &["localhost"], p256());
    let both = root().certificate() + &other.certificate();
    with_pair(offering("prefer"), "other", &other)
        .file("both.crt", &both)
        .file("load.sql", "select 1;\n")
        .database("app", &format!("host=localhost port={}", postgres_with_tls().port))
        .set("server_tls_sslmode", "require")
        .set("server_tls_ca_file", "{dir}/root.crt")
        .set("max_client_conn", "100")
}

/// Clients that stay for some hundred transactions, and clients that come anew for each: runs of
/// pgbench, until the test is done.
struct Load {
    is_over: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

impl Load {
    fn start(pooler: &Pooler) -> Load {
        let is_over = Arc::new(AtomicBool::new(false));
        let script = pooler.folder.join("load.sql").to_string_lossy().into_owned();
        let start = |arguments: &'static [&'static str]| {
            let (port, script, is_over) = (pooler.port, script.clone(), is_over.clone());
            std::thread::spawn(move || {
                while !is_over.load(Ordering::SeqCst) {
                    let pgbench = Tool::pgbench(port, &APP, "app").env("PGSSLMODE", "prefer");
                    let pgbench = pgbench.args(["-n", "-c", "3", "-f", &script]);
                    let said = pgbench.args(arguments.to_vec()).run();
                    assert!(said.contains("number of failed transactions: 0"), "{said}");
                }
            })
        };
        let threads = vec![start(&["-t", "300"]), start(&["-t", "20", "-C"])];
        Load { is_over, threads }
    }

    fn finish(mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        for thread in std::mem::take(&mut self.threads) {
            thread.join().expect("nobody was refused");
        }
    }
}

impl Drop for Load {
    /// Ends it before the pooler ends, so that a failed test fails once.
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        self.threads.drain(..).for_each(|thread| drop(thread.join()));
    }
}

#[test]
fn settings_are_set_under_load() {
    let pooler = setup().start();
    let (load, witness) = (Load::start(&pooler), Witness::start(pooler.port));
    // The console by its socket: what is set concerns everybody who comes by TCP.
    let folder = pooler.folder.to_string_lossy().into_owned();
    for (setting, values) in CHANGES {
        for value in *values {
            let value = value.replace("{dir}", &folder);
            let set = format!("set {setting} = '{value}'");
            let admin = super::support::pooler::ADMIN;
            let console = Tool::psql(pooler.port, &admin, "pgbouncer").env("PGHOST", &folder);
            console.args(["-c", &set]).run();
            serves(&pooler, &set);
        }
    }
    witness.finish();
    load.finish();
    assert_only_servers_were_closed(&pooler);
}

#[test]
fn settings_are_reloaded_under_load() {
    let pooler = setup().start();
    let (load, witness) = (Load::start(&pooler), Witness::start(pooler.port));
    let mut signals = 0;
    for (setting, values) in CHANGES {
        for value in *values {
            pooler.rewrite(|setup| setup.set(setting, value));
            pooler.signal("HUP");
            signals += 1;
            // Each value gets its turn: two signals at once would be one RELOAD.
            eventually("the RELOAD", || {
                (pooler.log().matches("re-reading config").count() == signals).then_some(())
            });
            serves(&pooler, &format!("{setting} = {value}"));
        }
    }
    witness.finish();
    load.finish();
    assert_only_servers_were_closed(&pooler);
}

/// A client comes in by whatever there is.
fn serves(pooler: &Pooler, after: &str) {
    let psql = Tool::psql(pooler.port, &APP, "app").env("PGSSLMODE", "prefer");
    let said = psql.args(["-c", "select 1"]).output();
    let error = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.status.success(), "after {after}: {error}");
}

/// No client was told anything, and no handshake failed.
fn assert_only_servers_were_closed(pooler: &Pooler) {
    let log = pooler.log();
    let closed = log.matches("closing because: database configuration changed").count();
    assert!(closed > 0, "no server was closed");
    assert!(!log.contains("pooler error:"), "a client was told something");
    assert!(!log.contains("TLS handshake error"), "a handshake failed");
}

#[test]
fn a_mode_that_changes_behind_an_sslrequest_holds_for_the_startup_packet() {
    let pooler = offering("prefer").start();
    let (told_yes, answer) = asked(&pooler);
    assert_eq!(answer, b'S');
    pooler.console().query("set client_tls_sslmode = disable").expect("SET");
    log_in(&mut shake_hands(told_yes, None).expect("a handshake"));
    let (told_no, answer) = asked(&pooler);
    assert_eq!(answer, b'N');
    pooler.console().query("set client_tls_sslmode = require").expect("SET");
    let mut client = Wire::new(told_no);
    client.send(&wire::startup(&[("user", APP.name), ("database", "app")]));
    let refusal = client.hear().expect("a refusal");
    assert_eq!(refusal.field('M').as_deref(), Some("SSL required"));
}

/// Each setting that concerns servers renews them; what concerns clients leaves them alone.
#[test]
fn servers_are_renewed_by_each_setting_of_theirs_and_by_no_other() {
    let pooler = setup().start();
    let mut client = pooler.client();
    let pid = |client: &mut super::support::Client| client.one("select pg_backend_pid()");
    let mut before = pid(&mut client);
    let folder = pooler.folder.to_string_lossy().into_owned();
    for (setting, values) in CHANGES {
        let value = values.first().expect("a value").replace("{dir}", &folder);
        // A key and its certificate are one change.
        if matches!(*setting, "server_tls_key_file" | "client_tls_key_file") {
            continue;
        }
        let is_servers = setting.starts_with("server_");
        let pair = setting.ends_with("cert_file").then(|| setting.replace("cert_file", "key_file"));
        pooler.rewrite(|setup| {
            let setup = setup.set(setting, &value);
            match &pair {
                Some(key) => setup.set(key, &value.replace(".crt", ".key")),
                None => setup,
            }
        });
        pooler.console().query("reload").unwrap_or_else(|e| panic!("{setting}: {e:?}"));
        let after = pid(&mut client);
        assert_eq!(before != after, is_servers, "{setting} = {value}");
        before = after;
        if *setting == "server_tls_sslmode" {
            assert_eq!(client.one(UNDER_TLS), "f");
            pooler.rewrite(|setup| setup.set(setting, "require"));
            pooler.console().query("reload").expect("RELOAD");
            before = pid(&mut client);
        }
    }
    // One that is in use is closed when it is released.
    client.query("begin").expect("a transaction");
    let used = pid(&mut client);
    pooler.console().query("set server_tls_sslmode = verify-ca").expect("SET");
    assert_eq!(pid(&mut client), used);
    client.query("commit").expect("its end");
    assert_ne!(pid(&mut client), used);
    eventually("the server to be gone", || {
        let sql = format!("select count(*) from pg_stat_activity where pid = {used}");
        (postgres_with_tls().one(&sql) == "0").then_some(())
    });
}

/// A pool that is to be filled is filled once, with servers under the new settings.
#[test]
fn each_server_is_renewed_once() {
    let line = format!(
        "host=127.0.0.1 port={} user=app password={} min_pool_size=2",
        postgres_with_tls().port,
        APP.password
    );
    let pooler = setup().database("app", &line).start();
    let filled = |times: usize, by: &str| {
        eventually(&format!("two servers by {by}"), || {
            let idle = pooler.shown("show pools", "database", "app", "sv_idle");
            let coming = pooler.shown("show pools", "database", "app", "sv_login");
            (idle.as_deref() == Some("2") && coming.as_deref() == Some("0")).then_some(())
        });
        let closed =
            pooler.log().matches("closing because: database configuration changed").count();
        assert_eq!(closed, 2 * times, "{by}: {}", pooler.log());
    };
    filled(0, "the start");
    pooler.rewrite(|setup| setup.set("server_tls_ciphers", "HIGH"));
    pooler.console().query("reload").expect("RELOAD");
    filled(1, "RELOAD");
    pooler.console().query("set server_tls_ciphers = 'default'").expect("SET");
    filled(2, "SET");
}
