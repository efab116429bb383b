//! The ends of statistics periods, sums over pools, and the lines that tell of them.

use crate::log::{Level, LogValue};
use crate::pool::core::{Core, ProcessAction};
use crate::pool::telling::histogram::Spread;
use crate::pool::telling::latency::Measure;
use crate::pool::telling::stats::{Averages, Stats, average};

impl Core {
    /// Ends a period: averages are those of the period that ends now.
    pub(in crate::pool) fn turn_stats(&mut self) {
        for id in self.pools.ids() {
            self.pools[id].stats.turn();
        }
        self.console_stats.turn();
        self.latencies.turn();
        let now = self.mono();
        self.stats.last_period_start = self.stats.period_start;
        self.stats.period_start = now;
    }

    /// All pools together.
    pub fn all_stats(&self) -> Stats {
        let mut sum = Stats::default();
        for (_, pool) in self.pools.iter() {
            sum += &pool.stats;
        }
        sum
    }

    pub(in crate::pool) fn sweep_stats(&mut self) {
        if self.mono() < self.due_times().stats_due(self.stats.period_start) {
            return;
        }
        self.turn_stats();
        if self.settings().log_stats {
            self.log_figures();
        }
        let status = self.stats_line("\u{3bc}s");
        self.act_on_process(ProcessAction::Status(status));
    }

    /// The line of `log_stats`.
    fn log_figures(&mut self) {
        let averages = self.averages();
        let Averages { per_second, xact_us, query_us, wait_us } = averages;
        let mut fields = vec![
            ("xacts", per_second.xacts),
            ("queries", per_second.queries),
            ("logins", per_second.logins),
            ("received", per_second.received),
            ("sent", per_second.sent),
            ("xact_us", xact_us),
            ("query_us", query_us),
            ("wait_us", wait_us),
        ];
        let mut text = self.stats_line("us");
        if self.settings().log_stats_percentiles {
            let [xact, query, wait] = [
                self.percentile_99(|one| &one.xact),
                self.percentile_99(|one| &one.query),
                self.percentile_99(|one| &one.wait),
            ];
            text += &format!(", p99 xact {xact} us, query {query} us, wait {wait} us");
            fields.extend([("xact_p99_us", xact), ("query_p99_us", query), ("wait_p99_us", wait)]);
        }
        let number = |(name, value)| (name, LogValue::Number(value));
        let fields: Vec<(&str, LogValue<'_>)> = fields.into_iter().map(number).collect();
        self.log_with(Level::Log, &fields, text);
    }

    /// Averages of all pools and the console, over the last full period.
    fn averages(&self) -> Averages {
        let span = self.stats.last_span_us();
        let mut sum = self.all_stats();
        sum += &self.console_stats;
        average(&sum.last_period(), span)
    }

    /// The line of figures for log and service manager, over the last full period. Programs read
    /// it: what it says, and how, is PgBouncer's.
    pub fn stats_line(&self, unit: &str) -> String {
        let a = self.averages();
        let rates = &a.per_second;
        format!(
            "stats: {} xacts/s, {} queries/s, {} client parses/s, {} server parses/s, {} binds/s, \
             {} client logins/s, in {} B/s, out {} B/s, xact {} {unit}, \
             query {} {unit}, wait {} {unit}",
            rates.xacts,
            rates.queries,
            rates.client_parses,
            rates.server_parses,
            rates.binds,
            rates.logins,
            rates.received,
            rates.sent,
            a.xact_us,
            a.query_us,
            a.wait_us
        )
    }

    /// What 99 of 100 did not exceed in the last full period, over all databases.
    fn percentile_99(&self, of: Measure) -> u64 {
        let mut spread = Spread::default();
        self.latencies.iter().for_each(|one| of(one).add_last_period_to(&mut spread));
        spread.percentile_us(99)
    }
}
