//! Why there is nothing to listen on.

use std::fmt;
use std::io;
use std::path::PathBuf;

use crate::log::plain;
use crate::net::resolve;

/// What is wrong with the path of a Unix socket; `sun_path` has 108 bytes, and a zero ends it.
pub(super) const NAME_TOO_LONG: &str = "the path is longer than 107 bytes";

/// Why there is nothing to listen on.
#[derive(Debug)]
pub enum ListenError {
    /// Changing the socket file's mode or group failed.
    FileAttributes {
        path: PathBuf,
        error: io::Error,
    },
    GroupUnknown {
        name: String,
    },
    /// Every address was refused; the reasons were reported one by one.
    NoAddress {
        list: String,
    },
    Nowhere,
    Resolve {
        name: String,
        error: io::Error,
    },
    UnixCreate {
        error: io::Error,
    },
    /// Another process listens on the Unix socket.
    UnixInUse {
        path: String,
        pid: Option<i32>,
    },
    /// No socket can have the path; it was reported.
    UnixTooLong,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ListenError::FileAttributes { path, error } => {
                write!(f, "cannot set mode and group of {}: {}", path.display(), plain(error))
            }
            ListenError::GroupUnknown { name } => write!(f, "could not find group '{name}'"),
            ListenError::NoAddress { list } => {
                write!(f, "failed to listen on any address in listen_addr list: {list}")
            }
            ListenError::Nowhere => f.write_str("nowhere to listen on"),
            ListenError::Resolve { name, error } => {
                write!(f, "cannot resolve '{name}' of listen_addr: {}", resolve::words(error))?;
                match name.rsplit_once(':') {
                    Some((_, port)) if port.parse::<u16>().is_ok() => {
                        f.write_str(": the port goes into listen_port")
                    }
                    _ => Ok(()),
                }
            }
            ListenError::UnixCreate { error } => {
                write!(f, "failed to create unix socket: {}", plain(error))
            }
            ListenError::UnixInUse { path, pid: Some(pid) } => {
                write!(f, "unix socket is in use, cannot continue: process {pid} listens on {path}")
            }
            ListenError::UnixInUse { path, pid: None } => {
                write!(f, "unix socket is in use, cannot continue: somebody listens on {path}")
            }
            ListenError::UnixTooLong => {
                write!(f, "failed to create unix socket: {NAME_TOO_LONG}")
            }
        }
    }
}
