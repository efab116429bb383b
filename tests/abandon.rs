//! What becomes of a server whose client goes away in the middle, with `server_abandon`: nothing
//! of the dead client's is committed, no lock and no session state is left, and with `rollback` the
//! connection is the same one afterwards, which `pg_backend_pid()` shows.

mod support;

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use support::client::Answer;
use support::postgres::{GUIDE, Role};
use support::wire;
use support::{Client, FakeServer, Pooler, Postgres, Setup, eventually, fake};

/// A role and a database that nothing else in this file uses.
const LOADER: Role = GUIDE[2];
const LOADED: &str = "plannerate_production";

/// Clients of the load, and servers for them.
const CLIENTS: usize = 200;
const SERVERS: usize = 20;

/// Long enough for the slowest machine; what is not undone by then fails the test.
const PATIENT: (&str, &str) = ("server_abandon_timeout", "60");

fn pooler(mode: &str, abandon: &str) -> Pooler {
    Setup::new()
        .set("pool_mode", mode)
        .set("default_pool_size", "1")
        .set("server_abandon", abandon)
        .set(PATIENT.0, PATIENT.1)
        .start()
}

/// Begins something that will not come to its end.
type Leave = fn(&mut Client);

/// All ways to go in the middle from which the server can be rescued.
const WAYS: [(&str, Leave); 16] = [
    ("in a transaction", |client| {
        begin(client);
    }),
    ("in a failed transaction", |client| {
        begin(client);
        client.query("select 1/0").expect_err("a division by zero");
    }),
    ("with a goodbye in a transaction", |client| {
        begin(client);
        client.wire.say(b'X', &[]);
    }),
    ("in a long query", |client| {
        begin(client);
        client.wire.send(&wire::query("select pg_sleep(1000)"));
        expect_running("pg_sleep");
    }),
    ("in a long query without a transaction", |client| {
        client.wire.send(&wire::query("insert into lost select 1 from pg_sleep(1000)"));
        expect_running("pg_sleep");
    }),
    ("in a pipeline of long queries", |client| {
        for _ in 0..5 {
            client
                .wire
                .send(&[wire::parse("", "select pg_sleep(1000)"), wire::bind("", &[])].concat());
            client.wire.send(&[wire::execute(), wire::sync()].concat());
        }
        client.wire.send(&wire::query("select pg_sleep(1000)").repeat(5));
        expect_running("pg_sleep");
    }),
    ("before its Sync", |client| {
        let insert = "insert into lost values (1)";
        client.wire.send(&[wire::parse("", insert), wire::bind("", &[])].concat());
        client.wire.send(&[wire::execute(), wire::flush()].concat());
        client.wire.hear_until(|m| m.kind == b'C').expect("the row is there");
    }),
    ("in a COPY from it", |client| {
        begin(client);
        copy_in(client);
        client.wire.say(b'd', b"1\n2\n");
    }),
    ("within the data of a COPY", |client| {
        begin(client);
        copy_in(client);
        let message = wire::message(b'd', &b"1\n".repeat(20_000));
        client.wire.send(&message[..message.len() - 7]);
    }),
    ("in a COPY of the extended protocol", |client| {
        let copy = "copy lost from stdin";
        client.wire.send(&[wire::parse("", copy), wire::bind("", &[])].concat());
        client.wire.send(&[wire::execute(), wire::sync()].concat());
        client.wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
        client.wire.say(b'd', b"1\n2\n");
    }),
    ("before a COPY was answered", |client| {
        let copy = wire::query("copy lost from stdin");
        client.wire.send(&[copy, wire::message(b'd', b"1\n")].concat());
    }),
    ("in a COPY to it", |client| {
        begin(client);
        let rows = "select repeat('x', 1000) from generate_series(1, 100000)";
        client.wire.send(&wire::query(&format!("copy ({rows}) to stdout")));
        client.wire.hear_until(|m| m.kind == b'd').expect("the first row");
        expect_running("copy");
    }),
    ("with rows unread", |client| {
        begin(client);
        let rows = "select repeat('x', 1000) from generate_series(1, 100000)";
        client.wire.send(&wire::query(rows));
        client.wire.hear_until(|m| m.kind == b'D').expect("the first row");
        expect_running("select repeat");
    }),
    ("in the middle of a large row", |client| {
        begin(client);
        client.wire.send(&wire::query("select repeat('x', 100000000)"));
        client.wire.hear_bytes(100_000).expect("the first bytes");
    }),
    ("with a goodbye right behind a Parse", |client| {
        let parse = wire::parse("", "select 1");
        client.wire.send(&[parse, wire::message(b'X', &[])].concat());
    }),
    ("with nonsense right behind a long piece of data", |client| {
        begin(client);
        copy_in(client);
        let data = wire::message(b'd', &b"1\n".repeat(50_000));
        client.wire.send(&[data, wire::message(b'?', &[])].concat());
    }),
];

