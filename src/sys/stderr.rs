//! The standard error stream, written without waiting for its reader: a pipe that nobody empties
//! and a terminal that is held by Ctrl-S must not stop the process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};

use super::check;

/// What a pipe that has room takes whole (POSIX grants 512; Linux has 4096).
const ATOMIC_BYTES: usize = 4096;

/// The stream, by the way that does not wait.
#[derive(Debug)]
pub struct Stderr(StderrTarget);

#[derive(Debug)]
enum StderrTarget {
    /// An open file of our own, in non-blocking mode. The one behind descriptor 2 may be shared
    /// with a shell, which that mode would disturb.
    Own(File),
    /// Nothing is written any more.
    Closed,
    /// A file on a disk, which needs no reader.
    Disk,
    /// A pipe or terminal that cannot be opened anew: it is asked whether it has room.
    Shared,
    Socket,
}

impl Stderr {
    /// To be called before the process becomes another user, who may not be allowed to open the
    /// stream.
    pub fn new() -> Stderr {
        let Ok(fd) = io::stderr().as_fd().try_clone_to_owned() else {
            return Stderr(StderrTarget::Closed);
        };
        let Ok(kind) = File::from(fd).metadata().map(|found| found.file_type()) else {
            return Stderr(StderrTarget::Closed);
        };
        Stderr(if kind.is_fifo() || kind.is_char_device() {
            open_anew().map_or(StderrTarget::Shared, StderrTarget::Own)
        } else if kind.is_socket() {
            StderrTarget::Socket
        } else {
            StderrTarget::Disk
        })
    }

    /// Writes nothing from now on, and closes our own open file, so that a reader can reach the end
    /// of the stream.
    pub fn close(&mut self) {
        self.0 = StderrTarget::Closed;
    }

    /// Writes as much as is taken at once; `WouldBlock` when that is nothing.
    pub fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match &mut self.0 {
            StderrTarget::Closed => Ok(bytes.len()),
            StderrTarget::Disk => io::stderr().write(bytes),
            StderrTarget::Own(file) => file.write(bytes),
            StderrTarget::Shared => write_where_room(bytes),
            StderrTarget::Socket => send(bytes),
        }
    }
}

fn open_anew() -> io::Result<File> {
    let flags = libc::O_NONBLOCK | libc::O_NOCTTY;
    OpenOptions::new().write(true).custom_flags(flags).open("/proc/self/fd/2")
}

/// Another process that writes to the same pipe may take the room in between; then this waits for a
/// moment.
fn write_where_room(bytes: &[u8]) -> io::Result<usize> {
    let mut asked = libc::pollfd { fd: libc::STDERR_FILENO, events: libc::POLLOUT, revents: 0 };
    // SAFETY: the pointer is to one initialised local, as the count says.
    check(unsafe { libc::poll(&mut asked, 1, 0) })?;
    if asked.revents & libc::POLLOUT == 0 {
        return Err(io::ErrorKind::WouldBlock.into());
    }
    io::stderr().write(&bytes[..bytes.len().min(ATOMIC_BYTES)])
}

fn send(bytes: &[u8]) -> io::Result<usize> {
    let flags = libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL;
    // SAFETY: the pointer and length are those of one slice, which is only read.
    let sent =
        unsafe { libc::send(libc::STDERR_FILENO, bytes.as_ptr().cast(), bytes.len(), flags) };
    usize::try_from(sent).map_err(|_| io::Error::last_os_error())
}
