//! Messages as the simulated peers read and write them.

use super::bytes::Bytes;
use crate::wire::build::Message;
use crate::wire::fields;
use crate::wire::kind::{Back, Front};

/// A complete message.
#[derive(Clone, PartialEq, Eq)]
pub struct Packet {
    pub kind: u8,
    pub body: Vec<u8>,
}

impl std::fmt::Debug for Packet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text: String = self
            .body
            .iter()
            .take(120)
            .flat_map(|b| std::ascii::escape_default(*b))
            .map(char::from)
            .collect();
        write!(f, "{}[{}]{text}", char::from(self.kind), self.body.len())
    }
}

impl Packet {
    pub fn report(&self) -> fields::ReportFields {
        fields::ReportFields::parse(&self.body)
    }

    pub fn is_fatal(&self) -> bool {
        self.kind == Back::ErrorResponse as u8 && self.report().severity == "FATAL"
    }
}

/// Takes the next complete message, if it has come.
pub fn next(inbox: &mut Bytes) -> Option<Packet> {
    let rest = inbox.rest();
    let length = u32::from_be_bytes(rest.get(1..5)?.try_into().ok()?) as usize;
    let packet = Packet { kind: rest[0], body: rest.get(5..length + 1)?.to_vec() };
    inbox.skip(length + 1);
    Some(packet)
}

pub fn front(kind: Front, body: &[u8]) -> Packet {
    Packet { kind: kind as u8, body: body.to_vec() }
}

pub fn back(kind: Back, body: &[u8]) -> Packet {
    Packet { kind: kind as u8, body: body.to_vec() }
}

pub fn push(out: &mut Bytes, packet: &Packet) {
    let length = packet.body.len() as u32 + 4;
    out.push(&[packet.kind]);
    out.push(&length.to_be_bytes());
    out.push(&packet.body);
}

pub fn query(text: &str) -> Packet {
    front(Front::Query, &cstr(text))
}

pub fn parse(name: &str, text: &str, types: &[u32]) -> Packet {
    let mut body = [cstr(name), cstr(text)].concat();
    body.extend((types.len() as u16).to_be_bytes());
    types.iter().for_each(|kind| body.extend(kind.to_be_bytes()));
    front(Front::Parse, &body)
}

pub fn bind(portal: &str, name: &str, values: &[Vec<u8>]) -> Packet {
    let mut body = [cstr(portal), cstr(name)].concat();
    body.extend(0u16.to_be_bytes());
    body.extend((values.len() as u16).to_be_bytes());
    for value in values {
        body.extend((value.len() as u32).to_be_bytes());
        body.extend(value);
    }
    body.extend(0u16.to_be_bytes());
    front(Front::Bind, &body)
}

pub fn execute(portal: &str, most: u32) -> Packet {
    front(Front::Execute, &[cstr(portal), most.to_be_bytes().to_vec()].concat())
}

/// Describe or Close of a statement (`S`) or portal (`P`).
pub fn named(kind: Front, what: u8, name: &str) -> Packet {
    front(kind, &[vec![what], cstr(name)].concat())
}

pub fn sync() -> Packet {
    front(Front::Sync, b"")
}

/// An ErrorResponse or NoticeResponse of a server.
pub fn report(kind: Back, severity: &str, sqlstate: &str, text: &str) -> Packet {
    let mut bytes = Vec::new();
    let fields = [(b'S', severity), (b'V', severity), (b'C', sqlstate), (b'M', text)];
    let mut message = Message::back(&mut bytes, kind);
    for (code, text) in fields {
        message = message.u8(code).cstr(text);
    }
    message.u8(0).end();
    back(kind, &bytes[5..])
}

pub fn cstr(text: &str) -> Vec<u8> {
    [text.as_bytes(), b"\0"].concat()
}
