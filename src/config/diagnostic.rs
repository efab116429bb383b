//! What is said about an error in the configuration, or in a warning about it: file, line, key,
//! what was expected, and the known name that was perhaps meant.
//!
//! Nothing here prints a value that may be secret: of connection strings only the key is named.

use std::fmt;

use super::line::LineError;
use super::value::ValueError;

/// Where something stands. Line 0 is the file as a whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct FilePlace {
    pub file: String,
    pub line: u32,
}

impl FilePlace {
    /// The file as a whole.
    pub fn start_of(file: &str) -> FilePlace {
        FilePlace { file: file.to_owned(), line: 0 }
    }
}

impl fmt::Display for FilePlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => f.write_str(&self.file),
            line => write!(f, "{}:{line}", self.file),
        }
    }
}

/// One mistake, or one warning.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Diagnostic {
    pub place: FilePlace,
    /// The setting, database, user or peer.
    pub key: Option<String>,
    pub problem: ConfigProblem,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.place)?;
        if let Some(key) = &self.key {
            write!(f, "{}: ", ShownText(key))?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for Diagnostic {}

/// What is wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ConfigProblem {
    /// Something follows the bracket that closes a section's name.
    AfterSection,
    /// A `%` that is not followed by `include` and a file.
    Directive,
    /// A setting that does nothing any more.
    Gone,
    /// A directory in the place of an included file.
    IncludesFolder(String),
    /// A file that includes itself, over others or directly.
    IncludeLoop(String),
    /// Included files nest too deeply, or there are too many.
    IncludeTooDeep,
    /// The included file, and why it cannot be read.
    IncludeUnreadable(String, String),
    /// A quoted name without a closing quote.
    KeyUnclosed,
    /// What is wrong with a line that is left out.
    LeftOut(Box<ConfigProblem>),
    /// A connection string that cannot be taken apart.
    Line(LineError),
    /// A key of a connection string whose value is not of its kind.
    LineValue {
        key: String,
        error: ValueError,
    },
    /// Fewer server connections are allowed than are to be kept open.
    MinAboveSize {
        min: u32,
        size: u32,
    },
    /// No name in front of `=`.
    NoKey,
    /// A word that no `=` follows.
    NoEquals(String),
    /// An entry before the first section.
    NoSection,
    /// No `[pgbouncer]` section at all.
    NoSettings,
    /// A zero byte, which ends the file.
    Nul,
    NotUtf8,
    /// A decimal file mode that looks octal but lacks the 0 in front, and the mode that it really
    /// is.
    OctalLooking {
        mode: u32,
    },
    /// A name that is longer than PostgreSQL's, with the limit in bytes.
    NameTooLong(usize),
    /// A name in `[peers]` that is no id, with the largest id.
    PeerId(u16),
    /// A second `[pgbouncer]` section, which sets back what the first one set.
    SectionRepeated,
    SectionUnclosed,
    /// A setting that is read and has no effect, and what to do instead.
    Unbuilt {
        instead: &'static str,
    },
    /// A name that syslog does not know.
    UnknownFacility,
    /// No section has this name; perhaps the second was meant.
    UnknownSection {
        name: String,
        nearest: Option<&'static str>,
    },
    /// Why the file cannot be read.
    Unreadable(String),
    /// A value that is not of its kind, and the value that is taken for it.
    Taken {
        problem: Box<ConfigProblem>,
        taken: String,
    },
    /// A setting whose value is not of its kind. No value is kept where it may be secret.
    Value {
        value: Option<String>,
        error: ValueError,
    },
}

impl ConfigProblem {
    /// Whether this is an error that the program tolerates, and not just advice.
    pub fn is_mistake(&self) -> bool {
        matches!(
            self,
            ConfigProblem::IncludesFolder(_)
                | ConfigProblem::LeftOut(_)
                | ConfigProblem::Line(LineError::AfterQuote(_) | LineError::Tab(_))
                | ConfigProblem::Nul
                | ConfigProblem::NotUtf8
                | ConfigProblem::OctalLooking { .. }
                | ConfigProblem::Taken { .. }
        )
    }
}

