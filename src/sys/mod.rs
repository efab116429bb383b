//! The system below the program: the only folder that may say `unsafe`. Each module wraps a few
//! calls of libc that std does not offer, as safe functions of a few lines; it decides nothing,
//! knows no setting and writes no log line. What std can do safely (files, `chown`, `isatty`,
//! datagrams to the service manager) is not repeated here but used where it is needed.

#![allow(unsafe_code, reason = "this is the one floor that calls the system without std")]

pub mod account;
pub mod activation;
#[cfg(no_unwind_tables)]
mod backtrace;
pub mod clock;
pub mod epoll;
pub mod filter;
pub mod lock;
pub mod pam;
pub mod process;
pub mod random;
pub mod signals;
pub mod socket;
pub mod stderr;
#[cfg(feature = "tls")]
pub mod tls;

use std::io;

use libc::c_int;

/// Turns the -1 of a system call into the error in `errno`.
fn check(result: c_int) -> io::Result<c_int> {
    if result == -1 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
