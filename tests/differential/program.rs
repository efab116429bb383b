//! Programs of protocol messages, made up from a seed: what a client might say, in an order that no
//! driver would think of. Nothing in them depends on who else is there, or on the clock, so that
//! two servers in the same state give the same answers.

use std::collections::BTreeMap;

use crate::support::{Rng, wire};

/// What a program may hold.
#[derive(Clone, Copy)]
pub struct Taste {
    /// The table that it reads and writes, of the columns `a int, b text`.
    pub table: &'static str,
    /// Transaction blocks: statement pooling has none.
    pub has_blocks: bool,
}

/// A message, or a pause.
#[derive(Clone)]
pub struct Step {
    pub label: String,
    /// Empty: all that was said goes out, and what comes is awaited for a moment.
    pub bytes: Vec<u8>,
    /// Steps of one group make sense only together.
    pub group: usize,
}

/// SQL with `$T` for the table, and what its parameters are.
#[derive(Clone, Copy, PartialEq)]
struct Text {
    sql: &'static str,
    values: &'static [Value],
}

#[derive(Clone, Copy, PartialEq)]
enum Value {
    Array,
    /// A number that is sometimes 0.
    Divisor,
    Number,
    Text,
}

const fn plain(sql: &'static str) -> Text {
    Text { sql, values: &[] }
}

const TEXTS: &[Text] = &[
    Text { sql: "select $1::int + 1", values: &[Value::Number] },
    Text { sql: "select generate_series(1, $1::int)", values: &[Value::Number] },
    Text {
        sql: "insert into $T values ($1::int, $2::text) returning a",
        values: &[Value::Number, Value::Text],
    },
    Text { sql: "select 1 / $1::int", values: &[Value::Divisor] },
    Text { sql: "select $1::text || 'x', $2::int", values: &[Value::Text, Value::Number] },
    Text { sql: "update $T set b = $1::text where a = $2", values: &[Value::Text, Value::Number] },
    Text { sql: "select $1::int[]", values: &[Value::Array] },
    Text { sql: "select a, $1::text from $T order by 1", values: &[Value::Text] },
    plain("select 42 as \"a b\""),
    plain("select a, b from $T order by 1, 2"),
    plain("select repeat('x', 9000) from generate_series(1, 3)"),
    plain(""),
    plain("do $$ begin raise notice 'hello'; end $$"),
    plain("select count(*) from $T where b is null"),
];
/// Another day and another instant under other settings.
const CONSTANTS: &str = r"select '02/03/2026'::date - '2026-01-01'::date, 'a\\b',
    '2026-01-01 12:00'::timestamptz - '2026-01-01 12:00Z'::timestamptz";
/// Texts that an extended query may hold beside, none of which is fit for a name.
const WRONG: &[&str] = &["selec", "select nosuch", "select $1", "select 1; select 2", "table none"];
const BLOCKS: &[&str] = &["begin", "begin", "begin read only", "commit and chain"];
const ENDS: &[&str] =
    &["commit", "rollback", "savepoint a", "rollback to a", "release a", "commit", "rollback"];
const SETTINGS: &[&str] = &[
    "set application_name to 'one'",
    "set application_name to 'two''s \"name\"'",
    "set local application_name to 'local'",
    "set datestyle to 'german'",
    "set datestyle to 'sql, dmy'",
    "set timezone to 'Europe/Rome'",
    "set local timezone to 'Asia/Tokyo'",
    "set intervalstyle to 'iso_8601'",
    "set client_encoding to 'latin1'",
    "set standard_conforming_strings to off",
    "set default_transaction_read_only to on",
    "set default_transaction_read_only to off",
    "reset datestyle",
    "reset all",
    "show timezone",
];
const QUERIES: &[&str] = &[
    "select 1; select 2",
    "begin; select 1",
    "select 1; select 1/0; select 3",
    "begin; insert into $T values (7, $q$q$q$); commit; select 1/0",
    "",
    ";",
    "insert into $T values (9, null)",
    "select a, b from $T order by 1, 2",
    "select repeat('y', 20000)",
    "commit; begin",
    "rollback; select 1",
    "savepoint b; rollback to b; select 4",
    "do $$ begin raise notice 'n'; end $$; select 8",
    "declare c cursor for select generate_series(1, 5); fetch 2 from c",
    "fetch 2 from c",
    "close c",
    "selec",
    "select generate_series(1, 300)",
    "do $$ begin raise exception 'boo' using detail = 'because', hint = 'none'; end $$",
    "listen l; notify l, 'word'; unlisten l",
    "table none",
    "delete from $T where a = 9",
];
const COPIES_IN: &[&str] = &[
    "copy $T from stdin",
    "copy $T from stdin",
    "copy $T from stdin with (format csv)",
    "copy $T (a) from stdin",
    "copy $T from stdin with (format binary)",
    "copy none from stdin",
    "copy $T from stdin; select 5",
    "copy $T from stdin; copy $T from stdin",
];
const COPIES_OUT: &[&str] = &[
    "copy $T to stdout",
    "copy (select generate_series(1, 50)) to stdout",
    "copy (select repeat('o', 3000), g from generate_series(1, 20) g) to stdout",
];
const LINES: &[&str] =
    &["1\tone\n", "2\ttwo\n", "4\tf\n", "5,five\n", "\\N\t\\N\n", "6\tx", "\n", "\\.\n"];
