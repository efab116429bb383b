//! A hundred clients that do all that clients do, and at any moment vanish, cancel what they run,
//! or lose their server, while the operator gives RELOAD, RECONNECT and PAUSE. Every row carries
//! its client's tag: nobody may see another's, nobody may wait for ever, and at the end nothing
//! is left over.
//!
//! `cargo test` gives it some seconds, `make stress SECONDS=n` more. Threads make it another run
//! each time; a failure prints what each client saw last.

mod support;

use std::env;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::client::Login;
use support::postgres::TRUSTED;
use support::{Client, Failure, Message, Pooler, Postgres, Rng, SetAtEnd, Setup, eventually, wire};

const CLIENTS: u64 = 100;
/// Servers for them.
const POOL: usize = 12;
const SECONDS: u64 = 20;
/// What the process may hold more at the end than after the first quarter, in kilobytes. A leak of
/// some hundred bytes for each of the clients that have come and gone is far more.
const GROWTH_KB: u64 = 6 * 1024;

/// What became of the clients, to see that the test does something.
#[derive(Default)]
struct Figures {
    checked: AtomicUsize,
    cancelled: AtomicUsize,
    lost: AtomicUsize,
    vanished: AtomicUsize,
    commands: AtomicUsize,
}

#[test]
fn nobody_sees_foreign_rows_or_hangs_whatever_happens() {
    let seconds = number("PGBOUNCER_STRESS_SECONDS").unwrap_or(SECONDS);
    let seed = number("PGBOUNCER_STRESS_SEED").unwrap_or(1);
    let pooler = pooler();
    make_table();
    let (figures, is_over) = (Figures::default(), AtomicBool::new(false));
    let descriptors = pooler.descriptors();
    let early = thread::scope(|scope| {
        let _end = SetAtEnd(&is_over);
        for number in 0..CLIENTS {
            let (pooler, figures, is_over) = (&pooler, &figures, &is_over);
            scope.spawn(move || live(number, seed, pooler, figures, is_over));
        }
        let operator = scope.spawn(|| operate(seed, &pooler, &figures, &is_over));
        watch(&pooler, seconds, &operator)
    });
    check_nothing_is_left(&pooler, descriptors);
    let late = pooler.resident_kb();
    assert!(late <= early + GROWTH_KB, "{early} kB have grown to {late} kB");
    figures.check();
}

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is not a number: {text}")))
}

fn pooler() -> Pooler {
    Setup::new()
        .set("default_pool_size", &POOL.to_string())
        .set("max_client_conn", "1000")
        .in_view()
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .set("log_pooler_errors", "0")
        .start()
}

fn make_table() {
    let sql = "create table stress (a text, b int); grant all on stress to public";
    Postgres::shared().session("app").query(sql).expect("the superuser makes a table");
}

/// Waits for the end of the time; gives what the process held after the first quarter of it.
fn watch<T>(pooler: &Pooler, seconds: u64, operator: &thread::ScopedJoinHandle<T>) -> u64 {
    let start = Instant::now();
    let until = |moment: Duration| {
        while start.elapsed() < moment && !operator.is_finished() && pooler.is_alive() {
            thread::sleep(Duration::from_millis(50));
        }
    };
    let all = Duration::from_secs(seconds);
    until(all / 4);
    let early = pooler.resident_kb();
    until(all);
    early
}

/// Clients, work and connections are gone; servers are idle, and no more than there may be.
fn check_nothing_is_left(pooler: &Pooler, descriptors_before: usize) {
    let shown = |column: &str| {
        let text = pooler.shown("show pools", "database", "app", column);
        text.and_then(|text| text.parse::<usize>().ok()).unwrap_or_default()
    };
    eventually("the pool to be at rest", || {
        let columns = ["cl_active", "cl_waiting", "sv_active", "sv_tested", "sv_login"];
        let cancels = ["cl_active_cancel_req", "cl_waiting_cancel_req", "sv_active_cancel"];
        let all: usize = columns.iter().chain(&cancels).map(|column| shown(column)).sum();
        (all == 0).then_some(())
    });
    let busy = "select count(*) from pg_stat_activity where usename = 'app_trust' \
                and state <> 'idle'";
    eventually("PostgreSQL to be at rest", || (Postgres::shared().one(busy) == "0").then_some(()));
    let sessions = Postgres::shared().sessions(TRUSTED.name, "app");
    assert!(sessions <= POOL, "{sessions} sessions are left of a pool of {POOL}");
    eventually("the descriptors to be closed", || {
        (pooler.descriptors() <= descriptors_before + sessions + 1).then_some(())
    });
}

