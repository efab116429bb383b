//! Sockets that the service manager opened for us (`LISTEN_PID`, `LISTEN_FDS`; sd_listen_fds(3)).

use std::env;
use std::net::TcpListener;
use std::os::fd::{AsFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixListener;
use std::process;
use std::sync::atomic::{AtomicBool, Ordering};

use super::check;
use super::socket::{Domain, listening_domain};

/// The first descriptor handed over, by sd_listen_fds(3).
const FIRST: RawFd = 3;

/// The most sockets that are taken over. A larger number makes no sense: then none is taken over.
const COUNT_MAX: RawFd = 1024;

/// A socket that already listens.
#[derive(Debug)]
pub enum Inherited {
    Tcp(TcpListener),
    Unix(UnixListener),
}

/// The listening sockets meant for this very process; none on a second call, since the first one
/// owns them. Must be called before `fork`, because `LISTEN_PID` names one process. Descriptors
/// that are no listening stream sockets are closed.
pub fn inherited_listeners() -> Vec<Inherited> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    let count = announced(env::var("LISTEN_PID").ok(), env::var("LISTEN_FDS").ok());
    if count == 0 || TAKEN.swap(true, Ordering::Relaxed) {
        return Vec::new();
    }
    (FIRST..FIRST + count).filter_map(adopt).collect()
}

/// How many descriptors the two variables announce to this process.
fn announced(pid: Option<String>, count: Option<String>) -> RawFd {
    let (Some(pid), Some(count)) = (pid, count) else { return 0 };
    if pid.parse() != Ok(process::id()) {
        return 0;
    }
    count.parse().ok().filter(|count| (1..=COUNT_MAX).contains(count)).unwrap_or(0)
}

fn adopt(fd: RawFd) -> Option<Inherited> {
    // SAFETY: only asks whether the number is open, and sets close-on-exec if it is.
    check(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }).ok()?;
    // SAFETY: the descriptor is open, was handed over to this process, and nobody else takes it:
    // the caller comes here once.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    match listening_domain(fd.as_fd()).ok()?? {
        Domain::Inet => {
            let listener = TcpListener::from(fd);
            listener.set_nonblocking(true).ok()?;
            Some(Inherited::Tcp(listener))
        }
        Domain::Unix => {
            let listener = UnixListener::from(fd);
            listener.set_nonblocking(true).ok()?;
            Some(Inherited::Unix(listener))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_numbers_meant_for_this_process_count() {
        let ours = || Some(process::id().to_string());
        assert_eq!(announced(ours(), Some("2".into())), 2);
        assert_eq!(announced(Some("1".into()), Some("2".into())), 0);
        assert_eq!(announced(ours(), Some("-1".into())), 0);
        assert_eq!(announced(ours(), Some("999999999".into())), 0);
        assert_eq!(announced(ours(), None), 0);
    }
}
