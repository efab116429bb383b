//! The pooler under test: an ini that a test spells out in a few words, a folder and ports of its
//! own, its log, and the check at the end that it lived and left with exit code 0.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::{Mutex, OnceLock};
use std::time::Duration;

use super::client::Client;
use super::postgres::{APP, Postgres, Role, roles};
use super::wire::Wire;
use super::{PATIENCE, eventually, host, within};

/// The user that may do everything on the console.
pub const ADMIN: Role = Role { name: "admin", password: "admin-secret", method: "" };

const UNPOISONED: &str = "no thread panics while it holds this";

/// A configuration in the making. Values may hold `{dir}`, `{port}` and `{user}`: the pooler's
/// folder, its port, and the user that it runs as.
#[derive(Clone)]
pub struct Setup {
    databases: Vec<(String, String)>,
    settings: Vec<(String, String)>,
    users: Vec<(String, String)>,
    peers: Vec<(String, String)>,
    secrets: Vec<(String, String)>,
    files: Vec<(String, String)>,
    /// A whole ini in place of all the above.
    ini: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    /// A program and arguments of it that run the pooler.
    runner: Vec<String>,
}

/// A pooler that runs. Dropping it ends it, and fails the test when it has died before.
pub struct Pooler {
    pub port: u16,
    pub pid: u32,
    pub folder: PathBuf,
    /// None once its end was awaited.
    child: Mutex<Option<Child>>,
    setup: Mutex<Setup>,
}

impl Setup {
    /// Transaction pooling for all databases of the shared PostgreSQL, clients trusted.
    pub fn new() -> Setup {
        Setup::empty().database("*", &format!("host=127.0.0.1 port={}", Postgres::shared().port))
    }

    /// The same without databases, and without a PostgreSQL.
    pub fn empty() -> Setup {
        let setup = Setup {
            databases: vec![],
            settings: vec![],
            users: vec![],
            peers: vec![],
            secrets: vec![],
            files: vec![],
            ini: None,
            arguments: vec![],
            environment: vec![],
            runner: vec![],
        };
        let with_secrets = roles()
            .chain([ADMIN])
            .fold(setup, |setup, role| setup.secret(role.name, role.password));
        let settings = [
            ("listen_addr", "127.0.0.1"),
            ("listen_port", "{port}"),
            ("unix_socket_dir", "{dir}"),
            ("auth_type", "trust"),
            ("auth_file", "{dir}/userlist.txt"),
            ("admin_users", ADMIN.name),
            ("pool_mode", "transaction"),
        ];
        settings.iter().fold(with_secrets, |setup, (key, value)| setup.set(key, value))
    }

    /// Adds a line to `[databases]`, or replaces the one of that name.
    pub fn database(mut self, name: &str, line: &str) -> Setup {
        put(&mut self.databases, name, line);
        self
    }

    /// Adds a line to `[pgbouncer]`, or replaces the one of that name.
    pub fn set(mut self, key: &str, value: &str) -> Setup {
        put(&mut self.settings, key, value);
        self
    }

    /// Adds a line to `[users]`.
    pub fn user(mut self, name: &str, line: &str) -> Setup {
        put(&mut self.users, name, line);
        self
    }

    /// Adds a line to `[peers]`, or replaces the one of that number.
    pub fn peer(mut self, id: &str, line: &str) -> Setup {
        put(&mut self.peers, id, line);
        self
    }

    /// Takes a line out of `[peers]`.
    pub fn without_peer(mut self, id: &str) -> Setup {
        self.peers.retain(|(other, _)| other != id);
        self
    }

    /// Adds a line to the userlist, or replaces the one of that name.
    pub fn secret(mut self, name: &str, secret: &str) -> Setup {
        put(&mut self.secrets, name, secret);
        self
    }

    /// Puts a file beside the ini.
    pub fn file(mut self, name: &str, content: &str) -> Setup {
        put(&mut self.files, name, content);
        self
    }

    /// Does not write the file of this name any more.
    pub fn without_file(mut self, name: &str) -> Setup {
        self.files.retain(|(known, _)| known != name);
        self
    }

    /// Takes this text for the ini in place of what the other methods say.
    pub fn ini(mut self, text: &str) -> Setup {
        self.ini = Some(text.into());
        self
    }

    /// Adds an argument of the command line, before the ini.
    pub fn argument(mut self, argument: &str) -> Setup {
        self.arguments.push(argument.into());
        self
    }

    /// Sets a variable of its environment, which may hold `{dir}`.
    pub fn env(mut self, name: &str, value: &str) -> Setup {
        put(&mut self.environment, name, value);
        self
    }

    /// Lets the tests look into the process where they do not run as root: by default nobody may.
    pub fn in_view(self) -> Setup {
        self.set("core_dumps", "1")
    }

