//! One connection under TLS.
//!
//! No byte that has come stays inside the library unseen: a read goes on until its buffer is full
//! or the socket is empty, and tells whether there may be more. A write takes only what the library
//! can send now; the caller keeps the rest, and offers it again.

use std::io::{self, Read, Write};

use mio::net::TcpStream;
use openssl::ssl::{ErrorCode, Ssl, SslContext, SslStream};

use super::context::ALPN;
use super::material::{self, reason};
use super::name;
use crate::config::TlsMode;
use crate::pool::records::secured::Secured;
use crate::relay::{Handshake, ServerTls};

/// The socket below, and what was read of it before TLS began.
#[derive(Debug)]
pub struct Raw {
    pub socket: TcpStream,
    early: Vec<u8>,
}

impl Raw {
    pub fn new(socket: TcpStream, early: &[u8]) -> Raw {
        Raw { socket, early: early.to_vec() }
    }
}

impl Read for Raw {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.early.is_empty() {
            return self.socket.read(into);
        }
        let count = into.len().min(self.early.len());
        into[..count].copy_from_slice(&self.early[..count]);
        self.early.drain(..count);
        self.early.shrink_to_fit();
        Ok(count)
    }
}

impl Write for Raw {
    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        self.socket.write(from)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Which end of the connection the pooler is, and what it asks of the peer.
#[derive(Debug)]
enum TlsRole {
    /// `end_point` is the hash of the pooler's certificate. `is_direct`: TLS began without an
    /// SSLRequest, so ALPN must name the protocol.
    Accepts { end_point: Option<Box<[u8]>>, is_direct: bool },
    /// `must_be` is the name that the server's certificate must bear. `is_direct`: TLS began
    /// without an SSLRequest, so the server must confirm the protocol by ALPN.
    Connects { must_be: Option<Box<str>>, is_direct: bool },
}

#[derive(Debug)]
pub struct TlsSession {
    stream: SslStream<Raw>,
    role: TlsRole,
    is_open: bool,
    /// What the last read met after the bytes that it returned.
    met: Option<ReadEnd>,
}

#[derive(Debug)]
enum ReadEnd {
    End,
    Failed(io::Error),
    /// The buffer was full.
    More,
}

impl TlsSession {
    pub fn accept(
        context: &SslContext,
        end_point: Option<Box<[u8]>>,
        socket: Raw,
    ) -> Result<TlsSession, String> {
        let mut ssl = Ssl::new(context).map_err(|errors| reason(&errors))?;
        ssl.set_accept_state();
        let role = TlsRole::Accepts { end_point, is_direct: !socket.early.is_empty() };
        TlsSession::new(ssl, socket, role)
    }

    pub fn connect(
        context: &SslContext,
        server: &ServerTls,
        socket: Raw,
    ) -> Result<TlsSession, String> {
        let mut ssl = Ssl::new(context).map_err(|errors| reason(&errors))?;
        ssl.set_connect_state();
        ssl.set_alpn_protos(ALPN).map_err(|errors| reason(&errors))?;
        let is_name = server.host.parse::<std::net::IpAddr>().is_err();
        if is_name && !server.host.is_empty() {
            ssl.set_hostname(&server.host).map_err(|errors| reason(&errors))?;
        }
        let must_be = (server.mode == TlsMode::VerifyFull).then(|| server.host.clone());
        TlsSession::new(ssl, socket, TlsRole::Connects { must_be, is_direct: server.is_direct })
    }

    fn new(ssl: Ssl, socket: Raw, role: TlsRole) -> Result<TlsSession, String> {
        let stream = SslStream::new(ssl, socket).map_err(|errors| reason(&errors))?;
        Ok(TlsSession { stream, role, is_open: false, met: None })
    }

    pub fn socket(&self) -> &TcpStream {
        &self.stream.get_ref().socket
    }

    /// Goes on with the handshake as far as the socket allows.
    pub fn handshake(&mut self) -> Handshake {
        let Err(error) = self.stream.do_handshake() else { return self.opened() };
        match error.code() {
            ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => Handshake::Pending,
            _ => Handshake::Failed(self.failure(&error)),
        }
    }

