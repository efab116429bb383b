//! The command line: `pgbouncer [OPTION]... CONFIG_FILE`.
//!
//! Scripts written for PgBouncer work unchanged: options before and after the file, joined letters
//! (`-dv`), attached and separate values (`-upg`, `-u pg`, `--user=pg`), repeated options, `--`.

use std::ffi::OsString;
use std::fmt;
use std::path::PathBuf;

use getopts::{Fail, Matches, Options};

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum CliCommand {
    /// Check the configuration and report its problems.
    Check(CheckArgs),
    Help,
    Run(RunArgs),
    Version,
}

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct RunArgs {
    pub config: PathBuf,
    /// `-d`: go into the background.
    pub daemon: bool,
    /// `-q`: write no line to standard error.
    pub quiet: bool,
    /// `-u`: the user to become, instead of the one in the file.
    pub user: Option<String>,
    /// How often `-v` was given.
    pub verbosity: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckArgs {
    pub config: PathBuf,
    /// `-q`: report errors only.
    pub quiet: bool,
}

/// Why the command line is refused.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArgsError {
    NoConfig,
    Option(Fail),
    /// `-R`, which PgBouncer no longer supports.
    Reboot,
    SeveralConfigs,
}

/// Parses the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CliCommand, ArgsError> {
    let matches = options().parse(arguments).map_err(|fail| match fail {
        Fail::UnrecognizedOption(name) if name == "R" || name == "reboot" => ArgsError::Reboot,
        other => ArgsError::Option(other),
    })?;
    if matches.opt_present("h") {
        return Ok(CliCommand::Help);
    }
    if matches.opt_present("V") {
        return Ok(CliCommand::Version);
    }
    let config = config_file(&matches)?;
    let quiet = matches.opt_present("q");
    if matches.opt_present("check") {
        return Ok(CliCommand::Check(CheckArgs { config, quiet }));
    }
    Ok(CliCommand::Run(RunArgs {
        config,
        daemon: matches.opt_present("d"),
        quiet,
        user: matches.opt_strs("u").pop(),
        verbosity: u32::try_from(matches.opt_count("v")).unwrap_or(u32::MAX),
    }))
}

/// The text that `-h` prints.
pub fn help(program: &str) -> String {
    options().usage(&format!(
        "{program} pools connections to PostgreSQL servers.\n\n\
         Usage:\n    {program} [OPTION]... CONFIG_FILE"
    ))
}

/// Every option may be repeated; the last value counts.
fn options() -> Options {
    let mut options = Options::new();
    options
        .optflagmulti("d", "daemon", "go into the background")
        .optflagmulti("q", "quiet", "log nothing to the standard error stream")
        .optmulti("u", "user", "run as the system's user NAME", "NAME")
        .optflagmulti("v", "verbose", "log more; twice: log everything")
        .optflagmulti("V", "version", "print the version and exit")
        .optflagmulti("h", "help", "print this text and exit")
        .optflagmulti("", "check", "check the configuration and exit");
    options
}

fn config_file(matches: &Matches) -> Result<PathBuf, ArgsError> {
    match matches.free.as_slice() {
        [] => Err(ArgsError::NoConfig),
        [file] => Ok(PathBuf::from(file)),
        [_, _, ..] => Err(ArgsError::SeveralConfigs),
    }
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ArgsError::NoConfig => f.write_str("no configuration file specified"),
            ArgsError::Option(fail) => fail.fmt(f),
            ArgsError::Reboot => f.write_str(
                "-R is not supported: start the new process beside the old one, with so_reuseport \
                 and peers in both, and end the old one with TERM",
            ),
            ArgsError::SeveralConfigs => f.write_str("more than one configuration file specified"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<CliCommand, ArgsError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run(line: &str) -> RunArgs {
        match parsed(line) {
            Ok(CliCommand::Run(args)) => args,
            other => panic!("{line}: {other:?}"),
        }
    }

    #[test]
    fn options_are_taken_in_every_form_that_scripts_use() {
        let all = RunArgs {
            config: "f.ini".into(),
            daemon: true,
            quiet: true,
            user: Some("pg".to_owned()),
            verbosity: 2,
        };
        for line in [
            "-d -q -v -v -u pg f.ini",
            "f.ini -dqvv -upg",
            "-dqvvu pg f.ini",
            "--daemon --quiet --verbose --verbose --user pg f.ini",
            "-q -d -q -vv -u other --user=pg -- f.ini",
        ] {
            assert_eq!(run(line), all, "{line}");
        }
        assert_eq!(run("-u -d f.ini").user.as_deref(), Some("-d"));
        assert_eq!(run("-- -d").config, PathBuf::from("-d"));
        assert_eq!(run("-").config, PathBuf::from("-"));
        assert_eq!(run("--user= f.ini").user.as_deref(), Some(""));
    }

    #[test]
    fn what_only_prints_needs_no_file() {
        assert_eq!(parsed("-V"), Ok(CliCommand::Version));
        assert_eq!(parsed("-dh"), Ok(CliCommand::Help));
        let check = CheckArgs { config: "f.ini".into(), quiet: true };
        assert_eq!(parsed("--check -q f.ini"), Ok(CliCommand::Check(check)));
    }

    #[test]
    fn a_mistake_is_named() {
        for (line, words) in [
            ("", "no configuration file specified"),
            ("a b", "more than one configuration file specified"),
            ("-x f", "Unrecognized option: 'x'"),
            ("--bogus f", "Unrecognized option: 'bogus'"),
            ("--daemon=1 f", "Option 'daemon' does not take an argument"),
            ("f -u", "Argument to option 'u' missing"),
        ] {
            assert_eq!(parsed(line).expect_err(line).to_string(), words, "{line}");
        }
        for line in ["-R f.ini", "-dR f.ini", "--reboot f.ini"] {
            assert_eq!(parsed(line), Err(ArgsError::Reboot), "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_but_no_panic() {
        use std::os::unix::ffi::OsStringExt;
        for bytes in [&b"\xff.ini"[..], b"-\xff\xfe", b"--\xff", b"-u\xff"] {
            assert!(parse([OsString::from_vec(bytes.to_vec())]).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        assert!(help("pgbouncer").lines().all(|line| line.len() <= 80), "{}", help("pgbouncer"));
    }
}
