//! The console's commands: one table of word, arguments, permission and function.

use std::time::Duration;

use super::control;
use super::parse::CommandToken;
use super::refusal::{Hint, Refusal};
use super::session::{CommandResult, ConsoleTurn, Done};
use super::set;
use super::show::{self, Show};
use crate::config::{self, table::nearest};
use crate::pool::records::wait::Shutdown;

/// Who may use a command.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// Users in admin_users.
    Admins,
    /// Users in stats_users too.
    Everybody,
}

/// The arguments that a command takes, and the function that carries it out.
pub enum CommandHandler {
    /// No arguments.
    Bare(fn(&mut ConsoleTurn<'_>) -> CommandResult),
    /// A client, by its `id` or `ptr` in SHOW CLIENTS.
    Client(fn(&mut ConsoleTurn<'_>, Option<&str>) -> CommandResult),
    /// The name of a database, or none.
    Database(fn(&mut ConsoleTurn<'_>, Option<&str>) -> CommandResult),
    /// `[db] [TIMEOUT seconds]`
    Pause(fn(&mut ConsoleTurn<'_>, Option<&str>, Option<Duration>) -> CommandResult),
    /// `key = value` for a parameter of PostgreSQL, which means nothing to the pooler.
    Ignored(fn(&mut ConsoleTurn<'_>) -> CommandResult),
    /// `key = value`
    Setting(fn(&mut ConsoleTurn<'_>, &str, &str) -> CommandResult),
    /// One of the tables, or the help.
    Show,
    Shutdown(fn(&mut ConsoleTurn<'_>, Shutdown) -> CommandResult),
}

/// A command. Commands of the same word differ in their arguments.
pub struct Command {
    pub word: &'static str,
    /// As SHOW HELP prints them.
    pub arguments: &'static str,
    pub who: Permission,
    pub run: CommandHandler,
}

const SHOW: &str = "SHOW";

/// Every command, in the order of SHOW HELP.
pub static COMMANDS: &[Command] = &[
    row(SHOW, "HELP|CONFIG|...", Permission::Everybody, CommandHandler::Show),
    row("SET", "parameter = arg", Permission::Everybody, CommandHandler::Ignored(set::ignore)),
    row("SET", "key = arg", Permission::Admins, CommandHandler::Setting(set::set)),
    row("RELOAD", "", Permission::Admins, CommandHandler::Bare(control::reload)),
    row(
        "PAUSE",
        "[<db>] [TIMEOUT <seconds>]",
        Permission::Admins,
        CommandHandler::Pause(control::pause),
    ),
    row("RESUME", "[<db>]", Permission::Admins, CommandHandler::Database(control::resume)),
    row("DISABLE", "<db>", Permission::Admins, CommandHandler::Database(control::disable)),
    row("ENABLE", "<db>", Permission::Admins, CommandHandler::Database(control::enable)),
    row("RECONNECT", "[<db>]", Permission::Admins, CommandHandler::Database(control::reconnect)),
    row("KILL", "[<db>]", Permission::Admins, CommandHandler::Database(control::kill)),
    row(
        "KILL_CLIENT",
        "<client_id>",
        Permission::Admins,
        CommandHandler::Client(control::kill_client),
    ),
    row(
        "SHUTDOWN",
        "[WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS]",
        Permission::Admins,
        CommandHandler::Shutdown(control::shutdown),
    ),
    row("WAIT_CLOSE", "[<db>]", Permission::Admins, CommandHandler::Database(control::wait_close)),
];

const fn row(
    word: &'static str,
    arguments: &'static str,
    who: Permission,
    run: CommandHandler,
) -> Command {
    Command { word, arguments, who, run }
}

/// Words that begin a statement of SQL.
const SQL: [&str; 16] = [
    "ALTER", "BEGIN", "COMMIT", "COPY", "CREATE", "DELETE", "DROP", "EXPLAIN", "INSERT", "LISTEN",
    "ROLLBACK", "SELECT", "START", "UPDATE", "VACUUM", "WITH",
];

/// What the user perhaps meant by a word that is no command.
fn hint_for(word: &str) -> Hint {
    if SQL.iter().any(|known| word.eq_ignore_ascii_case(known)) {
        return Hint::Sql;
    }
    nearest(word, COMMANDS.iter().map(|row| row.word)).map_or(Hint::None, Hint::Word)
}

/// Carries out one command; the error quotes `text` if it is no command.
pub fn run(
    session: &mut ConsoleTurn<'_>,
    tokens: &[CommandToken<'_>],
    text: &str,
) -> CommandResult {
    let invalid = |hint| Err(Refusal::invalid(text, hint));
    let Some((CommandToken::Word(word), arguments)) = tokens.split_first() else {
        return invalid(Hint::None);
    };
    let word = if is_show(word, arguments) { SHOW } else { word };
    let mut known = COMMANDS.iter().filter(|row| row.word.eq_ignore_ascii_case(word)).peekable();
    let Some(first) = known.peek() else {
        return invalid(hint_for(word));
    };
    let hint = match first.run {
        CommandHandler::Show => show::hint(arguments),
        _ => Hint::Arguments { word: first.word, arguments: first.arguments },
    };
    match known.find_map(|row| row.call(session, arguments)) {
        Some(answer) => answer,
        None => invalid(hint),
    }
}

/// The table that a command would show, or None; the command is not carried out. An error if there
/// is no such command.
pub fn look_up(tokens: &[CommandToken<'_>], text: &str) -> Result<Option<&'static Show>, Refusal> {
    let invalid = |hint| Err(Refusal::invalid(text, hint));
    match tokens.split_first() {
        Some((CommandToken::Word(word), arguments @ [CommandToken::Word(what)]))
            if is_show(word, arguments) =>
        {
            match show::find(what) {
                Some(show) => Ok(Some(show)),
                None => invalid(show::hint(arguments)),
            }
        }
        Some((CommandToken::Word(word), _))
            if COMMANDS.iter().any(|row| row.word.eq_ignore_ascii_case(word)) =>
        {
            Ok(None)
        }
        Some((CommandToken::Word(word), _)) => invalid(hint_for(word)),
        _ => invalid(Hint::None),
    }
}

/// Whether a command is SHOW. PgBouncer takes SELECT for it, before what can be shown.
fn is_show(word: &str, arguments: &[CommandToken<'_>]) -> bool {
    let is_shown = || required(arguments).is_some_and(|what| show::find(what).is_some());
    word.eq_ignore_ascii_case(SHOW) || (word.eq_ignore_ascii_case("SELECT") && is_shown())
}

impl Command {
    /// Carries the command out; `None` if the arguments do not fit.
    fn call(
        &self,
        session: &mut ConsoleTurn<'_>,
        arguments: &[CommandToken<'_>],
    ) -> Option<CommandResult> {
        let may = session.is_admin() || self.who == Permission::Everybody;
        let allowed = |carry_out: &mut dyn FnMut() -> CommandResult| {
            Some(if may { carry_out() } else { Err(Refusal::AdminNeeded) })
        };
        match &self.run {
            CommandHandler::Bare(run) => {
                arguments.is_empty().then_some(())?;
                allowed(&mut || run(session))
            }
            CommandHandler::Client(run) | CommandHandler::Database(run) => {
                let name = optional(arguments)?;
                allowed(&mut || run(session, name))
            }
            CommandHandler::Pause(run) => {
                let (database, limit) = pause_arguments(arguments)?;
                allowed(&mut || run(session, database, limit))
            }
            CommandHandler::Ignored(run) => {
                set::is_ignored(arguments).then_some(())?;
                allowed(&mut || run(session))
            }
            CommandHandler::Setting(run) => {
                let (key, value) = set::assignment(arguments)?;
                allowed(&mut || run(session, key, value))
            }
            CommandHandler::Show => {
                let show = show::find(required(arguments)?)?;
                allowed(&mut || match show.answer {
                    show::ShowOutput::Help => help(session),
                    show::ShowOutput::Table(table) => show::run(session, table),
                })
            }
            CommandHandler::Shutdown(run) => {
                let mode = shutdown_mode(optional(arguments)?)?;
                allowed(&mut || run(session, mode))
            }
        }
    }
}

/// SHOW HELP: the commands in a notice, one to a line, each line after a tab.
fn help(session: &mut ConsoleTurn<'_>) -> CommandResult {
    let is_listed = |command: &&Command| {
        !matches!(command.run, CommandHandler::Show | CommandHandler::Ignored(_))
    };
    let lines = COMMANDS
        .iter()
        .filter(is_listed)
        .map(|command| format!("{} {}", command.word, command.arguments).trim_end().to_owned());
    let lines = show::usage().into_iter().chain(lines);
    let usage: String = lines.map(|line| format!("\n\t{line}")).collect();
    session.notice("Console usage", Some(&usage));
    Ok(Done::tag("SHOW"))
}

fn required<'a>(arguments: &'a [CommandToken<'_>]) -> Option<&'a str> {
    match arguments {
        [CommandToken::Word(word)] => Some(word),
        _ => None,
    }
}

/// One word or none.
fn optional<'a>(arguments: &'a [CommandToken<'_>]) -> Option<Option<&'a str>> {
    if arguments.is_empty() { Some(None) } else { required(arguments).map(Some) }
}

fn shutdown_mode(word: Option<&str>) -> Option<Shutdown> {
    let Some(word) = word else { return Some(Shutdown::Immediate) };
    let modes = [Shutdown::WaitForClients, Shutdown::WaitForServers];
    modes.into_iter().find(|mode| mode.words().trim().eq_ignore_ascii_case(word))
}

/// A name alone is a database, even when it is called `timeout`.
fn pause_arguments<'a>(
    arguments: &'a [CommandToken<'_>],
) -> Option<(Option<&'a str>, Option<Duration>)> {
    let (database, limit) = match arguments {
        [
            database @ ..,
            CommandToken::Word(word),
            limit @ (CommandToken::Word(_) | CommandToken::Text(_)),
        ] if word.eq_ignore_ascii_case("TIMEOUT") => (database, Some(limit)),
        database => (database, None),
    };
    let limit = match limit {
        Some(CommandToken::Word(text) | CommandToken::Text(text)) => Some(seconds(text)?),
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

    fn words<'a>(words: &[&'a str]) -> Vec<CommandToken<'a>> {
        words.iter().map(|word| CommandToken::Word((*word).into())).collect()
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
