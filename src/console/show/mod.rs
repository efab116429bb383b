//! SHOW: every table by its word. Tables that PgBouncer has too have its columns in its order,
//! since tools read them by name and by position. What this program knows beyond that is in tables
//! of its own.

mod config;
mod connections;
mod databases;
mod latency;
mod lists;
mod names;
mod notes;
mod peers;
mod pools;
pub mod rowwise;
mod session_state;
mod stats;
mod tls;
mod users;

pub use connections::{Visible as VisibleClient, visible_client};
pub use latency::MEASURES;
pub use pools::{all as pools, is_shown as has_row, names as pool_names};

use super::parse::CommandToken;
use super::refusal::Hint;
use super::session::{CommandResult, ConsoleTurn, Done};
use super::table::{Table, Value};
use crate::config::table::nearest;

/// One word that may follow SHOW.
pub struct Show {
    pub word: &'static str,
    pub answer: ShowOutput,
    /// The line of SHOW HELP that names the word; 0 for none.
    line: u8,
}

pub enum ShowOutput {
    /// A notice that names the commands.
    Help,
    Table(&'static dyn Table),
}

/// Every word.
pub static SHOWS: &[Show] = &[
    Show { word: "HELP", answer: ShowOutput::Help, line: 1 },
    row("CONFIG", &config::CONFIG, 1),
    row("DATABASES", &databases::DATABASES, 1),
    row("POOLS", &pools::POOLS, 1),
    row("CLIENTS", &connections::CLIENTS, 1),
    row("SERVERS", &connections::SERVERS, 1),
    row("USERS", &users::USERS, 1),
    row("VERSION", &names::VERSION, 1),
    row("PEERS", &peers::PEERS, 2),
    row("PEER_POOLS", &peers::PEER_POOLS, 2),
    row("SOCKETS", &connections::SOCKETS, 3),
    row("ACTIVE_SOCKETS", &connections::ACTIVE_SOCKETS, 3),
    row("LISTS", &lists::LISTS, 3),
    row("MEM", &lists::MEM, 3),
    row("STATE", &names::STATE, 3),
    row("DNS_HOSTS", &names::DNS_HOSTS, 4),
    row("DNS_ZONES", &names::DNS_ZONES, 4),
    row("STATS", &stats::STATS, 5),
    row("STATS_TOTALS", &stats::STATS_TOTALS, 5),
    row("STATS_AVERAGES", &stats::STATS_AVERAGES, 5),
    row("TOTALS", &stats::TOTALS, 5),
    row("LATENCY", &latency::LATENCY, 6),
    row("ERRORS", &notes::ERRORS, 6),
    row("EVENTS", &notes::EVENTS, 6),
    row("TLS", &tls::TLS, 6),
    row("SESSION_STATE", &session_state::SESSION_STATE, 6),
    row("PINS", &session_state::PINS, 6),
    row("CHOICES", &session_state::CHOICES, 6),
    row("CLIENT_ENCODING", &names::CLIENT_ENCODING, 0),
    row("DATESTYLE", &names::DATESTYLE, 0),
    row("EXTRA_FLOAT_DIGITS", &names::EXTRA_FLOAT_DIGITS, 0),
    row("STANDARD_CONFORMING_STRINGS", &names::STANDARD_CONFORMING_STRINGS, 0),
    row("TIMEZONE", &names::TIMEZONE, 0),
];

const fn row(word: &'static str, table: &'static dyn Table, line: u8) -> Show {
    Show { word, answer: ShowOutput::Table(table), line }
}

pub fn find(word: &str) -> Option<&'static Show> {
    SHOWS.iter().find(|show| show.word.eq_ignore_ascii_case(word))
}

/// What the user perhaps meant by an unknown word after SHOW.
pub fn hint(arguments: &[CommandToken<'_>]) -> Hint {
    let [CommandToken::Word(word)] = arguments else { return Hint::None };
    nearest(word, SHOWS.iter().map(|show| show.word)).map_or(Hint::None, Hint::Show)
}

/// Sends a whole table.
pub fn run(session: &mut ConsoleTurn<'_>, table: &'static dyn Table) -> CommandResult {
    session.push_table(table);
    Ok(Done::tag("SHOW"))
}

/// The lines of SHOW HELP that name these words.
pub fn usage() -> Vec<String> {
    let last = SHOWS.iter().map(|show| show.line).max().unwrap_or_default();
    let lines = (1..=last).map(|line| {
        let words = SHOWS.iter().filter(|show| show.line == line).map(|show| show.word);
        format!("SHOW {}", words.collect::<Vec<_>>().join("|"))
    });
    lines.collect()
}

/// A time to be shown, given in microseconds since 1970.
fn time(wall_us: u64) -> Value<'static> {
    Value::Time(wall_us / 1_000_000)
}
