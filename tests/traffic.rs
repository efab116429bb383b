//! The built program with a real PostgreSQL while things happen: cancels, servers killed, RELOAD,
//! PAUSE and shutdown under load, COPY of 100 MB, notifications, settings that follow a client
//! from server to server, and the hunt for one client's bytes in another's answers.

mod support;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use support::client::Login;
use support::fake::{self, FakeServer};
use support::host;
use support::postgres::APP;
use support::tool::{self, Tool};
use support::wire::SSL_REQUEST;
use support::{Client, PATIENCE, Pooler, Postgres, Setup, eventually, wire, within};

fn small_pool(size: usize) -> Pooler {
    Setup::new()
        .set("default_pool_size", &size.to_string())
        .set("log_connections", "0")
        .set("log_disconnections", "0")
        .start()
}

/// Waits until PostgreSQL runs a query whose text holds `mark`, and gives the backend's pid.
fn backend_running(mark: &str) -> String {
    let mut session = Postgres::shared().session("app");
    let sql = format!(
        "select pid from pg_stat_activity where state = 'active' and query like '%{mark}%' \
         and pid <> pg_backend_pid()"
    );
    eventually("PostgreSQL to run the query", || {
        let rows = session.query(&sql).expect("pg_stat_activity").rows;
        rows.first()?.first()?.clone()
    })
}

#[test]
fn a_cancel_reaches_the_query_of_its_client_and_no_other() {
    let pooler = small_pool(5);
    let mut others: Vec<Client> = (0..4).map(|_| pooler.client()).collect();
    for other in &mut others {
        other.wire.send(&wire::query("select pg_sleep(1.5), 'undisturbed'"));
    }
    let mut victim = pooler.client();
    for round in 0..3 {
        let mark = format!("victim {round}");
        victim.wire.send(&wire::query(&format!("select pg_sleep(60), '{mark}'")));
        backend_running(&mark);
        victim.cancel(pooler.port);
        let failure = victim.answer().expect_err("the query was cancelled");
        assert_eq!(failure.code(), "57014", "{failure:?}");
        assert_eq!(victim.one("select 'well'"), "well");
    }
    for other in &mut others {
        let answer = other.answer().expect("a query that nobody cancelled");
        assert_eq!(answer.rows[0][1].as_deref(), Some("undisturbed"));
    }
}

#[test]
fn a_cancel_that_comes_too_late_hits_nobody() {
    let pooler = small_pool(1);
    let (mut early, mut late) = (pooler.client(), pooler.client());
    for round in 0..50 {
        assert_eq!(early.one("select 1"), "1");
        // The one server now works for another client; the cancel of the first must not reach it.
        late.wire.send(&wire::query(&format!("select pg_sleep(0.02), {round}")));
        early.cancel(pooler.port);
        late.answer().expect("a query that nobody cancelled");
    }
}

#[test]
fn a_cancel_with_a_wrong_key_does_nothing() {
    let pooler = small_pool(2);
    let mut client = pooler.client();
    client.wire.send(&wire::query("select pg_sleep(1), 'done'"));
    let key = client.cancel_key.clone();
    client.cancel_key[7] ^= 1;
    client.cancel(pooler.port);
    client.cancel_key = vec![0; 8];
    client.cancel(pooler.port);
    client.cancel_key = key;
    assert_eq!(client.answer().expect("a query that runs to its end").rows.len(), 1);
}

/// Who has agreed on protocol 3.2 has a secret of 32 bytes, all of which must be brought.
#[test]
fn a_long_cancel_key_counts_to_its_last_byte() {
    let pooler = small_pool(2);
    let login = Login { user: APP.name, password: APP.password, database: "app", parameters: &[] };
    let by = |minor| Client::attempt_by(minor, pooler.port, &login).expect("let in");
    let (mut long, mut other, short) = (by(2), by(2), by(0));
    let key = long.cancel_key.clone();
    assert_eq!((key.len(), other.cancel_key.len(), short.cancel_key.len()), (36, 36, 8));
    let stray = [&short.cancel_key[..], &key[8..]].concat();
    let foreign = [&key[..8], &other.cancel_key[8..]].concat();
    let mut wrong = vec![key[..8].to_vec(), key[..35].to_vec(), stray, foreign];
    wrong.push([&key[..], &[0]].concat());
    wrong.extend((0..key.len()).map(|at| {
        let mut key = key.clone();
        key[at] ^= 1;
        key
    }));
    long.wire.send(&wire::query("select pg_sleep(1), 'done'"));
    for key in wrong {
        other.cancel_key = key;
        other.cancel(pooler.port);
    }
    assert_eq!(long.answer().expect("a query that runs to its end").rows.len(), 1);
    long.wire.send(&wire::query("select pg_sleep(600), 'by a long key'"));
    // A cancel that comes before PostgreSQL has read the query strikes nobody.
    backend_running("by a long key");
    long.cancel(pooler.port);
    assert_eq!(long.answer().expect_err("it was cancelled").code(), "57014");
    assert_eq!(long.one("select 'at work'"), "at work");
}