const BAD_LINES: &[&str] = &["x\ty\n", "3\n"];
const NAMES: &[&str] = &["s1", "s2", "s 3\"", "S4", "a'b\\"];
const PORTALS: &[&str] = &["", "", "", "p1", "p2"];
/// Without arguments: pi().
const FUNCTION: u32 = 1610;
const NO_FUNCTION: u32 = 999_999;

pub fn write(seed: u64, taste: Taste) -> Vec<Step> {
    let mut author = Author::new(seed, taste);
    author.query("select 1");
    author.names_block();
    for _ in 0..author.rng.pick(&[4, 8, 15, 30, 60]) {
        author.group += 1;
        author.step();
    }
    author.steps
}

struct Author {
    rng: Rng,
    taste: Taste,
    /// It also says what cannot be right.
    is_rude: bool,
    /// It gives and takes names anywhere, also where that may fail or be skipped.
    is_loose: bool,
    steps: Vec<Step>,
    group: usize,
    names: BTreeMap<&'static str, Text>,
    portals: BTreeMap<&'static str, Text>,
    unnamed: Option<Text>,
    /// A COPY FROM STDIN is likely to be under way.
    is_copying: bool,
}

impl Author {
    fn new(seed: u64, taste: Taste) -> Author {
        let mut rng = Rng::new(seed);
        Author {
            taste,
            is_rude: rng.percent(30),
            is_loose: rng.percent(40),
            rng,
            steps: vec![],
            group: 0,
            names: BTreeMap::new(),
            portals: BTreeMap::new(),
            unnamed: None,
            is_copying: false,
        }
    }

    fn step(&mut self) {
        if self.is_copying && self.rng.percent(93) {
            return self.copy_step();
        }
        self.is_copying = false;
        match self.rng.below(100) {
            0..10 if self.is_loose => self.loose_names(),
            0..10 => self.names_block(),
            10..24 => self.unnamed_step(),
            24..42 => self.use_name(),
            42..46 => self.describe_name(),
            46..56 => self.use_portal(),
            56..61 => self.say("Flush", wire::flush()),
            61..78 => self.sync(),
            78..93 => self.some_query(),
            93..96 => self.call(),
            96..98 => self.stray(),
            _ => self.say("Close statement never", wire::named(b'C', 'S', "never")),
        }
        if self.rng.percent(12) {
            self.pause();
        }
    }

    fn say(&mut self, label: impl Into<String>, bytes: Vec<u8>) {
        self.steps.push(Step { label: label.into(), bytes, group: self.group });
    }

    fn pause(&mut self) {
        self.say("pause", vec![]);
    }

    fn sync(&mut self) {
        self.say("Sync", wire::sync());
    }

    fn query(&mut self, sql: &str) {
        let sql = self.filled(sql);
        self.say(format!("Query {sql:?}"), wire::query(&sql));
        self.portals.remove("");
    }

    fn parse(&mut self, name: &str, text: Text) {
        let sql = self.filled(text.sql);
        self.say(format!("Parse {name:?} {sql:?}"), wire::parse(name, &sql));
    }

    fn describe(&mut self, what: char, name: &str) {
        self.say(format!("Describe {what} {name:?}"), wire::named(b'D', what, name));
    }

    fn close(&mut self, what: char, name: &str) {
        self.say(format!("Close {what} {name:?}"), wire::named(b'C', what, name));
    }

    fn filled(&self, sql: &str) -> String {
        sql.replace("$T", self.taste.table)
    }

