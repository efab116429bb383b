//! `pgbouncer --check`: what it says of files that are wrong, of files that would start and not
//! serve, and of a process that runs with them.

mod support;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Stdio};

use support::{Setup, host};

/// What a check said, and its exit code.
struct Said {
    code: Option<i32>,
    out: String,
    problems: Vec<String>,
}

impl Said {
    fn errors(&self) -> Vec<&str> {
        let lines = self.problems.iter().map(String::as_str);
        lines.filter(|line| line.starts_with("ERROR ")).collect()
    }

    /// Whether a quiet check has found nothing that the program refuses.
    fn is_taken(&self) -> bool {
        self.code == Some(0) && self.out.is_empty() && self.problems.is_empty()
    }
}

fn check(folder: &Path, options: &[&str]) -> Said {
    let mut command = Command::new(support::pooler::built_program());
    command.arg("--check").args(options).arg("pgbouncer.ini").current_dir(folder);
    command.stdin(Stdio::null());
    // The console lets in who the pooler runs as.
    host::drop_privileges(&mut command);
    let output = command.output().expect("the program");
    let [out, problems] =
        [output.stdout, output.stderr].map(|b| String::from_utf8_lossy(&b).into());
    let problems: String = problems;
    let problems = problems.lines().map(str::to_owned).collect();
    Said { code: output.status.code(), out, problems }
}

/// A folder with a configuration, and further files in it.
fn folder(ini: &str, files: &[(&str, &str)]) -> std::path::PathBuf {
    let folder = host::new_folder("check");
    host::write_file(&folder.join("pgbouncer.ini"), ini);
    for (name, text) in files {
        host::write_file(&folder.join(name), text);
    }
    folder
}

#[test]
fn a_good_configuration_is_summed_up() {
    let ini = "[databases]\na = host=127.0.0.1\n[pgbouncer]\nauth_file = users\n\
               listen_addr = *\ndefault_pool_size = 5\nmax_client_conn = 10\n";
    let folder = folder(ini, &[("users", "\"a\" \"one\"\n\"b\" \"two\"\n")]);
    let said = check(&folder, &[]);
    assert_eq!((said.code, said.problems.as_slice()), (Some(0), [].as_slice()));
    let start = "pgbouncer.ini: databases: 1, users: 3, file descriptors: at most 37 of the ";
    assert!(said.out.starts_with(start) && said.out.lines().count() == 1, "{}", said.out);
    assert_eq!(check(&folder, &["-q"]).out, "");
}

#[test]
fn pages_that_everybody_may_read_are_warned_of() {
    let ini = "[databases]\na = host=127.0.0.1\n[pgbouncer]\nauth_file = users\n\
               listen_addr = 127.0.0.1\nmetrics_listen_addr = 0.0.0.0\n";
    let folder = folder(ini, &[("users", "\"a\" \"one\"\n")]);
    let said = check(&folder, &[]);
    assert_eq!(said.code, Some(0), "{:?}", said.problems);
    let [warning] = said.problems.as_slice() else { panic!("{:?}", said.problems) };
    assert!(warning.starts_with("WARNING metrics_listen_addr: whoever reaches 0.0.0.0 may read"));
}

#[test]
fn every_mistake_is_told_with_file_and_line_and_ends_with_1() {
    let ini = "[databases]\na = host=x port=many\n%include other.ini\n[pgbouncer]\nno_such = 1\n";
    let folder = folder(ini, &[("other.ini", "b = hots=x\n")]);
    for options in [&[][..], &["-q"]] {
        let said = check(&folder, options);
        assert_eq!((said.code, said.out.as_str()), (Some(1), ""));
        let places =
            ["other.ini:1: b: hots: ", "pgbouncer.ini:2: a: port: ", "pgbouncer.ini:5: no_such: "];
        assert_eq!(said.problems.len(), 3, "{:?}", said.problems);
        for (problem, place) in said.problems.iter().zip(places) {
            assert!(problem.starts_with(&format!("ERROR {place}")), "{problem}");
        }
    }
    let missing = check(&host::new_folder("check"), &[]);
    assert_eq!(missing.code, Some(1));
    let words = "ERROR could not load file \"pgbouncer.ini\": No such file or directory";
    assert_eq!(missing.problems, [words]);
}

