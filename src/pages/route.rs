//! Which function answers which path.

use super::answer::HttpResponse;
use super::gather::Gathering;
use super::request::{HttpRequest, HttpStatus};
use super::{View, health, status};

/// The page. It loads nothing but /status.json.
const PAGE: &[u8] = include_bytes!("page.html");

/// What browsers let the page do: use the one script and the one style sheet in it, and ask this
/// server.
pub(super) const POLICY: &str = concat!(
    "Content-Security-Policy: default-src 'none'; ",
    "script-src 'sha256-QT0dJmFuYRbU3ROEJq2/TOr8hw4QGEaPfT9YVCqWlGE='; ",
    "style-src 'sha256-UjdAG4xsRMHfbQXNcTXTNcRB0vnnpFJN5SHDwYPqhRk='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"
);

/// The answer, or the work that it takes.
pub enum HttpReply {
    Now(HttpResponse),
    /// Much must be read first, which takes several turns of the loop.
    Later(Box<Gathering>),
}

pub fn reply(view: View<'_>, request: &HttpRequest) -> HttpReply {
    if request.path == "/metrics" {
        return HttpReply::Later(Box::new(Gathering::new(view, request.wants_openmetrics)));
    }
    HttpReply::Now(answer(view, request))
}

fn answer(view: View<'_>, request: &HttpRequest) -> HttpResponse {
    match request.path.as_str() {
        "/" => {
            let page = HttpResponse::new(HttpStatus::Ok, "text/html; charset=utf-8", PAGE.to_vec());
            HttpResponse { extra: POLICY, ..page }
        }
        "/healthz" => health::healthz(),
        "/readyz" => health::readyz(view, request),
        "/status.json" => status::answer(view),
        _ => HttpResponse::text(
            HttpStatus::NotFound,
            "There are /, /metrics, /healthz, /readyz, /status.json.",
        ),
    }
}
