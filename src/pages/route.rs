//! Which path is answered by what.

use super::answer::{Answer, Body};
use super::exposition::Snapshot;
use super::request::{Request, Status};
use super::{View, families, health, own, status};

/// The page. It loads nothing but /status.json.
const PAGE: &[u8] = include_bytes!("page.html");

/// What the page may do: run the one script and wear the one style that stand in it, and ask this
/// server.
pub(super) const POLICY: &str = concat!(
    "Content-Security-Policy: default-src 'none'; ",
    "script-src 'sha256-dyzeM+/Hm4kZG46H/9DRyRMlSakvJ6USuWPQiHmjvVM='; ",
    "style-src 'sha256-XxFnZu+wjOpldfJ8ea8ch0aGd56U5vr23wFc073KArE='; ",
    "connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; ",
    "frame-ancestors 'none'\r\nReferrer-Policy: no-referrer\r\n"
);

pub fn answer(view: View<'_>, request: &Request) -> Answer {
    match request.path.as_str() {
        "/" => {
            let page = Answer::new(Status::Ok, "text/html; charset=utf-8", PAGE.to_vec());
            Answer { extra: POLICY, ..page }
        }
        "/healthz" => health::healthz(),
        "/metrics" => metrics(view, request),
        "/readyz" => health::readyz(view, request),
        "/status.json" => status::answer(view),
        _ => Answer::text(
            Status::NotFound,
            "There are /, /metrics, /healthz, /readyz, /status.json.",
        ),
    }
}

fn metrics(view: View<'_>, request: &Request) -> Answer {
    let mut snapshot = Snapshot::new();
    own::push_all(&mut snapshot, view);
    families::push_all(&mut snapshot, view.core);
    let rendering = snapshot.render(request.wants_openmetrics);
    let content_type = rendering.content_type();
    Answer { status: Status::Ok, content_type, body: Body::Slices(rendering), extra: "" }
}
