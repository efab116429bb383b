//! The machinery of the tables: a struct whose fields are rows.
//!
//! From one row come the typed field, its default, how it is read and shown, and what the manual
//! page and the sample file say of it. Which rows there are stands in `settings`, `database`,
//! `user` and `peer`.

use std::any::Any;
use std::fmt;

use super::value::{Kind, SettingType, ValueError};

/// What is known of one setting or key, apart from its value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct SettingRow {
    pub name: &'static str,
    pub kind: Kind,
    /// As SHOW CONFIG prints it; `None` is NULL.
    pub default: Option<&'static str>,
    pub flags: Flags,
}

impl SettingRow {
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Whether RELOAD and SET change it; else it is read at start only.
    pub fn is_changeable(&self) -> bool {
        !self.flags.has(RESTART)
    }

    /// Whether the setting is one that PgBouncer does not have, and that SHOW CONFIG does not list.
    pub fn is_ours(&self) -> bool {
        self.flags.has(OURS)
    }

    /// Whether setting it has an effect.
    pub fn is_built(&self) -> bool {
        !self.flags.has(UNBUILT)
    }
}

/// A row with another value than before.
#[derive(Clone, PartialEq, Debug)]
pub struct SettingChange {
    pub row: &'static SettingRow,
    /// Both values as SHOW prints them, where secrets are hidden; `None` is NULL.
    pub old: Option<String>,
    pub new: Option<String>,
}

impl fmt::Display for SettingChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.row.kind == Kind::Secret {
            return write!(f, "{}: changed", self.row.name);
        }
        let [old, new] = [&self.old, &self.new].map(|value| match value.as_deref() {
            None => "not set".to_owned(),
            Some("") => "empty".to_owned(),
            Some(value) => value.escape_debug().to_string(),
        });
        write!(f, "{}: {old} -> {new}", self.row.name)
    }
}

/// A set of marks on a row.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Flags(u8);

impl Flags {
    pub fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn and(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }
}

/// RELOAD and SET change it, and nothing else is special about it.
pub const RELOAD: Flags = Flags(0);
/// Read at start only.
pub const RESTART: Flags = Flags(1);
/// Can be set for a database too.
pub const PER_DATABASE: Flags = Flags(2);
/// Can be set for a user too.
pub const PER_USER: Flags = Flags(4);
/// Read and shown, but without effect; a warning says so.
pub const UNBUILT: Flags = Flags(8);
/// Not a setting of PgBouncer.
pub const OURS: Flags = Flags(16);

