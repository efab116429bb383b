//! The start, in this order: become the configured user, refuse to be root, open the log, check for
//! another instance, go into the background, raise the limit of descriptors, listen, write the pid
//! file. Any failure ends the start with one line and exit code 1.

use std::fmt;
use std::io;
use std::path::PathBuf;

use super::log_system::System;
use super::notify::Notifier;
use super::pidfile::{self, FoundPidFile, PidFile, PidFileError};
use super::version;
use crate::log::{self, Level, LogError, Logger, plain};
use crate::net::listen::{self, ListenError, ListenOptions, Listener};
use crate::sys::account;
use crate::sys::activation;
use crate::sys::clock;
use crate::sys::process::{self, Background, FdLimit};
use crate::sys::signals::SignalFd;

/// The settings that the start needs, from the command line and the configuration.
#[derive(Clone, Debug)]
pub struct StartOptions {
    /// Whether the system may write a core dump when the process crashes.
    pub core_dumps: bool,
    pub daemon: bool,
    pub listen: ListenOptions,
    pub log: log::Options,
    /// The listeners for /metrics and the page.
    pub metrics: ListenOptions,
    pub max_client_conn: u32,
    /// How many descriptors may be needed, see [`expected_fds`].
    pub expected_fds: u64,
    pub pid_file: Option<PathBuf>,
    /// The user to become; None for the present one.
    pub user: Option<String>,
}

/// What the start hands to the loop. When it is dropped at the end of the program, the Unix
/// socket's file and the pid file are removed.
pub struct Started {
    pub listeners: Vec<Listener>,
    /// The listeners for /metrics and the page.
    pub web: Vec<Listener>,
    pub signals: SignalFd,
    pub notifier: Notifier,
    /// The pid file, removed at the end.
    #[allow(dead_code, reason = "kept only to be dropped")]
    pub pid_file: Option<PidFile>,
    background: Option<Background>,
}

impl Started {
    /// Tells the service manager, the log and the waiting parent process that the pooler works. To
    /// be called just before the loop begins.
    pub fn announce(&mut self, logger: &mut Logger) {
        logger.write(clock::now(), Level::Log, &format!("process up: {}", version::banner()));
        self.notifier.ready();
        if let Some(background) = self.background.take() {
            background.started();
        }
    }
}

/// Why the start failed.
#[derive(Debug)]
pub enum StartError {
    Background {
        error: io::Error,
    },
    BackgroundWithoutPidFile,
    /// A file that the settings name has an error, which has been reported.
    Files,
    Listen(ListenError),
    Log(LogError),
    PidFile(PidFileError),
    Root,
    Signals {
        error: io::Error,
    },
    /// The TLS that the settings ask for cannot be set up, as has been reported.
    Tls,
    UserChange {
        name: String,
        error: io::Error,
    },
    UserUnknown {
        name: String,
    },
}

/// The log before the configuration is read.
pub fn first_logger(quiet: bool, verbosity: u32) -> Logger {
    let mut logger = Logger::new(Box::new(System::new()));
    let options = log::Options {
        stderr: !quiet,
        threshold: Level::from_verbosity(verbosity),
        ..logger.options().clone()
    };
    // Without a log file nothing can fail.
    let _ = logger.configure(options);
    logger
}

/// Becomes the configured user, and opens the log.
pub fn prepare(options: &StartOptions, logger: &mut Logger) -> Result<(), StartError> {
    become_user(options.user.as_deref())?;
    if account::effective_uid() == 0 {
        return Err(StartError::Root);
    }
    // Only after the change of user, at which the kernel resets the value.
    let memory = match options.core_dumps {
        true => process::show_memory(),
        false => process::hide_memory(),
    };
    if let Err(error) = memory {
        let line = format!("cannot set whether cores are written: {}", plain(&error));
        logger.write(clock::now(), Level::Warning, &line);
    }
    // Only after the change of user: the file must belong to the user that will reopen it later.
    logger.configure(options.log.clone()).map_err(StartError::Log)
}

/// Starts everything except the loop; to be called after [`prepare`].
pub fn start(options: &StartOptions, logger: &mut Logger) -> Result<Started, StartError> {
    let notifier = Notifier::from_environment();
    let inherited = activation::inherited_listeners();
    if inherited.is_empty() {
        listen::check_unix_free(&options.listen).map_err(StartError::Listen)?;
    }
    check_pid_file(options, logger)?;
    let background = go_into_background(options, logger)?;
    let signals = SignalFd::new().map_err(|error| StartError::Signals { error })?;
    report_fd_limit(options, logger);
    let mut report = |level, line: &str| logger.write(clock::now(), level, line);
    let listeners =
        listen::open(&options.listen, inherited, &mut report).map_err(StartError::Listen)?;
    let web = listen_for_web(&options.metrics, &mut report);
    let pid_file = options.pid_file.as_deref().map(PidFile::create).transpose();
    let pid_file = pid_file.map_err(StartError::PidFile)?;
    Ok(Started { listeners, web, signals, notifier, pid_file, background })
}

/// Listens for /metrics and the page. A failure here does not end the start.
fn listen_for_web(options: &ListenOptions, report: &mut dyn FnMut(Level, &str)) -> Vec<Listener> {
    if options.addresses.is_empty() && options.unix.is_none() {
        return Vec::new();
    }
    let mut tell = |level, line: &str| report(level, &format!("metrics: {line}"));
    match listen::open(options, Vec::new(), &mut tell) {
        Ok(listeners) => listeners,
        Err(error) => {
            tell(Level::Error, &error.to_string());
            Vec::new()
        }
    }
}

