//! Tracked parameters as data: their names, and the values that connections have.
//!
//! Most connections have the same values for all parameters, so whole sets of values are interned:
//! a connection keeps a key of four bytes, and two connections agree if their keys do.
//!
//! Only names of the fixed list and of track_extra_parameters are tracked, so no server can fill
//! the table, which all databases share. Values are bytes: they need not be UTF-8.
//!
//! Source: PostgreSQL manual, "Asynchronous Operations" of the message flow.

use std::borrow::Cow;

use super::value::{self, VarValue};
use crate::base::interned::{Interned, InternedKey};

/// The most parameters that can be tracked: as many as [`VarSet`] has bits.
const MOST_NAMES: usize = 64;

/// The parameters that are tracked whatever the settings say.
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

/// The place of client_encoding in [`ALWAYS`].
pub(super) const CLIENT_ENCODING: usize = 1;

/// The parameters that decide what the bytes of a query mean. The client may have composed its next
/// query by the values it was told, so these stay as told, whatever the server's defaults are.
pub(super) const BY_BYTES: VarSet = VarSet(1 << CLIENT_ENCODING | 1 << 3);

/// The place of application_name in [`ALWAYS`]. PostgreSQL replaces its bytes that are not ASCII.
const APPLICATION_NAME: usize = 4;

/// The parameters by which PostgreSQL reads the constants and names of a statement that it
/// prepares.
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

/// Parameters that servers report and SET cannot change.
const FIXED: [&str; 7] = [
    "in_hot_standby",
    "integer_datetimes",
    "is_superuser",
    "server_encoding",
    "server_version",
    "server_version_num",
    "ssl_renegotiation_limit",
];

/// A set of parameters, by their places in the table of names.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct VarSet(u64);

impl VarSet {
    pub fn add(&mut self, place: usize) {
        self.0 |= 1 << place;
    }

    pub fn remove(&mut self, place: usize) {
        self.0 &= !(1 << place);
    }

    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub fn has(self, place: usize) -> bool {
        self.0 >> place & 1 == 1
    }
}

/// The parameters of one connection: the key of a set in the table. The owner must give it back
/// with [`VarTable::clear`], since the table counts the users of each set.
#[derive(PartialEq, Eq, Debug, Default)]
pub struct Vars(Option<InternedKey>);

/// The values of one connection in the order of the table's names, as keys of interned texts;
/// `None` means not set. The last entry is always set, so that equal sets have one form.
type Values = [Option<InternedKey>];

/// Names, values and sets of values of all tracked parameters.
#[derive(Default)]
pub struct VarTable {
    pub(super) names: Vec<Box<str>>,
    /// The places of [`READ_BY`].
    readings: Vec<usize>,
    /// Values in the form that [`value::keep`] makes.
    pub(super) texts: Interned<[u8]>,
    /// The sets of values. A set counts once as a user of its texts, however many connections share
    /// it.
    sets: Interned<Values>,
}

/// What the table holds, for SHOW MEM.
#[derive(PartialEq, Eq, Debug)]
pub struct Usage {
    pub sets: usize,
    pub texts: usize,
    /// The bytes of sets and texts together.
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

    /// The place of a tracked name; upper and lower case are the same.
    pub fn find(&self, name: &str) -> Option<usize> {
        self.names.iter().position(|known| known.eq_ignore_ascii_case(name))
    }