fn begin(client: &mut Client) {
    for sql in ["begin", "insert into lost values (1)", "lock table locked"] {
        client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }
}

fn copy_in(client: &mut Client) {
    client.wire.send(&wire::query("copy lost from stdin"));
    client.wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
}

fn expect_running(words: &str) {
    let sql = format!(
        "select count(*) from pg_stat_activity where usename = 'app' and state = 'active' \
         and query like '%{words}%'"
    );
    eventually(&format!("{words} to run"), || (Postgres::shared().one(&sql) == "1").then_some(()));
}

fn make_tables() {
    let mut session = Postgres::shared().session("app");
    for table in ["lost", "locked"] {
        session.query(&format!("drop table if exists {table}")).expect("DROP TABLE");
        session.query(&format!("create table {table} (number int)")).expect("CREATE TABLE");
        session.query(&format!("grant all on {table} to public")).expect("GRANT");
    }
}

fn backend(client: &mut Client) -> String {
    client.one("select pg_backend_pid()")
}

/// Nothing of what was begun is there, nor holds anybody up.
fn assert_undone(way: &str) {
    let postgres = Postgres::shared();
    assert_eq!(postgres.one("select count(*) from lost"), "0", "{way}");
    let locks = "select count(*) from pg_locks where pid in \
                 (select pid from pg_stat_activity where usename = 'app')";
    eventually(&format!("no lock is left of a client that went {way}"), || {
        (postgres.one(locks) == "0").then_some(())
    });
}

/// One test, as all of it happens in the same tables.
#[test]
fn a_server_is_rescued_from_wherever_its_client_leaves_it() {
    make_tables();
    for mode in ["transaction", "session"] {
        let pooler = pooler(mode, "rollback");
        let pid = backend(&mut pooler.client());
        for (way, leave) in WAYS {
            let mut client = pooler.client();
            leave(&mut client);
            drop(client);
            let start = Instant::now();
            let mut next = pooler.client();
            assert_eq!(backend(&mut next), pid, "{mode}, {way}");
            println!("{mode}: {way}: {:?}", start.elapsed());
            assert_eq!(next.query("select 'clean'").expect("an answer").state, 'I');
            drop(next);
            assert_undone(way);
        }
        assert!(!pooler.log().contains("abandoned work"), "{}", pooler.log());
    }
    half_a_query_is_not_completed();
    what_a_session_has_set_goes_with_it();
    by_default_the_server_is_closed();
}

/// A query of which the last byte is missing is never run, whatever that byte would have been: the
/// server is closed.
fn half_a_query_is_not_completed() {
    let pooler = pooler("transaction", "rollback");
    for begin in ["", "begin"] {
        let mut client = pooler.client();
        let pid = backend(&mut client);
        if !begin.is_empty() {
            client.query(begin).expect("BEGIN");
        }
        let query = wire::query(&format!("insert into lost select 1{}", " ".repeat(200_000)));
        client.wire.send(&query[..query.len() - 1]);
        eventually("most of the query to be on its way", || {
            let held = pooler.shown("show clients", "user", "app", "state");
            (held.as_deref() == Some("active")).then_some(())
        });
        drop(client);
        assert_ne!(backend(&mut pooler.client()), pid);
        assert_undone("in half a query");
    }
}

