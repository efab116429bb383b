//! Tracked parameters: what each side of a link has set, so that a client finds its settings on
//! whatever server it gets.
//!
//! A server reports some parameters by ParameterStatus; all of those that SET can change are
//! tracked. Most connections have the same values for all of them, so whole sets of values are
//! interned: a connection keeps the four bytes of a key, and two of them agree when their keys do.
//! A value is kept in the spelling that the server reported, so that a SET is not repeated because
//! of 'utc' and 'UTC'.
//!
//! Source: PostgreSQL manual, "Asynchronous Operations" of the message flow.

use crate::base::interned::{Interned, Key};

/// Parameters that can be tracked at most; a server that reports more is relayed, not believed.
const MOST_NAMES: usize = 64;

/// Tracked before any server has reported anything, since clients send them at startup.
pub const ALWAYS: [&str; 10] = [
    "DateStyle",
    "client_encoding",
    "TimeZone",
    "standard_conforming_strings",
    "application_name",
    "default_transaction_read_only",
    "IntervalStyle",
    "search_path",
    "scram_iterations",
    "session_authorization",
];

/// By these PostgreSQL reads the constants and names of a text when it is prepared.
const READ_BY: [&str; 12] = [
    "DateStyle",
    "IntervalStyle",
    "TimeZone",
    "array_nulls",
    "backslash_quote",
    "client_encoding",
    "lc_monetary",
    "search_path",
    "standard_conforming_strings",
    "timezone_abbreviations",
    "transform_null_equals",
    "xmloption",
];

/// Reported by servers, but not for SET to change.
const FIXED: [&str; 7] = [
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "server_encoding",
    "server_version",
    "server_version_num",
    "ssl_renegotiation_limit",
];

/// The parameters of one connection: the key of a set in the table. Must be given back with
/// [`VarTable::clear`], since sets are counted.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Vars(Option<Key>);

/// Texts in the order of the table's names, as keys of their own; `None` is not set. The last one
/// is set, so that sets which mean the same are the same.
type Values = [Option<Key>];

/// Names, values and sets of values of all tracked parameters.
#[derive(Default)]
pub struct VarTable {
    names: Vec<Box<str>>,
    /// The places of [`READ_BY`].
    readings: Vec<usize>,
    texts: Interned<str>,
    /// Each set holds its texts once, however many connections have it.
    sets: Interned<Values>,
}

/// What is kept, for SHOW MEM.
#[derive(PartialEq, Eq, Debug)]
pub struct Usage {
    pub sets: usize,
    pub texts: usize,
    /// Of both.
    pub bytes: usize,
}