#[test]
fn a_client_that_waits_for_a_server_can_be_cancelled() {
    let pooler = small_pool(1);
    let (mut holder, mut waiting) = (pooler.client(), pooler.client());
    holder.query("begin").expect("a transaction that holds the only server");
    waiting.wire.send(&wire::query("select 'must not run'"));
    eventually("the client to wait", || {
        let waiting = pooler.shown("show pools", "database", "app", "cl_waiting")?;
        (waiting == "1").then_some(())
    });
    waiting.cancel(pooler.port);
    let failure = waiting.answer().expect_err("the query was cancelled");
    assert_eq!(failure.code(), "57014", "{failure:?}");
    assert_eq!(holder.one("select 'unhurt'"), "unhurt");
    holder.query("commit").expect("a transaction that nobody disturbed");
}

#[test]
fn a_flood_of_cancels_uses_up_nothing() {
    let pooler = small_pool(2);
    let witness = support::Witness::start(pooler.port);
    let client = pooler.client();
    for _ in 0..500 {
        let mut cancel = wire::Wire::connect(pooler.port);
        cancel.send(&wire::packet(wire::CANCEL, &client.cancel_key));
    }
    witness.finish();
    eventually("the cancels to be gone", || {
        let waiting = pooler.shown("show pools", "database", "app", "cl_waiting_cancel_req")?;
        let active = pooler.shown("show pools", "database", "app", "cl_active_cancel_req")?;
        (waiting == "0" && active == "0").then_some(())
    });
}

#[test]
fn a_killed_backend_costs_its_own_client_one_error() {
    let pooler = small_pool(3);
    let (mut hit, mut other) = (pooler.client(), pooler.client());
    other.query("begin").expect("a transaction on another server");
    hit.query("begin").expect("a transaction");
    let pid = hit.one("select pg_backend_pid()");
    hit.wire.send(&wire::query("select pg_sleep(60), 'hit'"));
    backend_running("hit");
    assert_eq!(Postgres::shared().one(&format!("select pg_terminate_backend({pid})")), "t");
    let failure = hit.answer().expect_err("the server was killed");
    assert!(
        failure.code() == "57P01" || failure.message().contains("server conn crashed"),
        "{failure:?}"
    );
    other.query("commit").expect("a transaction that nobody disturbed");
    assert_eq!(pooler.client().one("select 'again'"), "again");
}

#[test]
fn idle_backends_that_were_killed_are_replaced_unseen() {
    let pooler = small_pool(3);
    let mut client = pooler.client();
    for _ in 0..10 {
        let pid = client.one("select pg_backend_pid()");
        let mut session = Postgres::shared().session("app");
        session.one(&format!("select pg_terminate_backend({pid}, 5000)"));
        eventually("the pooler to see the end of its server", || {
            let idle = pooler.shown("show pools", "database", "app", "sv_idle")?;
            (idle == "0").then_some(())
        });
    }
}

#[test]
fn reload_under_load_disturbs_nobody() {
    Postgres::shared().fill_bench();
    let pooler = small_pool(5);
    let load = bench_load(&pooler, 20, "4");
    let mut console = pooler.console();
    let end = Instant::now() + Duration::from_secs(4);
    let mut rounds = 0;
    while Instant::now() < end {
        rounds += 1;
        let size = (3 + rounds % 5).to_string();
        pooler.rewrite(|setup| setup.set("default_pool_size", &size));
        if rounds % 2 == 0 {
            pooler.signal("HUP");
        } else {
            console.query("RELOAD").expect("a configuration without fault");
        }
    }
    assert_nothing_failed(&tool::finish(load));
    assert!(rounds >= 10, "only {rounds} reloads");
}

#[test]
fn a_reload_of_a_broken_file_changes_nothing_and_says_so() {
    let pooler = small_pool(2);
    let mut client = pooler.client();
    pooler.rewrite(|setup| setup.set("default_pool_size", "many"));
    let mut console = pooler.console();
    let failure = console.query("RELOAD").expect_err("the file is broken");
    assert_eq!(failure.message(), "RELOAD failed, see logs for additional details");
    assert_eq!(pooler.shown("show config", "key", "default_pool_size", "value").unwrap(), "2");
    assert_eq!(client.one("select 1"), "1");
}

#[test]
fn a_reload_without_a_readable_user_list_keeps_the_users() {
    let pooler = small_pool(2);
    pooler.rewrite(|setup| setup.set("default_pool_size", "3").set("auth_type", "scram-sha-256"));
    std::fs::remove_file(pooler.folder.join("userlist.txt")).expect("a list to remove");
    let mut console = pooler.console();
    console.query("RELOAD").expect("the rest of the configuration is good");
    pooler.wait_log(&["could not open auth_file"]);
    assert_eq!(pooler.shown("show config", "key", "default_pool_size", "value").unwrap(), "3");
    assert_eq!(pooler.client().one("select 1"), "1");
}

