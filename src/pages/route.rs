//! Which path is answered by what.

use super::answer::Answer;
use super::gather::Gathering;
use super::request::{Request, Status};
use super::{View, health, status};

/// The page. It loads nothing but /status.json.
const PAGE: &[u8] = include_bytes!("page.html");

/// What the page may do: run the one script and wear the one style that stand in it, and ask this
/// server.
pub(super) const POLICY: &str = concat!(
    "Content-Security-Policy: default-src 'none'; ",
    "script-src 'sha256-QT0dJmFuYRbU3ROEJq2/TOr8hw4QGEaPfT9YVCqWlGE='; ",
    "style-src 'sha256-UjdAG4xsRMHfbQXNcTXTNcRB0vnnpFJN5SHDwYPqhRk='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"
);

/// What becomes of a request.
pub enum Reply {
    Now(Answer),
    /// There is much to be read first.
    Later(Box<Gathering>),
}

pub fn reply(view: View<'_>, request: &Request) -> Reply {
    if request.path == "/metrics" {
        return Reply::Later(Box::new(Gathering::new(view, request.wants_openmetrics)));
    }
    Reply::Now(answer(view, request))
}

fn answer(view: View<'_>, request: &Request) -> Answer {
    match request.path.as_str() {
        "/" => {
            let page = Answer::new(Status::Ok, "text/html; charset=utf-8", PAGE.to_vec());
            Answer { extra: POLICY, ..page }
        }
        "/healthz" => health::healthz(),
        "/readyz" => health::readyz(view, request),
        "/status.json" => status::answer(view),
        _ => Answer::text(
            Status::NotFound,
            "There are /, /metrics, /healthz, /readyz, /status.json.",
        ),
    }
}