impl VarTable {
    /// A table that tracks [`ALWAYS`] and `extra`, the setting track_extra_parameters.
    pub fn new<'a>(extra: impl IntoIterator<Item = &'a str>) -> VarTable {
        let mut table = VarTable::default();
        for name in ALWAYS.into_iter().chain(extra) {
            table.track(name);
        }
        table
    }

    /// The place of a tracked name, in whatever case.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    /// The place of a name that a server reports, tracked from now on.
    pub fn track(&mut self, name: &str) -> Option<usize> {
        if let Some(place) = self.find(name) {
            return Some(place);
        }
        let fixed = FIXED.iter().any(|fixed| fixed.eq_ignore_ascii_case(name));
        let sane = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        if fixed || !sane || name.is_empty() || self.names.len() == MOST_NAMES {
            return None;
        }
        if READ_BY.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            self.readings.push(self.names.len());
        }
        self.names.push(name.into());
        Some(self.names.len() - 1)
    }

    pub fn set(&mut self, vars: &mut Vars, place: usize, text: &str) {
        let text = self.texts.hold(text);
        let mut values = self.values(vars).to_vec();
        if values.len() <= place {
            values.resize(place + 1, None);
        }
        values[place] = Some(text);
        self.put(vars, &values);
        self.texts.release(text);
    }

    pub fn value(&self, vars: &Vars, place: usize) -> Option<&str> {
        Some(self.texts.get(self.key(vars, place)?))
    }

    /// The value of a parameter by name, for SHOW tables.
    pub fn named(&self, vars: &Vars, name: &str) -> Option<&str> {
        self.value(vars, self.find(name)?)
    }

    /// Name and value of all that is set.
    pub fn iter<'a>(&'a self, vars: &'a Vars) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.names
            .iter()
            .enumerate()
            .filter_map(|(place, name)| Some((&**name, self.value(vars, place)?)))
    }

    /// Place and value of the settings by which the texts of statements are read.
    pub fn readings<'a>(&'a self, vars: &'a Vars) -> impl Iterator<Item = (usize, &'a str)> {
        self.readings.iter().filter_map(|&place| Some((place, self.value(vars, place)?)))
    }

    /// Whether the texts of statements are read by this setting.
    pub fn is_reading(&self, place: usize) -> bool {
        self.readings.contains(&place)
    }

    /// Gives `vars` what it lacks and `from` has.
    pub fn fill_unset(&mut self, vars: &mut Vars, from: &Vars) {
        let values = self.merged(|place| self.key(vars, place).or(self.key(from, place)));
        self.put(vars, &values);
    }

    /// The statements that make the server's parameters the client's; `None` when they agree. What
    /// the client has not set is reset on a server where another client has set it.
    pub fn difference(&self, client: &Vars, server: &Vars) -> Option<String> {
        if client == server {
            return None;
        }
        let mut sql = String::new();
        for (place, name) in self.names.iter().enumerate() {
            match (self.value(client, place), self.value(server, place)) {
                (Some(wanted), present) if present != Some(wanted) => {
                    push_set(&mut sql, name, wanted);
                }
                (None, Some(_)) => sql.push_str(&format!("RESET {name};")),
                _ => {}
            }
        }
        (!sql.is_empty()).then_some(sql)
    }

    /// After the statements of [`VarTable::difference`] succeeded. Where the server has reported a
    /// parameter its spelling stands, and the client takes it over; where it reports nothing of
    /// the parameter, it has what the client has. `reported` tells which are reported.
    pub fn settle(&mut self, client: &mut Vars, server: &mut Vars, reported: &Vars) {
        let agreed = self.merged(|place| match self.key(reported, place) {
            Some(_) => self.key(server, place),
            None => self.key(client, place),
        });
        self.put(client, &agreed);
        self.put(server, &agreed);
    }

    pub fn clear(&mut self, vars: &mut Vars) {
        self.put(vars, &[]);
    }

    pub fn usage(&self) -> Usage {
        let mut usage = Usage { sets: 0, texts: 0, bytes: 0 };
        for set in self.sets.iter() {
            usage.sets += 1;
            usage.bytes += size_of_val(set);
        }
        for text in self.texts.iter() {
            usage.texts += 1;
            usage.bytes += text.len();
        }
        usage
    }

    fn values(&self, vars: &Vars) -> &Values {
        vars.0.map_or(&[], |set| self.sets.get(set))
    }

    fn key(&self, vars: &Vars, place: usize) -> Option<Key> {
        self.values(vars).get(place).copied().flatten()
    }

    /// What `choose` says of each name.
    fn merged(&self, choose: impl Fn(usize) -> Option<Key>) -> Vec<Option<Key>> {
        (0..self.names.len()).map(choose).collect()
    }

    /// Makes `vars` these values. Somebody must hold their texts meanwhile.
    fn put(&mut self, vars: &mut Vars, values: &Values) {
        let length = values.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
        let set = (length > 0).then(|| self.sets.hold(&values[..length]));
        if let Some(set) = set
            && self.sets.holders(set) == 1
        {
            values.iter().flatten().for_each(|&text| self.texts.hold_again(text));
        }
        let old = std::mem::replace(&mut vars.0, set);
        for text in old.and_then(|old| self.sets.release(old)).iter().flatten().flatten() {
            self.texts.release(*text);
        }
    }
}

/// Appends the statement that sets one parameter. A list whose elements are identifiers, such as
/// search_path, is reported as SQL text and SET would take it for one identifier; set_config takes
/// it as it was reported.
fn push_set(sql: &mut String, name: &str, value: &str) {
    let quoted = quote(value);
    if name.eq_ignore_ascii_case("search_path") {
        sql.push_str(&format!("SELECT pg_catalog.set_config('{name}', {quoted}, false);"));
    } else {
        sql.push_str(&format!("SET {name}={quoted};"));
    }
}

