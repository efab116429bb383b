//! How many instructions a query costs the pooler, so that they cannot creep up: callgrind counts
//! them, for the program that is released. They are the same on a machine that has other work.
//!
//! `make instructions` builds that program, names it by `PGBOUNCER_BIN` and runs this. Without
//! that, and without valgrind, nothing is counted.

mod support;

use std::process::Command;

use support::client::Client;
use support::fake::{self, FakeServer};
use support::pooler::{Pooler, Setup};
use support::wire::{self, Wire};

/// What one unit of a workload may cost: 10 % above what was reached.
const WORKLOADS: [Workload; 5] = [
    Workload { name: "simple", most: 6_600, prepare: None, unit: simple },
    Workload { name: "extended", most: 7_550, prepare: None, unit: extended },
    Workload { name: "prepared", most: 8_240, prepare: STATEMENT, unit: prepared },
    Workload { name: "pipeline of 20", most: 30_350, prepare: None, unit: pipeline },
    Workload { name: "20 prepared", most: 53_950, prepare: STATEMENT, unit: prepared_pipeline },
];

/// The body of the Parse of a statement with a name.
const STATEMENT: Option<&[u8]> = Some(b"s\0select 1\0\0\0");

/// Units of the shorter and of the longer run; the difference leaves out start, login and end.
const UNITS: [u64; 2] = [500, 3_500];

struct Workload {
    name: &'static str,
    most: u64,
    /// The body of a Parse that is sent once.
    prepare: Option<&'static [u8]>,
    /// What is sent in one go, and answered up to one ReadyForQuery.
    unit: fn() -> Vec<u8>,
}

fn simple() -> Vec<u8> {
    wire::message(b'Q', b"select 1\0")
}

fn extended() -> Vec<u8> {
    [use_of_unnamed(), sync()].concat()
}

fn prepared() -> Vec<u8> {
    [use_of(b"\0s\0\0\0\0\0\0\0"), sync()].concat()
}

fn pipeline() -> Vec<u8> {
    [use_of_unnamed().repeat(20), sync()].concat()
}

fn prepared_pipeline() -> Vec<u8> {
    [use_of(b"\0s\0\0\0\0\0\0\0").repeat(20), sync()].concat()
}

fn sync() -> Vec<u8> {
    wire::message(b'S', b"")
}

/// Parse, Bind, Describe, Execute.
fn use_of_unnamed() -> Vec<u8> {
    [wire::message(b'P', b"\0select 1\0\0\0"), use_of(b"\0\0\0\0\0\0\0\0")].concat()
}

/// Bind, Describe, Execute.
fn use_of(bind: &[u8]) -> Vec<u8> {
    let parts = [(b'B', bind), (b'D', b"P\0"), (b'E', b"\0\0\0\0\0")];
    parts.map(|(kind, body)| wire::message(kind, body)).concat()
}

#[test]
fn a_query_costs_no_more_instructions_than_it_did() {
    if std::env::var_os("PGBOUNCER_BIN").is_none() {
        return eprintln!("SKIPPED: `make instructions` counts those of the released program");
    }
    if !Command::new("valgrind").arg("--version").output().is_ok_and(|o| o.status.success()) {
        return eprintln!("SKIPPED: valgrind is not installed");
    }
    let only = std::env::var("INSTRUCTIONS_OF").ok();
    let mut dear = Vec::new();
    for workload in WORKLOADS.iter().filter(|w| only.as_deref().is_none_or(|o| o == w.name)) {
        let [short, long] = UNITS.map(|units| count(workload, units));
        let each = (long - short) / (UNITS[1] - UNITS[0]);
        println!("{}: {each} instructions, {} at most", workload.name, workload.most);
        if each > workload.most {
            dear.push(workload.name);
        }
    }
    assert!(dear.is_empty(), "dearer than they were: {dear:?}");
}

/// All instructions of a pooler that serves so many units.
fn count(workload: &Workload, units: u64) -> u64 {
    let server = FakeServer::start(answer);
    let file = std::env::var("INSTRUCTIONS_FILE").unwrap_or_else(|_| "callgrind.out".into());
    let file = format!("--callgrind-out-file={file}");
    let tool = ["valgrind", "--tool=callgrind", &file];
    let pooler = Setup::empty()
        .database("app", &format!("host=127.0.0.1 port={}", server.port))
        .set("max_prepared_statements", "100")
        .set("server_lifetime", "86400")
        .run_by(&tool)
        .start();
    let mut client = pooler.client();
    if let Some(body) = workload.prepare {
        ask(&mut client, &[wire::message(b'P', body), wire::message(b'S', b"")].concat());
    }
    let unit = (workload.unit)();
    for _ in 0..units {
        ask(&mut client, &unit);
    }
    drop(client);
    pooler.signal("QUIT");
    pooler.expect_exit();
    collected(&pooler)
}

fn ask(client: &mut Client, bytes: &[u8]) {
    client.wire.send(bytes);
    client.wire.hear_until_ready().expect("an answer");
}

/// What callgrind says at its end.
fn collected(pooler: &Pooler) -> u64 {
    let log = pooler.log();
    let line = log.lines().find_map(|line| line.split_once("Collected : "));
    let (_, count) = line.unwrap_or_else(|| panic!("callgrind has counted nothing:\n{log}"));
    count.trim().parse().expect("a number")
}

/// Answers every message as a server would that has one row for each query.
fn answer(wire: &mut Wire) {
    if !matches!(fake::hear_startup(wire), Ok(Some(_))) || !wire.send(&fake::welcome()) {
        return;
    }
    let mut bytes = Vec::new();
    while let Ok(message) = wire.hear() {
        match message.kind {
            b'P' => bytes.extend(wire::message(b'1', b"")),
            b'B' => bytes.extend(wire::message(b'2', b"")),
            b'C' => bytes.extend(wire::message(b'3', b"")),
            b'D' => bytes.extend(wire::row_description(&["value"])),
            b'E' => {
                bytes.extend(wire::data_row(&[b"1"]));
                bytes.extend(wire::message(b'C', b"SELECT 1\0"));
            }
            b'Q' => bytes.extend(fake::one_row("1")),
            b'S' => bytes.extend(wire::ready(b'I')),
            _ => return,
        }
        if matches!(message.kind, b'Q' | b'S') {
            wire.send(&std::mem::take(&mut bytes));
        }
    }
}
