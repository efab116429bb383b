//! The machinery of the SHOW tables: a column is one row of name, type, nature and value, and every
//! reader of a table ([`TableReader`]) walks the same columns: the console makes DataRows of them,
//! /metrics makes samples.

use std::borrow::Cow;
use std::fmt;

use crate::log::Ptr;
use crate::pool::core::Core;
use crate::pool::ids::{CarrierId, ClientId, DatabaseId, PoolId, ServerId};

/// How many bytes are held for each connection. The relay knows, and SHOW SOCKETS shows it.
pub trait Buffers {
    fn client(&self, id: ClientId) -> BufferedBytes;
    fn server(&self, id: ServerId) -> BufferedBytes;
    fn carrier(&self, id: CarrierId) -> BufferedBytes;
}

/// Bytes held for one connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct BufferedBytes {
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
    /// Only of whole numbers: nothing that is counted has a fraction.
    Numeric,
    Text,
}

/// One value.
#[derive(Debug)]
pub enum Value<'a> {
    Null,
    Number(u64),
    Ptr(Ptr),
    Text(Cow<'a, str>),
    /// Seconds since 1970, shown as date and time.
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

/// How values of a column from different times compare.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Nature {
    /// The value rises until the process ends.
    Counter,
    /// The value is that of the moment.
    Gauge,
    /// The value names the row, or says something of it that is no quantity.
    Label,
}

/// The description of a column.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ColumnHead {
    pub name: &'static str,
    pub kind: Type,
    pub nature: Nature,
    /// What the column holds, as /metrics explains it; empty where only the console shows the
    /// column.
    pub help: &'static str,
}

/// Gets the value of a column from a row.
type Get<R> = for<'a> fn(Scene<'a>, &R) -> Value<'a>;

/// One column of a table with rows of type `R`.
pub struct Column<R: 'static> {
    head: ColumnHead,
    get: Get<R>,
}

impl<R> Column<R> {
    const fn new(name: &'static str, kind: Type, nature: Nature, get: Get<R>) -> Column<R> {
        Column { head: ColumnHead { name, kind, nature, help: "" }, get }
    }

    const fn with(self, nature: Nature, help: &'static str) -> Column<R> {
        Column { head: ColumnHead { nature, help, ..self.head }, get: self.get }
    }
}

/// A column whose values rise until the process ends.
pub const fn counter<R>(help: &'static str, column: Column<R>) -> Column<R> {
    column.with(Nature::Counter, help)
}

/// A column whose values are those of the moment.
pub const fn gauge<R>(help: &'static str, column: Column<R>) -> Column<R> {
    column.with(Nature::Gauge, help)
}

/// A number that is no quantity, such as a port.
pub const fn label<R>(column: Column<R>) -> Column<R> {
    column.with(Nature::Label, "")
}

pub const fn text<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column::new(name, Type::Text, Nature::Label, get)
}

pub const fn int4<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column::new(name, Type::Int4, Nature::Gauge, get)
}

pub const fn int8<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column::new(name, Type::Int8, Nature::Gauge, get)
}

pub const fn numeric<R>(name: &'static str, get: Get<R>) -> Column<R> {
    Column::new(name, Type::Numeric, Nature::Gauge, get)
}

/// A table: its columns, in groups that tables share, and where its rows come from.
pub struct Sheet<R: 'static> {
    pub columns: &'static [&'static [Column<R>]],
    pub rows: fn(Scene<'_>) -> Vec<R>,
}

/// Takes in the rows of a table, value by value.
pub trait TableReader {
    fn begin_row(&mut self) {}

    /// Whether the values of a column are wanted; the values of other columns are not computed.
    fn wants(&self, _column: usize) -> bool {
        true
    }

    fn value(&mut self, column: usize, value: &Value<'_>);

    fn end_row(&mut self) {}
}

/// A table of any kind of row.
pub trait Table: Sync {
    fn heads(&self) -> Vec<ColumnHead>;

    /// Hands each row to `reader`.
    fn visit(&self, scene: Scene<'_>, reader: &mut dyn TableReader);
}

impl<R> Table for Sheet<R> {
    fn heads(&self) -> Vec<ColumnHead> {
        self.columns.iter().copied().flatten().map(|column| column.head).collect()
    }

    fn visit(&self, scene: Scene<'_>, reader: &mut dyn TableReader) {
        (self.rows)(scene).iter().for_each(|row| self.read(scene, row, reader));
    }
}

impl<R> Sheet<R> {
    fn read(&self, scene: Scene<'_>, row: &R, reader: &mut dyn TableReader) {
        reader.begin_row();
        for (at, column) in self.columns.iter().copied().flatten().enumerate() {
            if reader.wants(at) {
                reader.value(at, &(column.get)(scene, row));
            }
        }
        reader.end_row();
    }
}

/// What a row is about. `None` is the console.
#[derive(Clone, Copy)]
pub enum Subject {
    Database(Option<DatabaseId>),
    Pool(Option<PoolId>),
}

/// A table whose rows are read some at a time, while databases and pools come and go.
pub trait Rowwise: Sync {
    fn heads(&self) -> Vec<ColumnHead>;

    /// The subjects of all rows, in no order.
    fn subjects(&self, core: &Core) -> Vec<Subject>;

    /// Hands the row of a subject to `reader`, if there still is one.
    fn read(&self, scene: Scene<'_>, subject: Subject, reader: &mut dyn TableReader);
}

/// A sheet, and how its rows are found one by one.
pub struct Slices<R: 'static> {
    pub sheet: &'static Sheet<R>,
    pub subjects: fn(&Core) -> Vec<Subject>,
    pub row: fn(&Core, Subject) -> Option<R>,
}

impl<R> Rowwise for Slices<R> {
    fn heads(&self) -> Vec<ColumnHead> {
        self.sheet.heads()
    }

    fn subjects(&self, core: &Core) -> Vec<Subject> {
        (self.subjects)(core)
    }

    fn read(&self, scene: Scene<'_>, subject: Subject, reader: &mut dyn TableReader) {
        if let Some(row) = (self.row)(scene.core, subject) {
            self.sheet.read(scene, &row, reader);
        }
    }
}