/// Declares a struct with a field per row. Row: paragraphs of doc, then
/// `name: Type = Kind, default, flags;` where the default is `Some("text")` or `None`.
///
/// The functions below work on the rows of all tables: only the list of fields is written out for
/// each table.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $table:ident ($($lead:ident: $lead_type:ty),*) {
            $($(#[doc = $doc:literal])+
              $name:ident: $type:ty = $kind:expr, $default:expr, $flags:expr;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(PartialEq, Debug)]
        pub struct $table {
            $(pub $lead: $lead_type,)*
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        #[allow(dead_code, reason = "every table has all functions, and not each needs all")]
        impl $table {
            /// The rows, in the order of the table.
            pub fn rows() -> &'static [$crate::config::table::SettingRow] {
                use $crate::config::table::SettingRow;
                static ROWS: &[SettingRow] = &[$(SettingRow {
                    name: stringify!($name),
                    kind: $kind,
                    default: $default,
                    flags: $flags,
                },)+];
                ROWS
            }

            /// What the manual says of each row: paragraphs of plain text, a line each. They are
            /// not part of the rows, so that the program, which does not print them, does not
            /// contain them.
            pub fn docs() -> &'static [&'static [&'static str]] {
                &[$(&[$($doc,)+],)+]
            }

            fn fields(&self) -> Vec<&dyn $crate::config::table::AnyField> {
                vec![$(&self.$name,)+]
            }

            fn fields_mut(&mut self) -> Vec<&mut dyn $crate::config::table::AnyField> {
                vec![$(&mut self.$name,)+]
            }

            /// The defaults, under this name.
            pub fn named($($lead: $lead_type),*) -> Self {
                let mut table = Self::blank($($lead),*);
                $crate::config::table::set_defaults(Self::rows(), table.fields_mut());
                table
            }

            fn blank($($lead: $lead_type),*) -> Self {
                $table { $($lead,)* $($name: $crate::config::value::SettingType::unset(),)+ }
            }

            /// Gives the row `key` the value that `text` stands for; on an error nothing changes.
            pub fn set(
                &mut self,
                key: &str,
                text: &str,
            ) -> Result<(), $crate::config::value::ValueError> {
                $crate::config::table::set(Self::rows(), self.fields_mut(), key, text)
            }

            /// The value of the row `key` as SHOW prints it; `None` is NULL, or no such row.
            pub fn show(&self, key: &str) -> Option<String> {
                $crate::config::table::show(Self::rows(), self.fields(), key)
            }

            /// The rows in which `new` has another value.
            pub fn changes(&self, new: &Self) -> Vec<$crate::config::table::SettingChange> {
                $crate::config::table::changes(Self::rows(), self.fields(), new.fields())
            }

            /// Takes the values of the rows that `which` chooses from `other`.
            pub fn adopt(
                &mut self,
                other: &Self,
                which: fn(&$crate::config::table::SettingRow) -> bool,
            ) {
                let (ours, theirs) = (self.fields_mut(), other.fields());
                $crate::config::table::adopt(Self::rows(), ours, theirs, which);
            }
        }

        impl Clone for $table {
            fn clone(&self) -> Self {
                let mut copy = Self::blank($(self.$lead.clone()),*);
                copy.adopt(self, |_| true);
                copy
            }
        }

        impl Default for $table {
            fn default() -> Self {
                Self::named($(<$lead_type>::default()),*)
            }
        }
    };
}
pub(super) use table;

/// A field of a table, of any type.
pub trait AnyField: Any {
    /// Takes the value that `text` stands for; on an error nothing changes.
    fn put(&mut self, text: &str, kind: &Kind) -> Result<(), ValueError>;

    /// The text that SHOW prints; `None` is NULL.
    fn text(&self, kind: &Kind) -> Option<String>;

    /// Whether `other` is of the same type and value.
    fn is_like(&self, other: &dyn AnyField) -> bool;

    /// Takes the value of `other`, the same field of another such table.
    fn take(&mut self, other: &dyn AnyField);
}

impl<T: SettingType + Clone + PartialEq + 'static> AnyField for T {
    fn put(&mut self, text: &str, kind: &Kind) -> Result<(), ValueError> {
        *self = T::read(text, kind)?;
        Ok(())
    }

    fn text(&self, kind: &Kind) -> Option<String> {
        self.show(kind)
    }

    fn is_like(&self, other: &dyn AnyField) -> bool {
        (other as &dyn Any).downcast_ref() == Some(self)
    }

    fn take(&mut self, other: &dyn AnyField) {
        if let Some(other) = (other as &dyn Any).downcast_ref() {
            T::clone_from(self, other);
        }
    }
}

type AnyFields<'a> = Vec<&'a dyn AnyField>;
type FieldsMut<'a> = Vec<&'a mut dyn AnyField>;

/// Gives the row `key` a value.
pub fn set(
    rows: &'static [SettingRow],
    fields: FieldsMut<'_>,
    key: &str,
    text: &str,
) -> Result<(), ValueError> {
    match rows.iter().zip(fields).find(|(row, _)| row.name == key) {
        Some((row, field)) => field.put(text, &row.kind),
        None => {
            Err(ValueError::UnknownKey { nearest: nearest(key, rows.iter().map(SettingRow::name)) })
        }
    }
}

/// The value of the row `key` as SHOW prints it.
pub fn show(rows: &'static [SettingRow], fields: AnyFields<'_>, key: &str) -> Option<String> {
    let (row, field) = rows.iter().zip(fields).find(|(row, _)| row.name == key)?;
    field.text(&row.kind)
}

