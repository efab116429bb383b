//! The commands that change something.

use std::time::Duration;

use super::refusal::Refusal;
use super::session::{CommandResult, ConsoleTurn, Done};
use crate::log::Level;
use crate::pool::core::CONSOLE;
use crate::pool::ids::DatabaseId;
use crate::pool::records::wait::{Shutdown, Wait};

pub fn reload(session: &mut ConsoleTurn<'_>) -> CommandResult {
    issued(session, "RELOAD", None);
    session.core.wait_for(session.id, Wait::Reload);
    session.core.ask_for_reload(Some(session.id));
    Ok(Done::Waits("RELOAD"))
}

pub fn pause(
    session: &mut ConsoleTurn<'_>,
    name: Option<&str>,
    limit: Option<Duration>,
) -> CommandResult {
    if session.core.is_paused {
        return Err(Refusal::AlreadyPaused);
    }
    issued(session, "PAUSE", name);
    if session.core.shutdown != Shutdown::No {
        return Err(Refusal::ShuttingDown);
    }
    let database = find_or_make(session, name, "pause")?;
    let is_owner = database.is_none_or(|id| !session.core.databases[id].is_paused);
    let until = limit.map(|limit| session.core.mono() + limit);
    session.core.pause(database);
    session.core.wait_for(session.id, Wait::Pause { database, until, is_owner });
    Ok(Done::Waits("PAUSE"))
}

pub fn resume(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    issued(session, "RESUME", name);
    if session.core.shutdown != Shutdown::No {
        return Err(Refusal::ShuttingDown);
    }
    if name == Some(CONSOLE) {
        return Err(Refusal::DatabaseNotPaused(CONSOLE.into()));
    }
    let database = find(session, name, "resume")?;
    if session.core.resume(database) {
        return Ok(Done::tag("RESUME"));
    }
    Err(match name {
        Some(name) => Refusal::DatabaseNotPaused(name.into()),
        None => Refusal::NotPaused { by_name: paused(session) },
    })
}

/// The databases that are paused by name.
fn paused(session: &ConsoleTurn<'_>) -> Box<[String]> {
    const MOST_NAMED: usize = 20;
    let databases = session.core.databases.iter().filter(|(_, database)| database.is_paused);
    databases.take(MOST_NAMED).map(|(_, database)| database.line.name.clone()).collect()
}

pub fn disable(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    let name = required(session, "DISABLE", name)?;
    let id = find_or_make(session, Some(name), "disable")?.ok_or(Refusal::DatabaseNeeded)?;
    session.core.disable(id);
    Ok(Done::tag("DISABLE"))
}

pub fn enable(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    let name = required(session, "ENABLE", name)?;
    let id = find(session, Some(name), "enable")?.ok_or(Refusal::DatabaseNeeded)?;
    session.core.enable(id);
    Ok(Done::tag("ENABLE"))
}

pub fn reconnect(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    issued(session, "RECONNECT", name);
    let database = find_or_make(session, name, "reconnect")?;
    session.core.reconnect(database);
    Ok(Done::tag("RECONNECT"))
}

pub fn kill(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    issued(session, "KILL", name);
    let database = find_or_make(session, name, "kill")?;
    session.core.kill(database);
    Ok(Done::tag("KILL"))
}

pub fn kill_client(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    let found = name.and_then(|name| session.core.client_named(name));
    let id = found.ok_or(Refusal::NoSuchClientName)?.map_err(|()| Refusal::ClientNotFound)?;
    session.core.kill_client(id);
    Ok(Done::tag("KILL_CLIENT"))
}

pub fn wait_close(session: &mut ConsoleTurn<'_>, name: Option<&str>) -> CommandResult {
    issued(session, "WAIT_CLOSE", name);
    let database = find_or_make(session, name, "wait in")?;
    session.core.wait_for(session.id, Wait::Close { database });
    Ok(Done::Waits("WAIT_CLOSE"))
}

pub fn shutdown(session: &mut ConsoleTurn<'_>, mode: Shutdown) -> CommandResult {
    session.core.log(Level::Log, format!("SHUTDOWN{} command issued", mode.words()));
    session.core.change_shutdown(mode);
    Ok(match mode {
        Shutdown::No | Shutdown::Immediate => Done::Over,
        Shutdown::WaitForClients | Shutdown::WaitForServers => Done::tag("SHUTDOWN"),
    })
}

/// Says in the log that a command came, whether or not it is then carried out.
fn issued(session: &mut ConsoleTurn<'_>, word: &str, name: Option<&str>) {
    let text = match name {
        Some(name) => format!("{word} '{name}' command issued"),
        None => format!("{word} command issued"),
    };
    session.core.log(Level::Log, text);
}

/// The name of a command that needs one.
fn required<'a>(
    session: &mut ConsoleTurn<'_>,
    word: &str,
    name: Option<&'a str>,
) -> Result<&'a str, Refusal> {
    let given = name.ok_or(Refusal::DatabaseNeeded)?;
    issued(session, word, name);
    Ok(given)
}

/// The database of that name; `None` stands for all of them.
fn find(
    session: &ConsoleTurn<'_>,
    name: Option<&str>,
    verb: &'static str,
) -> Result<Option<DatabaseId>, Refusal> {
    let Some(name) = name else { return Ok(None) };
    if name == CONSOLE {
        return Err(Refusal::ConsoleDatabase(verb));
    }
    match session.core.directory.find_database(name) {
        Some(id) => Ok(Some(id)),
        None => Err(Refusal::NoSuchDatabase(name.into())),
    }
}

/// The same; a database that only the `*` line covers is made first, as for a client, so that who
/// comes next finds it paused or disabled.
fn find_or_make(
    session: &mut ConsoleTurn<'_>,
    name: Option<&str>,
    verb: &'static str,
) -> Result<Option<DatabaseId>, Refusal> {
    find(session, name, verb).or_else(|refusal| match refusal {
        Refusal::NoSuchDatabase(name) => {
            let made = session.core.auto_database(session.id, &name);
            made.map(Some).ok_or(Refusal::NoSuchDatabase(name))
        }
        other => Err(other),
    })
}