fn what_a_session_has_set_goes_with_it() {
    let pooler = pooler("session", "rollback");
    for (_, leave) in [WAYS[0], WAYS[3], WAYS[8]] {
        let mut client = pooler.client();
        let pid = backend(&mut client);
        for sql in [
            "set work_mem to 7777",
            "create temp table mine (number int)",
            "prepare mine as select 1",
            "listen mine",
            "select pg_advisory_lock(1)",
        ] {
            client.query(sql).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
        }
        leave(&mut client);
        drop(client);
        let mut next = pooler.client();
        assert_eq!(backend(&mut next), pid);
        assert_eq!(next.one("show work_mem"), "4MB");
        for leftover in ["table mine", "execute mine"] {
            next.query(leftover).expect_err(leftover);
        }
        let left = "select count(*) from pg_listening_channels()";
        assert_eq!(next.one(left), "0");
        assert_eq!(next.one("select count(*) from pg_locks where locktype = 'advisory'"), "0");
    }
}

fn by_default_the_server_is_closed() {
    for (way, leave) in [WAYS[0], WAYS[4], WAYS[7]] {
        let pooler = pooler("transaction", "close");
        let mut client = pooler.client();
        let pid = backend(&mut client);
        leave(&mut client);
        drop(client);
        let ended = format!("select count(*) from pg_stat_activity where pid = {pid}");
        if way.contains("query") {
            // As PgBouncer does it, the statement is left to PostgreSQL.
            Postgres::shared().one(&format!("select pg_terminate_backend({pid})"));
        }
        eventually("the backend to end", || (Postgres::shared().one(&ended) == "0").then_some(()));
        assert_ne!(backend(&mut pooler.client()), pid, "{way}");
        assert_undone(way);
    }
}

/// As PostgreSQL does it: who says goodbye right behind a query wants it run.
#[test]
fn a_query_right_before_a_goodbye_is_run() {
    let mut session = Postgres::shared().session("app");
    let sql = "create table farewells (number int); grant all on farewells to public";
    session.query(sql).expect("CREATE TABLE");
    let pooler = pooler("transaction", "close");
    let insert = "insert into farewells values (1)";
    let extended = [wire::parse("", insert), wire::bind("", &[]), wire::execute(), wire::sync()];
    for messages in [wire::query(insert), extended.concat()] {
        // Its server is at hand.
        let mut client = pooler.client();
        assert_eq!(client.one("select 1"), "1");
        client.wire.send(&[messages, wire::message(b'X', &[])].concat());
        client.wire.hear_to_the_end();
        eventually("the row to be there", || {
            (session.one("select count(*) from farewells") == "1").then_some(())
        });
        session.query("delete from farewells").expect("DELETE");
    }
}

/// Ends a client; one that does not close its connection is given back.
type Go = fn(Client) -> Option<Client>;

/// How clients go that wait for something.
const ENDS: [(&str, Go); 3] = [
    ("closes", |client| {
        drop(client);
        None
    }),
    ("says goodbye", |mut client| {
        client.wire.say(b'X', &[]);
        Some(client)
    }),
    ("sends no more", |client| {
        client.wire.finish();
        Some(client)
    }),
];

fn expect_waiting(pooler: &Pooler, count: &str) {
    eventually(&format!("{count} clients to wait"), || {
        (pooler.shown("show pools", "database", "app", "cl_waiting")? == count).then_some(())
    });
}