#[test]
fn pause_under_load_stops_everything_and_resume_loses_nothing() {
    Postgres::shared().fill_bench();
    let pooler = small_pool(5);
    let load = bench_load(&pooler, 20, "4");
    let mut console = pooler.console();
    eventually("the load to begin", || {
        pooler.shown("show pools", "database", "bench", "cl_active").filter(|n| n != "0")
    });
    for _ in 0..10 {
        console.query("PAUSE").expect("PAUSE");
        for state in ["sv_active", "sv_idle", "sv_used", "sv_login"] {
            let count = pooler.shown("show pools", "database", "bench", state);
            assert_eq!(count.as_deref(), Some("0"), "{state} while paused");
        }
        console.query("RESUME").expect("RESUME");
        thread::sleep(Duration::from_millis(50));
    }
    pooler.signal("USR1");
    pooler.wait_log(&["got SIGUSR1"]);
    pooler.signal("USR2");
    assert_nothing_failed(&tool::finish(load));
}

/// Clients of pgbench for some seconds, in one thread beside the test.
fn bench_load(pooler: &Pooler, clients: usize, seconds: &str) -> std::process::Child {
    let clients = clients.to_string();
    Tool::pgbench(pooler.port, &APP, "bench")
        .args(["-n", "-c", &clients, "-j", "2", "-T", seconds, "-b", "simple-update"])
        .start()
}

fn assert_nothing_failed(pgbench: &str) {
    assert!(pgbench.contains("number of failed transactions: 0 "), "{pgbench}");
    assert!(!pgbench.contains("aborted"), "{pgbench}");
}

/// A Unix socket has news each time that its other end has read; nobody is woken by that.
#[test]
fn a_query_over_unix_sockets_wakes_the_pooler_twice() {
    let postgres = Postgres::shared();
    postgres.fill_bench();
    let line = format!("host={} port={} dbname=bench", postgres.socket.display(), postgres.port);
    let pooler = Setup::new().database("bench", &line).start();
    let host = pooler.folder.display().to_string();
    let before = host::sleeps(pooler.pid);
    let load = Tool::pgbench(pooler.port, &APP, "bench").env("PGHOST", &host);
    assert_nothing_failed(&load.args(["-n", "-S", "-c", "1", "-t", "2000"]).run());
    let sleeps = host::sleeps(pooler.pid) - before;
    // Beside two for each query, three a second for what is due.
    assert!(sleeps < 4_400, "{sleeps} sleeps for 2,000 queries");
}

/// Once asked not to tell of room, the kernel must tell of it again where a write falls short.
#[test]
fn copies_over_unix_sockets_wait_for_whoever_is_slow() {
    let postgres = Postgres::shared();
    let line = format!("host={} port={} dbname=app", postgres.socket.display(), postgres.port);
    let pooler = Setup::new().database("app", &line).start();
    let host = pooler.folder.display().to_string();
    let psql = |commands: &[&str]| {
        let pings = ["select 1"; 20].iter().chain(commands).flat_map(|sql| ["-c", sql]);
        Tool::psql(pooler.port, &APP, "app").env("PGHOST", &host).args(pings)
    };
    psql(&["create unlogged table slow (number int, filling text)"]).run();
    let rows: String = (0..20_000).map(copy_row).collect();
    let file = pooler.folder.join("rows");
    host::write_file(&file, &rows);
    psql(&[&format!("\\copy slow from '{}'", file.display())]).run();
    let mut reader = psql(&["copy (select * from slow order by number) to stdout"]).start();
    let mut answer = reader.stdout.take().expect("a pipe");
    // Far more than the sockets and the pipe hold comes behind the first bytes.
    let mut came = vec![0; 40];
    answer.read_exact(&mut came).expect("the answers to the first queries");
    thread::sleep(Duration::from_millis(500));
    answer.read_to_end(&mut came).expect("all of the copy");
    assert!(reader.wait().expect("psql ends").success());
    assert_eq!(came.len(), 40 + rows.len());
    assert!(came.ends_with(rows.as_bytes()), "the rows are others");
}

