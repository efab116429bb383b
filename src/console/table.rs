//! The machinery of the SHOW tables: a column is one row of name, type and value, and the
//! description of a table and its data walk the same rows.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use crate::log::Ptr;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::wire::build::Message;
use crate::wire::kind::Back;

/// What is held of connections on their way through: known to the relay, shown by SHOW SOCKETS.
pub trait Buffers {
    fn client(&self, id: ClientId) -> Held;
    fn server(&self, id: ServerId) -> Held;
}

/// Bytes held of one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Held {
    /// Read, and not yet judged.
    pub received: usize,
    /// Not yet taken by the system.
    pub unsent: usize,
}

/// What tables are filled from.
#[derive(Clone, Copy)]
pub struct Scene<'a> {
    pub core: &'a Core,
    pub buffers: &'a dyn Buffers,
}

/// The types of columns, with their oids and lengths in PostgreSQL's catalogue.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Type {
    Int4,
    Int8,
    Numeric,
    Text,
}

impl Type {
    pub fn oid(self) -> u32 {
        match self {
            Type::Int4 => 23,
            Type::Int8 => 20,
            Type::Numeric => 1700,
            Type::Text => 25,
        }
    }

    /// Bytes of a value; -1 is any number.
    fn length(self) -> i16 {
        match self {
            Type::Int4 => 4,
            Type::Int8 => 8,
            Type::Numeric | Type::Text => -1,
        }
    }
}

/// One value.
#[derive(Debug)]
pub enum Value<'a> {
    Null,
    Number(u64),
    Ptr(Ptr),
    Text(Cow<'a, str>),
    /// A second since 1970, shown as date and time.
    Time(u64),
}

impl<'a> Value<'a> {
    pub fn text(text: &'a str) -> Value<'a> {
        Value::Text(Cow::Borrowed(text))
    }

    pub fn owned(text: impl fmt::Display) -> Value<'static> {
        Value::Text(Cow::Owned(text.to_string()))
    }

    pub fn flag(is_set: bool) -> Value<'static> {
        Value::Number(is_set.into())
    }

    pub fn count(count: usize) -> Value<'static> {
        Value::Number(count as u64)
    }

    pub fn text_or_null(text: Option<&'a str>) -> Value<'a> {
        text.map_or(Value::Null, Value::text)
    }
}

/// Gets the value of a column from a row.
type Get<R> = for<'a> fn(Scene<'a>, &R) -> Value<'a>;

/// One column of a table whose rows are known by `R`.
pub struct Column<R: 'static> {
    name: &'static str,
    kind: Type,
    get: Get<R>,
}

pub const fn text<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column { name, kind: Type::Text, get }
}

pub const fn int4<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column { name, kind: Type::Int4, get }
}

pub const fn int8<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column { name, kind: Type::Int8, get }
}

pub const fn numeric<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column { name, kind: Type::Numeric, get }
}

/// A table: its columns, in groups that tables share, and where its rows come from.
pub struct Sheet<R: 'static> {
    pub columns: &'static [&'static [Column<R>]],
    pub rows: fn(Scene<'_>) -> Vec<R>,
}

/// A table of any kind of row.
pub trait Table: Sync {
    /// Name and type of each column.
    fn columns(&self) -> Vec<(&'static str, Type)>;

    /// Appends a DataRow for each row.
    fn push_rows(&self, out: &mut Vec<u8>, scene: Scene<'_>);
}

impl<R> Table for Sheet<R> {
    fn columns(&self) -> Vec<(&'static str, Type)> {
        self.columns.iter().copied().flatten().map(|column| (column.name, column.kind)).collect()
    }

    fn push_rows(&self, out: &mut Vec<u8>, scene: Scene<'_>) {
        let columns: usize = self.columns.iter().map(|group| group.len()).sum();
        let mut calendar = Calendar::new(scene.core.local_time);
        for row in (self.rows)(scene) {
            let start = begin_row(out, columns);
            for column in self.columns.iter().copied().flatten() {
                push_value(out, &(column.get)(scene, &row), &mut calendar);
            }
            end_row(out, start);
        }
    }
}

/// Appends a RowDescription (manual, "Message Formats").
pub fn push_description(out: &mut Vec<u8>, table: &dyn Table) {
    let columns = table.columns();
    let mut message = Message::back(out, Back::RowDescription).u16(columns.len() as u16);
    for (name, kind) in columns {
        // No table and no attribute of one; no modifier; as text.
        message = message.cstr(name).u32(0).u16(0).u32(kind.oid());
        message = message.u16(kind.length() as u16).u32(u32::MAX).u16(0);
    }
    message.end();
}

fn begin_row(out: &mut Vec<u8>, columns: usize) -> usize {
    out.push(Back::DataRow as u8);
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(&(columns as u16).to_be_bytes());
    start
}

fn end_row(out: &mut [u8], start: usize) {
    let length = (out.len() - start) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

/// Seconds that were written lately, with their texts: in a long table the same ones come again
/// and again, and working them out takes longer than all else.
struct Calendar {
    local_time: fn(u64) -> String,
    known: [(u64, String); 8],
    next: usize,
}

impl Calendar {
    fn new(local_time: fn(u64) -> String) -> Calendar {
        Calendar { local_time, known: Default::default(), next: 0 }
    }

    fn text(&mut self, second: u64) -> &str {
        let is_it = |(known, text): &(u64, String)| *known == second && !text.is_empty();
        let at = match self.known.iter().position(is_it) {
            Some(at) => at,
            None => {
                let at = self.next;
                self.next = (at + 1) % self.known.len();
                self.known[at] = (second, (self.local_time)(second));
                at
            }
        };
        &self.known[at].1
    }
}

fn push_value(out: &mut Vec<u8>, value: &Value<'_>, calendar: &mut Calendar) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    let written = match value {
        Value::Null => {
            out[start..].copy_from_slice(&u32::MAX.to_be_bytes());
            return;
        }
        Value::Number(number) => write!(out, "{number}"),
        Value::Ptr(ptr) => write!(out, "{ptr}"),
        Value::Text(text) => out.write_all(text.as_bytes()),
        Value::Time(second) => out.write_all(calendar.text(*second).as_bytes()),
    };
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
    let length = (out.len() - start - 4) as u32;
    out[start..start + 4].copy_from_slice(&length.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_null_has_no_bytes_and_an_empty_text_has_none_either() {
        let mut out = Vec::new();
        let start = begin_row(&mut out, 3);
        let mut calendar = Calendar::new(|second| format!("second {second}"));
        for value in [Value::Null, Value::text(""), Value::Number(42)] {
            push_value(&mut out, &value, &mut calendar);
        }
        end_row(&mut out, start);
        assert_eq!(out, b"D\0\0\0\x14\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x0242");
    }

    #[test]
    fn each_second_has_its_own_text_however_many_there_are() {
        let mut calendar = Calendar::new(|second| format!("second {second}"));
        for second in [0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 9] {
            assert_eq!(calendar.text(second), format!("second {second}"));
        }
    }
}
