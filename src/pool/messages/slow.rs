//! What is counted when a query ends; and `log_min_duration`: a line for each query, and each
//! transaction, that took so long or longer.

use crate::base::text::printable;
use crate::base::time::Moment;
use crate::config::Settings;
use crate::log::LogValue;
use crate::pool::owed::replies::TransactionStatus;
use crate::pool::records::client::Client;
use crate::pool::records::pool::Pool;
use crate::pool::records::server::Server;
use crate::pool::statements::table::{ClientStatements, StatementTable};
use crate::pool::telling::latency::Latencies;
use crate::wire::fields::{Fields, sql_of};
use crate::wire::kind::Front;

/// Bytes of a query's text that are kept for its line.
const LONGEST_TEXT_BYTES: usize = 200;

/// A query that has ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct EndedQuery {
    pub(super) status: TransactionStatus,
    query_us: u64,
    /// Of the transaction, if the query has ended that too.
    xact_us: Option<u64>,
}

impl EndedQuery {
    /// Counts a query that ends now, and the transaction, if that is over with it.
    #[inline(always)]
    pub(super) fn count(
        server: &mut Server,
        client: &mut Client,
        (pool, latencies): (&mut Pool, &mut Latencies),
        (status, now): (TransactionStatus, Moment),
    ) -> EndedQuery {
        let began = std::mem::replace(&mut client.query_start, now);
        let mut ended = EndedQuery { status, query_us: now.micros_since(began), xact_us: None };
        if status == TransactionStatus::Idle {
            let began = std::mem::replace(&mut server.xact_start, now);
            ended.xact_us = Some(now.micros_since(began));
        }
        pool.stats.count_query(ended.query_us, ended.xact_us);
        latencies.count_query(ended.query_us, ended.xact_us);
        if let Some(statements) = &mut server.statements {
            statements.fresh.clear();
        }
        ended
    }

    /// Whether nothing follows from its end but that its client hears of it.
    #[inline(always)]
    pub(super) fn is_all(self, server: &Server, settings: &Settings) -> bool {
        self.status == TransactionStatus::Idle
            && !server.owes_service
            && !server.has_changed_tables
            && (!server.session.is_watched() || server.session.leaves_nothing())
            && !self.is_slow(settings)
    }

    /// Whether it took so long that it is told of.
    #[inline]
    pub(super) fn is_slow(self, settings: &Settings) -> bool {
        let least_us = least_us(settings);
        least_us > 0 && self.query_us.max(self.xact_us.unwrap_or(0)) >= least_us
    }

    /// What is told of a query that was slow, or of a transaction of quicker ones.
    #[cold]
    pub(super) fn told(self, server: &mut Server, settings: &Settings) -> Slow {
        let least_us = least_us(settings);
        let (what, us) = match self.xact_us {
            Some(xact_us) if self.query_us < least_us => ("transaction", xact_us),
            _ => ("query", self.query_us),
        };
        let pid = server.key.first_chunk().map_or(0, |pid| u32::from_be_bytes(*pid));
        let waited_us = std::mem::take(&mut server.waited_us);
        // The text of its last query says little of a transaction.
        let has_text = what == "query" && settings.log_query_text;
        let text = server.query_text.take().filter(|_| has_text);
        Slow { what, us, waited_us, pid, text: text.map(|text| on_one_line(&text)) }
    }
}

/// A line of the log.
pub(super) struct Slow {
    what: &'static str,
    us: u64,
    waited_us: u64,
    pid: u32,
    text: Option<String>,
}

impl Slow {
    /// The same, for programs.
    pub fn fields(&self) -> Vec<(&'static str, LogValue<'_>)> {
        let mut fields = vec![
            ("kind", LogValue::Text(self.what)),
            ("duration_us", LogValue::Number(self.us)),
            ("wait_us", LogValue::Number(self.waited_us)),
            ("server_pid", LogValue::Number(self.pid.into())),
        ];
        fields.extend(self.text.as_deref().map(|text| ("query", LogValue::Text(text))));
        fields
    }
}

impl std::fmt::Display for Slow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Slow { what, us, waited_us, pid, text } = self;
        let (took, waited) = (Millis(*us), Millis(*waited_us));
        write!(f, "slow {what}: {took} ms, waited {waited} ms, server pid {pid}")?;
        text.as_ref().map_or(Ok(()), |text| write!(f, ": {text}"))
    }
}

/// From how long on something is slow; 0 is never.
#[inline]
fn least_us(settings: &Settings) -> u64 {
    u64::from(settings.log_min_duration) * 1_000
}

/// Keeps the beginning of a query's text, where a line about it shows that. `client` is what the
/// client has prepared.
#[cold]
pub(super) fn keep_text(
    server: &mut Server,
    client: Option<&ClientStatements>,
    statements: &StatementTable,
    kind: Front,
    seen: &[u8],
) {
    if server.replies.is_answered() {
        server.query_text = None;
    }
    let mut fields = Fields::new(seen);
    let text = match kind {
        Front::Bind => fields.cstr().and_then(|_| {
            let id = client?.names.get(fields.cstr()?)?;
            Some(statements.statements[id].sql())
        }),
        _ => sql_of(kind, seen),
    };
    if let Some(text) = text {
        server.query_text = Some(text[..text.len().min(LONGEST_TEXT_BYTES)].into());
    }
}

/// Microseconds, shown as milliseconds.
struct Millis(u64);

impl std::fmt::Display for Millis {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:03}", self.0 / 1_000, self.0 % 1_000)
    }
}

/// Text of a client's for one line of the log.
fn on_one_line(text: &[u8]) -> String {
    String::from_utf8_lossy(text).chars().map(printable).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_stays_on_its_line_and_milliseconds_have_three_places() {
        assert_eq!(on_one_line(b"select\n1\r\x1b[0m\xff"), "select 1  [0m\u{fffd}");
        assert_eq!(Millis(1_234_005).to_string(), "1234.005");
    }
}