/// A literal that means the same whatever standard_conforming_strings says.
pub fn quote(value: &str) -> String {
    let escape = if value.contains('\\') { "E" } else { "" };
    format!("{escape}'{}'", value.replace('\\', "\\\\").replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vars(table: &mut VarTable, pairs: &[(&str, &str)]) -> Vars {
        let mut vars = Vars::default();
        for (name, value) in pairs {
            let place = table.track(name).unwrap();
            table.set(&mut vars, place, value);
        }
        vars
    }

    #[test]
    fn only_what_differs_is_set_and_case_of_names_does_not_matter() {
        let mut table = VarTable::new([]);
        let client = vars(
            &mut table,
            &[("timezone", "UTC"), ("DateStyle", "ISO"), ("client_encoding", "x")],
        );
        let pairs = [("TimeZone", "CET"), ("datestyle", "ISO"), ("client_encoding", "x")];
        let server = vars(&mut table, &pairs);
        assert_eq!(table.difference(&client, &server).as_deref(), Some("SET TimeZone='UTC';"));
        assert_eq!(table.difference(&client, &client), None);
    }

    #[test]
    fn the_spelling_of_the_server_is_taken_over() {
        let mut table = VarTable::new([]);
        let mut client = vars(&mut table, &[("TimeZone", "utc")]);
        let mut server = vars(&mut table, &[("TimeZone", "UTC")]);
        let reported = vars(&mut table, &[("TimeZone", "UTC")]);
        assert!(table.difference(&client, &server).is_some());
        table.settle(&mut client, &mut server, &reported);
        assert_eq!(table.difference(&client, &server), None);
        assert_eq!(table.named(&client, "timezone"), Some("UTC"));
    }

    #[test]
    fn what_the_server_does_not_report_is_remembered_and_reset_for_the_next_client() {
        let mut table = VarTable::new([]);
        let mut client = vars(&mut table, &[("search_path", "a")]);
        let (mut server, reported) = (Vars::default(), Vars::default());
        assert!(table.difference(&client, &server).is_some());
        table.settle(&mut client, &mut server, &reported);
        assert_eq!(table.difference(&client, &server), None);
        let next = Vars::default();
        assert_eq!(table.difference(&next, &server).as_deref(), Some("RESET search_path;"));
    }

    #[test]
    fn values_go_when_nobody_has_them() {
        let mut table = VarTable::new([]);
        let mut one = vars(&mut table, &[("TimeZone", "UTC")]);
        let mut other = Vars::default();
        table.fill_unset(&mut other, &one);
        assert_eq!(table.usage(), Usage { sets: 1, texts: 1, bytes: 3 * 4 + 3 });
        table.clear(&mut one);
        assert_eq!(table.named(&other, "TimeZone"), Some("UTC"));
        table.clear(&mut other);
        assert_eq!(table.usage(), Usage { sets: 0, texts: 0, bytes: 0 });
        let again = vars(&mut table, &[("TimeZone", "CET")]);
        assert_eq!(table.named(&again, "TimeZone"), Some("CET"));
    }

    #[test]
    fn hostile_names_and_values_stay_literals() {
        let mut table = VarTable::new([]);
        assert_eq!(table.track("a;drop"), None);
        assert_eq!(table.track(""), None);
        assert_eq!(table.track("is_superuser"), None);
        assert_eq!(quote("it's"), "'it''s'");
        assert_eq!(quote("a\\'b"), "E'a\\\\''b'");
        for i in 0..100 {
            table.track(&format!("name{i}"));
        }
        assert_eq!(table.names.len(), MOST_NAMES);
    }

    #[test]
    fn a_search_path_is_set_as_it_was_reported() {
        let mut table = VarTable::new([]);
        let client = vars(&mut table, &[("search_path", "\"$user\", public")]);
        let server = vars(&mut table, &[("search_path", "x")]);
        assert_eq!(
            table.difference(&client, &server).unwrap(),
            "SELECT pg_catalog.set_config('search_path', '\"$user\", public', false);"
        );
    }
}
