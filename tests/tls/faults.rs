//! Files of `server_tls_*` that are missing or do not fit: the pooler starts, reaches servers that
//! do without TLS, and takes the files when they are there.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::process::{Child, Command, Stdio};

use super::support::certificates::{authority, p256, signed};
use super::support::postgres::APP;
use super::support::tool::Tool;
use super::support::{PATIENCE, Pooler, Postgres, Setup, eventually, host, within};
use super::{UNDER_TLS, asked_at, postgres_with_tls, root, shake_hands, with_pair};

struct Fault {
    settings: &'static [(&'static str, &'static str)],
    mode: &'static str,
    /// What is told of it; nothing where it is none.
    words: Option<&'static str>,
}

const FAULTS: &[Fault] = &[
    // What could verify servers is not looked for where nobody verifies them.
    Fault { settings: &[("server_tls_ca_file", "{dir}/none")], mode: "prefer", words: None },
    Fault {
        settings: &[("server_tls_ca_file", "{dir}/none")],
        mode: "verify-ca",
        words: Some("failed to load CA file \""),
    },
    Fault {
        settings: &[],
        mode: "verify-full",
        words: Some("server_tls_sslmode requires server_tls_ca_file"),
    },
    Fault {
        settings: &[("server_tls_cert_file", "{dir}/own.crt")],
        mode: "allow",
        words: Some("must be set together"),
    },
    Fault {
        settings: &[
            ("server_tls_cert_file", "{dir}/none"),
            ("server_tls_key_file", "{dir}/own.key"),
        ],
        mode: "prefer",
        words: Some("failed to load certificate file \""),
    },
    Fault {
        settings: &[
            ("server_tls_cert_file", "{dir}/own.crt"),
            ("server_tls_key_file", "{dir}/other.key"),
        ],
        mode: "prefer",
        words: Some("key values mismatch"),
    },
    Fault {
        settings: &[("server_tls13_ciphers", "nonsense")],
        mode: "require",
        words: Some("failed to set the TLSv1.3 cipher suites"),
    },
];

/// Databases `with` and `without`, by whether their server speaks TLS.
fn setup(settings: &[(&str, &str)], mode: &str) -> Setup {
    let [own, other] = [(); 2].map(|()| signed(root(), "app", &[], p256()));
    let setup = with_pair(with_pair(Setup::empty(), "own", &own), "other", &other)
        .database("with", &format!("host=localhost port={} dbname=app", postgres_with_tls().port))
        .database("without", &format!("host=localhost port={} dbname=app", Postgres::shared().port))
        .set("server_tls_sslmode", mode)
        .set("query_wait_timeout", "1");
    settings.iter().fold(setup, |setup, (key, value)| setup.set(key, value))
}

fn ask(pooler: &Pooler, database: &str) -> Tool {
    Tool::psql(pooler.port, &APP, database).args(["-Atc", UNDER_TLS])
}