impl fmt::Display for ConfigProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ConfigProblem::AfterSection => {
                f.write_str("expected nothing behind the section's name")
            }
            ConfigProblem::Directive => f.write_str("expected \"%include FILE\""),
            ConfigProblem::Gone => f.write_str("this parameter has no effect any more"),
            ConfigProblem::IncludesFolder(path) => {
                write!(f, "{} is a directory, nothing is included", ShownText(path))
            }
            ConfigProblem::IncludeLoop(path) => write!(f, "{} includes itself", ShownText(path)),
            ConfigProblem::IncludeTooDeep => f.write_str("include nesting level too deep"),
            ConfigProblem::IncludeUnreadable(path, error) => {
                write!(f, "could not load file \"{}\": {error}", ShownText(path))
            }
            ConfigProblem::KeyUnclosed => f.write_str("the quote of the name is not closed"),
            ConfigProblem::LeftOut(problem) => write!(f, "{problem}; the line is left out"),
            ConfigProblem::Line(error) => error.fmt(f),
            ConfigProblem::LineValue { key, error } => write!(f, "{}: {error}", ShownText(key)),
            ConfigProblem::MinAboveSize { min, size } => {
                write!(f, "min_pool_size {min} is above the pool size, {size} are kept open")
            }
            ConfigProblem::NoKey => f.write_str("expected a name before \"=\""),
            ConfigProblem::NoEquals(word) => {
                write!(f, "syntax error, expected \"=\" behind \"{}\"", ShownText(word))
            }
            ConfigProblem::NoSection => {
                f.write_str("value without section, expected [pgbouncer] above")
            }
            ConfigProblem::NoSettings => f.write_str("main section [pgbouncer] missing"),
            ConfigProblem::Nul => f.write_str("a zero byte; nothing behind it is read"),
            ConfigProblem::NotUtf8 => f.write_str("expected text in UTF-8"),
            ConfigProblem::OctalLooking { mode } => {
                write!(f, "read as a decimal number this is {mode:#06o}, octal needs a 0 in front")
            }
            ConfigProblem::NameTooLong(max) => write!(f, "expected a name of at most {max} bytes"),
            ConfigProblem::PeerId(max) => write!(f, "expected an id from 1 to {max}"),
            ConfigProblem::SectionRepeated => f.write_str(
                "section [pgbouncer] again: what the one before set is back at its default",
            ),
            ConfigProblem::SectionUnclosed => {
                f.write_str("expected \"]\" behind the section's name")
            }
            ConfigProblem::Taken { problem, taken } => {
                write!(f, "{problem}; \"{}\" is taken", ShownText(taken))
            }
            ConfigProblem::Unbuilt { instead } => write!(f, "has no effect: {instead}"),
            ConfigProblem::UnknownFacility => f.write_str(
                "expected auth, authpriv, daemon, user, or local0 to local7, daemon is used",
            ),
            ConfigProblem::UnknownSection { name, nearest } => {
                write!(f, "unknown section [{}]", ShownText(name))?;
                nearest.map_or(Ok(()), |name| write!(f, ", did you mean [{name}]?"))
            }
            ConfigProblem::Unreadable(error) => write!(f, "could not load file: {error}"),
            ConfigProblem::Value { value: None, error } => error.fmt(f),
            ConfigProblem::Value { value: Some(value), error } => {
                write!(f, "{error}, not \"{}\"", ShownText(value))?;
                let has_comment = value.contains([';', '#']);
                let hint = if has_comment { ": a comment stands on a line of its own" } else { "" };
                f.write_str(hint)
            }
        }
    }
}

/// Text from a file, as the log shows it: on one line, and cut.
struct ShownText<'a>(&'a str);

/// How much of a text is shown, in characters.
const SHOWN_CHARS_MAX: usize = 80;

impl fmt::Display for ShownText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut chars = self.0.chars();
        for c in chars.by_ref().take(SHOWN_CHARS_MAX) {
            if c.is_control() { write!(f, "{}", c.escape_default())? } else { write!(f, "{c}")? }
        }
        if chars.next().is_some() { f.write_str("...") } else { Ok(()) }
    }
}
