//! A server that answers whatever it is asked, in order, as PostgreSQL would if nothing of it
//! failed. Behind it, hostile clients come further than behind hostile servers: to the ends of
//! transactions, and to what a session is left with.

use super::bytes::Bytes;
use super::wire::{self, Packet, back, report};
use crate::wire::kind::{Back, Front};

/// One session with such a server.
#[derive(Default)]
pub struct Obliging {
    inbox: Bytes,
    has_begun: bool,
    in_block: bool,
}

impl Obliging {
    /// Takes what has come, and appends the answers.
    pub fn hear(&mut self, bytes: &[u8], out: &mut Bytes) {
        // The startup packet is no message.
        if !std::mem::replace(&mut self.has_begun, true) {
            return;
        }
        self.inbox.push(bytes);
        while let Some(packet) = wire::next(&mut self.inbox) {
            self.answer(&packet, out);
        }
    }

    fn answer(&mut self, packet: &Packet, out: &mut Bytes) {
        let is_kind = |kind: Front| packet.kind == kind as u8;
        if is_kind(Front::Query) {
            self.run(&packet.body, out);
            return self.be_ready(out);
        }
        if is_kind(Front::Sync) || is_kind(Front::FunctionCall) {
            return self.be_ready(out);
        }
        let told = [
            (Front::Parse, Back::ParseComplete),
            (Front::Bind, Back::BindComplete),
            (Front::Describe, Back::NoData),
            (Front::Close, Back::CloseComplete),
        ];
        for (front, answer) in told {
            if is_kind(front) {
                if front == Front::Describe && packet.body.first() == Some(&b'S') {
                    wire::push(out, &back(Back::ParameterDescription, b"\0\0"));
                }
                wire::push(out, &back(answer, b""));
            }
        }
        if is_kind(Front::Execute) {
            wire::push(out, &back(Back::CommandComplete, b"SELECT 0\0"));
        }
    }

    /// Runs the statements of a query. A COPY from the client is refused: its data may never come.
    fn run(&mut self, text: &[u8], out: &mut Bytes) {
        let text = String::from_utf8_lossy(text.strip_suffix(b"\0").unwrap_or(text)).to_uppercase();
        let statements: Vec<&str> = text.split(';').map(str::trim).collect();
        if statements.iter().all(|statement| statement.is_empty()) {
            return wire::push(out, &back(Back::EmptyQuery, b""));
        }
        for statement in statements.into_iter().filter(|statement| !statement.is_empty()) {
            let first = statement.split_whitespace().next().unwrap_or_default();
            let tag = match (first, statement) {
                ("COPY", _) => {
                    let refused = report(Back::ErrorResponse, "ERROR", "42501", "no COPY here");
                    return wire::push(out, &refused);
                }
                ("SELECT", _) => "SELECT 0",
                (_, "DEALLOCATE ALL" | "DISCARD ALL") => statement,
                _ => first,
            };
            self.in_block = (self.in_block || first == "BEGIN") && first != "COMMIT";
            wire::push(out, &back(Back::CommandComplete, &wire::cstr(tag)));
        }
    }

    fn be_ready(&self, out: &mut Bytes) {
        let status = if self.in_block { b"T" } else { b"I" };
        wire::push(out, &back(Back::ReadyForQuery, status));
    }
}
