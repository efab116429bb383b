//! SHOW TLS, a table that PgBouncer does not have: the certificates in use, and how many handshakes
//! succeeded and failed.

use super::super::table::{Scene, Sheet, Value, counter, int8, text};
use crate::pool::records::secured::{ServerTls, TlsContext, TlsFile, Whose};

/// A row is an index into the list of contexts.
pub static TLS: Sheet<usize> = Sheet {
    columns: &[&[
        text("side", |scene, &at| {
            Value::text(match of(scene, at).whose {
                Whose::Clients => "client",
                Whose::Servers(_) => "server",
            })
        }),
        text("databases", databases),
        text("file", |scene, &at| shown(scene, at, |file| Value::text(&file.path))),
        text("subject", |scene, &at| shown(scene, at, |file| Value::text(&file.subject))),
        text("names", |scene, &at| shown(scene, at, |file| Value::text(&file.names))),
        text("not_after", |scene, &at| shown(scene, at, |file| Value::Time(file.not_after))),
        counter(
            "TLS handshakes that were completed",
            int8("handshakes", |scene, &at| Value::Number(of(scene, at).tally.handshakes)),
        ),
        counter(
            "TLS handshakes that failed",
            int8("failures", |scene, &at| Value::Number(of(scene, at).tally.failures)),
        ),
        counter(
            "TLS handshakes that went on from an earlier session",
            int8("resumptions", |scene, &at| Value::Number(of(scene, at).tally.resumptions)),
        ),
    ]],
    rows: |scene| (0..scene.core.tls_contexts.len()).collect(),
};

fn of(scene: Scene<'_>, at: usize) -> &TlsContext {
    &scene.core.tls_contexts[at]
}

/// A value of the certificate that peers are shown, or else of the authorities that peers are
/// checked against.
fn shown<'a>(scene: Scene<'a>, at: usize, get: fn(&'a TlsFile) -> Value<'a>) -> Value<'a> {
    let context = of(scene, at);
    let file = context.certificate.as_ref().or(context.authorities.as_ref());
    file.map_or(Value::Null, get)
}

/// The databases whose lines ask for this context; null where only the settings do.
fn databases<'a>(scene: Scene<'a>, at: &usize) -> Value<'a> {
    let Whose::Servers(own) = &of(scene, *at).whose else { return Value::Null };
    let lines = scene.core.config.databases.iter().filter(|line| line.has_security());
    let modes = &scene.core.tls;
    let theirs =
        lines.filter(|line| ServerTls::of(line, "", modes).is_some_and(|tls| tls.own == *own));
    let names: Vec<&str> = theirs.map(|line| line.name.as_str()).collect();
    if names.is_empty() { Value::Null } else { Value::owned(names.join(",")) }
}
