//! Decides whether the end of a client is explained by what went wrong. An unexplained end fails
//! the simulation.

use super::world::{World, client_stream};
use crate::config::SessionState;
use crate::wire::fields::ReportFields;

impl World {
    /// Whether something explains that a client was closed with these words.
    pub(super) fn judge_words(&mut self, at: usize, report: &ReportFields) -> Option<()> {
        let index = self.clients[at].index;
        self.judge_reason(index, &report.message)
    }

    /// Whether something explains that a client was closed without a word: there was no room for
    /// the error, or it would have been read as the rest of a message or of a handshake.
    pub(super) fn judge_eof(&mut self, at: usize) -> Option<()> {
        let client = &self.clients[at];
        let (index, is_cut) = (client.index, client.is_deaf());
        let stream = client_stream(&mut self.engine, client.id, client.number)?;
        if !is_cut && !stream.is_cut_short {
            return None;
        }
        let words = self.reasons.get(&index)?.clone();
        self.judge_reason(index, &words)
    }

    fn judge_reason(&mut self, index: usize, words: &str) -> Option<()> {
        let is_excused = self.weather_explains(index, words);
        let client = self.clients.iter_mut().find(|client| client.index == index)?;
        // If a session ends itself, its FATAL error may be lost with the connection.
        let has_ended = words == "server conn crashed?" && client.shadow.foresees_end();
        (is_excused || has_ended || client.shadow.foresees(words)).then_some(())
    }

    fn weather_explains(&self, index: usize, words: &str) -> bool {
        let weather = &self.setup.weather;
        if self.setup.lookup_explains(words) {
            return true;
        }
        let is_failing = weather.refusals > 0 || weather.crashes > 0 || weather.leaps > 0;
        // A handshake with a server may fail or end early.
        let is_failing = is_failing || self.setup.shakes;
        match words {
            "server conn crashed?" => self.lost_servers.contains(&index),
            "terminating connection due to administrator command" => self.crashes > 0,
            "PAM authentication failed" => weather.refusals > 0,
            "REFUSED" => weather.refusals > 0,
            "database removed" | "admin forced disconnect" => {
                weather.kills > 0 || weather.reloads > 0
            }
            "database configuration changed" => {
                // A host name may get another address.
                let is_pinned = self.setup.policy == SessionState::Pin || self.chooser.is_some();
                weather.reloads > 0 || weather.reconnects > 0 || is_pinned
            }
            "server shutting down" | "pooler is shutting down" => weather.shutdown.is_some(),
            "client_idle_timeout"
            | "client_login_timeout"
            | "client_login_timeout (server down)"
            | "idle transaction timeout"
            | "query timeout"
            | "query_timeout"
            | "query_wait_timeout"
            | "transaction timeout" => weather.leaps > 0,
            _ => {
                words.starts_with("server login has been failing") && is_failing
                    || words.starts_with("server login failed") && weather.refusals > 0
                    || words.starts_with("no such database") && weather.reloads > 0
            }
        }
    }
}
