//! What the operator lets a client choose for itself at login: its pool mode (`pool_modes`), and
//! what happens to state that it leaves in server sessions (`session_states`).
//!
//! A client chooses by a startup parameter, or by a pool mode after the name of a database. Until
//! the client has logged in the pooler does not tell it what a database offers, nor whether the
//! database exists.

use crate::config::value::{Kind, SettingType};
use crate::config::{Choices, DatabaseLine, PoolMode, SessionState, Settings};
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, DatabaseId, UserId};
use crate::pool::records::client::Choice;
use crate::pool::telling::reason::Reason;

const POOL_MODE: &str = "pool_mode";
const SESSION_STATE: &str = "session_state";

impl Core {
    /// Notes a choice that a startup parameter makes. Returns false for any other parameter, and
    /// where no database offers the choice.
    pub(super) fn take_choice(
        &mut self,
        id: ClientId,
        name: &str,
        value: &[u8],
    ) -> Result<bool, Reason> {
        let value = String::from_utf8_lossy(value);
        let choice = self.clients[id].choice();
        let is_offered = |of: fn(&Settings) -> bool, or: fn(&DatabaseLine) -> bool| {
            of(self.settings()) || self.config.databases.iter().any(or)
        };
        let choice = if name.eq_ignore_ascii_case(POOL_MODE) {
            if !is_offered(|all| !all.pool_modes.is_empty(), |line| is_some(&line.pool_modes)) {
                return Ok(false);
            }
            Choice { mode: Some(read(POOL_MODE, &value, PoolMode::WORDS)?), ..choice }
        } else if name.eq_ignore_ascii_case(SESSION_STATE) {
            let offers = |line: &DatabaseLine| is_some(&line.session_states);
            if !is_offered(|all| !all.session_states.is_empty(), offers) {
                return Ok(false);
            }
            Choice { policy: Some(read(SESSION_STATE, &value, SessionState::WORDS)?), ..choice }
        } else {
            return Ok(false);
        };
        self.clients[id].rare.get_or_insert_default().choice = choice;
        Ok(true)
    }

    /// Splits `database.mode`, if no line has the whole name and the line of the first part offers
    /// the mode. A database made from `*` cannot be named so.
    pub(super) fn mode_in_name<'a>(&self, name: &'a str) -> Option<(&'a str, PoolMode)> {
        let (of, word) = name.rsplit_once('.')?;
        let mode = PoolMode::read(word, &Kind::Choice(PoolMode::WORDS)).ok()?;
        let line = |name: &str| {
            self.directory.find_database(name).filter(|id| {
                let database = &self.databases[*id];
                !database.is_auto && !database.line.is_fallback()
            })
        };
        let database = line(of).filter(|_| line(name).is_none())?;
        self.limits().offered_modes(database).contains(&mode).then_some((of, mode))
    }

    /// Checks that a client which has proved who it is may have what it chose.
    pub(super) fn check_choice(
        &self,
        id: ClientId,
        (database, user): (DatabaseId, UserId),
        pool_user: UserId,
    ) -> Result<(), Reason> {
        let Choice { mode, policy } = self.clients[id].choice();
        if let Some(mode) = mode {
            let is_configured = mode == self.limits().mode_of(database, pool_user);
            let offered = self.limits().offered_modes(database);
            check(POOL_MODE, "pool_modes", mode, mode.word(), offered, is_configured)?;
        }
        let Some(policy) = policy else { return Ok(()) };
        let configured = self.limits().configured_state(database, user);
        let offered = self.limits().offered_states(database);
        let is_configured = policy == configured;
        check(SESSION_STATE, "session_states", policy, policy.word(), offered, is_configured)?;
        if policy < configured {
            return Err(Reason::ChoiceRefused(
                format!(
                    "{SESSION_STATE} \"{}\" is weaker than \"{}\", which is configured",
                    policy.word(),
                    configured.word()
                )
                .into(),
            ));
        }
        Ok(())
    }
}

fn is_some<T: PartialEq>(list: &Option<Choices<T>>) -> bool {
    list.as_ref().is_some_and(|list| !list.is_empty())
}

fn read<T: SettingType>(
    name: &str,
    value: &str,
    words: &'static [&'static str],
) -> Result<T, Reason> {
    T::read(value, &Kind::Choice(words)).map_err(|error| {
        Reason::ChoiceRefused(format!("invalid value for parameter \"{name}\": {error}").into())
    })
}

/// Wherever a choice is offered, the configured value may be chosen too. Where none is offered, the
/// parameter is refused as any unknown one.
fn check<T: SettingType + PartialEq>(
    name: &str,
    setting: &str,
    choice: T,
    word: &str,
    offered: &Choices<T>,
    is_configured: bool,
) -> Result<(), Reason> {
    if offered.is_empty() {
        return Err(Reason::UnsupportedParameter(name.into()));
    }
    if is_configured || offered.contains(&choice) {
        return Ok(());
    }
    let text = format!("{name} \"{word}\" is not offered ({setting} = {})", offered.words());
    Err(Reason::ChoiceRefused(text.into()))
}
