//! Advisory locks on files, kept by the kernel for as long as the process lives: unlike a number
//! in a file they cannot be stale.

use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;

use super::check;

/// Locks `file` for this process alone, until it is closed. Ok(false) when another one has it.
pub fn try_lock(file: &File) -> io::Result<bool> {
    // SAFETY: takes an open descriptor and flags.
    match check(unsafe { libc::flock(file.as_raw_fd(), libc::LOCK_EX | libc::LOCK_NB) }) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
        Err(error) => Err(error),
    }
}
