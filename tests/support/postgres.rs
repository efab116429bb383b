//! A throw-away PostgreSQL, one for each test binary: initialised in the scratch folder, with a
//! role for each way to log in, ended by the reaper.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use super::client::{Client, Login};
use super::{eventually, host};

pub struct Postgres {
    pub port: u16,
    /// The folder of its Unix socket.
    pub socket: PathBuf,
    pub pid: u32,
}

/// A role that may log in.
#[derive(Clone, Copy, Debug)]
pub struct Role {
    pub name: &'static str,
    pub password: &'static str,
    /// How PostgreSQL asks for the password, as pg_hba.conf calls it.
    pub method: &'static str,
}

/// The role that tests use unless they are about logins: SCRAM.
pub const APP: Role = Role { name: "app", password: "app-secret", method: "scram-sha-256" };
pub const MD5: Role = Role { name: "app_md5", password: "md5-secret", method: "md5" };
pub const PLAIN: Role = Role { name: "app_plain", password: "plain-secret", method: "password" };
pub const TRUSTED: Role = Role { name: "app_trust", password: "unasked", method: "trust" };
/// The superuser; trusted.
pub const SUPER: Role = Role { name: "super", password: "unasked", method: "trust" };
/// The roles of the user's guide, with the passwords of its userlist.
pub const GUIDE: [Role; 4] = [
    Role { name: "postgres", password: "example-postgres-password", method: "scram-sha-256" },
    Role { name: "replicator", password: "example-replicator-password", method: "scram-sha-256" },
    Role { name: "plannerate_prod", password: "example-prod-password", method: "scram-sha-256" },
    Role {
        name: "plannerate_staging",
        password: "example-staging-password",
        method: "scram-sha-256",
    },
];

const DATABASES: &[(&str, &str)] = &[
    ("app", "app"),
    ("bench", "app"),
    ("plannerate_production", "plannerate_prod"),
    ("plannerate_staging", "plannerate_staging"),
];

/// Nothing on disk need survive; connections are many.
const SETTINGS: &str = "
listen_addresses = '127.0.0.1'
password_encryption = 'scram-sha-256'
max_connections = 400
superuser_reserved_connections = 10
shared_buffers = 64MB
fsync = off
synchronous_commit = off
full_page_writes = off
autovacuum = off
wal_level = logical
max_wal_senders = 30
wal_keep_size = 1GB
max_replication_slots = 30
timezone = 'UTC'
log_timezone = 'UTC'
";

impl Postgres {
    /// The server of this test binary, started by the first test that asks.
    pub fn shared() -> &'static Postgres {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Postgres::start)
    }

    /// A PostgreSQL of one's own, for tests that stop or restart it.
    pub fn start() -> Postgres {
        let folder = host::new_folder("postgres");
        initialise(&folder);
        let postgres = Postgres::on(&folder);
        postgres.fill();
        postgres
    }

    /// Starts a server on the data folder `data` in `folder`.
    pub fn on(folder: &Path) -> Postgres {
        let (port, pid) = (0..20).find_map(|_| launch(folder)).expect("PostgreSQL starts");
        Postgres { port, socket: folder.into(), pid }
    }

    /// A session of the superuser, past the pooler.
    pub fn session(&self, database: &str) -> Client {
        let login = Login { user: SUPER.name, password: "", database, parameters: &[] };
        Client::attempt(self.port, &login).expect("the superuser is trusted")
    }

    /// Runs one statement as superuser, past the pooler, and gives its first value.
    pub fn one(&self, sql: &str) -> String {
        self.session("app").one(sql)
    }

    /// How many sessions there are of a role in a database, the asking one not counted.
    pub fn sessions(&self, role: &str, database: &str) -> usize {
        let sql = format!(
            "select count(*) from pg_stat_activity where usename = '{role}' \
             and datname = '{database}' and pid <> pg_backend_pid()"
        );
        self.one(&sql).parse().expect("a count")
    }

    /// Waits until somebody runs a query that ends so, or has run it last.
    pub fn await_query(&self, end: &str) {
        let sql = format!(
            "select count(*) from pg_stat_activity where right(query, {}) = $end${end}$end$ \
             and pid <> pg_backend_pid()",
            end.chars().count()
        );
        eventually("the query to run", || (self.one(&sql) == "1").then_some(()));
    }

    /// Sees to it that database `bench` holds pgbench's tables at scale 1; once.
    pub fn fill_bench(&self) {
        static FILLED: OnceLock<()> = OnceLock::new();
        FILLED.get_or_init(|| {
            let status = Command::new(program("pgbench"))
                .args(["-i", "-s", "1", "-q", "-h", "127.0.0.1", "-p", &self.port.to_string()])
                .args(["-U", APP.name, "bench"])
                .env("PGPASSWORD", APP.password)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .status();
            assert!(status.is_ok_and(|s| s.success()), "pgbench -i");
            let grant = "grant select on all tables in schema public to public";
            self.session("bench").query(grant).expect("a grant of the superuser");
        });
    }

    fn fill(&self) {
        let mut session = self.session("postgres");
        let mut run = |sql: &str| {
            session.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        };
        for role in roles() {
            run(&format!("create role {} login", role.name));
            let encryption = if role.method == "md5" { "md5" } else { "scram-sha-256" };
            run(&format!("set password_encryption = '{encryption}'"));
            run(&format!("alter role {} password '{}'", role.name, role.password));
        }
        for (database, owner) in DATABASES {
            run(&format!("create database {database} owner {owner}"));
        }
        run("alter role postgres superuser");
        run("alter role replicator replication");
    }
}