#[test]
fn hup_opens_the_log_file_again() {
    let pooler = Setup::new().set("logfile", "{dir}/pgbouncer.log").start();
    let (log, moved) = (pooler.folder.join("pgbouncer.log"), pooler.folder.join("moved.log"));
    let read = |path| std::fs::read_to_string(path).unwrap_or_default();
    assert_eq!(pooler.client().one("select 1"), "1");
    std::fs::rename(&log, &moved).expect("a log file");
    let ends = |text: &str| text.matches("closing because").count();
    // Until it is told, it writes where it wrote.
    let before = ends(&read(&moved));
    pooler.client().terminate();
    eventually("a line in the file that was moved", || {
        (ends(&read(&moved)) > before).then_some(())
    });
    pooler.signal("HUP");
    eventually("the file under its name", || log.exists().then_some(()));
    let left = read(&moved);
    pooler.client().terminate();
    eventually("a line in the new file", || (ends(&read(&log)) > 0).then_some(()));
    assert_eq!(ends(&read(&moved)), ends(&left), "the old file is let go");
}

#[test]
fn int_waits_for_the_servers_and_takes_no_new_client() {
    let pooler = small_pool(3);
    let (mut working, mut idle) = (pooler.client(), pooler.client());
    working.query("begin").expect("a transaction");
    assert_eq!(idle.one("select 1"), "1");
    pooler.signal("INT");
    pooler.wait_log(&["got SIGINT"]);
    eventually("the port to be closed", || {
        std::net::TcpStream::connect(("127.0.0.1", pooler.port)).is_err().then_some(())
    });
    assert_eq!(working.one("select 'still here'"), "still here");
    assert!(pooler.is_alive(), "it waits for the transaction");
    working.query("commit").expect("the transaction ends as ever");
    pooler.expect_exit();
}

#[test]
fn term_waits_for_the_clients() {
    let pooler = small_pool(3);
    let mut client = pooler.client();
    pooler.signal("TERM");
    pooler.wait_log(&["got SIGTERM"]);
    pooler.signal("USR2");
    pooler.wait_log(&["got SIGUSR2 while shutting down, ignoring"]);
    for _ in 0..3 {
        assert_eq!(client.one("select 'served'"), "served");
    }
    assert!(pooler.is_alive(), "it waits for the client");
    client.terminate();
    pooler.expect_exit();
}

#[test]
fn term_lets_in_whom_it_has_accepted_and_nobody_else() {
    let pooler = small_pool(3);
    let (mut early, mut watcher) = (pooler.connect(), pooler.console());
    // That the question is answered shows that the connection was accepted.
    early.send(&wire::packet(SSL_REQUEST, b""));
    assert_eq!(early.hear_bytes(1).expect("an answer"), b"N");
    pooler.signal("TERM");
    pooler.wait_log(&["got SIGTERM"]);
    let startup = wire::startup(&[("user", APP.name), ("database", "app")]);
    // By then every turn in which the signal could be handled is over.
    assert_eq!(
        watcher.query("show state").expect("the console").rows[0][1].as_deref(),
        Some("yes")
    );
    let socket = pooler.folder.join(format!(".s.PGSQL.{}", pooler.port));
    let mut late = UnixStream::connect(socket).expect("the Unix socket stays for the console");
    late.write_all(&startup).expect("a startup packet");
    let mut told = Vec::new();
    late.read_to_end(&mut told).expect("an answer");
    assert!(String::from_utf8_lossy(&told).contains("pooler is shutting down"), "{told:?}");
    early.send(&startup);
    assert_eq!(early.hear().expect("an answer").kind, b'R', "it is asked for its password");
    watcher.terminate();
    assert!(pooler.is_alive(), "it waits for who is about to log in");
    drop(early);
    pooler.expect_exit();
}

#[test]
fn a_second_int_or_term_and_quit_end_it_at_once() {
    for signals in [["INT", "INT"], ["TERM", "TERM"], ["TERM", "QUIT"], ["INT", "TERM"]] {
        let pooler = small_pool(3);
        let mut client = pooler.client();
        client.query("begin").expect("a transaction that would hold it");
        let [first, second] = signals;
        pooler.signal(first);
        pooler.wait_log(&[&format!("got SIG{first}")]);
        assert!(pooler.is_alive(), "{first} alone lets the transaction end");
        pooler.signal(second);
        pooler.expect_exit();
    }
}

/// Rows of 1,000 bytes; enough of them for 100 MB.
const COPY_ROWS: u64 = 100_000;

fn copy_row(number: u64) -> String {
    format!("{number}\t{}\n", "z".repeat(993 - number.to_string().len()))
}

