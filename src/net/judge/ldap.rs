//! A conversation with an LDAP directory over a connection of its own, with one time limit for the
//! whole conversation. This code blocks, so it runs on a helper thread.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use crate::auth::inquiry::Judgement;
use crate::auth::ldap::{self, Cover, Dialogue, Directory, Next};
use crate::auth::secret::Password;
use crate::base::wipe::wipe;
use crate::net::resolve;

/// The time limit for all hosts of a directory together, from the first connection to the last
/// answer.
const LIMIT: Duration = Duration::from_secs(10);

/// Asks the hosts of a directory about a user, one after the other until one can be reached.
pub fn ask(directory: &Directory, user: &str, password: &Password) -> Judgement {
    let limit = Deadline { end: Instant::now() + LIMIT };
    let mut why = String::new();
    for (at, host) in directory.hosts.iter().enumerate() {
        // A silent host must not use up the time of the hosts after it.
        let share = limit.left().map(|left| left / (directory.hosts.len() - at) as u32);
        let connected = share.and_then(|share| connect(host, directory.port, share));
        match connected {
            Ok(stream) => {
                let mut line =
                    DirectoryConnection { stream: DirectoryStream::Plain(stream), limit };
                return talk(directory, user, password, host, &mut line);
            }
            Err(error) => why = format!("no answer from LDAP server {host}: {}", words(&error)),
        }
    }
    Err(why)
}

fn connect(host: &str, port: u16, share: Duration) -> io::Result<TcpStream> {
    let end = Instant::now() + share;
    let mut last = io::Error::from(ErrorKind::NotFound);
    for address in (host, port).to_socket_addrs()? {
        match connect_before(&address, end) {
            Ok(stream) => return Ok(stream),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_before(address: &SocketAddr, end: Instant) -> io::Result<TcpStream> {
    let left = end.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return Err(ErrorKind::TimedOut.into());
    }
    let stream = TcpStream::connect_timeout(address, left)?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

fn talk(
    directory: &Directory,
    user: &str,
    password: &Password,
    host: &str,
    line: &mut DirectoryConnection,
) -> Judgement {
    let broken = |error: io::Error| format!("no answer from LDAP server {host}: {}", words(&error));
    if directory.cover == Cover::Ldaps {
        line.secure(host).map_err(|why| format!("TLS with LDAP server {host} failed: {why}"))?;
    }
    let mut dialogue = Dialogue::new(directory, user, password);
    let mut next = dialogue.begin(host);
    loop {
        next = match next {
            Next::Send(mut bytes) => {
                let sent = line.send(&bytes);
                wipe(&mut bytes);
                sent.map_err(broken)?;
                dialogue.received(&line.receive().map_err(broken)?)
            }
            Next::Read => dialogue.received(&line.receive().map_err(broken)?),
            Next::Secure => {
                let failed = |why| format!("TLS with LDAP server {host} failed: {why}");
                line.secure(host).map_err(failed)?;
                dialogue.secured()
            }
            Next::Done(Ok(())) => return Ok(()),
            Next::Done(Err(fault)) => return Err(fault.to_string()),
        };
    }
}

/// When the conversation must end, whatever happens in it.
#[derive(Clone, Copy)]
struct Deadline {
    end: Instant,
}

impl Deadline {
    fn left(&self) -> io::Result<Duration> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

/// A connection, in clear or under TLS.
enum DirectoryStream {
    Plain(TcpStream),
    #[cfg(feature = "tls")]
    Tls(Box<openssl::ssl::SslStream<TcpStream>>),
    /// Neither, for as long as the connection is being put under TLS.
    #[cfg_attr(not(feature = "tls"), allow(dead_code, reason = "only TLS needs it"))]
    Nothing,
}

struct DirectoryConnection {
    stream: DirectoryStream,
    limit: Deadline,
}

impl DirectoryConnection {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.set_limit()?;
        match &mut self.stream {
            DirectoryStream::Plain(stream) => stream.write_all(bytes),
            #[cfg(feature = "tls")]
            DirectoryStream::Tls(stream) => stream.write_all(bytes),
            DirectoryStream::Nothing => Err(ErrorKind::NotConnected.into()),
        }
    }

    /// Reads one message and not a byte after it: the bytes after the agreement on TLS belong to
    /// TLS.
    fn receive(&mut self) -> io::Result<Vec<u8>> {
        let mut message = Vec::new();
        let whole = loop {
            match ldap::frame(&message) {
                Ok(Some(len)) => break len,
                Ok(None) => self.read_up_to(&mut message, 1)?,
                Err(_) => return Err(ErrorKind::InvalidData.into()),
            }
        };
        while message.len() < whole {
            let missing = whole - message.len();
            self.read_up_to(&mut message, missing)?;
        }
        Ok(message)
    }

    fn read_up_to(&mut self, message: &mut Vec<u8>, most: usize) -> io::Result<()> {
        // Before each read, so that a directory that sends a byte a second does not go on for ever.
        self.set_limit()?;
        let mut block = [0; 4096];
        let room = &mut block[..most.min(4096)];
        let len = match &mut self.stream {
            DirectoryStream::Plain(stream) => stream.read(room)?,
            #[cfg(feature = "tls")]
            DirectoryStream::Tls(stream) => stream.read(room)?,
            DirectoryStream::Nothing => 0,
        };
        match len {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => {
                message.extend_from_slice(&block[..len]);
                Ok(())
            }
        }
    }

    fn set_limit(&self) -> io::Result<()> {
        let left = Some(self.limit.left()?);
        let stream = match &self.stream {
            DirectoryStream::Plain(stream) => stream,
            #[cfg(feature = "tls")]
            DirectoryStream::Tls(stream) => stream.get_ref(),
            DirectoryStream::Nothing => return Err(ErrorKind::NotConnected.into()),
        };
        stream.set_read_timeout(left)?;
        stream.set_write_timeout(left)
    }

    /// Puts the connection under TLS, with a certificate that the system's authorities vouch for
    /// and that bears the host's name.
    #[cfg(feature = "tls")]
    fn secure(&mut self, host: &str) -> Result<(), String> {
        self.set_limit().map_err(|error| words(&error))?;
        let DirectoryStream::Plain(stream) =
            std::mem::replace(&mut self.stream, DirectoryStream::Nothing)
        else {
            return Err("it is under TLS already".to_owned());
        };
        let secured = super::tls::secure(host, stream)?;
        self.stream = DirectoryStream::Tls(Box::new(secured));
        Ok(())
    }

    #[cfg(not(feature = "tls"))]
    fn secure(&mut self, _: &str) -> Result<(), String> {
        Err("this program was built without TLS".to_owned())
    }
}

/// The words for an error. The timeout of a socket comes as `WouldBlock`.
fn words(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::TimedOut | ErrorKind::WouldBlock => "timed out".to_owned(),
        ErrorKind::UnexpectedEof => "it closed the connection".to_owned(),
        ErrorKind::InvalidData => "what it sent is no message of LDAP".to_owned(),
        _ => resolve::words(error),
    }
}
