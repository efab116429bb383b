//! Parses one HTTP request, as far as this program answers any: GET and HEAD, no body, a head of at
//! most [`HEAD_BYTES_MAX`] bytes. Any stranger may have sent these bytes.

use base64::prelude::{BASE64_STANDARD, Engine};

use crate::auth::secret::Password;
use crate::base::text::unescaped;
use crate::base::wipe::wipe;

/// The most bytes that the head of a request may have.
pub const HEAD_BYTES_MAX: usize = 4096;

#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct HttpRequest {
    pub is_head: bool,
    /// The request is of HTTP/1.1, which knows chunks.
    pub is_newer: bool,
    pub path: String,
    /// The text after the question mark.
    pub query: String,
    /// The format of OpenMetrics is asked for.
    pub wants_openmetrics: bool,
    /// User and password, where they were sent.
    pub login: Option<(Vec<u8>, Password)>,
}

/// What has come so far.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum ParsedRequest {
    Incomplete,
    Whole(HttpRequest),
    Refused(HttpStatus),
}

/// How a request is answered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum HttpStatus {
    Ok,
    BadRequest,
    Unauthorized,
    NotFound,
    NotAllowed,
    TimedOut,
    TooLarge,
    Unavailable,
}

impl HttpStatus {
    /// Number and words, as the first line of an answer has them (RFC 9110, section 15).
    pub fn line(self) -> &'static str {
        match self {
            HttpStatus::Ok => "200 OK",
            HttpStatus::BadRequest => "400 Bad Request",
            HttpStatus::Unauthorized => "401 Unauthorized",
            HttpStatus::NotFound => "404 Not Found",
            HttpStatus::NotAllowed => "405 Method Not Allowed",
            HttpStatus::TimedOut => "408 Request Timeout",
            HttpStatus::TooLarge => "413 Content Too Large",
            HttpStatus::Unavailable => "503 Service Unavailable",
        }
    }
}

/// Parses the bytes that have come. Bytes that cannot begin a request are refused at once, so that
/// a peer with another protocol is not waited for.
pub fn parse(bytes: &[u8]) -> ParsedRequest {
    if bytes.first().is_some_and(|byte| !byte.is_ascii_uppercase()) {
        return ParsedRequest::Refused(HttpStatus::BadRequest);
    }
    let head = match end_of_head(bytes) {
        Some(end) if end <= HEAD_BYTES_MAX => &bytes[..end],
        None if bytes.len() < HEAD_BYTES_MAX => return ParsedRequest::Incomplete,
        _ => return ParsedRequest::Refused(HttpStatus::TooLarge),
    };
    match std::str::from_utf8(head).map_err(|_| HttpStatus::BadRequest).and_then(read) {
        Ok(request) => ParsedRequest::Whole(request),
        Err(status) => ParsedRequest::Refused(status),
    }
}

/// Where the empty line that ends a head begins. A line may end without its CR.
fn end_of_head(bytes: &[u8]) -> Option<usize> {
    let ends = |at: &usize| {
        let rest = &bytes[at + 1..];
        bytes[*at] == b'\n' && (rest.starts_with(b"\n") || rest.starts_with(b"\r\n"))
    };
    (0..bytes.len()).find(ends)
}

fn read(head: &str) -> Result<HttpRequest, HttpStatus> {
    let mut lines = head.split('\n').map(|line| line.strip_suffix('\r').unwrap_or(line));
    let mut request = read_first(lines.next().unwrap_or_default())?;
    for line in lines.filter(|line| !line.is_empty()) {
        let (name, value) = line.split_once(':').ok_or(HttpStatus::BadRequest)?;
        // A name with a blank in it, or a line that continues the one before.
        if name.is_empty() || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(HttpStatus::BadRequest);
        }
        read_field(&mut request, name, value.trim())?;
    }
    Ok(request)
}

