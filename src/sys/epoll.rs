//! The wait of the loop. mio makes the epoll and registers sockets with it. Here it is waited for,
//! by a number of milliseconds, and an event is told by the kernel's own bits: mio's wait takes a
//! `Duration`, and its events answer one question at a time, which costs more in every turn.
//!
//! Listeners are registered here, too. mio's registration tells of a change once: then whoever
//! accepts must go on until nothing is left, which costs a call in vain for each connection that
//! comes alone.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr;

use libc::{c_int, epoll_event};

use super::check;

/// Room for events, and those of the last wait.
pub struct EpollEvents {
    room: Box<[epoll_event]>,
    count: usize,
}

/// What the kernel tells of one descriptor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EpollEvent {
    /// What the descriptor was registered under.
    pub token: u64,
    bits: u32,
}

impl EpollEvents {
    /// Room for the most events that are taken at a time.
    pub fn with_room(most: usize) -> EpollEvents {
        EpollEvents { room: vec![epoll_event { events: 0, u64: 0 }; most].into(), count: 0 }
    }

    /// Waits for events, for no longer than `timeout_ms`. A signal ends the wait.
    #[inline(always)]
    pub fn wait(&mut self, epoll: BorrowedFd<'_>, timeout_ms: c_int) -> io::Result<()> {
        let (room, most) = (self.room.as_mut_ptr(), self.room.len() as c_int);
        // SAFETY: the kernel fills the room from its beginning, with at most as many events as it
        // has place for.
        let count = unsafe { libc::epoll_wait(epoll.as_raw_fd(), room, most, timeout_ms) };
        if count < 0 {
            self.count = 0;
            return failed();
        }
        self.count = count as usize;
        Ok(())
    }

    /// The events of the last wait.
    #[inline(always)]
    pub fn iter(&self) -> impl Iterator<Item = EpollEvent> {
        let events = &self.room[..self.count];
        events.iter().map(|event| EpollEvent { token: event.u64, bits: event.events })
    }
}

impl EpollEvent {
    #[inline(always)]
    pub fn is_readable(self) -> bool {
        self.has(libc::EPOLLIN | libc::EPOLLPRI)
    }

    #[inline(always)]
    pub fn is_writable(self) -> bool {
        self.has(libc::EPOLLOUT)
    }

    /// Whether the other end has finished, or there is an error.
    #[inline(always)]
    pub fn is_ending(self) -> bool {
        self.has(libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR)
    }

    #[inline(always)]
    fn has(self, bits: c_int) -> bool {
        self.bits & bits as u32 != 0
    }
}

/// When the poll tells of a listener.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Told {
    /// In each wait in which connections wait there, or it is broken.
    InEachWait,
    /// When that has changed.
    Once,
}

/// Has the poll tell of a listener under `token`.
pub fn add_listener(
    epoll: BorrowedFd<'_>,
    listener: BorrowedFd<'_>,
    token: usize,
    told: Told,
) -> io::Result<()> {
    let events = match told {
        Told::InEachWait => libc::EPOLLIN,
        Told::Once => libc::EPOLLIN | libc::EPOLLET,
    };
    let mut event = epoll_event { events: events as u32, u64: token as u64 };
    let fd = listener.as_raw_fd();
    // SAFETY: takes open descriptors, and points to one local.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_ADD, fd, &raw mut event) })?;
    Ok(())
}

/// Has the poll tell of a listener no more.
pub fn remove_listener(epoll: BorrowedFd<'_>, listener: BorrowedFd<'_>) -> io::Result<()> {
    let fd = listener.as_raw_fd();
    // SAFETY: takes open descriptors; nothing is pointed to.
    check(unsafe { libc::epoll_ctl(epoll.as_raw_fd(), libc::EPOLL_CTL_DEL, fd, ptr::null_mut()) })?;
    Ok(())
}

#[cold]
fn failed() -> io::Result<()> {
    match check(-1) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::Shutdown;
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use mio::unix::SourceFd;
    use mio::{Interest, Poll, Token};

    use super::*;

    #[test]
    fn what_mio_has_registered_is_told_under_its_token() {
        let poll = Poll::new().expect("an epoll");
        let (near, mut far) = UnixStream::pair().expect("a pair");
        let both = Interest::READABLE | Interest::WRITABLE;
        let token = Token(1 << 30);
        poll.registry()
            .register(&mut SourceFd(&near.as_raw_fd()), token, both)
            .expect("registered");
        let mut events = EpollEvents::with_room(4);
        let mut told = |timeout_ms| {
            events.wait(poll.registry().as_fd(), timeout_ms).expect("a wait");
            let told: Vec<_> = events.iter().collect();
            assert!(told.iter().all(|event| event.token == 1 << 30), "{told:?}");
            let bits =
                |event: &EpollEvent| (event.is_readable(), event.is_writable(), event.is_ending());
            told.iter().map(bits).collect::<Vec<_>>()
        };
        assert_eq!(told(-1), [(false, true, false)]);
        assert_eq!(told(0), []);
        assert_eq!(told(1), [], "nothing has come");
        far.write_all(b"x").expect("room");
        assert_eq!(told(-1), [(true, true, false)]);
        far.shutdown(Shutdown::Write).expect("open until now");
        assert_eq!(told(-1), [(true, true, true)]);
        drop(far);
        assert_eq!(told(-1), [(true, true, true)]);
    }

    #[test]
    fn a_wait_that_cannot_be_is_an_error() {
        let (none, _far) = UnixStream::pair().expect("a pair");
        let mut events = EpollEvents::with_room(1);
        assert!(events.wait(none.as_fd(), 0).is_err());
        assert_eq!(events.iter().count(), 0);
    }
}
