//! Why a command is refused: the message, which is PgBouncer's where it has one, the SQLSTATE, and
//! a hint.

use std::fmt;
use std::time::Duration;

use crate::config::ValueError;
use crate::pool::core::explain::seconds;
use crate::wire::sqlstate;

/// The most bytes of a command that an error quotes.
const MOST_TOLD_BYTES: usize = 1000;

/// Everything that can be wrong with a command.
#[derive(Clone, PartialEq, Debug)]
pub enum Refusal {
    AdminNeeded,
    AlreadyPaused,
    ClientNotFound,
    /// The command, in lower case.
    ConsoleDatabase(&'static str),
    DatabaseNeeded,
    FormatCode(u16),
    FormatCount {
        given: u16,
        columns: usize,
    },
    /// The database went away while the command waited.
    Gone,
    Invalid {
        text: Box<str>,
        hint: Hint,
    },
    MalformedMessage,
    /// Several commands in one Parse.
    NotOneCommand,
    NoSuchClientName,
    NoSuchDatabase(Box<str>),
    NotPaused {
        by_name: Box<[String]>,
    },
    DatabaseNotPaused(Box<str>),
    Parameters,
    PortalTaken(Box<str>),
    /// The first error in the files.
    ReloadFailed(Box<str>),
    ReplyTooLong,
    Resumed,
    SetFailed {
        key: Box<str>,
        why: Unset,
    },
    ShuttingDown,
    StatementTaken(Box<str>),
    TimedOut {
        holders: Box<[String]>,
        is_resumed: bool,
        after: Duration,
    },
    TooManyCommands,
    TooManyStatements,
    UnknownMessage(u8),
    UnknownPortal(Box<str>),
    UnknownStatement(Box<str>),
}

/// Why SET cannot change a setting.
#[derive(Clone, PartialEq, Debug)]
pub enum Unset {
    Gone,
    NeedsOwnUser,
    NeedsRestart,
    Value(ValueError),
}

/// What the user perhaps meant by an invalid command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Hint {
    None,
    Arguments {
        word: &'static str,
        arguments: &'static str,
    },
    Show(&'static str),
    /// The command is SQL.
    Sql,
    Unterminated,
    Word(&'static str),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::AdminNeeded => f.write_str("admin access needed"),
            Refusal::AlreadyPaused => f.write_str("already paused"),
            Refusal::ClientNotFound => f.write_str("client not found"),
            Refusal::ConsoleDatabase(verb) => write!(f, "cannot {verb} admin db: pgbouncer"),
            Refusal::DatabaseNeeded => f.write_str("a database is required"),
            Refusal::DatabaseNotPaused(name) => write!(f, "database {name} is not paused"),
            Refusal::FormatCode(code) => write!(f, "unsupported format code: {code}"),
            Refusal::FormatCount { given, columns } => {
                write!(f, "bind message has {given} format codes for {columns} columns")
            }
            Refusal::Gone => f.write_str("database removed while the command waited"),
            Refusal::Invalid { text, .. } => {
                write!(f, "invalid command '{}', use SHOW HELP;", cut(text))
            }
            Refusal::MalformedMessage => f.write_str("malformed message"),
            Refusal::NoSuchClientName => f.write_str("invalid client pointer supplied"),
            Refusal::NoSuchDatabase(name) => write!(f, "no such database: {}", cut(name)),
            Refusal::NotOneCommand => {
                f.write_str("cannot insert multiple commands into a prepared statement")
            }
            Refusal::NotPaused { .. } => f.write_str("pooler is not paused"),
            Refusal::Parameters => f.write_str("console commands take no parameters"),
            Refusal::PortalTaken(name) => write!(f, "portal \"{name}\" already exists"),
            Refusal::ReloadFailed(_) => {
                f.write_str("RELOAD failed, see logs for additional details")
            }
            Refusal::ReplyTooLong => f.write_str("too much is asked for in one string of commands"),
            Refusal::Resumed => f.write_str("PAUSE was ended by RESUME"),
            Refusal::SetFailed { .. } => f.write_str("SET failed"),
            Refusal::ShuttingDown => f.write_str("pooler is shutting down"),
            Refusal::StatementTaken(name) => {
                write!(f, "prepared statement \"{name}\" already exists")
            }
            Refusal::TimedOut { after, .. } => {
                write!(f, "PAUSE gave up after {}", seconds(*after))
            }
            Refusal::TooManyCommands => f.write_str("too many commands in one string"),
            Refusal::TooManyStatements => f.write_str("too many prepared statements"),
            Refusal::UnknownMessage(kind) => {
                write!(f, "unsupported packet type for admin console: {kind}")
            }
            Refusal::UnknownPortal(name) => write!(f, "portal \"{name}\" does not exist"),
            Refusal::UnknownStatement(name) => {
                write!(f, "prepared statement \"{name}\" does not exist")
            }
        }
    }
}

impl std::error::Error for Refusal {}

impl Refusal {
    pub fn invalid(text: &str, hint: Hint) -> Refusal {
        Refusal::Invalid { text: text.into(), hint }
    }