#[test]
fn a_hundred_megabytes_go_in_and_out_by_copy() {
    let pooler = small_pool(2);
    let witness = support::Witness::start(pooler.port);
    let mut client = pooler.client();
    client.query("create unlogged table copied (number int, filling text)").expect("a table");
    client.wire.send(&wire::query("copy copied from stdin"));
    client.wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
    let before = pooler.resident_kb();
    let mut block = Vec::new();
    for number in 0..COPY_ROWS {
        block.extend_from_slice(copy_row(number).as_bytes());
        // Blocks of odd sizes, so that messages end anywhere in the pooler's buffer.
        if block.len() > 40_000 + (number as usize * 7919) % 50_000 {
            assert!(client.wire.say(b'd', &block), "the pooler takes all of it");
            block.clear();
        }
    }
    client.wire.say(b'd', &block);
    client.wire.say(b'c', &[]);
    assert_eq!(client.answer().expect("COPY").tags, [format!("COPY {COPY_ROWS}")]);
    client.wire.send(&wire::query("copy (select * from copied order by number) to stdout"));
    let mut received = 0;
    loop {
        let message = client.wire.hear().expect("all of the copy");
        match message.kind {
            b'd' => {
                assert_eq!(message.body, copy_row(received).as_bytes(), "row {received}");
                received += 1;
            }
            b'Z' => break,
            _ => {}
        }
    }
    assert_eq!(received, COPY_ROWS);
    let growth = pooler.resident_kb().saturating_sub(before);
    assert!(growth < 8_000, "the pooler has grown by {growth} kB");
    witness.finish();
}

#[test]
fn notifications_arrive_in_session_pooling() {
    let pooler = Setup::new().set("pool_mode", "session").start();
    let (mut listener, mut sender) = (pooler.client(), pooler.client());
    listener.query("listen news").expect("LISTEN");
    for number in 0..10 {
        sender.query(&format!("notify news, 'item {number}'")).expect("NOTIFY");
        let message = listener.wire.hear().expect("a notification without asking");
        assert_eq!(message.kind, b'A');
        let text = String::from_utf8_lossy(&message.body[4..]).into_owned();
        assert_eq!(text, format!("news\0item {number}\0"));
    }
    assert_eq!(listener.one("select 1"), "1");
}

#[test]
fn settings_follow_their_client_from_server_to_server() {
    let pooler = small_pool(2);
    let values: [[(&str, &str); 5]; 3] = [
        [
            ("TimeZone", "Europe/Berlin"),
            ("DateStyle", "German, DMY"),
            ("client_encoding", "LATIN1"),
            ("application_name", "first"),
            ("standard_conforming_strings", "on"),
        ],
        [
            ("TimeZone", "Asia/Tokyo"),
            ("DateStyle", "SQL, DMY"),
            ("client_encoding", "UTF8"),
            ("application_name", "it's the second"),
            ("standard_conforming_strings", "off"),
        ],
        [
            ("TimeZone", "UTC"),
            ("DateStyle", "ISO, YMD"),
            ("client_encoding", "UTF8"),
            ("application_name", ""),
            ("standard_conforming_strings", "on"),
        ],
    ];
    let mut clients: Vec<Client> = values.iter().map(|_| pooler.client()).collect();
    for (client, values) in clients.iter_mut().zip(&values) {
        for (name, value) in values {
            let value = value.replace('\'', "''");
            client.query(&format!("set {name} = '{value}'")).expect("SET");
        }
    }
    let mut holder = pooler.client();
    for round in 0..20 {
        // Now and then one server is taken, so that all clients meet on the other.
        if round % 4 == 0 {
            holder.query("begin").expect("a transaction that holds a server");
        }
        for (client, values) in clients.iter_mut().zip(&values) {
            for (name, value) in values {
                assert_eq!(&client.one(&format!("show {name}")), value, "{name} in round {round}");
                assert_eq!(client.parameters[*name], *value, "{name} as it was reported");
            }
        }
        if round % 4 == 3 {
            holder.query("commit").expect("COMMIT");
        }
    }
}

#[test]
fn startup_parameters_reach_the_server() {
    let pooler = small_pool(1);
    for (name, value) in [("application_name", "from the start"), ("TimeZone", "Asia/Tokyo")] {
        let login = support::client::Login {
            user: APP.name,
            password: APP.password,
            database: "app",
            parameters: &[(name, value)],
        };
        let mut client = Client::attempt(pooler.port, &login).expect("a login");
        assert_eq!(client.one(&format!("show {name}")), value);
    }
}

#[test]
fn a_function_call_is_answered_in_its_place() {
    let pooler = small_pool(1);
    let mut client = pooler.client();
    let sum = |a: &str, b: &str| {
        // The function int4pl: arguments and result as text.
        let mut body = [&177u32.to_be_bytes()[..], &[0, 1, 0, 0, 0, 2]].concat();
        for argument in [a, b] {
            body.extend_from_slice(&(argument.len() as u32).to_be_bytes());
            body.extend_from_slice(argument.as_bytes());
        }
        body.extend_from_slice(&[0, 0]);
        wire::message(b'F', &body)
    };
    let pipeline =
        [wire::query("select 'a'"), sum("40", "2"), sum("x", "1"), wire::query("select 'b'")];
    for _ in 0..3 {
        client.wire.send(&pipeline.concat());
        assert_eq!(client.answer().expect("a row").rows.len(), 1);
        let answer = client.wire.hear_until_ready().expect("what the function gives");
        assert_eq!((answer[0].kind, &answer[0].body[4..]), (b'V', &b"42"[..]), "{answer:?}");
        assert_eq!(client.answer().expect_err("x is no number").code(), "22P02");
        let last = client.answer().expect("a row");
        assert_eq!((last.rows[0][0].as_deref(), last.state), (Some("b"), 'I'));
    }
    assert_eq!(pooler.client().one("select 1"), "1");
}

