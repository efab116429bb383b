//! State that statements leave in a simulated session, and what clears it.

use std::collections::BTreeSet;

use super::sql::Statement;
use crate::config::SessionState;

/// A kind of state; items of [`Traces::show`] begin with its name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Kind {
    Authorization,
    Channel,
    Cursor,
    /// State that a function on the server has set: the statement does not show it.
    Hidden,
    Lock,
    Parameter,
    Prepared,
    Role,
    Table,
}

/// The state of a session, and the state to which a rollback returns.
#[derive(Clone, Default, Debug)]
pub struct Traces {
    items: BTreeSet<(Kind, String)>,
    saved: Option<BTreeSet<(Kind, String)>>,
}

/// The beginning of the answer to STATE.
pub const STATE: &str = "STATE";

impl Kind {
    const fn is_transactional(self) -> bool {
        !matches!(self, Kind::Lock | Kind::Prepared)
    }
}

impl Traces {
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    pub fn add(&mut self, kind: Kind, name: &str) {
        if matches!(kind, Kind::Role | Kind::Authorization | Kind::Parameter) {
            self.clear(&[kind]);
        }
        if kind == Kind::Authorization {
            self.clear(&[Kind::Role]);
        }
        self.items.insert((kind, name.to_owned()));
    }

    pub fn clear(&mut self, kinds: &[Kind]) {
        self.items.retain(|(kind, _)| !kinds.contains(kind));
    }

    pub fn clear_all(&mut self) {
        self.items.clear();
    }

    pub fn has(&self, kind: Kind) -> bool {
        self.items.iter().any(|(other, _)| *other == kind)
    }

    pub fn remove_channel(&mut self, name: &str) {
        self.items.remove(&(Kind::Channel, name.to_owned()));
    }

    pub fn channels(&self) -> impl Iterator<Item = &str> {
        let channels = self.items.iter().filter(|(kind, _)| *kind == Kind::Channel);
        channels.map(|(_, name)| name.as_str())
    }

    /// Whether the session gets notifications of this channel. Changes count after their
    /// transaction.
    pub fn hears(&self, channel: &str) -> bool {
        let items = self.saved.as_ref().unwrap_or(&self.items);
        items.contains(&(Kind::Channel, channel.to_owned()))
    }

    /// Clears all state but the channels.
    pub fn keep_channels(&mut self) {
        self.items.retain(|(kind, _)| *kind == Kind::Channel);
    }

    pub fn begin(&mut self) {
        self.saved.get_or_insert_with(|| self.items.clone());
    }

    pub fn commit(&mut self) {
        self.saved = None;
    }

    pub fn rollback(&mut self) {
        let Some(saved) = self.saved.take() else { return };
        let lasting = self.items.iter().filter(|(kind, _)| !kind.is_transactional()).cloned();
        let before = saved.into_iter().filter(|(kind, _)| kind.is_transactional());
        self.items = lasting.collect::<Vec<_>>().into_iter().chain(before).collect();
    }

    /// The state in the form of the answer to STATE.
    pub fn show(&self) -> String {
        let items = self.items.iter().map(|(kind, name)| format!(" {kind:?}:{name}"));
        format!("{STATE}{}", items.collect::<String>())
    }
}

/// Whether a client of the pooler may be shown `shown` where a session of its own would show `own`:
/// nothing of other clients, and under `pin` everything of its own.
pub fn may_be_shown(policy: SessionState, shares: bool, own: &str, shown: &str) -> bool {
    let own: BTreeSet<&str> = own.split(' ').collect();
    let shown: BTreeSet<&str> = shown.split(' ').collect();
    let is_kept =
        |item: &&&str| !(item.starts_with("Hidden:") || shares && item.starts_with("Channel:"));
    shown.is_subset(&own)
        && (policy != SessionState::Pin
            || own.iter().filter(is_kept).eq(shown.iter().filter(is_kept)))
}

/// Parses statements that leave or clear state.
pub fn parse(text: &str) -> Option<Statement> {
    const ROLES: [Kind; 2] = [Kind::Role, Kind::Authorization];
    let name = |at: usize| Some(text.split([' ', '\'']).nth(at)?.to_owned());
    // The pooler quotes the names of channels that it gives back to a session.
    let leave =
        |kind, at| Some(Statement::Leave { kind, name: name(at)?.trim_matches('"').to_owned() });
    let clear = |kinds: &[Kind], tag| Some(Statement::Clear { kinds: kinds.to_vec(), tag });
    match text {
        STATE => return Some(Statement::State),
        "CLOSE ALL" => return clear(&[Kind::Cursor], "CLOSE CURSOR ALL"),
        "DISCARD TEMP" => return clear(&[Kind::Table], "DISCARD TEMP"),
        "RESET ROLE" => return clear(&[Kind::Role], "RESET"),
        "RESET SESSION AUTHORIZATION" | "SET SESSION AUTHORIZATION DEFAULT" => {
            return clear(&ROLES, "SET");
        }
        "UNLISTEN *" => return clear(&[Kind::Channel], "UNLISTEN"),
        "SELECT pg_catalog.pg_listening_channels()" => return Some(Statement::Channels),
        "SELECT pg_catalog.txid_current()" => return Some(Statement::Transaction),
        _ if text.starts_with("SELECT pg_catalog.txid_status(") => {
            let number = text.split(['(', ')']).nth(1)?.parse().ok()?;
            return Some(Statement::TransactionStatus { number });
        }
        _ if text.starts_with("UNLISTEN ") => {
            let channel = name(1)?.trim_matches('"').to_owned();
            return Some(Statement::Unlisten { channel });
        }
        _ if text.ends_with("pg_advisory_unlock_all()") => {
            return clear(&[Kind::Lock], "SELECT 1");
        }
        _ if text.contains("FROM pg_catalog.pg_locks") => return Some(Statement::Locks),
        _ => {}
    }
    let (kind, at) = [
        ("CREATE TEMP TABLE ", Kind::Table, 3),
        ("DECLARE ", Kind::Cursor, 1),
        ("DO ", Kind::Hidden, 2),
        ("LISTEN ", Kind::Channel, 1),
        ("PREPARE ", Kind::Prepared, 1),
        ("SET ROLE ", Kind::Role, 2),
        ("SET SESSION AUTHORIZATION ", Kind::Authorization, 3),
        ("SET x.mark=", Kind::Parameter, 2),
    ]
    .iter()
    .find(|(start, ..)| text.starts_with(start))
    .map(|(_, kind, at)| (*kind, *at))
    .or_else(|| text.starts_with("SELECT pg_advisory_lock(").then_some((Kind::Lock, 2)))?;
    leave(kind, at)
}

/// The command tag of a statement that leaves state of this kind.
pub fn tag(kind: Kind) -> &'static str {
    match kind {
        Kind::Authorization | Kind::Parameter | Kind::Role => "SET",
        Kind::Channel => "LISTEN",
        Kind::Cursor => "DECLARE CURSOR",
        Kind::Hidden => "DO",
        Kind::Lock => "SELECT 1",
        Kind::Prepared => "PREPARE",
        Kind::Table => "CREATE TABLE",
    }
}

/// Whether a pooler with `session_state = error` refuses a text.
pub fn is_refused(list: &[Statement], shares: bool) -> bool {
    let leaves = |statement: &Statement| match statement {
        Statement::Leave { kind: Kind::Channel, .. } => !shares,
        Statement::Leave { kind, .. } => *kind != Kind::Hidden,
        _ => false,
    };
    list.iter().any(leaves)
}
