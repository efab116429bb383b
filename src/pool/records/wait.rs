//! What console sessions wait for, how a wait ends, and how the process shuts down.

use crate::base::time::Moment;
use crate::pool::ids::DatabaseId;

/// How the process shuts down.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shutdown {
    No,
    /// Accepts no more clients over TCP; ends with the last client.
    WaitForClients,
    /// Closes servers as they become free; ends with the last server.
    WaitForServers,
    Immediate,
}

impl Shutdown {
    /// The words of the console command after SHUTDOWN.
    pub fn words(self) -> &'static str {
        match self {
            Shutdown::No | Shutdown::Immediate => "",
            Shutdown::WaitForClients => " WAIT_FOR_CLIENTS",
            Shutdown::WaitForServers => " WAIT_FOR_SERVERS",
        }
    }
}

/// What a console session waits for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Wait {
    /// PAUSE: until no server is left, of one database or of all. The wait is given up at `until`,
    /// if set. `is_owner` tells that this PAUSE paused the pools, so they are resumed then.
    Pause { database: Option<DatabaseId>, until: Option<Moment>, is_owner: bool },
    /// WAIT_CLOSE: until no server is left, without pausing clients.
    Close { database: Option<DatabaseId> },
    /// RELOAD: until the shell has read the files.
    Reload,
    /// The next turn of the loop: this session has had many answers in one turn, and others must be
    /// served.
    Turn,
}

/// How a wait ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WaitOutcome {
    Done,
    /// A RESUME ended the wait.
    Resumed,
    /// The time was over. `holders` are the connections that still had servers; `is_resumed` tells
    /// whether the pools were resumed.
    TimedOut {
        holders: Vec<String>,
        is_resumed: bool,
    },
    /// The database was removed.
    Gone,
    /// The new configuration was refused; the text is its first error.
    ReloadFailed(String),
}
