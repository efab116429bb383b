//! The ends of statistics periods, sums over pools, and the lines that tell of them.

use std::time::Duration;

use crate::log::Level;
use crate::pool::core::{Core, ProcessAction};
use crate::pool::telling::histogram::Spread;
use crate::pool::telling::latency::Measure;
use crate::pool::telling::stats::{Stats, average};

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

    /// A period of nothing would keep the loop from ever sleeping.
    pub(in crate::pool) fn stats_period(&self) -> Duration {
        self.settings().stats_period.max(Duration::from_secs(1))
    }

    pub(in crate::pool) fn sweep_stats(&mut self) {
        if self.mono().since(self.stats.period_start) < self.stats_period() {
            return;
        }
        self.turn_stats();
        if self.settings().log_stats {
            let mut text = self.stats_line("us");
            if self.settings().log_stats_percentiles {
                text += &self.percentiles();
            }
            self.log(Level::Log, text);
        }
        let status = self.stats_line("\u{3bc}s");
        self.act_on_process(ProcessAction::Status(status));
    }

    /// The line of figures for log and service manager, over the last full period. Programs read
    /// it: what it says, and how, is PgBouncer's.
    pub fn stats_line(&self, unit: &str) -> String {
        let span = self.stats.last_span_us();
        let mut sum = self.all_stats();
        sum += &self.console_stats;
        let a = average(&sum.last_period(), span);
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

    /// What `log_stats_percentiles` adds to that line.
    fn percentiles(&self) -> String {
        let p99 = |of: Measure| {
            let mut spread = Spread::default();
            self.latencies.iter().for_each(|one| spread.merge(&of(one).last_period()));
            spread.percentile_us(99)
        };
        format!(
            ", p99 xact {} us, query {} us, wait {} us",
            p99(|one| &one.xact),
            p99(|one| &one.query),
            p99(|one| &one.wait)
        )
    }
}
