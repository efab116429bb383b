//! The machine: a scratch folder, free ports, the user that servers run as, and the reaper.
//!
//! PostgreSQL and the pooler refuse to run as root, so under root they run as `postgres` or
//! `nobody`. The reaper is a shell that holds the other end of a pipe: when the test binary ends,
//! by return, panic or SIGKILL, the pipe closes, and the reaper ends what is left and removes the
//! scratch folder (unless `PGBOUNCER_TESTS_KEEP` is set).

use std::ffi::OsStr;
use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::time::Duration;

use super::within;

/// Ports to pick from: below the range that the kernel takes for outgoing connections, so that a
/// client of another test cannot take a port between our look and the pooler's bind.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

struct Scratch {
    path: PathBuf,
    /// Its input closes with the process, which is what wakes it.
    _reaper: Child,
}

/// The scratch folder of this test binary, removed when it ends.
pub fn scratch() -> &'static Path {
    static SCRATCH: OnceLock<Scratch> = OnceLock::new();
    &SCRATCH.get_or_init(make_scratch).path
}

/// A new folder inside the scratch folder, owned by the user that servers run as.
pub fn new_folder(name: &str) -> PathBuf {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = scratch().join(format!("{name}{number}"));
    fs::create_dir(&path).expect("a folder in the scratch folder");
    give_away(&path);
    path
}

/// Writes a file that servers may read and replace; they see the old one or all of the new one.
pub fn write_file(path: &Path, content: impl AsRef<[u8]>) {
    let draft = path.with_extension("draft");
    let written = fs::write(&draft, content);
    written.unwrap_or_else(|e| panic!("cannot write {}: {e}", draft.display()));
    give_away(&draft);
    fs::rename(&draft, path).expect("a file can be renamed in its folder");
}

/// A port that nobody listens on. Somebody may take it before it is used: who starts a server on
/// it tries again with another.
pub fn free_port() -> u16 {
    static NEXT: OnceLock<AtomicU16> = OnceLock::new();
    let span = PORTS.end - PORTS.start;
    let next = NEXT.get_or_init(|| {
        let random = RandomState::new().hash_one(std::process::id());
        AtomicU16::new((random % u64::from(span)) as u16)
    });
    (0..span)
        .map(|_| PORTS.start + next.fetch_add(1, Ordering::Relaxed) % span)
        .find(|port| TcpListener::bind(("0.0.0.0", *port)).is_ok())
        .expect("a free port")
}

/// Starts a server in a process group of its own, as an unprivileged user when we are root, with
/// its output in `log`. The reaper ends it if we do not.
pub fn spawn_server(command: &mut Command, log: &Path) -> Child {
    let open = || fs::File::options().create(true).append(true).open(log).expect("a log file");
    command.stdin(Stdio::null()).stdout(open()).stderr(open()).process_group(0);
    give_away(log);
    drop_privileges(command);
    let child = command.spawn().unwrap_or_else(|e| panic!("cannot start {command:?}: {e}"));
    write_file(&pid_file(child.id()), "");
    child
}

/// The exit status of a child once it has ended, or None when it still runs after `limit`.
pub fn wait_child(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let status = within(limit, || child.try_wait().expect("a child that can be waited for"))?;
    let _ = fs::remove_file(pid_file(child.id()));
    Some(status)
}

/// Runs `command` as the user that servers run as.
pub fn drop_privileges(command: &mut Command) {
    if let Some(account) = server_account() {
        command.uid(account.uid).gid(account.gid);
    }
}

pub fn send_signal(pid: u32, signal: &str) {
    let status = Command::new("kill").args(["-s", signal, &pid.to_string()]).status();
    assert!(status.is_ok_and(|s| s.success()), "cannot send {signal} to {pid}");
}

/// The name of the user that servers run as: our own unless we are root.
pub fn server_user() -> String {
    if let Some(account) = server_account() {
        return account.name.clone();
    }
    let uid = fs::metadata("/proc/self").expect("/proc is mounted").uid();
    find_account(|a| a.uid == uid).map_or_else(|| uid.to_string(), |a| a.name)
}

/// A file of `/proc/PID`, empty when the process is gone.
pub fn proc_file(pid: u32, name: &str) -> String {
    fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_default()
}

/// Resident memory of a process, in kilobytes.
pub fn resident_kb(pid: u32) -> u64 {
    status_number(pid, "VmRSS:")
}

/// How often a process has gone to sleep of its own accord.
pub fn sleeps(pid: u32) -> u64 {
    status_number(pid, "voluntary_ctxt_switches:")
}

fn status_number(pid: u32, name: &str) -> u64 {
    let status = proc_file(pid, "status");
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|n| n.parse().ok()).unwrap_or_else(|| panic!("{name} of a running process"))
}

/// CPU time that a process has used, in clock ticks (hundredths of a second).
pub fn cpu_ticks(pid: u32) -> u64 {
    let stat = proc_file(pid, "stat");
    let fields = stat.rsplit_once(") ").map_or("", |(_, rest)| rest);
    let number = |n: usize| fields.split(' ').nth(n).and_then(|f| f.parse::<u64>().ok());
    number(11).unwrap_or(0) + number(12).unwrap_or(0)
}

/// The program that `name` stands for in PATH.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

/// The root of the source tree.
pub fn source() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

struct Account {
    name: String,
    uid: u32,
    gid: u32,
}

fn server_account() -> Option<&'static Account> {
    static ACCOUNT: OnceLock<Option<Account>> = OnceLock::new();
    let find = || {
        let is_root = fs::metadata("/proc/self").expect("/proc is mounted").uid() == 0;
        let named = |name: &str| find_account(|a| a.name == name);
        is_root.then(|| named("postgres").or_else(|| named("nobody")).expect("a user for servers"))
    };
    ACCOUNT.get_or_init(find).as_ref()
}

fn find_account(wanted: impl Fn(&Account) -> bool) -> Option<Account> {
    let parse = |line: &str| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        let gid = fields.next()?.parse().ok()?;
        Some(Account { name, uid, gid })
    };
    let passwd = fs::read_to_string("/etc/passwd").expect("/etc/passwd");
    passwd.lines().filter_map(parse).find(wanted)
}

pub fn give_away(path: &Path) {
    if let Some(account) = server_account() {
        chown(path, Some(account.uid), Some(account.gid)).expect("root may give files away");
    }
}

fn pid_file(pid: u32) -> PathBuf {
    scratch().join("pids").join(pid.to_string())
}

fn make_scratch() -> Scratch {
    let random = RandomState::new().hash_one(0);
    let path = std::env::temp_dir().join(format!("pooler-test-{:08x}", random as u32));
    fs::create_dir_all(path.join("pids")).expect("a scratch folder");
    give_away(&path);
    let script: &OsStr = REAPER.as_ref();
    let reaper = Command::new("sh")
        .args(["-c".as_ref(), script, "reaper".as_ref(), path.as_os_str()])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .expect("a shell");
    Scratch { path, _reaper: reaper }
}

/// QUIT ends both PostgreSQL and the pooler at once; KILL is for what is stuck.
const REAPER: &str = r#"
cat >/dev/null
pids=$(ls "$1/pids")
for signal in QUIT KILL; do
    for pid in $pids; do kill -s $signal "$pid"; done
    for try in 1 2 3 4 5 6 7 8 9 10; do
        alive=; for pid in $pids; do kill -s 0 "$pid" && alive=yes; done
        [ -z "$alive" ] && break 2
        sleep 0.2
    done
done
[ -n "$PGBOUNCER_TESTS_KEEP" ] || rm -rf "$1"
"#;
