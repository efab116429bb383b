//! The built program as scripts and service managers meet it: options, exit codes, files, signals.

use std::fs::{self, File, Permissions};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Output, Stdio};
use std::time::{Duration, Instant};
use std::{env, process, thread};

const PROGRAM: &str = env!("CARGO_BIN_EXE_pgbouncer");

/// How long anything here may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn version_and_help_go_to_stdout_and_exit_with_0() {
    for options in [["-V"], ["--version"], ["-dV"], ["-Vx"], ["--vers"]] {
        let output = run(&options);
        assert_eq!(output.status.code(), Some(0));
        assert_eq!(text(&output.stdout).lines().next(), Some("PgBouncer 1.26.1"));
        assert!(output.stderr.is_empty());
    }
    let output = run(&["--help"]);
    assert_eq!(output.status.code(), Some(0));
    assert!(text(&output.stdout).contains("--daemon"));
}

#[test]
fn a_command_line_that_makes_no_sense_exits_with_1_and_says_why() {
    for (options, words) in [
        (vec!["--bogus"], "unrecognized option '--bogus'"),
        (vec!["-dx"], "invalid option -- 'x'"),
        (vec!["-u"], "option requires an argument -- 'u'"),
        (vec![], "no configuration file specified"),
        (vec!["a.ini", "b.ini"], "more than one configuration file specified"),
    ] {
        let output = run(&options);
        assert_eq!(output.status.code(), Some(1), "{options:?}");
        assert!(output.stdout.is_empty());
        let expected =
            format!("{PROGRAM}: {words}\nTry \"{PROGRAM} --help\" for more information.\n");
        assert_eq!(text(&output.stderr), expected);
    }
    let output = run(&["-R", "x.ini"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("-R is not supported: "), "{}", text(&output.stderr));
}

#[test]
fn a_file_that_is_missing_or_wrong_exits_with_1() {
    let output = run(&["/nonexistent/x.ini"]);
    assert_eq!(output.status.code(), Some(1));
    let lines = messages(&text(&output.stderr));
    assert_eq!(
        lines,
        [
            "ERROR could not load file \"/nonexistent/x.ini\": No such file or directory",
            "FATAL cannot load config file"
        ]
    );
    let home = Home::new("wrong");
    home.configure("no_such_setting = 1\n");
    let output = run(&[&home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    let lines = messages(&text(&output.stderr));
    assert!(lines[0].starts_with("ERROR ") && lines[0].contains("no_such_setting"), "{lines:?}");
    assert_eq!(lines.last().map(String::as_str), Some("FATAL cannot load config file"));
    assert!(run(&["-q", &home.ini()]).stderr.is_empty(), "-q keeps it off stderr");
}

#[test]
fn root_is_refused() {
    if !is_root() {
        return;
    }
    let home = Home::new("root");
    home.configure("");
    for options in [vec![], vec!["-u", "root"]] {
        let output = Command::new(PROGRAM).args(options).arg(home.ini()).output().expect("run");
        assert_eq!(output.status.code(), Some(1));
        let lines = messages(&text(&output.stderr));
        let words = "FATAL PgBouncer should not run as root: name another user with -u";
        assert!(lines.len() == 1 && lines[0].starts_with(words), "{lines:?}");
    }
    assert!(!home.path("log").exists(), "no file that belongs to root is left behind");
    let output = run(&["-u", "no such user", &home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    let lines = messages(&text(&output.stderr));
    assert_eq!(lines, ["FATAL could not find user 'no such user' to switch to"]);
}

/// Who starts it as root may leave user list and rules to root alone. A RELOAD keeps what it cannot
/// read.
#[test]
fn what_root_alone_may_read_is_read_before_the_user_changes() {
    if !is_root() {
        return;
    }
    let home = Home::new("roots");
    for (name, content) in [("users", "\"a\" \"x\"\n"), ("hba", "local all a trust\n")] {
        fs::write(home.path(name), content).expect("write");
        fs::set_permissions(home.path(name), Permissions::from_mode(0o600)).expect("mode");
    }
    let configure = |lines: &str| {
        let folder = home.0.display();
        home.configure(&format!(
            "auth_type = hba\nauth_file = {folder}/users\nauth_hba_file = {folder}/hba\n\
             admin_users = a\n{lines}"
        ));
    };
    configure("");
    let mut instance = Instance::start(&home, &[]);
    assert!(!instance.seen.contains(" ERROR "), "{}", instance.seen);
    assert_eq!(login(&home, "a"), b'R');
    configure("stats_period = 7\n");
    instance.signal("HUP");
    let log = || fs::read_to_string(home.path("log")).expect("the log");
    wait_until(|| log().contains("RELOAD: setting stats_period: 60 -> 7"));
    for file in ["auth_file", "auth_hba_file"] {
        let words = format!("ERROR could not open {file} {}", home.0.display());
        assert!(log().contains(&words), "{}", log());
    }
    assert_eq!(login(&home, "a"), b'R');
    assert_eq!(login(&home, "b"), b'E');
    instance.signal("QUIT");
    assert_eq!(instance.exit_code(), Some(0));
}

/// The kind of the first message that answers a login on the console.
fn login(home: &Home, user: &str) -> u8 {
    let mut client = UnixStream::connect(home.socket()).expect("it listens");
    client.set_read_timeout(Some(PATIENCE)).expect("option");
    let body = format!("\0\x03\0\0user\0{user}\0database\0pgbouncer\0\0");
    client.write_all(&(body.len() as u32 + 4).to_be_bytes()).expect("write");
    client.write_all(body.as_bytes()).expect("write");
    let mut kind = [0];
    client.read_exact(&mut kind).expect("it answers");
    kind[0]
}

#[test]
fn it_starts_in_the_order_that_log_readers_know_and_cleans_up_after_itself() {
    for signal in ["INT", "TERM", "QUIT"] {
        let home = Home::new(&format!("plain-{signal}"));
        home.configure("");
        let mut instance = Instance::start(&home, &[]);
        let lines = messages(&instance.seen);
        assert!(lines[0].starts_with("LOG kernel file descriptor limit: "), "{lines:?}");
        assert!(lines[1].starts_with("LOG listening on 127.0.0.1:"), "{lines:?}");
        assert_eq!(lines[2], format!("LOG listening on unix:{}", home.socket().display()));
        assert!(lines[3].starts_with("LOG process up: PgBouncer 1.26.1, "), "{lines:?}");
        let log = fs::read_to_string(home.path("log")).expect("the log");
        assert!(log.starts_with(&instance.seen), "{log}");
        assert_eq!(home.pid(), Some(instance.child.id()));
        instance.signal(signal);
        assert_eq!(instance.exit_code(), Some(0), "{signal}");
        assert!(!home.path("pid").exists() && !home.socket().exists(), "{signal}");
    }
}

#[test]
fn a_second_instance_is_refused_and_the_first_not_disturbed() {
    let home = Home::new("second");
    home.configure("");
    let mut first = Instance::start(&home, &[]);
    let output = run_as_other(&[&home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    let lines = messages(&text(&output.stderr));
    let holder = format!("process {}", first.child.id());
    assert!(lines[0].starts_with("FATAL unix socket is in use, cannot continue"), "{lines:?}");
    assert!(lines[0].contains(&holder), "{lines:?}");
    home.configure("unix_socket_dir =\n");
    let output = run_as_other(&[&home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    let lines = messages(&text(&output.stderr));
    let expected =
        format!("FATAL pidfile '{}' exists, another instance running?", home.path("pid").display());
    assert!(lines[0].starts_with(&expected) && lines[0].contains(&holder), "{lines:?}");
    assert_eq!(home.pid(), Some(first.child.id()));
    first.signal("INT");
    assert_eq!(first.exit_code(), Some(0));
}

#[test]
fn what_a_killed_instance_left_behind_is_no_obstacle() {
    let home = Home::new("killed");
    home.configure("");
    let mut first = Instance::start(&home, &[]);
    first.signal("KILL");
    assert_eq!(first.exit_code(), None);
    assert!(home.path("pid").exists() && home.socket().exists());
    let mut second = Instance::start(&home, &[]);
    assert_eq!(home.pid(), Some(second.child.id()));
    assert!(second.seen.contains("LOG removed unix socket "), "{}", second.seen);
    second.signal("INT");
    assert_eq!(second.exit_code(), Some(0));
    // A number that happens to be somebody's, as in a container that always has the same ones.
    fs::write(home.path("pid"), "1\n").expect("write");
    let mut third = Instance::start(&home, &[]);
    third.signal("INT");
    assert_eq!(third.exit_code(), Some(0));
}

#[test]
fn in_a_container_where_it_is_always_process_1_the_lock_decides() {
    let home = Home::new("number-1");
    home.configure("unix_socket_dir =\n");
    if !run_all(unshare().arg("true")).status.success() {
        return eprintln!("SKIPPED: processes cannot be given numbers of their own here");
    }
    let instance = || {
        let mut command = unshare();
        command.arg(PROGRAM).args(as_other()).arg(home.ini());
        command
    };
    // What dies with `unshare` otherwise is freed from that by becoming another user.
    let end = |instance: &mut Instance| {
        let unshare = instance.child.id();
        let inside = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children"));
        signal(inside.expect("children").trim().parse().expect("one child"), "KILL");
        instance.exit_code();
    };
    let mut first = Instance::spawn(&mut instance());
    assert_eq!(home.pid(), Some(1));
    let second = run_all(&mut instance());
    assert_eq!(second.status.code(), Some(1));
    let words = "another instance running? (process 1)";
    assert!(text(&second.stderr).contains(words), "{}", text(&second.stderr));
    end(&mut first);
    assert_eq!(home.pid(), Some(1), "its file is left behind");
    let mut third = Instance::spawn(&mut instance());
    assert!(third.seen.contains("LOG stale pidfile, taking it over"), "{}", third.seen);
    assert_eq!(home.pid(), Some(1));
    end(&mut third);
}

#[test]
fn in_the_background_the_exit_code_tells_whether_it_works() {
    let home = Home::new("daemon");
    home.configure("");
    let output = run_as_other(&["-d", &home.ini()]);
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    let pid = home.pid().expect("the pid file is there as soon as the command returns");
    let log = fs::read_to_string(home.path("log")).expect("the log");
    assert!(log.contains(&format!("[{pid}] LOG process up: ")), "{log}");
    let stderr = fs::read_link(format!("/proc/{pid}/fd/2")).ok();
    assert!(stderr.is_none_or(|path| path.ends_with("dev/null")));
    signal(pid, "INT");
    wait_until(|| !home.path("pid").exists());
    home.configure("listen_addr = 198.51.100.1\n");
    let output = run_as_other(&["-d", &home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    // The command may return a moment before the process behind it has said its last word.
    wait_until(|| {
        let log = fs::read_to_string(home.path("log")).expect("the log");
        log.contains("FATAL failed to listen on any address in listen_addr list")
    });
    home.configure("pidfile =\n");
    let output = run_as_other(&["-d", &home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    let words = "FATAL daemon needs pidfile configured";
    assert_eq!(messages(&text(&output.stderr)), [words]);
}

#[test]
fn in_the_background_it_runs_without_a_log_too() {
    let home = Home::new("daemon-no-log");
    home.configure("logfile =\n");
    let warning = "WARNING neither logfile nor syslog is set: in the background nothing will be \
                   logged";
    for (options, said) in [(vec!["-d"], vec![warning]), (vec!["-d", "-q"], vec![])] {
        let output = run_as_other(&[options, vec![&home.ini()]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
        assert_eq!(messages(&text(&output.stderr)), said);
        signal(home.pid().expect("it runs"), "INT");
        wait_until(|| !home.path("pid").exists());
    }
}

#[test]
fn its_memory_is_written_nowhere_unless_somebody_wants_that() {
    let home = Home::new("cores");
    for (line, owner, limit) in [("", 0, "0"), ("core_dumps = 1\n", 1, "unlimited")] {
        home.configure(line);
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited && exec \"$@\"", "sh", PROGRAM]);
        let mut instance = Instance::spawn(shell.args(as_other()).arg(home.ini()));
        let proc = format!("/proc/{}", instance.child.id());
        // What nobody may look into belongs to root.
        let uid = fs::metadata(format!("{proc}/environ")).expect("a process").uid();
        assert_eq!(uid.min(1), owner, "{line}");
        let limits = fs::read_to_string(format!("{proc}/limits")).expect("a process");
        let core = limits.lines().find(|line| line.starts_with("Max core file size"));
        assert!(core.is_some_and(|l| l["Max core file size".len()..].trim().starts_with(limit)));
        instance.signal("QUIT");
        assert_eq!(instance.exit_code(), Some(0));
    }
}

#[test]
fn a_log_or_pid_file_that_cannot_be_opened_is_an_error_that_names_it() {
    let home = Home::new("unwritable");
    for (line, words) in [
        (
            "logfile = /nonexistent/x.log\n",
            "FATAL Cannot open logfile: '/nonexistent/x.log': No such file or directory",
        ),
        (
            "pidfile = /nonexistent/x.pid\n",
            "FATAL could not open pidfile '/nonexistent/x.pid': No such file or directory",
        ),
        ("unix_socket_group = no_such_group\n", "FATAL could not find group 'no_such_group'"),
        ("listen_addr =\nunix_socket_dir =\n", "FATAL nowhere to listen on"),
    ] {
        home.configure(line);
        let output = run_as_other(&[&home.ini()]);
        assert_eq!(output.status.code(), Some(1));
        let lines = messages(&text(&output.stderr));
        assert_eq!(lines.last().map(String::as_str), Some(words));
        assert!(!home.socket().exists() && !home.path("pid").exists());
    }
}

#[test]
fn quiet_keeps_stderr_empty_and_the_log_full() {
    let home = Home::new("quiet");
    home.configure("");
    let mut command = command(&["-q", &home.ini()]);
    let mut child = command.stderr(Stdio::piped()).spawn().expect("run");
    wait_until(|| home.pid().is_some());
    signal(child.id(), "INT");
    assert_eq!(child.wait().expect("wait").code(), Some(0));
    let mut stderr = String::new();
    child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("read");
    assert_eq!(stderr, "");
    assert!(fs::read_to_string(home.path("log")).expect("the log").contains("LOG process up: "));
}

#[test]
fn a_stderr_that_nobody_reads_stops_nothing_and_is_told_what_it_missed() {
    let home = Home::new("unread");
    home.configure("auth_type = trust\n");
    let mut instance = Instance::start(&home, &[]);
    // More than a pipe holds.
    let name = "d".repeat(900);
    for _ in 0..200 {
        let mut client = UnixStream::connect(home.socket()).expect("it listens");
        client.set_read_timeout(Some(PATIENCE)).expect("option");
        let body = format!("\0\x03\0\0user\0x\0database\0{name}\0\0");
        client.write_all(&(body.len() as u32 + 4).to_be_bytes()).expect("write");
        client.write_all(body.as_bytes()).expect("write");
        client.read_to_end(&mut Vec::new()).expect("it answers");
    }
    let mut next = || {
        let mut line = String::new();
        assert_ne!(instance.stderr.read_line(&mut line).expect("read"), 0, "it has ended");
        assert!(line.starts_with("20") && line.ends_with('\n'), "a torn line: {line}");
        line
    };
    (0..30).for_each(|_| drop(next()));
    signal(instance.child.id(), "HUP");
    while !next().contains(" WARNING lines that the standard error stream did not take: ") {}
    instance.signal("QUIT");
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn a_pipe_in_the_place_of_a_file_holds_nobody_up() {
    let home = Home::new("pipes");
    let more = home.path("more.ini");
    fs::write(&more, "").expect("write");
    home.configure(&format!("%include {}\n", more.display()));
    let mut instance = Instance::start(&home, &[]);
    let make_pipe = |path: &PathBuf| {
        let _ = fs::remove_file(path);
        assert!(
            Command::new("mkfifo").args(["-m", "666"]).arg(path).status().expect("x").success()
        );
    };
    make_pipe(&more);
    instance.signal("HUP");
    let log = || fs::read_to_string(home.path("log")).unwrap_or_default();
    wait_until(|| log().contains("more.ini\": Not a regular file"));
    for setting in ["auth_file", "auth_hba_file", "logfile"] {
        let pipe = home.path(setting);
        make_pipe(&pipe);
        home.configure(&format!("auth_type = hba\n{setting} = {}\n", pipe.display()));
        instance.signal("HUP");
        wait_until(|| log().lines().any(|l| l.contains(" ERROR ") && l.contains(setting)));
    }
    instance.signal("QUIT");
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn in_a_debug_build_who_holds_the_loop_is_named() {
    if !cfg!(debug_assertions) {
        return;
    }
    let home = Home::new("watchdog");
    home.configure("auth_type = trust\n");
    let limit = ("PGBOUNCER_WATCHDOG_MS", "0.0001".to_owned());
    let mut instance = Instance::start(&home, &[limit]);
    let log = || fs::read_to_string(home.path("log")).unwrap_or_default();
    wait_until(|| {
        let _client = UnixStream::connect(home.socket()).expect("it listens");
        let log = log();
        log.contains(" WARNING the loop was held for ") && log.contains(" by ")
    });
    instance.signal("QUIT");
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn what_the_pid_file_links_to_is_not_written_over() {
    let home = Home::new("link");
    home.configure("");
    let precious = home.path("precious");
    fs::write(&precious, "precious").expect("write");
    fs::set_permissions(&precious, Permissions::from_mode(0o666)).expect("mode");
    std::os::unix::fs::symlink(&precious, home.path("pid")).expect("link");
    let output = run_as_other(&[&home.ini()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(text(&output.stderr).contains("it must not be a symbolic link"));
    assert_eq!(fs::read_to_string(&precious).expect("still there"), "precious");
}

#[test]
fn the_service_manager_is_told_of_start_reload_end_and_statistics() {
    let home = Home::new("notify");
    home.configure("stats_period = 1\n");
    let path = home.path("notify");
    let manager = UnixDatagram::bind(&path).expect("bind");
    manager.set_read_timeout(Some(PATIENCE)).expect("option");
    fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("mode");
    let mut instance =
        Instance::start(&home, &[("NOTIFY_SOCKET", path.to_str().expect("text").to_owned())]);
    let next = || {
        let mut bytes = [0; 256];
        let count = manager.recv(&mut bytes).expect("a datagram");
        text(&bytes[..count])
    };
    let await_next = |start: &str| loop {
        let told = next();
        if told.starts_with(start) {
            return told;
        }
        assert!(told.starts_with("STATUS="), "{told} in place of {start}");
    };
    assert_eq!(next(), "READY=1");
    let status = await_next("STATUS=stats: ");
    assert!(status.contains(" xacts/s, ") && status.contains(", wait "), "{status}");
    instance.signal("HUP");
    let reloading = await_next("RELOADING=1\n");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    await_next("READY=1");
    instance.signal("INT");
    await_next("STOPPING=1");
    assert_eq!(instance.exit_code(), Some(0));
}

#[test]
fn sockets_of_the_service_manager_are_taken_over() {
    let home = Home::new("activated");
    home.configure("");
    let socket = TcpListener::bind("127.0.0.1:0").expect("bind");
    let address = socket.local_addr().expect("address");
    // The shell's own number stays that of the program that it becomes.
    let script = "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0";
    let mut command = Command::new("sh");
    command.args(["-c", script, "sh", PROGRAM]).args(as_other()).arg(home.ini());
    let mut instance = Instance::spawn(command.stdin(OwnedFd::from(socket)));
    let expected = format!("LOG listening on {address} ");
    assert!(instance.seen.contains(&expected), "{}", instance.seen);
    assert!(!home.socket().exists(), "the configured socket is not made");
    instance.signal("INT");
    assert_eq!(instance.exit_code(), Some(0));
}

/// A directory for one test, which everybody may write to, removed with it.
struct Home(PathBuf);

impl Home {
    fn new(name: &str) -> Home {
        let path = env::temp_dir().join(format!("pgbouncer-cli-{}-{name}", process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).expect("a directory");
        fs::set_permissions(&path, Permissions::from_mode(0o777)).expect("mode");
        Home(path)
    }

    /// Writes a configuration of which `lines` is the last word.
    fn configure(&self, lines: &str) {
        let home = self.0.display();
        let ini = format!(
            "[databases]\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = 0\n\
             unix_socket_dir = {home}\npidfile = {home}/pid\nlogfile = {home}/log\n{lines}"
        );
        fs::write(self.path("ini"), ini).expect("write");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn ini(&self) -> String {
        self.path("ini").to_str().expect("text").to_owned()
    }

    fn socket(&self) -> PathBuf {
        self.path(".s.PGSQL.0")
    }

    /// The number in the pid file, once it is complete.
    fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.path("pid")).ok()?.strip_suffix('\n')?.parse().ok()
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running instance in the foreground.
struct Instance {
    child: Child,
    /// Kept open, so that writing to it does not fail.
    stderr: BufReader<ChildStderr>,
    /// What it said until it was up.
    seen: String,
}

impl Instance {
    fn start(home: &Home, environment: &[(&str, String)]) -> Instance {
        let mut command = command(&[&home.ini()]);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        Instance::spawn(&mut command)
    }

    fn spawn(command: &mut Command) -> Instance {
        let mut child = command.stderr(Stdio::piped()).spawn().expect("run");
        let mut stderr = BufReader::new(child.stderr.take().expect("piped"));
        let mut seen = String::new();
        while !seen.contains(" LOG process up: ") {
            assert_ne!(stderr.read_line(&mut seen).expect("read"), 0, "ended: {seen}");
        }
        Instance { child, stderr, seen }
    }

    fn signal(&self, name: &str) {
        signal(self.child.id(), name);
    }

    fn exit_code(&mut self) -> Option<i32> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = self.child.try_wait().expect("wait") {
                return status.code();
            }
            assert!(Instant::now() < deadline, "it does not end");
            thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Instance {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn is_root() -> bool {
    File::open("/proc/self").and_then(|file| file.metadata()).is_ok_and(|found| found.uid() == 0)
}

/// What makes the program run as somebody else, when we are root.
fn as_other() -> &'static [&'static str] {
    if is_root() { &["-u", "nobody"] } else { &[] }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args(as_other()).args(arguments).env_remove("NOTIFY_SOCKET");
    command
}

/// What runs a program as process 1 of a container; who is not root needs a user of his own for it.
fn unshare() -> Command {
    let mut command = Command::new("unshare");
    if !is_root() {
        command.args(["--user", "--map-current-user"]);
    }
    command.args(["--pid", "--fork", "--kill-child"]);
    command
}

fn run_as_other(arguments: &[&str]) -> Output {
    run_all(&mut command(arguments))
}

fn run(arguments: &[&str]) -> Output {
    run_all(Command::new(PROGRAM).args(arguments))
}

fn run_all(command: &mut Command) -> Output {
    command.output().expect("run")
}

fn signal(pid: u32, name: &str) {
    let script = format!("kill -{name} {pid}");
    let status = Command::new("sh").args(["-c", &script]).status().expect("kill");
    assert!(status.success());
}

fn wait_until(mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "too slow");
        thread::sleep(Duration::from_millis(5));
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Log lines without date, time, zone and process, whose form is checked.
fn messages(log: &str) -> Vec<String> {
    let message = |line: &str| {
        let parts: Vec<&str> = line.splitn(5, ' ').collect();
        let [date, time, _, pid, rest] = parts[..] else { panic!("{line}") };
        assert_eq!((date.len(), time.len()), ("2026-01-31".len(), "15:05:40.508".len()), "{line}");
        assert!(pid.starts_with('[') && pid.ends_with(']'), "{line}");
        rest.to_owned()
    };
    log.lines().map(message).collect()
}
