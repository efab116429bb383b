//! The levels of log lines.

use std::fmt;

/// From what ends the program to what only a search for a defect needs; a lower level is more
/// important.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Level {
    Fatal,
    Error,
    Warning,
    Log,
    Debug,
    Noise,
}

impl Level {
    /// The least important level that is still written at a verbosity (`-v`, `verbose`).
    pub fn from_verbosity(verbosity: u32) -> Level {
        match verbosity {
            0 => Level::Log,
            1 => Level::Debug,
            _ => Level::Noise,
        }
    }

    /// The word in a line.
    pub fn word(self) -> &'static str {
        match self {
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warning => "WARNING",
            Level::Log => "LOG",
            Level::Debug => "DEBUG",
            Level::Noise => "NOISE",
        }
    }

    /// The severity for syslog and the journal (RFC 5424, table 2).
    pub fn severity(self) -> u8 {
        match self {
            Level::Fatal => 2,
            Level::Error => 3,
            Level::Warning => 4,
            Level::Log => 6,
            Level::Debug | Level::Noise => 7,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str(self.word())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbosity_opens_one_level_at_a_time() {
        assert!(Level::Log <= Level::from_verbosity(0));
        assert!(Level::Debug > Level::from_verbosity(0));
        assert!(Level::Debug <= Level::from_verbosity(1));
        assert!(Level::Noise > Level::from_verbosity(1));
        assert!(Level::Noise <= Level::from_verbosity(7));
    }
}
