//! What runs a script of `tests/clients`: an interpreter with the driver that the script is about.
//! `scripts/prepare` provides all of them.
//!
//! What a machine lacks fails its test, or is skipped with a line that says so: when
//! `PGBOUNCER_TESTS_MAY_SKIP=1`, and always where `make test` does not provide it, unless
//! `PGBOUNCER_TESTS_CLIENTS=all` (as `make test-clients` has it).

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use super::host::{find_program, source};

/// A command line without the script's own arguments.
pub struct Runner {
    pub program: PathBuf,
    pub arguments: Vec<OsString>,
}

/// Where Debian's package of PostgreSQL's JDBC driver puts it.
const JDBC: &str = "/usr/share/java/postgresql.jar";

impl Runner {
    /// What runs this file, by its name or extension. None when the test is to be skipped.
    pub fn of(file: &str) -> Option<Runner> {
        let extension = Path::new(file).extension().and_then(|e| e.to_str());
        let script = source().join("tests/clients").join(file).into_os_string();
        let (what, program, mut arguments): (_, _, Vec<OsString>) = match (file, extension) {
            ("tokio_postgres", _) => {
                let built = target().join("tokio_postgres/debug/tokio-postgres-client");
                return Runner::built(file, built);
            }
            ("pgx", _) => return Runner::built(file, target().join("pgx/pgx-client")),
            ("odbc.py", _) => {
                let module = ["-c", "import pyodbc"];
                ("python3-pyodbc and odbc-postgresql", with("/usr/bin/python3", &module), vec![])
            }
            (_, Some("java")) => {
                let path = ["-cp".into(), JDBC.into()];
                let java = find_program("java").filter(|_| Path::new(JDBC).exists());
                ("a JDK and libpostgresql-jdbc-java", java, path.into())
            }
            (_, Some("js")) => {
                let packages = target().join("node/node_modules/pg");
                let node = find_program("node").filter(|_| packages.is_dir());
                ("node and target/node", node, vec![])
            }
            (_, Some("php")) => ("php-cli and php-pgsql", find_program("php"), vec![]),
            (_, Some("pl")) => ("libdbd-pg-perl", with("perl", &["-MDBD::Pg", "-e1"]), vec![]),
            (_, Some("py")) => ("target/venv", Some(target().join("venv/bin/python")), vec![]),
            (_, Some("rb")) => {
                let packages = ["-e", "require 'active_record'; require 'pg'"];
                ("ruby-activerecord and ruby-pg", with("ruby", &packages), vec![])
            }
            _ => panic!("{file}: nothing is known that runs it"),
        };
        arguments.push(script);
        let program = program.filter(|path| path.exists());
        if program.is_none() {
            skip_or_fail(file, what);
        }
        Some(Runner { program: program?, arguments })
    }

    /// A program that only `make test-clients` builds.
    fn built(name: &str, program: PathBuf) -> Option<Runner> {
        if program.exists() {
            return Some(Runner { program, arguments: vec![] });
        }
        let must_be_there = std::env::var_os("PGBOUNCER_TESTS_CLIENTS").is_some_and(|v| v == "all");
        assert!(!must_be_there, "{name} is not built, which `make test-clients` does");
        eprintln!("SKIPPED {name}: only `make test-clients` builds it");
        None
    }
}

/// Where cargo builds, and `make test` puts what it installs.
pub fn target() -> &'static Path {
    Path::new(env!("CARGO_TARGET_TMPDIR")).parent().expect("target/tmp has a parent")
}

/// Ends a test whose client is missing, unless it may be skipped.
pub fn skip_or_fail(test: &str, missing: &str) {
    let may_skip = std::env::var_os("PGBOUNCER_TESTS_MAY_SKIP").is_some_and(|v| v == "1");
    assert!(may_skip, "{test} needs {missing}, which `make test` installs");
    eprintln!("SKIPPED {test}: {missing} is not installed");
}

/// The interpreter, if it can do this.
fn with(program: &str, proof: &[&str]) -> Option<PathBuf> {
    let program = match program.starts_with('/') {
        true => Some(PathBuf::from(program)),
        false => find_program(program),
    };
    program.filter(|program| {
        let mut command = Command::new(program);
        let command = command.args(proof).stdin(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    })
}
