//! The program around the pooler: the command line, the start, and what only a process has.

pub mod args;
pub mod notify;
pub mod pidfile;
pub mod start;
pub mod version;

mod log_system;

use std::env;
use std::process::ExitCode;

use args::{Command, RunArgs};
use start::{StartOptions, Started};

use crate::log::{Level, Logger};
use crate::sys::clock;

/// What every start that fails ends with.
const FAILED: u8 = 1;

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    let mut arguments = env::args_os();
    let program = arguments.next().unwrap_or_else(|| "pgbouncer".into());
    let program = program.to_string_lossy();
    match args::parse(arguments) {
        Ok(Command::Check(_)) => todo!("--check"),
        Ok(Command::Help) => print!("{}", args::help(&program)),
        Ok(Command::Run(args)) => return pool(&args),
        Ok(Command::Version) => print!("{}", version::text()),
        Err(error) => {
            eprintln!("{program}: {error}");
            eprintln!("Try \"{program} --help\" for more information.");
            return ExitCode::from(FAILED);
        }
    }
    ExitCode::SUCCESS
}

/// Reads the configuration, starts, and serves until told to end.
fn pool(args: &RunArgs) -> ExitCode {
    let mut logger = start::first_logger(args.quiet, args.verbosity);
    let options: StartOptions = todo!("from the configuration");
    match start::start(&options, &mut logger) {
        Ok(started) => serve(started, logger),
        Err(error) => {
            logger.write(clock::now(), Level::Fatal, &error.to_string());
            ExitCode::from(FAILED)
        }
    }
}

/// Turns the loop until the program is told to end. What `started` holds is removed on return.
fn serve(mut started: Started, mut logger: Logger) -> ExitCode {
    started.announce(&mut logger);
    ExitCode::SUCCESS
}
