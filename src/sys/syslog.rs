//! The system's log (syslog(3)).

use std::ffi::{CStr, CString, c_int};

/// A connection to the system's log under one name. The C library has one per process, so the
/// program must hold no more than one of these.
#[derive(Debug)]
pub struct Syslog {
    /// The C library keeps a pointer to the name while the log is open: it must neither move nor
    /// be freed before `closelog`. A CString's bytes stay where they are when the struct moves.
    _ident: CString,
}

const TEXT: &CStr = c"%s";

impl Syslog {
    /// Opens the log as `ident`; `facility` is its code in RFC 5424, table 1 (3 is `daemon`).
    pub fn open(ident: &str, facility: u8) -> Syslog {
        let ident = c_string(ident);
        let facility = c_int::from(facility) << 3;
        // SAFETY: the name is NUL-terminated and lives until `drop` closes the log.
        unsafe { libc::openlog(ident.as_ptr(), libc::LOG_PID, facility) };
        Syslog { _ident: ident }
    }

    /// Sends one message; `severity` is its code in RFC 5424, table 2 (6 is informational).
    pub fn send(&self, severity: u8, message: &str) {
        let message = c_string(message);
        // SAFETY: the format takes one NUL-terminated string, which outlives the call.
        unsafe { libc::syslog(c_int::from(severity & 7), TEXT.as_ptr(), message.as_ptr()) };
    }
}

impl Drop for Syslog {
    fn drop(&mut self) {
        // SAFETY: takes nothing; afterwards the C library does not use the name any more.
        unsafe { libc::closelog() };
    }
}

/// The text up to its first NUL, which no C string can hold.
fn c_string(text: &str) -> CString {
    let text = text.split('\0').next().unwrap_or_default();
    CString::new(text).unwrap_or_default()
}
