//! The system calls that the log needs, which `sys` on a neighbouring floor provides.

use std::io;

use crate::base::time::LocalSecond;
use crate::log::Platform;
use crate::sys::clock;
use crate::sys::stderr::Stderr;

/// The real system.
pub struct System {
    stderr: Stderr,
}

impl System {
    /// To be called before the process becomes another user.
    pub fn new() -> System {
        System { stderr: Stderr::new() }
    }
}

impl Platform for System {
    fn local_second(&self, unix_seconds: u64) -> LocalSecond {
        clock::local_second(unix_seconds)
    }

    fn write_stderr(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stderr.write(bytes)
    }

    fn close_stderr(&mut self) {
        self.stderr.close();
    }
}
