//! The process itself: its limit of descriptors, who may look into its memory, and going into the
//! background.

use std::fs::OpenOptions;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsRawFd, RawFd};
use std::process;

use super::check;

/// How many descriptors the process may have open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FdLimit {
    /// The limit in force.
    pub soft: u64,
    /// What the process may raise it to.
    pub hard: u64,
}

/// The limits in force, by the calls with numbers of 64 bits, which are the same on every machine.
pub fn fd_limit() -> io::Result<FdLimit> {
    let mut limit = libc::rlimit64 { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to a local of the right type.
    check(unsafe { libc::getrlimit64(libc::RLIMIT_NOFILE, &mut limit) })?;
    Ok(FdLimit { soft: limit.rlim_cur, hard: limit.rlim_max })
}

/// Raises the soft limit to the hard one, and gives the limits then in force.
pub fn raise_fd_limit() -> io::Result<FdLimit> {
    let found = fd_limit()?;
    let limit = libc::rlimit64 { rlim_cur: found.hard, rlim_max: found.hard };
    // SAFETY: the pointer is to an initialised local of the right type.
    check(unsafe { libc::setrlimit64(libc::RLIMIT_NOFILE, &limit) })?;
    fd_limit()
}

/// Keeps the memory of the process, passwords and all, from other processes of its user and from
/// the disk: no core is written when it crashes, and nobody but root attaches to it.
pub fn hide_memory() -> io::Result<()> {
    let limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the pointer is to an initialised local of the right type.
    check(unsafe { libc::setrlimit(libc::RLIMIT_CORE, &limit) })?;
    set_dumpable(false)
}

/// Lets cores be written as far as the limit that the process was started with allows. The kernel
/// forbids them to a process that has changed its user, until it is told otherwise.
pub fn show_memory() -> io::Result<()> {
    set_dumpable(true)
}

fn set_dumpable(is_dumpable: bool) -> io::Result<()> {
    // SAFETY: takes numbers.
    check(unsafe { libc::prctl(libc::PR_SET_DUMPABLE, libc::c_ulong::from(is_dumpable)) })?;
    Ok(())
}

/// The pipe by which the process in the background tells the process that was started that it
/// works.
#[derive(Debug)]
pub struct Background {
    pipe: PipeWriter,
}

impl Background {
    /// Lets the started process exit with code 0. Without this call it exits with code 1 as soon
    /// as this process ends.
    pub fn started(mut self) {
        // The process at the other end may have been killed; that changes nothing for us.
        let _ = self.pipe.write_all(b"1");
    }
}

/// Goes into the background: the caller returns as a grandchild in a session of its own, with the
/// standard streams on /dev/null, while the process that was started waits for
/// [`Background::started`]. Must be called while there is one thread only.
pub fn daemonise() -> io::Result<Background> {
    let (reader, pipe) = io::pipe()?;
    if fork()? == ForkSide::Parent {
        drop(pipe);
        wait_for_start(reader);
    }
    drop(reader);
    // SAFETY: takes nothing; fails only for a leader of a group, which a new child is not.
    check(unsafe { libc::setsid() })?;
    // A second fork, so that the process is no leader of a session and gets no terminal.
    if fork()? == ForkSide::Parent {
        // The other end of the pipe lives on in the child.
        process::exit(0);
    }
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    for stream in [libc::STDIN_FILENO, libc::STDOUT_FILENO, libc::STDERR_FILENO] {
        replace(null.as_raw_fd(), stream)?;
    }
    Ok(Background { pipe })
}

#[derive(PartialEq, Eq)]
enum ForkSide {
    Parent,
    Child,
}

fn fork() -> io::Result<ForkSide> {
    // SAFETY: there is one thread (the caller's promise), so the child finds no lock held.
    let pid = check(unsafe { libc::fork() })?;
    Ok(if pid == 0 { ForkSide::Child } else { ForkSide::Parent })
}

fn wait_for_start(mut reader: PipeReader) -> ! {
    let mut word = [0];
    let started = reader.read_exact(&mut word).is_ok();
    process::exit(if started { 0 } else { 1 });
}

fn replace(from: RawFd, to: RawFd) -> io::Result<()> {
    // SAFETY: takes numbers; `from` is open, and `to` is a standard stream, which std never owns.
    check(unsafe { libc::dup2(from, to) })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_limit_is_raised_to_the_hard_one() {
        let limit = raise_fd_limit().expect("limit");
        assert_eq!(limit.soft, limit.hard);
        assert_eq!(fd_limit().expect("limit"), limit);
    }
}