#[test]
fn a_client_gets_no_server_that_another_left_dirty() {
    let pooler = small_pool(1);
    for leave in [
        vec![wire::query("begin; select 1")],
        vec![wire::query("begin; select 1"), wire::message(b'X', b"")],
        vec![wire::parse("", "select pg_sleep(0.1)"), wire::bind("", &[]), wire::execute()],
        vec![wire::query("select generate_series(1, 1000000)")],
        vec![wire::query("begin; copy (select generate_series(1, 1000000)) to stdout")],
        vec![wire::query("begin; create temp table t (n int); copy t from stdin")],
        vec![vec![b'Q', 0, 0, 1, 0, b's']],
    ] {
        let mut rude = pooler.client();
        rude.wire.send(&leave.concat());
        let _ = rude.wire.hear_within(Duration::from_millis(20));
        drop(rude);
        let mut next = pooler.client();
        let answer = next.query("select 'mine'").expect("an answer of one's own");
        assert_eq!((answer.rows.len(), answer.state), (1, 'I'), "{answer:?}");
        assert_eq!(answer.rows[0][0].as_deref(), Some("mine"));
        assert_eq!(next.one("select count(*) from pg_class where relname = 't'"), "0");
    }
}

#[test]
fn a_server_stays_with_its_client_from_flush_to_sync() {
    let pooler = small_pool(1);
    let ask = [wire::parse("", "select $1"), wire::describe_statement(""), wire::flush()].concat();
    let failing = [wire::parse("", "select 1/0"), wire::bind("", &[]), wire::execute()].concat();
    let befores = [
        ("alone", vec![], 0),
        ("behind a query", wire::query("select 'before'"), 1),
        ("behind a failed batch", [failing, wire::sync()].concat(), 1),
    ];
    for (what, before, answers) in befores {
        println!("a batch {what}");
        let (mut client, mut other) = (pooler.client(), pooler.client());
        client.wire.send(&[&before[..], &ask].concat());
        for _ in 0..answers {
            let _ = client.answer();
        }
        client.wire.hear_until(|m| m.kind == b'T').expect("the description of a row");
        // Its unnamed statement would replace the client's, if it came to the same server now.
        other.wire.send(&[wire::parse("", "select 'other'"), wire::bind("", &[])].concat());
        other.wire.send(&[wire::execute(), wire::sync()].concat());
        eventually("the other client to wait", || {
            let waiting = pooler.shown("show pools", "database", "app", "cl_waiting")?;
            (waiting == "1").then_some(())
        });
        client.wire.send(&[wire::bind("", &["own"]), wire::execute(), wire::sync()].concat());
        let answer = client.answer().expect("the statement is still there");
        assert_eq!(answer.rows, [[Some("own".to_owned())]]);
        assert_eq!(other.answer().expect("its turn").rows, [[Some("other".to_owned())]]);
    }
}

/// Fifty clients on a pool of ten ask for rows that carry their own mark, in every way there is,
/// and go away at any moment; nobody ever reads a mark that is not his.
#[test]
fn no_client_ever_sees_what_belongs_to_another() {
    const CLIENTS: usize = 50;
    const ENOUGH: usize = 1_000;
    let seed = std::process::id() as u64;
    println!("seed {seed}");
    let pooler = Setup::new().set("default_pool_size", "10").set("max_client_conn", "200").start();
    let (answers, is_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (pooler, answers, is_over) = (&pooler, &answers, &is_over);
            scope.spawn(move || {
                let mut hunter = Hunter::new(number, seed);
                while !is_over.load(Ordering::Relaxed) {
                    answers.fetch_add(hunter.session(pooler, is_over), Ordering::Relaxed);
                }
            });
        }
        within(Duration::from_secs(10), || None::<()>);
        // A machine that is busy with other things gets more time.
        within(PATIENCE, || (answers.load(Ordering::Relaxed) > ENOUGH).then_some(()));
        is_over.store(true, Ordering::Relaxed);
    });
    let answers = answers.into_inner();
    println!("{answers} answers");
    assert!(answers > ENOUGH, "only {answers} answers were checked");
}

/// A client of the hunt, and its random numbers.
struct Hunter {
    mark: String,
    random: u64,
    sent: u64,
}

impl Hunter {
    fn new(number: usize, seed: u64) -> Hunter {
        let random = seed.wrapping_mul(0x9e37_79b9).wrapping_add(number as u64 + 1);
        Hunter { mark: format!("client{number}"), random, sent: 0 }
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random % bound
    }