#[test]
fn what_a_start_gets_past_is_a_mistake_all_the_same() {
    let ini = "[databases]\na = host=x pool_size=20;\n%include .\n[pgbouncer]\nauth_type = any\n\
               default_pool_size = -1\nunix_socket_dir = /tmp\n";
    let folder = folder(ini, &[]);
    let said = check(&folder, &[]);
    assert_eq!((said.code, said.errors().len()), (Some(1), 3), "{:?}", said.problems);
    let places = ["2: a: pool_size: ", "3: . is a directory", "6: default_pool_size: "];
    for (problem, place) in said.errors().iter().zip(places) {
        assert!(problem.starts_with(&format!("ERROR pgbouncer.ini:{place}")), "{problem}");
    }
    assert!(check(&folder, &["-q"]).is_taken());
    let pooler = Setup::empty()
        .database("app", "host=127.0.0.1, port=5432, user=u password=x max_db_connections=-5")
        .set("max_user_connections", "-1")
        .set("unix_socket_mode", "448")
        .start();
    assert_eq!(pooler.log().matches(" WARNING ").count(), 4, "{}", pooler.log());
    let socket = pooler.folder.join(format!(".s.PGSQL.{}", pooler.port));
    let mode = std::fs::metadata(socket).expect("the socket").permissions().mode();
    assert_eq!(mode & 0o7777, 0o700);
    for (key, value) in [("unix_socket_mode", "448"), ("max_user_connections", "0")] {
        assert_eq!(pooler.shown("show config", "key", key, "value").as_deref(), Some(value));
    }
    let size = pooler.shown("show databases", "name", "app", "max_connections");
    assert_eq!(size.as_deref(), Some("0"));
}

#[test]
fn files_that_decide_who_comes_in_are_read_too() {
    let hba = "[pgbouncer]\nauth_type = hba\nauth_hba_file = hba\nauth_ident_file = ident\n";
    let good = [("hba", "local all all peer map=m\n"), ("ident", "m a b\n")];
    assert_eq!(check(&folder(hba, &good), &[]).code, Some(0));
    let bad_hba = "local all all peer\nlocal all nobody\nhost all all all ldap ldapserver=x\n";
    let bad_ident = "m a b\nm a\n";
    let bad = [("hba", bad_hba), ("ident", bad_ident)];
    let places = ["ERROR ident: line 2: ", "ERROR hba: line 2: ", "ERROR hba: line 3: ldapbasedn"];
    let strict = hba.to_owned() + "strict_files = 1\n";
    for (ini, option) in [(hba, None), (&strict, Some("-q"))] {
        let said = check(&folder(ini, &bad), option.as_slice());
        assert_eq!((said.code, said.errors().len()), (Some(1), 3), "{:?}", said.problems);
        for (problem, place) in said.errors().iter().zip(places) {
            assert!(problem.starts_with(place), "{problem}");
        }
    }
    assert!(check(&folder(hba, &bad), &["-q"]).is_taken(), "a start leaves the lines out");
    let said = check(&folder(hba, &[good[0]]), &[]);
    assert_eq!(said.code, Some(1));
    assert!(
        said.problems[0].contains("auth_ident_file ident: No such file"),
        "{:?}",
        said.problems
    );
    // Where no line names a map, nobody looks for the file; nor for the rules of another auth_type.
    let plain = folder(hba, &[("hba", "local all all peer\n")]);
    assert_eq!(check(&plain, &[]).code, Some(0));
    let md5 = hba.replace("auth_type = hba", "auth_type = md5");
    assert_eq!(check(&folder(&md5, &[("hba", bad_hba)]), &[]).code, Some(0));
    let said = check(&folder("[pgbouncer]\nauth_type = hba\n", &[]), &[]);
    let words = "ERROR auth_type hba needs an auth_hba_file, without one it lets nobody in";
    assert_eq!((said.code, said.errors()), (Some(1), vec![words]));
}

#[test]
fn what_would_start_and_not_serve_is_a_warning() {
    let ini = "[databases]\na = host=x user=forced\n[pgbouncer]\nauth_type = md5\n\
               auth_file = users\n\
               logfile = /nonexistent/log\npidfile = /nonexistent/pid\n\
               unix_socket_dir = /nonexistent\nuser = no such user\nsuspend_timeout = 1\n\
               max_client_conn = 2000000000\n";
    let folder = folder(ini, &[("users", "\"a\" \"\"\nbroken\n")]);
    let said = check(&folder, &[]);
    assert_eq!(said.code, Some(0));
    for expected in [
        "suspend_timeout: this parameter has no effect",
        "users: line 2: ",
        "an empty secret lets nobody in, and is never sent: a",
        "database a: user forced has no password",
        "logfile: there is no directory /nonexistent",
        "pidfile: there is no directory /nonexistent",
        "unix_socket_dir: there is no directory /nonexistent",
        "user: the system knows no user no such user",
        "the limits may need 2000000",
    ] {
        let found = said.problems.iter().find(|problem| problem.contains(expected));
        assert!(
            found.is_some_and(|p| p.starts_with("WARNING ")),
            "{expected}: {:?}",
            said.problems
        );
    }
    assert!(check(&folder, &["--quiet"]).is_taken());
}