/// What `--check` prints with these options, and whether it finds the file good.
fn check(pooler: &Pooler, options: &[&str]) -> (bool, String) {
    let mut command = Command::new(super::support::pooler::built_program());
    command.arg("--check").args(options).arg(pooler.folder.join("pgbouncer.ini"));
    host::drop_privileges(&mut command);
    let output = command.output().expect("the program");
    (output.status.success(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_fault_ends_no_start_and_costs_servers_that_speak_tls_alone() {
    for Fault { settings, mode, words } in FAULTS {
        let pooler = setup(settings, mode).start();
        let is_told = words.is_some_and(|words| pooler.log().contains(words));
        assert_eq!(is_told, words.is_some(), "{settings:?}: {}", pooler.log());
        match words {
            None => assert_eq!(ask(&pooler, "with").run().trim(), "t"),
            Some(words) => {
                ask(&pooler, "with").fail();
                let line = pooler.wait_log(&["TLS handshake error: "]);
                assert!(line.contains(words), "{line}");
            }
        }
        if matches!(*mode, "allow" | "prefer") {
            assert_eq!(ask(&pooler, "without").run().trim(), "f", "{settings:?}");
        } else {
            ask(&pooler, "without").fail();
        }
        let (is_good, said) = check(&pooler, &[]);
        assert_eq!(is_good, words.is_none(), "{said}");
        assert!(words.is_none_or(|words| said.contains(words)), "{said}");
        assert_eq!(check(&pooler, &["--quiet"]), (true, String::new()), "it starts");
    }
}

#[test]
fn names_that_mean_nothing_end_a_start_unless_tls_is_off() {
    for (setting, value) in [("server_tls_protocols", "tlsv9"), ("server_tls_ciphers", "nonsense")]
    {
        let (_, said) = setup(&[(setting, value)], "prefer").refused();
        assert!(said.contains(&format!("ERROR invalid {setting}: {value}")), "{said}");
        setup(&[(setting, value)], "disable").start();
    }
}

#[test]
fn a_missing_file_is_taken_when_it_is_there() {
    let settings = [("server_tls_ca_file", "{dir}/late.crt"), ("stats_period", "1")];
    let pooler = setup(&settings, "verify-full").start();
    ask(&pooler, "with").fail();
    let file = pooler.folder.join("late.crt");
    let shown = || pooler.shown("show tls", "file", &file.to_string_lossy(), "side");
    assert_eq!(shown(), None);
    // Another authority verifies nobody.
    host::write_file(&file, authority().certificate());
    ask(&pooler, "with").fail();
    pooler.wait_log(&["certificate verify failed"]);
    eventually("SHOW TLS tells of the file", shown);
    host::write_file(&file, root().certificate());
    pooler.wait_log(&["late.crt\" has changed, and is in force"]);
    eventually("a server", || ask(&pooler, "with").output().status.success().then_some(()));
}

#[test]
fn a_reload_may_leave_a_fault_and_not_bring_one() {
    let fault = [("server_tls_cert_file", "{dir}/own.crt")];
    let pooler = setup(&fault, "prefer").start();
    let mut console = pooler.console();
    pooler.rewrite(|setup| setup.set("default_pool_size", "7"));
    console.query("reload").expect("the fault is the old one");
    let size = pooler.shown("show config", "key", "default_pool_size", "value");
    assert_eq!(size.as_deref(), Some("7"));
    assert_eq!(pooler.log().matches("must be set together").count(), 2);
    pooler.rewrite(|setup| setup.set("server_tls_key_file", "{dir}/other.key"));
    console.query("reload").expect_err("another fault");
    pooler.wait_log(&["key values mismatch"]);
    pooler.rewrite(|setup| setup.set("server_tls_key_file", "{dir}/own.key"));
    console.query("reload").expect("no fault");
    assert_eq!(ask(&pooler, "with").run().trim(), "t");
    // What was good has a fault now.
    fs::remove_file(pooler.folder.join("own.crt")).expect("a file");
    console.query("reload").expect_err("a new fault");
    assert_eq!(ask(&pooler, "with").run().trim(), "t");
}

/// A process that a test which fails does not leave behind.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
    }
}

/// Who starts the pooler as root may leave keys to root alone: they are read before it becomes
/// another user, and a RELOAD keeps them.
#[test]
fn keys_that_root_alone_may_read_are_read_before_the_user_changes() {
    let is_root = fs::metadata("/proc/self").is_ok_and(|found| found.uid() == 0);
    if !is_root {
        return;
    }
    let own = signed(root(), "localhost", &["localhost"], p256());
    // The files are written, and given to the user of the servers, by one that starts as that user.
    let place = setup(&[], "prefer").file("k.crt", &own.certificate()).file("k.key", &own.key());
    let place = place.start();
    let (folder, port) = (place.folder.clone(), host::free_port());
    let path = |name: &str| folder.join(name);
    chown(path("k.key"), Some(0), Some(0)).expect("root has it back");
    fs::set_permissions(path("k.key"), fs::Permissions::from_mode(0o600)).expect("a mode");
    let write = |more: &str| {
        let files = ["client", "server"]
            .map(|side| format!("{side}_tls_key_file = k.key\n{side}_tls_cert_file = k.crt\n"));
        let text = format!(
            "[databases]\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nclient_tls_sslmode = require\n{}{more}",
            files.concat()
        );
        host::write_file(&path("roots.ini"), text);
    };
    write("");
    let child = Command::new(super::support::pooler::built_program())
        .args(["-u", &host::server_user(), "roots.ini"])
        .current_dir(&folder)
        .stdout(Stdio::null())
        .stderr(fs::File::create(path("roots.log")).expect("a log"))
        .spawn();
    let mut child = Ended(child.expect("the program"));
    let log = || fs::read_to_string(path("roots.log")).unwrap_or_default();
    let logged = |words: &str| {
        let found = within(PATIENCE, || log().contains(words).then_some(()));
        assert!(found.is_some(), "{words} is not in\n{}", log());
    };
    logged(" LOG process up: ");
    assert!(!log().contains(" ERROR "), "{}", log());
    write("stats_period = 7\n");
    host::send_signal(child.0.id(), "HUP");
    logged("RELOAD: setting stats_period: 60 -> 7");
    let kept = "Permission denied; what was read before serves on";
    assert_eq!(log().matches(kept).count(), 2, "{}", log());
    let (stream, answer) = asked_at(port);
    assert_eq!(answer, b'S');
    shake_hands(stream, None).expect("a handshake");
    // Another file is another matter.
    write("client_tls_key_file = none.key\n");
    host::send_signal(child.0.id(), "HUP");
    logged("TLS configuration could not be reloaded, keeping old configuration");
    host::send_signal(child.0.id(), "QUIT");
    assert!(child.0.wait().expect("its end").success());
}
