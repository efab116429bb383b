//! `--check`: reads everything that a start would read, and reports what is wrong.
//!
//! Each finding has a [`Weight`]. What depends on the machine (directories, users, descriptors, the
//! running process) is a doubt only, since a configuration may be checked on another machine than
//! it will serve on.

mod lookups;
mod names;
mod reach;
mod running;
mod secrets;
mod secured;

use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::process::ExitCode;

use super::access::File;
use super::args::{CheckArgs, RunArgs};
use super::start::{StartError, StartOptions};
use super::{FAILED, access, known_users, load, options, pages, words};
use crate::config::{Config, Settings};
use crate::log::{self, Level};
use crate::net::listen;
use crate::pool::records::access::Access;
use crate::sys::{account, clock, process};

/// Checks the file and prints the result: problems to standard error, a summary to standard output.
pub fn run(args: &CheckArgs) -> ExitCode {
    let mut findings = Findings { quiet: args.quiet, journal: log::is_journal(), errors: 0 };
    let summary = match load(&args.config) {
        Ok(config) => check(&config, &mut findings),
        Err(errors) => {
            errors.iter().for_each(|error| findings.add(Weight::Refusal, &words(error)));
            None
        }
    };
    let Some(summary) = summary else { return ExitCode::from(FAILED) };
    if !args.quiet {
        // An error means that the reader has closed the stream.
        let _ = writeln!(io::stdout(), "{}: {summary}", args.config.display());
    }
    if findings.errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// What a start makes of a problem.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Weight {
    /// It does not start, and RELOAD keeps the old configuration.
    Refusal,
    /// It starts, as PgBouncer does, but not as the file says: a value is read as another one, a
    /// rule about who may log in is left out, or TLS with servers cannot be set up.
    Mistake,
    /// It starts, and something may not work.
    Doubt,
}

/// Prints problems as they are found, and counts those that decide the exit code.
struct Findings {
    /// Only what is refused matters.
    quiet: bool,
    /// Whether lines begin with levels in the form that the journal reads.
    journal: bool,
    errors: u32,
}

