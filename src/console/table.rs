//! The machinery of the SHOW tables: a column is one row of name, type and value, and the
//! description of a table and its data walk the same rows.

use std::borrow::Cow;
use std::fmt;
use std::io::Write;

use crate::log::Ptr;
use crate::pool::core::Core;
use crate::pool::ids::{ClientId, ServerId};
use crate::wire::build::Message;
use crate::wire::formats::Formats;
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
    /// Of whole numbers: nothing that is counted has a fraction.
    Numeric,
    Text,
}

/// What a digit of a numeric counts to, in its binary form.
const NUMERIC_BASE: u64 = 10_000;

/// The most digits that a number of 64 bits has to that base.
const NUMERIC_DIGITS: usize = 5;

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

    /// Appends a number in binary, as the send functions of PostgreSQL's types do; as text it is
    /// its digits. What is beyond the type is its largest number.
    fn push_number(self, out: &mut Vec<u8>, number: u64) {
        match self {
            Type::Int4 => {
                out.extend_from_slice(&i32::try_from(number).unwrap_or(i32::MAX).to_be_bytes());
            }
            Type::Int8 => {
                out.extend_from_slice(&i64::try_from(number).unwrap_or(i64::MAX).to_be_bytes());
            }
            Type::Numeric => push_numeric(out, number),
            Type::Text => push_display(out, number),
        }
    }
}

/// Count of digits, weight of the first, sign, digits shown behind the point, and the digits, where
/// the last ones are left out when they are 0.
fn push_numeric(out: &mut Vec<u8>, number: u64) {
    let mut digits = [0_u16; NUMERIC_DIGITS];
    let mut rest = number;
    for digit in digits.iter_mut().rev() {
        *digit = (rest % NUMERIC_BASE) as u16;
        rest /= NUMERIC_BASE;
    }
    let first = digits.iter().position(|&digit| digit != 0).unwrap_or(NUMERIC_DIGITS - 1);
    let end = digits.iter().rposition(|&digit| digit != 0).map_or(first, |last| last + 1);
    let head = [(end - first) as u16, (NUMERIC_DIGITS - 1 - first) as u16, 0, 0];
    for word in head.iter().chain(&digits[first..end]) {
        out.extend_from_slice(&word.to_be_bytes());
    }
}

fn push_display(out: &mut Vec<u8>, value: impl fmt::Display) {
    let written = write!(out, "{value}");
    debug_assert!(written.is_ok(), "writing to memory cannot fail");
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
    fn push_rows(&self, out: &mut Vec<u8>, scene: Scene<'_>, formats: Formats);
}

impl<R> Table for Sheet<R> {
    fn columns(&self) -> Vec<(&'static str, Type)> {
        self.columns.iter().copied().flatten().map(|column| (column.name, column.kind)).collect()
    }

    fn push_rows(&self, out: &mut Vec<u8>, scene: Scene<'_>, formats: Formats) {
        let columns: usize = self.columns.iter().map(|group| group.len()).sum();
        let mut calendar = Calendar::new(scene.core.local_time);
        for row in (self.rows)(scene) {
            let start = begin_row(out, columns);
            for (at, column) in self.columns.iter().copied().flatten().enumerate() {
                let binary = formats.is_binary(at).then_some(column.kind);
                push_value(out, &(column.get)(scene, &row), binary, &mut calendar);
            }
            end_row(out, start);
        }
    }
}

/// Appends a RowDescription (manual, "Message Formats").
pub fn push_description(out: &mut Vec<u8>, table: &dyn Table, formats: Formats) {
    let columns = table.columns();
    let mut message = Message::back(out, Back::RowDescription).u16(columns.len() as u16);
    for (at, (name, kind)) in columns.into_iter().enumerate() {
        // No table and no attribute of one; no modifier.
        message = message.cstr(name).u32(0).u16(0).u32(kind.oid());
        message = message.u16(kind.length() as u16).u32(u32::MAX).u16(formats.is_binary(at).into());
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

/// Appends a value with its length; of type `binary` when that form of it is wanted. Text has but
/// one form.
fn push_value(out: &mut Vec<u8>, value: &Value<'_>, binary: Option<Type>, calendar: &mut Calendar) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    match value {
        Value::Null => return out[start..].copy_from_slice(&u32::MAX.to_be_bytes()),
        Value::Number(number) => binary.unwrap_or(Type::Text).push_number(out, *number),
        Value::Ptr(ptr) => push_display(out, ptr),
        Value::Text(text) => out.extend_from_slice(text.as_bytes()),
        Value::Time(second) => out.extend_from_slice(calendar.text(*second).as_bytes()),
    }
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
            push_value(&mut out, &value, None, &mut calendar);
        }
        end_row(&mut out, start);
        assert_eq!(out, b"D\0\0\0\x14\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x0242");
    }

    fn binary(kind: Type, number: u64) -> Vec<u8> {
        let (mut out, mut calendar) = (Vec::new(), Calendar::new(|_| String::new()));
        push_value(&mut out, &Value::Number(number), Some(kind), &mut calendar);
        let (length, value) = out.split_at(4);
        assert_eq!(length, (value.len() as u32).to_be_bytes());
        value.to_vec()
    }

    #[test]
    fn whole_numbers_have_the_binary_forms_of_postgresql() {
        assert_eq!(binary(Type::Int4, 6432), b"\0\0\x19\x20");
        assert_eq!(binary(Type::Int4, 1 << 40), b"\x7f\xff\xff\xff");
        assert_eq!(binary(Type::Int8, 1 << 40), b"\0\0\x01\0\0\0\0\0");
        assert_eq!(binary(Type::Int8, u64::MAX), b"\x7f\xff\xff\xff\xff\xff\xff\xff");
        assert_eq!(binary(Type::Text, 42), b"42");
        // What numeric_send gives, shown by COPY ... WITH (FORMAT binary).
        let numeric: [(u64, &[u16]); 6] = [
            (0, &[0, 0, 0, 0]),
            (42, &[1, 0, 0, 0, 42]),
            (10_000, &[1, 1, 0, 0, 1]),
            (120_000_034, &[3, 2, 0, 0, 1, 2000, 34]),
            (5_000_000_000_000_000, &[1, 3, 0, 0, 5000]),
            (u64::MAX, &[5, 4, 0, 0, 1844, 6744, 737, 955, 1615]),
        ];
        for (number, words) in numeric {
            let words: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
            assert_eq!(binary(Type::Numeric, number), words, "{number}");
        }
    }

    #[test]
    fn each_second_has_its_own_text_however_many_there_are() {
        let mut calendar = Calendar::new(|second| format!("second {second}"));
        for second in [0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 9] {
            assert_eq!(calendar.text(second), format!("second {second}"));
        }
    }
}
