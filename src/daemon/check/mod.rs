//! `--check`: reads all that a start would read, and says what is wrong with it.
//!
//! An error is what ends a start and makes RELOAD keep the old configuration; what such a start
//! would leave out of the rules that decide who comes in; and a value that it would take for
//! something else, as PgBouncer does. Errors decide the exit code. Everything else that somebody
//! should know is a warning. What depends on the machine (directories, users, descriptors, the
//! process that runs now) gives warnings only, since a configuration may be checked elsewhere than
//! where it will serve.

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

/// Checks the file, and prints what there is to say: problems to the standard error stream, a
/// summary to the standard output.
pub fn run(args: &CheckArgs) -> ExitCode {
    let mut findings = Findings { quiet: args.quiet, journal: log::is_journal(), errors: 0 };
    let summary = match load(&args.config) {
        Ok(config) => check(&config, &mut findings),
        Err(errors) => {
            errors.iter().for_each(|error| findings.add(Level::Error, &words(error)));
            None
        }
    };
    let Some(summary) = summary else { return ExitCode::from(FAILED) };
    if !args.quiet {
        // Whoever closed the stream does not want to read it.
        let _ = writeln!(io::stdout(), "{}: {summary}", args.config.display());
    }
    if findings.errors == 0 { ExitCode::SUCCESS } else { ExitCode::from(FAILED) }
}

/// Where problems are told, as they are found.
struct Findings {
    quiet: bool,
    /// Whether levels are told as the journal reads them.
    journal: bool,
    errors: u32,
}

impl Findings {
    fn add(&mut self, level: Level, text: &str) {
        if level <= Level::Error {
            self.errors += 1;
        } else if self.quiet {
            return;
        }
        let line = match self.journal {
            true => format!("<{}>{text}\n", level.severity()),
            false => format!("{level} {text}\n"),
        };
        let _ = io::stderr().write_all(line.as_bytes());
    }

    fn warn(&mut self, text: &str) {
        self.add(Level::Warning, text);
    }
}

/// Looks at a file that could be read; gives the summary when what it names could be, too.
fn check(config: &Config, findings: &mut Findings) -> Option<String> {
    for warning in &config.warnings {
        let level = if warning.problem.is_mistake() { Level::Error } else { Level::Warning };
        findings.add(level, &words(warning));
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

/// Reads user list, HBA file and ident map. None of them is an obstacle to a start, but for
/// `strict_files`; yet who writes rules means all of them, so what is left out there is an error
/// here.
fn read_access(config: &Config, findings: &mut Findings) -> Option<Access> {
    let before = Access::default();
    let mut report = |file, text: String| {
        let level = match file {
            File::Hba | File::Ident | File::Judge => Level::Error,
            File::Users => Level::Warning,
        };
        findings.add(level, &text);
    };
    access::read(&config.settings, &before, &mut report).ok()
}

/// Places and names of the system that a start needs. Not whether they can be used: the check may
/// run as another user than the pooler.
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

/// A file that the start makes, or opens.
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

/// What the process that runs with this configuration says to it, or else what this one would:
/// which changes need a restart, and whether there are descriptors enough. Gives the part of the
/// summary that speaks of those.
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

/// The user who will write the files of the process.
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
            // Whoever it is, nothing can be said of it.
            _ => Writer { name: format!("user {ours}"), uid: ours, gid: 0, is_us: true },
        }
    }

    /// Whether the owner and mode of a place, or the system itself where it is about us, let it
    /// write there. Where nothing can be said it may.
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
        // Groups beside its first are not looked up: they may let it.
        found.mode() & bit != 0 || found.gid() != self.gid && found.mode() & 0o020 != 0
    }
}
