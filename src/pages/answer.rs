//! An HTTP answer: its head, and its body, whole or slice by slice.

use super::exposition::Rendering;
use super::request::{HttpRequest, HttpStatus};

/// How much of an answer one turn of the loop may make, in bytes.
pub const SLICE_BYTES: usize = 64 * 1024;

pub struct HttpResponse {
    pub status: HttpStatus,
    pub content_type: &'static str,
    pub body: Body,
    /// A header field of this answer alone, with its end of line.
    pub extra: &'static str,
}

pub enum Body {
    Whole(Vec<u8>),
    Slices(Rendering),
}

const TEXT: &str = "text/plain; charset=utf-8";

/// Header fields of every answer. Nobody may cache an answer, or guess at its content type.
const FIELDS: &str = "Connection: close\r\nCache-Control: no-store\r\n\
    X-Content-Type-Options: nosniff\r\n";

impl HttpResponse {
    pub fn new(status: HttpStatus, content_type: &'static str, body: Vec<u8>) -> HttpResponse {
        HttpResponse { status, content_type, body: Body::Whole(body), extra: "" }
    }

    pub fn text(status: HttpStatus, text: &str) -> HttpResponse {
        HttpResponse::new(status, TEXT, format!("{text}\n").into_bytes())
    }

    /// The answer to a request that is refused.
    pub fn refusal(status: HttpStatus) -> HttpResponse {
        let extra = match status {
            HttpStatus::NotAllowed => "Allow: GET, HEAD\r\n",
            HttpStatus::Unauthorized => "WWW-Authenticate: Basic realm=\"pgbouncer\"\r\n",
            _ => "",
        };
        HttpResponse { extra, ..HttpResponse::text(status, status.line()) }
    }
}

/// An answer that is being sent: the part of it that is not made yet.
pub struct OutgoingResponse {
    rest: Option<Rendering>,
    is_chunked: bool,
}

impl OutgoingResponse {
    /// Appends the beginning of an answer to `out`; `request` is None if what came was no request.
    pub fn begin(
        answer: HttpResponse,
        request: Option<&HttpRequest>,
        out: &mut Vec<u8>,
    ) -> OutgoingResponse {
        let is_head = request.is_some_and(|request| request.is_head);
        let is_newer = request.is_some_and(|request| request.is_newer);
        let mut first = Vec::new();
        let mut rest = match answer.body {
            Body::Whole(bytes) => {
                first = bytes;
                None
            }
            Body::Slices(mut rendering) => match rendering.push(&mut first, SLICE_BYTES) {
                true => None,
                false => Some(rendering),
            },
        };
        let length = match (&rest, is_newer) {
            (None, _) => format!("Content-Length: {}\r\n", first.len()),
            (Some(_), true) => "Transfer-Encoding: chunked\r\n".into(),
            // The end of the connection ends the answer.
            (Some(_), false) => String::new(),
        };
        let is_chunked = rest.is_some() && is_newer;
        let (status, kind) = (answer.status.line(), answer.content_type);
        let extra = answer.extra;
        let head =
            format!("HTTP/1.1 {status}\r\nContent-Type: {kind}\r\n{length}{FIELDS}{extra}\r\n");
        out.extend_from_slice(head.as_bytes());
        if is_head {
            rest = None;
            first.clear();
        } else {
            push_chunk(out, &first, is_chunked);
        }
        OutgoingResponse { rest, is_chunked }
    }

    /// Appends the next slice. Returns whether the answer is whole.
    pub fn push(&mut self, out: &mut Vec<u8>) -> bool {
        let Some(rendering) = &mut self.rest else { return true };
        let mut slice = Vec::new();
        let is_whole = rendering.push(&mut slice, SLICE_BYTES);
        push_chunk(out, &slice, self.is_chunked);
        if is_whole {
            self.rest = None;
            if self.is_chunked {
                out.extend_from_slice(b"0\r\n\r\n");
            }
        }
        is_whole
    }
}

/// A chunk is its length in hexadecimal digits, and its bytes (RFC 9112, section 7.1).
fn push_chunk(out: &mut Vec<u8>, bytes: &[u8], is_chunked: bool) {
    if !is_chunked {
        out.extend_from_slice(bytes);
    } else if !bytes.is_empty() {
        out.extend_from_slice(format!("{:x}\r\n", bytes.len()).as_bytes());
        out.extend_from_slice(bytes);
        out.extend_from_slice(b"\r\n");
    }
}
