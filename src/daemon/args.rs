//! The command line: `pgbouncer [OPTION]... CONFIG_FILE`.
//!
//! Scripts written for PgBouncer must find what they know, so this reads arguments as getopt_long
//! of the GNU C library does: options after the file, clusters (`-dv`), values attached or apart
//! (`-upg`, `-u pg`, `--user=pg`), unique abbreviations (`--verb`), repeats, `--`. The first
//! mistake ends it, as do `-V` and `-h`, whatever follows them.

use std::ffi::{OsStr, OsString};
use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

/// What the command line asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Look at the configuration and say what is wrong with it.
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
    /// `-q`: write no line to the standard error stream.
    pub quiet: bool,
    /// `-u`: the user to become, instead of the one in the file.
    pub user: Option<String>,
    /// How often `-v` was said.
    pub verbosity: u32,
}

#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CheckArgs {
    pub config: PathBuf,
    /// `-q`: tell errors only.
    pub quiet: bool,
}

/// Why the command line makes no sense, in the words of getopt_long.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ArgsError {
    Ambiguous { given: String, possible: Vec<&'static str> },
    NoConfig,
    NoValueAllowed { name: &'static str },
    ShortUnknown { letter: char },
    ShortWithoutValue { letter: char },
    Unknown { given: String },
    WithoutValue { name: &'static str },
}

/// Reads the arguments that follow the program's name.
pub fn parse(arguments: impl IntoIterator<Item = OsString>) -> Result<Command, ArgsError> {
    let mut rest = arguments.into_iter();
    let mut found = Found::default();
    while let Some(argument) = rest.next() {
        let bytes = argument.as_bytes();
        if bytes == b"--" {
            found.files.extend(rest.map(PathBuf::from));
            break;
        }
        let ended = match bytes {
            [b'-', b'-', name @ ..] => found.long(name, &mut rest)?,
            [b'-', letters @ ..] if !letters.is_empty() => found.cluster(letters, &mut rest)?,
            _ => {
                found.files.push(PathBuf::from(argument));
                None
            }
        };
        if let Some(command) = ended {
            return Ok(command);
        }
    }
    found.command()
}

/// The text that `-h` prints.
pub fn help(program: &str) -> String {
    let mut text = format!(
        "{program} pools connections to PostgreSQL servers.\n\n\
         Usage:\n  {program} [OPTION]... CONFIG_FILE\n\nOptions:\n"
    );
    for row in &OPTIONS {
        let short = row.letter.map_or("    ".to_owned(), |letter| format!("-{letter}, "));
        let value = row.value.map_or(String::new(), |value| format!("={value}"));
        let long = format!("--{}{value}", row.name);
        text.push_str(&format!("  {short}{long:<15}  {}\n", row.help));
    }
    text
}

#[derive(Clone, Copy)]
enum Action {
    Check,
    Daemon,
    Help,
    Quiet,
    User,
    Verbose,
    Version,
}

struct Row {
    letter: Option<char>,
    name: &'static str,
    /// What stands for the value in the help text; None when the option takes none.
    value: Option<&'static str>,
    action: Action,
    help: &'static str,
}

const fn row(
    letter: Option<char>,
    name: &'static str,
    value: Option<&'static str>,
    action: Action,
    help: &'static str,
) -> Row {
    Row { letter, name, value, action, help }
}

const OPTIONS: [Row; 7] = [
    row(Some('d'), "daemon", None, Action::Daemon, "go into the background"),
    row(Some('q'), "quiet", None, Action::Quiet, "log nothing to the standard error stream"),
    row(Some('u'), "user", Some("NAME"), Action::User, "run as the system's user NAME"),
    row(Some('v'), "verbose", None, Action::Verbose, "log more; twice: log everything"),
    row(Some('V'), "version", None, Action::Version, "print the version and exit"),
    row(Some('h'), "help", None, Action::Help, "print this text and exit"),
    row(None, "check", None, Action::Check, "check the configuration and exit"),
];

/// What was read so far.
#[derive(Default)]
struct Found {
    args: RunArgs,
    is_check: bool,
    files: Vec<PathBuf>,
}

impl Found {
    /// Reads what follows `--` in one argument.
    fn long(
        &mut self,
        text: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<Option<Command>, ArgsError> {
        let mut parts = text.splitn(2, |&byte| byte == b'=');
        let name = parts.next().unwrap_or_default();
        let attached = parts.next();
        let row = find_long(name, text)?;
        if row.value.is_none() {
            return match attached {
                Some(_) => Err(ArgsError::NoValueAllowed { name: row.name }),
                None => Ok(self.apply(row.action, String::new())),
            };
        }
        let value = match attached {
            Some(value) => lossy(value),
            None => {
                lossy(rest.next().ok_or(ArgsError::WithoutValue { name: row.name })?.as_bytes())
            }
        };
        Ok(self.apply(row.action, value))
    }

    /// Reads what follows `-` in one argument: letters, of which the last may have a value.
    fn cluster(
        &mut self,
        letters: &[u8],
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<Option<Command>, ArgsError> {
        let letters = lossy(letters);
        for (at, letter) in letters.char_indices() {
            let row = OPTIONS
                .iter()
                .find(|row| row.letter == Some(letter))
                .ok_or(ArgsError::ShortUnknown { letter })?;
            if row.value.is_some() {
                let value = match &letters[at + letter.len_utf8()..] {
                    "" => lossy(
                        rest.next().ok_or(ArgsError::ShortWithoutValue { letter })?.as_bytes(),
                    ),
                    attached => attached.to_owned(),
                };
                return Ok(self.apply(row.action, value));
            }
            if let Some(command) = self.apply(row.action, String::new()) {
                return Ok(Some(command));
            }
        }
        Ok(None)
    }

    /// Notes one option; gives the command when it ends the reading.
    fn apply(&mut self, action: Action, value: String) -> Option<Command> {
        match action {
            Action::Check => self.is_check = true,
            Action::Daemon => self.args.daemon = true,
            Action::Help => return Some(Command::Help),
            Action::Quiet => self.args.quiet = true,
            Action::User => self.args.user = Some(value),
            Action::Verbose => self.args.verbosity = self.args.verbosity.saturating_add(1),
            Action::Version => return Some(Command::Version),
        }
        None
    }

    /// The command when all was read: exactly one file must have been named.
    fn command(mut self) -> Result<Command, ArgsError> {
        match (self.files.pop(), self.files.is_empty()) {
            (Some(config), true) if self.is_check => {
                Ok(Command::Check(CheckArgs { config, quiet: self.args.quiet }))
            }
            (Some(config), true) => Ok(Command::Run(RunArgs { config, ..self.args })),
            _ => Err(ArgsError::NoConfig),
        }
    }
}

/// The option of that name, or the only one that begins with it.
fn find_long(name: &[u8], given: &[u8]) -> Result<&'static Row, ArgsError> {
    let begins = |row: &&Row| row.name.as_bytes().starts_with(name);
    let possible: Vec<&'static Row> = OPTIONS.iter().filter(begins).collect();
    let exact = possible.iter().find(|row| row.name.as_bytes() == name);
    match (exact, possible.as_slice()) {
        (Some(row), _) | (None, [row]) => Ok(row),
        (None, []) => Err(ArgsError::Unknown { given: lossy(given) }),
        (None, rows) => Err(ArgsError::Ambiguous {
            given: lossy(given),
            possible: rows.iter().map(|row| row.name).collect(),
        }),
    }
}

fn lossy(bytes: &[u8]) -> String {
    OsStr::from_bytes(bytes).to_string_lossy().into_owned()
}

impl fmt::Display for ArgsError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ArgsError::Ambiguous { given, possible } => {
                write!(f, "option '--{given}' is ambiguous; possibilities:")?;
                possible.iter().try_for_each(|name| write!(f, " '--{name}'"))
            }
            ArgsError::NoConfig => f.write_str("no configuration file specified"),
            ArgsError::NoValueAllowed { name } => {
                write!(f, "option '--{name}' doesn't allow an argument")
            }
            ArgsError::ShortUnknown { letter } => write!(f, "invalid option -- '{letter}'"),
            ArgsError::ShortWithoutValue { letter } => {
                write!(f, "option requires an argument -- '{letter}'")
            }
            ArgsError::Unknown { given } => write!(f, "unrecognized option '--{given}'"),
            ArgsError::WithoutValue { name } => write!(f, "option '--{name}' requires an argument"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(line: &str) -> Result<Command, ArgsError> {
        parse(line.split_whitespace().map(OsString::from))
    }

    fn run(line: &str) -> RunArgs {
        match parsed(line) {
            Ok(Command::Run(args)) => args,
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
            "--daem --qui --verb f.ini --verbo --us=pg",
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
    fn version_and_help_end_it_whatever_follows() {
        assert_eq!(parsed("-V"), Ok(Command::Version));
        assert_eq!(parsed("-dVx --bogus"), Ok(Command::Version));
        assert_eq!(parsed("--vers"), Ok(Command::Version));
        assert_eq!(parsed("--he -x"), Ok(Command::Help));
        assert!(parsed("-x -h").is_err());
    }

    #[test]
    fn a_check_takes_the_file_on_either_side() {
        let check = |quiet| Ok(Command::Check(CheckArgs { config: "f.ini".into(), quiet }));
        assert_eq!(parsed("--check f.ini"), check(false));
        assert_eq!(parsed("f.ini --che -q"), check(true));
        assert_eq!(parsed("--check"), Err(ArgsError::NoConfig));
    }

    #[test]
    fn mistakes_are_told_in_the_words_of_getopt() {
        for (line, words) in [
            ("-R f.ini", "invalid option -- 'R'"),
            ("-dR f.ini", "invalid option -- 'R'"),
            ("-u", "option requires an argument -- 'u'"),
            ("-dvu", "option requires an argument -- 'u'"),
            ("--bogus", "unrecognized option '--bogus'"),
            ("--bogus=1", "unrecognized option '--bogus=1'"),
            ("--reload", "unrecognized option '--reload'"),
            ("--user", "option '--user' requires an argument"),
            ("--us", "option '--user' requires an argument"),
            ("--qui=1 f.ini", "option '--quiet' doesn't allow an argument"),
            ("--v", "option '--v' is ambiguous; possibilities: '--verbose' '--version'"),
            (
                "--=x",
                "option '--=x' is ambiguous; possibilities: '--daemon' '--quiet' '--user' \
              '--verbose' '--version' '--help' '--check'",
            ),
            ("", "no configuration file specified"),
            ("a.ini b.ini", "no configuration file specified"),
        ] {
            let error = parsed(line).expect_err(line);
            assert_eq!(error.to_string(), words, "{line}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_an_error_or_a_file_but_no_panic() {
        let odd = |bytes: &[u8]| OsStr::from_bytes(bytes).to_owned();
        let found = parse([odd(b"\xff.ini")]).expect("a file");
        assert!(matches!(found, Command::Run(args) if args.config.as_os_str() == odd(b"\xff.ini")));
        assert!(parse([odd(b"-\xff\xfe")]).is_err());
        assert!(parse([odd(b"--\xff")]).is_err());
        assert!(parse([odd(b"-u\xff"), odd(b"f.ini")]).is_ok());
    }

    #[test]
    fn the_help_names_every_option() {
        let text = help("pgbouncer");
        for row in &OPTIONS {
            assert!(text.contains(&format!("--{}", row.name)), "{}", row.name);
        }
        assert!(text.lines().all(|line| line.len() <= 80), "{text}");
    }
}