/// The rows in which `new` has another value than `old`.
pub fn changes(
    rows: &'static [SettingRow],
    old: AnyFields<'_>,
    new: AnyFields<'_>,
) -> Vec<SettingChange> {
    let fields = rows.iter().zip(old.into_iter().zip(new));
    let changed = fields.filter(|(_, (old, new))| !old.is_like(*new));
    let change = |(row, (old, new)): (&'static SettingRow, (&dyn AnyField, &dyn AnyField))| {
        SettingChange { row, old: old.text(&row.kind), new: new.text(&row.kind) }
    };
    changed.map(change).collect()
}

/// Takes the values of the rows that `which` chooses from `other`.
pub fn adopt(
    rows: &'static [SettingRow],
    fields: FieldsMut<'_>,
    other: AnyFields<'_>,
    which: fn(&SettingRow) -> bool,
) {
    for (_, (field, other)) in
        rows.iter().zip(fields.into_iter().zip(other)).filter(|(row, _)| which(row))
    {
        field.take(other);
    }
}

/// Sets each field whose row has a default to that default. A test reads every default of every
/// table.
pub fn set_defaults(rows: &'static [SettingRow], fields: FieldsMut<'_>) {
    for (row, field) in rows.iter().zip(fields) {
        if let Some(default) = row.default {
            field.put(default, &row.kind).expect("defaults are of their kind");
        }
    }
}

/// The row of this name.
pub fn row(rows: &'static [SettingRow], name: &str) -> Option<&'static SettingRow> {
    rows.iter().find(|row| row.name == name)
}

/// The known name that `key` was perhaps meant to be: the one that is fewest edits away, when those
/// are few for its length, else one that ends with it (`default_pool_size` for `pool_size`).
pub fn nearest(key: &str, names: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    nearest_of(key, &names.collect::<Vec<_>>())
}

fn nearest_of(key: &str, names: &[&'static str]) -> Option<&'static str> {
    if key.is_empty() || key.len() > NAME_BYTES_MAX {
        return None;
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    let limit = 1 + key.len() / 5;
    let known = names.iter().map(|name| (name.to_ascii_lowercase(), *name));
    let known: Vec<(String, &'static str)> = known.collect();
    let near = known.iter().map(|(lower, name)| (distance(key.as_bytes(), lower.as_bytes()), name));
    let near = near.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits);
    let tail = format!("_{key}");
    let ends_so = || known.iter().find(|(lower, _)| lower.ends_with(&tail)).map(|(_, name)| name);
    near.map(|(_, name)| name).or_else(ends_so).copied()
}

/// No name is nearly as long as this; a longer key is not compared, so that the work is bounded.
const NAME_BYTES_MAX: usize = 64;

/// How many bytes must be inserted, removed, exchanged, or swapped with their neighbour, to turn
/// `b` into `a`.
fn distance(a: &[u8], b: &[u8]) -> usize {
    let mut before = vec![0; b.len() + 1];
    let mut above: Vec<usize> = (0..=b.len()).collect();
    for i in 0..a.len() {
        let mut row = vec![i + 1; b.len() + 1];
        for j in 0..b.len() {
            let exchange = above[j] + usize::from(a[i] != b[j]);
            row[j + 1] = exchange.min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && a[i] == b[j - 1] && a[i - 1] == b[j] {
                row[j + 1] = row[j + 1].min(before[j - 1] + 1);
            }
        }
        (before, above) = (above, row);
    }
    above[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_is_nearly_right_is_found() {
        let names = || ["default_pool_size", "pool_mode", "user", "host"].into_iter();
        let cases = [
            ("defualt_pool_size", Some("default_pool_size")),
            ("default-pool-size", Some("default_pool_size")),
            ("Pool_Mode", Some("pool_mode")),
            ("usre", Some("user")),
            ("pool_size", Some("default_pool_size")),
            ("listen", None),
            ("", None),
        ];
        for (key, found) in cases {
            assert_eq!(nearest(key, names()), found, "{key}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), names()), None);
    }

    #[test]
    fn distance_counts_single_edits() {
        let cases = [("", "abc", 3), ("abc", "abc", 0), ("abc", "acb", 1), ("ab", "cd", 2)];
        for (a, b, edits) in cases {
            assert_eq!(distance(a.as_bytes(), b.as_bytes()), edits, "{a} {b}");
            assert_eq!(distance(b.as_bytes(), a.as_bytes()), edits, "{b} {a}");
        }
    }
}
