//! Logins that somebody else judges: an LDAP directory (a real slapd), and PAM.

mod support;

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, Instant};

use support::postgres::{APP, Role};
use support::slapd::{self, Slapd};
use support::tool::{self, Tool};
use support::{PATIENCE, Pooler, Setup, host};

/// Known to the directory alone.
const ALICE: Role = Role { name: "alice", password: "alice-secret", method: "" };

/// `app` has the password that PostgreSQL has, too; `alice` is below another branch, and there are
/// two whose common name is `twin`.
const ENTRIES: &str = "
dn: dc=example,dc=net
objectClass: top
objectClass: dcObject
objectClass: organization
dc: example
o: example

dn: ou=people,dc=example,dc=net
objectClass: organizationalUnit
ou: people

dn: uid=app,dc=example,dc=net
objectClass: inetOrgPerson
uid: app
cn: twin
sn: A
mail: app@example.net
userPassword: app-secret

dn: uid=alice,ou=people,dc=example,dc=net
objectClass: inetOrgPerson
uid: alice
cn: twin
sn: B
userPassword: alice-secret
";

const NAMED: &str = r#"ldapprefix="uid=" ldapsuffix=",dc=example,dc=net""#;

/// One query of a user; what it printed, or the refusal.
fn said(port: u16, role: &Role, database: &str) -> Result<String, String> {
    let tool = Tool::psql(port, role, database).env("PGSSLMODE", "disable");
    let output = tool.args(["-c", "select current_user"]).output();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => {
            let words = text(&output.stderr);
            Err(words.rsplit("FATAL:  ").next().unwrap_or_default().to_owned())
        }
    }
}

fn refused(words: &str) -> Result<String, String> {
    Err(words.to_owned())
}

fn with_password(role: &Role, password: &'static str) -> Role {
    Role { password, ..*role }
}

fn by_options(options: &str) -> Setup {
    Setup::new().set("auth_type", "ldap").set("auth_ldap_options", options)
}

const REFUSED: &str = "LDAP authentication failed";

#[test]
fn a_directory_decides_by_a_name_that_is_made() {
    let Some(slapd) = Slapd::start(ENTRIES, None) else { return };
    let options = format!("ldapserver=127.0.0.1 ldapport={} {NAMED}", slapd.port);
    // What the user list says of the same user is older: the directory's word counts, and opens
    // the server.
    let setup = by_options(&options).secret(APP.name, "forgotten").set("admin_users", "app");
    let pooler = setup.start();
    assert_eq!(said(pooler.port, &APP, "app"), Ok("app".to_owned()));
    for role in [with_password(&APP, "wrong"), with_password(&APP, "forgotten"), ALICE] {
        assert_eq!(said(pooler.port, &role, "app"), refused(REFUSED), "{role:?}");
    }
    pooler.wait_log(&["LDAP login failed for user \"uid=app,dc=example,dc=net\" on server \
                       127.0.0.1: invalid credentials (49)"]);
    let version = Tool::psql(pooler.port, &APP, "pgbouncer").args(["-c", "show version"]).run();
    assert!(version.contains("PgBouncer"), "{version}");

    let mut wire = pooler.connect();
    wire.send(&support::wire::startup(&[("user", "app"), ("database", "app")]));
    assert_eq!(wire.hear().expect("a question").body, [0, 0, 0, 3]);
    wire.say(b'p', b"\0");
    let told = wire.hear_to_the_end().remove(0);
    assert!(String::from_utf8_lossy(&told.body).contains("empty password"), "{told:?}");
}

#[test]
fn a_directory_is_searched_for_a_user() {
    let Some(slapd) = Slapd::start(ENTRIES, None) else { return };
    let (base, port) = (slapd::BASE, slapd.port);
    let place = format!("ldapserver=127.0.0.1 ldapport={port} ldapbasedn=\"{base}\"");
    let url = format!("ldap://127.0.0.1:{port}/{base}");
    let admin = format!("ldapbinddn=\"{}\" ldapbindpasswd", slapd::ADMIN);
    let admin_password = slapd::ADMIN_PASSWORD;
    let cases = [
        (place.clone(), true, ""),
        (format!("{place} {admin}={admin_password}"), true, ""),
        (format!("{place} {admin}=wrong"), false, "LDAP login of ldapbinddn"),
        (format!("{place} ldapsearchattribute=cn"), false, "(cn=app)\" on server"),
        (
            format!("{place} ldapsearchfilter=\"(&(objectClass=inetOrgPerson)(uid=$username))\""),
            true,
            "",
        ),
        (
            format!("{place} ldapsearchfilter=\"(|(cn=twin)(uid=$username))\""),
            false,
            "found several entries",
        ),
        (format!("ldapurl=\"{url}?uid?sub\""), true, ""),
        (format!("ldapurl=\"{url}?uid?one\""), true, ""),
        (format!("ldapurl=\"{url}?uid\""), false, "found nobody"),
        (format!("ldapurl=\"{url}??sub?(mail=$username@example.net)\""), true, ""),
        (format!("ldapserver=127.0.0.1 ldapport={port} ldapbasedn=dc=no"), false, "no such object"),
        // The first host does not listen.
        (format!("ldapserver=\"127.1.2.3 127.0.0.1\" ldapport={port} {NAMED}"), true, ""),
    ];
    let rule = |at: usize, options: &str| format!("host d{at} all all ldap {options}\n");
    let hba: String = cases.iter().enumerate().map(|(at, case)| rule(at, &case.0)).collect();
    let mut setup = Setup::new().set("auth_type", "hba").set("auth_hba_file", "{dir}/hba");
    let server = format!("host=127.0.0.1 port={} dbname=app", support::Postgres::shared().port);
    for at in 0..cases.len() {
        setup = setup.database(&format!("d{at}"), &server);
    }
    let pooler = setup.file("hba", &hba).start();
    for (at, (options, is_in, words)) in cases.iter().enumerate() {
        let before = pooler.log().len();
        let expected = if *is_in { Ok("app".to_owned()) } else { refused(REFUSED) };
        let answer = said(pooler.port, &APP, &format!("d{at}"));
        assert_eq!(answer, expected, "{options}\n{}", pooler.log());
        assert!(pooler.log()[before..].contains(words), "{options}: {words}\n{}", pooler.log());
    }
    let odd = Role { name: "a*", ..ALICE };
    assert_eq!(said(pooler.port, &odd, "d0"), refused(REFUSED));
}

