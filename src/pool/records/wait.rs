//! What console sessions wait for, how that ends, and how the process is to end.

use crate::base::time::Moment;
use crate::pool::ids::DatabaseId;

/// How the process is to end.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Shutdown {
    No,
    /// No more clients by TCP; ends after the last client.
    WaitForClients,
    /// Servers are closed as they get free; ends after the last.
    WaitForServers,
    Immediate,
}

impl Shutdown {
    /// How the console's command spells it, after its first word.
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
    /// PAUSE: no server is left, of one database or of all. Given up at the moment, if there is
    /// one; `is_owner` tells that the pools were not held back before, and work again then.
    Pause { database: Option<DatabaseId>, until: Option<Moment>, is_owner: bool },
    /// WAIT_CLOSE: the same, without holding back clients.
    Close { database: Option<DatabaseId> },
    /// RELOAD: the shell reads the files.
    Reload,
    /// The next turn: it was answered much in this one, and others want to be served.
    Turn,
}

/// How a wait ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum WaitOutcome {
    Done,
    /// A RESUME came in between.
    Resumed,
    /// The time given was over; who held on, and whether the pools work again.
    TimedOut {
        holders: Vec<String>,
        is_resumed: bool,
    },
    /// The database is gone.
    Gone,
    /// The files could not be put in force; the first thing that is wrong with them.
    ReloadFailed(String),
}