    /// What went wrong, in the library's words.
    fn failure(&self, error: &openssl::ssl::Error) -> String {
        let words = match (error.ssl_error(), error.io_error()) {
            (Some(errors), _) => reason(errors),
            (None, Some(error)) => crate::log::plain(error),
            (None, None) => "the connection was closed".into(),
        };
        let verified = self.stream.ssl().verify_result();
        match words.contains("certificate verify failed") {
            true => format!("handshake failed: {words}: {}", verified.error_string()),
            false => format!("handshake failed: {words}"),
        }
    }

    fn opened(&mut self) -> Handshake {
        self.is_open = true;
        let ssl = self.stream.ssl();
        let shown = ssl.peer_certificate();
        let cipher = ssl.current_cipher().map_or("unknown", |cipher| cipher.name());
        let description = format!("{}/{cipher}", ssl.version_str()).into();
        let end_point = match &self.role {
            TlsRole::Accepts { is_direct: true, .. }
            | TlsRole::Connects { is_direct: true, .. }
                if ssl.selected_alpn_protocol().is_none() =>
            {
                return Handshake::Failed("no application protocol".into());
            }
            TlsRole::Accepts { end_point, .. } => end_point.clone(),
            TlsRole::Connects { must_be, .. } => {
                let is_right = must_be.as_ref().is_none_or(|host| {
                    shown.as_ref().is_some_and(|certificate| name::is_of(certificate, host))
                });
                if !is_right {
                    let host = must_be.as_deref().unwrap_or_default();
                    let text = format!("name \"{host}\" not present in server certificate");
                    return Handshake::Failed(text);
                }
                shown.as_deref().and_then(material::end_point)
            }
        };
        let common_name = shown.as_deref().and_then(name::common_name).map(Into::into);
        let other_names = shown.as_deref().map(name::hosts).unwrap_or_default();
        let is_resumed = ssl.session_reused();
        Handshake::Done(Box::new(Secured {
            description,
            end_point,
            is_resumed,
            common_name,
            other_names,
        }))
    }

    /// Whether a read may bring more at once.
    pub fn holds_more(&self) -> bool {
        self.met.is_some()
    }

    pub fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.met.take() {
            Some(ReadEnd::End) => return Ok(0),
            Some(ReadEnd::Failed(error)) => return Err(error),
            Some(ReadEnd::More) | None => {}
        }
        let mut count = 0;
        while count < into.len() {
            match self.stream.ssl_read(&mut into[count..]) {
                Ok(more) => count += more,
                Err(error) => match outcome(error) {
                    None => break,
                    Some(met) if count > 0 => {
                        self.met = Some(met);
                        return Ok(count);
                    }
                    Some(ReadEnd::Failed(error)) => return Err(error),
                    Some(ReadEnd::End | ReadEnd::More) => return Ok(0),
                },
            }
        }
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.met = (count == into.len()).then_some(ReadEnd::More);
        Ok(count)
    }

    pub fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        let mut count = 0;
        while count < from.len() {
            match self.stream.ssl_write(&from[count..]) {
                Ok(more) => count += more,
                Err(error) => match outcome(error) {
                    None if count > 0 => return Ok(count),
                    None => return Err(io::ErrorKind::WouldBlock.into()),
                    Some(ReadEnd::Failed(error)) => return Err(error),
                    Some(ReadEnd::End | ReadEnd::More) => {
                        return Err(io::ErrorKind::BrokenPipe.into());
                    }
                },
            }
        }
        Ok(count)
    }

    /// Sends close_notify, as far as the socket takes it.
    pub fn close(&mut self) {
        if self.is_open {
            // A peer that is gone already needs no goodbye.
            let _ = self.stream.shutdown();
        }
    }
}

/// What the library's error means; None when the library waits for the socket.
fn outcome(error: openssl::ssl::Error) -> Option<ReadEnd> {
    match error.code() {
        ErrorCode::WANT_READ | ErrorCode::WANT_WRITE => None,
        ErrorCode::ZERO_RETURN => Some(ReadEnd::End),
        _ => Some(match error.into_io_error() {
            Ok(error) => ReadEnd::Failed(error),
            Err(error) => match error.ssl_error() {
                Some(errors) => {
                    ReadEnd::Failed(io::Error::other(format!("TLS: {}", reason(errors))))
                }
                // The stream has ended within a record.
                None => ReadEnd::End,
            },
        }),
    }
}
