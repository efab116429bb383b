//! How a connection is named at the start of its lines:
//! `C-0x55fe6b182c40: db/user@addr:port `.

use std::fmt;
use std::net::IpAddr;

/// Which side of the pooler a connection is on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionSide {
    Client,
    Server,
}

/// The address of the other end of a connection.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum PeerAddress {
    Tcp {
        ip: IpAddr,
        port: u16,
    },
    /// A Unix socket; it is named by the port in its path, and by the process where it is known.
    Unix {
        pid: Option<i32>,
        port: u16,
    },
}

/// The addresses of a connection: the peer's, and the pooler's.
pub type Ends = (PeerAddress, PeerAddress);

impl From<&PeerAddress> for Box<PeerAddress> {
    fn from(peer: &PeerAddress) -> Self {
        Box::new(*peer)
    }
}

/// The words that stand before a message about a connection, with the blank that ends them.
#[derive(Clone, Copy, Debug)]
pub struct Prefix<'a> {
    pub side: ConnectionSide,
    pub ptr: Ptr,
    pub who: ConnectionOwner<'a>,
    pub peer: PeerAddress,
}

/// For whom a connection is open.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnectionOwner<'a> {
    /// A name is None before the login has told it, or if it does not exist.
    Login { database: Option<&'a str>, user: Option<&'a str> },
    /// A cancel request on its way to another pooler: its number in the `[peers]` section.
    Pooler { id: u32 },
}

/// The name of a connection in the log and in the console's `ptr` columns. Tools take it for an
/// address and hand it back to `KILL_CLIENT`, so it has the form of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Ptr(pub u64);

/// Where the made-up addresses begin: where Linux puts the heap of a program like this one.
const PTR_BASE: u64 = 0x5500_0000_0000;
/// The step between two ids.
const PTR_STEP: u64 = 64;

/// The name of connection number `id` on that side: always the same for the same number, and
/// different for any two numbers below 2^40.
pub fn ptr(id: u64, side: ConnectionSide) -> Ptr {
    let offset = match side {
        ConnectionSide::Client => 0,
        ConnectionSide::Server => PTR_STEP / 2,
    };
    Ptr(PTR_BASE.wrapping_add(id.wrapping_mul(PTR_STEP)).wrapping_add(offset))
}

impl fmt::Display for Ptr {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "0x{:x}", self.0)
    }
}

impl PeerAddress {
    /// The address of a server that is not connected yet.
    pub const NOWHERE: PeerAddress = PeerAddress::Unix { pid: None, port: 0 };
}

impl Prefix<'_> {
    /// The name of the connection: `C-0x55fe6b182c40`.
    pub fn connection(&self) -> String {
        let letter = match self.side {
            ConnectionSide::Client => 'C',
            ConnectionSide::Server => 'S',
        };
        format!("{letter}-{}", self.ptr)
    }
}

impl fmt::Display for PeerAddress {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            PeerAddress::Tcp { ip: IpAddr::V4(ip), port } => write!(f, "{ip}:{port}"),
            PeerAddress::Tcp { ip: IpAddr::V6(ip), port } => write!(f, "[{ip}]:{port}"),
            PeerAddress::Unix { pid: Some(pid), port } => write!(f, "unix({pid}):{port}"),
            PeerAddress::Unix { pid: None, port } => write!(f, "unix:{port}"),
        }
    }
}

impl fmt::Display for Prefix<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}@", self.connection(), self.who)?;
        match (self.side, self.peer) {
            (ConnectionSide::Server, PeerAddress::NOWHERE) => f.write_str("(bad-af):0 "),
            (ConnectionSide::Server, PeerAddress::Unix { port, .. }) => write!(f, "unix:{port} "),
            (_, peer) => write!(f, "{peer} "),
        }
    }
}

impl fmt::Display for ConnectionOwner<'_> {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        match self {
            ConnectionOwner::Login { database, user } => {
                let (database, user) = (database.unwrap_or("(nodb)"), user.unwrap_or("(nouser)"));
                write!(f, "{database}/{user}")
            }
            ConnectionOwner::Pooler { id } => write!(f, "peer-{id}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_is_named_as_log_readers_know_it() {
        let ip = |text: &str| text.parse().expect("an address");
        let prefix = |side, database, user, peer| {
            let who = ConnectionOwner::Login { database, user };
            Prefix { side, ptr: Ptr(0x55fe_6b18_2c40), who, peer }.to_string()
        };
        assert_eq!(
            prefix(
                ConnectionSide::Client,
                Some("db"),
                Some("me"),
                PeerAddress::Tcp { ip: ip("10.0.0.7"), port: 5000 }
            ),
            "C-0x55fe6b182c40: db/me@10.0.0.7:5000 "
        );
        assert_eq!(
            prefix(
                ConnectionSide::Client,
                None,
                None,
                PeerAddress::Tcp { ip: ip("::1"), port: 5000 }
            ),
            "C-0x55fe6b182c40: (nodb)/(nouser)@[::1]:5000 "
        );
        assert_eq!(
            prefix(
                ConnectionSide::Client,
                Some("db"),
                None,
                PeerAddress::Unix { pid: Some(77), port: 6432 }
            ),
            "C-0x55fe6b182c40: db/(nouser)@unix(77):6432 "
        );
        assert_eq!(
            prefix(
                ConnectionSide::Server,
                Some("db"),
                Some("me"),
                PeerAddress::Unix { pid: None, port: 5432 }
            ),
            "S-0x55fe6b182c40: db/me@unix:5432 "
        );
        for (pid, port, words) in [(Some(7), 5432, "unix:5432"), (None, 0, "(bad-af):0")] {
            let line = prefix(
                ConnectionSide::Server,
                Some("db"),
                Some("me"),
                PeerAddress::Unix { pid, port },
            );
            assert_eq!(line, format!("S-0x55fe6b182c40: db/me@{words} "));
        }
        let peer = PeerAddress::Tcp { ip: ip("10.0.0.8"), port: 6432 };
        let who = ConnectionOwner::Pooler { id: 2 };
        assert_eq!(
            Prefix { side: ConnectionSide::Server, ptr: Ptr(0x55fe_6b18_2c40), who, peer }
                .to_string(),
            "S-0x55fe6b182c40: peer-2@10.0.0.8:6432 "
        );
    }

    #[test]
    fn two_connections_never_share_a_name() {
        assert_ne!(ptr(7, ConnectionSide::Client), ptr(7, ConnectionSide::Server));
        assert_ne!(ptr(7, ConnectionSide::Server), ptr(8, ConnectionSide::Client));
        assert_eq!(ptr(1, ConnectionSide::Client).to_string(), "0x550000000040");
        // Even past what a process can count to, nothing overflows.
        let _ = ptr(u64::MAX, ConnectionSide::Server);
    }
}
