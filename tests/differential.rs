//! Programs of protocol messages, made up from seeds, are played to PostgreSQL itself and to it
//! through the built pooler, and every reply is compared: a client of a pooler must see what a
//! server of its own would have shown, message by message.
//!
//! `cargo test` plays some hundred programs, `make fuzz-differential SEEDS=n` more. A failure
//! prints its seed and the shortest program that still shows the difference;
//! `PGBOUNCER_DIFFERENTIAL_SEED=n cargo test --test differential` plays that one alone.

#[path = "differential/compare.rs"]
mod compare;
#[path = "differential/play.rs"]
mod play;
#[path = "differential/program.rs"]
mod program;
mod support;

use std::env;
use std::ops::Range;
use std::thread;
use std::time::{Duration, Instant};

use play::{Cuts, play};
use program::{Step, Taste};
use support::{Message, Pooler, Postgres, Rng, Setup};

/// How errors of PostgreSQL begin from which on nothing is compared, and why.
const INCOMPARABLE: &[(&str, &str)] = &[(
    "unexpected message type",
    "the server ends in the middle of a COPY, whose end the pooler tells in its own words",
)];

/// How many programs a normal run plays to one client, if there is time; companies are a tenth of
/// that.
const SEEDS: u64 = 300;
/// When a normal run stops all the same, the machine being busy.
const LONGEST: Duration = Duration::from_secs(40);
/// Clients of a company.
const COMPANY: usize = 5;
/// The longest that making a failing program shorter may take.
const SHORTENING: Duration = Duration::from_secs(60);

#[test]
fn one_client_sees_what_postgresql_itself_shows() {
    let poolers = [
        ("transaction pooling", pool("transaction", 1).start()),
        ("session pooling", pool("session", 5).start()),
        (
            "transaction pooling, 2 prepared statements",
            pool("transaction", 1).set("max_prepared_statements", "2").start(),
        ),
    ];
    compare_alone(&poolers, taste("alone"));
}

#[test]
fn one_client_of_statement_pooling_sees_what_postgresql_itself_shows() {
    let poolers = [("statement pooling", pool("statement", 1).start())];
    compare_alone(&poolers, Taste { has_blocks: false, ..taste("blockless") });
}

#[test]
fn clients_that_share_servers_see_what_a_server_of_their_own_shows() {
    const TABLES: [&str; COMPANY] = ["shared0", "shared1", "shared2", "shared3", "shared4"];
    TABLES.iter().for_each(|table| make(table));
    let poolers = [
        pool("transaction", 2).start(),
        pool("transaction", 2).set("max_prepared_statements", "2").start(),
    ];
    for seed in seeds(SEEDS / 10) {
        let programs: Vec<(Vec<Step>, Cuts)> = TABLES
            .iter()
            .zip(0..)
            .map(|(table, number)| {
                let seed = seed * COMPANY as u64 + number;
                (program::write(seed, taste(table)), cuts(seed))
            })
            .collect();
        let direct = play_together(Postgres::shared().port, &TABLES, &programs);
        for pooler in &poolers {
            let pooled = play_together(pooler.port, &TABLES, &programs);
            for (client, (direct, pooled)) in direct.iter().zip(&pooled).enumerate() {
                if differs(direct, pooled).is_some() {
                    let steps = &programs[client].0;
                    panic!("seed {seed}, client {client}: {}", report(steps, direct, pooled));
                }
            }
        }
    }
}

fn taste(table: &'static str) -> Taste {
    Taste { table, has_blocks: true }
}

fn pool(mode: &str, size: usize) -> Setup {
    Setup::new()
        .set("pool_mode", mode)
        .set("default_pool_size", &size.to_string())
        .set("log_connections", "0")
        .set("log_disconnections", "0")
}

/// The seeds to be played. A normal run has no more of them when its time is up.
fn seeds(usual: u64) -> impl Iterator<Item = u64> {
    let (end, range) = (Instant::now() + LONGEST, range(usual));
    let is_normal = range == (0..usual);
    range.take_while(move |_| !is_normal || Instant::now() < end)
}