    fn track(&mut self, name: &str) {
        let fixed = FIXED.iter().any(|fixed| fixed.eq_ignore_ascii_case(name));
        let sane = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'.');
        let has_room = self.names.len() < MOST_NAMES;
        if has_room && sane && !fixed && !name.is_empty() && self.find(name).is_none() {
            if READ_BY.iter().any(|known| known.eq_ignore_ascii_case(name)) {
                self.readings.push(self.names.len());
            }
            self.names.push(name.into());
        }
    }

    /// Sets one value, whose encoding is the present client_encoding of `vars`.
    pub fn set(&mut self, vars: &mut Vars, place: usize, bytes: &[u8]) {
        let encoding = self.value(vars, CLIENT_ENCODING).map(|value| value.bytes.to_vec());
        self.set_in(vars, place, bytes, &encoding.unwrap_or_default());
    }

    /// Sets one value, whose encoding is given; empty while it is unknown.
    pub(super) fn set_in(&mut self, vars: &mut Vars, place: usize, bytes: &[u8], encoding: &[u8]) {
        let text = self.texts.hold(&value::keep(bytes, encoding));
        self.set_key(vars, place, Some(text));
        self.texts.release(text);
    }

    pub fn value(&self, vars: &Vars, place: usize) -> Option<VarValue<'_>> {
        Some(VarValue::of(self.texts.get(self.key(vars, place)?)))
    }

    /// Whether a connection that has these values cannot send this text: its encoding is UTF-8, and
    /// the bytes are not.
    pub fn is_miscoded(&self, vars: &Vars, text: &[u8]) -> bool {
        let encoding = self.value(vars, CLIENT_ENCODING);
        encoding.is_some_and(|encoding| value::is_broken_utf8(text, encoding.bytes))
    }

    /// The value of a parameter by name, for SHOW tables.
    pub fn named(&self, vars: &Vars, name: &str) -> Option<Cow<'_, str>> {
        Some(String::from_utf8_lossy(self.value(vars, self.find(name)?)?.bytes))
    }

    /// Names and values of all parameters that are set.
    pub fn iter<'a>(&'a self, vars: &'a Vars) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        self.names
            .iter()
            .enumerate()
            .filter_map(|(place, name)| Some((&**name, self.value(vars, place)?.bytes)))
    }

    /// Places and values of the parameters by which PostgreSQL reads statements.
    pub fn readings<'a>(&'a self, vars: &'a Vars) -> impl Iterator<Item = (usize, &'a [u8])> {
        let kept = |place| Some((place, self.texts.get(self.key(vars, place)?)));
        self.readings.iter().filter_map(move |&place| kept(place))
    }

    /// Whether PostgreSQL reads statements by this parameter.
    pub fn is_reading(&self, place: usize) -> bool {
        self.readings.contains(&place)
    }

    /// Makes `vars` equal to `from`.
    pub fn copy(&mut self, vars: &mut Vars, from: &Vars) {
        if vars != from {
            let values = self.values(from).to_vec();
            self.put(vars, &values);
        }
    }

    /// Copies to `vars` the values that only `from` has.
    pub fn fill_unset(&mut self, vars: &mut Vars, from: &Vars) {
        let places = 0..self.names.len();
        let values: Vec<_> =
            places.map(|place| self.key(vars, place).or(self.key(from, place))).collect();
        self.put(vars, &values);
    }

    /// Gives values of unknown encoding the client_encoding that is known now. Bytes of an
    /// application_name that are invalid in it are replaced as PostgreSQL would do: such a name
    /// must not stop a login.
    pub fn name_encoding(&mut self, vars: &mut Vars) {
        let encoding = self.value(vars, CLIENT_ENCODING).map(|value| value.bytes.to_vec());
        let encoding = encoding.unwrap_or_else(|| b"UTF8".to_vec());
        for place in 0..self.names.len() {
            let Some(found) = self.value(vars, place).filter(|value| value.lacks_encoding()) else {
                continue;
            };
            let is_ascii_only = match place {
                CLIENT_ENCODING => true,
                APPLICATION_NAME => !value::is_utf8(found.bytes, &encoding),
                _ => false,
            };
            let bytes = match is_ascii_only {
                true => value::ascii_of(found.bytes),
                false => found.bytes.to_vec(),
            };
            self.set_in(vars, place, &bytes, &encoding);
        }
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

    pub(super) fn key(&self, vars: &Vars, place: usize) -> Option<InternedKey> {
        self.values(vars).get(place).copied().flatten()
    }

    /// Another holder must keep the text alive meanwhile.
    pub(super) fn set_key(&mut self, vars: &mut Vars, place: usize, text: Option<InternedKey>) {
        let mut values = self.values(vars).to_vec();
        if values.len() <= place {
            values.resize(place + 1, None);
        }
        values[place] = text;
        self.put(vars, &values);
    }

    /// Makes `vars` these values. Another holder must keep their texts alive meanwhile.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_of_the_fixed_list_are_what_their_names_say() {
        assert_eq!(ALWAYS[CLIENT_ENCODING], "client_encoding");
        assert_eq!(ALWAYS[APPLICATION_NAME], "application_name");
        let by_bytes: Vec<&str> =
            (0..ALWAYS.len()).filter(|&place| BY_BYTES.has(place)).map(|p| ALWAYS[p]).collect();
        assert_eq!(by_bytes, ["client_encoding", "standard_conforming_strings"]);
    }

    #[test]
    fn only_names_that_are_sane_and_asked_for_are_tracked() {
        let table = VarTable::new(["a;drop", "", "is_superuser", "timezone", "app.tenant"]);
        assert_eq!(table.names.len(), ALWAYS.len() + 1);
        assert_eq!(table.find("APP.Tenant"), Some(ALWAYS.len()));
        let many: Vec<String> = (0..100).map(|i| format!("name{i}")).collect();
        let table = VarTable::new(many.iter().map(String::as_str));
        assert_eq!(table.names.len(), MOST_NAMES);
        let mut places = VarSet::default();
        places.add(MOST_NAMES - 1);
        assert!(places.has(MOST_NAMES - 1) && !places.has(0));
    }

    #[test]
    fn values_go_when_nobody_has_them() {
        let mut table = VarTable::new([]);
        let place = table.find("TimeZone").unwrap();
        let (mut one, mut other) = (Vars::default(), Vars::default());
        table.set(&mut one, place, b"UTC");
        table.fill_unset(&mut other, &one);
        assert_eq!(table.usage(), Usage { sets: 1, texts: 1, bytes: 3 * 4 + 3 });
        table.clear(&mut one);
        assert_eq!(table.named(&other, "timezone").as_deref(), Some("UTC"));
        table.copy(&mut one, &other);
        table.clear(&mut other);
        assert_eq!(one, one);
        table.clear(&mut one);
        assert_eq!(table.usage(), Usage { sets: 0, texts: 0, bytes: 0 });
        table.set(&mut one, place, b"CET");
        assert_eq!(table.named(&one, "TimeZone").as_deref(), Some("CET"));
    }

    #[test]
    fn an_application_name_in_no_encoding_becomes_ascii_and_other_values_stay() {
        let mut table = VarTable::new([]);
        let mut vars = Vars::default();
        let path = table.find("search_path").unwrap();
        table.set(&mut vars, APPLICATION_NAME, b"\xc4rger");
        table.set(&mut vars, path, b"sch\xc3\xa9ma");
        table.name_encoding(&mut vars);
        assert_eq!(table.value(&vars, APPLICATION_NAME).unwrap().bytes, b"?rger");
        let path = table.value(&vars, path).unwrap();
        assert_eq!((path.bytes, path.encoding), (&b"sch\xc3\xa9ma"[..], Some(&b"UTF8"[..])));
        table.clear(&mut vars);
        assert_eq!(table.usage().texts, 0);
    }
}
