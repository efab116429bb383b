//! Real clients: programs of PostgreSQL, and scripts of `tests/clients` under what runs them. Each
//! run has a time limit.

use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::host::drop_privileges;
use super::postgres::{self, Role};
use super::runner::{self, Runner};

/// How long a client may take for its whole script.
const LIMIT: Duration = Duration::from_secs(120);

/// A command line that connects to a pooler (or a PostgreSQL), by libpq's environment variables,
/// which the scripts read too.
pub struct Tool {
    command: Command,
    name: String,
}

impl Tool {
    /// `psql` that prints bare values, stops at the first error and reads no settings.
    pub fn psql(port: u16, role: &Role, database: &str) -> Tool {
        let mut tool = Tool::new(&postgres::client_program("psql"), "psql", port, role, database);
        tool.command.args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1"]);
        tool
    }

    pub fn pgbench(port: u16, role: &Role, database: &str) -> Tool {
        Tool::new(&postgres::client_program("pgbench"), "pgbench", port, role, database)
    }

    /// Another program of PostgreSQL.
    pub fn postgres(name: &str, port: u16, role: &Role, database: &str) -> Tool {
        Tool::new(&postgres::client_program(name), name, port, role, database)
    }

    /// A script of `tests/clients`. None when what runs it is not installed and the test may be
    /// skipped.
    pub fn script(file: &str, port: u16, role: &Role, database: &str) -> Option<Tool> {
        let runner = Runner::of(file)?;
        let mut tool = Tool::new(&runner.program, file, port, role, database);
        tool.command.args(runner.arguments);
        tool.command.env("NODE_PATH", runner::target().join("node/node_modules"));
        Some(tool)
    }

    fn new(program: &Path, name: &str, port: u16, role: &Role, database: &str) -> Tool {
        let mut command = Command::new("timeout");
        command
            .args(["-k", "5", &LIMIT.as_secs().to_string()])
            .arg(program)
            .env("PGHOST", "127.0.0.1")
            .env("PGPORT", port.to_string())
            .env("PGUSER", role.name)
            .env("PGPASSWORD", role.password)
            .env("PGDATABASE", database)
            .env_remove("PGSSLMODE")
            .stdin(Stdio::null());
        Tool { command, name: name.into() }
    }

    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Tool {
        self.command.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Tool {
        self.command.env(name, value);
        self
    }

    /// Has it run as the user that servers run as, who owns what it writes.
    pub fn unprivileged(mut self) -> Tool {
        drop_privileges(&mut self.command);
        self
    }

    /// Runs it to its end; gives what it printed, and fails the test when it fails.
    pub fn run(self) -> String {
        let name = self.name.clone();
        let output = self.output();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{name}: {}\n{out}{err}", output.status);
        out.trim_end().to_owned()
    }

    /// Runs it to an end that must be a failure; gives what it printed on stderr.
    pub fn fail(self) -> String {
        let name = self.name.clone();
        let output = self.output();
        assert!(!output.status.success(), "{name} succeeds: {}", text(&output.stdout));
        text(&output.stderr)
    }

    pub fn output(mut self) -> Output {
        self.command.output().unwrap_or_else(|e| panic!("cannot run {}: {e}", self.name))
    }

    /// Starts it beside the test; its output is captured.
    pub fn start(mut self) -> Child {
        self.command.stdout(Stdio::piped()).stderr(Stdio::piped());
        self.command.spawn().unwrap_or_else(|e| panic!("cannot run {}: {e}", self.name))
    }
}

/// Takes a base backup into `data` of a folder, which pg_verifybackup then finds whole.
pub fn back_up(port: u16, role: &Role, folder: &Path, prepare: impl FnOnce(Tool) -> Tool) {
    let data = folder.join("data").display().to_string();
    let backup = Tool::postgres("pg_basebackup", port, role, "app").args(["-D", &data]);
    let backup = backup.args(["-X", "stream", "-c", "fast", "--no-sync"]);
    prepare(backup).unprivileged().run();
    let check = Tool::postgres("pg_verifybackup", port, role, "app").args([data.as_str()]);
    check.unprivileged().run();
}

/// Waits for a tool that was started; gives what it printed, and fails the test when it failed.
pub fn finish(child: Child) -> String {
    let output = child.wait_with_output().expect("a child that can be waited for");
    let (out, err) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{}\n{out}{err}", output.status);
    out
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
