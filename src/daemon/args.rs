//! The command line: `pgbouncer [OPTION]... CONFIG_FILE`.
//!
//! Scripts written for PgBouncer work unchanged, so options are read as getopt_long reads them:
//! before and after the file, joined letters (`-dv`), attached and separate values (`-upg`,
//! `-u pg`, `--user=pg`), names cut short (`--verb`), repeated options, `--`. Each option counts
//! when it is reached: `-Vx` prints the version. Mistakes are told in getopt_long's words.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

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
    /// The name is short for several options.
    Ambiguous(String),
    NoConfig,
    /// A value behind the `=` of an option that takes none.
    NoValueAllowed(&'static str),
    /// `-R`, which PgBouncer no longer supports.
    Reboot,
    SeveralConfigs,
    UnknownLetter(char),
    /// The whole argument.
    UnknownName(String),
    /// The value of the option is missing, which was named as given here.
    ValueMissing(Spelling),
}

/// How an option was given.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spelling {
    Letter(char),
    Name(&'static str),
}

/// Parses the arguments after the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<CliCommand, ArgsError> {
    let mut rest = arguments.into_iter();
    let mut read = ReadOptions::default();
    let mut files = Vec::new();
    while let Some(argument) = rest.next() {
        let answer = match argument.as_bytes() {
            b"--" => {
                files.extend(rest.by_ref());
                None
            }
            [b'-', b'-', name @ ..] => read.named(name, &mut rest)?,
            [b'-', letters @ ..] if !letters.is_empty() => read.lettered(letters, &mut rest)?,
            _ => {
                files.push(argument);
                None
            }
        };
        if let Some(answer) = answer {
            return Ok(answer);
        }
    }
    let config = match files.len() {
        0 => return Err(ArgsError::NoConfig),
        1 => files.pop().map(PathBuf::from).unwrap_or_default(),
        _ => return Err(ArgsError::SeveralConfigs),
    };
    Ok(match read.is_check {
        true => CliCommand::Check(CheckArgs { config, quiet: read.run.quiet }),
        false => CliCommand::Run(RunArgs { config, ..read.run }),
    })
}

/// What the options said so far.
#[derive(Default)]
struct ReadOptions {
    run: RunArgs,
    is_check: bool,
}

impl ReadOptions {
    /// `--name`, `--name=value`, `--name value`. An answer ends the reading.
    fn named(
        &mut self,
        text: &[u8],
        rest: &mut dyn Iterator<Item = OsString>,
    ) -> Result<Option<CliCommand>, ArgsError> {
        let end = text.iter().position(|byte| *byte == b'=');
        let (name, value) = match end {
            Some(end) => (&text[..end], Some(&text[end + 1..])),
            None => (text, None),
        };
        if name == b"reboot" {
            return Err(ArgsError::Reboot);
        }
        let option = find(name, text)?;
        let value = match (option.value, value) {
            (None, Some(_)) => return Err(ArgsError::NoValueAllowed(option.name)),
            (None, None) => None,
            (Some(_), Some(value)) => Some(shown(value)),
            (Some(_), None) => {
                let missing = ArgsError::ValueMissing(Spelling::Name(option.name));
                Some(shown(rest.next().ok_or(missing)?.as_bytes()))
            }
        };
        Ok(self.take(option, value))
    }

    /// `-abc`, `-uvalue`, `-u value`. An answer ends the reading.
    fn lettered(
        &mut self,
        letters: &[u8],
        rest: &mut dyn Iterator<Item = OsString>,
    ) -> Result<Option<CliCommand>, ArgsError> {
        for (place, letter) in letters.iter().enumerate() {
            let letter = char::from(*letter);
            if letter == 'R' {
                return Err(ArgsError::Reboot);
            }
            let known = OPTIONS.iter().find(|option| option.letter == Some(letter));
            let option = known.ok_or(ArgsError::UnknownLetter(letter))?;
            if option.value.is_some() {
                let missing = ArgsError::ValueMissing(Spelling::Letter(letter));
                let value = match &letters[place + 1..] {
                    [] => shown(rest.next().ok_or(missing)?.as_bytes()),
                    attached => shown(attached),
                };
                return Ok(self.take(option, Some(value)));
            }
            if let Some(answer) = self.take(option, None) {
                return Ok(Some(answer));
            }
        }
        Ok(None)
    }

    /// Notes an option; of several values the last counts. An answer ends the reading.
    fn take(&mut self, option: &CliOption, value: Option<String>) -> Option<CliCommand> {
        match option.effect {
            Effect::Check => self.is_check = true,
            Effect::Daemon => self.run.daemon = true,
            Effect::Help => return Some(CliCommand::Help),
            Effect::Quiet => self.run.quiet = true,
            Effect::User => self.run.user = value,
            Effect::Verbose => self.run.verbosity = self.run.verbosity.saturating_add(1),
            Effect::Version => return Some(CliCommand::Version),
        }
        None
    }
}

/// The option of that name, or the only one whose name begins so. `text` is the argument behind
/// its dashes.
fn find(name: &[u8], text: &[u8]) -> Result<&'static CliOption, ArgsError> {
    if let Some(option) = OPTIONS.iter().find(|option| option.name.as_bytes() == name) {
        return Ok(option);
    }
    let mut short = OPTIONS.iter().filter(|option| option.name.as_bytes().starts_with(name));
    match (short.next(), short.next()) {
        (Some(option), None) => Ok(option),
        (Some(_), Some(_)) => Err(ArgsError::Ambiguous(shown(text))),
        (None, _) => Err(ArgsError::UnknownName(shown(text))),
    }
}

