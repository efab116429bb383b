//! Has a listening socket take connections that are being set up, and no new ones: a filter in
//! front of it drops each packet that would begin a connection. The client sends that packet again
//! a second later, and reaches the process that listens on the port by then. Newer kernels let only
//! the superuser put a filter in front of TCP; for other users the queue of the socket is made so
//! short that one connection fills it.
//!
//! Source: Linux, Documentation/networking/filter.rst; RFC 9293 for the head of a TCP packet.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use libc::{c_void, sock_filter, sock_fprog, socklen_t};

use super::check;

/// Where the flags stand in the head of a TCP packet, and which of them tell that it is the first
/// of a connection: SYN without ACK.
const FLAGS_OFFSET: u32 = 13;
const SYN: u32 = 0x02;
const SYN_AND_ACK: u32 = 0x12;

/// Has the kernel drop packets that would begin a connection to this socket, except one at most.
/// Connections that have begun are accepted as before.
pub fn turn_away_new(socket: BorrowedFd) -> io::Result<()> {
    drop_first_packets(socket).or_else(|_| super::socket::listen(socket, 0))
}

fn drop_first_packets(socket: BorrowedFd) -> io::Result<()> {
    let mut program = [
        step(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, FLAGS_OFFSET, 0),
        step(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, SYN_AND_ACK, 0),
        step(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, SYN, 1),
        step(libc::BPF_RET | libc::BPF_K, 0, 0),
        step(libc::BPF_RET | libc::BPF_K, u32::MAX, 0),
    ];
    let filter = sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    let pointer = (&raw const filter).cast::<c_void>();
    let (level, name) = (libc::SOL_SOCKET, libc::SO_ATTACH_FILTER);
    let size = size_of::<sock_fprog>() as socklen_t;
    // SAFETY: the pointers are those of locals that outlive the call, which copies the program.
    check(unsafe { libc::setsockopt(socket.as_raw_fd(), level, name, pointer, size) })?;
    Ok(())
}

/// One instruction; a comparison that is not true skips the next `skip` instructions.
fn step(code: u32, operand: u32, skip: u8) -> sock_filter {
    sock_filter { code: code as u16, jt: 0, jf: skip, k: operand }
}

#[cfg(test)]
mod tests {
    use std::net::{SocketAddr, TcpListener, TcpStream};
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;

    fn connect_late(address: SocketAddr) -> io::Result<TcpStream> {
        TcpStream::connect_timeout(&address, Duration::from_millis(100))
    }

    fn would_block(listener: &TcpListener) -> bool {
        listener.set_nonblocking(true).unwrap();
        listener.accept().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock)
    }

    #[test]
    fn who_came_before_is_accepted_and_who_comes_later_is_not_answered() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else { continue };
            let address = listener.local_addr().unwrap();
            let _before = TcpStream::connect(address).unwrap();
            if let Err(error) = drop_first_packets(listener.as_fd()) {
                assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
                eprintln!("SKIPPED: the superuser alone may put a filter in front of TCP here");
                return;
            }
            assert_eq!(connect_late(address).unwrap_err().kind(), io::ErrorKind::TimedOut);
            listener.accept().unwrap();
            assert!(would_block(&listener));
        }
    }

    #[test]
    fn without_a_filter_one_more_comes_in_at_most() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _before: Vec<_> = (0..3).map(|_| TcpStream::connect(address).unwrap()).collect();
        super::super::socket::listen(listener.as_fd(), 0).unwrap();
        assert_eq!(connect_late(address).unwrap_err().kind(), io::ErrorKind::TimedOut);
        (0..3).for_each(|_| drop(listener.accept().unwrap()));
        let _one = connect_late(address).unwrap();
        assert_eq!(connect_late(address).unwrap_err().kind(), io::ErrorKind::TimedOut);
        listener.accept().unwrap();
        assert!(would_block(&listener));
    }
}
