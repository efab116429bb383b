//! The log: levels, the exact form of a line, the places lines go to, and the words by which a
//! connection is named in them.
//!
//! [`Level`], [`Prefix`] and the form of a line touch nothing outside, so that the floors without
//! I/O make lines as data. Only [`Logger`] writes. What it needs of the system beyond files
//! (the local calendar, the standard error stream) is handed in as a [`Platform`].

mod level;
mod line;
mod logger;
mod message;
mod prefix;
mod sink;
mod syslog;

pub use level::Level;
pub use logger::{Format, LogError, Logger, Options, Platform, is_journal, plain};
pub use message::{Details, LogFields, LogMessage, LogValue};
pub use prefix::{ConnectionOwner, ConnectionSide, Ends, PeerAddress, Prefix, Ptr, ptr};
pub use syslog::{SYSLOG_SOCKET, SyslogOptions, facility};