    /// Gives names to statements, and takes them away, where nothing can make it fail.
    fn names_block(&mut self) {
        self.group += 1;
        self.say("CopyFail", wire::message(b'f', b"names\0"));
        self.sync();
        self.query("rollback");
        self.is_copying = false;
        if self.rng.percent(12) {
            let sql = self.rng.pick(&["deallocate all", "discard all"]);
            self.query(sql);
            self.names.clear();
        }
        for _ in 0..self.rng.pick(&[1, 1, 2, 3]) {
            self.give_name();
        }
        self.sync();
        self.portals.clear();
        self.group += 1;
    }

    fn give_name(&mut self) {
        let (name, mut text) = (self.rng.pick(NAMES), self.good_text());
        if let Some(known) = self.names.get(name).copied() {
            text = if self.rng.percent(20) { known } else { text };
            self.take_name(name);
        }
        self.parse(name, text);
        self.names.insert(name, text);
        if self.rng.percent(40) {
            self.describe('S', name);
        }
        if self.rng.percent(30) {
            self.say("Flush", wire::flush());
        }
        if self.rng.percent(50) {
            self.sync();
        }
    }

    /// Gives and takes names wherever it is, and uses some that nobody has given.
    fn loose_names(&mut self) {
        let (name, text) = (self.rng.pick(NAMES), self.some_text());
        match self.rng.below(10) {
            0 => self.describe('S', name),
            1 => self.run(name, text),
            2 => self.close('S', name),
            3 => self.query(&format!("deallocate \"{}\"", name.replace('"', "\"\""))),
            4 => self.query("deallocate all"),
            _ => {
                if self.names.contains_key(name) && self.rng.percent(70) {
                    self.close('S', name);
                }
                self.parse(name, text);
                self.names.insert(name, text);
            }
        }
    }

    fn take_name(&mut self, name: &'static str) {
        match self.rng.below(3) {
            0 => self.close('S', name),
            1 => {
                self.close('S', name);
                self.sync();
            }
            _ => {
                self.sync();
                self.query(&format!("deallocate \"{}\"", name.replace('"', "\"\"")));
            }
        }
        self.names.remove(name);
    }

    /// What a Parse accepts while no transaction has failed.
    fn good_text(&mut self) -> Text {
        match self.rng.below(100) {
            0..5 => plain(CONSTANTS),
            5..75 => self.rng.pick(TEXTS),
            75..82 => plain(self.block_text()),
            82..85 => plain("copy $T from stdin"),
            85..88 => plain("close all"),
            88..92 => plain("copy $T to stdout"),
            _ => plain(self.rng.pick(SETTINGS)),
        }
    }

