//! The commands: one table of word, arguments, who may use it, and function.

use std::time::Duration;

use super::control;
use super::parse::Token;
use super::refusal::{Hint, Refusal};
use super::session::{Done, Session};
use super::set;
use super::show::{self, Show};
use crate::config::{self, table::nearest};
use crate::pool::records::wait::Shutdown;

/// Who may use a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Who {
    /// Users in admin_users.
    Admins,
    /// Users in stats_users too.
    Everybody,
}

type Answer = Result<Done, Refusal>;

/// What a command takes behind its word, and what carries it out.
pub enum Run {
    /// Nothing.
    Bare(fn(&mut Session<'_>) -> Answer),
    /// What a column of SHOW CLIENTS names.
    Client(fn(&mut Session<'_>, Option<&str>) -> Answer),
    /// The name of a database, or none.
    Database(fn(&mut Session<'_>, Option<&str>) -> Answer),
    /// `[db] [TIMEOUT seconds]`
    Pause(fn(&mut Session<'_>, Option<&str>, Option<Duration>) -> Answer),
    /// `key = value` for a parameter that only a server would have.
    Ignored(fn(&mut Session<'_>) -> Answer),
    /// `key = value`
    Setting(fn(&mut Session<'_>, &str, &str) -> Answer),
    /// One of the tables, or the help.
    Show,
    Shutdown(fn(&mut Session<'_>, Shutdown) -> Answer),
}

/// A command. Several of one word differ in their arguments.
pub struct Command {
    pub word: &'static str,
    /// As SHOW HELP prints them.
    pub arguments: &'static str,
    pub who: Who,
    pub run: Run,
}

/// Every command, in the order of SHOW HELP.
pub static COMMANDS: &[Command] = &[
    row("SHOW", "HELP|CONFIG|...", Who::Everybody, Run::Show),
    row("SET", "parameter = arg", Who::Everybody, Run::Ignored(set::ignore)),
    row("SET", "key = arg", Who::Admins, Run::Setting(set::set)),
    row("RELOAD", "", Who::Admins, Run::Bare(control::reload)),
    row("PAUSE", "[<db>] [TIMEOUT <seconds>]", Who::Admins, Run::Pause(control::pause)),
    row("RESUME", "[<db>]", Who::Admins, Run::Database(control::resume)),
    row("DISABLE", "<db>", Who::Admins, Run::Database(control::disable)),
    row("ENABLE", "<db>", Who::Admins, Run::Database(control::enable)),
    row("RECONNECT", "[<db>]", Who::Admins, Run::Database(control::reconnect)),
    row("KILL", "[<db>]", Who::Admins, Run::Database(control::kill)),
    row("KILL_CLIENT", "<client_id>", Who::Admins, Run::Client(control::kill_client)),
    row(
        "SHUTDOWN",
        "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]",
        Who::Admins,
        Run::Shutdown(control::shutdown),
    ),
    row("WAIT_CLOSE", "[<db>]", Who::Admins, Run::Database(control::wait_close)),
];

const fn row(word: &'static str, arguments: &'static str, who: Who, run: Run) -> Command {
    Command { word, arguments, who, run }
}

/// Words with which SQL begins.
const SQL: [&str; 16] = [
    "ALTER", "BEGIN", "COMMIT", "COPY", "CREATE", "DELETE", "DROP", "EXPLAIN", "INSERT", "LISTEN",
    "ROLLBACK", "SELECT", "START", "UPDATE", "VACUUM", "WITH",
];

/// What was perhaps meant by a word that is no command.
fn hint_for(word: &str) -> Hint {
    if SQL.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        return Hint::Sql;
    }
    nearest(word, COMMANDS.iter().map(|row| row.word)).map_or(Hint::None, Hint::Word)
}

/// Carries out one command; `text` is what is told back when it is none.
pub fn run(session: &mut Session<'_>, tokens: &[Token<'_>], text: &str) -> Answer {
    let invalid = |hint| Err(Refusal::invalid(text, hint));
    let Some((Token::Word(word), arguments)) = tokens.split_first() else {
        return invalid(Hint::None);
    };
    let mut known = COMMANDS.iter().filter(|row| row.word.eq_ignore_ascii_case(word)).peekable();
    let Some(first) = known.peek() else {
        return invalid(hint_for(word));
    };
    let hint = match first.run {
        Run::Show => show::hint(arguments),
        _ => Hint::Arguments { word: first.word, arguments: first.arguments },
    };
    match known.find_map(|row| row.call(session, arguments)) {
        Some(answer) => answer,
        None => invalid(hint),
    }
}

/// What a command would show, without carrying it out; an error when it is none.
pub fn look_up(tokens: &[Token<'_>], text: &str) -> Result<Option<&'static Show>, Refusal> {
    let invalid = |hint| Err(Refusal::invalid(text, hint));
    match tokens.split_first() {
        Some((Token::Word(word), [Token::Word(what)])) if word.eq_ignore_ascii_case("SHOW") => {
            match show::find(what) {
                Some(show) => Ok(Some(show)),
                None => invalid(show::hint(&tokens[1..])),
            }
        }
        Some((Token::Word(word), _))
            if COMMANDS.iter().any(|row| row.word.eq_ignore_ascii_case(word)) =>
        {
            Ok(None)
        }
        Some((Token::Word(word), _)) => invalid(hint_for(word)),
        _ => invalid(Hint::None),
    }
}

impl Command {
    /// Carries the command out; `None` when the arguments are not its own.
    fn call(&self, session: &mut Session<'_>, arguments: &[Token<'_>]) -> Option<Answer> {
        let may = session.is_admin() || self.who == Who::Everybody;
        let allowed = |carry_out: &mut dyn FnMut() -> Answer| {
            Some(if may { carry_out() } else { Err(Refusal::AdminNeeded) })
        };
        match &self.run {
            Run::Bare(run) => {
                arguments.is_empty().then_some(())?;
                allowed(&mut || run(session))
            }
            Run::Client(run) | Run::Database(run) => {
                let name = optional(arguments)?;
                allowed(&mut || run(session, name))
            }
            Run::Pause(run) => {
                let (database, limit) = pause_arguments(arguments)?;
                allowed(&mut || run(session, database, limit))
            }
            Run::Ignored(run) => {
                set::is_ignored(arguments).then_some(())?;
                allowed(&mut || run(session))
            }
            Run::Setting(run) => {
                let (key, value) = set::assignment(arguments)?;
                allowed(&mut || run(session, key, value))
            }
            Run::Show => {
                let show = show::find(required(arguments)?)?;
                allowed(&mut || match show.answer {
                    show::Answer::Help => help(session),
                    show::Answer::Table(table) => show::run(session, table),
                })
            }
            Run::Shutdown(run) => {
                let mode = shutdown_mode(optional(arguments)?)?;
                allowed(&mut || run(session, mode))
            }
        }
    }
}

/// SHOW HELP: the commands in a notice, one to a line, each line behind a tab.
fn help(session: &mut Session<'_>) -> Answer {
    let is_listed = |command: &&Command| !matches!(command.run, Run::Show | Run::Ignored(_));
    let lines = COMMANDS
        .iter()
        .filter(is_listed)
        .map(|command| format!("{} {}", command.word, command.arguments).trim_end().to_owned());
    let lines = show::usage().into_iter().chain(lines);
    let usage: String = lines.map(|line| format!("\n\t{line}")).collect();
    session.notice("Console usage", Some(&usage));
    Ok(Done::tag("SHOW"))
}

fn required<'a>(arguments: &'a [Token<'_>]) -> Option<&'a str> {
    match arguments {
        [Token::Word(word)] => Some(word),
        _ => None,
    }
}

/// One word or none.
fn optional<'a>(arguments: &'a [Token<'_>]) -> Option<Option<&'a str>> {
    if arguments.is_empty() { Some(None) } else { required(arguments).map(Some) }
}

fn shutdown_mode(word: Option<&str>) -> Option<Shutdown> {
    let Some(word) = word else { return Some(Shutdown::Immediate) };
    let modes = [Shutdown::WaitForClients, Shutdown::WaitForServers];
    modes.into_iter().find(|mode| mode.words().trim().eq_ignore_ascii_case(word))
}

/// A name alone is a database, even when it is called `timeout`.
fn pause_arguments<'a>(arguments: &'a [Token<'_>]) -> Option<(Option<&'a str>, Option<Duration>)> {
    let (database, limit) = match arguments {
        [database @ .., Token::Word(word), limit @ (Token::Word(_) | Token::Text(_))]
            if word.eq_ignore_ascii_case("TIMEOUT") =>
        {
            (database, Some(limit))
        }
        database => (database, None),
    };
    let limit = match limit {
        Some(Token::Word(text) | Token::Text(text)) => Some(seconds(text)?),
        _ => None,
    };
    Some((optional(database)?, limit))
}

/// A time limit: a number of seconds, with a fraction, of at most a day.
fn seconds(text: &str) -> Option<Duration> {
    const LONGEST: Duration = Duration::from_secs(86_400);
    config::seconds(text).filter(|limit| *limit <= LONGEST)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words<'a>(words: &[&'a str]) -> Vec<Token<'a>> {
        words.iter().map(|word| Token::Word((*word).into())).collect()
    }

    #[test]
    fn pause_takes_a_database_a_limit_or_both() {
        let cases: [(&[&str], _); 7] = [
            (&[], Some((None, None))),
            (&["app"], Some((Some("app"), None))),
            (&["timeout"], Some((Some("timeout"), None))),
            (&["TimeOut", "1.5"], Some((None, Some(Duration::from_millis(1500))))),
            (&["app", "timeout", "0"], Some((Some("app"), Some(Duration::ZERO)))),
            (&["app", "timeout"], None),
            (&["app", "timeout", "5", "6"], None),
        ];
        for (arguments, expected) in cases {
            assert_eq!(pause_arguments(&words(arguments)), expected, "{arguments:?}");
        }
        for limit in ["-1", "x", "", "NaN", "inf", "1e9"] {
            assert_eq!(pause_arguments(&words(&["timeout", limit])), None, "{limit}");
        }
    }

    #[test]
    fn every_word_stands_together_with_its_like() {
        let mut words: Vec<&str> = COMMANDS.iter().map(|row| row.word).collect();
        words.dedup();
        let mut sorted = words.clone();
        sorted.sort_unstable();
        sorted.dedup();
        assert_eq!(words.len(), sorted.len(), "a word stands in two places");
    }
}