/// What an operator does, and a database's.
fn operate(seed: u64, pooler: &Pooler, figures: &Figures, is_over: &AtomicBool) {
    let mut rng = Rng::new(!seed);
    let mut console = pooler.console();
    let mut database = Postgres::shared().session("postgres");
    while !is_over.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(50 + rng.below(250) as u64));
        let command = rng.pick(&["", "", "", "reload", "reconnect", "pause"]);
        match command {
            "" => {
                let sql = "select pg_terminate_backend(pid) from pg_stat_activity \
                           where usename = 'app_trust' and state is not null \
                           order by random() limit 1";
                database.query(sql).expect("a backend to be ended");
            }
            command => {
                console.query(command).unwrap_or_else(|e| panic!("{command}: {e:?}"));
                if command == "pause" {
                    thread::sleep(Duration::from_millis(30));
                    console.query("resume").expect("RESUME after PAUSE");
                }
            }
        }
        figures.commands.fetch_add(1, Ordering::Relaxed);
    }
}

impl Figures {
    fn check(&self) {
        let named = [
            ("answers checked", &self.checked, 200),
            ("queries cancelled", &self.cancelled, 1),
            ("sessions lost with their server", &self.lost, 1),
            ("clients that vanished", &self.vanished, 20),
            ("commands", &self.commands, 10),
        ];
        for (what, count, least) in named {
            let count = count.load(Ordering::Relaxed);
            println!("{what}: {count}");
            assert!(count >= least, "{what}: only {count}");
        }
    }
}

/// Why a client has no session any more.
enum End {
    /// It has gone of its own accord.
    Vanished,
    /// Its server has ended, and it was told so or cut off.
    Lost,
}

/// One client after the other under the same number, until time is up.
fn live(number: u64, seed: u64, pooler: &Pooler, figures: &Figures, is_over: &AtomicBool) {
    let mut rng = Rng::new(seed * 1_000_003 + number);
    while !is_over.load(Ordering::SeqCst) {
        let login = Login { user: TRUSTED.name, password: "", database: "app", parameters: &[] };
        let client = match Client::attempt(pooler.port, &login) {
            Ok(client) => client,
            Err(failure) => {
                judge_end(number, &failure);
                continue;
            }
        };
        let mut guest = Guest {
            client,
            number,
            rng: rng.clone(),
            pooler,
            tags: rng.below(1 << 30),
            names: vec![],
            application: None,
            has_cancelled: false,
            figures,
        };
        let end = guest.stay(is_over);
        rng = guest.rng;
        match end {
            Ok(()) => guest.client.terminate(),
            Err(End::Vanished) => drop(figures.vanished.fetch_add(1, Ordering::Relaxed)),
            Err(End::Lost) => drop(figures.lost.fetch_add(1, Ordering::Relaxed)),
        }
    }
}

/// Fails the test where nothing that was done explains this end of a client.
fn judge_end(number: u64, failure: &Failure) {
    let words = failure.message();
    let is_explained = failure.code() == "57P01"
        || words == "server conn crashed?"
        || words.starts_with("server login")
        || *failure == Failure::Gone(wire::Gone::Closed);
    assert!(is_explained, "client {number} ends: {failure:?}");
}

/// A client in its session.
struct Guest<'a> {
    client: Client,
    number: u64,
    rng: Rng,
    pooler: &'a Pooler,
    tags: usize,
    /// Statements that it has prepared.
    names: Vec<String>,
    /// What it has set application_name to.
    application: Option<String>,
    has_cancelled: bool,
    figures: &'a Figures,
}