/// `GET /path?query HTTP/1.1`
fn read_first(line: &str) -> Result<HttpRequest, HttpStatus> {
    let mut words = line.split(' ');
    let (Some(method), Some(target), Some(version), None) =
        (words.next(), words.next(), words.next(), words.next())
    else {
        return Err(HttpStatus::BadRequest);
    };
    let is_newer = match version {
        "HTTP/1.1" => true,
        "HTTP/1.0" => false,
        _ => return Err(HttpStatus::BadRequest),
    };
    let is_head = match method {
        "GET" => false,
        "HEAD" => true,
        _ if method.bytes().all(|byte| byte.is_ascii_uppercase()) => {
            return Err(HttpStatus::NotAllowed);
        }
        _ => return Err(HttpStatus::BadRequest),
    };
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    if !path.starts_with('/') {
        return Err(HttpStatus::BadRequest);
    }
    let (path, query) = (decode(path)?, query.to_owned());
    Ok(HttpRequest { is_head, is_newer, path, query, ..HttpRequest::default() })
}

fn read_field(request: &mut HttpRequest, name: &str, value: &str) -> Result<(), HttpStatus> {
    if name.eq_ignore_ascii_case("accept") {
        request.wants_openmetrics |= prefers_openmetrics(value);
    } else if name.eq_ignore_ascii_case("authorization") {
        request.login = read_login(value);
    } else if name.eq_ignore_ascii_case("content-length") {
        match value.parse::<u64>() {
            Ok(0) => {}
            Ok(_) => return Err(HttpStatus::TooLarge),
            Err(_) => return Err(HttpStatus::BadRequest),
        }
    } else if name.eq_ignore_ascii_case("transfer-encoding") {
        return Err(HttpStatus::TooLarge);
    }
    Ok(())
}

/// Whether OpenMetrics is named, and not refused by a weight of 0.
fn prefers_openmetrics(value: &str) -> bool {
    let mut kinds = value.split(',').map(|kind| kind.split(';').map(str::trim));
    kinds.any(|mut parts| {
        let is_it = parts.next() == Some("application/openmetrics-text");
        is_it && parts.all(|part| !matches!(part, "q=0" | "q=0.0"))
    })
}

/// `Basic` and user and password in base 64 (RFC 7617).
fn read_login(value: &str) -> Option<(Vec<u8>, Password)> {
    let (scheme, coded) = value.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let mut user = BASE64_STANDARD.decode(coded.trim()).ok()?;
    let colon = user.iter().position(|&byte| byte == b':')?;
    let password = Password::new(&user[colon + 1..]);
    wipe(&mut user[colon + 1..]);
    user.truncate(colon);
    Some((user, password))
}

impl HttpRequest {
    /// The value of a parameter in the query.
    pub fn parameter(&self, name: &str) -> Option<Result<String, HttpStatus>> {
        let mut pairs = self.query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(key, _)| *key == name).map(|(_, value)| decode(&value.replace('+', " ")))
    }
}

/// Text in which `%` and two digits stand for a byte.
fn decode(text: &str) -> Result<String, HttpStatus> {
    let bytes = unescaped(text.as_bytes(), b'%').ok_or(HttpStatus::BadRequest)?;
    String::from_utf8(bytes).map_err(|_| HttpStatus::BadRequest)
}

