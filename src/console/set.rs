//! SET changes a setting until the next RELOAD; the value is checked as in the file. A SET of a
//! PostgreSQL parameter, which drivers send after their login, is accepted and has no effect.

use super::parse::CommandToken;
use super::refusal::{Refusal, Unset};
use super::session::{CommandResult, ConsoleTurn, Done};
use crate::config::settings::{ALIASES, GONE};
use crate::config::{Settings, ValueError};
use crate::log::Level;
use crate::pool::core::CONSOLE;

/// Parameters of PostgreSQL that drivers set after their login.
const IGNORED: [&str; 14] = [
    "application_name",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "extra_float_digits",
    "idle_in_transaction_session_timeout",
    "intervalstyle",
    "lock_timeout",
    "search_path",
    "standard_conforming_strings",
    "statement_timeout",
    "timezone",
    "xmloption",
];

/// Settings that name a file which the pooler writes, or whose content the log or RELOAD may show.
/// Whoever changes one of these settings reads or writes a file as the pooler's user, so the
/// console lets only that user do so. TLS files are not among them: the pooler neither writes nor
/// shows them.
const PATHS: [&str; 5] = ["auth_file", "auth_hba_file", "auth_ident_file", "conffile", "logfile"];

/// Whether these are the arguments of a SET that has no effect here. Their values may be of any
/// form that PostgreSQL takes.
pub fn is_ignored(arguments: &[CommandToken<'_>]) -> bool {
    let arguments = match arguments {
        [CommandToken::Word(scope), rest @ ..]
            if ["SESSION", "LOCAL"].iter().any(|word| scope.eq_ignore_ascii_case(word)) =>
        {
            rest
        }
        all => all,
    };
    let Some((CommandToken::Word(name), [CommandToken::Equals | CommandToken::Word(_), _, ..])) =
        arguments.split_first()
    else {
        return false;
    };
    let is_zone = name.eq_ignore_ascii_case("TIME")
        && matches!(&arguments[1], CommandToken::Word(zone) if zone.eq_ignore_ascii_case("ZONE"));
    is_zone || IGNORED.iter().any(|ignored| name.eq_ignore_ascii_case(ignored))
}

/// `key = value` or `key TO value`.
pub fn assignment<'a>(arguments: &'a [CommandToken<'_>]) -> Option<(&'a str, &'a str)> {
    let [CommandToken::Word(key), between, CommandToken::Word(value) | CommandToken::Text(value)] =
        arguments
    else {
        return None;
    };
    let is_assignment = match between {
        CommandToken::Equals => true,
        CommandToken::Word(word) => word.eq_ignore_ascii_case("TO"),
        CommandToken::Text(_) => false,
    };
    is_assignment.then_some((key, value))
}

pub fn ignore(session: &mut ConsoleTurn<'_>) -> CommandResult {
    session.notice("SET ignored", None);
    Ok(Done::tag("SET"))
}

pub fn set(session: &mut ConsoleTurn<'_>, key: &str, value: &str) -> CommandResult {
    let mut settings = session.core.settings().clone();
    let before = settings.clone();
    let is_own_user = session.console().is_some_and(|console| console.is_own_user);
    if let Err(why) = assign(&mut settings, key, value, is_own_user) {
        if let Unset::Value(ValueError::UnknownKey { .. }) = why {
            session.core.log(Level::Error, format!("unknown parameter: pgbouncer/{key}"));
        }
        return Err(Refusal::SetFailed { key: key.into(), why });
    }
    for change in before.changes(&settings) {
        session.core.log(Level::Log, format!("SET {change}"));
    }
    session.core.change_setting(settings);
    Ok(Done::Tag(format!("SET {key}={value}").into()))
}

fn assign(settings: &mut Settings, key: &str, value: &str, is_own_user: bool) -> Result<(), Unset> {
    let key = key.to_ascii_lowercase();
    if GONE.contains(&key.as_str()) {
        return Err(Unset::Gone);
    }
    let alias = ALIASES.iter().find(|(old, _)| *old == key);
    let key = alias.map_or(key.as_str(), |(_, new)| new);
    if Settings::row(key).is_some_and(|row| !row.is_changeable()) {
        return Err(Unset::NeedsRestart);
    }
    if PATHS.contains(&key) && !is_own_user {
        return Err(Unset::NeedsOwnUser);
    }
    if key == "auth_dbname" && value == CONSOLE {
        return Err(Unset::Value(ValueError::Reserved));
    }
    settings.set(key, value).map_err(Unset::Value)
}

#[cfg(test)]
mod tests {
    use super::super::parse;
    use super::*;

    fn tokens(mut text: &str) -> Vec<CommandToken<'_>> {
        parse::next(&mut text).expect("a command").expect("closed quotes").tokens
    }

    #[test]
    fn what_drivers_set_at_login_is_ignored_in_every_form() {
        for text in [
            "extra_float_digits = 3",
            "application_name = 'PostgreSQL JDBC Driver'",
            "DateStyle TO ISO, MDY",
            "session timezone to 'UTC'",
            "TIME ZONE 'UTC'",
            "client_encoding='utf8'",
        ] {
            assert!(is_ignored(&tokens(text)), "{text}");
        }
        for text in ["extra_float_digits", "pool_mode = session", "timezone =", "session x = 1"] {
            assert!(!is_ignored(&tokens(text)), "{text}");
        }
    }

    #[test]
    fn an_assignment_is_a_key_and_one_value() {
        assert_eq!(assignment(&tokens("a = 'x y'")), Some(("a", "x y")));
        assert_eq!(assignment(&tokens("a to -1.5")), Some(("a", "-1.5")));
        for text in ["a", "a =", "a = b c", "a 'to' b", "'a' = b"] {
            assert_eq!(assignment(&tokens(text)), None, "{text}");
        }
    }

    #[test]
    fn a_value_is_checked_as_in_the_file() {
        let mut settings = Settings::default();
        assert_eq!(assign(&mut settings, "Default_Pool_Size", "7", false), Ok(()));
        assert_eq!(settings.default_pool_size, 7);
        assert_eq!(assign(&mut settings, "listen_port", "7", false), Err(Unset::NeedsRestart));
        assert_eq!(assign(&mut settings, "suspend_timeout", "7", false), Err(Unset::Gone));
        let reserved = Err(Unset::Value(ValueError::Reserved));
        assert_eq!(assign(&mut settings, "auth_dbname", "pgbouncer", false), reserved);
        assert!(matches!(assign(&mut settings, "pool_mode", "x", false), Err(Unset::Value(_))));
    }

    #[test]
    fn what_names_a_file_is_for_the_poolers_own_user() {
        let is_path = |name: &str| {
            (name.ends_with("file") && !name.contains("_tls_")) || PATHS.contains(&name)
        };
        let changeable = Settings::rows().iter().filter(|row| row.is_changeable());
        let paths: Vec<&str> = changeable.map(|row| row.name).filter(|row| is_path(row)).collect();
        assert_eq!(paths, PATHS);
        for path in paths {
            let mut settings = Settings::default();
            let refused = assign(&mut settings, path, "/tmp/x", false);
            assert_eq!(refused, Err(Unset::NeedsOwnUser), "{path}");
            assert_eq!(settings, Settings::default(), "{path}");
            assert_eq!(assign(&mut settings, path, "/tmp/x", true), Ok(()), "{path}");
        }
    }
}