/// How many descriptors the limits of the configuration may need: one for each client and some for
/// the process itself; and for each configured database except `*` the size of its pool, once if
/// the line names the user, otherwise once for every known user. `pools` has the size and whether
/// the user is forced; `users` counts the user list and the console's own user.
pub fn expected_fds(
    max_client_conn: u32,
    pools: impl IntoIterator<Item = (u32, bool)>,
    users: u32,
) -> u64 {
    /// The descriptors that PgBouncer adds for its log, its poll, its sockets and the console.
    const OURS: u64 = 12;
    let pools = pools.into_iter().map(|(size, is_forced)| {
        u64::from(size).saturating_mul(if is_forced { 1 } else { u64::from(users) })
    });
    pools.fold(u64::from(max_client_conn) + OURS, u64::saturating_add)
}

/// Becomes that user, unless the process already runs as it.
fn become_user(name: Option<&str>) -> Result<(), StartError> {
    let Some(name) = name.filter(|name| !name.is_empty()) else { return Ok(()) };
    let failed = |error| StartError::UserChange { name: name.to_owned(), error };
    let found = account::user_by_name(name).map_err(failed)?;
    let account = found.ok_or_else(|| StartError::UserUnknown { name: name.to_owned() })?;
    if account.uid == account::effective_uid() {
        return Ok(());
    }
    account::become_user(&account).map_err(failed)
}

fn check_pid_file(options: &StartOptions, logger: &mut Logger) -> Result<(), StartError> {
    let Some(path) = &options.pid_file else {
        return if options.daemon { Err(StartError::BackgroundWithoutPidFile) } else { Ok(()) };
    };
    match pidfile::check_free(path).map_err(StartError::PidFile)? {
        FoundPidFile::Nothing => {}
        FoundPidFile::Stale => {
            logger.write(clock::now(), Level::Log, "stale pidfile, taking it over")
        }
    }
    Ok(())
}

/// Goes into the background if asked to. From then on only the log can report anything.
fn go_into_background(
    options: &StartOptions,
    logger: &mut Logger,
) -> Result<Option<Background>, StartError> {
    if !options.daemon {
        return Ok(None);
    }
    if options.log.file.is_none() && options.log.syslog.is_none() {
        let line = "neither logfile nor syslog is set: in the background nothing will be logged";
        logger.write(clock::now(), Level::Warning, line);
    }
    let background = process::daemonise().map_err(|error| StartError::Background { error })?;
    logger.went_into_background();
    Ok(Some(background))
}

/// Raises the limit as far as possible, and logs the limit and the number that may be needed.
fn report_fd_limit(options: &StartOptions, logger: &mut Logger) {
    let now = clock::now();
    let limit = match process::raise_fd_limit().or_else(|_| process::fd_limit()) {
        Ok(limit) => limit,
        Err(error) => {
            let line = format!("cannot read the limit of file descriptors: {}", plain(&error));
            return logger.write(now, Level::Warning, &line);
        }
    };
    let FdLimit { soft, hard } = limit;
    let StartOptions { max_client_conn, expected_fds, .. } = options;
    let line = format!(
        "kernel file descriptor limit: {soft} (hard: {hard}); max_client_conn: \
         {max_client_conn}, max expected fd use: {expected_fds}"
    );
    logger.write(now, Level::Log, &line);
    if *expected_fds > soft {
        let line = format!(
            "the configured limits may need {expected_fds} file descriptors, the system allows \
             {soft}: raise LimitNOFILE or lower max_client_conn"
        );
        logger.write(now, Level::Warning, &line);
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            StartError::Background { error } => {
                write!(f, "cannot go into the background: {}", plain(error))
            }
            StartError::BackgroundWithoutPidFile => f.write_str("daemon needs pidfile configured"),
            StartError::Files => f.write_str("cannot load config file"),
            StartError::Listen(error) => error.fmt(f),
            StartError::Log(error) => error.fmt(f),
            StartError::PidFile(error) => error.fmt(f),
            StartError::Root => f.write_str(
                "PgBouncer should not run as root: name another user with -u, or as `user` in the \
                 configuration file",
            ),
            StartError::Signals { error } => {
                write!(f, "cannot receive signals: {}", plain(error))
            }
            StartError::Tls => f.write_str("TLS setup failed"),
            StartError::UserChange { name, error } => {
                write!(f, "failed to assume identity of user '{name}': {}", plain(error))
            }
            StartError::UserUnknown { name } => {
                write!(f, "could not find user '{name}' to switch to")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expected_descriptors_are_counted_as_operators_know_them() {
        assert_eq!(expected_fds(100, [], 2), 112);
        assert_eq!(expected_fds(100, [(20, false)], 1), 132);
        assert_eq!(expected_fds(100, [(20, false), (20, false)], 2), 192);
        assert_eq!(expected_fds(100, [(20, true)], 3), 132);
        assert_eq!(expected_fds(100, [(7, false)], 2), 126);
        assert_eq!(expected_fds(u32::MAX, [(u32::MAX, false); 9], u32::MAX), u64::MAX);
    }

    #[test]
    fn an_unknown_user_is_named() {
        let error = become_user(Some("no such user here")).expect_err("unknown");
        assert_eq!(error.to_string(), "could not find user 'no such user here' to switch to");
        assert!(become_user(None).is_ok());
        assert!(become_user(Some("")).is_ok());
    }
}
