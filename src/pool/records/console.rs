//! A console session: its user, its command under way, and the state of the extended protocol.

use super::wait::Wait;
use crate::base::time::Moment;
use crate::wire::formats::Formats;

/// A console session.
#[derive(Debug)]
pub struct ConsoleState {
    pub user: String,
    /// Whether the user may run all commands; stats_users may only run SHOW.
    pub is_admin: bool,
    /// Whether the client is a process of the pooler's own system user, on the Unix socket.
    pub is_own_user: bool,
    /// The bytes of answers in one turn of the loop, with the time of that turn.
    pub answered: (Moment, usize),
    /// What the session waits for, if its command takes time.
    pub wait: Option<Wait>,
    /// The command that takes time, until the console answers it.
    pub pending: Option<PendingCommand>,
    /// The extended protocol: prepared statements, and whether messages are skipped after an error.
    pub session: ConsoleSession,
}

/// A command that a console session waits for.
#[derive(Debug)]
pub struct PendingCommand {
    /// The command tag on success; `None` if the command has been answered and only `script` waits.
    pub tag: Option<&'static str>,
    pub since: Moment,
    /// The rest of the same query string; an Execute has none.
    pub script: Option<Script>,
}

/// The rest of a query string, and how much of the string was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub rest: Box<str>,
    pub commands: usize,
    /// Bytes of answers so far.
    pub bytes: usize,
}

/// The state of the extended protocol of a console session.
#[derive(Debug, Default)]
pub struct ConsoleSession {
    /// Names and texts.
    pub statements: Vec<(Box<str>, Box<str>)>,
    pub portals: Vec<ConsolePortal>,
    /// Whether an error has occurred, after which everything up to Sync is skipped.
    pub is_skipping: bool,
    /// Answers that go out with the next Sync or Flush.
    pub unsent: Vec<u8>,
}

/// A portal: a command that was bound. It lives until Sync.
#[derive(Debug)]
pub struct ConsolePortal {
    pub name: Box<str>,
    pub text: Box<str>,
    pub formats: Formats,
    /// The rest of the answer, after an Execute that asked for fewer rows than there are.
    pub left: Option<(Vec<u8>, usize)>,
}
