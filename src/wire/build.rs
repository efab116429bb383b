//! Writers of whole messages, into any growing buffer.

use std::ffi::CStr;

use super::head::HEAD_BYTES;
use super::kind::{Back, Front};

/// A message under construction: [`Message::end`] fills in its length.
pub struct Message<'a> {
    out: &'a mut Vec<u8>,
    start: usize,
}

impl<'a> Message<'a> {
    pub fn front(out: &'a mut Vec<u8>, kind: Front) -> Message<'a> {
        out.push(kind as u8);
        Message::untyped(out)
    }

    pub fn back(out: &'a mut Vec<u8>, kind: Back) -> Message<'a> {
        out.push(kind as u8);
        Message::untyped(out)
    }

    /// Begins a message without a kind byte: a startup packet, or a request to cancel or encrypt.
    pub fn untyped(out: &'a mut Vec<u8>) -> Message<'a> {
        let start = out.len();
        out.extend_from_slice(&[0; 4]);
        Message { out, start }
    }

    pub fn u8(self, value: u8) -> Self {
        self.out.push(value);
        self
    }

    pub fn u16(self, value: u16) -> Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn u32(self, value: u32) -> Self {
        self.out.extend_from_slice(&value.to_be_bytes());
        self
    }

    pub fn bytes(self, value: &[u8]) -> Self {
        self.out.extend_from_slice(value);
        self
    }

    /// Appends a text and a NUL. The pooler's own texts contain no NUL; one in a text from a file
    /// ends the text early.
    pub fn cstr(self, value: impl AsRef<[u8]>) -> Self {
        self.out.extend_from_slice(before_nul(value.as_ref()));
        self.out.push(0);
        self
    }

    pub fn end(self) {
        let length = (self.out.len() - self.start) as u32;
        self.out[self.start..self.start + 4].copy_from_slice(&length.to_be_bytes());
    }
}

fn before_nul(value: &[u8]) -> &[u8] {
    CStr::from_bytes_until_nul(value).map_or(value, CStr::to_bytes)
}

/// The severity of a report to a client.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Severity {
    Error,
    Fatal,
    Notice,
}

/// An ErrorResponse or NoticeResponse of the pooler's own.
#[derive(Clone, Copy, Debug)]
pub struct ErrorReport<'a> {
    pub severity: Severity,
    pub sqlstate: &'a str,
    pub message: &'a str,
    pub detail: Option<&'a str>,
    pub hint: Option<&'a str>,
}

pub fn report(out: &mut Vec<u8>, report: &ErrorReport<'_>) {
    let (kind, word) = match report.severity {
        Severity::Error => (Back::ErrorResponse, "ERROR"),
        Severity::Fatal => (Back::ErrorResponse, "FATAL"),
        Severity::Notice => (Back::NoticeResponse, "NOTICE"),
    };
    let mut message = Message::back(out, kind)
        .u8(b'S')
        .cstr(word)
        .u8(b'V')
        .cstr(word)
        .u8(b'C')
        .cstr(report.sqlstate)
        .u8(b'M')
        .cstr(report.message);
    for (code, text) in [(b'D', report.detail), (b'H', report.hint)] {
        if let Some(text) = text {
            message = message.u8(code).cstr(text);
        }
    }
    message.u8(0).end();
}

pub fn parameter_status(out: &mut Vec<u8>, name: &str, value: impl AsRef<[u8]>) {
    let value = value.as_ref();
    out.reserve(HEAD_BYTES + name.len() + 1 + value.len() + 1);
    Message::back(out, Back::ParameterStatus).cstr(name).cstr(value).end();
}

/// `status` is `I`, `T` or `E`.
pub fn ready_for_query(out: &mut Vec<u8>, status: u8) {
    Message::back(out, Back::ReadyForQuery).u8(status).end();
}

pub fn command_complete(out: &mut Vec<u8>, tag: &str) {
    Message::back(out, Back::CommandComplete).cstr(tag).end();
}

/// An AuthenticationXXX message: `code` 0 is AuthenticationOk.
pub fn authentication(out: &mut Vec<u8>, code: u32, body: &[u8]) {
    Message::back(out, Back::Authentication).u32(code).bytes(body).end();
}

pub fn query(out: &mut Vec<u8>, sql: impl AsRef<[u8]>) {
    Message::front(out, Front::Query).cstr(sql).end();
}

/// Appends a message with an empty body.
pub fn empty_front(out: &mut Vec<u8>, kind: Front) {
    Message::front(out, kind).end();
}

/// Appends a message with an empty body.
pub fn empty_back(out: &mut Vec<u8>, kind: Back) {
    Message::back(out, kind).end();
}

#[cfg(test)]
mod tests {
    use super::super::fields;
    use super::super::head::{self, Head, ParsedHead};
    use super::*;

    #[test]
    fn a_report_reads_back_as_it_was_written() {
        let mut out = Vec::new();
        report(
            &mut out,
            &ErrorReport {
                severity: Severity::Fatal,
                sqlstate: "08P01",
                message: "no",
                detail: Some("why"),
                hint: None,
            },
        );
        let ParsedHead::Head(Head { kind: b'E', body }) = head::parse(&out) else {
            panic!("no head")
        };
        assert_eq!(body, out.len() - head::HEAD_BYTES);
        let read = fields::ReportFields::parse(&out[head::HEAD_BYTES..]);
        assert_eq!((read.severity, read.sqlstate), ("FATAL".into(), "08P01".into()));
        assert!(out.windows(5).any(|w| w == b"Dwhy\0"));
    }

    #[test]
    fn a_nul_in_a_text_cannot_add_fields() {
        let mut out = Vec::new();
        parameter_status(&mut out, "a\0b", "c");
        assert_eq!(out, b"S\0\0\0\x08a\0c\0");
    }
}