#[cfg(feature = "tls")]
#[test]
fn a_directory_is_asked_under_tls_and_must_be_the_right_one() {
    use support::certificates::{authority, p256, signed};
    let root = authority();
    let own = signed(&root, "localhost", &["localhost", "127.0.0.1"], p256());
    let pair = (&*own.certificate(), &*own.key());
    let Some(slapd) = Slapd::start(ENTRIES, Some(pair)) else { return };
    let (port, tls_port) = (slapd.port, slapd.tls_port);
    let trusting = |options: &str| {
        let setup = by_options(&format!("{options} {NAMED}"));
        setup.file("root.crt", &root.certificate()).env("LDAPTLS_CACERT", "{dir}/root.crt")
    };
    let ldaps = format!("ldapserver=127.0.0.1 ldapport={tls_port} ldapscheme=ldaps");
    let start_tls = format!("ldapserver=localhost ldapport={port} ldaptls=1");
    for options in [&ldaps, &start_tls] {
        let pooler = trusting(options).start();
        assert_eq!(said(pooler.port, &APP, "app"), Ok("app".to_owned()), "{}", pooler.log());
        let wrong = with_password(&APP, "wrong");
        assert_eq!(said(pooler.port, &wrong, "app"), refused(REFUSED));
    }
    // Another name than the certificate's; an authority that nobody knows.
    let other_name = trusting(&ldaps.replace("127.0.0.1", "127.0.0.2")).start();
    let unknown = by_options(&format!("{start_tls} {NAMED}")).start();
    for pooler in [other_name, unknown] {
        assert_eq!(said(pooler.port, &APP, "app"), refused(REFUSED));
        pooler.wait_log(&["TLS with LDAP server", "no answer from LDAP server 127.0.0.2"]);
    }
    let blind = by_options(&format!("{start_tls} {NAMED}")).env("LDAPTLS_REQCERT", "never").start();
    assert_eq!(said(blind.port, &APP, "app"), Ok("app".to_owned()));
}

#[test]
fn a_silent_directory_holds_up_nobody_else() {
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = silent.local_addr().expect("an address").port();
    let hba = format!(
        "host bench all all ldap ldapserver=127.0.0.1 ldapport={port} {NAMED}\n\
         host all all all trust\n"
    );
    let setup = Setup::new().set("auth_type", "hba").set("auth_hba_file", "{dir}/hba");
    let pooler = setup.file("hba", &hba).start();
    let waiting: Vec<Child> = (0..12)
        .map(|_| Tool::psql(pooler.port, &APP, "bench").args(["-c", "select 1"]).start())
        .collect();
    // The first are asked about; that they are is seen at the directory.
    silent.accept().expect("a question");
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(said(pooler.port, &APP, "app"), Ok("app".to_owned()));
    }
    assert!(begun.elapsed() < PATIENCE, "others wait for a directory");
    pooler.wait_log(&["no answer from LDAP server 127.0.0.1: timed out"]);
    pooler.signal("INT");
    for child in waiting {
        let output = child.wait_with_output().expect("psql");
        assert!(!output.status.success());
    }
    pooler.expect_exit();
}

#[test]
fn options_that_make_no_sense_let_nobody_in_and_are_told_of() {
    let pooler = by_options("ldapserver=127.0.0.1").start();
    pooler.wait_log(&["ERROR auth_ldap_options: ldapbasedn, ldapprefix or ldapsuffix is missing"]);
    assert_eq!(said(pooler.port, &APP, "app"), refused(REFUSED));
    let (_, log) = by_options("ldapserver=127.0.0.1").set("strict_files", "1").refused();
    assert!(log.contains("auth_ldap_options"), "{log}");

    let hba =
        "host all all all ldap ldapserver=h ldapport=x ldapprefix=x\nhost all all all trust\n";
    let setup = Setup::new().set("auth_type", "hba").set("auth_hba_file", "{dir}/hba");
    let pooler = setup.file("hba", hba).start();
    pooler.wait_log(&["line 1: ldapport is a number from 1 to 65535"]);
    assert_eq!(said(pooler.port, &APP, "app"), refused(REFUSED));
}

