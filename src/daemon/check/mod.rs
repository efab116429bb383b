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
mod running;
mod secrets;

use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use super::access::File;
use super::args::{CheckArgs, RunArgs};
use super::start::{StartError, StartOptions};
use super::{FAILED, access, load, options, words};
use crate::base::places::Places;
use crate::config::{Config, Settings};
use crate::log::{self, Level};
use crate::net::listen;
use crate::pool::records::access::Access;
use crate::sys::{account, process};

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
    if findings.quiet {
        return Some(String::new());
    }
    secrets::doubts(config, &access).iter().for_each(|doubt| findings.warn(doubt));
    let users = known_users(config, &access);
    let options = options::start(&RunArgs::default(), config, users);
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
            File::Hba | File::Ident => Level::Error,
            File::Users => Level::Warning,
        };
        findings.add(level, &text);
    };
    access::read(&config.settings, &before, &mut report).ok()
}

/// The users that the files name, and the console's own.
fn known_users(config: &Config, access: &Access) -> u32 {
    let listed = access.users.iter().map(|(name, _)| name.as_str());
    let names = Places::of(&mut listed.chain(config.users.iter().map(|l| l.name.as_str())));
    u32::try_from(names.len()).unwrap_or(u32::MAX).saturating_add(1)
}

/// Places and names of the system that a start needs. Not whether they can be used: the check may
/// run as another user than the pooler.
fn check_surroundings(options: &StartOptions, findings: &mut Findings) {
    check_place("logfile", options.log.file.as_deref(), findings);
    check_place("pidfile", options.pid_file.as_deref(), findings);
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
fn check_place(setting: &str, file: Option<&Path>, findings: &mut Findings) {
    let Some(file) = file else { return };
    if file.is_dir() {
        findings.warn(&format!("{setting}: {} is a directory", file.display()));
    } else if let Some(parent) = file.parent().filter(|path| !path.as_os_str().is_empty()) {
        check_directory(setting, parent, findings);
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
    let Some(running) = running::settings(settings) else {
        let asked = "does not tell its settings here, so that those that need a restart are not \
                     compared";
        return findings.warn(&format!("process {pid} {asked}"));
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