/// An argument as text; bytes that are not UTF-8 are replaced.
fn shown(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

struct CliOption {
    letter: Option<char>,
    name: &'static str,
    /// What the value is, if there is one.
    value: Option<&'static str>,
    help: &'static str,
    effect: Effect,
}

#[derive(Clone, Copy)]
enum Effect {
    Check,
    Daemon,
    Help,
    Quiet,
    User,
    Verbose,
    Version,
}

/// In the order of the help.
static OPTIONS: [CliOption; 7] = [
    row('d', "daemon", "go into the background", Effect::Daemon),
    row('q', "quiet", "log nothing to the standard error stream", Effect::Quiet),
    CliOption {
        value: Some("NAME"),
        ..row('u', "user", "run as the system's user NAME", Effect::User)
    },
    row('v', "verbose", "log more; twice: log everything", Effect::Verbose),
    row('V', "version", "print the version and exit", Effect::Version),
    row('h', "help", "print this text and exit", Effect::Help),
    CliOption {
        letter: None,
        ..row('-', "check", "check the configuration and exit", Effect::Check)
    },
];

const fn row(letter: char, name: &'static str, help: &'static str, effect: Effect) -> CliOption {
    CliOption { letter: Some(letter), name, value: None, help, effect }
}

/// The text that `-h` prints.
pub fn help(program: &str) -> String {
    let mut text = format!(
        "{program} pools connections to PostgreSQL servers.\n\n\
         Usage:\n    {program} [OPTION]... CONFIG_FILE\n\nOptions:\n"
    );
    for option in &OPTIONS {
        let letter = option.letter.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = option.value.map_or(String::new(), |value| format!("={value}"));
        let name = format!("{}{value}", option.name);
        text += &format!("    {letter}--{name:13} {}\n", option.help);
    }
    text
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ArgsError::Ambiguous(name) => {
                write!(f, "option '--{name}' is ambiguous; possibilities:")?;
                let begin = name.split('=').next().unwrap_or_default();
                let names = OPTIONS.iter().map(|option| option.name);
                names.filter(|name| name.starts_with(begin)).try_for_each(|n| write!(f, " '--{n}'"))
            }
            ArgsError::NoConfig => f.write_str("no configuration file specified"),
            ArgsError::NoValueAllowed(name) => {
                write!(f, "option '--{name}' doesn't allow an argument")
            }
            ArgsError::Reboot => f.write_str(
                "-R is not supported: start the new process beside the old one, with so_reuseport \
                 and peers in both, and end the old one with TERM",
            ),
            ArgsError::SeveralConfigs => f.write_str("more than one configuration file specified"),
            ArgsError::UnknownLetter(letter) => write!(f, "invalid option -- '{letter}'"),
            ArgsError::UnknownName(name) => write!(f, "unrecognized option '--{name}'"),
            ArgsError::ValueMissing(Spelling::Letter(letter)) => {
                write!(f, "option requires an argument -- '{letter}'")
            }
            ArgsError::ValueMissing(Spelling::Name(name)) => {
                write!(f, "option '--{name}' requires an argument")
            }
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
            "--d --qui f.ini --verb --verbo --u pg",
            "f.ini -dvvu pg --us=pg --q",
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
        for line in ["-Vx", "-V --bogus", "-Vh", "a b --vers", "-qV"] {
            assert_eq!(parsed(line), Ok(CliCommand::Version), "{line}");
        }
        assert_eq!(parsed("f.ini --he -x"), Ok(CliCommand::Help));
        let check = CheckArgs { config: "f.ini".into(), quiet: true };
        assert_eq!(parsed("--check -q f.ini"), Ok(CliCommand::Check(check)));
    }

    #[test]
    fn a_mistake_is_named() {
        for (line, words) in [
            ("", "no configuration file specified"),
            ("a b", "more than one configuration file specified"),
            ("-x f", "invalid option -- 'x'"),
            ("-dxV", "invalid option -- 'x'"),
            ("-v- f", "invalid option -- '-'"),
            ("--bogus=1 f", "unrecognized option '--bogus=1'"),
            ("--HELP", "unrecognized option '--HELP'"),
            ("--dae=1 f", "option '--daemon' doesn't allow an argument"),
            ("--ver", "option '--ver' is ambiguous; possibilities: '--verbose' '--version'"),
            ("f -u", "option requires an argument -- 'u'"),
            ("f --us", "option '--user' requires an argument"),
        ] {
            assert_eq!(parsed(line).expect_err(line).to_string(), words, "{line}");
        }
        for line in ["-R f.ini", "-dR f.ini", "--reboot f.ini"] {
            assert_eq!(parsed(line), Err(ArgsError::Reboot), "{line}");
        }
    }

    #[test]
    fn a_file_may_have_any_name_and_other_bytes_are_told() {
        use std::os::unix::ffi::OsStringExt;
        let parsed = |bytes: &[u8]| parse([OsString::from_vec(bytes.to_vec())]);
        let Ok(CliCommand::Run(args)) = parsed(b"\xff.ini") else { panic!("a file is named") };
        assert_eq!(args.config.as_os_str().as_bytes(), b"\xff.ini");
        for bytes in [&b"-\xff\xfe"[..], b"--\xff", b"-u\xff", b"--=", b"--user=\xff"] {
            assert!(parsed(bytes).is_err(), "{bytes:?}");
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        assert!(help("pgbouncer").lines().all(|line| line.len() <= 80), "{}", help("pgbouncer"));
    }
}
