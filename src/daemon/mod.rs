//! The program around the pooler: command line, start, loop, and other parts that only a process
//! has.

pub mod access;
pub mod args;
mod check;
mod doors;
pub mod files;
pub mod notify;
pub mod options;
mod pages;
mod pending;
pub mod pidfile;
pub mod serve;
pub mod start;
mod tls;
mod upkeep;
pub mod version;
mod watchdog;

#[cfg(test)]
mod documents;
mod log_system;

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

use args::{CliCommand, RunArgs};
use files::Disk;
use serve::Service;
use start::{StartError, Started};
use tls::SetUp;

use crate::base::places::Places;
use crate::config::{self, Config, ConfigProblem, Diagnostic};
use crate::log::{Level, Logger};
use crate::net::tls::Tls;
use crate::pool::records::access::Access;
use crate::sys::clock;

/// The exit code of a failed start.
const FAILED: u8 = 1;

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    let mut arguments = env::args_os();
    let program = arguments.next().unwrap_or_else(|| "pgbouncer".into());
    let program = program.to_string_lossy();
    match args::parse(arguments) {
        Ok(CliCommand::Check(args)) => check::run(&args),
        Ok(CliCommand::Help) => print(&args::help(&program)),
        Ok(CliCommand::Run(args)) => pool(&args),
        Ok(CliCommand::Version) => print(&version::text()),
        Err(error) => {
            let hint = format!("Try \"{program} --help\" for more information.");
            let _ = writeln!(io::stderr(), "{program}: {error}\n{hint}");
            ExitCode::from(FAILED)
        }
    }
}

fn print(text: &str) -> ExitCode {
    // An error means that the reader has closed the stream.
    let _ = io::stdout().write_all(text.as_bytes());
    ExitCode::SUCCESS
}

/// Reads the configuration, starts, and runs until told to end.
fn pool(args: &RunArgs) -> ExitCode {
    let mut logger = start::first_logger(args.quiet, args.verbosity);
    let config = match load(&args.config) {
        Ok(config) => config,
        Err(errors) => {
            for error in &errors {
                logger.write(clock::now(), Level::Error, &words(error));
            }
            return failed(&mut logger, &"cannot load config file");
        }
    };
    match start(args, &config, &mut logger) {
        Ok((started, access, tls)) => serve(args.clone(), (config, access, tls), started, logger),
        Err(error) => failed(&mut logger, &error),
    }
}

/// Reads the files that the configuration names, and starts everything but the loop.
fn start(
    args: &RunArgs,
    config: &Config,
    logger: &mut Logger,
) -> Result<(Started, Access, Tls), StartError> {
    let mut options = options::start(args, config);
    // Root may be the only one who can read the files, and is there no more behind `prepare`. The
    // log is open only then.
    let mut errors = Vec::new();
    let mut report = |_, text| errors.push(text);
    let access = access::read(&config.settings, &Access::default(), &mut report);
    let set_up = tls::set_up(config, None);
    start::prepare(&options, logger)?;
    for warning in &config.warnings {
        logger.write(clock::now(), Level::Warning, &words(warning));
    }
    for doubt in pages::doubts(&config.settings) {
        logger.write(clock::now(), Level::Warning, &doubt);
    }
    let (tls, faults) = match set_up {
        Ok(SetUp { tls, faults }) => (Ok(tls), faults),
        Err(error) => (Err(StartError::Tls), vec![error.to_string()]),
    };
    errors.extend(faults.iter().map(|fault| tls::told(fault)));
    for text in errors {
        logger.write(clock::now(), Level::Error, &text);
    }
    let (access, tls) = (access.map_err(|_| StartError::Files)?, tls?);
    options.expected_fds = options::expected_fds(config, known_users(config, &access));
    Ok((start::start(&options, logger)?, access, tls))
}

/// The number of users in the files, with the console's own.
fn known_users(config: &Config, access: &Access) -> u32 {
    let listed = access.users.new_ones().map(|(name, _)| name);
    let limited = config.users.iter().map(|line| line.name.as_str());
    let forced = config.databases.iter().filter_map(|line| line.user.as_deref());
    let names = Places::of(&mut listed.chain(limited).chain(forced));
    u32::try_from(names.len()).unwrap_or(u32::MAX).saturating_add(1)
}

/// Runs the loop until the program is told to end. On return `started` removes its files.
fn serve(args: RunArgs, what: (Config, Access, Tls), started: Started, logger: Logger) -> ExitCode {
    let mut service = match Service::new(args, what, started, logger) {
        Ok(service) => service,
        Err(error) => {
            // The logger was moved into the failed attempt, so standard error is all that is left.
            return failed(&mut start::first_logger(false, 0), &error);
        }
    };
    match service.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&mut service.into_logger(), &error),
    }
}

fn load(file: &Path) -> Result<Config, Vec<Diagnostic>> {
    config::load(&file.to_string_lossy(), &mut Disk)
}

/// The words of a diagnostic in the log. For the file itself they are PgBouncer's.
fn words(diagnostic: &Diagnostic) -> String {
    match &diagnostic.problem {
        ConfigProblem::Unreadable(why) => {
            format!("could not load file \"{}\": {why}", diagnostic.place.file)
        }
        _ => diagnostic.to_string(),
    }
}

fn failed(logger: &mut Logger, why: &dyn fmt::Display) -> ExitCode {
    logger.write(clock::now(), Level::Fatal, &why.to_string());
    ExitCode::from(FAILED)
}