    /// One connection, from login to an end at any moment; the number of answers checked.
    fn session(&mut self, pooler: &Pooler, is_over: &AtomicBool) -> usize {
        let mut client = pooler.client();
        for done in 0.. {
            if is_over.load(Ordering::Relaxed) {
                return done;
            }
            match self.below(12) {
                0 => {
                    self.leave_in_the_middle(&mut client);
                    return done;
                }
                1..=4 => self.ask_simply(&mut client),
                5..=8 => self.ask_in_a_pipeline(&mut client),
                _ => self.ask_in_a_transaction(&mut client),
            }
        }
        unreachable!("the loop has no end of its own");
    }

    /// A mark that no other query of any client has, and how many rows should carry it.
    fn next_mark(&mut self) -> (String, u64) {
        self.sent += 1;
        let rows = if self.below(4) == 0 { self.below(3_000) } else { self.below(10) };
        (format!("{}-{}", self.mark, self.sent), rows + 1)
    }

    fn ask_simply(&mut self, client: &mut Client) {
        let (mark, rows) = self.next_mark();
        let sql = format!("select '{mark}', n from generate_series(1, {rows}) n");
        let answer = client.query(&sql).unwrap_or_else(|e| panic!("{mark}: {e:?}"));
        check_rows(&answer.rows, &mark, rows);
    }

    fn ask_in_a_transaction(&mut self, client: &mut Client) {
        let (mark, _) = self.next_mark();
        client.query("begin").expect("BEGIN");
        client.query(&format!("set local application_name = '{mark}'")).expect("SET LOCAL");
        assert_eq!(client.one("show application_name"), mark);
        if self.below(5) == 0 {
            client.query("select 1/0").expect_err("a division by zero");
            client.query("rollback").expect("ROLLBACK");
        } else {
            self.ask_simply(client);
            client.query("commit").expect("COMMIT");
        }
    }

    /// Several queries, each with its Sync, before the first answer is read.
    fn ask_in_a_pipeline(&mut self, client: &mut Client) {
        let depth = 1 + self.below(5);
        let marks: Vec<(String, u64)> = (0..depth).map(|_| self.next_mark()).collect();
        let mut bytes = Vec::new();
        for (mark, rows) in &marks {
            let sql = format!("select $1::text, n from generate_series(1, {rows}) n");
            bytes.extend(wire::parse("", &sql));
            bytes.extend(wire::bind("", &[mark]));
            bytes.extend([wire::execute(), wire::sync()].concat());
        }
        client.wire.send(&bytes);
        for (mark, rows) in marks {
            let answer = client.answer().unwrap_or_else(|e| panic!("{mark}: {e:?}"));
            check_rows(&answer.rows, &mark, rows);
        }
    }

    /// Sends a part of a query, or a whole one, reads some of the answer, and hangs up.
    fn leave_in_the_middle(&mut self, client: &mut Client) {
        let (mark, rows) = self.next_mark();
        let begin = if self.below(2) == 0 { "begin; " } else { "" };
        let sql = format!("{begin}select '{mark}', n from generate_series(1, {rows}) n");
        let bytes = wire::query(&sql);
        let cut = if self.below(3) == 0 { self.below(bytes.len() as u64) } else { u64::MAX };
        client.wire.send(&bytes[..bytes.len().min(cut as usize)]);
        if cut == u64::MAX && self.below(2) == 0 {
            let _ = client.wire.hear();
        }
    }
}

fn check_rows(rows: &[Vec<Option<String>>], mark: &str, count: u64) {
    assert_eq!(rows.len() as u64, count, "rows of {mark}");
    for (row, number) in rows.iter().zip(1..) {
        let wanted = [Some(mark.to_owned()), Some(format!("{number}"))];
        assert_eq!(row[..], wanted, "a row of {mark}");
    }
}

/// The kinds of all that is answered to these writes, and to a last query behind them.
fn kinds_answered(port: u16, writes: &[Vec<u8>]) -> String {
    let mut client = Client::login(port, APP.name, APP.password, "app");
    for bytes in writes {
        client.wire.send(bytes);
        // Whatever comes in between comes before the next write.
        thread::sleep(Duration::from_millis(20));
    }
    client.wire.send(&[wire::sync(), wire::query("select 'the end'")].concat());
    let is_end = |m: &wire::Message| m.kind == b'D' && m.text().contains("the end");
    match client.wire.hear_until(is_end) {
        Ok(told) => told.iter().map(|message| message.kind as char).collect(),
        Err(_) => "lost".into(),
    }
}