impl Findings {
    fn add(&mut self, weight: Weight, text: &str) {
        if self.quiet && weight != Weight::Refusal {
            return;
        }
        let level = match weight {
            Weight::Refusal | Weight::Mistake => Level::Error,
            Weight::Doubt => Level::Warning,
        };
        self.errors += u32::from(level == Level::Error);
        let line = match self.journal {
            true => format!("<{}>{text}\n", level.severity()),
            false => format!("{level} {text}\n"),
        };
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn warn(&mut self, text: &str) {
        self.add(Weight::Doubt, text);
    }
}

/// Checks a file that could be parsed. Returns the summary if the files that it names can be read
/// too.
fn check(config: &Config, findings: &mut Findings) -> Option<String> {
    for warning in &config.warnings {
        let is_mistake = warning.problem.is_mistake();
        let weight = if is_mistake { Weight::Mistake } else { Weight::Doubt };
        findings.add(weight, &words(warning));
    }
    let access = read_access(config, findings)?;
    secured::check(config, clock::now(), findings);
    if findings.quiet {
        return Some(String::new());
    }
    secrets::doubts(config, &access).iter().for_each(|doubt| findings.warn(doubt));
    reach::doubts(config, &access).iter().for_each(|doubt| findings.warn(doubt));
    pages::doubts(&config.settings).iter().for_each(|doubt| findings.warn(doubt));
    let users = known_users(config, &access);
    let mut options = options::start(&RunArgs::default(), config);
    options.expected_fds = options::expected_fds(config, users);
    check_surroundings(&options, findings);
    let descriptors = check_process(&options, &config.settings, findings);
    let databases = config.databases.len();
    Some(format!("databases: {databases}, users: {users}, {descriptors}"))
}

/// Reads user list, HBA file and ident map. With `strict_files` a rule that cannot be parsed ends a
/// start.
fn read_access(config: &Config, findings: &mut Findings) -> Option<Access> {
    let before = Access::default();
    let is_strict = config.settings.strict_files;
    let of_rules = if is_strict { Weight::Refusal } else { Weight::Mistake };
    let mut report = |file, text: String| {
        let weight = match file {
            File::Hba | File::Ident | File::Judge => of_rules,
            File::Users => Weight::Doubt,
        };
        findings.add(weight, &text);
    };
    access::read(&config.settings, &before, &mut report).ok()
}

/// Checks that directories and system users exist that a start needs. Whether they can be used is
/// not checked: the check may run as another user than the pooler.
fn check_surroundings(options: &StartOptions, findings: &mut Findings) {
    let writer = Writer::of(options);
    check_place("logfile", options.log.file.as_deref(), &writer, findings);
    check_place("pidfile", options.pid_file.as_deref(), &writer, findings);
    let unix = options.listen.unix.as_ref().map(|unix| unix.directory.as_str());
    if let Some(directory) = unix.filter(|directory| !directory.starts_with('@')) {
        check_directory("unix_socket_dir", Path::new(directory), findings);
    }
    if let Err(error) = listen::check_names(&options.listen) {
        findings.warn(&error.to_string());
    }
    let Some(name) = options.user.as_deref().filter(|name| !name.is_empty()) else { return };
    match account::user_by_name(name) {
        Ok(Some(found)) if found.uid == 0 => findings.warn(&StartError::Root.to_string()),
        Ok(Some(_)) => {}
        _ => findings.warn(&format!("user: the system knows no user {name}")),
    }
}

/// Checks the place of a file that the start makes or opens.
fn check_place(setting: &str, file: Option<&Path>, writer: &Writer, findings: &mut Findings) {
    let Some(file) = file else { return };
    let parent = file.parent().filter(|path| !path.as_os_str().is_empty());
    if file.is_dir() {
        return findings.warn(&format!("{setting}: {} is a directory", file.display()));
    }
    let parent = parent.unwrap_or(Path::new("."));
    check_directory(setting, parent, findings);
    let target = if file.exists() { file } else { parent };
    if target.exists() && !writer.may_write(target) {
        let (target, who) = (target.display(), &writer.name);
        findings.warn(&format!("{setting}: {target} cannot be written by {who}"));
    }
}

fn check_directory(setting: &str, directory: &Path, findings: &mut Findings) {
    if !directory.is_dir() {
        findings.warn(&format!("{setting}: there is no directory {}", directory.display()));
    }
}

/// Compares the configuration with the process that runs with it, or else with this process: which
/// changes need a restart, and whether there are enough descriptors. Returns the part of the
/// summary on descriptors.
fn check_process(options: &StartOptions, settings: &Settings, findings: &mut Findings) -> String {
    let pid = options.pid_file.as_deref().and_then(running::holder);
    if let Some(pid) = pid {
        check_restart(pid, settings, findings);
    }
    let running = pid.and_then(|pid| Some((running::fd_limit(pid)?, format!("process {pid} has"))));
    let ours = || Some((process::fd_limit().ok()?.hard, "this process has".to_owned()));
    let Some((limit, whose)) = running.or_else(ours) else { return String::new() };
    let needed = options.expected_fds;
    if needed > limit {
        findings.warn(&format!(
            "the limits may need {needed} file descriptors, {whose} {limit}: raise LimitNOFILE or \
             lower max_client_conn"
        ));
    }
    format!("file descriptors: at most {needed} of the {limit} that {whose}")
}

/// Names the settings that differ from those of the process and that RELOAD does not change.
fn check_restart(pid: u32, settings: &Settings, findings: &mut Findings) {
    let running = match running::settings(settings) {
        Ok(running) => running,
        Err(error) => {
            let (why, end) = match error.kind() {
                io::ErrorKind::PermissionDenied => (
                    "lets only its own user see its settings".to_owned(),
                    "run --check as that user",
                ),
                _ => (
                    format!(
                        "does not answer at {} ({})",
                        running::socket_path(settings),
                        log::plain(&error)
                    ),
                    "a restart is needed if listen_port or unix_socket_dir has changed",
                ),
            };
            let text = "those that need a restart are not compared";
            return findings.warn(&format!("process {pid} {why}, so that {text}: {end}"));
        }
    };
    for row in Settings::rows().iter().filter(|row| !row.is_changeable()) {
        let new = settings.show(row.name);
        match running.get(row.name) {
            Some(old) if *old != new => {
                let [old, new] = [old, &new].map(|value| value.as_deref().unwrap_or_default());
                let text =
                    format!("{}: a restart is needed to change {old:?} to {new:?}", row.name);
                findings.warn(&text);
            }
            _ => {}
        }
    }
}

/// The user that will write the files of the process.
struct Writer {
    name: String,
    uid: u32,
    gid: u32,
    is_us: bool,
}

impl Writer {
    fn of(options: &StartOptions) -> Writer {
        let ours = account::effective_uid();
        let name = options.user.as_deref().filter(|name| !name.is_empty());
        let found = match name {
            Some(name) => account::user_by_name(name),
            None => account::user_by_id(ours),
        };
        match found {
            Ok(Some(found)) => Writer {
                is_us: found.uid == ours,
                name: format!("user {}", found.name),
                uid: found.uid,
                gid: found.gid,
            },
            // The user cannot be determined, so this process's own is taken.
            _ => Writer { name: format!("user {ours}"), uid: ours, gid: 0, is_us: true },
        }
    }

    /// Whether owner and mode of a place allow the user to write there; for the present user the
    /// system is asked. True if unknown.
    fn may_write(&self, place: &Path) -> bool {
        if self.is_us || self.uid == 0 {
            return account::can_write(place);
        }
        let Ok(found) = place.metadata() else { return true };
        let bit = match () {
            () if found.uid() == self.uid => 0o200,
            () if found.gid() == self.gid => 0o020,
            () => 0o002,
        };
        // Only the first group of the user is known, so any other group may be the user's too.
        found.mode() & bit != 0 || found.gid() != self.gid && found.mode() & 0o020 != 0
    }
}