fn range(usual: u64) -> Range<u64> {
    let number = |name: &str| {
        let text = env::var(name).ok()?;
        Some(text.parse::<u64>().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
    };
    if let Some(seed) = number("PGBOUNCER_DIFFERENTIAL_SEED") {
        return seed..seed + 1;
    }
    let from = number("PGBOUNCER_DIFFERENTIAL_FROM").unwrap_or(0);
    let count = number("PGBOUNCER_DIFFERENTIAL_SEEDS").map_or(usual, |all| all * usual / SEEDS);
    from..from + count.max(1)
}

/// A third of the programs come in pieces.
fn cuts(seed: u64) -> Cuts {
    let mut rng = Rng::new(!seed);
    rng.percent(35).then(|| rng.next())
}

fn make(table: &str) {
    let sql = format!("create table {table} (a int, b text); grant all on {table} to public");
    Postgres::shared().session("app").query(&sql).expect("the superuser makes a table");
}

fn empty(tables: &[&str]) {
    let sql = format!("truncate {}", tables.join(", "));
    Postgres::shared().session("app").query(&sql).expect("the superuser empties a table");
}

fn compare_alone(poolers: &[(&str, Pooler)], taste: Taste) {
    make(taste.table);
    for seed in seeds(SEEDS) {
        let (steps, cuts) = (program::write(seed, taste), cuts(seed));
        let case = Case { table: taste.table, steps, cuts };
        let direct = case.play(Postgres::shared().port);
        for (name, pooler) in poolers {
            let pooled = case.play(pooler.port);
            if differs(&direct, &pooled).is_some() {
                let case = shortened(case, pooler.port);
                let (direct, pooled) = case.play_both(pooler.port);
                panic!("seed {seed}, {name}: {}", report(&case.steps, &direct, &pooled));
            }
        }
    }
}

/// A program that one client plays.
struct Case {
    table: &'static str,
    steps: Vec<Step>,
    cuts: Cuts,
}

impl Case {
    fn play(&self, port: u16) -> Vec<Message> {
        empty(&[self.table]);
        compare::plain(play(port, &self.steps, self.cuts))
    }

    fn play_both(&self, pooler: u16) -> (Vec<Message>, Vec<Message>) {
        (self.play(Postgres::shared().port), self.play(pooler))
    }
}

fn play_together(port: u16, tables: &[&str], programs: &[(Vec<Step>, Cuts)]) -> Vec<Vec<Message>> {
    empty(tables);
    thread::scope(|scope| {
        let start = |(steps, cuts): &'_ (Vec<Step>, Cuts)| {
            let (steps, cuts) = (steps.clone(), *cuts);
            scope.spawn(move || compare::plain(play(port, &steps, cuts)))
        };
        let running: Vec<_> = programs.iter().map(start).collect();
        running.into_iter().map(|one| one.join().expect("a program that was played")).collect()
    })
}

/// Where the pooler answered differently, if that counts.
fn differs(direct: &[Message], pooled: &[Message]) -> Option<usize> {
    let at = compare::first_difference(direct, pooled)?;
    let is_incomparable = |message: &Message| {
        let text = message.field('M').unwrap_or_default();
        message.kind == b'E' && INCOMPARABLE.iter().any(|(words, _)| text.starts_with(words))
    };
    let end = direct.iter().position(is_incomparable);
    let is_missing = is_missing_in_failed_block(direct.get(at), pooled.get(at));
    (end.is_none_or(|end| at < end) && !is_missing).then_some(at)
}

/// A statement that the server at hand does not have, since it was evicted or another server has
/// it, cannot be prepared again in a block that has failed, and so cannot be described there.
fn is_missing_in_failed_block(direct: Option<&Message>, pooled: Option<&Message>) -> bool {
    let is_described = direct.is_some_and(|message| message.kind == b't');
    let is_refused =
        |message: &Message| message.kind == b'E' && message.field('C').as_deref() == Some("25P02");
    is_described && pooled.is_some_and(is_refused)
}

/// Leaves out of a program what the difference does not need. What is left shows a difference of
/// the same nature, so that it is not one of those that programs take care to avoid.
fn shortened(mut case: Case, pooler: u16) -> Case {
    let end = Instant::now() + SHORTENING;
    let (direct, pooled) = case.play_both(pooler);
    let nature = compare::nature(&direct, &pooled);
    let mut size = case.steps.len().div_ceil(2);
    loop {
        let (mut at, mut is_shorter) = (0, false);
        while at < case.steps.len() && Instant::now() < end {
            let mut steps = case.steps.clone();
            leave_out(&mut steps, at, size);
            let shorter = Case { steps, ..case };
            let (direct, pooled) = shorter.play_both(pooler);
            let is_same = compare::nature(&direct, &pooled) == nature;
            if is_same && differs(&direct, &pooled).is_some() {
                (case, is_shorter) = (shorter, true);
            } else {
                at += size;
            }
        }
        if Instant::now() >= end || size == 1 && !is_shorter {
            return case;
        }
        size = size.div_ceil(2);
    }
}

/// Leaves out steps, whole groups of them.
fn leave_out(steps: &mut Vec<Step>, at: usize, count: usize) {
    let groups: Vec<usize> = steps[at..].iter().take(count).map(|step| step.group).collect();
    steps.retain(|step| !groups.contains(&step.group));
}

fn report(steps: &[Step], direct: &[Message], pooled: &[Message]) -> String {
    let program: Vec<&str> = steps.iter().map(|step| step.label.as_str()).collect();
    let Some(at) = compare::first_difference(direct, pooled) else {
        return format!("a difference that does not come again\n  {}", program.join("\n  "));
    };
    let (direct, pooled) = (compare::around(direct, at), compare::around(pooled, at));
    let program = program.join("\n  ");
    format!("\n  {program}\nPostgreSQL: {direct}\n    pooled: {pooled}")
}