/// All roles but the superuser.
pub fn roles() -> impl Iterator<Item = Role> {
    [APP, MD5, PLAIN, TRUSTED].into_iter().chain(GUIDE)
}

/// A program of PostgreSQL: from `PGBIN`, from Debian's newest version, or from PATH.
pub fn program(name: &str) -> PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(find_programs).join(name)
}

/// A client of PostgreSQL: from `PGBIN_CLIENTS`, else from where its other programs are.
pub fn client_program(name: &str) -> PathBuf {
    match std::env::var_os("PGBIN_CLIENTS") {
        Some(folder) => PathBuf::from(folder).join(name),
        None => program(name),
    }
}

fn find_programs() -> PathBuf {
    if let Some(folder) = std::env::var_os("PGBIN") {
        return folder.into();
    }
    let entries = fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &Path| path.file_name().and_then(|n| n.to_str()?.parse::<u32>().ok());
    let newest = entries.map(|e| e.path()).max_by_key(|path| version(path));
    let debian = newest.map(|folder| folder.join("bin")).filter(|bin| bin.join("initdb").exists());
    let anywhere = || Some(host::find_program("initdb")?.parent()?.to_path_buf());
    debian.or_else(anywhere).expect("PostgreSQL is installed (make test installs it)")
}

fn initialise(folder: &Path) {
    let data = folder.join("data");
    let mut command = Command::new(program("initdb"));
    command.args(["-U", SUPER.name, "-A", "trust", "-E", "UTF8", "--locale", "C", "-N", "-D"]);
    command.arg(&data).current_dir(folder);
    host::drop_privileges(&mut command);
    let output = command.output().expect("initdb runs");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "initdb fails: {text}");
    let mut hba = String::from("local all all trust\n");
    for role in roles().chain([SUPER]) {
        hba += &format!("host all,replication {} 127.0.0.1/32 {}\n", role.name, role.method);
    }
    hba += "host all all 127.0.0.1/32 scram-sha-256\n";
    host::write_file(&data.join("pg_hba.conf"), hba);
}

/// Starts the server on a free port; None when it did not come up, as when the port was taken.
fn launch(folder: &Path) -> Option<(u16, u32)> {
    let port = host::free_port();
    let data = folder.join("data");
    let socket = format!("port = {port}\nunix_socket_directories = '{}'\n", folder.display());
    host::write_file(&data.join("postgresql.conf"), format!("{SETTINGS}{socket}"));
    let mut command = Command::new(program("postgres"));
    command.arg("-D").arg(&data).current_dir(folder);
    let mut child = host::spawn_server(&mut command, &folder.join("log"));
    let login = Login { user: SUPER.name, password: "", database: "postgres", parameters: &[] };
    let is_up = eventually("PostgreSQL to start", || {
        if child.try_wait().expect("a child").is_some() {
            return Some(false);
        }
        // The last line of this file says "ready" once connections are accepted.
        let status = fs::read_to_string(data.join("postmaster.pid")).unwrap_or_default();
        status.lines().nth(7).is_some_and(|line| line.trim() == "ready").then_some(true)
    });
    (is_up && Client::attempt(port, &login).is_ok()).then(|| (port, child.id()))
}