    pub fn sqlstate(&self) -> &'static str {
        match self {
            Refusal::FormatCode(_) => sqlstate::INVALID_PARAMETER_VALUE,
            Refusal::Parameters => sqlstate::FEATURE_NOT_SUPPORTED,
            Refusal::NotOneCommand => sqlstate::SYNTAX_ERROR,
            Refusal::PortalTaken(_) => sqlstate::DUPLICATE_CURSOR,
            Refusal::ReloadFailed(_) => sqlstate::CONFIG_FILE_ERROR,
            Refusal::StatementTaken(_) => sqlstate::DUPLICATE_PREPARED_STATEMENT,
            Refusal::ReplyTooLong | Refusal::TooManyCommands | Refusal::TooManyStatements => {
                sqlstate::PROGRAM_LIMIT_EXCEEDED
            }
            Refusal::UnknownPortal(_) => sqlstate::INVALID_CURSOR_NAME,
            Refusal::UnknownStatement(_) => sqlstate::UNDEFINED_PREPARED_STATEMENT,
            // PgBouncer sends this SQLSTATE with every error.
            _ => sqlstate::PROTOCOL_VIOLATION,
        }
    }

    /// The reason under which SHOW ERRORS counts the refusal.
    pub fn kind(&self) -> &'static str {
        match self {
            Refusal::ConsoleDatabase(_) => "not possible with the admin db",
            Refusal::DatabaseNotPaused(_) => "database is not paused",
            Refusal::Invalid { .. } => "invalid command",
            Refusal::NoSuchDatabase(_) => "no such database",
            Refusal::ReloadFailed(_) => "RELOAD failed",
            Refusal::SetFailed { .. } => "SET failed",
            Refusal::TimedOut { .. } => "PAUSE gave up",
            Refusal::Resumed => "PAUSE was ended by RESUME",
            _ => "console command refused",
        }
    }

    pub fn detail(&self) -> Option<String> {
        match self {
            Refusal::Invalid { hint: Hint::Unterminated, .. } => {
                Some("A quote or a comment is not closed.".to_owned())
            }
            Refusal::NotPaused { by_name } if !by_name.is_empty() => {
                Some(format!("Paused by name: {}.", by_name.join(", ")))
            }
            Refusal::ReloadFailed(first) if !first.is_empty() => Some(first.to_string()),
            Refusal::ReplyTooLong | Refusal::TooManyCommands => {
                Some("The commands before it have been carried out.".to_owned())
            }
            Refusal::SetFailed { key, why } => Some(format!("{key}: {why}.").replace("?.", "?")),
            Refusal::TimedOut { holders, is_resumed, .. } => Some(held_by(holders, *is_resumed)),
            _ => None,
        }
    }

    pub fn hint(&self) -> Option<String> {
        match self {
            Refusal::AdminNeeded => Some("It is for users named in admin_users.".to_owned()),
            Refusal::FormatCode(_) => Some("0 is text, 1 is binary.".to_owned()),
            Refusal::Invalid { hint, .. } => hint.words(),
            Refusal::NotPaused { by_name } if !by_name.is_empty() => {
                Some("Use RESUME with the name of the database.".to_owned())
            }
            Refusal::SetFailed { why: Unset::NeedsOwnUser, .. } => {
                Some("Change the configuration file, and RELOAD.".to_owned())
            }
            Refusal::SetFailed { why: Unset::NeedsRestart, .. } => {
                Some("Change the configuration file, and restart.".to_owned())
            }
            Refusal::TimedOut { is_resumed: false, .. } => {
                Some("It was paused before; use RESUME.".to_owned())
            }
            _ => None,
        }
    }
}

impl Hint {
    fn words(self) -> Option<String> {
        match self {
            Hint::None | Hint::Unterminated => None,
            Hint::Arguments { word, arguments } => {
                Some(format!("The command is {word} {arguments}.").replace(" .", "."))
            }
            Hint::Show(word) => Some(format!("Perhaps you meant SHOW {word}.")),
            Hint::Sql => Some(
                "This is the console of the pooler: for SQL, connect to a database.".to_owned(),
            ),
            Hint::Word(word) => Some(format!("Perhaps you meant {word}.")),
        }
    }
}

impl fmt::Display for Unset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Unset::Gone => f.write_str("the setting has no effect any more"),
            Unset::NeedsOwnUser => f.write_str(
                "it names a file, and is set here only by the user that the pooler runs as, over \
                 its Unix socket",
            ),
            Unset::NeedsRestart => f.write_str("the setting is read at start only"),
            Unset::Value(error) => error.fmt(f),
        }
    }
}

/// Which clients kept a PAUSE from ending, and whether the pause stays.
fn held_by(holders: &[String], is_resumed: bool) -> String {
    let after = if is_resumed { "Work goes on." } else { "It stays paused." };
    match holders {
        [] => format!("Servers are still being closed. {after}"),
        holders => format!("Held by {}. {after}", holders.join("; ")),
    }
}

fn cut(text: &str) -> &str {
    let end = (0..=text.len().min(MOST_TOLD_BYTES)).rev().find(|&at| text.is_char_boundary(at));
    &text[..end.unwrap_or(0)]
}