/// Entry point for fuzzing. Whatever comes, in whatever pieces, is refused or whole before it is
/// longer than a request may be, and bytes that follow a whole request do not change it.
pub fn fuzz(data: &[u8]) {
    let step = usize::from(data.first().copied().unwrap_or(0)) + 13;
    let ends = (0..data.len()).step_by(step).chain([data.len()]);
    for end in ends {
        match parse(&data[..end]) {
            ParsedRequest::Incomplete => {
                assert!(end < HEAD_BYTES_MAX, "more is awaited than there may be")
            }
            ParsedRequest::Refused(status) => {
                assert!(status != HttpStatus::Ok);
                return;
            }
            ParsedRequest::Whole(request) => {
                assert!(request.path.starts_with('/'));
                let _ = request.parameter("db");
                assert!(
                    parse(data) == ParsedRequest::Whole(request),
                    "what follows has changed it"
                );
                return;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::rng::{Rng, SeededRng};

    fn whole(text: &str) -> HttpRequest {
        match parse(text.as_bytes()) {
            ParsedRequest::Whole(request) => request,
            other => panic!("{text:?}: {other:?}"),
        }
    }

    fn refused(text: impl AsRef<[u8]>) -> HttpStatus {
        match parse(text.as_ref()) {
            ParsedRequest::Refused(status) => status,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_request_is_read_as_prometheus_curl_and_browsers_send_it() {
        let request = whole(
            "GET /metrics HTTP/1.1\r\nHost: db:9127\r\nUser-Agent: Prometheus/2.53.0\r\nAccept: \
             application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;\
             version=0.0.4;q=0.3,*/*;q=0.2\r\nAccept-Encoding: gzip\r\n\r\n",
        );
        assert_eq!((request.path.as_str(), request.is_newer), ("/metrics", true));
        assert!(request.wants_openmetrics && !request.is_head);
        let request = whole("HEAD /readyz?x=1&db=a%20b+c HTTP/1.0\n\n");
        assert!(request.is_head && !request.is_newer && !request.wants_openmetrics);
        assert_eq!(request.parameter("db"), Some(Ok("a b c".into())));
        assert_eq!(request.parameter("user"), None);
        let request =
            whole("GET / HTTP/1.1\r\nauthorization: basic c3RhdHM6YTpi\r\nAccept: */*\r\n\r\n");
        assert_eq!(request.login, Some((b"stats".to_vec(), Password::new(b"a:b"))));
        assert!(
            !whole("GET / HTTP/1.1\r\nAccept: application/openmetrics-text;q=0\r\n\r\n")
                .wants_openmetrics
        );
    }

    #[test]
    fn what_is_no_request_of_ours_gets_the_status_that_says_why() {
        use HttpStatus::*;
        for (text, status) in [
            ("\x16\x03\x01\x02", BadRequest),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", BadRequest),
            ("get / HTTP/1.1\r\n\r\n", BadRequest),
            ("GET / HTTP/2.0\r\n\r\n", BadRequest),
            ("GET  / HTTP/1.1\r\n\r\n", BadRequest),
            ("GET http://else.where/ HTTP/1.1\r\n\r\n", BadRequest),
            ("GET /%zz HTTP/1.1\r\n\r\n", BadRequest),
            ("GET /%ff HTTP/1.1\r\n\r\n", BadRequest),
            ("GET /\u{0}\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nno colon\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nA: b\r\n folded: c\r\n\r\n", BadRequest),
            ("GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n", BadRequest),
            ("POST / HTTP/1.1\r\n\r\n", NotAllowed),
            ("GET / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello", TooLarge),
            ("GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n", TooLarge),
        ] {
            assert_eq!(refused(text), status, "{text:?}");
        }
        assert_eq!(
            refused(format!("GET /{} HTTP/1.1\r\n\r\n", "a".repeat(HEAD_BYTES_MAX))),
            TooLarge
        );
        assert_eq!(refused(format!("GET / HTTP/1.1\r\n{}", "A: b\r\n".repeat(1000))), TooLarge);
        assert_eq!(refused(b"GET /\xff HTTP/1.1\r\n\r\n"), BadRequest);
    }

    #[test]
    fn every_beginning_of_a_request_waits_for_the_rest_and_what_follows_it_is_left() {
        let text = "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n";
        for end in 0..text.len() {
            assert_eq!(parse(&text.as_bytes()[..end]), ParsedRequest::Incomplete, "{end}");
        }
        assert_eq!(whole(text), whole(&text.repeat(3)));
    }

    #[test]
    fn random_and_mutated_requests_are_answered_and_never_kept_longer_than_they_may_be() {
        const SEED: &[u8] = b"GET /readyz?db=%61 HTTP/1.1\r\nHost: a\r\nAuthorization: Basic \
            YTpi\r\nAccept: application/openmetrics-text;q=0.5\r\nContent-Length: 0\r\n\r\n";
        for seed in 0..3_000 {
            let mut rng = SeededRng::new(seed);
            let mut bytes = SEED.to_vec();
            for _ in 0..rng.below(8) {
                let at = rng.below(bytes.len() as u64) as usize;
                match rng.below(4) {
                    0 => bytes[at] = rng.next_u64() as u8,
                    1 => bytes.truncate(at.max(1)),
                    2 => bytes.insert(at, b"\r\n%: ?&="[rng.below(8) as usize]),
                    _ => bytes.extend_from_within(at..),
                }
            }
            let parsed = parse(&bytes);
            let is_long = bytes.len() >= HEAD_BYTES_MAX;
            assert!(!is_long || parsed != ParsedRequest::Incomplete, "seed {seed}");
            if let ParsedRequest::Whole(request) = parsed {
                let _ = request.parameter("db");
                assert!(request.path.starts_with('/'), "seed {seed}");
            }
        }
    }
}