#[test]
fn syncs_in_the_data_of_a_copy_that_fails_are_answered_as_postgresql_does() {
    let mut session = Postgres::shared().session("app");
    session.query("create table refusing (a int); grant all on refusing to public").expect("made");
    let (copy, bad) = ("copy refusing from stdin", wire::message(b'd', b"x\n"));
    let fail = wire::message(b'f', b"stop\0");
    let extended = [wire::parse("", copy), wire::bind("", &[]), wire::execute()].concat();
    let one = [wire::parse("", "select 1"), wire::bind("", &[]), wire::execute()].concat();
    let (simple, sync, query) = (wire::query(copy), wire::sync(), wire::query("select 2"));
    let failing = [&*extended, &bad, &sync].concat();
    let writes: &[&[Vec<u8>]] = &[
        &[[&*simple, &bad, &sync].concat()],
        &[[&*simple, &bad, &sync, &sync].concat(), sync.clone()],
        &[[&*simple, &bad, &sync, &one, &sync, &query].concat()],
        &[simple.clone(), [&*bad, &query, &sync].concat()],
        &[[&*failing, &one, &sync].concat()],
        &[failing.clone(), one.clone(), [&*sync, &query].concat()],
        &[[&*failing, &fail, &query, &sync].concat()],
        &[[&*extended, &bad].concat(), one.clone(), [&*sync, &one, &sync].concat()],
        &[extended.clone(), [&*bad, &fail, &query, &sync, &one, &sync].concat()],
        &[[&*extended, &sync, &bad, &one, &sync, &one, &sync].concat()],
    ];
    for mode in ["statement", "transaction", "session"] {
        let pooler = Setup::new().set("pool_mode", mode).set("default_pool_size", "1").start();
        for (number, writes) in writes.iter().enumerate() {
            let direct = kinds_answered(Postgres::shared().port, writes);
            let pooled = kinds_answered(pooler.port, writes);
            assert_eq!(pooled, direct, "{mode} pooling, case {number}");
            assert!(direct.contains('G') && direct.contains('E'), "case {number}: {direct}");
        }
    }
}

#[test]
fn what_a_copy_does_not_take_ends_it_whatever_it_names() {
    let mut session = Postgres::shared().session("app");
    session.query("create table taking (a int); grant all on taking to public").expect("made");
    let pooler = Setup::new().set("default_pool_size", "1").start();
    let never = wire::named(b'C', 'S', "never");
    let mut client = Client::login(pooler.port, APP.name, APP.password, "app");
    client.wire.send(&wire::query("copy taking from stdin"));
    client.wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
    client.wire.send(&[never, wire::parse("", "select 1"), wire::sync()].concat());
    let told = client.wire.hear().expect("an error");
    let words = told.field('M').unwrap_or_default();
    assert!(words.starts_with("unexpected message type"), "{words}");
    assert_eq!(pooler.client().one("select count(*) from taking"), "0");
}

/// The server has asked for the data of a COPY when it has been sent a query behind it already. It
/// has failed, though the pooler has not heard so.
#[test]
fn a_copy_that_was_overtaken_ends_before_what_follows_is_judged() {
    let server = FakeServer::start(|wire| {
        if !matches!(fake::hear_startup(wire), Ok(Some(_))) || !wire.send(&fake::welcome()) {
            return;
        }
        let hear_until = |wire: &mut support::wire::Wire, kind| {
            let heard = wire.hear_until(|message| message.kind == kind).unwrap_or_default();
            heard.iter().all(|message| b"QdHPSX".contains(&message.kind))
        };
        hear_until(wire, b'Q');
        wire.send(&wire::message(b'G', &[0, 0, 1, 0, 0]));
        hear_until(wire, b'Q');
        // Long enough for what the client sends when it has heard of the COPY.
        thread::sleep(Duration::from_millis(300));
        let error = wire::error(&[('S', "ERROR"), ('V', "ERROR"), ('C', "22P02"), ('M', "x")]);
        let failed = [error, wire::ready(b'I')].concat();
        let begun = [wire::message(b'C', b"BEGIN\0"), wire::ready(b'T')].concat();
        wire.send(&[failed, begun].concat());
        let is_the_clients = hear_until(wire, b'S');
        assert!(is_the_clients, "the pooler has asked something of its own");
        wire.send(&[wire::message(b'1', b""), wire::ready(b'T')].concat());
        let _ = wire.hear();
    });
    let pooler =
        Setup::empty().database("app", &format!("host=127.0.0.1 port={}", server.port)).start();
    let mut client = pooler.client();
    let copy = wire::query("copy numbers from stdin");
    client.wire.send(&[copy, wire::message(b'd', b"x\n"), wire::query("begin")].concat());
    let mut told = client.wire.hear_until(|m| m.kind == b'G').expect("CopyInResponse");
    client.wire.send(&[wire::parse("", "select 1"), wire::sync()].concat());
    for _ in 0..3 {
        told.extend(client.wire.hear_until_ready().expect("answers"));
    }
    let kinds: String = told.iter().map(|message| char::from(message.kind)).collect();
    assert_eq!(kinds, "GEZCZ1Z");
}