#[test]
fn what_no_start_gets_past_on_this_machine_is_a_warning() {
    let folder = folder("", &[]);
    let begin = "[databases]\na = host=x user=u\n[pgbouncer]\nauth_type = any\n\
                 listen_addr = 127.0.0.1\nauth_file = users\n";
    host::write_file(&folder.join("users"), "\"u\" \"x\"\n");
    let cases = [
        ("logfile = /tmp", "logfile: /tmp is a directory"),
        ("pidfile = /", "pidfile: / is a directory"),
        ("listen_addr = 127.0.0.1, 127.0.0.300", "cannot resolve '127.0.0.300' of listen_addr"),
        ("unix_socket_group = no such group", "could not find group 'no such group'"),
        ("listen_addr = 127.0.0.1:5432", "the port goes into listen_port"),
        ("logfile = /log", "logfile: / cannot be written by user "),
        ("user = root", "should not run as root"),
    ];
    for (line, expected) in cases {
        let ini = format!("{begin}unix_socket_dir = /tmp\n{line}\n");
        host::write_file(&folder.join("pgbouncer.ini"), ini);
        let said = check(&folder, &[]);
        assert_eq!((said.code, said.problems.len()), (Some(0), 1), "{line}: {:?}", said.problems);
        assert!(said.problems[0].contains(expected), "{line}: {:?}", said.problems);
    }
    let long = format!("{begin}unix_socket_dir = @{}\n", "x".repeat(200));
    host::write_file(&folder.join("pgbouncer.ini"), long);
    let said = check(&folder, &[]);
    assert_eq!(said.problems.len(), 1, "{:?}", said.problems);
    assert!(said.problems[0].contains("failed to create unix socket: "), "{:?}", said.problems);
}

#[test]
fn the_process_that_runs_tells_what_needs_a_restart() {
    let pooler = Setup::empty().database("a", "host=127.0.0.1").set("pidfile", "{dir}/pid");
    let pooler = pooler.start();
    let said = check(&pooler.folder, &[]);
    assert_eq!((said.code, said.problems.as_slice()), (Some(0), [].as_slice()));
    assert!(said.out.contains(&format!("process {} has", pooler.pid)), "{}", said.out);
    let ini = pooler.folder.join("pgbouncer.ini");
    let text = std::fs::read_to_string(&ini).expect("the ini");
    let changed = "listen_backlog = 5\ntrack_extra_parameters = x, y\ndefault_pool_size = 7\n";
    host::write_file(&ini, format!("{text}\n{changed}"));
    let said = check(&pooler.folder, &[]);
    assert_eq!(said.code, Some(0));
    assert_eq!(
        said.problems,
        [
            "WARNING listen_backlog: a restart is needed to change \"128\" to \"5\"",
            "WARNING track_extra_parameters: a restart is needed to change \"\" to \"x, y\"",
        ]
    );
    host::write_file(&ini, format!("{text}\nlisten_port = 1\n"));
    let said = check(&pooler.folder, &[]);
    assert!(said.problems[0].contains("does not answer at"), "{:?}", said.problems);
}

#[test]
fn what_nobody_reaches_or_everybody_changes_is_a_warning() {
    let ini = "[pgbouncer]\nauth_type = md5\nauth_file = users\nadmin_users = boss\n";
    let folder = folder(ini, &[("users", "\"a\" \"x\"\n")]);
    let users = folder.join("users");
    std::fs::set_permissions(&users, std::os::unix::fs::PermissionsExt::from_mode(0o666))
        .expect("a mode");
    let said = check(&folder, &[]);
    assert_eq!(said.code, Some(0));
    for expected in [
        "listen_addr is not set: only the Unix socket is served",
        "[databases] is empty: clients reach nothing but the console",
        "admin_users: auth_file has no user boss",
        "auth_file: everybody may write to users (mode 0666)",
    ] {
        let expected = format!("WARNING {expected}");
        assert!(said.problems.contains(&expected), "{expected}: {:?}", said.problems);
    }
}

#[test]
fn a_start_counts_descriptors_as_the_check_does() {
    let setup = Setup::empty().database("a", "host=127.0.0.1");
    let setup = setup.database("b", "host=127.0.0.1 user=forced password=x");
    let pooler = (0..5).fold(setup, |setup, n| setup.secret(&format!("user{n}"), "x")).start();
    let said = check(&pooler.folder, &[]);
    let most = said.out.split("at most ").nth(1).and_then(|rest| rest.split(' ').next());
    let expected = format!("max expected fd use: {}", most.expect("a sum"));
    assert!(pooler.log().contains(&expected), "{expected}: {}", pooler.log());
}