/// Who goes while it waits for a server is missed at once, and what it has asked is not run.
#[test]
fn nothing_is_run_for_a_client_that_went_while_it_waited() {
    let mut session = Postgres::shared().session("app");
    let sql = "create table unwanted (number int); grant all on unwanted to public";
    session.query(sql).expect("CREATE TABLE");
    let pooler = pooler("transaction", "close");
    let insert = "insert into unwanted values (1)";
    let extended = [wire::parse("", insert), wire::bind("", &[]), wire::execute(), wire::sync()];
    let mut holder = pooler.client();
    for (end, go) in ENDS {
        for messages in [wire::query(insert), extended.concat()] {
            holder.query("begin").expect("BEGIN");
            let pid = backend(&mut holder);
            let mut clients: Vec<Client> = (0..5).map(|_| pooler.client()).collect();
            for client in &mut clients {
                client.wire.send(&messages);
            }
            expect_waiting(&pooler, "5");
            let _kept: Vec<_> = clients.into_iter().map(go).collect();
            expect_waiting(&pooler, "0");
            holder.query("commit").expect("COMMIT");
            assert_eq!(backend(&mut pooler.client()), pid, "one that {end}");
            assert_eq!(session.one("select count(*) from unwanted"), "0", "one that {end}");
        }
    }
    for (end, go) in ENDS {
        pooler.console().query("PAUSE app").expect("PAUSE");
        let mut client = pooler.client();
        client.wire.send(&wire::query(insert));
        expect_waiting(&pooler, "1");
        let _kept = go(client);
        expect_waiting(&pooler, "0");
        pooler.console().query("RESUME app").expect("RESUME");
        assert_eq!(pooler.client().one("select count(*) from unwanted"), "0", "one that {end}");
    }
}

/// A client that neither takes its answers nor closes is missed when it ends its half of the
/// connection.
#[test]
fn the_end_of_a_client_that_takes_no_answers_is_noticed() {
    let pooler = pooler("transaction", "close");
    let mut client = pooler.client();
    client.wire.send(&wire::query("select repeat('x', 1000) from generate_series(1, 200000)"));
    client.wire.hear_until(|m| m.kind == b'D').expect("the first row");
    client.wire.finish();
    pooler.wait_log(&["closing because: client unexpected eof"]);
    assert_eq!(pooler.client().one("select 'next'"), "next");
}

/// A server that does not heed a cancel request is closed when its time is over, and its place
/// given to another.
#[test]
fn what_cannot_be_undone_in_time_is_closed() {
    let server = FakeServer::start(|wire| {
        fake::serve(wire, |sql| match sql {
            "hang" => Some(vec![]),
            _ => Some(fake::one_row(sql)),
        });
    });
    let pooler = Setup::empty()
        .database("app", &format!("host=127.0.0.1 port={} pool_size=1", server.port))
        .set("server_abandon", "rollback")
        .set("server_abandon_timeout", "1")
        .start();
    let mut client = pooler.client();
    assert_eq!(client.one("first"), "first");
    client.wire.send(&wire::query("hang"));
    eventually("the query to be on its way", || {
        let active = pooler.shown("show pools", "database", "app", "sv_active")?;
        (active == "1").then_some(())
    });
    drop(client);
    let start = Instant::now();
    assert_eq!(pooler.client().one("next"), "next");
    println!("the next client has waited {:?}", start.elapsed());
    pooler.wait_log(&["abandoned work could not be undone"]);
    pooler.wait_log(&["successfully sent cancel request"]);
}

/// What the clients of the load have done.
#[derive(Default)]
struct Ledger {
    committed: BTreeSet<String>,
    backends: BTreeSet<String>,
}

#[test]
fn two_hundred_clients_vanish_from_a_load_of_transaction_pooling() {
    vanish_from_a_load("transaction");
}

#[test]
fn two_hundred_clients_vanish_from_a_load_of_session_pooling() {
    vanish_from_a_load("session");
}

