//! The machinery of the tables: a struct whose fields are rows.
//!
//! From one row come the typed field, its default, how it is read and shown, and what the manual
//! page and the sample file say of it. Which rows there are stands in `settings`, `database`,
//! `user` and `peer`.

use std::fmt;

use super::value::{Field, Kind, ValueError};

/// What is known of one setting or key, apart from its value.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Row {
    pub name: &'static str,
    /// Paragraphs of plain text, a line each.
    pub doc: &'static [&'static str],
    pub kind: Kind,
    /// As SHOW CONFIG prints it; `None` is NULL.
    pub default: Option<&'static str>,
    pub flags: Flags,
}

impl Row {
    /// Whether RELOAD and SET change it; else it is read at start only.
    pub fn is_changeable(&self) -> bool {
        !self.flags.has(RESTART)
    }

    /// Whether it is a setting of ours, which the reference does not have and SHOW CONFIG not list.
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
pub struct Change {
    pub row: &'static Row,
    /// Both values as SHOW prints them, where secrets are hidden; `None` is NULL.
    pub old: Option<String>,
    pub new: Option<String>,
}

impl fmt::Display for Change {
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
/// Read and shown, but without effect so far.
pub const UNBUILT: Flags = Flags(8);
/// Not a setting of the reference.
pub const OURS: Flags = Flags(16);

/// Declares a struct with a field per row. Row: paragraphs of doc, then
/// `name: Type = Kind, default, flags;` where the default is a text or `null`.
macro_rules! table {
    (
        $(#[$meta:meta])*
        pub struct $table:ident ($($lead:ident: $lead_type:ty),*) {
            $($(#[doc = $doc:literal])+ $name:ident: $type:ty = $kind:expr, $default:expr, $flags:expr;)+
        }
    ) => {
        $(#[$meta])*
        #[derive(Clone, PartialEq, Debug)]
        pub struct $table {
            $(pub $lead: $lead_type,)*
            $($(#[doc = $doc])+ pub $name: $type,)+
        }

        #[allow(dead_code, reason = "every table has all of it, and not each needs all")]
        impl $table {
            /// The rows, in the order of the table.
            pub fn rows() -> &'static [$crate::config::table::Row] {
                static ROWS: &[$crate::config::table::Row] = &[$($crate::config::table::Row {
                    name: stringify!($name),
                    doc: &[$($doc,)+],
                    kind: $kind,
                    default: $default,
                    flags: $flags,
                },)+];
                ROWS
            }

            /// Gives the row `key` the value that `text` stands for; on an error nothing changes.
            pub fn set(&mut self, key: &str, text: &str) -> Result<(), $crate::config::value::ValueError> {
                match key {
                    $(stringify!($name) => self.$name = $crate::config::value::Field::read(text, &$kind)?,)+
                    _ => return Err($crate::config::table::unknown(key, Self::rows())),
                }
                Ok(())
            }

            /// The value of the row `key` as SHOW prints it; `None` is NULL, or no such row.
            pub fn show(&self, key: &str) -> Option<String> {
                match key {
                    $(stringify!($name) => $crate::config::value::Field::show(&self.$name, &$kind),)+
                    _ => None,
                }
            }

            /// The rows in which `new` has another value.
            pub fn changes(&self, new: &Self) -> Vec<$crate::config::table::Change> {
                let differs = [$(self.$name != new.$name,)+];
                let rows = Self::rows().iter().zip(differs).filter(|(_, differs)| *differs);
                rows.map(|(row, _)| $crate::config::table::Change {
                    row,
                    old: self.show(row.name),
                    new: new.show(row.name),
                }).collect()
            }

            /// Takes the value of the row `key` from `other`.
            pub fn adopt(&mut self, key: &str, other: &Self) {
                match key {
                    $(stringify!($name) => self.$name.clone_from(&other.$name),)+
                    _ => (),
                }
            }
        }

        impl Default for $table {
            fn default() -> Self {
                $table {
                    $($lead: Default::default(),)*
                    $($name: $crate::config::table::initial($default, &$kind),)+
                }
            }
        }
    };
}
pub(super) use table;

/// The value of a row's default. A test reads every default of every table.
pub fn initial<T: Field>(default: Option<&str>, kind: &Kind) -> T {
    default.map_or_else(T::unset, |text| T::read(text, kind).expect("defaults are of their kind"))
}

/// The row of this name.
pub fn row(rows: &'static [Row], name: &str) -> Option<&'static Row> {
    rows.iter().find(|row| row.name == name)
}

pub fn unknown(key: &str, rows: &'static [Row]) -> ValueError {
    ValueError::UnknownKey { nearest: nearest(key, rows.iter().map(|row| row.name)) }
}

/// The known name that `key` was perhaps meant to be: the one that is fewest edits away, when those
/// are few for its length, else one that ends with it (`default_pool_size` for `pool_size`).
pub fn nearest(
    key: &str,
    names: impl Iterator<Item = &'static str> + Clone,
) -> Option<&'static str> {
    if key.is_empty() || key.len() > NAME_MAX {
        return None;
    }
    let key = key.to_ascii_lowercase().replace('-', "_");
    let limit = 1 + key.len() / 5;
    let lower = |name: &'static str| name.to_ascii_lowercase();
    let near = names.clone().map(|name| (distance(key.as_bytes(), lower(name).as_bytes()), name));
    let near = near.filter(|(edits, _)| *edits <= limit).min_by_key(|(edits, _)| *edits);
    let tail = format!("_{key}");
    near.map(|(_, name)| name).or_else(|| names.clone().find(|name| lower(name).ends_with(&tail)))
}

/// No name is nearly as long as this; a longer key is not compared, so that the work is bounded.
const NAME_MAX: usize = 64;

/// How many bytes must be inserted, removed, exchanged, or swapped with their neighbour, to make
/// `a` of `b`.
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
