//! A table as messages: its RowDescription, and a DataRow for each row (manual, "Message Formats").

use std::fmt;
use std::io::Write;

use super::table::{Scene, Table, TableReader, Type, Value};
use crate::wire::build::Message;
use crate::wire::formats::Formats;
use crate::wire::kind::Back;

/// Appends a RowDescription.
pub fn push_description(out: &mut Vec<u8>, table: &dyn Table, formats: Formats) {
    let columns = table.heads();
    let mut message = Message::back(out, Back::RowDescription).u16(columns.len() as u16);
    for (at, head) in columns.into_iter().enumerate() {
        // No table oid, no column number, and no type modifier.
        message = message.cstr(head.name).u32(0).u16(0).u32(head.kind.oid());
        message =
            message.u16(head.kind.length() as u16).u32(u32::MAX).u16(formats.is_binary(at).into());
    }
    message.end();
}

/// Appends a DataRow for each row.
pub fn push_rows(out: &mut Vec<u8>, table: &dyn Table, scene: Scene<'_>, formats: Formats) {
    let kinds: Vec<Type> = table.heads().iter().map(|head| head.kind).collect();
    let calendar = TimeTexts::new(scene.core.local_time);
    table.visit(scene, &mut RowWriter { out, kinds, formats, calendar, start: 0 });
}

/// Writes rows as DataRow messages.
struct RowWriter<'a> {
    out: &'a mut Vec<u8>,
    kinds: Vec<Type>,
    formats: Formats,
    calendar: TimeTexts,
    /// Where the length of the current row is to be written.
    start: usize,
}

impl TableReader for RowWriter<'_> {
    fn begin_row(&mut self) {
        self.start = begin_row(self.out, self.kinds.len());
    }

    fn value(&mut self, column: usize, value: &Value<'_>) {
        let binary = self.formats.is_binary(column).then(|| self.kinds[column]);
        push_value(self.out, value, binary, &mut self.calendar);
    }

    fn end_row(&mut self) {
        end_row(self.out, self.start);
    }
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

/// The base of the digits of a numeric in its binary form.
const NUMERIC_BASE: u64 = 10_000;

/// The most digits that a number of 64 bits has in that base.
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

    /// The size of a value in bytes; -1 if it varies.
    fn length(self) -> i16 {
        match self {
            Type::Int4 => 4,
            Type::Int8 => 8,
            Type::Numeric | Type::Text => -1,
        }
    }

    /// Appends a number in binary, as the send functions of PostgreSQL's types do; as text it is
    /// its digits. A number that is too large becomes the largest of the type.
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

/// Appends the count of digits, the weight of the first, the sign, the count of digits to show
/// after the point, and the digits without zeros at the end.
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

/// Texts of seconds that were written lately. In a long table the same seconds come again and
/// again, and formatting them takes longer than everything else.
struct TimeTexts {
    local_time: fn(u64) -> String,
    known: [(u64, String); 8],
    next: usize,
}

impl TimeTexts {
    fn new(local_time: fn(u64) -> String) -> TimeTexts {
        TimeTexts { local_time, known: Default::default(), next: 0 }
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

/// Appends a value with its length: in the binary form of type `binary` if there is one, else as
/// text. A value of type text is the same in both.
fn push_value(
    out: &mut Vec<u8>,
    value: &Value<'_>,
    binary: Option<Type>,
    calendar: &mut TimeTexts,
) {
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
        let mut calendar = TimeTexts::new(|second| format!("second {second}"));
        for value in [Value::Null, Value::text(""), Value::Number(42)] {
            push_value(&mut out, &value, None, &mut calendar);
        }
        end_row(&mut out, start);
        assert_eq!(out, b"D\0\0\0\x14\0\x03\xff\xff\xff\xff\0\0\0\0\0\0\0\x0242");
    }

    fn binary(kind: Type, number: u64) -> Vec<u8> {
        let (mut out, mut calendar) = (Vec::new(), TimeTexts::new(|_| String::new()));
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
        let mut calendar = TimeTexts::new(|second| format!("second {second}"));
        for second in [0, 1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1, 9] {
            assert_eq!(calendar.text(second), format!("second {second}"));
        }
    }
}