/// Clients work, and go at a random moment of a random transaction. The servers are the same ones
/// before, meanwhile and afterwards; what was committed is there, and nothing else.
fn vanish_from_a_load(mode: &str) {
    let seed = u64::from(std::process::id());
    println!("seed {seed}");
    let table = format!("ledger_{mode}");
    let create = format!("create table {table} (entry text)");
    Postgres::shared().session(LOADED).query(&create).expect("a table");
    let grant = format!("grant all on {table} to public");
    Postgres::shared().session(LOADED).query(&grant).expect("a grant");
    let pooler = Setup::new()
        .set("pool_mode", mode)
        .set("default_pool_size", &SERVERS.to_string())
        .set("max_client_conn", "400")
        .set("server_abandon", "rollback")
        .set(PATIENT.0, PATIENT.1)
        .start();
    let before = all_backends(&pooler);
    assert_eq!(before.len(), SERVERS);
    let ledger = Mutex::new(Ledger::default());
    let start = Instant::now();
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (pooler, ledger, table) = (&pooler, &ledger, &table);
            scope.spawn(move || {
                let mut worker = Worker::new(pooler, mode, table, number, seed);
                let life = Duration::from_millis(worker.below(4_000));
                worker.work(start + life, ledger);
                worker.vanish(ledger);
            });
        }
    });
    eventually("nobody to be left", || {
        let count = |column| pooler.shown("show pools", "database", LOADED, column);
        let columns = ["cl_active", "cl_waiting", "sv_active", "sv_tested"];
        columns.iter().all(|column| count(column).as_deref() == Some("0")).then_some(())
    });
    let ledger = ledger.into_inner().expect("no thread has panicked");
    println!("{} transactions, in {:?}", ledger.committed.len(), start.elapsed());
    assert_eq!(all_backends(&pooler), before, "the servers are the same ones");
    assert!(ledger.backends.is_subset(&before), "they were all the while");
    let rows = Postgres::shared().session(LOADED).query(&format!("table {table}"));
    let rows: BTreeSet<String> = entries(&rows.expect("all entries"));
    let lost: Vec<_> = ledger.committed.difference(&rows).collect();
    let extra: Vec<_> = rows.difference(&ledger.committed).collect();
    assert!(lost.is_empty() && extra.is_empty(), "lost {lost:?}, never committed {extra:?}");
    assert!(rows.len() > CLIENTS, "hardly anything was done");
    let locks = format!(
        "select count(*) from pg_locks join pg_stat_activity using (pid) where usename = '{}' \
         and datname = '{LOADED}' and query like '%{table}%'",
        LOADER.name
    );
    eventually("no lock to be left", || (Postgres::shared().one(&locks) == "0").then_some(()));
}

fn entries(answer: &Answer) -> BTreeSet<String> {
    answer.rows.iter().filter_map(|row| row[0].clone()).collect()
}

/// The backends of as many transactions at a time as there are servers.
fn all_backends(pooler: &Pooler) -> BTreeSet<String> {
    let mut clients: Vec<Client> = (0..SERVERS).map(|_| pooler.login(&LOADER, LOADED)).collect();
    let mut pids = BTreeSet::new();
    for client in &mut clients {
        client.query("begin").expect("BEGIN");
        pids.insert(backend(client));
    }
    for client in &mut clients {
        assert_eq!(client.query("commit").expect("COMMIT").state, 'I');
    }
    clients.into_iter().for_each(Client::terminate);
    pids
}

/// A client of the load, and its random numbers.
struct Worker<'a> {
    client: Client,
    is_session: bool,
    table: &'a str,
    number: usize,
    random: u64,
    done: u32,
}