type Outcome = Result<(), End>;

impl Guest<'_> {
    fn stay(&mut self, is_over: &AtomicBool) -> Outcome {
        while !is_over.load(Ordering::SeqCst) && !self.rng.percent(2) {
            match self.rng.below(20) {
                0..2 => self.simple()?,
                2..4 => self.unnamed()?,
                4..8 => self.named()?,
                8..10 => self.block()?,
                10 => self.error()?,
                11..13 => self.pipeline()?,
                13 => self.copy_out()?,
                14 => self.copy_in()?,
                15 => self.setting()?,
                16 => self.portal()?,
                17 => self.cancel()?,
                18 if self.rng.percent(60) => return self.vanish(),
                _ => thread::sleep(Duration::from_millis(self.rng.below(20) as u64)),
            }
        }
        Ok(())
    }

    fn tag(&mut self) -> String {
        self.tags += 1;
        format!("tag-{}-{}", self.number, self.tags)
    }

    fn ask(&mut self, bytes: &[u8]) -> Result<Vec<Message>, End> {
        self.client.wire.send(bytes);
        self.hear(b'Z')
    }

    /// Messages up to one of this kind; the end of the session is judged.
    fn hear(&mut self, last: u8) -> Result<Vec<Message>, End> {
        let mut heard: Vec<Message> = vec![];
        loop {
            let message = self.client.wire.hear().map_err(|gone| {
                if gone == wire::Gone::Silent {
                    let here = self.client.wire.stream.local_addr();
                    eprintln!("{here:?} after {heard:?}");
                    for table in ["show clients", "show servers", "show pools"] {
                        eprintln!("{:#?}", self.pooler.console().query(table).map(|a| a.rows));
                    }
                }
                judge_end(self.number, &Failure::Gone(gone));
                End::Lost
            })?;
            if message.kind == b'E' && message.field('S').as_deref() == Some("FATAL") {
                judge_end(self.number, &Failure::from(&message));
                return Err(End::Lost);
            }
            let is_last = message.kind == last || message.kind == b'Z';
            heard.push(message);
            if is_last {
                return Ok(heard);
            }
        }
    }

    /// So many rows, each with the tag; or an error of the SQLSTATE that was to come.
    fn check(&mut self, what: &str, heard: &[Message], tag: &str, rows: usize) {
        let number = self.number;
        let error = heard.iter().find(|message| message.kind == b'E').map(Failure::from);
        if let Some(error) = error {
            let is_cancel = error.code() == "57014" && self.has_cancelled;
            assert!(is_cancel, "client {number}, {what}: {error:?}");
            self.figures.cancelled.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let values = heard.iter().filter(|message| message.kind == b'D').map(Message::values);
        let firsts: Vec<_> = values.map(|values| values[0].clone().unwrap_or_default()).collect();
        let foreign = firsts.iter().find(|first| *first != tag);
        assert_eq!(foreign, None, "client {number}, {what}: not its own {tag}");
        assert_eq!(firsts.len(), rows, "client {number}, {what}: rows of {heard:?}");
        self.figures.checked.fetch_add(1, Ordering::Relaxed);
    }

    fn simple(&mut self) -> Outcome {
        let (tag, rows) = (self.tag(), self.rng.pick(&[1, 3, 200]));
        let sql = format!("select '{tag}', g from generate_series(1, {rows}) g");
        let heard = self.ask(&wire::query(&sql))?;
        self.check("simple", &heard, &tag, rows);
        Ok(())
    }

    fn unnamed(&mut self) -> Outcome {
        let (tag, rows) = (self.tag(), self.rng.pick(&[0, 1, 50]));
        let sql = "select $1::text, g from generate_series(1, $2::int) g";
        let values = [tag.as_str(), &rows.to_string()];
        let heard = self.ask(&extended("", sql, &values))?;
        self.check("unnamed", &heard, &tag, rows);
        Ok(())
    }

    /// Clients share the texts, so that statements are shared, too.
    fn named(&mut self) -> Outcome {
        let (tag, which) = (self.tag(), self.rng.below(60));
        let (name, rows) = (format!("s{which}"), which % 7);
        let mut bytes = self.named_use(&name, which, &tag);
        bytes.extend(wire::sync());
        let heard = self.ask(&bytes)?;
        self.check("named", &heard, &tag, rows);
        if self.rng.percent(10) {
            self.names.retain(|known| *known != name);
            self.ask(&[wire::named(b'C', 'S', &name), wire::sync()].concat())?;
        }
        Ok(())
    }

    fn named_use(&mut self, name: &str, which: usize, tag: &str) -> Vec<u8> {
        let mut bytes = vec![];
        if !self.names.iter().any(|known| known == name) {
            let rows = which % 7;
            let sql = format!("select $1::text, {which}, g from generate_series(1, {rows}) g");
            bytes.extend(wire::parse(name, &sql));
            self.names.push(name.into());
        }
        bytes.extend(wire::bind(name, &[tag]));
        if self.rng.percent(50) {
            bytes.extend(wire::named(b'D', 'P', ""));
        }
        bytes.extend(wire::execute());
        bytes
    }

    fn block(&mut self) -> Outcome {
        self.ask(&wire::query("begin"))?;
        for _ in 0..1 + self.rng.below(3) {
            let tag = self.tag();
            let heard = self.ask(&extended("", "select $1::text", &[&tag]))?;
            self.check("in a block", &heard, &tag, 1);
        }
        let end = self.rng.pick(&["commit", "rollback"]);
        self.ask(&wire::query(end)).map(drop)
    }

    fn error(&mut self) -> Outcome {
        let sql = self.rng.pick(&["select 1/0", "selec", "begin; select 1/0; commit"]);
        let heard = self.ask(&wire::query(sql))?;
        let has_failed = heard.iter().any(|message| message.kind == b'E');
        assert!(has_failed, "client {}: {sql} gives {heard:?}", self.number);
        if heard.last().is_some_and(|ready| ready.body != b"I") {
            self.ask(&wire::query("rollback"))?;
        }
        Ok(())
    }

    fn pipeline(&mut self) -> Outcome {
        let mut bytes = vec![];
        let mut awaited = vec![];
        for _ in 0..self.rng.pick(&[2, 10, 60]) {
            let tag = self.tag();
            let rows = match self.rng.below(3) {
                0 => {
                    bytes.extend(extended("", "select $1::text", &[&tag]));
                    1
                }
                1 => {
                    let which = self.rng.below(60);
                    bytes.extend(self.named_use(&format!("s{which}"), which, &tag));
                    bytes.extend(wire::sync());
                    which % 7
                }
                _ => {
                    bytes.extend(wire::query(&format!("select '{tag}'")));
                    1
                }
            };
            awaited.push((tag, rows));
        }
        self.client.wire.send(&bytes);
        for (tag, rows) in awaited {
            let heard = self.hear(b'Z')?;
            self.check("pipeline", &heard, &tag, rows);
        }
        Ok(())
    }

    fn copy_out(&mut self) -> Outcome {
        let (tag, rows) = (self.tag(), self.rng.pick(&[1, 100, 2000]));
        let sql = format!("copy (select '{tag}', g from generate_series(1, {rows}) g) to stdout");
        let heard = self.ask(&wire::query(&sql))?;
        let lines: Vec<_> = heard.iter().filter(|message| message.kind == b'd').collect();
        let own = format!("{tag}\t");
        let foreign = lines.iter().find(|line| !line.body.starts_with(own.as_bytes()));
        assert_eq!(foreign, None, "client {}: not its own {tag}", self.number);
        assert_eq!(lines.len(), rows, "client {}: {heard:?}", self.number);
        Ok(())
    }

    fn copy_in(&mut self) -> Outcome {
        let (tag, rows) = (self.tag(), self.rng.pick(&[1, 50]));
        let must_fail = self.rng.percent(20);
        self.client.wire.send(&wire::query("copy stress from stdin"));
        self.hear(b'G')?;
        let lines = (0..rows).map(|row| wire::message(b'd', format!("{tag}\t{row}\n").as_bytes()));
        let mut bytes: Vec<u8> = lines.flatten().collect();
        if must_fail {
            bytes.extend(wire::message(b'd', b"x\ty\tz\n"));
        }
        bytes.extend(wire::message(b'c', b""));
        let heard = self.ask(&bytes)?;
        let has_failed = heard.iter().any(|message| message.kind == b'E');
        assert_eq!(has_failed, must_fail, "client {}: COPY gives {heard:?}", self.number);
        let sql = format!("delete from stress where a = '{tag}' returning a");
        let heard = self.ask(&wire::query(&sql))?;
        self.check("after COPY", &heard, &tag, if must_fail { 0 } else { rows });
        Ok(())
    }

    fn setting(&mut self) -> Outcome {
        if let Some(tag) = self.application.clone().filter(|_| self.rng.percent(70)) {
            let sql = "select current_setting('application_name')";
            let heard = self.ask(&wire::query(sql))?;
            self.check("application_name", &heard, &tag, 1);
            return Ok(());
        }
        let tag = self.tag();
        self.ask(&wire::query(&format!("set application_name to '{tag}'")))?;
        self.application = Some(tag);
        Ok(())
    }

    /// A portal that is read in pieces, which keeps its transaction open.
    fn portal(&mut self) -> Outcome {
        let tag = self.tag();
        let sql = format!("select '{tag}', g from generate_series(1, 25) g");
        let first = wire::execute_portal("cur", 10);
        let opening =
            [wire::parse("", &sql), wire::bind_portal("cur", "", &[], &[]), first.clone()];
        self.client.wire.send(&[opening.concat(), wire::flush()].concat());
        for _ in 0..2 {
            let heard = self.hear(b's')?;
            self.check("portal", &heard, &tag, 10);
            self.client.wire.send(&[first.clone(), wire::flush()].concat());
        }
        let heard = self.hear(b'C')?;
        self.check("portal", &heard, &tag, 5);
        self.ask(&wire::sync()).map(drop)
    }

    fn cancel(&mut self) -> Outcome {
        let (tag, time) = (self.tag(), self.rng.pick(&["0", "0.001", "0.02", "0.2"]));
        self.has_cancelled = true;
        self.client.wire.send(&wire::query(&format!("select '{tag}', pg_sleep({time})")));
        if self.rng.percent(50) {
            thread::sleep(Duration::from_millis(self.rng.below(20) as u64));
        }
        self.client.cancel(self.pooler.port);
        let heard = self.hear(b'Z')?;
        self.check("cancelled", &heard, &tag, 1);
        self.has_cancelled = false;
        // What follows must not be hit.
        self.simple()
    }

    /// Goes away in the middle of something.
    fn vanish(&mut self) -> Outcome {
        let half = wire::query("select 1");
        let bytes = match self.rng.below(7) {
            0 => [wire::query("begin"), wire::query("select 1")].concat(),
            1 => wire::query("select repeat('v', 100000) from generate_series(1, 100)"),
            2 => [wire::parse("", "select 1"), wire::bind("", &[])].concat(),
            3 => {
                let data = wire::message(b'd', b"v\t1\n");
                [wire::query("copy stress from stdin"), data].concat()
            }
            4 => half[..4].to_vec(),
            5 => [wire::parse("gone", "select 1"), wire::flush()].concat(),
            _ => wire::query("select pg_sleep(0.05)"),
        };
        self.client.wire.send(&bytes);
        thread::sleep(Duration::from_millis(self.rng.pick(&[0, 3])));
        Err(End::Vanished)
    }
}

/// Parse, Bind, Execute and Sync in one.
fn extended(name: &str, sql: &str, values: &[&str]) -> Vec<u8> {
    [wire::parse(name, sql), wire::bind(name, values), wire::execute(), wire::sync()].concat()
}
