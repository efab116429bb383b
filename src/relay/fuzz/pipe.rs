//! Connections in memory that behave as the script says.

use std::io;
use std::net::IpAddr;

use super::watch::{Side, SideWatch};
use crate::auth::inquiry::Inquiry;
use crate::base::time::Now;
use crate::log::{Ends, PeerAddress};
use crate::pool::core::Target;
use crate::pool::ids::{ClientId, Outbound};
use crate::pool::telling::journal::JournalLine;
use crate::relay::{ConnId, Handshake, Io, NotBegun, ServerTls, Stream};

/// How the far end has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum End {
    Broken,
    /// The far end sends nothing after the bytes that have arrived.
    Finished,
}

pub struct Pipe {
    /// Bytes for the pooler to read.
    pub arrived: Vec<u8>,
    pub end: Option<End>,
    /// How many more bytes the far end takes.
    pub room: usize,
    watch: SideWatch,
    /// The kinds of the messages that the pooler has written.
    pub written: Vec<u8>,
}

impl Pipe {
    pub fn to_client() -> Pipe {
        Pipe::new(Side::Client)
    }

    fn new(side: Side) -> Pipe {
        let watch = SideWatch::new(side);
        Pipe { arrived: Vec::new(), end: None, room: usize::MAX, watch, written: Vec::new() }
    }
}

impl Stream for Pipe {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        match self.end {
            Some(End::Broken) => return Err(io::ErrorKind::ConnectionReset.into()),
            Some(End::Finished) if self.arrived.is_empty() => return Ok(0),
            None if self.arrived.is_empty() => return Err(io::ErrorKind::WouldBlock.into()),
            Some(End::Finished) | None => {}
        }
        let count = into.len().min(self.arrived.len());
        into[..count].copy_from_slice(&self.arrived[..count]);
        self.arrived.drain(..count);
        Ok(count)
    }

    fn write(&mut self, from: &[u8]) -> io::Result<usize> {
        if self.end == Some(End::Broken) {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        let count = from.len().min(self.room);
        if count == 0 {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        self.room -= if self.room == usize::MAX { 0 } else { count };
        self.written.append(&mut self.watch.see(&from[..count]));
        Ok(count)
    }
}

/// The system below the relay.
#[derive(Default)]
pub struct PipeNetwork {
    /// Connections to servers that are not established yet.
    pub begun: Vec<Outbound>,
    /// The kinds of all messages on connections that are closed.
    pub sent: Vec<u8>,
}

impl Io for PipeNetwork {
    type Stream = Pipe;

    fn connect(&mut self, id: Outbound, _: &Target) -> Result<Pipe, NotBegun> {
        self.begun.push(id);
        Ok(Pipe::new(Side::Server))
    }

    fn connected(&mut self, pipe: &Pipe) -> Result<Option<Ends>, String> {
        let peer = |port| PeerAddress::Tcp { ip: IpAddr::from([127, 0, 0, 1]), port };
        match pipe.end {
            Some(End::Broken) => Err("Connection refused".into()),
            Some(End::Finished) | None => Ok(Some((peer(5432), peer(40_000)))),
        }
    }

    fn close(&mut self, mut pipe: Pipe) {
        self.sent.append(&mut pipe.written);
    }

    fn secure_client(&mut self, _: &mut Self::Stream, _: &[u8]) -> Result<(), String> {
        Err("no TLS here".into())
    }

    fn secure_server(&mut self, _: &mut Self::Stream, _: &ServerTls) -> Result<(), String> {
        Err("no TLS here".into())
    }

    fn handshake(&mut self, _: &mut Self::Stream) -> Handshake {
        Handshake::Failed("no TLS here".into())
    }

    fn hear_of_room(&mut self, _: ConnId, _: &mut Pipe, _: bool) -> io::Result<bool> {
        Ok(true)
    }

    fn resolve(&mut self, _: String) {}

    fn inquire(&mut self, _: ClientId, _: Inquiry) {}

    fn log(&mut self, _: Now, _: Vec<JournalLine>) {}
}