    fn block_text(&mut self) -> &'static str {
        if self.taste.has_blocks && self.rng.percent(50) {
            return self.rng.pick(BLOCKS);
        }
        self.rng.pick(ENDS)
    }

    fn some_text(&mut self) -> Text {
        match self.rng.below(100) {
            0..6 => plain(self.rng.pick(&COPIES_IN[..6])),
            6..10 => plain(self.rng.pick(WRONG)),
            10..12 => plain("discard plans"),
            12..16 if self.is_loose => plain(self.rng.pick(&["deallocate all", "discard all"])),
            _ => self.good_text(),
        }
    }

    fn unnamed_step(&mut self) {
        let text = self.some_text();
        self.parse("", text);
        self.unnamed = Some(text);
        if self.rng.percent(30) {
            self.describe('S', "");
        }
        if self.rng.percent(70) {
            self.run("", text);
        }
    }

    fn use_name(&mut self) {
        let known: Vec<_> = self.names.iter().map(|(name, text)| (*name, *text)).collect();
        if !known.is_empty() && self.rng.percent(90) {
            let (name, text) = self.rng.pick(&known);
            return self.run(name, text);
        }
        if let Some(text) = self.unnamed {
            self.run("", text);
        }
    }

    fn describe_name(&mut self) {
        let known: Vec<_> = self.names.keys().copied().collect();
        if !known.is_empty() {
            let name = self.rng.pick(&known);
            self.describe('S', name);
        }
    }

    fn run(&mut self, name: &str, text: Text) {
        let portal = self.bind(name, text);
        if self.rng.percent(40) {
            self.describe('P', portal);
        }
        self.execute(portal);
    }

    fn bind(&mut self, name: &str, text: Text) -> &'static str {
        let mut values: Vec<Option<String>> =
            text.values.iter().map(|kind| self.value(*kind)).collect();
        if self.is_rude && self.rng.percent(8) {
            values.push(Some("1".into()));
        }
        if self.is_rude && self.rng.percent(8) && !values.is_empty() {
            values[0] = Some("bad".into());
        }
        let formats: &[u16] = self.rng.pick(&[&[], &[], &[], &[], &[0], &[1]]);
        let portal = self.rng.pick(PORTALS);
        let shown: Vec<_> = values.iter().map(|value| value.as_deref().map(short)).collect();
        let given: Vec<_> = values.iter().map(Option::as_deref).collect();
        let label = format!("Bind {portal:?} of {name:?} {shown:?} {formats:?}");
        self.say(label, wire::bind_portal(portal, name, &given, formats));
        self.portals.insert(portal, text);
        portal
    }

    fn value(&mut self, kind: Value) -> Option<String> {
        let text = match kind {
            Value::Array if self.is_rude => self.rng.pick(&["{1,2}", "{}", "{a}"]),
            Value::Array => self.rng.pick(&["{1,2}", "{}", "{3}"]),
            Value::Divisor => self.rng.pick(&["0", "1", "1", "2"]),
            Value::Number => self.rng.pick(&["1", "2", "3", "5", "7"]),
            Value::Text => match self.rng.below(5) {
                0 => return None,
                1 => return Some("x".repeat(3000)),
                2 => "é'\\",
                3 => "",
                _ => "abc",
            },
        };
        Some(text.into())
    }

    fn execute(&mut self, portal: &str) {
        let rows = self.rng.pick(&[0, 0, 0, 1, 2]);
        self.say(format!("Execute {portal:?} {rows}"), wire::execute_portal(portal, rows));
        let text = self.portals.get(portal);
        self.is_copying |= text.is_some_and(|text| text.sql.contains("from stdin"));
    }

    fn use_portal(&mut self) {
        let portal = self.rng.pick(&["", "p1", "p2"]);
        let is_there = self.portals.contains_key(portal) || self.is_rude;
        match self.rng.below(3) {
            0 if is_there => self.describe('P', portal),
            1 if is_there => self.execute(portal),
            _ => {
                self.close('P', portal);
                self.portals.remove(portal);
            }
        }
    }

    fn some_query(&mut self) {
        let sql = match self.rng.below(100) {
            0..40 => self.rng.pick(QUERIES),
            40..62 => self.block_text(),
            62..74 => self.rng.pick(SETTINGS),
            74..88 => self.rng.pick(COPIES_IN),
            _ => self.rng.pick(COPIES_OUT),
        };
        if !self.taste.has_blocks && (sql.contains("begin;") || sql.contains("; begin")) {
            return;
        }
        self.query(sql);
        self.is_copying = sql.contains("from stdin");
    }

    fn call(&mut self) {
        let function = if self.is_rude && self.rng.percent(50) { NO_FUNCTION } else { FUNCTION };
        self.say(format!("FunctionCall {function}"), wire::call(function));
    }

    /// Messages of a COPY where there is none.
    fn stray(&mut self) {
        match self.rng.below(3) {
            0 => self.say("CopyDone, stray", wire::message(b'c', b"")),
            1 => self.say("CopyData, stray", wire::message(b'd', b"zz")),
            _ => self.say("CopyFail, stray", wire::message(b'f', b"z\0")),
        }
    }

    fn copy_step(&mut self) {
        match self.rng.below(100) {
            0..50 => self.copy_data(),
            50..58 => self.sync(),
            58..64 => self.say("Flush", wire::flush()),
            64..92 => {
                self.say("CopyDone", wire::message(b'c', b""));
                self.is_copying = false;
            }
            _ => {
                self.say("CopyFail", wire::message(b'f', b"stop\0"));
                self.is_copying = false;
            }
        }
        if !self.is_copying && self.rng.percent(70) {
            self.sync();
        }
    }

    fn copy_data(&mut self) {
        let line = match self.rng.below(10) {
            0 => format!("7\t{}\n", "z".repeat(5000)),
            1 if self.is_rude => self.rng.pick(BAD_LINES).into(),
            _ => self.rng.pick(LINES).to_owned(),
        };
        self.say(format!("CopyData {:?}", short(&line)), wire::message(b'd', line.as_bytes()));
    }
}

/// The beginning of a long text.
pub fn short(text: &str) -> String {
    let beginning: String = text.chars().take(40).collect();
    if beginning.len() < text.len() { format!("{beginning}...") } else { beginning }
}