/// A service of PAM for the time of a test.
struct Service {
    name: String,
    file: PathBuf,
}

impl Service {
    /// A service whose only judge is a script: it is given the kind of the question as argument,
    /// and the password on its standard input. None, with a line, where one cannot be made.
    fn of(name: &str, script: &str) -> Option<Service> {
        let folder = host::new_folder("pam");
        let program = folder.join("judge");
        host::write_file(&program, format!("#!/bin/sh\n{script}\n"));
        let status = std::process::Command::new("chmod").arg("755").arg(&program).status();
        assert!(status.is_ok_and(|status| status.success()));
        let file = Path::new("/etc/pam.d").join(name);
        let program = program.display();
        let text = format!(
            "auth required pam_exec.so expose_authtok {program} auth\n\
             account required pam_exec.so quiet {program} account\n"
        );
        if file.exists() {
            eprintln!("SKIPPED a login by PAM: {} is there already", file.display());
            return None;
        }
        if let Err(error) = std::fs::write(&file, text) {
            eprintln!("SKIPPED a login by PAM: no service can be made: {error}");
            return None;
        }
        Some(Service { name: name.to_owned(), file })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.file);
    }
}

/// Lets in who has the password of `app`, but for locked accounts.
const JUDGE: &str = r#"
PATH=/usr/bin:/bin
[ "$PAM_RHOST" = 127.0.0.1 ] || exit 1
[ "$1" = account ] && { [ "$PAM_USER" != alice ]; exit; }
[ "$(tr -d '\0')" = app-secret ]
"#;

const PAM_REFUSED: &str = "PAM authentication failed";

fn check_pam(pooler: &Pooler) {
    assert_eq!(said(pooler.port, &APP, "app"), Ok("app".to_owned()), "{}", pooler.log());
    let wrong = with_password(&APP, "wrong");
    assert_eq!(said(pooler.port, &wrong, "app"), refused(PAM_REFUSED));
    let line = pooler.wait_log(&["pam_authenticate() failed: "]);
    assert!(line.contains("judge failed: exit code 1"), "the module's own words: {line}");
    let locked = with_password(&ALICE, "app-secret");
    assert_eq!(said(pooler.port, &locked, "app"), refused(PAM_REFUSED));
    pooler.wait_log(&["pam_acct_mgmt() failed: "]);
}

#[test]
fn pam_decides_under_the_name_of_the_program() {
    let Some(_service) = Service::of("pgbouncer", JUDGE) else { return };
    // The list says something else, and does not count.
    check_pam(&Setup::new().set("auth_type", "pam").secret(APP.name, "forgotten").start());
}

#[test]
fn pam_decides_by_a_line_of_the_hba_file() {
    let name = format!("pgbouncer-tests-{}", std::process::id());
    let Some(service) = Service::of(&name, JUDGE) else { return };
    let hba = format!("host all all all pam pamservice={}\n", service.name);
    let setup = Setup::new().set("auth_type", "hba").set("auth_hba_file", "{dir}/hba");
    check_pam(&setup.file("hba", &hba).start());
}

#[test]
fn a_slow_module_holds_up_nobody_else() {
    let name = format!("pgbouncer-slow-{}", std::process::id());
    let Some(service) = Service::of(&name, "[ $1 = account ] || /bin/sleep 1") else { return };
    let hba =
        format!("host bench all all pam pamservice={}\nhost all all all trust\n", service.name);
    let setup = Setup::new().set("auth_type", "hba").set("auth_hba_file", "{dir}/hba");
    let pooler = setup.file("hba", &hba).start();
    let mut client = pooler.client();
    // More than are asked about at a time.
    let slow: Vec<Child> = (0..20)
        .map(|_| Tool::psql(pooler.port, &APP, "bench").args(["-c", "select 'in'"]).start())
        .collect();
    let mut longest = Duration::ZERO;
    for _ in 0..200 {
        let begun = Instant::now();
        assert_eq!(client.one("select 1"), "1");
        longest = longest.max(begun.elapsed());
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(longest < Duration::from_millis(900), "a query takes {longest:?}");
    for child in slow {
        assert_eq!(tool::finish(child).trim(), "in");
    }
}

#[test]
fn without_a_service_pam_lets_nobody_in() {
    let hba = "host all all all pam pamservice=no-such-service-of-pam\n";
    let setup = Setup::new().set("auth_type", "hba").set("auth_hba_file", "{dir}/hba");
    let pooler = setup.file("hba", hba).start();
    assert_eq!(said(pooler.port, &APP, "app"), refused(PAM_REFUSED));
}
