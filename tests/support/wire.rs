//! One connection of the PostgreSQL protocol, seen from either end, message by message or byte by
//! byte. It knows no more of the protocol than heads and a few fields, so it can send anything.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use super::PATIENCE;

pub struct Wire {
    pub stream: TcpStream,
    inbox: Vec<u8>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub kind: u8,
    pub body: Vec<u8>,
}

/// Why no message came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The peer closed or reset the connection.
    Closed,
    /// Nothing came within the time given.
    Silent,
}

impl Wire {
    /// Connects to a port of this machine and sends nothing.
    pub fn connect(port: u16) -> Wire {
        Wire::new(TcpStream::connect(("127.0.0.1", port)).expect("somebody who listens"))
    }

    pub fn new(stream: TcpStream) -> Wire {
        stream.set_nodelay(true).expect("a socket that is open");
        stream.set_write_timeout(Some(PATIENCE)).expect("a socket that is open");
        Wire { stream, inbox: Vec::new() }
    }

    /// Sends bytes as they are; false when the peer has gone.
    pub fn send(&mut self, bytes: &[u8]) -> bool {
        self.stream.write_all(bytes).is_ok()
    }

    /// Sends a message with a correct head.
    pub fn say(&mut self, kind: u8, body: &[u8]) -> bool {
        self.send(&message(kind, body))
    }

    /// The next message, within `PATIENCE`.
    pub fn hear(&mut self) -> Result<Message, Gone> {
        self.hear_within(PATIENCE)
    }

    pub fn hear_within(&mut self, limit: Duration) -> Result<Message, Gone> {
        let end = Instant::now() + limit;
        self.fill(5, end)?;
        let length = u32::from_be_bytes([1, 2, 3, 4].map(|i| self.inbox[i])) as usize;
        assert!(length >= 4, "a message of {length} bytes was received");
        self.fill(1 + length, end)?;
        let bytes: Vec<u8> = self.inbox.drain(..1 + length).collect();
        Ok(Message { kind: bytes[0], body: bytes[5..].to_vec() })
    }

    /// A startup packet (no kind byte), seen from the server: its code and what follows.
    pub fn hear_startup(&mut self) -> Result<(u32, Vec<u8>), Gone> {
        let end = Instant::now() + PATIENCE;
        self.fill(8, end)?;
        let number = |at: usize| u32::from_be_bytes([0, 1, 2, 3].map(|i| self.inbox[at + i]));
        let (length, code) = (number(0) as usize, number(4));
        self.fill(length, end)?;
        let bytes: Vec<u8> = self.inbox.drain(..length).collect();
        Ok((code, bytes[8..].to_vec()))
    }

    /// Messages up to and including ReadyForQuery.
    pub fn hear_until_ready(&mut self) -> Result<Vec<Message>, Gone> {
        self.hear_until(|m| m.kind == b'Z')
    }

    /// Messages up to and including the first that is `last`.
    pub fn hear_until(&mut self, last: impl Fn(&Message) -> bool) -> Result<Vec<Message>, Gone> {
        let mut all = Vec::new();
        while !all.last().is_some_and(&last) {
            all.push(self.hear()?);
        }
        Ok(all)
    }

    /// Everything that still comes until the peer closes; fails when it does not close.
    pub fn hear_to_the_end(&mut self) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            match self.hear() {
                Ok(message) => all.push(message),
                Err(Gone::Closed) => return all,
                Err(Gone::Silent) => panic!("the connection stays open after {all:?}"),
            }
        }
    }

    /// Every byte that still comes until the peer closes; None when it does not close.
    pub fn hear_bytes_to_the_end(&mut self) -> Option<Vec<u8>> {
        match self.fill(usize::MAX, Instant::now() + PATIENCE) {
            Err(Gone::Closed) => Some(std::mem::take(&mut self.inbox)),
            _ => None,
        }
    }

    /// The next `count` bytes, whatever they are.
    pub fn hear_bytes(&mut self, count: usize) -> Result<Vec<u8>, Gone> {
        self.fill(count, Instant::now() + PATIENCE)?;
        Ok(self.inbox.drain(..count).collect())
    }

    /// Ends our half of the connection; the peer may still send.
    pub fn finish(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    fn fill(&mut self, size: usize, end: Instant) -> Result<(), Gone> {
        let mut block = [0; 65_536];
        while self.inbox.len() < size {
            let left = end.saturating_duration_since(Instant::now());
            let left = left.max(Duration::from_millis(1));
            self.stream.set_read_timeout(Some(left)).map_err(|_| Gone::Closed)?;
            match self.stream.read(&mut block) {
                Ok(0) => return Err(Gone::Closed),
                Ok(n) => self.inbox.extend_from_slice(&block[..n]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return Err(Gone::Silent);
                }
                Err(_) => return Err(Gone::Closed),
            }
        }
        Ok(())
    }
}

impl Message {
    /// The fields of an ErrorResponse or NoticeResponse.
    pub fn field(&self, code: char) -> Option<String> {
        let mut parts = self.body.split(|b| *b == 0);
        let part = parts.find(|part| part.first() == Some(&(code as u8)))?;
        Some(String::from_utf8_lossy(&part[1..]).into_owned())
    }