    /// Has the pooler run by another program, which gets its command line behind its own.
    pub fn run_by(mut self, words: &[&str]) -> Setup {
        self.runner = words.iter().map(|&word| word.into()).collect();
        self
    }

    /// Starts the pooler and waits until it listens.
    pub fn start(self) -> Pooler {
        self.try_start().unwrap_or_else(|(status, log)| {
            panic!("the pooler ends with {status} instead of starting:\n{log}")
        })
    }

    /// Starts a pooler that may refuse to; then gives its exit status and what it printed. A port
    /// that somebody took in the meantime is exchanged for another.
    pub fn try_start(self) -> Result<Pooler, (ExitStatus, String)> {
        for _ in 0..10 {
            let (pooler, status) = self.clone().launch(host::free_port());
            let Some(status) = status else { return Ok(pooler) };
            let log = pooler.log();
            if !log.contains("in use") {
                return Err((status, log));
            }
        }
        panic!("every port was taken");
    }

    /// Starts one more pooler on the port of another.
    pub fn start_beside(self, other: &Pooler) -> Pooler {
        let (pooler, status) = self.launch(other.port);
        assert_eq!(status, None, "the pooler ends instead of starting:\n{}", pooler.log());
        pooler
    }

    /// Starts a pooler that must refuse to; gives its exit status and what it printed.
    pub fn refused(self) -> (ExitStatus, String) {
        let (pooler, status) = self.launch(host::free_port());
        let log = pooler.log();
        (status.unwrap_or_else(|| panic!("the pooler starts:\n{log}")), log)
    }

    /// Starts the pooler; the status is there when it has ended instead of listening.
    fn launch(self, port: u16) -> (Pooler, Option<ExitStatus>) {
        let folder = host::new_folder("pooler");
        write_files(&self, port, &folder);
        let mut words = self.runner.iter().map(OsStr::new).chain([program().as_os_str()]);
        let mut command = Command::new(words.next().expect("the pooler itself at least"));
        command
            .args(words)
            .args(&self.arguments)
            .arg(folder.join("pgbouncer.ini"))
            .current_dir(&folder);
        for (name, value) in &self.environment {
            command.env(name, value.replace("{dir}", &folder.display().to_string()));
        }
        let child = host::spawn_server(&mut command, &folder.join("stderr"));
        let pid = child.id();
        let (child, setup) = (Mutex::new(Some(child)), Mutex::new(self));
        let pooler = Pooler { port, pid, folder, child, setup };
        let status = eventually("the pooler to start or to refuse", || {
            let ended = pooler.ended_within(Duration::ZERO);
            (ended.is_some() || pooler.log().contains("process up")).then_some(ended)
        });
        (pooler, status)
    }
}

impl Pooler {
    /// A session of `APP` in the database of its name.
    pub fn client(&self) -> Client {
        Client::login(self.port, APP.name, APP.password, "app")
    }

    pub fn login(&self, role: &Role, database: &str) -> Client {
        Client::login(self.port, role.name, role.password, database)
    }

    /// A session on the console.
    pub fn console(&self) -> Client {
        self.login(&ADMIN, "pgbouncer")
    }

    /// A socket to it, nothing sent yet.
    pub fn connect(&self) -> Wire {
        Wire::connect(self.port)
    }

    /// One cell of a SHOW table: column `column` of the first row in which `of` is `name`.
    pub fn shown(&self, show: &str, of: &str, name: &str, column: &str) -> Option<String> {
        let answer = self.console().query(show).unwrap_or_else(|e| panic!("{show}: {e:?}"));
        let place = |wanted: &str| {
            let found = answer.columns.iter().position(|c| c == wanted);
            found.unwrap_or_else(|| panic!("{show} has a column {wanted}: {:?}", answer.columns))
        };
        let (of, column) = (place(of), place(column));
        let row = answer.rows.iter().find(|row| row[of].as_deref() == Some(name));
        row.and_then(|row| row[column].clone())
    }

    /// What it has printed so far.
    pub fn log(&self) -> String {
        let bytes = fs::read(self.folder.join("stderr")).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for a log line that contains one of `needles`, and gives it.
    pub fn wait_log(&self, needles: &[&str]) -> String {
        let find = |log: String| {
            let found = log.lines().find(|line| needles.iter().any(|n| line.contains(n)));
            found.map(str::to_owned)
        };
        within(PATIENCE, || find(self.log()))
            .unwrap_or_else(|| panic!("no log line with one of {needles:?} in\n{}", self.log()))
    }

    /// Writes the configuration anew, changed, without telling the pooler.
    pub fn rewrite(&self, change: impl FnOnce(Setup) -> Setup) {
        let setup = change(self.setup.lock().expect(UNPOISONED).clone());
        write_files(&setup, self.port, &self.folder);
        *self.setup.lock().expect(UNPOISONED) = setup;
    }

    /// How many descriptors it has open; see [`Setup::in_view`].
    pub fn descriptors(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid);
        fs::read_dir(&folder).unwrap_or_else(|error| panic!("{folder}: {error}")).count()
    }

