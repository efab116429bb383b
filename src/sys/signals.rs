//! Signals as a descriptor (signalfd), so that the loop meets them like any other event and no
//! handler ever runs.

use std::io;
use std::mem::{self, MaybeUninit};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::ptr;

use libc::c_int;

use super::check;

/// The signals that mean something to the program.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Signal {
    Hup,
    Int,
    Quit,
    Term,
    Usr1,
    Usr2,
}

const SIGNALS: [(c_int, Signal); 6] = [
    (libc::SIGHUP, Signal::Hup),
    (libc::SIGINT, Signal::Int),
    (libc::SIGQUIT, Signal::Quit),
    (libc::SIGTERM, Signal::Term),
    (libc::SIGUSR1, Signal::Usr1),
    (libc::SIGUSR2, Signal::Usr2),
];

/// The signals that arrived and were not read yet. Register its descriptor for reading.
#[derive(Debug)]
pub struct SignalFd {
    fd: OwnedFd,
}

impl SignalFd {
    /// Blocks the signals and opens the descriptor. Before any thread starts (threads inherit the
    /// block) and after the last `fork`. SIGPIPE needs no row: std ignores it from the start.
    pub fn new() -> io::Result<SignalFd> {
        let set = signal_set()?;
        // SAFETY: the set is initialised, and the old mask is not asked for.
        check(unsafe { libc::sigprocmask(libc::SIG_BLOCK, &set, ptr::null_mut()) })?;
        // SAFETY: the set is initialised.
        let fd =
            check(unsafe { libc::signalfd(-1, &set, libc::SFD_NONBLOCK | libc::SFD_CLOEXEC) })?;
        // SAFETY: the kernel just made the descriptor for us alone.
        let fd = unsafe { OwnedFd::from_raw_fd(fd) };
        Ok(SignalFd { fd })
    }

    /// The next signal that arrived, or None when all were read.
    pub fn next(&self) -> Option<Signal> {
        let mut info = MaybeUninit::<libc::signalfd_siginfo>::zeroed();
        let size = mem::size_of_val(&info);
        // SAFETY: pointer and length are those of one local.
        let got = unsafe { libc::read(self.fd.as_raw_fd(), info.as_mut_ptr().cast(), size) };
        if usize::try_from(got) != Ok(size) {
            return None;
        }
        // SAFETY: plain numbers, zeroed before and filled by the read.
        let number = unsafe { info.assume_init() }.ssi_signo;
        SIGNALS.iter().find(|row| u32::try_from(row.0) == Ok(number)).map(|row| row.1)
    }
}

impl AsRawFd for SignalFd {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

fn signal_set() -> io::Result<libc::sigset_t> {
    let mut set = MaybeUninit::<libc::sigset_t>::zeroed();
    // SAFETY: initialises the local it is given.
    check(unsafe { libc::sigemptyset(set.as_mut_ptr()) })?;
    // SAFETY: initialised by the call above.
    let mut set = unsafe { set.assume_init() };
    for (number, _) in SIGNALS {
        // SAFETY: the set is initialised and the number is a signal's.
        check(unsafe { libc::sigaddset(&mut set, number) })?;
    }
    Ok(set)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_sent_to_this_thread_is_read_once() {
        let signals = SignalFd::new().expect("signalfd");
        assert_eq!(signals.next(), None);
        // To the thread, not the process: threads of other tests have not blocked it.
        // SAFETY: names the calling thread and a blocked signal.
        unsafe { libc::pthread_kill(libc::pthread_self(), libc::SIGUSR2) };
        assert_eq!(signals.next(), Some(Signal::Usr2));
        assert_eq!(signals.next(), None);
    }
}