    /// The values of a DataRow.
    pub fn values(&self) -> Vec<Option<String>> {
        let mut rest = &self.body[2..];
        let mut values = Vec::new();
        while let Some((head, tail)) = rest.split_at_checked(4) {
            let length = i32::from_be_bytes(head.try_into().expect("four bytes"));
            let (value, tail) = tail.split_at(length.max(0) as usize);
            values.push((length >= 0).then(|| String::from_utf8_lossy(value).into_owned()));
            rest = tail;
        }
        values
    }

    /// The body as text without its last zero byte: a command tag, an authentication mechanism.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(self.body.strip_suffix(&[0]).unwrap_or(&self.body)).into_owned()
    }

    pub fn number(&self) -> u32 {
        u32::from_be_bytes(self.body[..4].try_into().expect("four bytes"))
    }
}

pub const PROTOCOL_3_0: u32 = 0x0003_0000;
pub const CANCEL: u32 = 80_877_102;
pub const SSL_REQUEST: u32 = 80_877_103;

pub fn message(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![kind];
    bytes.extend_from_slice(&(body.len() as u32 + 4).to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

/// A packet of the startup phase: length, code, body.
pub fn packet(code: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = (body.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend_from_slice(&code.to_be_bytes());
    bytes.extend_from_slice(body);
    bytes
}

pub fn startup(parameters: &[(&str, &str)]) -> Vec<u8> {
    startup_by(0, parameters)
}

/// A startup packet of protocol 3.`minor`.
pub fn startup_by(minor: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body: Vec<u8> =
        parameters.iter().flat_map(|(k, v)| format!("{k}\0{v}\0").into_bytes()).collect();
    body.push(0);
    packet(PROTOCOL_3_0 + minor, &body)
}

pub fn query(sql: &str) -> Vec<u8> {
    message(b'Q', format!("{sql}\0").as_bytes())
}

pub fn parse(name: &str, sql: &str) -> Vec<u8> {
    message(b'P', format!("{name}\0{sql}\0\0\0").as_bytes())
}

/// A Bind of the unnamed portal, parameters and results as text.
pub fn bind(statement: &str, values: &[&str]) -> Vec<u8> {
    let values: Vec<Option<&str>> = values.iter().copied().map(Some).collect();
    bind_portal("", statement, &values, &[])
}

/// A Bind with parameters as text, and the formats of the results.
pub fn bind_portal(
    portal: &str,
    statement: &str,
    values: &[Option<&str>],
    formats: &[u16],
) -> Vec<u8> {
    let mut body = format!("{portal}\0{statement}\0").into_bytes();
    body.extend_from_slice(&[0, 0]);
    body.extend_from_slice(&(values.len() as u16).to_be_bytes());
    for value in values {
        let length = value.map_or(-1, |value| value.len() as i32);
        body.extend_from_slice(&length.to_be_bytes());
        body.extend_from_slice(value.unwrap_or_default().as_bytes());
    }
    body.extend_from_slice(&(formats.len() as u16).to_be_bytes());
    formats.iter().for_each(|format| body.extend_from_slice(&format.to_be_bytes()));
    message(b'B', &body)
}

pub fn describe_statement(name: &str) -> Vec<u8> {
    named(b'D', 'S', name)
}

/// A Describe or Close of a statement ('S') or a portal ('P').
pub fn named(kind: u8, what: char, name: &str) -> Vec<u8> {
    message(kind, format!("{what}{name}\0").as_bytes())
}

/// An Execute of the unnamed portal, all rows.
pub fn execute() -> Vec<u8> {
    execute_portal("", 0)
}

/// An Execute of so many rows, 0 for all.
pub fn execute_portal(portal: &str, rows: u32) -> Vec<u8> {
    message(b'E', &[format!("{portal}\0").as_bytes(), &rows.to_be_bytes()].concat())
}

/// A FunctionCall without arguments.
pub fn call(function: u32) -> Vec<u8> {
    message(b'F', &[&function.to_be_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat())
}

pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

/// An ErrorResponse with these fields.
pub fn error(fields: &[(char, &str)]) -> Vec<u8> {
    let mut body: Vec<u8> =
        fields.iter().flat_map(|(code, text)| format!("{code}{text}\0").into_bytes()).collect();
    body.push(0);
    message(b'E', &body)
}

pub fn row_description(columns: &[&str]) -> Vec<u8> {
    let mut body = (columns.len() as u16).to_be_bytes().to_vec();
    for name in columns {
        body.extend_from_slice(name.as_bytes());
        // No table, no column, type text, variable length, no modifier, text format.
        body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25, 255, 255, 255, 255, 255, 255]);
        body.extend_from_slice(&[0, 0]);
    }
    message(b'T', &body)
}

pub fn data_row(values: &[&[u8]]) -> Vec<u8> {
    let mut body = (values.len() as u16).to_be_bytes().to_vec();
    for value in values {
        body.extend_from_slice(&(value.len() as u32).to_be_bytes());
        body.extend_from_slice(value);
    }
    message(b'D', &body)
}

pub fn ready(state: u8) -> Vec<u8> {
    message(b'Z', &[state])
}
