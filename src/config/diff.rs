//! What a reload changes: settings, and lines of databases, users and peers, with a line of text
//! for each change. Secrets are compared and never printed.

use std::fmt;

use super::load::Config;
use super::table::SettingChange;
use crate::base::places::Places;

/// All that differs between two configurations.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Diff {
    /// Settings that take effect with the reload.
    pub settings: Vec<SettingChange>,
    /// Settings that take effect at the next start only.
    pub restart: Vec<SettingChange>,
    pub databases: Vec<LineChange>,
    pub users: Vec<LineChange>,
    pub peers: Vec<LineChange>,
}

/// A line that was added, removed or changed.
#[derive(Clone, PartialEq, Debug)]
pub struct LineChange {
    pub name: String,
    pub what: LineChanged,
}

#[derive(Clone, PartialEq, Debug)]
pub enum LineChanged {
    Added,
    Changed(Vec<SettingChange>),
    Removed,
}

/// What changes from `old` to `new`.
pub fn diff(old: &Config, new: &Config) -> Diff {
    let changes = old.settings.changes(&new.settings);
    let (settings, restart) = changes.into_iter().partition(|change| change.row.is_changeable());
    Diff {
        settings,
        restart,
        databases: lines(
            &old.databases.iter().map(|line| line.name.clone()).collect::<Vec<_>>(),
            &new.databases.iter().map(|line| line.name.clone()).collect::<Vec<_>>(),
            &|before, after| old.databases[before].changes(&new.databases[after]),
        ),
        users: lines(
            &old.users.iter().map(|line| line.name.clone()).collect::<Vec<_>>(),
            &new.users.iter().map(|line| line.name.clone()).collect::<Vec<_>>(),
            &|before, after| old.users[before].changes(&new.users[after]),
        ),
        peers: lines(
            &old.peers.iter().map(|line| line.id.to_string()).collect::<Vec<_>>(),
            &new.peers.iter().map(|line| line.id.to_string()).collect::<Vec<_>>(),
            &|before, after| old.peers[before].changes(&new.peers[after]),
        ),
    }
}

/// What differs between two lists of lines, given by their names; `changes` compares a line of the
/// old list with one of the new.
fn lines(
    old: &[String],
    new: &[String],
    changes: &dyn Fn(usize, usize) -> Vec<SettingChange>,
) -> Vec<LineChange> {
    let mut gone = Places::of(&mut old.iter().map(String::as_str));
    let mut found = Vec::new();
    for (place, name) in new.iter().enumerate() {
        let what = match gone.remove(name).map(|before| changes(before, place)) {
            None => LineChanged::Added,
            Some(changes) if changes.is_empty() => continue,
            Some(changes) => LineChanged::Changed(changes),
        };
        found.push(LineChange { name: name.clone(), what });
    }
    let gone = old.iter().filter(|name| gone.get(name).is_some());
    found.extend(gone.map(|name| LineChange { name: name.clone(), what: LineChanged::Removed }));
    found
}

impl Diff {
    pub fn is_empty(&self) -> bool {
        *self == Diff::default()
    }

    /// A line for each change, in words.
    pub fn lines(&self) -> Vec<String> {
        let settings = self.settings.iter().map(|change| format!("setting {change}"));
        let restart = self.restart.iter();
        let restart =
            restart.map(|change| format!("setting {change}, takes effect at the next start"));
        let sections =
            [("database", &self.databases), ("user", &self.users), ("peer", &self.peers)];
        let named = sections.into_iter().flat_map(|(section, changes)| {
            changes.iter().map(move |change| format!("{section} {change}"))
        });
        settings.chain(restart).chain(named).collect()
    }
}

impl fmt::Display for LineChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", self.name.escape_debug())?;
        match &self.what {
            LineChanged::Added => f.write_str(" added"),
            LineChanged::Removed => f.write_str(" removed"),
            LineChanged::Changed(changes) => {
                let changes: Vec<String> = changes.iter().map(SettingChange::to_string).collect();
                write!(f, ": {}", changes.join(", "))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::load_text;
    use super::*;

    fn lines_between(old: &str, new: &str) -> Vec<String> {
        let old = load_text("a.ini", &format!("[pgbouncer]\n{old}")).expect("the old file is good");
        let new = load_text("a.ini", &format!("[pgbouncer]\n{new}")).expect("the new file is good");
        diff(&old, &new).lines()
    }

    #[test]
    fn equal_files_differ_in_nothing() {
        let text = "pool_mode = statement\n[databases]\na = host=x password=y\n[peers]\n1 = host=z";
        assert!(lines_between(text, text).is_empty());
    }

    #[test]
    fn each_changed_setting_has_a_line_and_says_when_it_waits_for_a_restart() {
        assert_eq!(
            lines_between(
                "default_pool_size = 5\nlisten_port = 1",
                "listen_port = 2\nauth_user = x\nquery_timeout = 1.5"
            ),
            [
                "setting auth_user: not set -> x",
                "setting default_pool_size: 5 -> 20",
                "setting query_timeout: 0 -> 1.5",
                "setting listen_port: 1 -> 2, takes effect at the next start",
            ]
        );
    }

    #[test]
    fn lines_come_go_and_change() {
        assert_eq!(
            lines_between(
                "[databases]\na = host=x\nb =\nc = host=z\n[users]\nu = pool_size=1",
                "[databases]\nd =\nc =\na = host=x,y port=7\n[users]\nv ="
            ),
            [
                "database \"d\" added",
                "database \"c\": host: z -> not set",
                "database \"a\": host: x -> x,y, port: 5432 -> 7",
                "database \"b\" removed",
                "user \"v\" added",
                "user \"u\" removed",
            ]
        );
    }

    #[test]
    fn a_changed_password_is_told_without_either_password() {
        assert_eq!(
            lines_between(
                "auth_ldap_options = one\n[databases]\na = password=hush",
                "auth_ldap_options = two\n[databases]\na = password=hush2"
            ),
            ["setting auth_ldap_options: changed", "database \"a\": password: changed"]
        );
    }
}