impl Worker<'_> {
    fn new<'a>(
        pooler: &Pooler,
        mode: &str,
        table: &'a str,
        number: usize,
        seed: u64,
    ) -> Worker<'a> {
        let random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (number as u64 + 1);
        let client = pooler.login(&LOADER, LOADED);
        Worker { client, is_session: mode == "session", table, number, random, done: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        for shift in [13, 7, 17] {
            let mixed = if shift == 7 { self.random >> shift } else { self.random << shift };
            self.random ^= mixed;
        }
        self.random % bound
    }

    /// Transactions up to `end`, each noted when it was committed.
    fn work(&mut self, end: Instant, ledger: &Mutex<Ledger>) {
        if self.is_session {
            // Somebody else's would be in the way.
            self.run("create temp table scratch (number int)");
            assert_eq!(self.client.one("show work_mem"), "4MB");
            self.run("set work_mem to 7777");
        }
        loop {
            let entry = self.begin(ledger);
            match self.below(4) {
                0 => self.run("select pg_sleep(0.01)"),
                1 => self.run("select repeat('x', 1000) from generate_series(1, 200)"),
                2 => self.copy_whole(),
                _ => {}
            }
            self.run("commit");
            ledger.lock().expect("no thread has panicked").committed.insert(entry);
            if Instant::now() >= end {
                return;
            }
        }
    }

    /// Begins a transaction that writes an entry of its own.
    fn begin(&mut self, ledger: &Mutex<Ledger>) -> String {
        self.done += 1;
        let entry = format!("{}-{}", self.number, self.done);
        self.run("begin");
        let pid = backend(&mut self.client);
        ledger.lock().expect("no thread has panicked").backends.insert(pid);
        self.run(&format!("insert into {} values ('{entry}')", self.table));
        entry
    }

    fn run(&mut self, sql: &str) {
        let number = self.number;
        self.client.query(sql).unwrap_or_else(|e| panic!("client {number}: {sql}: {e:?}"));
    }

    fn begin_copy(&mut self) {
        self.run("create temp table copied (text text) on commit drop");
        self.client.wire.send(&wire::query("copy copied from stdin"));
        self.client.wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
    }

    fn copy_whole(&mut self) {
        self.begin_copy();
        self.client.wire.say(b'd', &b"row\n".repeat(100));
        self.client.wire.say(b'c', &[]);
        self.client.answer().expect("COPY");
    }

    /// Begins one more transaction, and something in it, and is gone.
    fn vanish(mut self, ledger: &Mutex<Ledger>) {
        self.begin(ledger);
        let size = 1 + self.below(60_000) as usize;
        match self.below(7) {
            0 => {}
            1 => drop(self.client.wire.send(&wire::query("select pg_sleep(1000)"))),
            2 => {
                self.begin_copy();
                let data = wire::message(b'd', &b"row\n".repeat(20_000));
                self.client.wire.send(&data[..data.len() - size]);
            }
            3 => {
                let rows = "(select repeat('x', 1000) from generate_series(1, 20000))";
                self.client.wire.send(&wire::query(&format!("copy {rows} to stdout")));
                self.client.wire.hear_bytes(size).expect("the first bytes");
            }
            4 => {
                let rows = "select repeat('x', 1000) from generate_series(1, 20000)";
                self.client.wire.send(&wire::query(rows));
            }
            5 => {
                let insert = format!("insert into {} values ('lost')", self.table);
                self.client.wire.send(&[wire::parse("", &insert), wire::bind("", &[])].concat());
                self.client.wire.send(&[wire::execute(), wire::flush()].concat());
            }
            _ => {
                let sleep = wire::query("select pg_sleep(0.05)");
                self.client.wire.send(&sleep.repeat(1 + size / 6_000));
            }
        }
    }
}

/// In transaction pooling nothing is reset when a client goes as it should; one that goes in the
/// middle may have taken what only its own session can give back.
#[test]
fn a_rescued_server_keeps_nothing_of_the_session() {
    let pooler = pooler("transaction", "rollback");
    let mut next = pooler.login(&LOADER, LOADED);
    let pid = next.one("select pg_backend_pid()");
    let mut client = pooler.login(&LOADER, LOADED);
    client.query("select pg_advisory_lock(4711); set statement_timeout = '77s'").expect("a lock");
    client.query("begin; prepare left_behind as select 1").expect("a statement");
    drop(client);
    assert_eq!(next.one("show statement_timeout"), "0");
    assert_eq!(next.one("select pg_backend_pid()"), pid);
    let held = "select count(*) from pg_locks where locktype = 'advisory' and objid = 4711";
    assert_eq!(next.one(held), "0");
    assert_eq!(next.one("select count(*) from pg_prepared_statements where from_sql"), "0");
}