    pub fn resident_kb(&self) -> u64 {
        host::resident_kb(self.pid)
    }

    pub fn signal(&self, signal: &str) {
        host::send_signal(self.pid, signal);
    }

    /// Waits for its end, which must come with exit code 0.
    pub fn expect_exit(&self) {
        let status = self.ended_within(PATIENCE);
        let status = status.unwrap_or_else(|| panic!("it does not end:\n{}", self.log()));
        assert!(status.success(), "the pooler ends with {status}:\n{}", self.log());
    }

    /// True while it runs.
    pub fn is_alive(&self) -> bool {
        self.ended_within(Duration::ZERO).is_none()
            && self.child.lock().expect(UNPOISONED).is_some()
    }

    /// The exit status, once; None while it runs, and after it was told.
    pub fn ended_within(&self, limit: Duration) -> Option<ExitStatus> {
        let mut child = self.child.lock().expect(UNPOISONED);
        let status = host::wait_child(child.as_mut()?, limit)?;
        *child = None;
        Some(status)
    }
}

impl Drop for Pooler {
    fn drop(&mut self) {
        if self.child.lock().expect(UNPOISONED).is_none() {
            return;
        }
        let died = self.ended_within(Duration::ZERO);
        if died.is_none() {
            self.signal("QUIT");
        }
        let status = died.or_else(|| self.ended_within(PATIENCE));
        let log = self.log();
        if std::thread::panicking() {
            let lines: Vec<&str> = log.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            eprintln!("the end of the pooler's log:\n{}", last.join("\n"));
            return;
        }
        assert!(died.is_none(), "the pooler has died, {status:?}:\n{log}");
        assert!(status.is_some_and(|s| s.success()), "QUIT ends it with {status:?}:\n{log}");
        assert!(!log.contains("panicked"), "the pooler has panicked:\n{log}");
    }
}

/// The program under test, where the user that servers run as can reach it.
pub fn program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| {
        let given = std::env::var_os("PGBOUNCER_BIN").map(PathBuf::from);
        given.map_or_else(|| built_program().to_owned(), |given| within_reach(&given, "pgbouncer"))
    })
}

/// The program that cargo has built, whatever is under test, where that user can reach it.
pub fn built_program() -> &'static Path {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(|| within_reach(Path::new(env!("CARGO_BIN_EXE_pgbouncer")), "built"))
}

/// A copy in the scratch folder: the folder of the project may be one that others cannot enter.
fn within_reach(program: &Path, name: &str) -> PathBuf {
    let folder = host::new_folder(name);
    let copy = folder.join("pgbouncer");
    // Not by our own hands: a file that we have open for writing cannot be executed, and a child
    // that another thread is just starting has all that we have open.
    let status = Command::new("cp").arg(program).arg(&copy).status();
    assert!(status.is_ok_and(|s| s.success()), "cannot copy {}", program.display());
    copy
}

fn put(list: &mut Vec<(String, String)>, name: &str, value: &str) {
    list.retain(|(known, _)| known != name);
    list.push((name.into(), value.into()));
}

fn write_files(setup: &Setup, port: u16, folder: &Path) {
    let section = |title: &str, lines: &[(String, String)]| {
        let lines = lines.iter().map(|(key, value)| format!("{key} = {value}\n"));
        format!("[{title}]\n{}\n", lines.collect::<String>())
    };
    let ini = setup.ini.clone().unwrap_or_else(|| {
        section("databases", &setup.databases)
            + &section("users", &setup.users)
            + &section("peers", &setup.peers)
            + &section("pgbouncer", &setup.settings)
    });
    let quote = |text: &str| text.replace('"', "\"\"");
    let secrets = setup.secrets.iter();
    let userlist: String =
        secrets.map(|(n, s)| format!("\"{}\" \"{}\"\n", quote(n), quote(s))).collect();
    let fill = |text: &str| {
        text.replace("{dir}", &folder.display().to_string())
            .replace("{port}", &port.to_string())
            .replace("{user}", &host::server_user())
    };
    host::write_file(&folder.join("userlist.txt"), userlist);
    for (name, content) in &setup.files {
        host::write_file(&folder.join(name), fill(content));
    }
    host::write_file(&folder.join("pgbouncer.ini"), fill(&ini));
}
