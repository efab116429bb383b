//! Tracked parameters: what each side of a link has set, so that a client finds its settings on
//! whatever server it gets.
//!
//! A server reports some parameters by ParameterStatus; all of those that SET can change are
//! tracked. Values are interned: a connection keeps four bytes for each, and two connections
//! agree when their ids do. A value is kept in the spelling that the server reported, so that a
//! SET is not repeated because of 'utc' and 'UTC'.
//!
//! Source: PostgreSQL manual, "Asynchronous Operations" of the message flow.

use crate::base::places::Places;

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

/// An interned value; 0 stands for "not set".
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct ValueId(u32);

/// The parameters of one connection, in the order of the table's names. Must be given back with
/// [`VarTable::clear`], since values are counted.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Vars {
    values: Vec<ValueId>,
}

struct Value {
    text: Box<str>,
    /// How many connections have it.
    count: u32,
}

/// Names and values of all tracked parameters.
pub struct VarTable {
    names: Vec<Box<str>>,
    /// Slot 0 is never used.
    values: Vec<Value>,
    free: Vec<u32>,
    by_text: Places,
}

impl VarTable {
    /// A table that tracks [`ALWAYS`] and `extra`, the setting track_extra_parameters.
    pub fn new<'a>(extra: impl IntoIterator<Item = &'a str>) -> VarTable {
        let unused = Value { text: "".into(), count: 0 };
        let mut table = VarTable {
            names: Vec::new(),
            values: vec![unused],
            free: Vec::new(),
            by_text: Places::default(),
        };
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
        self.names.push(name.into());
        Some(self.names.len() - 1)
    }

    pub fn set(&mut self, vars: &mut Vars, place: usize, text: &str) {
        let id = self.intern(text);
        self.put(vars, place, id);
    }

    pub fn value(&self, vars: &Vars, place: usize) -> Option<&str> {
        let id = vars.values.get(place).copied().unwrap_or_default();
        (id != ValueId::default()).then(|| &*self.values[id.0 as usize].text)
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

    /// Gives `vars` what it lacks and `from` has.
    pub fn fill_unset(&mut self, vars: &mut Vars, from: &Vars) {
        for place in 0..from.values.len() {
            if vars.values.get(place).copied().unwrap_or_default() == ValueId::default() {
                self.copy(vars, place, from);
            }
        }
    }

    /// Makes one parameter of `vars` what `from` has.
    fn copy(&mut self, vars: &mut Vars, place: usize, from: &Vars) {
        let id = from.values.get(place).copied().unwrap_or_default();
        if id != ValueId::default() {
            self.values[id.0 as usize].count += 1;
        }
        self.put(vars, place, id);
    }

    /// The statements that make the server's parameters the client's; `None` when they agree. What
    /// the client has not set is reset on a server where another client has set it.
    pub fn difference(&self, client: &Vars, server: &Vars) -> Option<String> {
        if client.values == server.values {
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
        for place in 0..self.names.len() {
            let theirs = server.values.get(place).copied().unwrap_or_default();
            let ours = client.values.get(place).copied().unwrap_or_default();
            if ours == theirs {
                continue;
            }
            let is_reported = self.value(reported, place).is_some();
            if is_reported {
                self.copy(client, place, server);
            } else {
                self.copy(server, place, client);
            }
        }
    }

    pub fn clear(&mut self, vars: &mut Vars) {
        for id in std::mem::take(&mut vars.values) {
            self.release(id);
        }
    }

    /// Distinct values kept, and the bytes of their texts, for SHOW MEM.
    pub fn usage(&self) -> (usize, usize) {
        (self.by_text.len(), self.values.iter().map(|value| value.text.len()).sum())
    }

    fn put(&mut self, vars: &mut Vars, place: usize, id: ValueId) {
        if vars.values.len() <= place {
            vars.values.reserve_exact(self.names.len() - vars.values.len());
            vars.values.resize(place + 1, ValueId::default());
        }
        let old = std::mem::replace(&mut vars.values[place], id);
        self.release(old);
    }

    fn intern(&mut self, text: &str) -> ValueId {
        if let Some(slot) = self.by_text.get(text) {
            self.values[slot].count += 1;
            return ValueId(slot as u32);
        }
        let value = Value { text: text.into(), count: 1 };
        let slot = match self.free.pop() {
            Some(slot) => {
                self.values[slot as usize] = value;
                slot
            }
            None => {
                self.values.push(value);
                (self.values.len() - 1) as u32
            }
        };
        self.by_text.insert(text, slot as usize);
        ValueId(slot)
    }

    fn release(&mut self, id: ValueId) {
        if id == ValueId::default() {
            return;
        }
        let value = &mut self.values[id.0 as usize];
        value.count -= 1;
        if value.count == 0 {
            self.by_text.remove(&value.text);
            value.text = "".into();
            self.free.push(id.0);
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
        assert_eq!(table.usage(), (1, 3));
        table.clear(&mut one);
        assert_eq!(table.named(&other, "TimeZone"), Some("UTC"));
        table.clear(&mut other);
        assert_eq!(table.usage(), (0, 0));
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
