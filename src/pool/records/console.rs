//! A session with the console: who has it, the command that takes time, and what it keeps of the
//! extended protocol.

use super::wait::Wait;
use crate::base::time::Moment;
use crate::wire::formats::Formats;

/// A console session.
#[derive(Debug)]
pub struct ConsoleState {
    pub user: String,
    /// May change things; stats users may only look.
    pub is_admin: bool,
    /// It came over the Unix socket from a process of the pooler's own user.
    pub is_own_user: bool,
    /// The bytes that it was answered in one turn, and when that was.
    pub answered: (Moment, usize),
    /// The command under way, if it takes time.
    pub wait: Option<Wait>,
    /// The command that takes time, as the console will answer it.
    pub pending: Option<PendingCommand>,
    /// Extended protocol: the statements that are prepared, and what is skipped after an error.
    pub session: ConsoleSession,
}

/// A command that a console session waits for.
#[derive(Debug)]
pub struct PendingCommand {
    /// What is answered when it succeeds; `None` where all is said, and only the rest waits.
    pub tag: Option<&'static str>,
    pub since: Moment,
    /// What follows it in the same string of commands; an Execute has none.
    pub script: Option<Script>,
}

/// What is left of a string of commands, and how much was done of it already.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Script {
    pub rest: Box<str>,
    pub commands: usize,
    /// Bytes of answers.
    pub bytes: usize,
}

/// What the console keeps of the extended protocol.
#[derive(Debug, Default)]
pub struct ConsoleSession {
    /// Name and text.
    pub statements: Vec<(Box<str>, Box<str>)>,
    pub portals: Vec<ConsolePortal>,
    /// An error has come: all up to Sync is passed over.
    pub is_skipping: bool,
    /// Answers that go out with the next Sync or Flush.
    pub unsent: Vec<u8>,
}

/// A command that was bound. It lives until Sync.
#[derive(Debug)]
pub struct ConsolePortal {
    pub name: Box<str>,
    pub text: Box<str>,
    pub formats: Formats,
    /// The answer that is left when fewer rows were asked for than there are.
    pub left: Option<(Vec<u8>, usize)>,
}
